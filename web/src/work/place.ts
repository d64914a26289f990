// The machine that is worked on, and where in it: the address says both, so that a link to it leads there.
import { computed, signal } from '@preact/signals';
import type { Machine } from '../api/types';
import { place } from '../router';
import { find, mine } from '../state/machines';

const LAST = 'cchost.machine';
const last = signal<string | null>(null);
try { last.value = localStorage.getItem(LAST); } catch { /* no storage: then it is chosen each time */ }

/** What the address says of it, or null. */
export const asked = computed(() => place.value.query.get('machine'));

/** The machine that the address names, by its id, short id or name; else the one of last time; else the only one. */
export const current = computed<Machine | null>(() => {
  if (asked.value !== null) return find(asked.value) ?? null;
  return (last.value !== null ? find(last.value) : undefined) ?? (mine.value.length === 1 ? mine.value[0] ?? null : null);
});

export function remember(m: Machine) {
  last.value = m.id;
  try { localStorage.setItem(LAST, m.id); } catch { /* likewise */ }
}

/** The address of a page of a machine's work. Values that are null are left out. */
export function to(page: string, m: Machine, values: Record<string, string | null> = {}) {
  const query = new URLSearchParams({ machine: m.short });
  for (const [name, value] of Object.entries(values)) if (value !== null) query.set(name, value);
  return `/dashboard/${page}?${query.toString().replace(/%2F/g, '/')}`;
}

export const value = (name: string) => place.value.query.get(name);
/** What is asked of its agent. */
export const at = (m: Machine, path: string) => `/instances/${m.id}${path}`;
