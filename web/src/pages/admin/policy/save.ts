// Requests whose refusal is a list of faults with their lines, or lines of JSON that come one by one.
import { ApiError, errorOf } from '../../../api/client';
import type { Fault, WhatIf } from '../../../api/admin_types';

interface Saved {
  generation?: number;
  faults?: Fault[];
}

const put = (method: string, path: string, body: unknown, signal?: AbortSignal) => fetch(path, {
  method, credentials: 'same-origin', signal: signal ?? null, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
}).catch((e) => { throw signal?.aborted ? e : new ApiError('The server could not be reached.', 'offline'); });

/** Throws ApiError; what the checks found is no error but an answer. */
export async function save(name: string, body: { source: string; version: string; note: string | undefined }): Promise<Saved> {
  const res = await put('PUT', `/policies/${encodeURIComponent(name)}`, body);
  if (res.status === 400) {
    const said = await res.clone().json().catch(() => ({}));
    if (said.faults?.length) return { faults: said.faults };
  }
  if (!res.ok) throw await errorOf(res);
  return res.json();
}

interface Said {
  progress?: number;
  result?: WhatIf;
  error?: string;
  code?: string;
  faults?: Fault[];
}

/** `progress` is told how many machines were looked at; aborting ends the server's work, too. */
export async function whatIf(name: string, source: string, since: string, progress: (n: number) => void, signal: AbortSignal): Promise<{ result?: WhatIf; faults?: Fault[] }> {
  const res = await put('POST', `/policies/${encodeURIComponent(name)}/whatif`, { source, since }, signal);
  if (!res.ok || !res.body) throw await errorOf(res);
  const reader = res.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      const said = JSON.parse(line) as Said;
      if (said.progress !== undefined) progress(said.progress);
      if (said.result) return { result: said.result };
      if (said.faults?.length) return { faults: said.faults };
      if (said.error) throw new ApiError(said.error, said.code ?? 'failed');
    }
    if (done) throw new ApiError('The server ended before it was done.', 'unavailable');
  }
}
