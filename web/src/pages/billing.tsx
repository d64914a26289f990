// What one has used and what it costs: the plan, the days of a month, its invoice, and the entries of the books.
import { useEffect, useState } from 'preact/hooks';
import { go, place } from '../router';
import { offers, standing } from '../state/shared';
import { ErrorBox } from '../ui/error';
import { now } from '../ui/time';
import { InvoiceCard } from './billing/invoice';
import { Ledger } from './billing/ledger';
import { month, MonthChoice } from './billing/month';
import { PlanCard } from './billing/plan';
import { Usage } from './billing/usage';

// What Stripe's page says by the address to which it sends one back (lua/routes/stripe.lua); what it is worth, the server hears
// from Stripe itself.
const returned = new Map([
  ['success', 'Paid: thank you. Your plan, hours or credit change here as soon as Stripe has told us, mostly within seconds.'],
  ['cancel', 'Cancelled: you left Stripe’s page before you paid, and nothing has changed.'],
]);

// Said once: the address is cleaned, so that a page that is loaded again, or kept as a bookmark, does not say it anew.
function useReturned() {
  const [word] = useState(place.value.query.get('checkout'));
  useEffect(() => { if (word !== null) go('/dashboard/billing', { replace: true }); }, [word]);
  return word === null ? undefined : returned.get(word);
}

export default function Billing() {
  const said = useReturned();
  const [chosen, choose] = useState(month(new Date()));
  useEffect(() => { void standing.load(); void offers.load(); }, []);
  const s = standing.value.value;
  // What changes is heard by events (state/shared.ts). That what runs costs more each minute is none: the books have an entry when
  // something ends, not while it goes on. So it is asked for once a minute, while something runs and the page is seen (ui/time.tsx).
  const minute = Math.floor(now.value / 60e3);
  useEffect(() => { if (s?.machines.length) void standing.load(); }, [minute]);
  const o = offers.value.value;
  const problem = standing.problem.value ?? offers.problem.value;
  if (!s || !o) {
    return problem ? <ErrorBox error={problem} retry={() => { void standing.load(); void offers.load(); }} /> : <p class="loading" role="status">Loading…</p>;
  }
  return (
    <div class="money">
      <h1>Billing</h1>
      {said && <p class="lead" role="status">{said}</p>}
      <PlanCard standing={s} offers={o} />
      <MonthChoice value={chosen} choose={choose} />
      <div class="two wide-first money-month">
        <Usage month={chosen} currency={s.currency} />
        <InvoiceCard month={chosen} offers={o} />
      </div>
      <Ledger currency={s.currency} />
    </div>
  );
}
