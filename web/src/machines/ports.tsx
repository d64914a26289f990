// What listens on a machine: opened by its owner, or by a link for whoever has it.
import { useSignal } from '@preact/signals';
import { useCallback, useEffect } from 'preact/hooks';
import { api, asError, type ApiError } from '../api/client';
import type { Machine } from '../api/types';
import { attempt } from '../ui/act';
import { Copy } from '../ui/copy';
import { ErrorBox } from '../ui/error';
import { exactly } from '../ui/format';
import { toast } from '../ui/toast';
import { at } from '../work/place';

interface Port {
  port: number;
  process?: string | null;
}

interface PreviewLink {
  id: string;
  port: number;
  url: string;
  expires_at: string;
}

const HOURS = 24;

// Who is root of a machine can let its agent say anything, and a port becomes a part of addresses.
const numbered = (all: (Port | null)[]) => all.filter((p): p is Port => typeof p?.port === 'number' && Number.isInteger(p.port) && p.port >= 1 && p.port <= 65535);

function OnePort({ machine: m, port }: { machine: Machine; port: Port }) {
  const links = useSignal<PreviewLink[]>([]);
  const path = at(m, `/ports/${port.port}/link`);
  const load = async () => { links.value = await api<PreviewLink[]>('GET', path); };
  useEffect(() => { void attempt(load); }, [path]);
  const make = () => attempt(async () => {
    await api('POST', path, { hours: HOURS });
    await load();
  });
  const revoke = (link: PreviewLink) => attempt(async () => {
    await api('DELETE', `${path}?id=${encodeURIComponent(link.id)}`);
    await load();
    toast.say('The link leads nowhere any more.');
  });
  return (
    <li class="port">
      <div class="port-head">
        <span><strong>{port.port}</strong>{port.process && <small> {port.process}</small>}</span>
        <span class="buttons">
          <a class="button small" href={at(m, `/ports/${port.port}/`)} target="_blank" rel="noopener" aria-label={`Open port ${port.port}`}>Open</a>
          <button type="button" class="small" onClick={make} aria-label={`Make a link to port ${port.port}`}>Make a link</button>
        </span>
      </div>
      {links.value.map((link) => (
        <div key={link.id}>
          <Copy text={link.url} what={`the link to port ${port.port}`} />
          <div class="port-head"><small>For whoever has it, until {exactly(link.expires_at)}.</small>
            <button type="button" class="small danger-quiet" onClick={() => revoke(link)} aria-label={`Revoke the link to port ${port.port}`}>Revoke</button></div>
        </div>
      ))}
    </li>
  );
}

export function Ports({ machine: m }: { machine: Machine }) {
  const list = useSignal<Port[] | null>(null);
  const error = useSignal<ApiError | null>(null);
  const load = useCallback(async () => {
    try {
      list.value = numbered(await api('GET', at(m, '/ports?wake=false')));
      error.value = null;
    } catch (e) { error.value = asError(e); }
  }, [m.id]);
  // What begins to listen causes no event: it is asked when somebody looks.
  useEffect(() => {
    const look = () => { if (!document.hidden && list.value) void load(); };
    addEventListener('focus', look);
    return () => removeEventListener('focus', look);
  }, [load]);
  return (
    <details class="card ports" onToggle={(e) => { if (e.currentTarget.open) void load(); }}>
      <summary><h2>What listens on it</h2></summary>
      {error.value && <ErrorBox error={error.value} retry={load} />}
      {list.value && !list.value.length && <p class="help">Nothing: start a server in a terminal, and it can be opened from here.</p>}
      <ul>{list.value?.map((p) => <OnePort key={p.port} machine={m} port={p} />)}</ul>
      {list.value && <button type="button" class="small" onClick={load}>Look again</button>}
    </details>
  );
}
