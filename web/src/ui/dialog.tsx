// Questions that must be answered before anything else: the browser's own <dialog>, which keeps the focus inside, ends with
// Escape; the focus goes back to where it was, or near to it.
import { effect, signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { asError } from '../api/client';
import { place } from '../router';
import { me } from '../state/session';
import { useWork } from './act';
import { ErrorBox } from './error';
import { remember } from './keep_focus';
import { toast } from './toast';

interface Question {
  title: string;
  body: ComponentChildren;
  /** What the button says. */
  yes: string;
  danger?: boolean;
  /** Done while the dialog is open; if it fails the dialog says so and stays. Closed meanwhile, a toast says so. */
  work: () => Promise<unknown>;
}

const question = signal<Question | null>(null);

/** Asks, and does the work when it is agreed to. */
export function confirm(q: Question) { question.value = q; }

// It is asked on a page: beneath one that stays when that goes, nothing of the next one could be used.
let path = place.value.path;
effect(() => {
  if (place.value.path !== path || me.value === null) question.value = null;
  path = place.value.path;
});

export function Dialog({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const back = remember();
    ref.current?.showModal();
    return () => { setTimeout(() => { if (document.activeElement === document.body) back(); }); }; // when it has gone: until then nothing else can have it
  }, []);
  return (
    <dialog ref={ref} aria-labelledby="dialog-title" onCancel={(e) => { e.preventDefault(); close(); }}
      onClick={(e) => { if (e.target === ref.current) close(); }}>
      <div class="dialog-inside">
        <h2 id="dialog-title">{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

function Ask({ q }: { q: Question }) {
  const { busy, error, run } = useWork();
  const close = () => { question.value = null; };
  const work = async () => {
    try { await q.work(); } catch (e) {
      if (question.value !== q && me.value) toast.error(asError(e)); // signed out, the login says why
      throw e;
    }
  };
  return (
    <Dialog title={q.title} close={close}>
      <form method="dialog" onSubmit={(e) => {
        e.preventDefault();
        void run(work).then((ok) => { if (ok && question.value === q) close(); });
      }}>
        <div>{q.body}</div>
        {error && <ErrorBox error={error} />}
        <div class="buttons end">
          <button type="button" onClick={close}>Cancel</button>
          <button type="submit" class={q.danger ? 'danger' : 'primary'} aria-disabled={busy}>{q.yes}</button>
        </div>
      </form>
    </Dialog>
  );
}

/** Where the question is shown: once, in the app. */
export const DialogHost = () => (question.value ? <Ask key={question.value.title} q={question.value} /> : null);
