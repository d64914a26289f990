// A list of which only what is in view is in the page, so that 10,000 rows cost what twenty do. Rows have one height; the
// page's own scrolling moves it, and readers are told how many there are and which these are.
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

interface Props<T> {
  items: readonly T[];
  rowHeight: number;
  label: string;
  keyOf: (item: T) => string | number;
  row: (item: T, index: number) => ComponentChildren;
  /** Called when the end comes into view, to get more of a list that comes in pages. */
  atEnd?: () => void;
}

const BEYOND = 8; // rows kept above and below what is in view
const ALL = 60;   // so few are simply all there

export function VirtualList<T>({ items, rowHeight, label, keyOf, row, atEnd }: Props<T>) {
  const ref = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState<[number, number]>([0, ALL]);
  const count = items.length;
  useLayoutEffect(() => {
    const look = () => {
      const box = ref.current?.getBoundingClientRect();
      if (!box) return;
      const first = Math.max(0, Math.floor(-box.top / rowHeight) - BEYOND);
      const last = Math.min(count, Math.ceil((innerHeight - box.top) / rowHeight) + BEYOND);
      setRange((old) => (old[0] === first && old[1] === last ? old : [first, last]));
      if (atEnd && last >= count) atEnd();
    };
    look();
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => { removeEventListener('scroll', look); removeEventListener('resize', look); };
  }, [count, rowHeight, atEnd]);

  const [first, last] = count <= ALL ? [0, count] : range;
  const shown = items.slice(first, last);
  // By the object model: the page's policy allows no style attributes in what is parsed.
  return (
    <div ref={ref} class="rows" role="list" aria-label={label} style={count <= ALL ? undefined : { height: `${count * rowHeight}px`, position: 'relative' }}>
      {shown.map((item, i) => (
        <div key={keyOf(item)} class="row" role="listitem" aria-setsize={count} aria-posinset={first + i + 1}
          style={count <= ALL ? undefined : { position: 'absolute', top: `${(first + i) * rowHeight}px`, left: '0', right: '0', height: `${rowHeight}px`, overflow: 'hidden' }}>
          {row(item, first + i)}
        </div>
      ))}
    </div>
  );
}
