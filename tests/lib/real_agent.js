// Starts the agent alone, with a folder of files, and speaks HTTP to it on its unix socket.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { until, temp, binary } = require('./cchost.js');

const beside = path.join(path.dirname(fs.realpathSync(binary)), 'cchost-agent');
const program = fs.existsSync(beside) ? beside : path.join(__dirname, '../../build', process.env.V || 'release', 'cchost-agent');

class Agent {
  // args: more of the command line. how: { env, base: where its folder is made, uid: as whom, where this is root }
  static async start(args = [], how = {}) {
    const a = new this();
    a.dir = how.base ? fs.mkdtempSync(path.join(how.base, 'cchost-test-')) : temp();
    a.root = path.join(a.dir, 'claude-data');
    a.outside = path.join(a.dir, 'claude-data-other');
    a.sock = path.join(a.dir, 'agent.sock');
    fs.mkdirSync(a.root);
    fs.mkdirSync(a.outside);
    const run = how.uid ? path.join(a.dir, 'cchost-agent') : program; // he may not see where it was built
    if (how.uid) fs.copyFileSync(program, run);
    if (how.uid) for (const f of [a.dir, a.root, a.outside, run]) fs.chownSync(f, how.uid, how.uid);
    a.log = '';
    // What the sanitizer keeps of freed memory is not what a test measures.
    const sanitizer = { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS || ''}:quarantine_size_mb=1` };
    a.child = spawn(run, ['--listen', a.sock, '--busy', path.join(a.dir, 'busy.sock'), '--root', a.root, ...args],
      { stdio: ['ignore', 'inherit', 'pipe'], uid: how.uid, gid: how.uid, env: { ...process.env, ...sanitizer, ...how.env } });
    a.child.stderr.on('data', (d) => { a.log += d; });
    await until(async () => fs.existsSync(a.sock) && (await a.get('/healthz').catch(() => false)), 'it answers');
    return a;
  }

  // Nothing of it is left: no file open beneath the root, no child.
  async stop() {
    await until(() => this.open().length === 0, () => `open: ${this.open()}`);
    this.child.kill();
    if (this.child.exitCode === null && this.child.signalCode === null) await new Promise((r) => { this.child.on('exit', r); });
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  open() {
    return fs.readdirSync(`/proc/${this.child.pid}/fd`).map((n) => { try { return fs.readlinkSync(`/proc/${this.child.pid}/fd/${n}`); } catch { return ''; } })
      .filter((to) => to.startsWith(this.root) || to.startsWith(this.outside));
  }

  rss() { return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))[1]) * 1024; }

  // -> the response, its body still to be read. body: bytes, or an object that goes as JSON
  request(method, where, { body, headers } = {}) {
    return new Promise((resolve, reject) => {
      const req = http.request({ socketPath: this.sock, method, path: where, agent: false, headers }, resolve);
      req.on('error', reject);
      req.end(body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
    });
  }

  // -> { status, headers, bytes, body: the JSON of it, if it is any }
  async call(method, where, options) {
    const res = await this.request(method, where, options);
    const bytes = Buffer.concat(await res.toArray());
    const json = /json/.test(res.headers['content-type'] || '') && !/ndjson/.test(res.headers['content-type']);
    return { status: res.statusCode, headers: res.headers, bytes, body: json && bytes.length ? JSON.parse(bytes) : undefined };
  }

  get(where, options) { return this.call('GET', where, options); }
  at(...names) { return path.join(this.root, ...names); }
}

module.exports = { Agent, until, program };
