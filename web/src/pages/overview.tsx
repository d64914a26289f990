// The machines, how the account stands, and what can be done with each.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Machine } from '../api/types';
import { Actions } from '../machines/actions';
import { connectCommand, installCommand } from '../machines/connect';
import { sentence, state, StatusMark } from '../machines/say';
import { load, loaded, mine, problem } from '../state/machines';
import { standing } from '../state/shared';
import { Copy } from '../ui/copy';
import { ErrorBox } from '../ui/error';
import { amount, exactly, hours } from '../ui/format';
import { useNarrow } from '../ui/narrow';
import { VirtualList } from '../ui/virtual_list';
import { to } from '../work/place';

function Figure({ name, children, note }: { name: string; children: ComponentChildren; note?: string | undefined }) {
  return <div class="figure"><dt>{name}</dt><dd>{children}{note && <small>{note}</small>}</dd></div>;
}

function Account() {
  useEffect(() => { void standing.load(); }, []);
  const s = standing.value.value;
  if (!s) return standing.problem.value ? <ErrorBox error={standing.problem.value} retry={standing.load} /> : <dl class="figures" aria-hidden="true" />;
  const left = s.included_hours_left + s.bonus_hours_left;
  return (
    <dl class="figures">
      <Figure name="Plan" note={s.subscription_status === 'inactive' ? undefined : s.subscription_status}>{s.plan}</Figure>
      <Figure name="Hours left" note={s.runs_out_at ? exactly(s.runs_out_at) : undefined}>{hours(left)}</Figure>
      <Figure name="Used this month" note={hours(s.usage_hours)}>{amount(s.cost, s.currency)}</Figure>
      <Figure name="Now" note={s.runs_out ? `an hour; ${s.runs_out}` : 'an hour'}>{amount(s.rate, s.currency)}</Figure>
    </dl>
  );
}

const fromHours = new Set(['included', 'bonus']); // what a plan gives pays for these: nothing is billed

function Row({ machine: m }: { machine: Machine }) {
  const s = standing.value.value;
  const use = s?.machines.find((x) => x.id === m.id);
  return (
    <div class="machine">
      <div class="machine-name"><a href={`/dashboard/machines/${m.short}`}>{m.name}</a><StatusMark machine={m} /></div>
      <div class="machine-say" title={sentence(m)}>
        <span>{sentence(m)}</span>
        <small>{m.type} · {m.provider}{m.location ? ` · ${m.location}` : ''} · {m.image}{use && s ? ` · ${amount(use.rate, s.currency)} an hour${fromHours.has(use.paid_by) ? ', of your hours' : ''}` : ''}</small>
      </div>
      <Actions machine={m} first={state(m) === 'RUNNING' && <a class="button primary" href={to('terminal', m)} aria-label={`Terminal of ${m.name}`}>Terminal</a>} />
    </div>
  );
}

function Empty() {
  return (
    <div class="empty">
      <h2>No machine yet</h2>
      <p>One is made in a minute, and stopped by itself when you no longer use it.</p>
      <p><a class="button primary" href="/dashboard/new">Make your first machine</a></p>
    </div>
  );
}

const FILTER_FROM = 8; // machines, from which on a list wants searching

function Machines() {
  const [text, setText] = useState('');
  const narrow = useNarrow();
  const all = mine.value; // an admin sees everybody's, in the fleet
  const wanted = text.trim().toLowerCase();
  const fits = (m: Machine) => `${m.name} ${m.short} ${m.type} ${m.provider} ${m.status} ${m.location ?? ''}`.toLowerCase().includes(wanted);
  const shown = wanted ? all.filter(fits) : all;
  if (problem.value && !loaded.value) return <ErrorBox error={problem.value} retry={load} />;
  if (!loaded.value) return <p class="loading" role="status">Loading…</p>;
  if (!all.length) return <Empty />;
  return (
    <>
      {all.length >= FILTER_FROM && (
        <div class="filter">
          <label for="filter">Find</label>
          <input id="filter" type="search" value={text} onInput={(e) => setText(e.currentTarget.value)} placeholder="name, type, provider, status" />
          <span role="status">{wanted ? `${shown.length} of ${all.length}` : `${all.length} machines`}</span>
        </div>
      )}
      <VirtualList items={shown} label="Machines" rowHeight={narrow ? 172 : 68} keyOf={(m) => m.id} row={(m) => <Row machine={m} />} />
    </>
  );
}

function HowTo() {
  const one = mine.value.find((m) => m.status === 'RUNNING') ?? mine.value[0];
  if (!one) return null;
  return (
    <section class="card" aria-labelledby="howto">
      <h2 id="howto">From your own terminal</h2>
      <p><Copy text={connectCommand(one)} what="the command that connects" /></p>
      <p class="help">The tool comes once, by:</p>
      <p><Copy text={installCommand()} what="the command that installs the tool" /></p>
    </section>
  );
}

export default function Overview() {
  return (
    <>
      <div class="head"><h1>Machines</h1><a class="button primary" href="/dashboard/new">New machine</a></div>
      <Account />
      <Machines />
      {mine.value.length <= 60 && <HowTo />}
    </>
  );
}
