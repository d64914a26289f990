// Starts the real server and talks to it: what every test over HTTP needs.
'use strict';
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');
const binary = process.env.CCHOST || path.join(root, 'cchost');

// Whatever ends this process ends the servers that it started.
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

// Waits for a condition (its truthy value is returned), by asking again every 5 ms. what: a text, or a function that tells it then.
async function until(fn, what, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const v = await fn();
    if (v) return v;
    if (Date.now() > end) throw new Error(`in vain, ${seconds} s: ${typeof what === 'function' ? what() : what}`);
    await new Promise((r) => setTimeout(r, 5));
  }
}

function temp() {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-test-'));
}

class Server {
  scheme = 'http';
  client = http;

  // settings: { provider: 'mock', ... } as command line settings. dir is kept when given.
  // how: { env, wrap, ca } - more environment; a command that executes the server, whose files may then be elsewhere;
  // the certificate that its own is signed by, where it speaks TLS.
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
    const [command, ...before] = [...(this.how.wrap || []), binary];
    const env = { ...process.env, ...this.how.env };
    this.spawn(command, [...before, ...args], env);
    await this.says(/msg=ready.*\n/); // the whole line
    const [, scheme, port] = /url=(https?):\/\/[^ \n]*:(\d+)/.exec(this.log);
    this.scheme = scheme;
    this.port = Number(port);
    const seen = this.how.wrap ? `/proc/${this.child.pid}/root` : '/';
    this.key = env.API_KEY || fs.readFileSync(path.join(seen, this.dir, 'api_key'), 'utf8').trim();
    this.agent = new (scheme === 'https' ? https : http).Agent({ keepAlive: true, maxSockets: 200, ca: this.how.ca });
  }

  spawn(command, args, env) {
    const child = spawn(command, args, { cwd: this.dir, env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.child = child;
    children.add(child);
    this.exited = new Promise((r) => child.on('exit', (code, signal) => {
      children.delete(child);
      this.code = code;
      this.signal = signal;
      r();
    }));
    child.stderr.on('data', (d) => { this.log += d; });
  }

  // Waits until its log matches.
  async says(pattern) {
    await until(() => {
      if (this.child.exitCode !== null || this.child.signalCode) throw new Error(`the server ended (${this.child.exitCode ?? this.child.signalCode}):\n${this.log}`);
      return pattern.test(this.log);
    }, `the server says ${pattern}`, 60);
  }

  get url() { return `${this.scheme || 'http'}://127.0.0.1:${this.port}`; }

  // -> {status, headers, text, body}
  call(method, where, body, headers = {}) {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
      const h = { 'X-API-Key': this.key, ...headers };
      for (const k of Object.keys(h)) if (h[k] === undefined) delete h[k];
      if (text !== undefined) h['Content-Length'] = Buffer.byteLength(text);
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

  // Machines outlive the server, so a test that failed half-way must not leave its own behind.
  async deleteAll() {
    for (;;) {
      const { body } = await this.call('GET', '/instances?limit=1000');
      if (!body.length) return;
      await Promise.all(body.map((m) => this.call('DELETE', `/instances/${m.id}`)));
    }
  }

  // An orderly end: TERM, exit code 0, nothing left open (the process says so in its log).
  async stop() {
    const up = this.child.exitCode === null && !this.child.signalCode;
    if (up && this.own) await this.deleteAll();
    this.agent.destroy();
    if (up) this.child.kill('SIGTERM');
    await this.exited;
    if (this.own) fs.rmSync(this.dir, { recursive: true, force: true });
    if (this.code !== 0) throw new Error(`the server ended with ${this.code ?? this.signal}:\n${this.log}`);
    if (/left open|would not end/.test(this.log)) throw new Error(`something was left open:\n${this.log}`);
  }
}

module.exports = { Server, until, temp, root, binary };
