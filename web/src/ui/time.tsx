// Times that stay true while they are looked at: one clock for the page, which moves once half a minute.
import { signal } from '@preact/signals';
import { ago, exactly } from './format';

export const now = signal(Date.now());
setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 30e3);

/** "5 minutes ago", with the time itself for who points at it. */
export function Ago({ at }: { at: string }) {
  return <time dateTime={at} title={exactly(at)}>{ago(at, now.value)}</time>;
}
