import { useLayoutEffect, useRef } from 'preact/hooks';
import type { Chat } from './chat';

const MOST = 262144; // bytes of a message
const touch = matchMedia('(pointer: coarse)');

interface Props {
  chat: Chat;
  /** Kept by who shows it, so that it is there after a look at something else. */
  draft: { value: string };
  /** Which conversation the next message goes to, once. */
  takeSession: () => string | undefined;
}

export function Composer({ chat, draft, takeSession }: Props) {
  const area = useRef<HTMLTextAreaElement>(null);
  const working = chat.working.value;
  const ready = chat.socket.state.value.is === 'open';
  const fit = () => {
    const a = area.current;
    if (!a) return;
    a.style.height = 'auto';
    a.style.height = `${Math.min(a.scrollHeight + 2, innerHeight * 0.4)}px`;
  };
  useLayoutEffect(fit, [draft.value]);
  const size = draft.value.length > MOST / 4 ? new TextEncoder().encode(draft.value).length : 0;
  const tooLong = size > MOST;
  const say = () => {
    if (!draft.value.trim() || working || !ready || tooLong) return;
    chat.say(draft.value.trim(), takeSession());
    draft.value = '';
    area.current?.focus();
  };
  return (
    <form class="composer" onSubmit={(e) => { e.preventDefault(); say(); }}>
      <textarea ref={area} rows={1} value={draft.value} aria-label="Message to Claude" aria-describedby="composer-help" placeholder="Message to Claude"
        onInput={(e) => { draft.value = e.currentTarget.value; }}
        onKeyDown={(e) => {
          if (e.key !== 'Enter' || e.shiftKey || e.isComposing || touch.matches) return;
          e.preventDefault();
          say();
        }} />
      {working
        ? <button type="button" onClick={() => chat.abort()}>Stop</button>
        : <button type="submit" class="primary" aria-disabled={!ready || !draft.value.trim() || tooLong}>Send</button>}
      <small id="composer-help">{tooLong ? `Too long: ${size} bytes, and ${MOST} may be. Put it into a file.` : touch.matches ? '' : 'Enter sends, Shift+Enter begins a line.'}{chat.unkept.value && ` Not kept for other devices: ${chat.unkept.value}.`}</small>
    </form>
  );
}
