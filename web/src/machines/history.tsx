// What has happened to a machine, the newest first; what happens now comes by itself.
import { useEffect } from 'preact/hooks';
import { listenSince } from '../api/events';
import type { LogEvent, Machine } from '../api/types';
import { me } from '../state/session';
import { ErrorBox } from '../ui/error';
import { exactly, moment } from '../ui/format';
import { usePaged } from '../ui/paged';
import { VirtualList } from '../ui/virtual_list';

const ROW = 40;

function who(by: string) {
  return by === 'system' ? 'by itself' : by === me.value?.id ? 'by you' : by === 'operator' ? 'by the operator' : 'by another';
}

export function what(e: LogEvent) {
  const data = e.data as { reason?: unknown; error?: unknown } | null;
  const reason = data?.reason ?? data?.error;
  const word = e.type.replace(/_/g, ' ');
  return typeof reason === 'string' && reason ? `${word}: ${reason}` : word;
}

export function History({ machine }: { machine: Machine }) {
  const { items, error, more, retry, prepend, renew } = usePaged<LogEvent>(`/instances/${machine.id}/events?order=newest&limit=100`, (e) => e.seq);
  useEffect(() => listenSince((e) => { if (e.kind === 'instance' && e.id === machine.id) prepend(e); }, renew), [machine.id, renew]);
  return (
    <section class="card" aria-labelledby="history">
      <h2 id="history">What happened</h2>
      {error && <ErrorBox error={error} retry={retry} />}
      <VirtualList items={items ?? []} label="Events" rowHeight={ROW} keyOf={(e) => e.seq} atEnd={more}
        row={(e) => <div class="entry" title={what(e)}><time dateTime={e.at} title={exactly(e.at)}>{moment(e.at)}</time><span>{what(e)}</span><small>{who(e.by)}</small></div>} />
    </section>
  );
}
