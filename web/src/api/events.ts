// The one connection on which the server tells what changes (GET /events). A hidden page holds none: a browser has few
// connections to a server, and pages in the background would take them all. What came meanwhile is read when it is seen
// again, from the entry that was seen last.
import { signal } from '@preact/signals';
import { errorOf, wait } from './client';
import type { LogEvent } from './types';

/** How the connection is: pages say so when it is "lost". */
export const connection = signal<'off' | 'connecting' | 'open' | 'lost'>('off');

type Listener = { event(e: LogEvent): void; afresh(): void };
const listeners = new Set<Listener>();

/** `event` is called for each entry, in order; `afresh` when some may have been missed: at first, and after a restore. */
export function listen(listener: Listener) {
  listeners.add(listener);
  if (connection.value === 'open') listener.afresh();
  return () => { listeners.delete(listener); };
}

/** As listen, for a list that is read by itself from now on: `missed` is called when entries may have come that it was not told. */
export function listenSince(event: (e: LogEvent) => void, missed: () => void) {
  let begun = connection.value !== 'open'; // else what is read from now on is of later than the stream's beginning
  return listen({ event, afresh: () => { if (begun) missed(); begun = true; } });
}

let last: number | null = null;
let running: AbortController | null = null;

function tell(text: string) {
  const data = text.split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5)).join('\n');
  if (!data) return;
  const entry = JSON.parse(data) as LogEvent;
  last = entry.seq;
  for (const l of listeners) l.event(entry);
}

async function read(body: ReadableStream<Uint8Array>) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (let text = ''; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (text + decoder.decode(value, { stream: true })).split('\n\n');
    text = parts.pop() ?? '';
    parts.forEach(tell);
  }
}

// -> how long to wait before the next try, in ms, at least
async function once(signal: AbortSignal): Promise<number> {
  const headers: Record<string, string> = { Accept: 'text/event-stream' };
  const afresh = last === null;
  if (last !== null) headers['Last-Event-ID'] = String(last);
  const res = await fetch('/events', { headers, credentials: 'same-origin', signal, cache: 'no-store' });
  if (!res.ok || !res.body) {
    const err = await errorOf(res);
    if (err.status === 401) return 0; // whose session has ended stops following; else another one has begun since this was asked
    if (err.status === 400) last = null; // the log is shorter than what we have seen: a backup was restored
    return (err.retryAfter ?? 5) * 1000;
  }
  connection.value = 'open';
  if (afresh) for (const l of listeners) l.afresh();
  await read(res.body);
  return 0;
}

async function run(signal: AbortSignal) {
  for (let failures = 0; !signal.aborted;) {
    const began = Date.now();
    let pause = 0;
    try { pause = await once(signal); } catch { /* cut off, or not reached */ }
    if (signal.aborted) return;
    connection.value = 'lost';
    failures = Date.now() - began > 10000 ? 0 : failures + 1;
    await wait(Math.max(pause, Math.min(30000, 250 * 2 ** failures) * (0.5 + Math.random() / 2)), signal);
  }
}

function open() {
  if (running || document.hidden) return;
  running = new AbortController();
  connection.value = 'connecting';
  void run(running.signal);
}

function close() {
  running?.abort();
  running = null;
  connection.value = 'off';
}

let wanted = false;
document.addEventListener('visibilitychange', () => {
  if (!wanted) return;
  if (document.hidden) close(); else open();
});
window.addEventListener('online', () => { if (wanted && connection.value === 'lost') { close(); open(); } });

/** For as long as somebody is signed in. */
export function follow(on: boolean) {
  if (on === wanted) return;
  wanted = on;
  if (on) open();
  else {
    close();
    last = null;
  }
}
