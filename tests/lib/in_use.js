// A machine in full use while its host is killed and another host, which carries another agent, comes in its place: the agent is
// updated, and who uses the machine sees nothing of it but that a turn of a chat was waited for.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const WebSocket = require('ws');
const { carrying, version } = require('./builds.js');
const { until } = require('./cchost.js');
const { SessionTerminal } = require('./session.js');

// What the agent itself tells, by its socket in the server's directory.
function health(s, m) {
  const at = path.join(s.dir, s.settings.provider || 'local', 'machines', m.short);
  const socketPath = [path.join(at, 'agent.sock'), path.join(at, 'agent', 'agent.sock')].find((p) => fs.existsSync(p));
  return new Promise((resolve) => {
    http.get({ socketPath, path: '/healthz', agent: false, timeout: 2000 }, async (res) => resolve(JSON.parse(Buffer.concat(await res.toArray()))))
      .on('timeout', function late() { this.destroy(); }).on('error', () => resolve({}));
  });
}

class InUse {
  // web: the command of a service that serves `page` at port 8080 of the machine
  constructor(t, s, m, { web, page = '/' }) { Object.assign(this, { t, s, m, web, path: page, at: `/instances/${m.id}` }); }

  async call(method, where, body) {
    const r = await this.s.call(method, `${this.at}${where}`, body);
    assert.ok(r.status < 300, `${where}: ${r.status} ${r.text}`);
    return r.body;
  }

  async sh(line) {
    const r = await this.call('POST', '/exec', { cmd: ['sh', '-c', line], timeout: 60 });
    assert.strictEqual(r.exit, 0, r.stderr);
    return r.stdout;
  }

  put(file, text, mode = '644') { return this.sh(`mkdir -p $(dirname ${file}) && echo ${Buffer.from(text).toString('base64')} | base64 -d >${file} && chmod ${mode} ${file}`); }

  async service() { return (await this.call('GET', '/services')).services.find((x) => x.name === 'web'); }

  page() { return this.s.call('GET', `${this.at}/ports/8080${this.path}`).then((r) => r.status); }

  chat() {
    const ws = new WebSocket(`${this.s.url.replace('http', 'ws')}${this.at}/chat?cwd=/claude-data/app`, { headers: { 'X-API-Key': this.s.key } });
    const c = { ws, got: [], say: (content) => ws.send(JSON.stringify({ type: 'message', content, cwd: '/claude-data/app' })) };
    ws.on('message', (d) => c.got.push(JSON.parse(d)));
    ws.on('error', () => {});
    this.t.after(() => ws.terminate());
    c.until = (fn, what, seconds) => until(() => c.got.find(fn), () => `${what}: ${JSON.stringify(c.got).slice(0, 500)}`, seconds);
    return c;
  }

  async begin() {
    await this.sh('mkdir -p /claude-data/app');
    await this.put('~/.local/bin/claude', fs.readFileSync(path.join(__dirname, 'claude.js')), '755');
    await this.put('~/.config/cchost/services.json', JSON.stringify({ services: [{ name: 'web', command: this.web }] }));
    await this.call('POST', '/services');
    await until(async () => (await this.page()) === 200, 'the page is served');
    await this.sh('cchost-busy hold --id build -r "a build" -t 30m');
    const t = new SessionTerminal(() => `${this.s.url.replace('http', 'ws')}${this.at}/terminal`, { session: 'main', headers: { 'X-API-Key': this.s.key }, pause: 100 });
    this.t.after(() => { t.again = false; t.ws.terminate(); });
    this.tty = t;
    t.connect();
    await t.joined();
    t.type('i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line-$i-end; [ $i != 19000 ] || until [ -e /tmp/go ]; do sleep 0.05; done; done; echo DO""NE\r');
    await t.sees(/line-100-end/);
    this.first = this.chat();
    await this.first.until((x) => x.type === 'state', 'the chat');
    this.first.say('wait');
    await this.first.until((x) => x.content === 'I wait', 'the turn');
    this.before = { ...(await this.service()) };
    assert.strictEqual(this.before.state, 'running');
  }

  // The turn ends, and what began before goes on. `from`, `to`: versions of the agent
  async end(from, to) {
    let stats;
    const waits = await until(async () => {
      stats = await this.call('GET', '/stats');
      return stats.agent?.update === 'waiting' && stats.agent.why && stats.agent;
    }, () => `it waits: ${JSON.stringify(stats)}\n${this.s.log.slice(-2000)}`, 60);
    assert.deepStrictEqual([waits.version, /Claude is at work/.test(waits.why)], [from, true], JSON.stringify(waits));
    assert.match(this.s.log, /an agent is busy: its update waits/);
    const c = this.chat();
    assert.strictEqual((await c.until((x) => x.type === 'state', 'the chat is back')).working, true);
    assert.strictEqual((await health(this.s, this.m)).version, from);
    await this.sh('touch /tmp/turn');
    const done = await c.until((x) => x.type === 'done' || x.type === 'error', 'the turn ends');
    assert.strictEqual(done.type, 'done', JSON.stringify(done));
    await until(async () => (await health(this.s, this.m)).version === to, () => `it is ${to}:\n${this.s.log.slice(-2000)}`, 90);
    await this.s.says(/an agent was updated/);
    assert.deepStrictEqual(await until(async () => { const { agent } = await this.call('GET', '/stats'); return agent.update === 'current' && agent.version; }, 'stats say so'), to);
    const { agents } = (await this.s.call('GET', '/healthz?verbose')).body;
    assert.deepStrictEqual(agents, { current: 1 });
    await this.goesOn();
  }

  async goesOn() {
    assert.ok(!/DONE/.test(this.tty.output.slice(-1000)), 'the terminal is in mid-output');
    await this.sh('touch /tmp/go');
    await this.tty.sees(/DONE\r\n/, 60);
    const lines = this.tty.output.match(/line-\d+-end\r\n/g);
    assert.strictEqual(lines.length, 20000);
    lines.forEach((l, i) => assert.strictEqual(l, `line-${i + 1}-end\r\n`));
    assert.ok(this.tty.opened >= 3 && this.tty.lost === 0, `${this.tty.opened} connections, ${this.tty.lost} lost`);
    assert.deepStrictEqual((await this.call('GET', '/stats')).leases.filter((l) => l.id === 'build').map((l) => l.reason), ['a build']);
    const now = await this.service();
    for (const k of ['state', 'pid', 'restarts']) assert.strictEqual(now[k], this.before[k], k);
    assert.strictEqual(await this.page(), 200);
    const c = this.chat();
    await c.until((x) => x.type === 'state', 'the chat');
    c.say('more');
    const is = (x) => x.type === 'done' && /before:/.test(x.content || '');
    assert.match((await c.until(is, 'another turn', 30)).content, /before: wait\./);
  }
}

// The host in `s` is killed, and one that is `binary` (undefined: this one) comes at its port.
async function exchange(s, binary) {
  const { port } = s;
  await s.kill();
  s.settings = { ...s.settings, listen_addr: `127.0.0.1:${port}` };
  s.how = { ...s.how, binary };
  await s.launch();
}

const env = { CLAUDE_DOUBLE_LOG: '/tmp/claude.log', CLAUDE_DOUBLE_GO: '/tmp/turn', CLAUDE_CODE_OAUTH_TOKEN: 'a-token' };

// `start(how)` -> a server, `make(s, env)` -> a machine of its that runs. All of it, for one provider.
async function updated(t, start, make, { dir, ...how }) {
  const s = await start({ binary: carrying(dir, version('0.0.9')) });
  const m = await make(s, env);
  const u = new InUse(t, s, m, how);
  await u.begin();
  assert.strictEqual((await health(s, m)).version, '0.0.9');
  await exchange(s);
  await u.end('0.0.9', '0.1.0');
}

module.exports = { health, exchange, updated };
