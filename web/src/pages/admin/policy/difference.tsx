// What is edited against what is in force, line by line.
import { useMemo } from 'preact/hooks';
import { changes } from './lines';

export function Difference({ name, was, is }: { name: string; was: string; is: string }) {
  const lines = useMemo(() => changes(was, is), [was, is]);
  if (was === is) return null;
  return (
    <section class="card" aria-labelledby="difference">
      <h2 id="difference">Against what is in force</h2>
      <pre class="difference" tabIndex={0} role="region" aria-label={`The difference in ${name}`}>
        {lines.map((l, i) => <span key={i} class={l.mark === '+' ? 'added' : l.mark === '-' ? 'removed' : l.mark === '@' ? 'skipped' : undefined}>{l.mark === '@' ? '  …' : `${l.mark} ${l.text}`}{'\n'}</span>)}
      </pre>
    </section>
  );
}
