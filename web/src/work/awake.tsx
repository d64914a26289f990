// What can be seen of a machine only while it runs: one that sleeps is woken when somebody asks for that.
import type { ComponentChildren } from 'preact';
import type { Machine } from '../api/types';
import { canWake, wake } from '../machines/actions';
import { sentence, state } from '../machines/say';

export function Awake({ machine: m, children }: { machine: Machine; children: ComponentChildren }) {
  if (state(m) === 'RUNNING') return <>{children}</>;
  return (
    <div class="empty">
      <h2>{m.name} does not run</h2>
      <p role="status">{sentence(m)}</p>
      {canWake(m) && <p><button type="button" class="primary" onClick={() => wake(m)}>Wake it</button></p>}
    </div>
  );
}
