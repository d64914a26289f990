// A list that comes in pages, the newest first, and the next page as the end comes into view.
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
  /** Reads what came meanwhile, when nobody has told it. */
  renew: () => void;
}

/** `path`: of the first page; another one begins anew. `keyOf`: the number of an item, the greater the newer. */
export function usePaged<T>(path: string, keyOf: (item: T) => number): Paged<T> {
  const [items, setItems] = useState<T[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const shown = useRef(items);
  shown.current = items;
  const next = useRef<string | null>(path);
  const under = useRef<AbortController | null>(null);
  const behind = useRef<AbortController | null>(null); // the renewal that is under way, or has failed
  const early = useRef<T[]>([]); // what came before the first page, which may have been made before it

  const more = useCallback(() => {
    const from = next.current;
    if (!from || under.current) return;
    const mine = new AbortController();
    under.current = mine;
    ask<T[]>('GET', from, undefined, { signal: mine.signal }).then(({ body, headers }) => {
      if (mine.signal.aborted) return;
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

  const stop = () => {
    under.current?.abort();
    under.current = null;
  };

  const renew = useCallback(() => {
    const newest = shown.current?.[0];
    if (!newest) { // that of the first page may be from before
      stop();
      next.current = path;
      more();
      return;
    }
    behind.current?.abort();
    const mine = new AbortController();
    behind.current = mine;
    ask<T[]>('GET', path, undefined, { signal: mine.signal }).then(({ body, headers }) => {
      if (mine.signal.aborted) return;
      behind.current = null;
      setError(null);
      const [first, last] = [body[0], body[body.length - 1]];
      if (!first || !last) return;
      const reaches = keyOf(last) <= keyOf(newest) || !nextPage(headers);
      if (!reaches) { // what lies between is in its next pages
        stop();
        next.current = nextPage(headers);
      }
      setItems((old) => {
        const kept = (old ?? []).filter((x) => reaches || keyOf(x) > keyOf(first));
        const known = new Set(kept.map(keyOf));
        return [...kept, ...body.filter((x) => !known.has(keyOf(x)))].sort((a, b) => keyOf(b) - keyOf(a));
      });
    }, (e) => { if (!mine.signal.aborted) setError(asError(e)); });
  }, [path]);

  useEffect(() => {
    next.current = path;
    early.current = [];
    setItems(null);
    setError(null);
    more();
    return () => {
      stop();
      behind.current?.abort();
      behind.current = null;
    };
  }, [path]);

  const retry = useCallback(() => {
    setError(null);
    if (behind.current) renew(); else more();
  }, [renew]);
  const prepend = useCallback((item: T) => setItems((old) => {
    if (!old) {
      early.current = [item, ...early.current];
      return old;
    }
    return old.some((o) => keyOf(o) === keyOf(item)) ? old : [item, ...old];
  }), []);
  return { items, error, more: error ? undefined : more, retry, prepend, renew };
}
