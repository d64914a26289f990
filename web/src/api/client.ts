// Requests to the API: with the session's cookie, and errors as values that say what to do.

/** What a request ended with instead of an answer. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly status = 0,
    readonly field: string | null = null,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export interface Options {
  /** Sent once, also when it is sent again: the server gives the first one's answer (POST). */
  key?: string;
  signal?: AbortSignal;
}
export interface Answer<T> {
  status: number;
  body: T;
  headers: Headers;
}

const signedOut = new Set<() => void>();
/** Calls fn when an answer says that nobody was signed in when it was asked. */
export function onSignedOut(fn: () => void) { signedOut.add(fn); }

/** A key for Options.key. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
}

// Whether an answer says what became of what was asked. Without one, or with one that is not kept with the key (lua/idempotency.lua),
// it may have been done, or be under way.
const final = (e: ApiError) => e.status > 0 && e.status < 500 && e.status !== 401 && e.retryAfter === null;

/** For what must not be done twice when it is asked again: -> post(path, body), with one key until there is an answer to that. */
export function once() {
  let key = newKey();
  let said = '';
  return async <T>(path: string, body: object): Promise<T> => {
    const text = `${path} ${JSON.stringify(body)}`;
    if (text !== said) key = newKey();
    said = text;
    try {
      const answer = await api<T>('POST', path, body, { key });
      said = '';
      return answer;
    } catch (e) {
      if (final(asError(e))) said = '';
      throw e;
    }
  };
}

/** The error that an answer tells; also used of a stream's. */
export async function errorOf(res: Response): Promise<ApiError> {
  let said: { error?: string; code?: string; field?: string } = {};
  try { said = await res.json(); } catch { /* not ours: a proxy's page */ }
  const after = Number(res.headers.get('Retry-After'));
  if (res.status === 401) for (const fn of signedOut) fn();
  return new ApiError(said.error ?? `The server answered ${res.status}.`, said.code ?? 'io', res.status, said.field ?? null, after || null);
}

// Who opens many pages at once may ask too often for a moment: what is only read then waits its turn instead of being an error.
const PATIENT = 5; // seconds
const TIMES = 3;
function turn(res: Response, method: Method, times: number): number | null {
  const after = Number(res.headers.get('Retry-After'));
  return res.status === 429 && method === 'GET' && times < TIMES && after > 0 && after <= PATIENT ? after * 1000 : null;
}

/** Asks, and gives the answer with its head. Throws ApiError. */
export async function ask<T>(method: Method, path: string, body?: unknown, options: Options = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (options.key) headers['Idempotency-Key'] = options.key;
  let res: Response;
  try {
    for (let times = 0; ; times++) {
      res = await fetch(path, {
        method, headers, credentials: 'same-origin', signal: options.signal, body: body === undefined ? undefined : JSON.stringify(body),
      });
      const ms = turn(res, method, times);
      if (ms === null) break;
      await new Promise((r) => setTimeout(r, ms * (1 + Math.random())));
    }
  } catch (e) {
    if (options.signal?.aborted) throw e;
    throw new ApiError('The server could not be reached.', 'offline');
  }
  if (!res.ok) throw await errorOf(res);
  const text = await res.text();
  return { status: res.status, body: (text && /json/.test(res.headers.get('Content-Type') ?? '') ? JSON.parse(text) : text) as T, headers: res.headers };
}

/** Asks, and gives the answer's body. */
export async function api<T>(method: Method, path: string, body?: unknown, options?: Options): Promise<T> {
  return (await ask<T>(method, path, body, options)).body;
}

/** Where the next page of a list is, or null. */
export function nextPage(headers: Headers): string | null {
  return /<([^>]+)>; rel="next"/.exec(headers.get('Link') ?? '')?.[1] ?? null;
}

/** All of a list that comes in pages, page by page. */
export async function* pages<T>(path: string): AsyncGenerator<T[]> {
  for (let next: string | null = path; next;) {
    const { body, headers } = await ask<T[]>('GET', next);
    yield body;
    next = nextPage(headers);
  }
}

/** For what is asked again later; it ends as the signal says so, too. */
export const wait = (ms: number, signal: AbortSignal) => new Promise<void>((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); });
});

/** What has been caught, as an ApiError. */
export function asError(e: unknown): ApiError {
  return e instanceof ApiError ? e : new ApiError(e instanceof Error ? e.message : String(e), 'internal');
}
