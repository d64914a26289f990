// A WebSocket to a machine that is there for as long as the page wants it: lost, it is opened again, at growing intervals, and at
// once when the page is looked at again or the network is back. Only the first time, and when somebody asks for it, may it wake
// the machine: else a page in the background would start again what was stopped because nobody used it.
import { signal } from '@preact/signals';
import { api, asError, errorOf, type ApiError } from './client';
import type { Machine } from './types';

export type SocketState =
  | { is: 'connecting' | 'open' }
  | { is: 'waiting'; since: number; why: string }
  /** The machine does not run; wake() starts it. */
  | { is: 'asleep'; why: string; refused?: ApiError }
  /** It is not tried again by itself. */
  | { is: 'over'; why: string };

export interface Wish {
  /** Its path: "/instances/ID/terminal". */
  path: string;
  /** The machine that it leads to; not known of a link that somebody gave. */
  machine?: string;
  protocol?: string;
  /** What the address says, asked for at each try. */
  query: () => Record<string, string | number>;
  /** What has to be done before it is opened. */
  prepare?: (wake: boolean) => Promise<void>;
  opened: () => void;
  message: (data: string | ArrayBuffer) => void;
  /** It was ended by the other side, with 1000. */
  ended?: () => void;
}

const FIRST = 250;
const MOST = 15000; // ms between two tries
const FINAL = new Set([1000, 1008, 1013]);

export class Socket {
  readonly state = signal<SocketState>({ is: 'connecting' });
  #wish: Wish;
  #ws: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #lost: number | null = null;
  #wanted = false;
  #tries = 0;
  #now = () => { if (!document.hidden && this.state.value.is === 'waiting') this.#try(false); };

  constructor(wish: Wish) {
    this.#wish = wish;
    document.addEventListener('visibilitychange', this.#now);
    addEventListener('online', this.#now);
  }

  /** Opens it, and starts the machine if that sleeps. */
  wake() {
    this.#wanted = true;
    this.#failures = 0;
    this.#lost = null;
    this.#try(true);
  }

  /** Opens it if it is not, as it will by itself sooner or later. */
  retry() { if (this.#wanted && this.state.value.is !== 'open') this.#try(false); }

  get buffered() { return this.#ws?.bufferedAmount ?? 0; }

  send(data: string | Uint8Array<ArrayBuffer>): boolean {
    if (this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#ws.send(data);
    return true;
  }

  close() {
    this.#wanted = false;
    document.removeEventListener('visibilitychange', this.#now);
    removeEventListener('online', this.#now);
    this.#drop();
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#tries++;
    const ws = this.#ws;
    this.#ws = null;
    ws?.close();
  }

  #try(wake: boolean) {
    this.#drop();
    if (this.#lost === null) this.state.value = { is: 'connecting' };
    const { prepare } = this.#wish;
    if (!prepare) { this.#open(wake); return; }
    const mine = this.#tries;
    prepare(wake).then(() => { if (mine === this.#tries) this.#open(wake); }, (e) => {
      if (mine === this.#tries) void this.#failed(asError(e).message, wake);
    });
  }

  #open(wake: boolean) {
    const { path, machine, protocol, query } = this.#wish;
    const url = new URL(path, location.origin);
    url.protocol = url.protocol.replace('http', 'ws');
    for (const [name, value] of Object.entries(query())) url.searchParams.set(name, String(value));
    if (machine) url.searchParams.set('wake', String(wake));
    const ws = new WebSocket(url, protocol ? [protocol] : []);
    ws.binaryType = 'arraybuffer';
    this.#ws = ws;
    let opened = false;
    ws.onopen = () => {
      if (this.#ws !== ws) return;
      opened = true;
      this.#wish.opened();
    };
    ws.onmessage = (e) => { if (this.#ws === ws) this.#wish.message(e.data as string | ArrayBuffer); };
    ws.onclose = (e) => { if (this.#ws === ws) this.#closed(e, opened, wake); };
  }

  /** What was opened works: the next loss is a new one. */
  good() {
    this.#failures = 0;
    this.#lost = null;
    if (this.state.value.is !== 'open') this.state.value = { is: 'open' };
  }

  #closed(e: CloseEvent, opened: boolean, wake: boolean) {
    this.#ws = null;
    if (opened && FINAL.has(e.code)) {
      this.state.value = { is: 'over', why: e.reason };
      if (e.code === 1000) this.#wish.ended?.();
      return;
    }
    void this.#failed(e.reason, wake && !opened);
  }

  async #failed(why: string, wake: boolean) {
    this.#lost ??= Date.now();
    this.state.value = { is: 'waiting', since: this.#lost, why };
    const mine = this.#tries;
    let next: SocketState | null = null;
    try { next = await this.#asItIs(wake); } catch (e) {
      const err = asError(e);
      if (err.status === 404 || err.status === 401) next = { is: 'over', why: err.message };
    }
    if (!this.#wanted || this.#ws || mine !== this.#tries) return;
    if (next) this.state.value = next;
    else this.#later();
  }

  // A browser tells no page why a WebSocket was refused: the machine's record says it, and why it was not woken, who asks for that
  // once more. -> null: try again
  async #asItIs(wake: boolean): Promise<SocketState | null> {
    const { machine, path } = this.#wish;
    if (!machine) {
      const res = await fetch(path);
      return res.status === 426 || res.status >= 500 ? null : { is: 'over', why: (await errorOf(res)).message };
    }
    const m = await api<Machine>('GET', `/instances/${machine}`);
    if (wake && (m.status === 'STOPPED' || m.suspended_at)) {
      try {
        await api('POST', `/instances/${machine}/${m.suspended_at ? 'resume' : 'start'}`, {});
        return null;
      } catch (e) { return { is: 'asleep', why: '', refused: asError(e) }; }
    }
    if (m.status === 'STOPPED' || m.suspended_at) return { is: 'asleep', why: m.reason ?? '' };
    if (m.status === 'RUNNING' || m.status === 'STARTING' || m.status === 'STOPPING') return null;
    return { is: 'over', why: m.error || `The machine is ${m.status}.` };
  }

  #later() {
    clearTimeout(this.#timer);
    const pause = Math.min(MOST, FIRST * 2 ** this.#failures++) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.#try(false), pause);
  }
}
