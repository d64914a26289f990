// What one does with a machine: wake, pause, extend, delete. Progress is told by events; an answer only ends the wait.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, once } from '../api/client';
import type { Machine } from '../api/types';
import { offers } from '../state/shared';
import { put } from '../state/machines';
import { attempt } from '../ui/act';
import { confirm } from '../ui/dialog';
import { money } from '../ui/format';
import { toast } from '../ui/toast';
import { state } from './say';

const at = (m: Machine, verb = '') => `/instances/${m.id}${verb && `/${verb}`}`;

async function change(m: Machine, verb: string) {
  put(await api<Machine>('POST', at(m, verb), {}));
}

export const canWake = (m: Machine) => ['STOPPED', 'ERROR', 'SUSPENDED'].includes(state(m));
export const canPause = (m: Machine) => state(m) === 'RUNNING';

export const wake = (m: Machine) => attempt(() => change(m, state(m) === 'SUSPENDED' ? 'resume' : 'start'));
export const pause = (m: Machine) => attempt(() => change(m, 'stop'));

export function remove(m: Machine, after?: () => void) {
  confirm({
    title: `Delete ${m.name}?`,
    body: (
      <p>Its disk goes with it, and the volume at <code>/claude-data</code> that was made for it. Volumes that you named yourself stay. This cannot be undone.</p>
    ),
    yes: `Delete ${m.name}`, danger: true,
    work: async () => {
      put(await api<Machine>('DELETE', at(m)));
      toast.say(`${m.name} is being deleted.`);
      after?.();
    },
  });
}

// The hours that are typed; the dialog's work reads them.
const wanted = { hours: 8 };

function Hours({ machine }: { machine: Machine }) {
  const [hours, setHours] = useState(wanted.hours);
  useEffect(() => { if (!offers.value.value) void offers.load(); }, []);
  const prices = offers.value.value;
  const block = prices?.types.find((t) => t.name === machine.type)?.block_micro;
  return (
    <>
      <div class="field">
        <label for="extend-hours">Hours</label>
        <input id="extend-hours" type="number" min={1} max={8760} required value={hours} onInput={(e) => { wanted.hours = Number(e.currentTarget.value); setHours(wanted.hours); }} />
      </div>
      <p>
        {block !== undefined && prices ? <>Costs <strong>{money(block * hours, prices.currency)}</strong>, taken from your credit. </> : null}
        It has an end then: it is stopped when its hours are over. {machine.prepaid ? '' : 'It becomes a machine of prepaid hours for good, and no machine of your plan any more.'}
      </p>
    </>
  );
}

export function extend(m: Machine) {
  wanted.hours = 8;
  const post = once();
  confirm({
    title: `Give ${m.name} more hours`, body: <Hours machine={m} />, yes: 'Extend',
    work: async () => {
      const next = await post<Machine>(at(m, 'extend'), { hours: wanted.hours });
      put(next);
      toast.say((next as { notice?: string }).notice ?? `${m.name} has ${wanted.hours} hours more.`);
    },
  });
}

// A button that says what it does while its answer is awaited; a second click does nothing.
function Doing({ work, now, children, class: name }: { work: () => Promise<unknown>; now: string; children: string; class?: string }) {
  const under = useRef(false);
  const [busy, setBusy] = useState(false);
  const click = async () => {
    if (under.current) return;
    under.current = true;
    setBusy(true);
    await work();
    under.current = false;
    setBusy(false);
  };
  return <button type="button" class={name} aria-disabled={busy} onClick={click}>{busy ? now : children}</button>;
}

/** The buttons of one machine. */
export function Actions({ machine: m, after, first }: { machine: Machine; after?: () => void; first?: ComponentChildren }) {
  return (
    <div class="buttons" role="group" aria-label={`Actions of ${m.name}`}>
      {first}
      {canWake(m) && <Doing class="primary" work={() => wake(m)} now="Waking…">Wake</Doing>}
      {canPause(m) && <Doing work={() => pause(m)} now="Pausing…">Pause</Doing>}
      {m.status !== 'DELETING' && <button type="button" onClick={() => extend(m)}>Extend</button>}
      {m.status !== 'DELETING' && <button type="button" class="danger-quiet" onClick={() => remove(m, after)}>Delete</button>}
    </div>
  );
}
