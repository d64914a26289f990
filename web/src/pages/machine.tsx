// One machine: how it is, how one gets onto it, and what has happened to it.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { api, asError, type ApiError } from '../api/client';
import type { Machine } from '../api/types';
import { Actions } from '../machines/actions';
import { Connect } from '../machines/connect';
import { History } from '../machines/history';
import { Ports } from '../machines/ports';
import { HELP_CLAUDE } from '../machines/claude';
import { resize } from '../machines/resize';
import { fails, sentence, state, StatusMark } from '../machines/say';
import { Volumes } from '../machines/volumes';
import { go } from '../router';
import { find, loaded, problem, put } from '../state/machines';
import { standing } from '../state/shared';
import { useWork } from '../ui/act';
import { ErrorBox } from '../ui/error';
import { Field } from '../ui/field';
import { amount, exactly, memory } from '../ui/format';
import { Ago } from '../ui/time';
import { to } from '../work/place';
import type { PageProps } from './routes';

function Facts({ machine: m }: { machine: Machine }) {
  const s = standing.value.value;
  const rate = s?.machines.find((x) => x.id === m.id)?.rate;
  const facts: [string, ComponentChildren][] = [
    ['Type', `${m.type}: ${m.resources.vcpu} × CPU, ${memory(m.resources.memory_mib)}, ${m.resources.disk_gib} GiB`],
    ['Where', `${m.provider}${m.location ? `, ${m.location}` : ''}`],
    ['Image', m.image],
    ['Costs now', rate && s ? `${amount(rate, s.currency)} an hour` : null],
    ['Ends', m.expires_at ? exactly(m.expires_at) : null],
    ['Last used', <Ago at={m.last_activity_at} />],
    ['Made', <Ago at={m.created_at} />],
    ['Id', <code>{m.id}</code>],
  ];
  return <dl class="facts">{facts.map(([name, value]) => value && <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

function Rename({ machine: m }: { machine: Machine }) {
  const [name, setName] = useState(m.name);
  const { busy, error, run } = useWork();
  const submit = (e: Event) => {
    e.preventDefault();
    void run(async () => put(await api<Machine>('PATCH', `/instances/${m.id}`, { name: name.trim() })));
  };
  return (
    <form onSubmit={submit} class="inline-form">
      <Field label="Name" name="name" error={error}>
        {(a) => <input {...a} value={name} required autocomplete="off" spellcheck={false} maxLength={63} onInput={(e) => setName(e.currentTarget.value)} />}
      </Field>
      <button type="submit" aria-disabled={busy || name.trim() === m.name}>Rename</button>
      {error && error.field !== 'name' && <ErrorBox error={error} />}
    </form>
  );
}

// A machine that the list does not have, by the time that it is loaded or has failed, is asked for: it may be deleted, or another's.
function useMachine(key: string): { machine: Machine | undefined; error: ApiError | null; again: () => void } {
  const known = find(key);
  const [asked, setAsked] = useState<Machine>();
  const [error, setError] = useState<ApiError | null>(null);
  const ask = (loaded.value || problem.value !== null) && !known;
  const again = () => {
    setError(null);
    api<Machine>('GET', `/instances/${encodeURIComponent(key)}`).then(setAsked, (e) => setError(asError(e)));
  };
  useEffect(() => { if (ask) again(); }, [ask, key]);
  return { machine: known ?? asked, error: known ? null : error, again };
}

function Inside({ machine: m }: { machine: Machine }) {
  return (
    <nav class="buttons inside" aria-label={`In ${m.name}`}>
      <a class="button" href={to('terminal', m)}>Terminal</a>
      <a class="button" href={to('chat', m)}>Chat</a>
      <a class="button" href={to('projects', m)}>Projects</a>
      <a class="button" href={to('files', m)}>Files</a>
    </nav>
  );
}

export default function MachinePage({ values }: PageProps) {
  const { machine: m, error, again } = useMachine(values.machine ?? '');
  useEffect(() => { void standing.load(); }, []);
  useEffect(() => { if (m) document.title = `${m.name} · cchost`; }, [m?.name]);
  if (error) return <ErrorBox error={error} retry={again} />;
  if (!m) return <p class="loading" role="status">Loading…</p>;
  return (
    <>
      <div class="head"><h1>{m.name}</h1><StatusMark machine={m} /></div>
      <p class="lead" role="status">{sentence(m)}{(fails(m) || (m.status === 'STOPPED' && m.reason)) && <> <a href={`/dashboard/activity?machine=${m.short}`}>Why?</a></>}</p>
      {m.status !== 'DELETED' && <Actions machine={m} after={() => go('/dashboard')} />}
      {m.status !== 'DELETED' && <Inside machine={m} />}
      <div class="two wide-first">
        <div>
          <section class="card" aria-labelledby="facts"><h2 id="facts">What it is</h2><Facts machine={m} />{m.status !== 'DELETED' && <Rename key={m.name} machine={m} />}{m.status !== 'DELETED' && <button type="button" onClick={() => resize(m)}>Change its type</button>}</section>
          {m.status !== 'DELETED' && <Volumes machine={m} />}
          {m.status !== 'DELETED' && <Connect machine={m} />}
          {state(m) === 'RUNNING' && <Ports machine={m} />}
          {m.status !== 'DELETED' && <p class="help">No Claude Code on it? <a href={HELP_CLAUDE}>How it gets there</a>.</p>}
        </div>
        <History machine={m} />
      </div>
    </>
  );
}
