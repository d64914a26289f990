// Files on their way to a machine, two at a time, and how far each is.
import { signal } from '@preact/signals';
import { asError, wait, type ApiError } from '../api/client';
import type { Machine } from '../api/types';
import { ErrorText } from '../ui/error';
import { join, upload } from './model';

interface Upload {
  id: number;
  name: string;
  part: number;
  error: ApiError | null;
  stop: AbortController;
}

const AT_ONCE = 2;
const list = signal<Upload[]>([]);
let ids = 0;

const change = (id: number, changes: Partial<Upload>) => { list.value = list.value.map((u) => (u.id === id ? { ...u, ...changes } : u)); };
const drop = (id: number) => { list.value = list.value.filter((u) => u.id !== id); };

// Each file is a request, and many small ones are more than one may ask at once: they wait their turn, which the server says.
const PATIENT = 60; // seconds
async function patiently(work: () => Promise<void>, signal: AbortSignal): Promise<boolean> {
  for (let waited = false; ; waited = true) {
    try {
      if (!signal.aborted) await work();
      return waited;
    } catch (e) {
      const { status, retryAfter } = asError(e);
      if (status !== 429 || !retryAfter || retryAfter > PATIENT) throw e;
      await wait(retryAfter * 1000 * (1 + Math.random() / 2), signal);
    }
  }
}

// -> whether it had to wait its turn
async function one(m: Machine, folder: string, file: File, u: Upload): Promise<boolean> {
  try {
    const waited = await patiently(() => upload(m, join(folder, file.name), file, (part) => change(u.id, { part }), u.stop.signal), u.stop.signal);
    drop(u.id);
    return waited;
  } catch (e) {
    const error = asError(e);
    if (error.code === 'cancelled') drop(u.id); else change(u.id, { error });
    return false;
  }
}

// What has come is listed when all has, and now and then before, unless the files need each request that may be asked.
const LIST_MS = 5000;

/** Sends them; done is called after the last, and sometimes before. */
export async function send(m: Machine, folder: string, files: File[], done: () => void) {
  const waiting = files.map((file) => ({ file, u: { id: ++ids, name: file.name, part: 0, error: null, stop: new AbortController() } as Upload }));
  list.value = [...list.value, ...waiting.map((w) => w.u)];
  let listed = performance.now();
  let short = false;
  const worker = async () => {
    for (let w = waiting.shift(); w; w = waiting.shift()) {
      if (await one(m, folder, w.file, w.u)) short = true;
      if (short || performance.now() - listed < LIST_MS) continue;
      listed = performance.now();
      done();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  done();
}

export function Uploads() {
  if (!list.value.length) return null;
  return (
    <ul class="card list" aria-label="Uploads">
      {list.value.slice(0, 50).map((u) => (
        <li key={u.id}>
          <div>
            <strong>{u.name}</strong>
            {u.error ? <p class="wrong" role="alert"><ErrorText error={u.error} /></p> : <progress value={u.part} max={1} aria-label={`${u.name}: how much is sent`} />}
          </div>
          <button type="button" class="small" onClick={() => { u.stop.abort(); if (u.error) drop(u.id); }} aria-label={`${u.error ? 'Close' : 'Stop'} ${u.name}`}>{u.error ? 'Close' : 'Stop'}</button>
        </li>
      ))}
      {list.value.length > 50 && <li><small>and {list.value.length - 50} more</small></li>}
    </ul>
  );
}
