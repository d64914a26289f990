// A list of one page, from one request.
import { useCallback, useEffect, useState } from 'preact/hooks';
import { api, asError, type ApiError } from '../api/client';

/** -> what was answered (null: not yet), what went wrong, and how to ask again */
export function useRemote<T>(path: string) {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const load = useCallback(async () => {
    try {
      setValue(await api<T>('GET', path));
      setError(null);
    } catch (e) { setError(asError(e)); }
  }, [path]);
  useEffect(() => { void load(); }, [load]);
  return { value, error, load };
}
