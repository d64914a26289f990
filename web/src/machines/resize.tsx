// Another type for a machine: what it has then, and how its price changes, before it is done.
import { useEffect, useState } from 'preact/hooks';
import { api } from '../api/client';
import type { Machine } from '../api/types';
import { put } from '../state/machines';
import { offers } from '../state/shared';
import { confirm } from '../ui/dialog';
import { ErrorBox } from '../ui/error';
import { money } from '../ui/format';
import { toast } from '../ui/toast';
import { state } from './say';
import { Sizes, sizesOf, type Size } from './sizes';

// The type that is chosen; the dialog's work reads it.
const wanted = { type: '' };

export function difference(now: Size | undefined, then: Size, currency: string): string {
  if (!now || now.name === then.name) return now ? 'as it is' : '';
  const micro = then.hour_micro - now.hour_micro;
  return micro === 0 ? 'the same price' : `${micro > 0 ? '+' : '−'}${money(Math.abs(micro), currency, 3)}/h`;
}

function Choice({ machine: m }: { machine: Machine }) {
  const [type, setType] = useState(m.type);
  useEffect(() => { if (!offers.value.value) void offers.load(); }, []);
  const all = offers.value.value;
  if (!all) return offers.problem.value ? <ErrorBox error={offers.problem.value} retry={offers.load} /> : <p class="loading" role="status">Loading…</p>;
  const now = all.types.find((t) => t.name === m.type);
  const then = all.types.find((t) => t.name === type);
  return (
    <>
      <Sizes sizes={sizesOf(all)} value={type} set={(t) => { wanted.type = t; setType(t); }} says={(t) => difference(now, t, all.currency)} />
      <div role="status">
        {then && type !== m.type && (
          <p>
            <strong>{money(then.hour_micro, all.currency)}</strong> an hour while it runs{now ? `, instead of ${money(now.hour_micro, all.currency)}` : ''}.{' '}
            {state(m) === 'RUNNING' ? 'It is stopped and started for it: what runs on it ends, what is on its disk stays.' : 'It has it from its next start.'}
            {now && then.disk_gib < now.disk_gib ? ' Its disk does not shrink.' : ''}
          </p>
        )}
      </div>
    </>
  );
}

export function resize(m: Machine) {
  wanted.type = m.type;
  confirm({
    title: `Another type for ${m.name}`, body: <Choice machine={m} />, yes: 'Resize',
    work: async () => {
      const next = await api<Machine>('POST', `/instances/${m.id}/resize`, { type: wanted.type });
      put(next);
      toast.say(next.type === wanted.type ? `${m.name} is of the type ${next.type}.` : `${m.name} is on its way to the type ${wanted.type}.`);
    },
  });
}
