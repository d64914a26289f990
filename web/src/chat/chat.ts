// One chat: the socket to it, what it says as a list that is seen, and what is kept of it. A turn goes on when the connection
// is gone; who comes back says what he has, and gets the rest.
import { batch, signal } from '@preact/signals';
import { asError } from '../api/client';
import { Socket } from '../api/socket';
import { add, key, type ChatEvent, type Item } from './events';
import { conversationOf, keepAnswer, keepQuestion, said, type Turn } from './kept';

const HAPPENS = new Set(['text', 'tool_use', 'tool_result', 'done', 'error']);
const NO_END = new Set(['busy', 'invalid']); // errors that end no turn

export class Chat {
  readonly socket: Socket;
  readonly items = signal<Item[]>([]);
  /** Of earlier turns, oldest first. */
  readonly history = signal<Item[]>([]);
  readonly working = signal(false);
  readonly ready = signal(false);
  /** Where earlier ones are, or null. */
  readonly before = signal<string | null>(null);
  readonly session = signal<string | null>(null);
  /** Why it is not kept with the host, or ''. */
  readonly unkept = signal('');

  #cwd: string;
  #conversation: string | null = null;
  #turns: Turn[] = [];
  #turn: number | null = null;
  #n = 0;
  #events: ChatEvent[] = [];      // of the turn
  #sent: { key: number; text: string; session: string | undefined } | null = null; // not known to have arrived
  #mine = false;                  // the turn is one that is kept by this page
  #kept = new Set<string>();
  #queue: ChatEvent[] = [];
  #frame = 0;
  #closed = false;
  #loaded: Promise<void>;

  constructor(machine: string, cwd: string) {
    this.#cwd = cwd;
    this.socket = new Socket({
      machine, path: `/instances/${machine}/chat`,
      query: () => ({ cwd, ...(this.#turn === null ? {} : { turn: this.#turn, n: this.#n }) }),
      opened: () => {},
      message: (data) => this.#take(JSON.parse(typeof data === 'string' ? data : new TextDecoder().decode(data)) as ChatEvent),
    });
    this.#loaded = this.#load();
    this.socket.wake();
  }

  close() {
    this.#closed = true;
    cancelAnimationFrame(this.#frame);
    this.socket.close();
  }

  /** session: "new", or a conversation's id: otherwise it goes on with the last. */
  say(text: string, session?: string) {
    this.#flush();
    this.#sent = { key: key(), text, session };
    this.items.value = [...this.items.value, { key: this.#sent.key, kind: 'user', text }];
    this.working.value = true;
    this.#send();
  }

  /** What was lost, once more. */
  sayAgain(item: Item) {
    if (item.kind !== 'user' || this.working.value) return;
    this.items.value = this.items.value.filter((i) => i !== item);
    this.say(item.text);
  }

  abort() { if (this.working.value) this.socket.send(JSON.stringify({ type: 'abort' })); }
  note(text: string) { this.items.value = [...this.items.value, { key: key(), kind: 'note', text }]; }

  async earlier() {
    const page = this.before.value;
    if (!page || !this.#conversation) return;
    this.before.value = null;
    try {
      const { turns, before } = await said(this.#conversation, page);
      this.#turns = [...turns, ...this.#turns];
      this.#show();
      this.before.value = before;
    } catch (e) {
      this.before.value = page;
      throw e;
    }
  }

  #send() {
    if (!this.#sent) return;
    const { text, session } = this.#sent;
    this.socket.send(JSON.stringify({ type: 'message', content: text, cwd: this.#cwd, ...(session ? { session } : {}) }));
  }

  // ---- what the machine says

  #take(e: ChatEvent) {
    if (e.type === 'state') { this.#state(e); return; }
    if (typeof e.turn === 'number' && e.turn !== this.#turn) this.#begin(e.turn);
    if (typeof e.n === 'number') this.#n = e.n;
    if (e.type === 'message') { this.#question(e.content ?? ''); return; }
    if (e.turn === undefined || e.turn === null) { this.#refused(e); return; }
    this.#arrived();
    if (HAPPENS.has(e.type)) this.#events.push(e);
    this.#queue.push(e);
    if (e.type === 'done' || e.type === 'error') this.#end();
    else this.#frame ||= requestAnimationFrame(() => this.#flush());
  }

  #state(e: ChatEvent) {
    this.#flush();
    this.socket.good();
    this.session.value = e.session ?? null;
    const newer = typeof e.turn === 'number' && e.turn !== this.#turn;
    const first = !this.ready.value;
    batch(() => {
      this.ready.value = true;
      this.working.value = e.working === true;
      if (e.lost) this.note(`${e.lost} messages of this turn are no longer kept by the machine.`);
    });
    if (this.#sent && !newer) { // it did not arrive
      const { key: lost } = this.#sent;
      this.#sent = null;
      this.items.value = this.items.value.map((i) => (i.key === lost ? { ...i, lost: true } as Item : i));
    }
    if (first && newer) this.#mine = true; // whoever asked may have gone before it was kept
  }

  #begin(turn: number) {
    this.#flush();
    const was = this.#turn;
    this.#turn = turn;
    this.#n = 0;
    this.#events = [];
    this.#mine = this.#sent !== null || was === null && this.#mine;
    this.#show();
  }

  // What was asked: by another page, or, when it is said once more to who came back, by this one.
  #question(content: string) {
    this.working.value = true;
    if (this.#sent?.text === content) { this.#arrived(); return; }
    this.items.value = add(this.items.value, { type: 'message', content });
    if (this.#mine) void this.#keep('user', (id, turn) => keepQuestion(id, turn, content));
  }

  #arrived() {
    const sent = this.#sent;
    if (!sent) return;
    this.#sent = null;
    void this.#keep('user', (id, turn) => keepQuestion(id, turn, sent.text));
  }

  // What was said is no message, or came while a turn goes on: nothing began.
  #refused(e: ChatEvent) {
    this.#flush();
    const busy = e.code === 'busy';
    this.items.value = add(this.items.value.map((i) => (i.key === this.#sent?.key ? { ...i, lost: true } as Item : i)), e);
    if (this.#sent && !busy) this.working.value = false;
    this.#sent = null;
  }

  #end() {
    const last = this.#queue[this.#queue.length - 1];
    if (last?.type === 'error' && NO_END.has(last.code ?? '')) { this.#flush(); return; }
    // A text that came in no pieces
    if (last?.type === 'done' && last.content && !this.#events.some((e) => e.type === 'text')) {
      const text = { type: 'text', content: last.content };
      this.#events.unshift(text);
      this.#queue.splice(-1, 0, text);
    }
    this.#flush();
    this.working.value = false;
    const events = this.#events;
    if (this.#mine) void this.#keep('assistant', (id, turn) => keepAnswer(id, turn, events));
  }

  #flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#queue.length || this.#closed) return;
    let items = this.items.value;
    for (const e of this.#queue) items = add(items, e);
    this.#queue = [];
    this.items.value = items;
  }

  // ---- what is kept

  async #load() {
    try {
      const { id } = await conversationOf(this.#cwd);
      this.#conversation = id;
      const { turns, before } = await said(id, null);
      if (this.#closed) return;
      this.#turns = turns;
      for (const t of turns) this.#kept.add(`${t.number} ${t.role}`);
      this.#show();
      this.before.value = before;
    } catch (e) {
      this.unkept.value = asError(e).message;
    }
  }

  // The turns that this page follows itself are in `items`. Two devices may both have kept one.
  #followed = new Set<number>();
  #show() {
    if (this.#turn !== null) this.#followed.add(this.#turn);
    const seen = new Set<string>();
    const shown = this.#turns.filter(({ number, role }) => {
      const twice = seen.has(`${number} ${role}`);
      seen.add(`${number} ${role}`);
      return !twice && !this.#followed.has(number);
    });
    this.history.value = shown.flatMap((t) => t.items);
  }

  async #keep(role: string, put: (id: string, turn: number) => Promise<unknown>) {
    const turn = this.#turn;
    await this.#loaded;
    if (turn === null || !this.#conversation || this.#kept.has(`${turn} ${role}`)) return;
    this.#kept.add(`${turn} ${role}`);
    try {
      await put(this.#conversation, turn);
      this.unkept.value = '';
    } catch (e) {
      this.unkept.value = asError(e).message;
    }
  }
}
