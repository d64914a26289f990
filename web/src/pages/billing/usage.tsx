// What was used of a month, by day; it goes on while machines run.
import { useEffect, useState } from 'preact/hooks';
import type { UsageDay } from '../../api/money_types';
import { standing } from '../../state/shared';
import { Chart } from '../../ui/chart';
import { ErrorBox } from '../../ui/error';
import { amount, hours } from '../../ui/format';
import { useRemote } from '../../ui/remote';
import { month as monthOf, monthName } from './month';

type What = 'hours' | 'amount';

export function Usage({ month, currency }: { month: string; currency: string }) {
  const [what, setWhat] = useState<What>('hours');
  const { value, error, load } = useRemote<UsageDay[]>(`/billing/days?month=${month}`);
  const known = standing.value.value; // another one after each change
  useEffect(() => { if (value && month === monthOf(new Date())) void load(); }, [known]);
  const show = what === 'hours' ? hours : (n: number) => amount(String(n), currency);
  return (
    <section class="card" aria-labelledby="usage">
      <div class="line-head">
        <h2 id="usage">Used in {monthName(month)}</h2>
        <select aria-label="What is shown" value={what} onChange={(e) => setWhat(e.currentTarget.value as What)}>
          <option value="hours">Hours</option>
          <option value="amount">Cost</option>
        </select>
      </div>
      {error && <ErrorBox error={error} retry={load} />}
      {value ? (
        <Chart title={what === 'hours' ? 'Hours of machines that ran, by day' : 'What machines and disks cost, by day'} days={value.map((d) => d.day)} show={show} least={what === 'hours' ? 1 : 0.01}
          series={[{ name: what === 'hours' ? 'Hours' : 'Cost', values: value.map((d) => (what === 'hours' ? d.hours : Number(d.amount))) }]} />
      ) : !error && <p class="loading" role="status">Loading…</p>}
    </section>
  );
}
