// All accounts, for an admin: read once, and again some time after an event about one of them.
import { computed, signal } from '@preact/signals';
import { asError, pages, type ApiError } from '../api/client';
import type { User } from '../api/admin_types';
import { listen } from '../api/events';

export const accounts = signal<ReadonlyMap<string, User>>(new Map());
export const loaded = signal(false);
export const problem = signal<ApiError | null>(null);
export const list = computed(() => [...accounts.value.values()].filter((u) => u.status !== 'deleted').sort((a, b) => b.number - a.number));

export const emailOf = (id: string) => (id === 'operator' ? 'the operator' : accounts.value.get(id)?.email ?? id);

let under: Promise<void> | null = null;
async function all() {
  const seen = new Map<string, User>();
  for await (const page of pages<User>('/users?limit=1000')) for (const u of page) seen.set(u.id, u);
  accounts.value = seen;
  loaded.value = true;
}

export function load() {
  under ??= all().then(() => { problem.value = null; }, (e) => { problem.value = asError(e); }).finally(() => { under = null; });
  return under;
}

/** Takes what an answer says of one. */
export function put(u: User) { accounts.value = new Map(accounts.value).set(u.id, u); }

const SETTLE = 3000; // ms
let timer: ReturnType<typeof setTimeout> | undefined;

/** For as long as a page shows them. */
export function follow() {
  if (!loaded.value) void load();
  return listen({
    event: (e) => { if (e.kind === 'user' && e.type !== 'signed_in') timer ??= setTimeout(() => { timer = undefined; void load(); }, SETTLE); },
    afresh: () => { if (loaded.value) void load(); },
  });
}
