// The books: every entry, the newest first. What an entry did to the account stands at its right.
import { useEffect } from 'preact/hooks';
import { listenSince } from '../../api/events';
import type { Entry } from '../../api/money_types';
import { find } from '../../state/machines';
import { ErrorBox } from '../../ui/error';
import { amount, exactly, hours, moment } from '../../ui/format';
import { usePaged } from '../../ui/paged';
import { VirtualList } from '../../ui/virtual_list';

const HOUR = 3600e3;
const mine = ['credit', 'owed']; // of an account's money: all else is the other side of it

const sum = (e: Entry) => e.postings.filter((p) => mine.includes(p.account)).reduce((n, p) => n + Number(p.amount ?? 0), 0);

const word = (text: string) => text.replace(/_/g, ' ');

// Whose hours they are: "block:ID" are a machine's own.
const account = (text: string) => (text.startsWith('block:') ? 'prepaid' : text);

function hoursOf(e: Entry) {
  return e.postings.filter((p) => p.ms !== undefined && p.ms < 0 && p.account !== 'used').map((p) => `${hours(-(p.ms ?? 0) / HOUR)} ${account(p.account)}`).join(', ');
}

function what(e: Entry) {
  const machine = e.machine ? find(e.machine)?.name ?? e.machine.slice(0, 8) : '';
  const parts = [word(e.type), e.plan && e.type !== 'usage' ? `plan ${e.plan}` : '', machine, e.state === 'STOPPED' ? 'its disk' : e.machine_type ?? '',
    e.hours ? `${e.hours} h` : '', e.reason ?? ''];
  return parts.filter(Boolean).join(', ');
}

function Row({ entry: e, currency }: { entry: Entry; currency: string }) {
  const n = sum(e);
  return (
    <div class="entry ledger-entry" title={what(e)}>
      <time dateTime={e.at} title={exactly(e.at)}>{moment(e.at)}</time>
      <span>{what(e)}</span>
      <small class="num">{n ? amount(n.toFixed(6), currency) : hoursOf(e)}</small>
    </div>
  );
}

export function Ledger({ currency }: { currency: string }) {
  const { items, error, more, retry, renew } = usePaged<Entry>('/billing/ledger?limit=100', (e) => e.seq);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = listenSince((e) => { if (e.kind === 'ledger') timer ??= setTimeout(() => { timer = undefined; renew(); }, 2000); }, renew);
    return () => { clearTimeout(timer); stop(); };
  }, [renew]);
  return (
    <section class="card" aria-labelledby="ledger">
      <h2 id="ledger">The books</h2>
      <p class="help">Every entry of your account. An amount with a minus was taken from you; of hours it says which were used.</p>
      {error && <ErrorBox error={error} retry={retry} />}
      {items && (items.length
        ? <VirtualList items={items} label="Entries of the books" rowHeight={40} keyOf={(e) => e.seq} atEnd={more} row={(e) => <Row entry={e} currency={currency} />} />
        : <p>There is no entry yet: the first comes with your first machine.</p>)}
    </section>
  );
}
