// A folder: what is in it, and what is done with it.
import { useSignal } from '@preact/signals';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { asError, type ApiError } from '../api/client';
import type { Machine } from '../api/types';
import { confirm } from '../ui/dialog';
import { ErrorBox } from '../ui/error';
import { exactly } from '../ui/format';
import { useNarrow } from '../ui/narrow';
import { Ago } from '../ui/time';
import { VirtualList } from '../ui/virtual_list';
import { to } from '../work/place';
import { askName } from './ask_name';
import { bytes, download, join, listed, makeFolder, NEW, queryOf, remove, rename, save, type Entry } from './model';
import { send, Uploads } from './uploads';

/** What is in a folder, page by page; `load` reads it from its beginning again. */
function useFolder(m: Machine, path: string) {
  const entries = useSignal<Entry[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const next = useRef<string | null>(null);
  const under = useRef(0);
  const get = useCallback(async (first: boolean) => {
    const mine = first ? ++under.current : under.current;
    const from = next.current;
    if (!first && from === null) return;
    next.current = null;
    try {
      const page = await listed(m, path, first ? null : from);
      if (mine !== under.current) return;
      entries.value = first ? page.entries : [...entries.value ?? [], ...page.entries];
      next.current = page.next;
      setError(null);
    } catch (e) {
      if (mine !== under.current) return;
      next.current = from;
      setError(asError(e));
    }
  }, [m.id, path]);
  const load = useCallback(() => get(true), [get]);
  const more = useCallback(() => { void get(false); }, [get]);
  useEffect(() => { void load(); return () => { under.current++; }; }, [load]);
  return { entries: entries.value, error, load, more };
}

function Row({ machine: m, entry: e, folder, load }: { machine: Machine; entry: Entry; folder: string; load: () => Promise<void> }) {
  const dir = e.type === 'directory';
  const plain = !e.special && !e.encoded;
  const del = () => confirm({
    title: `Delete ${e.name}?`, danger: true, yes: 'Delete',
    body: <p>{dir && !e.link ? 'The folder goes with all that is in it.' : e.link ? 'It is a link: what it leads to stays.' : `${bytes(e.size)}, of ${exactly(new Date(e.modified).toISOString())}.`} This cannot be undone.</p>,
    work: async () => { await remove(m, e); await load(); },
  });
  const ren = () => askName({
    title: `Rename ${e.name}`, yes: 'Rename', name: e.name,
    work: async (name) => { await rename(m, e.path, join(folder, name)); await load(); },
  });
  return (
    <div class="file">
      <span class={dir ? 'file-name dir' : 'file-name'}>
        {plain ? <a href={to('files', m, { path: e.path, file: dir ? null : '1' })}>{e.name}{dir ? '/' : ''}</a> : <span>{e.name}</span>}
        {e.link && <small> link</small>}
      </span>
      <small class="file-size">{dir ? '' : bytes(e.size)}</small>
      <small class="file-time"><Ago at={new Date(e.modified).toISOString()} /></small>
      <span class="buttons">
        {!e.special && <a class="button small quiet" href={download(m, queryOf(e))} download aria-label={`Download ${e.name}`}>Download</a>}
        {plain && <button type="button" class="small quiet" onClick={ren} aria-label={`Rename ${e.name}`}>Rename</button>}
        <button type="button" class="small danger-quiet" onClick={del} aria-label={`Delete ${e.name}`}>Delete</button>
      </span>
    </div>
  );
}

function Tools({ machine: m, path, load, put }: { machine: Machine; path: string; load: () => Promise<void>; put: (files: File[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <div class="buttons">
      <button type="button" class="primary" onClick={() => input.current?.click()}>Upload</button>
      <input ref={input} type="file" multiple hidden aria-label="Files to upload" onChange={(e) => {
        put([...e.currentTarget.files ?? []]);
        e.currentTarget.value = '';
      }} />
      <button type="button" onClick={() => askName({ title: 'New folder', yes: 'Make it', work: async (name) => { await makeFolder(m, join(path, name)); await load(); } })}>New folder</button>
      <button type="button" onClick={() => askName({ title: 'New file', yes: 'Make it', work: async (name) => { await save(m, join(path, name), '', NEW); await load(); } })}>New file</button>
      <a class="button" href={download(m, `?path=${encodeURIComponent(path)}`)} download>Download all</a>
    </div>
  );
}

export function Browser({ machine: m, path }: { machine: Machine; path: string }) {
  const { entries, error, load, more } = useFolder(m, path);
  const [over, setOver] = useState(false);
  const narrow = useNarrow();
  const put = (files: File[]) => { void send(m, path, files, () => void load()); };
  const drop = (e: DragEvent) => {
    e.preventDefault();
    setOver(false);
    put([...e.dataTransfer?.files ?? []]);
  };
  return (
    <div class={over ? 'files over' : 'files'} onDrop={drop} onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={(e) => { if (e.target === e.currentTarget) setOver(false); }}>
      <Tools machine={m} path={path} load={load} put={put} />
      <Uploads />
      {error && <ErrorBox error={error} retry={load} />}
      {!entries && !error && <p class="loading" role="status">Loading…</p>}
      {entries && !entries.length && <div class="empty"><h2>Nothing is in this folder</h2><p>Drop files here, or upload them.</p></div>}
      {entries && entries.length > 0 && (
        <VirtualList items={entries} label="Files" rowHeight={narrow ? 81 : 45} keyOf={(e) => e.encoded ?? e.path} atEnd={more} row={(e) => <Row machine={m} entry={e} folder={path} load={load} />} />
      )}
    </div>
  );
}
