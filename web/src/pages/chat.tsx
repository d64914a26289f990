// Claude Code on a machine, in a project of it.
import { useSignal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { api } from '../api/client';
import type { Machine } from '../api/types';
import { Chat } from '../chat/chat';
import { Composer } from '../chat/composer';
import { Conversations } from '../chat/conversations';
import { Transcript } from '../chat/transcript';
import { HELP_CLAUDE } from '../machines/claude';
import { go } from '../router';
import { ROOT, useProjects } from '../work/projects';
import { at, to, value } from '../work/place';
import { SocketLine } from '../work/socket_line';
import { Work } from '../work/work';

interface Auth {
  status: 'authenticated' | 'needs_auth' | 'checking';
  reason: string | null;
}

// Said before one asks in vain. A machine that sleeps is asked nothing.
function SignedIn({ machine, ready }: { machine: Machine; ready: boolean }) {
  const [auth, setAuth] = useState<Auth | null>(null);
  useEffect(() => {
    if (ready) api<Auth>('GET', at(machine, '/auth/status?wake=false')).then(setAuth, () => {}); // the first message will tell
  }, [machine.id, ready]);
  if (auth?.status !== 'needs_auth') return null;
  return (
    <div class="socket-line" role="status">
      <span>{auth.reason}</span>
      {/not on this machine/.test(auth.reason ?? '') ? <a class="button small" href={HELP_CLAUDE}>How it gets there</a> : <a class="button small" href="/dashboard/settings">Settings</a>}
      <a class="button small" href={to('terminal', machine)}>Terminal</a>
    </div>
  );
}

function Folder({ machine, cwd }: { machine: Machine; cwd: string }) {
  const { list } = useProjects(machine);
  const known = cwd === ROOT || list?.some((p) => p.path === cwd);
  return (
    <select aria-label="Project" value={cwd} onChange={(e) => go(to('chat', machine, { cwd: e.currentTarget.value }))}>
      <option value={ROOT}>All files</option>
      {list?.map((p) => <option key={p.path} value={p.path}>{p.name}</option>)}
      {!known && <option value={cwd}>{cwd}</option>}
    </select>
  );
}

function Talk({ machine, cwd, session }: { machine: Machine; cwd: string; session: { current: ((id: string, title: string) => void) | null } }) {
  const chat = useSignal<Chat | null>(null);
  const draft = useSignal('');
  const next = useRef<string | undefined>(undefined);
  useEffect(() => {
    const c = new Chat(machine.id, cwd);
    chat.value = c;
    session.current = (id, title) => {
      next.current = id;
      c.note(id === 'new' ? 'A new conversation: what was said before is not known to it.' : `The next message goes on with “${title}”.`);
    };
    const stop = (e: KeyboardEvent) => { if (e.key === 'Escape' && !e.defaultPrevented && !document.querySelector('dialog')) c.abort(); };
    addEventListener('keydown', stop);
    return () => {
      removeEventListener('keydown', stop);
      session.current = null;
      c.close();
    };
  }, [machine.id, cwd]);
  const c = chat.value;
  if (!c) return null;
  return (
    <div class="chat">
      <SocketLine socket={c.socket} progress={machine.status === 'RUNNING' ? '' : 'The machine is starting…'} />
      <SignedIn machine={machine} ready={c.ready.value} />
      <Transcript chat={c} machine={machine} />
      <Composer chat={c} draft={draft} takeSession={() => {
        const s = next.current;
        next.current = undefined;
        return s;
      }} />
    </div>
  );
}

export default function ChatPage() {
  const cwd = value('cwd') || ROOT;
  const session = useRef<((id: string, title: string) => void) | null>(null);
  return (
    <Work page="chat" title="Chat" tools={(m) => (
      <>
        <Folder key={m.id} machine={m} cwd={cwd} />
        <div class="work-tools"><Conversations key={`${m.id} ${cwd}`} machine={m} cwd={cwd} choose={(id, title) => session.current?.(id, title)} /></div>
      </>
    )}>
      {(m) => <Talk key={`${m.id} ${cwd}`} machine={m} cwd={cwd} session={session} />}
    </Work>
  );
}
