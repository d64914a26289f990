// What to do about an error, by its code (docs/api.md, "Codes"). The server's sentence says what it is.
import type { ApiError } from './client';

interface Hint {
  text: string;
  /** Where it can be done. */
  link?: { to: string; text: string };
}

const hints: Record<string, string> = {
  offline: 'Look at your network; what you asked for was perhaps not done. Then try again.',
  denied: 'If you should be allowed to, ask the operator of this server.',
  not_found: 'It may have been deleted, or renamed, meanwhile.',
  exists: 'Choose another name.',
  state: 'Wait until what is under way is over, then try again.',
  conflict: 'Something else was asked meanwhile: look at how it is now, then try again.',
  precondition: 'It was changed meanwhile: look at how it is now, then try again.',
  quota: 'Delete a machine that you no longer need, or take a larger plan.',
  payment: 'Buy hours or credit, or take a larger plan.',
  failed: 'Start, pause or delete the machine; its page has what has happened to it.',
  timeout: 'Try again in a while.',
  unavailable: 'Try again in a while.',
  io: 'Try again in a while.',
  full: 'The server has no room left; its operator has to look.',
  internal: 'Load the page again. If it stays so, tell the operator.',
};

export function hint(err: ApiError): Hint | null {
  if (err.retryAfter) return { text: `Try again in ${err.retryAfter} s.` };
  if (err.code === 'unauthorized') return { text: 'Sign in again.', link: { to: '/auth/login', text: 'Sign in' } };
  if (err.field) return { text: `Change “${err.field.replace(/_/g, ' ')}” and try again.` };
  const text = hints[err.code];
  if (text && (err.code === 'quota' || err.code === 'payment')) return { text, link: { to: '/dashboard/billing', text: 'Plans' } };
  return text ? { text } : null;
}
