// One file of the policies: edited, compared with what is in force, tried on the past, and saved.
import { useEffect, useState } from 'preact/hooks';
import { ApiError, asError } from '../../api/client';
import type { Fault, PolicyFile } from '../../api/admin_types';
import { listenSince } from '../../api/events';
import { ErrorBox } from '../../ui/error';
import { useRemote } from '../../ui/remote';
import { toast } from '../../ui/toast';
import type { PageProps } from '../routes';
import { Difference } from './policy/difference';
import { Editor } from './policy/editor';
import { Faults } from './policies';
import { save } from './policy/save';
import { WhatIfCard } from './policy/what_if';
import { Admin } from './nav';

type Saving = { busy: boolean; error: ApiError | null; faults: Fault[] };
const idle: Saving = { busy: false, error: null, faults: [] };

// What was written and not saved, and over what, for who comes back to the file.
const drafts = new Map<string, { text: string; seen: PolicyFile }>();

// What lay beneath the text that was sent is that text now: what has been written since goes over it.
function rebase(sent: string, now: PolicyFile) {
  const draft = drafts.get(now.name);
  if (draft?.text === sent) drafts.delete(now.name); else if (draft) drafts.set(now.name, { text: draft.text, seen: now });
}

function Edit({ file, reload }: { file: PolicyFile; reload: () => Promise<PolicyFile | null> }) {
  const [seen, setSeen] = useState(drafts.get(file.name)?.seen ?? file);
  const [text, setText] = useState(drafts.get(file.name)?.text ?? file.saved ?? file.source);
  const [note, setNote] = useState('');
  const [saving, setSaving] = useState(idle);
  // What was sent by this page as it was before one went to another one and came back may be the file by now.
  const changed = text !== (seen.saved ?? seen.source) && text !== (file.saved ?? file.source);
  const moved = file.version !== seen.version && !saving.busy; // until it is saved, what is told may be of this very saving
  if (changed) drafts.set(file.name, { text, seen }); else drafts.delete(file.name);

  const take = () => { setSeen(file); setText(file.saved ?? file.source); setSaving(idle); };
  useEffect(() => { if (moved && !changed) take(); }, [file.version, moved]);
  useEffect(() => { // what is typed is not lost by a stray click on another page of the browser
    if (!changed) return undefined;
    const ask = (e: BeforeUnloadEvent) => e.preventDefault();
    addEventListener('beforeunload', ask);
    return () => removeEventListener('beforeunload', ask);
  }, [changed]);

  const submit = async () => {
    if (saving.busy) return;
    setSaving({ ...idle, busy: true });
    try {
      const done = await save(seen.name, { source: text, version: seen.version, note: note.trim() || undefined });
      if (done.faults) return setSaving({ ...idle, faults: done.faults });
      toast.say(`Generation ${done.generation} is in force.`);
      const read = await reload();
      const now = read?.source === text && read.saved === text ? read : { ...seen, source: text, saved: text, diff: '' };
      rebase(text, now);
      setNote('');
      setSeen(now);
      setSaving(idle);
    } catch (e) {
      setSaving({ ...idle, error: asError(e) });
      await reload();
    }
  };

  return (
    <>
      {moved && changed && (
        <div class="error-box" role="alert"><p>This file, or another, was changed by somebody else meanwhile. What you have typed is still here; take the new one, and put your change into it.</p>
          <button type="button" onClick={take}>Take the new one</button></div>
      )}
      {seen.saved === null && <p class="help">It is the shipped one; saving puts it into the folder of the policies.</p>}
      <Editor label={`Source of ${seen.name}`} value={text} change={setText} faults={saving.faults.filter((f) => f.file === seen.name)} />
      {saving.faults.length > 0 && <section class="card bad-card" aria-labelledby="refused" role="alert"><h2 id="refused">It would be refused, so it is not saved</h2><Faults list={saving.faults} label="Faults" /></section>}
      {saving.error && <ErrorBox error={saving.error} />}
      <form class="inline-form" onSubmit={(e) => { e.preventDefault(); void submit(); }}>
        <div class="field"><label for="note">Why (a note in the log)</label><input id="note" maxLength={200} value={note} onInput={(e) => setNote(e.currentTarget.value)} /></div>
        <button type="submit" class="primary" aria-disabled={saving.busy || text === seen.source}>{saving.busy ? 'Checking…' : 'Save and put in force'}</button>
      </form>
      <WhatIfCard name={seen.name} source={text} unchanged={text === seen.source} />
      <Difference name={seen.name} was={seen.source} is={text} />
    </>
  );
}

export default function Policy({ values }: PageProps) {
  const name = values.file ?? '';
  const { value: file, error, load } = useRemote<PolicyFile>(`/policies/${encodeURIComponent(name)}`);
  useEffect(() => { document.title = `${name} · cchost`; }, [name]);
  useEffect(() => listenSince((e) => { if (e.kind === 'policy') void load(); }, load), [load]);
  return (
    <Admin title={name}>
      {error && <ErrorBox error={error} retry={load} />}
      {file ? <Edit file={file} reload={load} /> : !error && <p class="loading" role="status">Loading…</p>}
    </Admin>
  );
}
