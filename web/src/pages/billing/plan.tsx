// The plan, what is left of it, and the ways to Stripe's pages, where there are some.
import { useState } from 'preact/hooks';
import { api, ApiError } from '../../api/client';
import type { Offers, Plan, Standing } from '../../api/types';
import { useWork } from '../../ui/act';
import { ErrorBox } from '../../ui/error';
import { Field } from '../../ui/field';
import { amount, exactly, hours, money } from '../../ui/format';

// Stripe's pages are another site: the address comes from our server, and is followed only if it is one.
function leaveFor(url: string) {
  if (new URL(url).protocol !== 'https:') throw new ApiError('The server named an address that is no page of Stripe.', 'internal');
  location.assign(url);
}

const subscribe = (plan: string) => api<{ url: string }>('POST', '/billing/checkout', { plan }).then((r) => leaveFor(r.url));
const portal = () => api<{ url: string }>('GET', '/billing/portal').then((r) => leaveFor(r.url));

// Whoever has one of these changes it on Stripe's page.
const subscribed = (s: Standing) => !['inactive', 'canceled', 'incomplete', 'incomplete_expired'].includes(s.subscription_status);

function about(p: Plan, currency: string) {
  const parts = [p.month_micro ? `${money(p.month_micro, currency)} a month` : 'no fee', p.included_hours ? `${p.included_hours} hours a month` : p.trial_hours ? `${p.trial_hours} hours to try` : '',
    p.machines ? `${p.machines} machine${p.machines === 1 ? '' : 's'}` : 'any number of machines'];
  return parts.filter(Boolean).join(', ');
}

function Switch({ standing: s, offers: o }: { standing: Standing; offers: Offers }) {
  const { busy, error, run } = useWork();
  const others = o.plans.filter((p) => o.for_sale.includes(p.name) && p.name !== s.plan);
  return (
    <>
      {subscribed(s)
        ? <p>You change or end your subscription, and find its invoices and means of payment, on Stripe’s page.</p>
        : others.length > 0 && (
          <ul class="list">
            {others.map((p) => (
              <li key={p.name}>
                <div><strong class="plan-name">{p.name}</strong><small>{about(p, o.currency)}</small></div>
                <button type="button" aria-disabled={busy} onClick={() => run(() => subscribe(p.name))}>Change to {p.name}</button>
              </li>
            ))}
          </ul>
        )}
      <div class="buttons"><button type="button" class={subscribed(s) ? 'primary' : ''} aria-disabled={busy} onClick={() => run(portal)}>Invoices and payment at Stripe</button></div>
      {error && <ErrorBox error={error.message === 'no billing account' ? new ApiError('There is nothing at Stripe yet: you have not paid here.', 'nothing') : error} />}
    </>
  );
}

function Credit({ currency }: { currency: string }) {
  const [value, setValue] = useState('10');
  const { busy, error, run } = useWork();
  const submit = (e: Event) => {
    e.preventDefault();
    void run(() => api<{ url: string }>('POST', '/billing/checkout', { credit: value.trim() }).then((r) => leaveFor(r.url)));
  };
  return (
    <form class="inline-form" onSubmit={submit}>
      <Field label={`Buy credit (${currency})`} name="credit" error={error}>
        {(a) => <input {...a} inputMode="decimal" required value={value} onInput={(e) => setValue(e.currentTarget.value)} />}
      </Field>
      <button type="submit" aria-disabled={busy}>Pay at Stripe</button>
      {error && error.field !== 'credit' && <ErrorBox error={error} />}
    </form>
  );
}

function runway(s: Standing) {
  if (s.runs_out_at && Date.parse(s.runs_out_at) <= Date.now()) return 'You have run out: machines are stopped, and start again with more hours or credit.';
  if (s.runs_out_at) return `As it is now, you run out ${exactly(s.runs_out_at)}.`;
  return s.machines.length ? 'As it is now, you do not run out.' : 'Nothing runs, so nothing runs out.';
}

export function PlanCard({ standing: s, offers: o }: { standing: Standing; offers: Offers }) {
  const plan = o.plans.find((p) => p.name === s.plan);
  return (
    <section class="card" aria-labelledby="plan">
      <h2 id="plan">Plan: <span class="plan-name">{s.plan}</span></h2>
      {plan && <p>{about(plan, o.currency)}{s.subscription_status !== 'inactive' && <> · subscription {s.subscription_status.replace(/_/g, ' ')}</>}</p>}
      <p class="lead" role="status">{runway(s)}</p>
      <dl class="figures">
        <div class="figure"><dt>Hours left</dt><dd>{hours(s.included_hours_left + s.bonus_hours_left)}<small>{hours(s.usage_hours)} used</small></dd></div>
        <div class="figure"><dt>Credit</dt><dd>{amount(s.credit, s.currency)}</dd></div>
        <div class="figure"><dt>Owed</dt><dd>{amount(s.owed, s.currency)}</dd></div>
        <div class="figure"><dt>Now</dt><dd>{amount(s.rate, s.currency)}<small>an hour beyond your hours</small></dd></div>
      </dl>
      {o.checkout ? <><Switch standing={s} offers={o} /><Credit currency={s.currency} /></>
        : <p class="help">Nobody pays on this server: its operator gives plans and hours. Ask him for another one.</p>}
    </section>
  );
}
