// Links in one line, which is moved sideways where they are too many for it: so that one sees that there are more, its edge
// fades; and the link of this page is always in view.
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

const EDGE = 44; // pixels beside the current link, so that it does not lie in the faded part

export function Strip({ class: name, label, children }: { class: string; label: string; children: ComponentChildren }) {
  const ref = useRef<HTMLElement>(null);
  const at = useRef('');
  const [more, setMore] = useState('');
  const look = () => {
    const s = ref.current;
    if (!s) return;
    const left = s.scrollLeft > 1, right = s.scrollLeft + s.clientWidth < s.scrollWidth - 1;
    setMore(`${left ? ' more-left' : ''}${right ? ' more-right' : ''}`);
  };
  useLayoutEffect(() => {
    const s = ref.current;
    if (!s) return undefined;
    const watch = new ResizeObserver(look);
    watch.observe(s);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    const s = ref.current;
    const here = s?.querySelector<HTMLElement>('[aria-current]');
    const text = here?.getAttribute('href') ?? '';
    if (s && here && text !== at.current) { // sideways alone: scrollIntoView would move the page, too
      const [box, link] = [s.getBoundingClientRect(), here.getBoundingClientRect()];
      if (link.right > box.right - EDGE) s.scrollLeft += link.right - box.right + EDGE;
      else if (link.left < box.left + EDGE) s.scrollLeft += link.left - box.left - EDGE;
    }
    at.current = text;
    look();
  });
  return <nav ref={ref} class={name + more} aria-label={label} onScroll={look}>{children}</nav>;
}
