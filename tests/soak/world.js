// One server in which everything is used: its people, its machines, and who listens to it.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { Server, until, temp, root, binary } = require('../lib/cchost.js');
const { Receiver } = require('../lib/receiver.js');
const { collector } = require('../lib/otlp.js');
const { Client } = require('./client.js');

const PEOPLE = 8, STAY = 3;
const bearer = (token) => ({ Authorization: `Bearer ${token}` });

// A server that writes its log into a file, which is what its `log` is.
class Logged extends Server {
  get file() { return path.join(this.dir, 'cchost.log'); }
  get log() { return this.written().subarray(this.from > this.written().length ? 0 : this.from).toString() + (this.said || ''); }
  set log(text) {
    if (text === '') this.from = this.written().length; // of a new process
    this.said = text.slice(-100000);
  }

  written() { try { return fs.readFileSync(this.file); } catch { return Buffer.alloc(0); } }
}

class World {
  // keep(record): what was unexpected
  static async start(keep, settings = {}) {
    const w = new this();
    Object.assign(w, { keep, dir: temp(), people: [], machines: [], taken: new Map(), n: 0, levels: {}, ends: [], counts: {} });
    const data = path.join(w.dir, 'data'), policies = path.join(w.dir, 'policies');
    fs.mkdirSync(data);
    fs.cpSync(path.join(root, 'tests/lib/policies'), policies, { recursive: true });
    w.policies = policies;
    w.sink = await collector({ after: (fn) => w.ends.push(fn) });
    w.receiver = await Receiver.start((res, got) => w.hear(res, got));
    w.ends.push(() => w.receiver.stop());
    w.s = await Logged.start({
      log_file: path.join(data, 'cchost.log'), log_format: 'json', policies_dir: policies, quota_instances: 0, quota_vpcs: 0, quota_webhooks: 0, network_backend: 'mock',
      mock: `{latency_ms=25, state=${JSON.stringify(path.join(w.dir, 'mock.state'))}}`, stop_grace_seconds: 1, sweep_seconds: 5,
      terminal_command: 'stty raw -echo; exec cat', webhook_retry_first: '1s', webhook_retry_last: '2s', webhook_seconds: 2, activity_check_interval: '1m',
      agent_check_seconds: 20, drain_seconds: 10, otel_exporter_otlp_endpoint: w.sink.url, otel_bsp_schedule_delay: 1000, ...settings,
    }, data);
    w.client = new Client(w.s, keep);
    return w;
  }

  get pid() { return this.s.child.pid; }
  count(what) { this.counts[what] = (this.counts[what] || 0) + 1; }
  name(word) { this.n += 1; return `${word}${this.n}`; }

  // As somebody, or as the operator where `who` is absent.
  ask(who, method, where, how = {}) { return this.client.ask(method, where, { headers: who?.headers, ...how }); }
  async body(...request) { return (await this.ask(...request)).body; }

  // What nobody else does meanwhile; not done at all when somebody does.
  async alone(what, fn) {
    if (this.taken.has(what)) return undefined;
    this.taken.set(what, true);
    try { return await fn(); } finally { this.taken.delete(what); }
  }

  // The receiver of webhooks fails now and then.
  hear(res, got) {
    this.heard = (this.heard || 0) + 1;
    this.receiver.got.length = 0;
    if (this.heard % 41 === 0) res.writeHead(503, { 'Retry-After': '1' }).end('not now');
    else if (this.heard % 197 === 0) setTimeout(() => res.writeHead(204).end(), 3000).unref(); // too late
    else res.writeHead(204).end();
    void got;
  }

  async sign_in(email) {
    const { token } = await this.body(undefined, 'POST', '/auth/login', { body: { email }, headers: {} });
    return { email, token, headers: bearer(token), id: JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).user_id };
  }

  async populate_people() {
    for (let i = 0; i < PEOPLE; i += 1) this.people.push(await this.sign_in(`person${i}@example.org`));
    const root_person = await this.body(undefined, 'POST', '/users', { body: { email: 'root@example.org', role: 'admin' } });
    this.admin = { ...(await this.sign_in('root@example.org')), id: root_person.id };
    this.scrape_token = (await this.body(this.admin, 'POST', '/auth/tokens', { body: { name: 'prometheus', scopes: ['metrics'] } })).token;
  }

  // Machines that live as long as the run: with a web server, and the stand-in of Claude Code.
  async make_stay() {
    this.stay = [];
    for (let i = 0; i < STAY; i += 1) {
      const who = this.people[i];
      const env = { CLAUDE_DOUBLE_LOG: '/tmp/claude.log', CLAUDE_CODE_OAUTH_TOKEN: 'a-token' };
      const m = await this.body(who, 'POST', '/instances?wait=60', { body: { name: `stay${i}`, network: i ? 'none' : 'nat', env } });
      if (m.status !== 'RUNNING') throw new Error(JSON.stringify(m));
      const it = { ...m, who, at: `/instances/${m.id}`, turns: 0 };
      await this.furnish(it);
      this.stay.push(it);
    }
  }

  async sh(it, line) {
    const r = await this.body(it.who, 'POST', `${it.at}/exec`, { body: { cmd: ['sh', '-c', line], timeout: 60 } });
    if (r.exit !== 0) throw new Error(`${line.slice(0, 100)}: ${JSON.stringify(r).slice(0, 500)}`);
    return r.stdout;
  }

  async furnish(it) {
    const put = (file, bytes, mode = 644) => this.sh(it, `mkdir -p $(dirname ${file}) && echo ${Buffer.from(bytes).toString('base64')} | base64 -d >${file} && chmod ${mode} ${file}`);
    await put('~/.local/bin/claude', fs.readFileSync(path.join(root, 'tests/lib/claude.js')), 755);
    await put('/claude-data/www/page.txt', 'a page\n'.repeat(1000));
    const command = ['python3', '-m', 'http.server', '8080', '--bind', '127.0.0.1', '--directory', '/claude-data/www'];
    await put('~/.config/cchost/services.json', JSON.stringify({ services: [{ name: 'web', command }] }));
    await this.ask(it.who, 'POST', `${it.at}/services`);
    await until(async () => (await this.client.once('GET', `${it.at}/ports/8080/page.txt`, it.who.headers)).status === 200, 'the page is served', 30);
  }

  // What the log says at its levels; what it says of errors is unexpected.
  read_log(text) {
    for (const l of text.split('\n').filter(Boolean)) {
      let o;
      try { o = JSON.parse(l); } catch { this.keep({ method: 'log', where: 'a line that is no JSON', answer: l.slice(0, 1000) }); continue; }
      if (o.module === 'access') { this.count('access lines'); continue; }
      const what = `${o.level} ${o.module}: ${o.msg}`;
      this.levels[what] = (this.levels[what] || 0) + 1;
      if (o.level === 'error') this.keep({ method: 'log', where: what, answer: l.slice(0, 2000) });
    }
  }

  // A command of ours beside the server. -> { code, out, err }
  command(...args) {
    return new Promise((resolve) => {
      const child = spawn(binary, [...args, `--data-dir=${this.s.dir}`], { cwd: this.dir, stdio: ['ignore', 'pipe', 'pipe'] });
      const r = { out: '', err: '' };
      child.stdout.on('data', (d) => { r.out += d; });
      child.stderr.on('data', (d) => { r.err += d; });
      child.on('close', (code) => resolve({ ...r, code }));
    });
  }

  // A backup, which holds what is in the store and nothing of what is free in its file.
  async save() {
    const file = path.join(this.dir, 'a.backup');
    const r = await this.command('backup', file);
    if (r.code !== 0) throw new Error(`backup: ${r.err}`);
    this.backup_bytes = fs.statSync(file).size;
    fs.rmSync(file);
  }

  // Everything of everybody's goes; what was made for the whole run, too.
  async clear() {
    const each = async (who, where, drop) => { for (const x of await this.body(who, 'GET', where)) await drop(x); };
    for (const who of this.people) {
      await each(who, '/webhooks', (x) => this.ask(who, 'DELETE', `/webhooks/${x.id}`, { want: [204, 404] }));
    }
    await until(async () => {
      const list = (await this.body(undefined, 'GET', '/instances?limit=1000'));
      await Promise.all(list.map((m) => this.ask(undefined, 'DELETE', `/instances/${m.id}?wait=60`, { want: [200, 202, 404, 409] })));
      return list.length === 0;
    }, 'no machine is left', 120);
    await each(undefined, '/volumes?limit=1000', (v) => this.ask(undefined, 'DELETE', `/volumes/${v.id}?wait=30`, { want: [200, 202, 404, 409] }));
    this.machines = [];
    this.client.agent.destroy();
  }

  async stop() {
    await this.s.stop();
    for (const fn of this.ends) await fn();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

module.exports = { World, bearer };
