// Starts the real server and talks to it: what every test over HTTP needs.
'use strict';
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');
const { tellers, until, within } = require('./waits.js');

const root = path.join(__dirname, '..', '..');
const binary = process.env.CCHOST || path.join(root, 'cchost');

// Whatever ends this process ends the servers that it started.
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

const CALL_SECONDS = 120; // more than the API makes anybody wait
const FRESH_MS = 8000; // the server ends a connection that idled for 15 s: one so old is not asked any more

function temp() {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-test-'));
}

// A process that is nobody's child here, in so far as a test wants it of one.
class Grandchild {
  constructor(pid) {
    Object.assign(this, { pid, exitCode: null, signalCode: null });
    children.add(this);
    this.exited = until(() => !fs.existsSync(`/proc/${pid}`), '', 1e6).then(() => {
      children.delete(this);
      this.exitCode = 0; // nobody tells
    });
  }

  kill(signal) {
    try { process.kill(this.pid, signal); } catch (e) { if (e.code !== 'ESRCH') throw e; }
  }
}

// Ends the connections that the server may be about to end: also after this process stood still, when it has not heard of that.
// The oldest are first in their list, from which Node's agent takes the last.
function endOld(agent) {
  for (const list of Object.values(agent?.freeSockets || {})) { // none: a test put its server together itself
    for (const socket of [...list]) if (Date.now() - socket.freeSince > FRESH_MS) socket.destroy();
  }
}

class Server {
  scheme = 'http';
  client = http;

  // settings: { provider: 'mock', ... } as command line settings. dir is kept when given.
  // how: { env, wrap, ca, binary } - more environment; a command that executes the server, whose files may then be elsewhere;
  // the certificate that its own is signed by, where it speaks TLS; another program in its place.
  static async start(settings = {}, dir = null, how = {}) {
    const s = new this();
    s.own = !dir;
    s.dir = dir || temp();
    s.settings = settings;
    s.how = how;
    await s.launch();
    return s;
  }

  async launch() {
    const args = ['serve', '--listen-addr=127.0.0.1:0', `--data-dir=${this.dir}`];
    // No limits of requests and of plans: tests of those set them.
    const unlimited = { rate_limit_api: 0, rate_limit_auth: 0, policies_dir: path.join(root, 'tests', 'lib', 'policies') };
    for (const [k, v] of Object.entries({ ...unlimited, ...this.settings })) if (v !== undefined) args.push(`--${k.replace(/_/g, '-')}=${v}`);
    this.log = '';
    const [command, ...before] = [...(this.how.wrap || []), this.how.binary || binary];
    const env = { ...process.env, ...this.how.env };
    this.spawn(command, [...before, ...args], env);
    await this.says(/(?:msg=|"msg":")ready.*\n/); // the whole line, text or JSON
    const [, scheme, port] = /url(?:=|":")(https?):\/\/[^ \n"]*:(\d+)/.exec(this.log);
    this.scheme = scheme;
    this.port = Number(port);
    const seen = this.how.wrap ? `/proc/${this.child.pid}/root` : '/';
    this.key = env.API_KEY || fs.readFileSync(path.join(seen, this.dir, 'api_key'), 'utf8').trim();
    this.agent = new (scheme === 'https' ? https : http).Agent({ keepAlive: true, maxSockets: 200, ca: this.how.ca });
    this.agent.on('free', (socket) => { socket.freeSince = Date.now(); });
  }

  spawn(command, args, env) {
    const child = spawn(command, args, { cwd: this.dir, env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.child = child;
    const tell = () => ({ word: this.dir, lines: [`server ${child.pid}, its last words:`, ...this.log.trimEnd().split('\n').slice(-30)] });
    children.add(child);
    tellers.add(tell);
    this.exited = new Promise((r) => child.on('exit', (code, signal) => {
      children.delete(child);
      tellers.delete(tell);
      this.code = code;
      this.signal = signal;
      r();
    }));
    child.stderr.on('data', (d) => { this.log += d; });
  }

  // cchost upgrade: what it said. Where another process serves now, that is this server.
  async upgrade(...args) {
    const old = { child: this.child, exited: this.exited };
    const child = spawn(binary, ['upgrade', `--data-dir=${this.dir}`, '--json', ...args], { cwd: this.dir, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '', err = '';
    child.stdout.on('data', (d) => { out += d; });
    child.stderr.on('data', (d) => { err += d; });
    const code = await new Promise((r) => child.on('close', r));
    const told = out ? JSON.parse(out) : {};
    if (code === 0) {
      this.before = [...(this.before || []), old];
      this.child = new Grandchild(told.to.pid);
      this.exited = this.child.exited;
    }
    return { code, told, err };
  }

  // Waits until its log matches. -> the match
  async says(pattern) {
    return until(() => {
      if (this.child.exitCode !== null || this.child.signalCode) throw new Error(`the server ended (${this.child.exitCode ?? this.child.signalCode}):\n${this.log}`);
      return pattern.exec(this.log);
    }, `the server says ${pattern}`, 60);
  }

  get url() { return `${this.scheme || 'http'}://127.0.0.1:${this.port}`; }

  // -> {status, headers, text, body}
  call(method, where, body, headers = {}) {
    return within(this.ask(method, where, body, headers), `the answer to ${method} ${where}`, CALL_SECONDS);
  }

  ask(method, where, body, headers) {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
      const h = { 'X-API-Key': this.key, ...headers };
      for (const k of Object.keys(h)) if (h[k] === undefined) delete h[k];
      if (text !== undefined) h['Content-Length'] = Buffer.byteLength(text);
      endOld(this.agent);
      const req = (this.scheme === 'https' ? https : http).request({ host: '127.0.0.1', port: this.port, method, path: where, headers: h, agent: this.agent }, (res) => {
        const parts = [];
        res.on('data', (d) => parts.push(d));
        res.on('error', reject);
        res.on('end', () => {
          const t = Buffer.concat(parts).toString();
          let parsed;
          try { parsed = JSON.parse(t); } catch { parsed = undefined; }
          resolve({ status: res.statusCode, headers: res.headers, text: t, body: parsed });
        });
      });
      req.on('error', reject);
      req.end(text);
    });
  }

  // The id of the account with this address, made when there is none.
  async account(email, plan) {
    const made = await this.call('POST', '/users', { email, plan });
    return made.status === 201 ? made.body.id : (await this.call('GET', `/users/${email}`)).body.id;
  }

  async status(id) { return (await this.call('GET', `/instances/${id}`)).body.status; }
  running(id, seconds) { return until(async () => (await this.status(id)) === 'RUNNING', `${id} is RUNNING`, seconds); }

  async kill() {
    this.child.kill('SIGKILL');
    await this.exited;
    this.agent.destroy();
  }

  // After a test that failed: whatever of its processes is there still is there no more.
  drop() {
    this.agent.destroy();
    for (const { child } of [this, ...(this.before || [])]) if (child.exitCode === null && !child.signalCode) child.kill('SIGKILL');
  }

  // Machines outlive the server, so a test that failed half-way must not leave its own behind.
  async deleteAll() {
    let body;
    await until(async () => {
      ({ body } = await this.call('GET', '/instances?limit=1000'));
      if (!Array.isArray(body)) return true; // a server that does not answer us: a test of limits
      await Promise.all(body.map((m) => this.call('DELETE', `/instances/${m.id}`)));
      return body.length === 0;
    }, () => `no machine is left: ${JSON.stringify(body)}\n${this.log}`, 120);
  }

  // An orderly end: TERM, exit code 0, nothing left open (the process says so in its log).
  async stop() {
    const up = this.child.exitCode === null && !this.child.signalCode;
    try {
      if (up && this.own) await this.deleteAll();
    } finally { // else a test that cannot end it would wait for it for ever
      this.agent.destroy();
      if (up) this.child.kill('SIGTERM');
    }
    const late = setTimeout(() => {
      this.log += '\n120 s after SIGTERM it had not ended';
      this.child.kill('SIGKILL');
    }, 120000);
    await this.exited;
    if (this.child instanceof Grandchild) this.code = 0;
    for (const old of this.before || []) await old.exited;
    clearTimeout(late);
    if (this.own) fs.rmSync(this.dir, { recursive: true, force: true });
    if (this.code !== 0) throw new Error(`the server ended with ${this.code ?? this.signal}:\n${this.log}`);
    if (/left open|would not end/.test(this.log)) throw new Error(`something was left open:\n${this.log}`);
    if (/of a type that is not declared/.test(this.log)) throw new Error(`lua/event_types.lua does not know all that was written:\n${this.log}`);
  }
}

// What a log complains of: warnings and errors, but none of how busy this machine is.
const complaints = (log) => log.split('\n').filter((l) => /level=(warn|error)/.test(l) && !/module=loop /.test(l));

module.exports = { Grandchild, Server, complaints, until, within, temp, root, binary };
