// The account's own copy of its chats, which the host keeps for every device (docs/api.md, "Conversations"). A turn is two
// messages there, both with the number of the turn, by which it is known again.
import { api, ask, nextPage } from '../api/client';
import { add, key, type ChatEvent, type Item } from './events';

export interface Conversation {
  id: string;
  project_path: string;
  title: string;
  updated_at: string;
}

interface Message {
  id: number;
  role: 'user' | 'assistant';
  content: string;
  tool_events: ChatEvent[] | null;
}

export interface Turn {
  number: number;
  role: 'user' | 'assistant';
  items: Item[];
}

const OUTPUT_MOST = 4000, EVENTS_MOST = 200000, TEXT_MOST = 250000;

export async function conversationOf(project: string): Promise<Conversation> {
  return api<Conversation>('GET', `/conversations?project=${encodeURIComponent(project)}`);
}

/** The newest that was written to: so many are looked through, not more. */
export const conversations = () => api<Conversation[]>('GET', '/conversations/list?limit=100');

function turnOf(m: Message): Turn {
  const events = Array.isArray(m.tool_events) ? m.tool_events : [];
  const number = events.find((e) => e.type === 'turn')?.turn ?? -m.id;
  let items: Item[] = [];
  for (const e of events) items = add(items, e);
  if (m.role === 'user') items = [{ key: key(), kind: 'user', text: m.content }];
  else if (!items.length && m.content) items = [{ key: key(), kind: 'text', text: m.content }];
  return { number, role: m.role, items };
}

/** A page of what was said: the newest, or the one at that address; oldest first. */
export async function said(id: string, page: string | null): Promise<{ turns: Turn[]; before: string | null }> {
  const { body, headers } = await ask<Message[]>('GET', page ?? `/conversations/${id}/messages?before=end&limit=50`);
  return { turns: body.map(turnOf), before: nextPage(headers) };
}

// Texts that came in pieces are one, and long outputs are cut: what is kept is for reading.
function short(events: ChatEvent[]): ChatEvent[] {
  const out: ChatEvent[] = [];
  for (const { turn: _turn, n: _n, ...e } of events) {
    const last = out[out.length - 1];
    if (e.type === 'text' && last?.type === 'text') last.content = (last.content ?? '') + (e.content ?? '');
    else if (typeof e.output === 'string' && e.output.length > OUTPUT_MOST) out.push({ ...e, output: `${e.output.slice(0, OUTPUT_MOST)}\n[…]` });
    else if (e.type !== 'message') out.push({ ...e });
  }
  return out;
}

const put = (id: string, role: string, content: string, events: ChatEvent[]) => api('POST', `/conversations/${id}/messages`, {
  role, content: content.slice(0, TEXT_MOST), tool_events: JSON.stringify(events),
});

export const keepQuestion = (id: string, turn: number, content: string) => put(id, 'user', content, [{ type: 'turn', turn }]);

export function keepAnswer(id: string, turn: number, events: ChatEvent[]) {
  let all = [{ type: 'turn', turn }, ...short(events)];
  if (JSON.stringify(all).length > EVENTS_MOST) all = [{ type: 'turn', turn }];
  const content = events.filter((e) => e.type === 'text').map((e) => e.content).join('') || events.find((e) => e.type === 'error')?.content || '';
  return put(id, 'assistant', content || '(no text)', all);
}
