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
  /** Reads what came meanwhile, when nobody has told it; while that, or the first page, is being read, once more after it. */
  renew: () => void;
}

/** `path`: of the first page; another one begins anew. `keyOf`: the number of an item, the greater the newer. */
export function usePaged<T>(path: string, keyOf: (item: T) => number): Paged<T> {
  const [items, setItems] = useState<T[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const all = useRef(items); // as items, also before they are drawn
  const begin = useRef(path);
  const next = useRef<string | null>(path);
  const under = useRef<AbortController | null>(null);
  const behind = useRef<AbortController | null>(null); // the renewal that is under way
  const missed = useRef(false); // the last renewal has failed
  const again = useRef(false); // another one is wanted after it: given up for that, none would ever come where answers are slow
  const early = useRef<T[]>([]); // what came before the first page, which may have been made before it

  const show = (list: T[] | null) => {
    all.current = list;
    setItems(list);
  };
  const join = (old: T[], body: T[]) => {
    const known = new Set(old.map(keyOf));
    show([...old, ...body.filter((x) => !known.has(keyOf(x)))].sort((a, b) => keyOf(b) - keyOf(a)));
  };

  const more = useCallback(() => {
    const from = next.current;
    if (!from || under.current) return;
    const mine = new AbortController();
    under.current = mine;
    ask<T[]>('GET', from, undefined, { signal: mine.signal }).then(({ body, headers }) => {
      if (mine.signal.aborted) return;
      under.current = null;
      next.current = nextPage(headers);
      if (!missed.current) setError(null);
      join(all.current ?? early.current, body);
      if (again.current) renew();
      if (!body.length && next.current) more(); // a page may be empty, and still have a next one
    }, (e) => {
      if (mine.signal.aborted) return;
      under.current = null;
      setError(asError(e));
      if (again.current) renew();
    });
  }, []);

  const stop = () => {
    under.current?.abort();
    under.current = null;
  };

  const renew = useCallback(() => {
    const newest = all.current?.[0];
    again.current = Boolean(behind.current || (!newest && under.current));
    if (again.current) return;
    if (!newest) {
      next.current = begin.current;
      more();
      return;
    }
    const mine = new AbortController();
    behind.current = mine;
    ask<T[]>('GET', begin.current, undefined, { signal: mine.signal }).then(({ body, headers }) => {
      if (mine.signal.aborted) return;
      behind.current = null;
      missed.current = false;
      setError(null);
      const [first, last] = [body[0], body[body.length - 1]];
      if (first && last) {
        const reaches = keyOf(last) <= keyOf(newest) || !nextPage(headers);
        if (!reaches) { // what lies between is in its next pages
          stop();
          next.current = nextPage(headers);
        }
        join((all.current ?? []).filter((x) => reaches || keyOf(x) > keyOf(first)), body);
      }
      if (again.current) renew();
    }, (e) => {
      if (mine.signal.aborted) return;
      behind.current = null;
      missed.current = true;
      setError(asError(e));
      if (again.current) renew();
    });
  }, []);

  useEffect(() => {
    begin.current = path;
    next.current = path;
    early.current = [];
    show(null);
    setError(null);
    more();
    return () => {
      stop();
      behind.current?.abort();
      behind.current = null;
      missed.current = false;
      again.current = false;
    };
  }, [path]);

  const retry = useCallback(() => {
    setError(null);
    if (missed.current) renew(); else more();
  }, []);
  const prepend = useCallback((item: T) => {
    if (!all.current) early.current = [item, ...early.current];
    else if (!all.current.some((o) => keyOf(o) === keyOf(item))) show([item, ...all.current]);
  }, []);
  return { items, error, more: error ? undefined : more, retry, prepend, renew };
}
