import { useSignal } from '@preact/signals';
import { useCallback, useEffect } from 'preact/hooks';
import { api, asError, type ApiError } from '../api/client';
import type { Machine } from '../api/types';
import { at } from './place';

/** The folder of a machine's files. */
export const ROOT = '/claude-data';

export interface Project {
  name: string;
  path: string;
  remoteUrl: string | null;
}

/** The projects of a machine. One that sleeps is left so unless `wake`: it is asked again when it runs. */
export function useProjects(m: Machine, wake = false) {
  const list = useSignal<Project[] | null>(null);
  const error = useSignal<ApiError | null>(null);
  const load = useCallback(async () => {
    try {
      list.value = await api<Project[]>('GET', at(m, `/projects?wake=${wake}`));
      error.value = null;
    } catch (e) { error.value = asError(e); }
  }, [m.id, wake]);
  useEffect(() => { void load(); }, [load, m.status]);
  return { list: list.value, error: error.value, load };
}
