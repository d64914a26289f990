// What unfolds over the page from a word in a line: closed by Escape, by a click elsewhere, and by going elsewhere.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

interface Props {
  title: string;
  /** Of what unfolds. */
  class?: string;
  opened?: () => void;
  children: ComponentChildren | ((close: () => void) => ComponentChildren);
}

export function Pop({ title, class: name, opened, children }: Props) {
  const ref = useRef<HTMLDetailsElement>(null);
  const close = () => { if (ref.current) ref.current.open = false; };
  useEffect(() => {
    const away = (e: Event) => { if (!ref.current?.contains(e.target as Node) && !(e.target as Element).closest?.('dialog, .toasts')) close(); };
    document.addEventListener('pointerdown', away);
    document.addEventListener('focusin', away);
    return () => { document.removeEventListener('pointerdown', away); document.removeEventListener('focusin', away); };
  }, []);
  return (
    <details ref={ref} class="pop" onToggle={(e) => { if (e.currentTarget.open) opened?.(); }} onKeyDown={(e) => {
      if (e.key !== 'Escape' || !ref.current?.open) return;
      e.preventDefault();
      close();
      ref.current.querySelector('summary')?.focus();
    }}>
      <summary>{title}</summary>
      <div class={name}>{typeof children === 'function' ? children(close) : children}</div>
    </details>
  );
}
