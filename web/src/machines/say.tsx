// What is said of a machine: its status, and the sentence that tells what will become of it.
import type { Machine } from '../api/types';
import { ago, moment } from '../ui/format';
import { now } from '../ui/time';

const words: Record<string, string> = {
  STARTING: 'Starting', RUNNING: 'Running', STOPPING: 'Stopping', STOPPED: 'Paused', ERROR: 'Error', DELETING: 'Deleting', DELETED: 'Deleted',
  SUSPENDED: 'Suspended', FAILING: 'Failing',
};

export const state = (m: Machine) => (m.status === 'RUNNING' && m.suspended_at ? 'SUSPENDED' : m.status);

/** It runs, and its agent does not answer, or its own check fails; not while its provider is out of reach: then nothing is known. */
export const fails = (m: Machine) => state(m) === 'RUNNING' && m.health?.status === 'failing' && !m.stale_since;

export function StatusMark({ machine }: { machine: Machine }) {
  const s = fails(machine) ? 'FAILING' : state(machine);
  return <span class={`status ${s.toLowerCase()}`}><i aria-hidden="true" />{words[s] ?? s}</span>;
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

export function sentence(m: Machine): string {
  const since = ago(m.status_at, now.value);
  if (m.stale_since) return `Its provider has not answered since ${ago(m.stale_since, now.value)}; this was true then.`;
  if (fails(m) && m.health?.text) return capital(m.health.text);
  switch (state(m)) {
    case 'RUNNING': return (m.idle ? capital(m.idle.text) : `Running since ${moment(m.status_at)}`) + (m.health?.text ? `; ${m.health.text}` : '');
    case 'SUSPENDED': return 'Stands still and keeps its memory';
    case 'STARTING': return 'On its way; this takes seconds to some minutes';
    case 'STOPPING': return 'Its processors are being given back; what is on disk stays';
    case 'DELETING': return 'Being deleted, with its data';
    case 'ERROR': return capital(m.error || m.reason || 'What was under way has failed: start, pause or delete it');
    default: return m.reason ? `${capital(m.reason)} (${since})` : `Paused ${since}; everything on its disk is kept`;
  }
}
