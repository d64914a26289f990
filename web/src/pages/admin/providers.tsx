// The providers in use: whether they can be reached, and whether they will do, in plain words.
import { useEffect, useState } from 'preact/hooks';
import { api } from '../../api/client';
import type { Finding, Provider, Providers } from '../../api/admin_types';
import { listenSince } from '../../api/events';
import { useWork } from '../../ui/act';
import { ErrorBox } from '../../ui/error';
import { useRemote } from '../../ui/remote';
import { Ago } from '../../ui/time';
import { Admin } from './nav';

const marks: Record<Finding['state'], string> = { ok: 'running', warn: 'starting', bad: 'error' };
const words: Record<Finding['state'], string> = { ok: 'good', warn: 'look', bad: 'bad' };

function One({ provider: p }: { provider: Provider }) {
  const [found, setFound] = useState<Finding[] | null>(null);
  const { busy, error, run } = useWork();
  const orphans = Object.keys(p.orphans).length;
  return (
    <section class="card" aria-labelledby={`provider-${p.name}`}>
      <div class="line-head">
        <h2 id={`provider-${p.name}`}>{p.name}</h2>
        <span class={`status ${p.ok ? 'running' : 'error'}`}><i aria-hidden="true" />{p.ok ? 'Reachable' : 'Not reachable'}</span>
        <button type="button" aria-disabled={busy} onClick={() => run(async () => setFound(await api<Finding[]>('GET', `/providers/${p.name}/check`)))}>{busy ? 'Checking…' : 'Check'}</button>
      </div>
      {!p.ok && p.stale_since && <p>What is known of its machines is from <Ago at={p.stale_since} />{p.error ? `: ${p.error}` : ''}. They are looked at again by themselves.</p>}
      {orphans > 0 && <p><a href="/dashboard/admin/orphans">{orphans} machine{orphans === 1 ? '' : 's'} there that no record knows</a></p>}
      {error && <ErrorBox error={error} />}
      {found && <ul class="list findings" aria-label={`What was found of ${p.name}`}>
        {found.map((f) => <li key={f.what}><span class={`status ${marks[f.state]}`}><i aria-hidden="true" />{words[f.state]}</span><div><strong>{f.what}</strong><p>{f.sentence}</p></div></li>)}
      </ul>}
    </section>
  );
}

const counted: [string, string][] = [['sweeps', 'comparisons of records and providers'], ['drift', 'records that disagreed'], ['failures', 'comparisons that failed'], ['deferred', 'put off, to stay within the budget'], ['told', 'changes that providers told']];

/** The list, again when an event says that a provider is otherwise. */
export function useProviders() {
  const remote = useRemote<Providers>('/providers');
  useEffect(() => listenSince((e) => { if (e.kind === 'provider') void remote.load(); }, remote.load), [remote.load]);
  return remote;
}

export default function ProvidersPage() {
  const { value, error, load } = useProviders();
  return (
    <Admin title="Providers">
      {error && <ErrorBox error={error} retry={load} />}
      {value?.providers.map((p) => <One key={p.name} provider={p} />)}
      {value && (
        <section class="card" aria-labelledby="counters">
          <h2 id="counters">Since the server started</h2>
          <dl class="facts">{counted.map(([name, text]) => <div key={name}><dt>{value.reconcile[name] ?? 0}</dt><dd>{text}</dd></div>)}</dl>
        </section>
      )}
    </Admin>
  );
}
