// What stands around the pages on which one works in a machine: which machine it is, how it is, and another one.
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Machine } from '../api/types';
import { StatusMark } from '../machines/say';
import { go } from '../router';
import { find, load, loaded, mine, problem } from '../state/machines';
import { ErrorBox } from '../ui/error';
import { asked, current, remember, to } from './place';

const MANY = 100; // machines, from which on a choice is no way to find one

function Choice({ page, machine }: { page: string; machine: Machine }) {
  const all = mine.value.includes(machine) ? mine.value : [machine, ...mine.value];
  if (all.length > MANY) return <a href="/dashboard" title="Another machine">{machine.name}</a>;
  return (
    <select aria-label="Machine" value={machine.id} onChange={(e) => {
      const m = find(e.currentTarget.value);
      if (m) go(to(page, m));
    }}>
      {all.map((m) => <option key={m.id} value={m.id}>{m.name}</option>)}
    </select>
  );
}

function Choose({ page, title }: { page: string; title: string }) {
  const all = mine.value;
  if (!all.length) {
    return (
      <div class="empty">
        <h1>{title}</h1>
        <p>There is no machine yet to work in.</p>
        <p><a class="button primary" href="/dashboard/new">Make your first machine</a></p>
      </div>
    );
  }
  return (
    <div class="column">
      <h1>{title}</h1>
      {asked.value !== null && <p class="error-box">There is no machine “{asked.value}” that is yours: it may have been deleted. Choose another one.</p>}
      <p class="lead">Of which machine?</p>
      <ul class="list card">
        {all.slice(0, MANY).map((m) => <li key={m.id}><div><a href={to(page, m)}>{m.name}</a></div><StatusMark machine={m} /></li>)}
        {all.length > MANY && <li><a href="/dashboard">All {all.length} machines</a></li>}
      </ul>
    </div>
  );
}

interface Props {
  /** Its address beneath /dashboard. */
  page: string;
  title: string;
  /** Beside the machine, in the line above. */
  tools?: (m: Machine) => ComponentChildren;
  children: (m: Machine) => ComponentChildren;
}

export function Work({ page, title, tools, children }: Props) {
  const m = current.value;
  useEffect(() => { if (m) remember(m); }, [m?.id]);
  useEffect(() => { if (m) document.title = `${title} · ${m.name} · cchost`; }, [m?.name]);
  if (problem.value && !loaded.value) return <ErrorBox error={problem.value} retry={load} />;
  if (!loaded.value) return <p class="loading" role="status">Loading…</p>;
  if (!m) return <div class="work-choose"><Choose page={page} title={title} /></div>;
  return (
    <div class="work">
      <div class="work-bar">
        <h1>{title}</h1>
        <Choice page={page} machine={m} />
        <StatusMark machine={m} />
        {tools?.(m)}
      </div>
      {children(m)}
    </div>
  );
}
