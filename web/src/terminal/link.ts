// A terminal that the machine keeps, over connections that come and go (docs/terminal.md): ttyd's protocol, and the count of
// bytes by which nothing is lost and nothing comes twice, of what is written and of what is typed.
import { signal } from '@preact/signals';
import { newKey } from '../api/client';
import { Socket, type Wish } from '../api/socket';

export interface Size {
  columns: number;
  rows: number;
}

export interface Screen {
  size: () => Size;
  /** done is called when it has been drawn. */
  write: (data: Uint8Array | string, done: () => void) => void;
  /** Another shell follows: as a terminal begins. */
  reset: () => void;
}

interface Position {
  seq: number;
  typed: number;
  since: number;
  lost: number;
  owner: boolean;
  /** So much of the output others have seen, who can type; agents of before do not tell. */
  heard?: number;
  redraw?: string;
}

const PIECE = 4096;
const TYPED_MOST = 1 << 20;                   // bytes that wait to be taken
const STOP = 1 << 20, GO_ON = 1 << 18;        // bytes that wait to be drawn

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class TerminalLink {
  readonly socket: Socket;
  /** How the machine wakes, as the host tells it before the terminal is there. */
  readonly progress = signal('');
  /** How its shell ended, once it has. */
  readonly exit = signal<number | null>(null);
  readonly owner = signal(true);
  readonly joined = signal(false);
  /** Whether the terminal answers what a program asks it: not what was asked of another one, nor where another one does. */
  get answers() { return this.owner.value && !this.#old; }

  #screen: Screen;
  #client = newKey();
  #at: number | null = null;
  #since = 0;
  #base = 0; // so much of what was typed is taken
  #pending: Uint8Array[] = [];
  #waiting = 0;
  #drawing = 0;
  #paused = false;
  #told: Size = { columns: 0, rows: 0 };
  #old = false;  // what is drawn now was seen before, up to #heard
  #heard = 0;

  /** `way`: of the socket; what it lacks of it is said here. */
  constructor(way: Pick<Wish, 'path' | 'machine' | 'prepare'>, session: string | null, screen: Screen) {
    this.#screen = screen;
    this.socket = new Socket({
      ...way, protocol: 'tty',
      query: () => ({
        ...(session === null ? {} : { session, client: this.#client, typed: this.#base }),
        ...(this.#at === null ? {} : { from: this.#at, since: this.#since }),
      }),
      opened: () => {
        this.joined.value = false;
        this.#paused = false;
        this.#told = screen.size();
        this.socket.send(JSON.stringify({ AuthToken: '', ...this.#told }));
      },
      message: (data) => this.#take(typeof data === 'string' ? encoder.encode(data) : new Uint8Array(data)),
      ended: () => { this.joined.value = false; },
    });
  }

  /** -> false: more has been typed than is kept until it is taken */
  type(data: string | Uint8Array): boolean {
    const bytes = typeof data === 'string' ? encoder.encode(data) : data;
    if (this.#waiting + bytes.length > TYPED_MOST) return false;
    this.#pending.push(bytes);
    this.#waiting += bytes.length;
    if (this.joined.value) this.#send(bytes);
    return true;
  }

  resized() {
    const { columns, rows } = this.#screen.size();
    if (!this.joined.value || columns === this.#told.columns && rows === this.#told.rows) return;
    this.#told = { columns, rows };
    this.#say('1', JSON.stringify(this.#told));
  }

  /** A new shell, when this one has ended. */
  again() {
    if (this.exit.value !== null) this.#at = null; // else the one that has ended would be shown once more
    this.exit.value = null;
    this.socket.wake();
  }

  close() { this.socket.close(); }

  #say(kind: string, data: Uint8Array | string = '') {
    const bytes = typeof data === 'string' ? encoder.encode(data) : data;
    const out = new Uint8Array(bytes.length + 1);
    out[0] = kind.charCodeAt(0);
    out.set(bytes, 1);
    return this.socket.send(out);
  }

  #send(bytes: Uint8Array) {
    for (let i = 0; i < bytes.length; i += PIECE) this.#say('0', bytes.subarray(i, i + PIECE));
  }

  #take(message: Uint8Array) {
    const kind = String.fromCharCode(message[0] ?? 0);
    const data = message.subarray(1);
    if (kind === '0') this.#output(data);
    else if (kind === '3') this.#position(JSON.parse(decoder.decode(data)) as Position);
    else if (kind === '4') this.#taken((JSON.parse(decoder.decode(data)) as { typed: number }).typed);
    else if (kind === '5') this.exit.value = (JSON.parse(decoder.decode(data)) as { exit: number }).exit;
  }

  #output(data: Uint8Array) {
    if (!this.joined.value) { // the host's own words, with a terminal's marks
      // eslint-disable-next-line no-control-regex
      this.progress.value = decoder.decode(data).replace(/\x1b\[[\d;]*[A-Za-z]|[\r\n]/g, '').trim();
      return;
    }
    const at = this.#at ?? 0;
    this.#at = at + data.length;
    const old = Math.min(data.length, Math.max(0, this.#heard - at));
    if (old) this.#draw(data.subarray(0, old), old, () => { if (at + old >= this.#heard) this.#old = false; });
    if (old < data.length) this.#draw(data.subarray(old), data.length - old);
  }

  #draw(data: Uint8Array | string, length: number, then?: () => void) {
    this.#drawing += length;
    if (this.#drawing > STOP && !this.#paused) this.#paused = this.#say('2');
    this.#screen.write(data, () => {
      then?.();
      this.#drawing -= length;
      if (this.#paused && this.#drawing < GO_ON) this.#paused = !this.#say('3');
    });
  }

  #position(p: Position) {
    const again = this.joined.value; // in the midst of it: the ring has left us behind
    if (this.#since && p.since !== this.#since) { // another shell: what was typed was not meant for it
      this.#pending = [];
      this.#waiting = 0;
      this.#base = p.typed;
      this.#screen.reset();
    }
    if (this.#at === null || this.#since !== p.since) this.#heard = p.heard ?? 0; // who comes back has answered what he has seen, and nothing else
    if (!again || p.lost) this.#old = p.seq < this.#heard;
    this.#at = p.seq;
    this.#since = p.since;
    this.owner.value = p.owner;
    this.exit.value = null;
    this.progress.value = '';
    if (p.redraw) this.#draw(p.redraw, p.redraw.length);
    if (again) return;
    this.#taken(p.typed);
    this.joined.value = true;
    this.socket.good();
    for (const bytes of this.#pending) this.#send(bytes);
    this.resized();
  }

  #taken(typed: number) {
    let n = typed - this.#base;
    this.#base = typed;
    this.#waiting -= Math.max(0, Math.min(n, this.#waiting));
    while (n > 0 && this.#pending[0]) {
      const first = this.#pending[0];
      if (first.length <= n) this.#pending.shift();
      else this.#pending[0] = first.subarray(n);
      n -= first.length;
    }
  }
}
