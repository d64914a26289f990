// A project is cloned: the machine tells how far it is, a line of JSON each.
import { useState } from 'preact/hooks';
import { ApiError, errorOf } from '../api/client';
import type { Machine } from '../api/types';
import { useWork } from '../ui/act';
import { ErrorBox } from '../ui/error';
import { Field } from '../ui/field';
import { at } from './place';
import type { Project } from './projects';

interface Line {
  phase?: string;
  percent?: number;
  project?: Project;
  error?: string;
  code?: string;
}

async function clone(m: Machine, wish: { url: string; branch?: string; name?: string }, tell: (l: Line) => void): Promise<Project> {
  let res: Response;
  try {
    res = await fetch(at(m, '/projects/clone'), {
      method: 'POST', credentials: 'same-origin', body: JSON.stringify(wish),
      headers: { 'Content-Type': 'application/json', Accept: 'application/x-ndjson' },
    });
  } catch { throw new ApiError('The server could not be reached.', 'offline'); }
  if (!res.ok || !res.body) throw await errorOf(res);
  const reader = res.body.getReader();
  const decoder = new TextDecoder();
  for (let text = ''; ;) {
    const { value, done } = await reader.read().catch(() => { throw new ApiError('The connection ended before the clone was there.', 'offline'); });
    const lines = (text + decoder.decode(value, { stream: !done })).split('\n');
    text = lines.pop() ?? '';
    for (const l of lines.filter(Boolean)) {
      const line = JSON.parse(l) as Line;
      if (line.error) throw new ApiError(line.error, line.code ?? 'failed');
      if (line.project) return line.project;
      tell(line);
    }
    if (done) throw new ApiError('The connection ended before the clone was there.', 'offline');
  }
}

export function Clone({ machine, done }: { machine: Machine; done: (p: Project) => void }) {
  const [url, setUrl] = useState('');
  const [branch, setBranch] = useState('');
  const [now, setNow] = useState<Line | null>(null);
  const { busy, error, run } = useWork();
  const submit = (e: Event) => {
    e.preventDefault();
    void run(async () => {
      setNow(null);
      const wish = { url: url.trim(), ...(branch.trim() ? { branch: branch.trim() } : {}) };
      try { done(await clone(machine, wish, setNow)); } finally { setNow(null); }
      setUrl('');
      setBranch('');
    });
  };
  return (
    <form class="card clone" onSubmit={submit} aria-label="Clone a project">
      <Field label="Repository" name="url" error={error} help="https://, ssh:// or git@host:path. A private one needs a key or a token on the machine.">
        {(a) => <input {...a} value={url} required autocomplete="off" spellcheck={false} placeholder="https://example.org/you/project.git" onInput={(e) => setUrl(e.currentTarget.value)} />}
      </Field>
      <Field label="Branch" name="branch" error={error}>
        {(a) => <input {...a} value={branch} autocomplete="off" spellcheck={false} placeholder="its default" onInput={(e) => setBranch(e.currentTarget.value)} />}
      </Field>
      <button type="submit" class="primary" aria-disabled={busy}>Clone</button>
      {busy && <p role="status" class="clone-now"><span>{now ? `${now.phase}, ${now.percent} %` : 'Asking for it…'}</span><progress max={100} value={now?.percent} aria-label="How far the clone is" /></p>}
      {error && !error.field && <ErrorBox error={error} />}
    </form>
  );
}
