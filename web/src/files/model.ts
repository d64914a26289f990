// Files of a machine, as its agent tells them (docs/agent.md).
import { api, ApiError, ask, errorOf, nextPage } from '../api/client';
import type { Machine } from '../api/types';
import { at } from '../work/place';
import { ROOT } from '../work/projects';

export interface Entry {
  name: string;
  path: string;
  type: 'file' | 'directory';
  size: number;
  modified: number;
  link?: boolean;
  special?: boolean;
  /** Its path for a query, of one whose bytes are no text. */
  encoded?: string;
}

export interface Content {
  path: string;
  size: number;
  modified: number;
  truncated: boolean;
  binary: boolean;
  content: string | null;
}

const q = (path: string) => `?path=${encodeURIComponent(path)}`;
export const queryOf = (e: Entry) => `?path=${e.encoded ?? encodeURIComponent(e.path)}`;

/** A page of a folder, and where the next one is. */
export async function listed(m: Machine, path: string, next: string | null): Promise<{ entries: Entry[]; next: string | null }> {
  const { body, headers } = await ask<Entry[]>('GET', at(m, `/files${next ?? `${q(path)}&limit=1000`}`));
  const more = nextPage(headers);
  return { entries: body, next: more && new URL(more, 'http://x/').search };
}

export interface Opened {
  content: Content;
  /** What it was when it was read: changed, and it is another. */
  tag: string | null;
}

export async function read(m: Machine, path: string): Promise<Opened> {
  const { body, headers } = await ask<Content>('GET', at(m, `/files/read${q(path)}`));
  return { content: body, tag: headers.get('ETag') };
}

/** tag: refused when it is another file by now; NEW: when there is one. null: whatever is there. -> its tag */
export const NEW = '*';
export async function save(m: Machine, path: string, text: string, tag: string | null): Promise<string | null> {
  const headers: Record<string, string> = { 'Content-Type': 'application/octet-stream' };
  if (tag) headers[tag === NEW ? 'If-None-Match' : 'If-Match'] = tag;
  let res: Response;
  try {
    res = await fetch(at(m, `/files${q(path)}`), { method: 'PUT', headers, body: text, credentials: 'same-origin' });
  } catch { throw new ApiError('The server could not be reached.', 'offline'); }
  if (!res.ok) throw await errorOf(res);
  return res.headers.get('ETag');
}

/** Sends a file, telling how far it is. fetch tells nothing of that. */
export function upload(m: Machine, path: string, file: File, progress: (part: number) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const x = new XMLHttpRequest();
    x.open('PUT', at(m, `/files${q(path)}`));
    x.setRequestHeader('Content-Type', 'application/octet-stream');
    x.upload.onprogress = (e) => progress(e.total ? e.loaded / e.total : 0);
    x.onload = () => {
      if (x.status < 300) { resolve(); return; }
      const after = x.getResponseHeader('Retry-After');
      void errorOf(new Response(x.responseText, { status: x.status, headers: after ? { 'Retry-After': after } : {} })).then(reject);
    };
    x.onerror = () => reject(new ApiError('The connection ended before all of it was sent.', 'offline'));
    x.onabort = () => reject(new ApiError('It was stopped.', 'cancelled'));
    signal.addEventListener('abort', () => x.abort());
    x.send(file);
  });
}

export const makeFolder = (m: Machine, path: string) => api('POST', at(m, '/files/folder'), { path });
export const rename = (m: Machine, from: string, to: string) => api('POST', at(m, '/files/rename'), { from, to });
export const remove = (m: Machine, e: Entry) => api('DELETE', at(m, `/files${queryOf(e)}${e.type === 'directory' && !e.link ? '&recursive=true' : ''}`));
export const download = (m: Machine, query: string) => at(m, `/files/download${query}`);

export const join = (folder: string, name: string) => `${folder.replace(/\/+$/, '')}/${name}`;
export const parent = (path: string) => (path === ROOT ? ROOT : path.replace(/\/[^/]*$/, '') || ROOT);

/** The folders from the root to a path, and itself. */
export function steps(path: string): { name: string; path: string }[] {
  const rest = path.slice(ROOT.length).split('/').filter(Boolean);
  return [{ name: 'claude-data', path: ROOT }, ...rest.map((name, i) => ({ name, path: `${ROOT}/${rest.slice(0, i + 1).join('/')}` }))];
}

/** "3.4 MB" */
export function bytes(n: number) {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
  let i = 0;
  let v = n;
  while (v >= 1000 && i < units.length - 1) { v /= 1000; i++; }
  return new Intl.NumberFormat(undefined, { style: 'unit', unit: units[i] ?? 'byte', unitDisplay: i ? 'short' : 'long', maximumFractionDigits: v < 10 && i ? 1 : 0 }).format(v);
}
