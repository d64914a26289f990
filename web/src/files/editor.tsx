// A file: its text, to be changed and saved, or what it is when it is none.
import { useEffect, useState } from 'preact/hooks';
import { asError, type ApiError } from '../api/client';
import type { Machine } from '../api/types';
import { useWork } from '../ui/act';
import { confirm } from '../ui/dialog';
import { ErrorBox } from '../ui/error';
import { toast } from '../ui/toast';
import { bytes, download, read, save, type Opened } from './model';

// What was written and not saved, and over what, for who comes back to the file.
const drafts = new Map<string, { text: string; tag: string | null }>();

function Text({ machine, path, opened, again }: { machine: Machine; path: string; opened: Opened; again: () => void }) {
  const was = opened.content.content ?? '';
  const key = `${machine.id} ${path}`;
  const [text, setText] = useState(drafts.get(key)?.text ?? was);
  const [saved, setSaved] = useState(was);
  const [tag, setTag] = useState(drafts.get(key)?.tag ?? opened.tag);
  const { busy, error, run } = useWork();
  const changed = text !== saved;
  if (changed) drafts.set(key, { text, tag }); else drafts.delete(key);
  useEffect(() => {
    if (!changed) return undefined;
    const ask = (e: BeforeUnloadEvent) => e.preventDefault();
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [changed]);
  const put = async (over: string | null) => {
    setTag(await save(machine, path, text, over));
    setSaved(text);
    toast.say('Saved.');
  };
  const store = () => { if (changed) void run(() => put(tag)); };
  return (
    <form class="text-editor" onSubmit={(e) => { e.preventDefault(); store(); }}>
      <textarea aria-label={`Text of ${path}`} value={text} spellcheck={false} autocomplete="off" wrap="off" onInput={(e) => setText(e.currentTarget.value)}
        onKeyDown={(e) => { if ((e.ctrlKey || e.metaKey) && e.key === 's') { e.preventDefault(); store(); } }} />
      {error && error.code !== 'precondition' && <ErrorBox error={error} />}
      {error?.code === 'precondition' && (
        <div class="error-box" role="alert">
          <p>Somebody else has changed this file since you opened it. Nothing was saved.</p>
          <button type="button" onClick={() => confirm({
            title: 'Read it again?', body: <p>What you have written here is lost.</p>, yes: 'Read it again', danger: true, work: async () => { setText(saved); again(); },
          })}>Read it again</button>
          <button type="button" class="danger" onClick={() => run(() => put(null))}>Save over it</button>
        </div>
      )}
      <div class="buttons">
        <button type="submit" class="primary" aria-disabled={busy || !changed}>Save</button>
        <small role="status">{changed ? 'Changed, not saved (Ctrl+S saves)' : bytes(new Blob([text]).size)}</small>
      </div>
    </form>
  );
}

function What({ machine, path, opened }: { machine: Machine; path: string; opened: Opened }) {
  const { content: c } = opened;
  const query = `?path=${encodeURIComponent(path)}`;
  return (
    <>
      <p class="lead">{c.binary ? `Not a text: ${bytes(c.size)}.` : `A text of ${bytes(c.size)}: its beginning. All of it can be downloaded, and changed in a terminal.`}</p>
      <p><a class="button primary" href={download(machine, query)} download>Download</a></p>
      {!c.binary && <pre class="file-text" tabIndex={0} aria-label={`Beginning of ${path}`}>{c.content?.slice(0, 100000)}</pre>}
    </>
  );
}

export function Editor({ machine, path }: { machine: Machine; path: string }) {
  const [opened, setOpened] = useState<Opened | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [times, setTimes] = useState(0);
  const load = () => read(machine, path).then((o) => {
    setError(null);
    setOpened(o);
    setTimes((n) => n + 1);
  }, (e) => setError(asError(e)));
  useEffect(() => { void load(); }, [machine.id, path]);
  if (error) return <ErrorBox error={error} retry={load} />;
  if (!opened) return <p class="loading" role="status">Loading…</p>;
  const { binary, truncated } = opened.content;
  return binary || truncated ? <What machine={machine} path={path} opened={opened} /> : <Text key={times} machine={machine} path={path} opened={opened} again={load} />;
}
