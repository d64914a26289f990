// What a chat says (docs/chat.md), and the list that is made of it: one item for each thing that one sees.

/** From the machine; also what is kept of a turn with the host. */
export interface ChatEvent {
  type: 'text' | 'tool_use' | 'tool_result' | 'done' | 'error' | 'message' | 'state' | 'turn' | string;
  content?: string;
  tool?: string;
  input?: unknown;
  output?: unknown;
  id?: string;
  is_error?: boolean;
  aborted?: boolean;
  code?: string;
  turn?: number | null;
  n?: number;
  working?: boolean;
  lost?: number;
  cwd?: string;
  session?: string | null;
}

interface Base { key: number }
export interface UserItem extends Base { kind: 'user'; text: string; lost?: boolean }
export interface TextItem extends Base { kind: 'text'; text: string }
export interface ToolItem extends Base { kind: 'tool'; id: string; tool: string; input: unknown; output: string | null; bad: boolean }
export interface ErrorItem extends Base { kind: 'error'; text: string; code: string }
export interface NoteItem extends Base { kind: 'note'; text: string }
export type Item = UserItem | TextItem | ToolItem | ErrorItem | NoteItem;

let keys = 0;
export const key = () => ++keys;

const textOf = (v: unknown): string => (typeof v === 'string' ? v : v === null || v === undefined ? '' : JSON.stringify(v, null, 2));

/** The list with an event more. Items are never changed, but replaced: what is the same object looks the same. */
export function add(items: Item[], e: ChatEvent): Item[] {
  const last = items[items.length - 1];
  switch (e.type) {
    case 'message': return [...items, { key: key(), kind: 'user', text: e.content ?? '' }];
    case 'text':
      if (last?.kind === 'text') return [...items.slice(0, -1), { ...last, text: last.text + (e.content ?? '') }];
      return e.content ? [...items, { key: key(), kind: 'text', text: e.content }] : items;
    case 'tool_use':
      return [...items, { key: key(), kind: 'tool', id: e.id ?? '', tool: e.tool ?? 'tool', input: e.input, output: null, bad: false }];
    case 'tool_result':
      return items.map((i) => (i.kind === 'tool' && i.id === e.id && i.output === null ? { ...i, output: textOf(e.output), bad: e.is_error === true } : i));
    case 'error': return [...items, { key: key(), kind: 'error', text: e.content ?? '', code: e.code ?? 'failed' }];
    case 'done': return e.aborted ? [...items, { key: key(), kind: 'note', text: 'Stopped.' }] : items;
    default: return items;
  }
}
