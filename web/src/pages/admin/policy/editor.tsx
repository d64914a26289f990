// A textarea with the numbers of its lines beside it. Tab leaves it, as everywhere: who uses the keyboard alone is not caught.
import { useMemo, useRef } from 'preact/hooks';
import type { Fault } from '../../../api/admin_types';

interface Props {
  label: string;
  value: string;
  change: (text: string) => void;
  faults: readonly Fault[];
}

export function Editor({ label, value, change, faults }: Props) {
  const numbers = useRef<HTMLPreElement>(null);
  const count = useMemo(() => value.split('\n').length, [value]);
  const bad = new Set(faults.map((f) => f.line ?? 1));
  return (
    <div class="editor">
      <pre ref={numbers} class="editor-lines" aria-hidden="true">
        {Array.from({ length: count }, (_, i) => <span key={i} class={bad.has(i + 1) ? 'bad-line' : undefined}>{i + 1}{'\n'}</span>)}
      </pre>
      <textarea aria-label={label} spellcheck={false} autocapitalize="off" autocomplete="off" wrap="off" rows={24} value={value}
        aria-invalid={faults.length > 0 ? true : undefined}
        onInput={(e) => change(e.currentTarget.value)} onScroll={(e) => { if (numbers.current) numbers.current.scrollTop = e.currentTarget.scrollTop; }} />
    </div>
  );
}
