// Bars by day, one or two beside each other, as inline SVG; the same as a table for who reads it otherwise. Sizes are attributes
// and colours classes, as the page's policy wants it.
import { useId } from 'preact/hooks';

export interface Series {
  name: string;
  /** One for each label. */
  values: readonly number[];
}

interface Props {
  title: string;
  /** Days: YYYY-MM-DD. */
  days: readonly string[];
  series: readonly [Series] | readonly [Series, Series];
  show: (value: number) => string;
  /** The scale goes so far at least. */
  least: number;
}

const HEIGHT = 120;
const STEP = 20;
const GAP = 4;

// The next round number that is not below n, which is above 0: of 1, 2, 2.5, 5 and their tenfolds.
function roundUp(n: number) {
  const size = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 2.5, 5, 10].map((x) => x * size).find((x) => x >= n * (1 - 1e-9)) ?? 10 * size;
}

const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', timeZone: 'UTC' });
const dayText = (text: string) => day.format(new Date(`${text}T00:00:00Z`));

function Bars({ series, top, count }: { series: readonly Series[]; top: number; count: number }) {
  const width = (STEP - GAP) / series.length;
  return (
    <svg viewBox={`0 0 ${count * STEP} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      {[0, 0.5, 1].map((y) => <line key={y} x1="0" x2={count * STEP} y1={HEIGHT * y} y2={HEIGHT * y} class="chart-line" vector-effect="non-scaling-stroke" />)}
      {series.map((s, n) => s.values.map((v, i) => {
        const height = v > 0 ? Math.max(1, v / top * HEIGHT) : 0;
        return <rect key={`${n}-${i}`} class={`bar-${series.length === 1 ? 'is' : n ? 'is' : 'was'}`} x={i * STEP + GAP / 2 + n * width} y={HEIGHT - height} width={width} height={height} />;
      }))}
    </svg>
  );
}

export function Chart({ title, days, series, show, least }: Props) {
  const id = useId();
  const top = roundUp(Math.max(...series.flatMap((s) => s.values), least));
  const sums = series.map((s) => s.values.reduce((a, b) => a + b, 0));
  const [first, last] = [days[0], days[days.length - 1]];
  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption id={id}>
        <span>{title}</span>
        {series.length > 1 && series.map((s, n) => <span key={s.name} class="chart-key"><i class={n ? 'is' : 'was'} aria-hidden="true" />{s.name}</span>)}
      </figcaption>
      <div class="chart-body">
        <div class="chart-scale" aria-hidden="true"><span>{show(top)}</span><span>{show(top / 2)}</span><span>0</span></div>
        <Bars series={series} top={top} count={days.length} />
        <div class="chart-days" aria-hidden="true">
          {first && <span>{dayText(first)}</span>}
          {last && last !== first && <span>{dayText(last)}</span>}
        </div>
      </div>
      <details>
        <summary>As a table</summary>
        <div class="scroll chart-table" tabIndex={0} role="region" aria-label={`${title}, as a table`}>
          <table>
            <thead><tr><th scope="col">Day</th>{series.map((s) => <th key={s.name} scope="col" class="num">{s.name}</th>)}</tr></thead>
            <tbody>
              {days.map((d, i) => <tr key={d}><th scope="row">{dayText(d)}</th>{series.map((s) => <td key={s.name} class="num">{show(s.values[i] ?? 0)}</td>)}</tr>)}
              <tr><th scope="row">In all</th>{sums.map((n, i) => <td key={i} class="num">{show(n)}</td>)}</tr>
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}
