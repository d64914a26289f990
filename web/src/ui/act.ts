// What a button does: its work, and a word about it when it failed.
import { useRef, useState } from 'preact/hooks';
import { asError, type ApiError } from '../api/client';
import { toast } from './toast';

/** Does it; an error is told in a toast. -> whether it went well */
export async function attempt(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (e) {
    toast.error(asError(e));
    return false;
  }
}

/** For a button or a form: `busy` while the work is under way (a second click does nothing), `error` of the last time. */
export function useWork() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const under = useRef(false);
  async function run(work: () => Promise<unknown>): Promise<boolean> {
    if (under.current) return false;
    under.current = true;
    setBusy(true);
    setError(null);
    try {
      await work();
      return true;
    } catch (e) {
      setError(asError(e));
      return false;
    } finally {
      under.current = false;
      setBusy(false);
    }
  }
  return { busy, error, run };
}
