// Addresses without loading the page again. Links are ordinary <a href>; those to a page of ours are taken here.
import { signal } from '@preact/signals';

export interface Place {
  path: string;
  query: URLSearchParams;
}

const here = (): Place => ({ path: location.pathname.replace(/(.)\/$/, '$1'), query: new URLSearchParams(location.search) });
export const place = signal<Place>(here());

/** Goes to an address of ours: a path, with a query perhaps. */
export function go(to: string, how: { replace?: boolean } = {}) {
  const url = new URL(to, location.origin);
  if (url.origin !== location.origin) throw new Error(`not an address of ours: ${to}`);
  history[how.replace ? 'replaceState' : 'pushState'](null, '', url);
  place.value = here();
  if (!how.replace) window.scrollTo(0, 0);
}

/** The values of a pattern's {names} in a path, or null when it is another path. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const want = pattern.split('/');
  const is = path.split('/');
  if (want.length !== is.length) return null;
  const values: Record<string, string> = {};
  for (const [i, part] of want.entries()) {
    const said = is[i] ?? '';
    if (part.startsWith('{')) {
      try { values[part.slice(1, -1)] = decodeURIComponent(said); } catch { return null; }
    } else if (part !== said) return null;
  }
  return values;
}

/** Takes clicks on links to pages that `ours` knows; a click that asks for a new tab or a download is the browser's. */
export function takeLinks(ours: (path: string) => boolean) {
  window.addEventListener('popstate', () => { place.value = here(); });
  document.addEventListener('click', (e) => {
    const a = (e.target as Element).closest?.('a');
    if (!a?.href || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    if (a.target || a.hasAttribute('download')) return;
    const url = new URL(a.href);
    if (url.origin !== location.origin || !ours(url.pathname) || url.hash && url.pathname === location.pathname) return;
    e.preventDefault();
    go(url.pathname + url.search);
  });
}
