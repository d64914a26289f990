// What this is, and what it costs: plans and prices as policies/plans.lua has them today.
import { useEffect, useState } from 'preact/hooks';
import { api, asError, type ApiError } from '../api/client';
import { me } from '../state/session';
import { ErrorBox } from '../ui/error';
import { duration, memory, money } from '../ui/format';
import type { Offers, Plan } from '../api/types';

const says: [string, string][] = [
  ['It knows when you have stopped', 'A machine that nobody uses is stopped, and says when and why in one sentence. A build that runs, a turn of Claude or an open ssh session counts as use.'],
  ['It keeps everything', 'Stopped means that the processors are given back. The disk, your projects and your conversations are there when you come back.'],
  ['It shows its sums', 'Usage is counted to the millisecond, in a ledger that you can read. Each decision about your machine can be looked up, with what would have changed it.'],
];

function promises(p: Plan, currency: string): string[] {
  return [
    p.machines === 0 ? 'Any number of machines' : p.machines === 1 ? 'One machine' : `${p.machines} machines`,
    p.included_hours ? `${p.included_hours} hours a month included` : '',
    p.trial_hours ? `${p.trial_hours} hours to try it, once` : '',
    p.included_hours ? (p.overage ? 'Beyond those, by the hour' : 'It stops when they are used') : '',
    p.volumes_gib ? `${p.volumes_gib} GiB of volumes` : 'Volumes of any size',
    `Stopped after ${duration(p.idle_seconds)} unused`,
    p.types ? `Types: ${p.types.join(', ')}` : '',
    p.month_micro === 0 && currency ? 'No card needed' : '',
  ].filter(Boolean);
}

function PlanCard({ plan, currency }: { plan: Plan; currency: string }) {
  return (
    <li class="card plan">
      <h3>{plan.name}</h3>
      <p class="price"><strong>{money(plan.month_micro, currency, plan.month_micro % 1e6 ? 2 : 0)}</strong> a month</p>
      <ul class="ticks">{promises(plan, currency).map((text) => <li key={text}>{text}</li>)}</ul>
      <a class={plan.month_micro ? 'button' : 'button primary'} href={plan.month_micro ? '/dashboard/billing' : me.value ? '/dashboard' : '/auth/login'}>
        {plan.month_micro ? (me.value ? 'To your plan' : `Start with ${plan.name}`) : me.value ? 'To your machines' : 'Start'}
      </a>
    </li>
  );
}

function Prices({ offers }: { offers: Offers }) {
  return (
    <>
      <section aria-labelledby="plans">
        <h2 id="plans">Plans</h2>
        <ul class="cards">{offers.plans.map((p) => <PlanCard key={p.name} plan={p} currency={offers.currency} />)}</ul>
      </section>
      <section aria-labelledby="hours">
        <h2 id="hours">By the hour</h2>
        <p>What a machine costs while it runs, beyond the hours that a plan includes.</p>
        <div class="scroll" tabIndex={0} role="region" aria-label="Prices by type">
          <table>
            <thead><tr><th scope="col">Type</th><th scope="col" class="num">CPUs</th><th scope="col" class="num">Memory</th><th scope="col" class="num">Disk</th><th scope="col" class="num">An hour</th></tr></thead>
            <tbody>
              {offers.types.map((t) => (
                <tr key={t.name}>
                  <th scope="row">{t.name}</th><td class="num">{t.vcpu}</td><td class="num">{memory(t.memory_mib)}</td>
                  <td class="num">{t.disk_gib} GiB</td><td class="num">{t.hour_micro ? money(t.hour_micro, offers.currency, 3) : 'free'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        {offers.storage_micro > 0 && <p class="help">The disk of a stopped machine: {money(offers.storage_micro * 730, offers.currency)} a GiB and month.</p>}
      </section>
    </>
  );
}

export default function Landing() {
  const [offers, setOffers] = useState<Offers | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const load = () => {
    setError(null);
    api<Offers>('GET', '/plans').then(setOffers, (e) => setError(asError(e)));
  };
  useEffect(load, []);
  return (
    <div class="landing">
      <section class="hero">
        <h1>A development machine in the cloud that stops when you do.</h1>
        <p class="lead">Claude Code, your projects and a terminal that does not drop, on a machine of your own. It sleeps while you do, and wakes when you open it.</p>
        <p class="buttons">
          <a class="button primary" href={me.value ? '/dashboard' : '/auth/login'}>{me.value ? 'To your machines' : 'Start'}</a>
          <a class="button" href="#plans">Prices</a>
        </p>
      </section>
      <ul class="says">{says.map(([title, text]) => <li key={title}><h2>{title}</h2><p>{text}</p></li>)}</ul>
      {offers && <Prices offers={offers} />}
      {error && <ErrorBox error={error} retry={load} />}
    </div>
  );
}
