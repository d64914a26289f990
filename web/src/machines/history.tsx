// What has happened to a machine, the newest first; what happens now comes by itself.
import { useCallback, useEffect, useState } from 'preact/hooks';
import { ask, asError, nextPage, type ApiError } from '../api/client';
import { listen } from '../api/events';
import type { LogEvent, Machine } from '../api/types';
import { me } from '../state/session';
import { ErrorBox } from '../ui/error';
import { exactly, moment } from '../ui/format';
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
  const [entries, setEntries] = useState<LogEvent[]>([]);
  const [next, setNext] = useState<string | null>(`/instances/${machine.id}/events?order=newest&limit=100`);
  const [error, setError] = useState<ApiError | null>(null);
  const more = useCallback(() => {
    if (!next) return;
    setNext(null);
    ask<LogEvent[]>('GET', next).then(({ body, headers }) => {
      setEntries((old) => [...old, ...body.filter((e) => !old.some((o) => o.seq === e.seq))]);
      setNext(nextPage(headers));
    }, (e) => { setNext(next); setError(asError(e)); });
  }, [next]);
  useEffect(more, []);
  useEffect(() => listen({
    event: (e) => { if (e.kind === 'instance' && e.id === machine.id) setEntries((old) => (old.some((o) => o.seq === e.seq) ? old : [e, ...old])); },
    afresh: () => {},
  }), [machine.id]);
  return (
    <section class="card" aria-labelledby="history">
      <h2 id="history">What happened</h2>
      {error && <ErrorBox error={error} retry={() => { setError(null); more(); }} />}
      <VirtualList items={entries} label="Events" rowHeight={ROW} keyOf={(e) => e.seq} atEnd={error ? undefined : more}
        row={(e) => <div class="entry" title={what(e)}><time dateTime={e.at} title={exactly(e.at)}>{moment(e.at)}</time><span>{what(e)}</span><small>{who(e.by)}</small></div>} />
    </section>
  );
}
