// A terminal that is kept (docs/terminal.md), from the client's side: goes on at the byte where it was cut, and types what was
// not taken again. And a relay that cuts connections after a given number of bytes.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const WebSocket = require('ws');
const { until } = require('./cchost.js');

class SessionTerminal {
  // url: "ws://HOST:PORT/instances/x/terminal" or "ws+unix:///PATH:/ws", or a function that tells it.
  // o: { session, view, client, resize, keep, size, headers, keepOutput: false to count it only }
  constructor(url, o) {
    Object.assign(this, { url, o, client: o.view ? undefined : o.client || crypto.randomUUID() });
    Object.assign(this, { at: null, base: 0, pending: Buffer.alloc(0), chunks: [], length: 0, told: [], opened: 0, lost: 0, redraw: '', ready: false });
    this.again = true; // whether a lost connection is opened again
  }

  static async open(url, o) {
    const t = new SessionTerminal(url, o);
    t.connect();
    await t.joined();
    return t;
  }

  joined(seconds = 20) { return until(() => this.ready || this.closed, () => `joined: ${this.failure || ''}`, seconds); }

  query() {
    const q = { session: this.o.session, client: this.client, resize: this.o.resize, keep: this.o.keep, view: this.o.view ? 1 : undefined, ...this.o.query };
    if (this.at !== null) Object.assign(q, { from: this.at, typed: this.base, since: this.since });
    return Object.entries(q).filter(([, v]) => v !== undefined).map(([k, v]) => `${k}=${v}`).join('&');
  }

  connect() {
    const url = typeof this.url === 'function' ? this.url() : this.url;
    const ws = new WebSocket(`${url}?${this.query()}`, ['tty'], { headers: this.o.headers, perMessageDeflate: false });
    this.ws = ws;
    this.ready = false;
    ws.on('open', () => { this.opened += 1; ws.send(JSON.stringify({ AuthToken: '', columns: 80, rows: 24, ...this.o.size })); });
    ws.on('message', (d) => { if (this.ws === ws) this.take(d); });
    ws.on('error', (e) => { this.failure = e.message; });
    ws.on('close', (code, reason) => {
      if (this.ws !== ws) return;
      this.ready = false;
      if (this.again && code !== 1000 && code !== 1008 && code !== 1013) setTimeout(() => { if (this.again) this.connect(); }, this.o.pause ?? 20).unref();
      else this.closed = { code, reason: String(reason) };
    });
  }

  take(d) {
    const kind = String.fromCharCode(d[0]);
    if (kind === '0') {
      if (!this.ready) { // of the host, while a machine wakes
        if (/unix/.test(this.url)) throw new Error('output before the message 3');
        return;
      }
      this.length += d.length - 1;
      this.at += d.length - 1;
      if (this.o.keepOutput !== false) this.chunks.push(d.subarray(1));
      if (this.onOutput) this.onOutput(d.subarray(1));
    } else if (kind === '3') {
      this.begin(JSON.parse(d.subarray(1)));
    } else if (kind === '4') {
      this.acknowledge(JSON.parse(d.subarray(1)).typed);
    } else if (kind === '5') {
      this.exit = JSON.parse(d.subarray(1)).exit;
    }
  }

  begin(m) {
    this.told.push(m);
    if (this.at !== null && m.since === this.since && m.seq !== this.at + m.lost) throw new Error(`resumed at ${m.seq}, not at ${this.at}`);
    if (this.since !== undefined && m.since !== this.since) { // another shell: what was typed was not meant for it
      this.pending = Buffer.alloc(0);
      this.base = m.typed;
    }
    this.since = m.since;
    this.at = m.seq;
    this.lost += m.lost;
    this.redraw += m.redraw || '';
    this.owner = m.owner;
    if (this.ready || this.o.view) { this.ready = true; return; }
    this.ready = true;
    this.acknowledge(m.typed);
    if (this.pending.length) this.send(this.pending);
  }

  acknowledge(typed) {
    const n = typed - this.base;
    if (n < 0 || n > this.pending.length) throw new Error(`${typed} were typed, of ${this.base} to ${this.base + this.pending.length}`);
    this.pending = this.pending.subarray(n);
    this.base = typed;
  }

  // In pieces, so that a connection that is cut soon has brought some of it.
  send(bytes) {
    for (let at = 0; at < bytes.length && this.ws.readyState === 1; at += 4096) this.ws.send(Buffer.concat([Buffer.from('0'), bytes.subarray(at, at + 4096)]));
  }
  type(text) {
    const bytes = Buffer.from(text);
    this.pending = Buffer.concat([this.pending, bytes]);
    if (this.ready) this.send(bytes);
  }

  resize(columns, rows) {
    this.o.size = { columns, rows };
    this.ws.send(Buffer.from('1' + JSON.stringify({ columns, rows })));
  }

  get bytes() { return Buffer.concat(this.chunks); }
  get output() { return this.bytes.toString('latin1'); }
  sees(pattern, seconds) { return until(() => pattern.test(this.output.slice(-200000)), () => `${pattern} in ${JSON.stringify(this.output.slice(-300))}`, seconds); }
  acknowledged(seconds) { return until(() => this.pending.length === 0, () => `${this.pending.length} bytes are not acknowledged`, seconds); }

  cut() { this.ws.terminate(); }
  // Away, without coming back.
  async leave(code = 1001) {
    this.again = false;
    this.ws.close(code);
    await until(() => this.closed, 'closed');
  }
}

// On `socket` (a path), to the unix socket `to`; limits() -> { down, up }: bytes after which a connection is cut, undefined: never;
// hold: it is not cut then, but what comes after these goes no further; answered: behind `up` it is cut at the next answer.
class Cutter {
  static async start(socket, to, limits) {
    const c = new Cutter();
    c.cuts = 0;
    c.open = new Set();
    c.server = net.createServer((near) => {
      const limit = limits() || {};
      const far = net.connect(to);
      const end = () => { near.destroy(); far.destroy(); };
      c.open.add(end);
      const pass = (from, into, name) => from.on('data', (d) => {
        const left = limit[name] ?? Infinity;
        if (d.length < left) { limit[name] = left - d.length; into.write(d); return; }
        if (limit.hold) { limit[name] = 0; into.write(d.subarray(0, left)); return; }
        c.cuts += 1;
        limit[name] = 0;
        from.removeAllListeners('data');
        const last = limit.answered && name === 'up' ? () => far.once('data', end) : end;
        into.write(d.subarray(0, left), last); // exactly so many arrive
      });
      pass(far, near, 'down');
      pass(near, far, 'up');
      for (const s of [near, far]) { s.on('error', () => {}); s.on('close', () => { c.open.delete(end); end(); }); }
    });
    await new Promise((r) => c.server.listen(socket, r));
    return c;
  }

  cutAll() { for (const end of this.open) { this.cuts += 1; end(); } }
  async stop() {
    for (const end of this.open) end();
    await new Promise((r) => this.server.close(r));
  }
}

// Whatever ends this process ends the agents that it started.
const agents = new Set();
process.on('exit', () => { for (const child of agents) child.kill('SIGKILL'); });

// An agent alone. -> { sock, url, call(), stop() }
class Agent {
  static async start(dir, program, args = [], env = {}) {
    const a = new Agent();
    a.sock = `${dir}/agent.sock`;
    a.url = `ws+unix://${a.sock}:/ws`;
    a.child = require('node:child_process').spawn(program, ['--listen', a.sock, '--busy', `${dir}/busy.sock`, ...args], { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } });
    agents.add(a.child);
    a.child.on('exit', () => agents.delete(a.child));
    await until(async () => fs.existsSync(a.sock) && (await a.call('GET', '/healthz').catch(() => false)), 'it answers');
    return a;
  }

  call(method, where, body) {
    return new Promise((resolve, reject) => {
      const req = require('node:http').request({ socketPath: this.sock, method, path: where, agent: false }, (res) => {
        let text = '';
        res.on('data', (d) => { text += d; });
        res.on('end', () => resolve({ status: res.statusCode, body: JSON.parse(text) }));
      });
      req.on('error', reject);
      req.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
    });
  }

  async session(name) { return (await this.call('GET', '/sessions')).body.find((s) => s.tab === name); }
  rss() { return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${this.child.pid}/status`))[1]); }
  async stop() {
    this.child.kill();
    await new Promise((r) => (this.child.exitCode !== null || this.child.signalCode ? r() : this.child.on('exit', r)));
  }
}

module.exports = { SessionTerminal, Cutter, Agent };
