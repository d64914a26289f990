// What the recorded past would have been under what is edited: by days, in sums, and for whom.
import { useEffect, useRef, useState } from 'preact/hooks';
import { asError, type ApiError } from '../../../api/client';
import type { Fault, WhatIf } from '../../../api/admin_types';
import { emailOf, follow } from '../../../state/accounts';
import { Chart } from '../../../ui/chart';
import { ErrorBox } from '../../../ui/error';
import { exactly, money } from '../../../ui/format';
import { Faults } from '../policies';
import { whatIf } from './save';

const HOUR = 3600e3;
const count = (n: number) => n.toLocaleString();
const machineHours = (ms: number) => `${(ms / HOUR).toLocaleString(undefined, { maximumFractionDigits: 1 })} h`;

type Sums = WhatIf['total']['before'];
const rows: [keyof Sums, string, (n: number) => string][] = [
  ['ms', 'Machine-hours', machineHours], ['micro', 'Money', (n) => money(n)], ['stops', 'Stops', count], ['at_work', '… of someone at work', count],
  ['agents', '… of a running agent', count], ['wakes', 'Wakes', count], ['early', '… soon after a stop', count],
];

const signed = (n: number, show: (n: number) => string) => (n > 0 ? `+${show(n)}` : show(n));

function Table({ result: r }: { result: WhatIf }) {
  const { before, after } = r.total;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="What would have been, in sums">
      <table>
        <thead><tr><th scope="col">In all</th><th scope="col" class="num">In force</th><th scope="col" class="num">Edited</th><th scope="col" class="num">Difference</th></tr></thead>
        <tbody>{rows.map(([f, text, show]) => <tr key={f}><th scope="row">{text}</th><td class="num">{show(before[f])}</td><td class="num">{show(after[f])}</td><td class="num">{signed(after[f] - before[f], show)}</td></tr>)}</tbody>
      </table>
    </div>
  );
}

function Affected({ result: r }: { result: WhatIf }) {
  useEffect(follow, []);
  if (!r.users.length) return <p>No user is affected.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Who is affected most">
      <table>
        <thead><tr><th scope="col">Affected most</th><th scope="col" class="num">At work</th><th scope="col" class="num">Agents</th><th scope="col" class="num">Wakes</th><th scope="col" class="num">Machine-hours</th></tr></thead>
        <tbody>{r.users.map((u) => (
          <tr key={u.owner}><th scope="row">{emailOf(u.owner)}</th>
            {(['at_work', 'agents', 'early'] as const).map((f) => <td key={f} class="num">{signed(u.after[f] - u.before[f], count)}</td>)}
            <td class="num">{signed(u.after.ms - u.before.ms, machineHours)}</td></tr>
        ))}</tbody>
      </table>
    </div>
  );
}

function Result({ result: r }: { result: WhatIf }) {
  return (
    <>
      <p>{count(r.machines)} machine{r.machines === 1 ? '' : 's'}, {exactly(r.from)} to {exactly(r.to)}. {r.failed.after > 0 && <strong>{count(r.failed.after)} decisions of the edited policy failed; each was taken as “keep”. </strong>}</p>
      {r.days.length > 0 && (
        <Chart title="Machine-hours by day" days={r.days.map((d) => d.day)} show={(h) => machineHours(h * HOUR)} least={1}
          series={[{ name: 'In force', values: r.days.map((d) => d.before / HOUR) }, { name: 'Edited', values: r.days.map((d) => d.after / HOUR) }]} />
      )}
      <Table result={r} />
      <Affected result={r} />
      <details><summary>How this is reckoned</summary><p class="help">{r.model.text}</p></details>
    </>
  );
}

type State = { at: 'no' } | { at: 'under way'; machines: number } | { at: 'done'; result: WhatIf; source: string } | { at: 'refused'; faults: Fault[] } | { at: 'failed'; error: ApiError };

export function WhatIfCard({ name, source, unchanged }: { name: string; source: string; unchanged: boolean }) {
  const [state, set] = useState<State>({ at: 'no' });
  const [since, setSince] = useState('30d');
  const under = useRef<AbortController | null>(null);
  useEffect(() => () => under.current?.abort(), []);

  const cancel = () => { under.current?.abort(); under.current = null; set({ at: 'no' }); };
  const run = async () => {
    if (under.current) return;
    const mine = new AbortController();
    under.current = mine;
    set({ at: 'under way', machines: 0 });
    try {
      const { result, faults } = await whatIf(name, source, since, (machines) => { if (!mine.signal.aborted) set({ at: 'under way', machines }); }, mine.signal);
      if (result) set({ at: 'done', result, source });
      else set({ at: 'refused', faults: faults ?? [] });
    } catch (e) {
      if (!mine.signal.aborted) set({ at: 'failed', error: asError(e) });
    } finally {
      if (under.current === mine) under.current = null;
    }
  };
  const busy = state.at === 'under way';
  return (
    <section class="card" aria-labelledby="what-if">
      <h2 id="what-if">What if it had been in force?</h2>
      <div class="buttons">
        <label for="since">Over</label>
        <select id="since" value={since} onChange={(e) => setSince(e.currentTarget.value)}>
          {[['1d', 'a day'], ['7d', '7 days'], ['30d', '30 days'], ['90d', '90 days']].map(([v, text]) => <option key={v} value={v}>{text}</option>)}
        </select>
        {busy ? <button type="button" onClick={cancel}>Cancel</button> : <button type="button" onClick={() => void run()}>Try it on the past</button>}
        {busy && <span role="status">{state.machines ? `${count(state.machines)} machines looked at…` : 'The past is read…'}</span>}
      </div>
      {unchanged && state.at === 'no' && <p class="help">Nothing is edited yet: both would be the same.</p>}
      {state.at === 'failed' && <ErrorBox error={state.error} />}
      {state.at === 'refused' && <><p>It would be refused:</p><Faults list={state.faults} label="Faults" /></>}
      {state.at === 'done' && <>{state.source !== source && <p class="help" role="status">You have edited it since: try it again.</p>}<Result result={state.result} /></>}
    </section>
  );
}
