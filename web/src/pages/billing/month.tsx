// Which month is looked at: calendar months in UTC, as invoices have them.
import { me } from '../../state/session';

/** "2026-11" */
export const month = (d: Date) => d.toISOString().slice(0, 7);

const name = new Intl.DateTimeFormat(undefined, { month: 'long', year: 'numeric', timeZone: 'UTC' });
export const monthName = (text: string) => name.format(new Date(`${text}-01T00:00:00Z`));

const MOST = 24;

// From this one back to that in which the account was made.
function months() {
  const out: string[] = [];
  const first = month(new Date(me.value?.created_at ?? Date.now()));
  const now = new Date();
  for (let i = 0; i < MOST; i++) {
    const text = month(new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - i, 1)));
    if (i && text < first) break;
    out.push(text);
  }
  return out;
}

export function MonthChoice({ value, choose }: { value: string; choose: (month: string) => void }) {
  return (
    <div class="filter">
      <label for="month">Month</label>
      <select id="month" value={value} onChange={(e) => choose(e.currentTarget.value)}>
        {months().map((m) => <option key={m} value={m}>{monthName(m)}</option>)}
      </select>
    </div>
  );
}
