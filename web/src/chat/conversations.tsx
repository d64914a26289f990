// Conversations to go on with: those that Claude has on the machine for this project, and the projects of which the account has
// something on any machine.
import { useState } from 'preact/hooks';
import { api, asError, type ApiError } from '../api/client';
import type { Machine } from '../api/types';
import { ErrorText } from '../ui/error';
import { Pop } from '../ui/pop';
import { Ago } from '../ui/time';
import { at, to } from '../work/place';
import { conversations, type Conversation } from './kept';

interface OnMachine {
  id: string;
  title: string;
  updatedAt: string;
}

interface Props {
  machine: Machine;
  cwd: string;
  choose: (session: string, title: string) => void;
}

export function Conversations({ machine: m, cwd, choose }: Props) {
  const [here, setHere] = useState<OnMachine[] | null>(null);
  const [others, setOthers] = useState<Conversation[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const load = () => {
    setError(null);
    api<OnMachine[]>('GET', at(m, `/sessions/${encodeURIComponent(cwd)}/conversations?wake=false`)).then(setHere, (e) => { setHere([]); setError(asError(e)); });
    conversations().then((all) => setOthers(all.filter((c) => c.title && c.project_path !== cwd).slice(0, 20)), (e) => setError(asError(e)));
  };
  return (
    <Pop title="Conversations" class="conversations" opened={load}>
      {(close) => (
        <>
          <button type="button" class="primary small" onClick={() => { close(); choose('new', ''); }}>New conversation</button>
          {error && <p class="wrong"><ErrorText error={error} /></p>}
          <h2>Of this project, on {m.name}</h2>
          <ul>
            {here?.map((c) => <li key={c.id}><button type="button" class="quiet" onClick={() => { close(); choose(c.id, c.title); }}><span>{c.title || 'Without a title'}</span><small><Ago at={c.updatedAt} /></small></button></li>)}
            {here && !here.length && <li><small>None yet.</small></li>}
          </ul>
          {others && others.length > 0 && <h2>Of other projects</h2>}
          <ul>{others?.map((c) => <li key={c.id}><a href={to('chat', m, { cwd: c.project_path })}><span>{c.title}</span><small>{c.project_path}</small></a></li>)}</ul>
        </>
      )}
    </Pop>
  );
}
