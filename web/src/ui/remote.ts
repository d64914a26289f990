// A list of one page, from one request.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { api, asError, type ApiError } from '../api/client';

interface Heard<T> {
  /** Of what: of a former path it is nothing. */
  path: string;
  value: T | null;
  error: ApiError | null;
}

/** -> what was answered (null: not yet), what went wrong, and how to ask again, which gives what is answered then (null: an error) */
export function useRemote<T>(path: string) {
  const [heard, hear] = useState<Heard<T>>({ path, value: null, error: null });
  const asked = useRef(0);
  const newest = useRef(0); // of the questions that are answered; an answer that comes after a later one's is old
  const load = useCallback(async () => {
    const n = ++asked.current;
    let value: T | null = null;
    let error: ApiError | null = null;
    try { value = await api<T>('GET', path); } catch (e) { error = asError(e); }
    if (n > newest.current) {
      newest.current = n;
      hear((old) => ({ path, value: error && old.path === path ? old.value : value, error }));
    }
    return value;
  }, [path]);
  useEffect(() => { void load(); }, [load]);
  const { value, error } = heard.path === path ? heard : { value: null, error: null };
  return { value, error, load };
}
