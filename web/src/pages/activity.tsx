// What happens, as it happens: the log of all that one may see, or of one machine; and why a policy stopped one.
import { useCallback, useEffect, useState } from 'preact/hooks';
import { connection, listenSince } from '../api/events';
import type { LogEvent, Machine } from '../api/types';
import { what } from '../machines/history';
import { Why } from '../machines/why';
import { go, place } from '../router';
import { accounts, emailOf, follow } from '../state/accounts';
import { find, list } from '../state/machines';
import { me } from '../state/session';
import { Dialog } from '../ui/dialog';
import { ErrorBox } from '../ui/error';
import { exactly, moment } from '../ui/format';
import { useNarrow } from '../ui/narrow';
import { usePaged } from '../ui/paged';
import { VirtualList } from '../ui/virtual_list';
import { MachineChoice } from './activity/choice';

const kinds: [string, string][] = [['', 'Everything'], ['instance', 'Machines'], ['volume', 'Volumes'], ['ledger', 'The books'], ['user', 'Accounts'], ['policy', 'Policies']];

const words: Record<string, string> = { system: 'by itself', policy: 'by a policy', operator: 'by the operator', start: 'at the start' };

function who(by: string) {
  if (by === me.value?.id) return 'by you';
  return words[by] ?? (/^[\da-f-]{36}$/.test(by) ? `by ${accounts.value.get(by)?.email ?? 'another'}` : `by ${by}`);
}

function nameOf(e: LogEvent) {
  if (e.kind === 'user' && e.id === me.value?.id) return 'you';
  if (e.kind === 'user' && accounts.value.has(e.id)) return emailOf(e.id);
  if (e.kind !== 'instance') return e.kind.replace(/_/g, ' ');
  const said = e.data?.changes?.name;
  return find(e.id)?.name ?? (typeof said === 'string' ? said : e.id.slice(-12));
}

// What was decided in an entry, and when: of idleness a decision is a little older than what came of it; others are kept in their entry.
function decisionOf(e: LogEvent): { at: string; kind: string | undefined } | null {
  const d = e.data?.decision as { kind?: string; at?: string } | undefined;
  return e.kind === 'instance' && d?.kind ? { at: (d.kind === 'idle' && d.at) || e.at, kind: d.kind } : null;
}

function Row({ e, explain }: { e: LogEvent; explain: (e: LogEvent) => void }) {
  return (
    <div class="entry activity-entry" title={what(e)}>
      <time dateTime={e.at} title={exactly(e.at)}>{moment(e.at)}</time>
      <strong>{nameOf(e)}</strong>
      <span>{what(e)}</span>
      {decisionOf(e) ? <button type="button" class="small" onClick={() => explain(e)} aria-label={`Why: ${nameOf(e)} ${what(e)}`}>Why?</button> : <small>{who(e.by)}</small>}
    </div>
  );
}

const live: Record<typeof connection.value, string> = { open: 'Live', connecting: 'Connecting…', lost: 'Not live: the connection is gone', off: 'Not live' };

function Log({ machine, kind }: { machine: Machine | undefined; kind: string }) {
  const [why, explain] = useState<LogEvent | null>(null);
  const narrow = useNarrow();
  const path = machine ? `/instances/${machine.id}/events?order=newest&limit=100` : `/events?order=newest&limit=100${kind && `&kind=${kind}`}`;
  const { items, error, more, retry, prepend, renew } = usePaged<LogEvent>(path, (e) => e.seq);
  const fits = useCallback((e: LogEvent) => (machine ? e.kind === 'instance' && e.id === machine.id : !kind || e.kind === kind), [machine?.id, kind]);
  useEffect(() => listenSince((e) => { if (fits(e)) prepend(e); }, renew), [fits, renew]);
  const decision = why && decisionOf(why);
  return (
    <>
      {error && <ErrorBox error={error} retry={retry} />}
      {items && !items.length && <p class="empty">Nothing has happened yet. What does is shown here as it comes.</p>}
      {items && items.length > 0 && (
        <VirtualList items={items} label="Events" rowHeight={narrow ? 64 : 40} keyOf={(e) => e.seq} atEnd={more} row={(e) => <Row e={e} explain={explain} />} />
      )}
      {why && decision && (
        <Dialog title={`Why: ${nameOf(why)}, ${why.type.replace(/_/g, ' ')}`} close={() => explain(null)}>
          <Why machine={why.id} at={decision.at} kind={decision.kind} />
          <div class="buttons end"><button type="button" onClick={() => explain(null)}>Close</button></div>
        </Dialog>
      )}
    </>
  );
}

// A machine that a policy has stopped says so in its record.
const stopped = (m: Machine) => m.status === 'STOPPED' && Boolean(m.reason);

export default function Activity() {
  const [kind, setKind] = useState('');
  const admin = me.value?.role === 'admin';
  useEffect(() => (admin ? follow() : undefined), [admin]); // who it was
  const key = place.value.query.get('machine') ?? '';
  const machine = key ? find(key) : undefined;
  const choose = (m: Machine | null) => go(m ? `/dashboard/activity?machine=${m.short}` : '/dashboard/activity', { replace: true });
  return (
    <div class="activity">
      <div class="head"><h1>Activity</h1><span class={`status ${connection.value === 'open' ? 'running' : 'stopped'}`} role="status"><i aria-hidden="true" />{live[connection.value]}</span></div>
      <div class="filters">
        <MachineChoice all={list.value} chosen={machine ?? null} choose={choose} />
        {!machine && (
          <div class="field">
            <label for="kind">About</label>
            <select id="kind" value={kind} onChange={(e) => setKind(e.currentTarget.value)}>{kinds.map(([value, text]) => <option key={value} value={value}>{text}</option>)}</select>
          </div>
        )}
      </div>
      {machine && stopped(machine) && (
        <section class="card" aria-labelledby="why">
          <h2 id="why">Why was {machine.name} stopped?</h2>
          <Why key={`${machine.id} ${machine.status_at}`} machine={machine.id} at="stop" none={(e) => (e.status === 404 ? 'Nothing is kept of the decision any more.' : null)} />
        </section>
      )}
      <Log machine={machine} kind={kind} />
    </div>
  );
}
