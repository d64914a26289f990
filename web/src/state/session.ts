// Who is signed in, and where he wanted to go before he was.
import { signal } from '@preact/signals';
import { api, asError, onSignedOut, type ApiError } from '../api/client';
import { follow } from '../api/events';
import type { Me } from '../api/types';

/** undefined: not known yet; null: nobody. */
export const me = signal<Me | null | undefined>(undefined);
/** Why it cannot be known. */
export const problem = signal<ApiError | null>(null);

/** Whether the session has ended by itself: the login says why one is there. */
export const ended = signal(false);

// Who signs out knows: what else is asked until the server has answered may be told first that nobody is signed in.
let leaving = false;

// An answer may come late, when somebody has signed in again meanwhile: it says only that one has to ask. What says so while
// that is asked may be of later than its answer, so it is asked once more.
let asking: Promise<void> | null = null;
let again = false;
async function askWho() {
  while (again && me.value) {
    again = false;
    await refresh();
  }
  asking = null;
}
onSignedOut(() => {
  if (!me.value) return;
  again = true;
  asking ??= askWho();
});
me.subscribe((user) => follow(Boolean(user)));

// Who has been signed in here? The cookie itself no script can see, and to ask in vain on an open page would be an error.
const BEFORE = 'cchost.signed_in';
me.subscribe((user) => {
  try {
    if (user) localStorage.setItem(BEFORE, user.id); else if (user === null) localStorage.removeItem(BEFORE);
  } catch { /* then it is asked where it matters */ }
});

// Another tab has the same cookie. What is shown here of somebody else goes with all that was typed: it was his.
window.addEventListener('storage', (e) => {
  if (e.key !== BEFORE || e.newValue === (me.value?.id ?? null)) return;
  if (e.newValue !== null && me.value) location.reload(); else void refresh();
});

/** Finds out who it is; on an open page only where somebody has been signed in. */
export function begin(path: string) {
  let before = false;
  try { before = localStorage.getItem(BEFORE) !== null; } catch { /* likewise */ }
  if (before || path.startsWith('/dashboard')) return refresh();
  me.value = null;
  return undefined;
}

// What is asked later is answered by the newer cookie: then the answer before it counts no more.
let latest = 0;

export async function refresh() {
  const mine = ++latest;
  try {
    const user = await api<Me>('GET', '/auth/me');
    if (mine !== latest) return;
    me.value = user;
    ended.value = false;
    problem.value = null;
  } catch (e) {
    if (mine !== latest) return;
    const err = asError(e);
    if (err.status !== 401) {
      problem.value = err;
      return;
    }
    if (me.value && !leaving) ended.value = true;
    me.value = null;
  }
}

export async function signOut() {
  leaving = true;
  try {
    await api('POST', '/auth/logout', {});
    latest++;
    me.value = null;
  } catch (e) {
    await asking;
    if (me.value) throw e; // else nobody is signed in any more, which is what was wished for
  } finally {
    leaving = false;
  }
}

// The place is kept here and not in an address, so nobody else can say where a sign-in leads. It is kept beyond this tab, as
// the mail's link opens another.
const PLACE = 'cchost.wanted';
const HOUR = 3600e3;

export function wantTo(path: string) {
  try { localStorage.setItem(PLACE, JSON.stringify({ path, at: Date.now() })); } catch { /* no storage: it will be the overview */ }
}

/** The place that was wanted in the last hour, once; only one of the dashboard's own. */
export function takeWanted(): string | null {
  try {
    const { path, at } = JSON.parse(localStorage.getItem(PLACE) ?? '{}');
    localStorage.removeItem(PLACE);
    return Date.now() - at < HOUR && /^\/dashboard(?:[/?#]|$)/.test(path) ? path : null;
  } catch { return null; }
}
