// A file: its text, to be changed and saved, or what it is when it is none.
import { useEffect, useState } from 'preact/hooks';
import { asError, type ApiError } from '../api/client';
import type { Machine } from '../api/types';
import { useWork } from '../ui/act';
import { confirm } from '../ui/dialog';
import { ErrorBox } from '../ui/error';
import { toast } from '../ui/toast';
import { bytes, download, read, save, type Opened } from './model';

// How lines end. A textarea makes "\n" of every end, so a file is edited with those, and gets its own back when it is saved.
type End = '\n' | '\r\n';
const withEnds = (text: string, end: End) => (end === '\n' ? text : text.replace(/\n/g, end));
const plain = (text: string) => text.replace(/\r\n/g, '\n');

/** How the lines of a text end; null: not all in the same way, so that nothing could give it back as it was. */
function endOf(text: string): End | null {
  if (!text.includes('\r')) return '\n';
  return withEnds(plain(text), '\r\n') === text && !plain(text).includes('\r') ? '\r\n' : null;
}

// What was written and not saved, and over what, for who comes back to the file.
const drafts = new Map<string, { text: string; end: End; tag: string | null }>();
const keyOf = (machine: Machine, path: string) => `${machine.id} ${path}`;

function Text({ machine, path, opened, again }: { machine: Machine; path: string; opened: Opened; again: () => void }) {
  const content = opened.content.content ?? '';
  const was = plain(content);
  const key = keyOf(machine, path);
  const [end] = useState(drafts.get(key)?.end ?? endOf(content) ?? '\n');
  const [text, setText] = useState(drafts.get(key)?.text ?? was);
  const [saved, setSaved] = useState(was);
  const [tag, setTag] = useState(drafts.get(key)?.tag ?? opened.tag);
  const { busy, error, run } = useWork();
  const changed = text !== saved;
  if (changed) drafts.set(key, { text, end, tag }); else drafts.delete(key);
  useEffect(() => {
    if (!changed) return undefined;
    const ask = (e: BeforeUnloadEvent) => e.preventDefault();
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [changed]);
  const put = async (over: string | null) => {
    setTag(await save(machine, path, withEnds(text, end), over));
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
        <small role="status">{changed ? 'Changed, not saved (Ctrl+S saves)' : bytes(new Blob([withEnds(text, end)]).size)}</small>
      </div>
    </form>
  );
}

function Download({ machine, path }: { machine: Machine; path: string }) {
  return <p><a class="button primary" href={download(machine, `?path=${encodeURIComponent(path)}`)} download>Download</a></p>;
}

// Its lines end in more than one way.
function Fixed({ machine, path, opened }: { machine: Machine; path: string; opened: Opened }) {
  return (
    <>
      <p class="lead">Its lines do not all end in the same way, and what is saved here would: so it is only shown. It can be changed in a terminal.</p>
      <Download machine={machine} path={path} />
      <pre class="file-text" tabIndex={0} aria-label={`Text of ${path}`}>{opened.content.content}</pre>
    </>
  );
}

function What({ machine, path, opened }: { machine: Machine; path: string; opened: Opened }) {
  const { content: c } = opened;
  return (
    <>
      <p class="lead">{c.binary ? `Not a text: ${bytes(c.size)}.` : `A text of ${bytes(c.size)}: its beginning. All of it can be downloaded, and changed in a terminal.`}</p>
      <Download machine={machine} path={path} />
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
  const { binary, truncated, content } = opened.content;
  if (binary || truncated) return <What machine={machine} path={path} opened={opened} />;
  const shown = endOf(content ?? '') === null && !drafts.has(keyOf(machine, path));
  return shown ? <Fixed machine={machine} path={path} opened={opened} /> : <Text key={times} machine={machine} path={path} opened={opened} again={load} />;
}
