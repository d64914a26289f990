// A list that comes in pages, the next one as the end comes into view.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ask, asError, nextPage, type ApiError } from '../api/client';

interface Paged<T> {
  /** null: not asked yet. */
  items: T[] | null;
  error: ApiError | null;
  /** The next page, if there is one; undefined after an error, until it is tried again. */
  more: (() => void) | undefined;
  retry: () => void;
  /** Puts in front what came meanwhile. */
  prepend: (item: T) => void;
}

/** `path`: of the first page; another one begins anew. */
export function usePaged<T>(path: string, keyOf: (item: T) => string | number): Paged<T> {
  const [items, setItems] = useState<T[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const next = useRef<string | null>(path);
  const under = useRef<AbortController | null>(null);
  const early = useRef<T[]>([]); // what came before the first page, which may have been made before it

  const more = useCallback(() => {
    const from = next.current;
    if (!from || under.current) return;
    const mine = new AbortController();
    under.current = mine;
    ask<T[]>('GET', from, undefined, { signal: mine.signal }).then(({ body, headers }) => {
      next.current = nextPage(headers);
      setItems((old) => {
        const first = old ?? early.current;
        const known = new Set(first.map(keyOf));
        return [...first, ...body.filter((x) => !known.has(keyOf(x)))];
      });
      under.current = null;
      if (!body.length && next.current) more(); // a page may be empty, and still have a next one
    }, (e) => {
      if (mine.signal.aborted) return;
      under.current = null;
      setError(asError(e));
    });
  }, []);

  useEffect(() => {
    next.current = path;
    early.current = [];
    setItems(null);
    setError(null);
    more();
    return () => { under.current?.abort(); under.current = null; };
  }, [path]);

  const retry = useCallback(() => { setError(null); more(); }, []);
  const prepend = useCallback((item: T) => setItems((old) => {
    if (!old) {
      early.current = [item, ...early.current];
      return old;
    }
    return old.some((o) => keyOf(o) === keyOf(item)) ? old : [item, ...old];
  }), []);
  return { items, error, more: error ? undefined : more, retry, prepend };
}
