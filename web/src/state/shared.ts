// What several pages show and one request tells: asked for once, and again when an event says that it is otherwise.
import { signal, type Signal } from '@preact/signals';
import { api, asError, type ApiError } from '../api/client';
import { listen } from '../api/events';
import type { LogEvent, MachineType, Offers, Standing } from '../api/types';

export interface Shared<T> {
  value: Signal<T | null>;
  problem: Signal<ApiError | null>;
  /** Asks, unless it is being asked. */
  load: () => Promise<void>;
}

const SETTLE = 5000; // ms, at least, between two questions that events cause

/** `changedBy`: which entries of the log mean that it may be otherwise now. Nothing is asked before the first load(). */
function shared<T>(path: string, changedBy?: (e: LogEvent) => boolean): Shared<T> {
  const value = signal<T | null>(null);
  const problem = signal<ApiError | null>(null);
  let under: Promise<void> | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const ask = async () => {
    try {
      value.value = await api<T>('GET', path);
      problem.value = null;
    } catch (e) { problem.value = asError(e); }
    under = null;
  };
  const load = () => (under ??= ask());
  const soon = () => {
    if (value.value === null) return;
    timer ??= setTimeout(() => { timer = undefined; void load(); }, SETTLE);
  };
  if (changedBy) listen({ event: (e) => { if (changedBy(e)) soon(); }, afresh: soon });
  return { value, problem, load };
}

/** Plans and prices. */
export const offers = shared<Offers>('/plans', (e) => e.kind === 'policy');
/** Types, and where each may be had. */
export const types = shared<MachineType[]>('/types');
/** How one's account stands: hours left, costs, when they run out. */
export const standing = shared<Standing>('/billing/usage', (e) => e.kind === 'ledger' || e.kind === 'user' || e.kind === 'instance' && Boolean(e.data?.status));
