// Which policies are in force: the state of each file, what is odd, and what of the folder is refused.
import { useEffect } from 'preact/hooks';
import type { Fault, Policies } from '../../api/admin_types';
import { listenSince } from '../../api/events';
import { ErrorBox } from '../../ui/error';
import { exactly } from '../../ui/format';
import { useRemote } from '../../ui/remote';
import { Admin } from './nav';

export function Faults({ list, label }: { list: readonly Fault[]; label: string }) {
  return (
    <ul class="faults" aria-label={label}>
      {list.map((f, i) => <li key={i}><code>{f.file}:{f.line ?? 1}</code> {f.text}</li>)}
    </ul>
  );
}

function File({ name, hash, is }: { name: string; hash: string; is: Policies }) {
  const faults = is.faults.filter((f) => f.file === name).length;
  const warnings = is.warnings.filter((f) => f.file === name).length;
  const [mark, text] = faults ? ['error', 'refused: the last good one is in force'] : warnings ? ['starting', `${warnings} ${warnings === 1 ? 'oddity' : 'oddities'}`] : ['running', 'in force'];
  const test = name.startsWith('tests/');
  return (
    <li>
      <div>{test ? <strong>{name}</strong> : <a href={`/dashboard/admin/policies/${name}`}>{name}</a>}<small class="mono">{hash.slice(0, 12)}</small></div>
      <span class={`status ${mark}`}><i aria-hidden="true" />{text}</span>
    </li>
  );
}

export default function PoliciesPage() {
  const { value: is, error, load } = useRemote<Policies>('/policies');
  useEffect(() => listenSince((e) => { if (e.kind === 'policy') void load(); }, load), [load]);
  return (
    <Admin title="Policies">
      {error && <ErrorBox error={error} retry={load} />}
      {is && (
        <>
          <p class="lead">Generation {is.generation}, in force since {exactly(is.at)}, {is.author === 'start' ? 'when the server started' : `by ${is.author}`}{is.note ? `: ${is.note}` : ''}.</p>
          {is.faults.length > 0 && <section class="card bad-card" aria-labelledby="faults"><h2 id="faults">What lies in the folder is refused</h2><Faults list={is.faults} label="Faults" /><p class="help">What was in force stays in force. Mend the file, here or in {is.folder}.</p></section>}
          {is.pending && !is.faults.length && <p role="status">What lies in {is.folder} is being looked at.</p>}
          <section class="card" aria-labelledby="files"><h2 id="files">Files</h2>
            <ul class="list">{Object.keys(is.files).sort().map((name) => <File key={name} name={name} hash={is.files[name] ?? ''} is={is} />)}</ul>
          </section>
          {is.warnings.length > 0 && <section class="card" aria-labelledby="odd"><h2 id="odd">Oddities</h2><Faults list={is.warnings} label="Oddities" /></section>}
        </>
      )}
    </Admin>
  );
}
