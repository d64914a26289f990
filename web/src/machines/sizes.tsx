// The types of machines, as a choice of one.
import type { Offers } from '../api/types';
import { me } from '../state/session';
import { memory, money } from '../ui/format';

export type Size = Offers['types'][number];

/** Those that one's plan has. */
export function sizesOf(all: Offers): Size[] {
  const plan = all.plans.find((p) => p.name === me.value?.plan);
  return all.types.filter((t) => !plan?.types || plan.types.includes(t.name));
}

interface Props {
  sizes: Size[];
  value: string;
  set: (name: string) => void;
  /** What stands at the end of its line, such as its price. */
  says: (size: Size) => string;
  /** Why it cannot be had, or null. */
  closed?: (size: Size) => string | null;
}

export const priced = (currency: string) => (t: Size) => (t.hour_micro ? `${money(t.hour_micro, currency, 3)}/h` : 'free');

export function Sizes({ sizes, value, set, says, closed }: Props) {
  return (
    <fieldset class="choices">
      <legend>Type</legend>
      {sizes.map((t) => {
        const why = closed?.(t);
        return (
          <label key={t.name} class="choice">
            <input type="radio" name="type" value={t.name} checked={value === t.name} disabled={Boolean(why)} onChange={() => set(t.name)} />
            <span class="choice-name">{t.name}</span>
            <span>{t.vcpu} {t.vcpu === 1 ? 'processor' : 'processors'} · {memory(t.memory_mib)} · {t.disk_gib} GiB disk</span>
            <span class="num">{why || says(t)}</span>
          </label>
        );
      })}
    </fieldset>
  );
}
