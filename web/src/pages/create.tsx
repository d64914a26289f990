// A new machine: what it is, where, and what it costs, before it is made.
import { useEffect, useRef, useState } from 'preact/hooks';
import { once } from '../api/client';
import type { Machine, Offers } from '../api/types';
import { go } from '../router';
import { put } from '../state/machines';
import { me } from '../state/session';
import { offers, types } from '../state/shared';
import { priced, Sizes, sizesOf, type Size } from '../machines/sizes';
import { useWork } from '../ui/act';
import { ErrorBox } from '../ui/error';
import { Field } from '../ui/field';
import { hours, money } from '../ui/format';

function Price({ size, all }: { size: Size | undefined; all: Offers }) {
  const plan = all.plans.find((p) => p.name === me.value?.plan);
  if (!size) return null;
  const month = size.hour_micro * 8 * 22;
  return (
    <div class="card total" role="status">
      <p><strong>{money(size.hour_micro, all.currency)}</strong> an hour while it runs, by the millisecond.
        Eight hours on each of 22 days are about {money(month, all.currency)} a month.</p>
      <p class="help">
        Paused, its disk of {size.disk_gib} GiB costs {money(size.disk_gib * all.storage_micro, all.currency)} an hour.
        {plan && (plan.included_hours || plan.trial_hours) ? ` Your plan ${plan.name} comes with ${plan.included_hours ? `${hours(plan.included_hours)} a month` : `${hours(plan.trial_hours)} to try`}; those come first.` : ''}
      </p>
    </div>
  );
}

// Where a type may be had, as far as the provider tells.
const placesOf = (type: string) => types.value.value?.find((t) => t.name === type)?.locations ?? null;

interface PlaceProps {
  a: object;
  places: string[] | null;
  value: string;
  set: (place: string) => void;
}

function Place({ a, places, value, set }: PlaceProps) {
  if (!places) return <input {...a} name="location" value={value} autocomplete="off" spellcheck={false} placeholder="wherever there is room" onInput={(e) => set(e.currentTarget.value)} />;
  return (
    <select {...a} name="location" value={value} onChange={(e) => set(e.currentTarget.value)}>
      <option value="">Wherever there is room</option>
      {places.map((p) => <option key={p} value={p}>{p}</option>)}
    </select>
  );
}

function Form({ all }: { all: Offers }) {
  const sizes = sizesOf(all);
  const [name, setName] = useState('');
  const [type, setType] = useState(sizes.some((t) => t.name === 'small') ? 'small' : sizes[0]?.name ?? '');
  const [image, setImage] = useState('');
  const [location, setLocation] = useState('');
  const places = placesOf(type);
  const there = places && !places.includes(location) ? '' : location; // what was chosen for another type may not be had for this one
  const post = useRef(once()).current;
  const { busy, error, run } = useWork();
  const submit = (e: Event) => {
    e.preventDefault();
    const body: Record<string, string> = { type };
    for (const [field, value] of Object.entries({ name: name.trim(), image: image.trim(), location: there.trim() })) if (value) body[field] = value;
    void run(async () => {
      const made = await post<Machine>('/instances', body);
      put(made);
      go(`/dashboard/machines/${made.short}`);
    });
  };
  const known = ['name', 'image', 'location'];
  return (
    <form onSubmit={submit} class="create">
      <Field label="Name" name="name" error={error} help="Letters, digits, “-”, “_” and “.”; a letter or digit first. Without one it gets a name.">
        {(a) => <input {...a} name="name" value={name} autocomplete="off" autocapitalize="none" spellcheck={false} maxLength={63} onInput={(e) => setName(e.currentTarget.value)} />}
      </Field>
      <Sizes sizes={sizes} value={type} set={setType} says={priced(all.currency)} closed={(t) => (placesOf(t.name)?.length === 0 ? 'not sold now' : null)} />
      <div class="two">
        <Field label="Image" name="image" error={error} help="What is on it at first. Without one: what its provider starts machines from.">
          {(a) => <input {...a} name="image" value={image} autocomplete="off" spellcheck={false} placeholder="the provider's own" onInput={(e) => setImage(e.currentTarget.value)} />}
        </Field>
        <Field label="Place" name="location" error={error} help={places ? 'Where its provider has this type now.' : 'A location of its provider. Without one: where there is room.'}>
          {(a) => <Place {...{ a, places, value: there, set: setLocation }} />}
        </Field>
      </div>
      <Price size={sizes.find((t) => t.name === type)} all={all} />
      {error && !(error.field && known.includes(error.field)) && <ErrorBox error={error} />}
      <div class="buttons">
        <button type="submit" class="primary" aria-disabled={busy}>{busy ? 'Making it…' : 'Make this machine'}</button>
        <a class="button" href="/dashboard">Cancel</a>
      </div>
    </form>
  );
}

export default function Create() {
  useEffect(() => { void offers.load(); void types.load(); }, []);
  const all = offers.value.value;
  return (
    <div class="column">
      <h1>New machine</h1>
      {all ? <Form all={all} /> : offers.problem.value ? <ErrorBox error={offers.problem.value} retry={offers.load} /> : <p class="loading" role="status">Loading…</p>}
    </div>
  );
}
