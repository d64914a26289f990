// The sessions of a machine, as tabs: links, so that each has an address, and one that closes it.
import { useSignal } from '@preact/signals';
import { useCallback, useEffect } from 'preact/hooks';
import { api, asError } from '../api/client';
import type { Machine } from '../api/types';
import { go } from '../router';
import { confirm } from '../ui/dialog';
import { Strip } from '../ui/strip';
import { toast } from '../ui/toast';
import { at, to } from '../work/place';

export interface Session {
  tab: string;
  status: 'working' | 'idle';
  foreground: string | null;
  viewers: number;
}

/** What a session may be called. Who is root of a machine can let its agent say anything, and a name becomes a part of addresses. */
export const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;
const named = (all: (Session | null)[]) => all.filter((s): s is Session => typeof s?.tab === 'string' && NAME.test(s.tab));

/** The machine's sessions, asked for when something may have changed; a machine that sleeps is left so. */
export function useSessions(m: Machine) {
  const list = useSignal<Session[]>([]);
  const load = useCallback(async () => {
    try {
      list.value = named(await api('GET', at(m, '/sessions?wake=false')));
    } catch (e) {
      const err = asError(e);
      if (err.code !== 'state' && err.code !== 'unavailable' && err.code !== 'offline') toast.error(err);
    }
  }, [m.id]);
  useEffect(() => {
    const look = () => { if (!document.hidden) void load(); };
    addEventListener('focus', look);
    return () => removeEventListener('focus', look);
  }, [load]);
  return { list: list.value, load };
}

function freeName(taken: string[]) {
  for (let n = 2; ; n++) if (!taken.includes(`shell-${n}`)) return `shell-${n}`;
}

interface Props {
  machine: Machine;
  current: string;
  sessions: Session[];
  load: () => Promise<void>;
}

export function Tabs({ machine: m, current, sessions, load }: Props) {
  const names = sessions.map((s) => s.tab);
  const all = names.includes(current) ? names : [...names, current];
  const end = async (name: string) => {
    try { await api('DELETE', at(m, `/tabs/${encodeURIComponent(name)}?wake=false`)); } catch (e) { if (asError(e).status !== 404) throw e; }
    if (name === current) go(to('terminal', m, { tab: all[all.indexOf(name) + 1] ?? all[all.indexOf(name) - 1] ?? 'main' }), { replace: true });
    await load();
  };
  const close = (name: string) => {
    const running = sessions.find((s) => s.tab === name && s.status === 'working')?.foreground;
    confirm({
      title: `Close ${name}?`, body: <p>{running ? <>Its shell ends, and what runs in it: <code>{running}</code>.</> : 'Its shell ends.'} To leave it running, just leave this page.</p>,
      yes: 'Close it', danger: true, work: () => end(name),
    });
  };
  return (
    <Strip class="terminal-tabs" label="Terminals">
      {all.map((name) => (
        <span key={name} class={name === current ? 'tab on' : 'tab'}>
          <a href={to('terminal', m, { tab: name })} aria-current={name === current ? 'page' : undefined}>{name}</a>
          {names.includes(name) && <button type="button" class="quiet" aria-label={`Close ${name}`} onClick={() => close(name)}>×</button>}
        </span>
      ))}
      <a class="button small quiet" href={to('terminal', m, { tab: freeName(all) })} aria-label="New terminal" title="New terminal">+</a>
    </Strip>
  );
}
