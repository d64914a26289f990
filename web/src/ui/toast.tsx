// Short messages in a corner. They are read aloud; an error stays until it is closed, anything else for some seconds.
import { signal } from '@preact/signals';
import type { ApiError } from '../api/client';
import { ErrorText } from './error';

interface Toast {
  id: number;
  text?: string;
  error?: ApiError;
}

const toasts = signal<Toast[]>([]);
let last = 0;

function close(id: number) { toasts.value = toasts.value.filter((t) => t.id !== id); }

function show(t: Omit<Toast, 'id'>, seconds?: number) {
  const id = ++last;
  toasts.value = [...toasts.value.slice(-3), { ...t, id }];
  if (seconds) setTimeout(close, seconds * 1000, id);
}

export const toast = {
  say(text: string) { show({ text }, 5); },
  error(error: ApiError) { show({ error }); },
};

export function Toasts() {
  return (
    <div class="toasts" role="log" aria-live="polite" aria-label="Messages">
      {toasts.value.map((t) => (
        <div key={t.id} class={t.error ? 'toast bad' : 'toast'}>
          <span>{t.error ? <ErrorText error={t.error} /> : t.text}</span>
          <button type="button" class="quiet" onClick={() => close(t.id)} aria-label="Close this message">×</button>
        </div>
      ))}
    </div>
  );
}
