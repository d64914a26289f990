// The volumes of a machine: what it has, giving it one, taking one away.
import { useEffect, useId, useState } from 'preact/hooks';
import { api, asError, pages, type ApiError } from '../api/client';
import { listen } from '../api/events';
import type { Machine, Volume } from '../api/types';
import { put } from '../state/machines';
import { useWork } from '../ui/act';
import { confirm } from '../ui/dialog';
import { ErrorBox } from '../ui/error';
import { Field } from '../ui/field';
import { toast } from '../ui/toast';
import { state } from './say';

// Those of its owner at its provider, kept up to date by events.
function useVolumes(m: Machine) {
  const [all, setAll] = useState<Volume[]>([]);
  const [error, setError] = useState<ApiError | null>(null);
  const load = async () => {
    try {
      const found: Volume[] = [];
      for await (const page of pages<Volume>('/volumes?limit=1000')) found.push(...page.filter((v) => v.owner === m.owner && v.provider === m.provider));
      setAll(found);
      setError(null);
    } catch (e) { setError(asError(e)); }
  };
  useEffect(() => listen({ event: (e) => { if (e.kind === 'volume') void load(); }, afresh: load }), [m.id]);
  return { all, error, load };
}

function detach(m: Machine, id: string) {
  confirm({
    title: `Detach ${id}?`,
    body: <p>Its data stay, and it can be given to another machine. {state(m) === 'RUNNING' && `Where its provider needs that, ${m.name} is stopped and started for it.`}</p>,
    yes: `Detach ${id}`,
    work: async () => {
      put(await api<Machine>('DELETE', `/instances/${m.id}/volumes/${encodeURIComponent(id)}`));
      toast.say(`${id} is detached from ${m.name}.`);
    },
  });
}

function Attach({ machine: m, free }: { machine: Machine; free: Volume[] }) {
  const [id, setId] = useState('');
  const [path, setPath] = useState('');
  const { busy, error, run } = useWork();
  const names = useId();
  const submit = (e: Event) => {
    e.preventDefault();
    void run(async () => {
      put(await api<Machine>('POST', `/instances/${m.id}/volumes`, { id: id.trim(), path: path.trim() }));
      toast.say(`${m.name} has ${id.trim()} at ${path.trim()}.`);
      setId('');
      setPath('');
    });
  };
  return (
    <form onSubmit={submit} class="inline-form">
      <Field label="Volume" name="id" error={error} help={free.length > 0 ? 'One of yours, or a new name.' : 'A new name: it is made.'}>
        {(a) => <input {...a} value={id} required list={names} autocomplete="off" autocapitalize="none" spellcheck={false} onInput={(e) => setId(e.currentTarget.value)} />}
      </Field>
      <datalist id={names}>{free.map((v) => <option key={v.id} value={v.name} />)}</datalist>
      <Field label="Where" name="path" error={error} help="A folder on the machine.">
        {(a) => <input {...a} value={path} required placeholder="/home/claude/data" autocomplete="off" autocapitalize="none" spellcheck={false} onInput={(e) => setPath(e.currentTarget.value)} />}
      </Field>
      <button type="submit" aria-disabled={busy}>{busy ? 'Attaching…' : 'Attach'}</button>
      {error && error.field !== 'id' && error.field !== 'path' && <ErrorBox error={error} />}
    </form>
  );
}

export function Volumes({ machine: m }: { machine: Machine }) {
  const { all, error, load } = useVolumes(m);
  const about = (id: string) => all.find((v) => v.name === id);
  return (
    <section class="card" aria-labelledby="volumes">
      <h2 id="volumes">Volumes</h2>
      {error && <ErrorBox error={error} retry={load} />}
      {m.volumes.length > 0 && (
        <ul class="list">
          {m.volumes.map((v) => {
            const vol = about(v.id);
            return (
              <li key={v.id}>
                <div><strong>{v.id}</strong><small>at <code>{v.path}</code>{vol && `, ${vol.size_gib} GiB`}{vol && vol.status !== 'AVAILABLE' && `, ${vol.status.toLowerCase()}`}</small></div>
                <button type="button" class="small" aria-label={`Detach ${v.id}`} onClick={() => detach(m, v.id)}>Detach</button>
              </li>
            );
          })}
        </ul>
      )}
      <p class="help">Data that outlive the machine.{state(m) === 'RUNNING' && ' Where its provider needs that, the machine is stopped and started for a change.'}</p>
      <Attach machine={m} free={all.filter((v) => !v.attached_to && v.status === 'AVAILABLE')} />
    </section>
  );
}
