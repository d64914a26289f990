// The machines that one may see, kept up to date by events. What an event says of a record is taken from it; what is told
// beside a record (when it would be stopped) is asked for, some seconds' worth of events at a time.
import { computed, effect, signal } from '@preact/signals';
import { api, asError, pages, type ApiError } from '../api/client';
import { connection, listen } from '../api/events';
import type { LogEvent, Machine } from '../api/types';
import { me } from './session';

/** By id. A new map with each change. */
export const machines = signal<ReadonlyMap<string, Machine>>(new Map());
export const loaded = signal(false);
export const problem = signal<ApiError | null>(null);
/** The newest first. */
export const list = computed(() => [...machines.value.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1)));

/** Those that are one's own: an admin sees everybody's. */
export const mine = computed(() => list.value.filter((m) => m.owner === me.value?.id));

export const find = (key: string) => machines.value.get(key)
  ?? list.value.find((m) => m.short === key || m.name === key);

// What is told while all are being read: it counts more than what was read.
const meanwhile = new Map<string, Machine>();

/** Takes what an answer says of a machine, unless something newer is known. */
export function put(m: Machine) {
  if (loading) meanwhile.set(m.id, m);
  const known = machines.value.get(m.id);
  if (known && known.version > m.version) return;
  const next = new Map(machines.value);
  if (m.status === 'DELETED') next.delete(m.id); else next.set(m.id, m);
  machines.value = next;
}

let loading: Promise<void> | null = null;
async function loadAll() {
  meanwhile.clear();
  const seen = new Map<string, Machine>();
  for await (const page of pages<Machine>('/instances?limit=1000')) for (const m of page) seen.set(m.id, m);
  for (const [id, m] of meanwhile) {
    if (m.status === 'DELETED') seen.delete(id);
    else if ((seen.get(id)?.version ?? 0) < m.version) seen.set(id, m);
  }
  machines.value = seen;
  loaded.value = true;
}

/** Reads all of them again. */
export function load() {
  loading ??= loadAll().then(() => { problem.value = null; }, (e) => { problem.value = asError(e); }).finally(() => { loading = null; });
  return loading;
}

// ---- what events leave open

const SETTLE = 1500; // ms, in which changes of one piece of work come together
const EACH = 3;      // machines asked for one by one; more at once are a list
const unclear = new Set<string>();
let timer: ReturnType<typeof setTimeout> | undefined;

async function clearUp() {
  timer = undefined;
  const ids = [...unclear];
  unclear.clear();
  if (ids.length > EACH) return load();
  for (const id of ids) {
    try { put(await api<Machine>('GET', `/instances/${id}`)); } catch (e) { if (asError(e).status !== 404) unclear.add(id); }
  }
  if (unclear.size) timer = setTimeout(clearUp, 10 * SETTLE);
  return undefined;
}

/** What is told beside this machine's record is read again, soon. */
export function askAgain(id: string) {
  unclear.add(id);
  timer ??= setTimeout(clearUp, SETTLE);
}

function event(e: LogEvent) {
  if (e.kind !== 'instance') return;
  const known = machines.value.get(e.id);
  const changes = e.data?.changes;
  if (changes && (known || changes.id)) {
    const next = { ...known, ...changes } as Machine;
    if (next.status !== 'RUNNING') {
      delete next.idle;
      delete next.health;
    }
    put(next);
    if (next.status === 'RUNNING') askAgain(e.id);
  } else if (e.type === 'deleted' || e.data?.status === 'DELETED') {
    if (known) put({ ...known, status: 'DELETED' });
  } else {
    askAgain(e.id);
  }
}

// What was told of a stop holds until then: the next one that is due is asked again at its time.
let due: ReturnType<typeof setTimeout> | undefined;
effect(() => {
  clearTimeout(due);
  let next: Machine | null = null;
  for (const m of machines.value.values()) if (m.idle?.stops_at && (!next?.idle?.stops_at || m.idle.stops_at < next.idle.stops_at)) next = m;
  if (!next?.idle?.stops_at) return;
  const ms = Math.max(2 * SETTLE, Date.parse(next.idle.stops_at) - Date.now() + SETTLE);
  due = setTimeout(askAgain, Math.min(ms, 2 ** 31 - 1), next.id);
});

/** From when somebody is signed in; the stream's beginning loads them, or that it does not come. */
export function start() {
  listen({ event, afresh: () => { void load(); } });
  connection.subscribe((is) => { if (is === 'lost' && !loaded.value) void load(); });
}

export function forget() {
  machines.value = new Map();
  loaded.value = false;
}
