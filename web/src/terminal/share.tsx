// Links by which anybody who has one sees a terminal, and can type nothing.
import { useSignal } from '@preact/signals';
import { api } from '../api/client';
import type { Machine } from '../api/types';
import { attempt, useWork } from '../ui/act';
import { Copy } from '../ui/copy';
import { ErrorBox } from '../ui/error';
import { exactly } from '../ui/format';
import { Pop } from '../ui/pop';
import { toast } from '../ui/toast';
import { at } from '../work/place';

interface Link {
  id: string;
  url: string;
  expires_at: string;
}

const MINUTES = 60;

// The API's address is a WebSocket: the page that shows it has its token behind the #, which no server is told.
const pageOf = (link: Link) => `${location.origin}/dashboard/watch#${/\/shared\/([^/?]+)/.exec(link.url)?.[1] ?? ''}`;

export function Share({ machine, session }: { machine: Machine; session: string }) {
  const links = useSignal<Link[]>([]);
  const { busy, error, run } = useWork();
  const path = at(machine, '/terminal/share');
  const query = `?session=${encodeURIComponent(session)}`;
  const load = async () => { links.value = await api<Link[]>('GET', path + query); };
  const make = () => run(async () => {
    await api('POST', path, { session, minutes: MINUTES });
    await load();
  });
  const revoke = (link: Link) => attempt(async () => {
    await api('DELETE', `${path}${query}&id=${encodeURIComponent(link.id)}`);
    await load();
    toast.say('The link leads nowhere any more; who was looking is cut off.');
  });
  return (
    <Pop title="Share" opened={() => { void run(load); }}>
      <p class="help">Whoever has a link sees what is written in “{session}”, from where its memory begins, and can type nothing.</p>
      {links.value.map((link) => (
        <div key={link.id} class="port">
          <Copy text={pageOf(link)} what="the link to look on" />
          <div class="port-head"><small>Until {exactly(link.expires_at)}.</small><button type="button" class="small danger-quiet" onClick={() => revoke(link)}>Revoke</button></div>
        </div>
      ))}
      {error && <ErrorBox error={error} />}
      <button type="button" class="small" aria-disabled={busy} onClick={make}>Make a link for an hour</button>
    </Pop>
  );
}
