// PUT /update: another build of the agent takes the place of this one, in its process. Terminals, services and leases go on, with
// every byte once; a program that cannot go on is not exec'ed.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const WebSocket = require('ws');
const { until, temp } = require('../lib/cchost.js');
const { SessionTerminal, Agent } = require('../lib/session.js');
const { program, bytes, sha, patched, version } = require('../lib/builds.js');

const other = version('0.1.9'), foreign = patched('cchost-agent state 1\0', 'cchost-agent state 2\0');

let dir, agent;
const opened = [];
async function start(args = [], env = {}) {
  dir = temp();
  fs.writeFileSync(path.join(dir, 'inputrc'), 'set enable-bracketed-paste off\n');
  agent = await Agent.start(dir, program, ['--shell', 'exec bash --norc', '--root', dir, ...args], { PS1: '$ ', INPUTRC: path.join(dir, 'inputrc'), HOME: dir, CCHOST_SERVICES: `${dir}/none`, ...env });
}
test.afterEach(async () => {
  for (const t of opened.splice(0)) { t.again = false; t.ws.terminate(); }
  if (agent.child.exitCode === null && !agent.child.signalCode) await agent.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function open(o) {
  const t = new SessionTerminal(agent.url, o);
  opened.push(t);
  t.connect();
  await t.joined();
  return t;
}
// -> { status, body, retry }
function put(body, { hash = sha(body), cut } = {}) {
  return new Promise((resolve, reject) => {
    const req = http.request({ socketPath: agent.sock, method: 'PUT', path: `/update?sha256=${hash}`, agent: false, headers: { 'Content-Length': body.length } }, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; });
      res.on('end', () => resolve({ status: res.statusCode, body: JSON.parse(text), retry: res.headers['retry-after'] }));
    });
    req.on('error', reject);
    if (cut) req.write(body.subarray(0, cut));
    else req.end(body);
    if (cut) resolve(req);
  });
}
const health = async () => (await agent.call('GET', '/healthz')).body;
const answersAs = (version) => until(async () => { try { return (await health()).version === version; } catch { return false; } }, `it is ${version}`);
const children = () => fs.readFileSync(`/proc/${agent.child.pid}/task/${agent.child.pid}/children`, 'utf8').split(' ').filter(Boolean);
const descriptors = () => fs.readdirSync(`/proc/${agent.child.pid}/fd`).length;
async function update(body = other, version = '0.1.9') {
  const r = await put(body);
  assert.deepStrictEqual([r.status, r.body], [202, { status: 'updating' }]);
  await answersAs(version);
}

test('terminals in mid-output and in mid-input, twice: every byte once, the same shells, nothing open that was not', async () => {
  await start(['--ring', '1048576']);
  const out = await open({ session: 'out' }), typed = await open({ session: 'typed' }), quiet = await open({ session: 'quiet' });
  for (const t of [out, typed, quiet]) await t.sees(/\$ $/);
  quiet.type('x=kept; echo pid:$$\r');
  await quiet.sees(/pid:\d+\r\n/);
  const shells = children(), pid = agent.child.pid;
  typed.type(`stty raw -echo; head -c 400000 >${dir}/typed; stty sane; echo DO""NE\r`);
  out.type(`for i in \$(seq 1 40000); do echo line-\$i-end; [ \$i != 39000 ] || until [ -e ${dir}/go ]; do sleep 0.02; done; done; echo DO""NE\r`);
  await out.sees(/line-100-end/);
  await until(() => fs.existsSync(`${dir}/typed`), 'it reads');
  const text = crypto.randomBytes(150000).toString('hex').slice(0, 200000);
  typed.type(text);
  await update();
  assert.notStrictEqual((await health()).build, sha(bytes));
  assert.strictEqual((await health()).build, sha(other));
  typed.type(text.split('').reverse().join(''));
  await update(bytes, '0.1.0');
  assert.ok(!/DONE/.test(out.output)); // in its middle
  fs.writeFileSync(`${dir}/go`, '');
  await out.sees(/DONE\r\n/, 60);
  await typed.sees(/DONE\r\n/, 60);
  const lines = out.output.match(/line-\d+-end\r\n/g);
  assert.strictEqual(lines.length, 40000);
  lines.forEach((l, i) => assert.strictEqual(l, `line-${i + 1}-end\r\n`));
  assert.strictEqual(fs.readFileSync(`${dir}/typed`, 'utf8'), text + text.split('').reverse().join(''));
  for (const t of [out, typed]) { assert.ok(t.opened >= 3); assert.strictEqual(t.lost, 0); }
  await until(() => quiet.ready && quiet.opened >= 3, 'it is back');
  quiet.type('echo $x:$$\r');
  await quiet.sees(/kept:\d+\r\n/);
  assert.strictEqual(/pid:(\d+)/.exec(quiet.output)[1], /kept:(\d+)/.exec(quiet.output)[1]);
  assert.deepStrictEqual([agent.child.pid, children()], [pid, shells]);
  assert.strictEqual(fs.readFileSync(`/proc/${pid}/comm`, 'utf8'), 'cchost-agent\n');
  assert.deepStrictEqual((await agent.call('GET', '/sessions')).body.map((s) => s.tab), ['out', 'typed', 'quiet']);
});

test('descriptors do not grow with updates, a shell that ended meanwhile is reaped, leases and what was typed last stay', async () => {
  await start();
  const t = await open({ session: 'a' });
  await t.sees(/\$ $/);
  await update();
  await until(() => t.ready && t.opened === 2, 'it is back');
  const before = descriptors();
  const lease = await new Promise((resolve) => {
    const req = http.request({ socketPath: `${dir}/busy.sock`, method: 'POST', path: '/lease', agent: false }, (res) => { res.resume(); res.on('end', () => resolve(res.statusCode)); });
    req.end('{"id":"build","reason":"make","ttl":600}');
  });
  assert.strictEqual(lease, 200);
  const activity = (await agent.call('GET', '/activity')).body;
  for (const [body, version] of [[bytes, '0.1.0'], [other, '0.1.9'], [bytes, '0.1.0']]) {
    const n = t.opened;
    await update(body, version);
    await until(() => t.ready && t.opened > n, 'it is back');
  }
  await until(() => descriptors() <= before, () => `${descriptors()} descriptors, ${before} before`);
  const now = (await agent.call('GET', '/activity')).body;
  assert.deepStrictEqual(now.leases.map((l) => [l.id, l.reason]), [['build', 'make']]);
  assert.strictEqual(now.last_input_ms >= activity.last_input_ms, true);
  assert.ok(now.uptime_ms >= activity.uptime_ms);
  assert.ok((await new Promise((resolve) => { http.get({ socketPath: `${dir}/busy.sock`, path: '/leases', agent: false }, (res) => { res.resume(); res.on('end', () => resolve(res.statusCode)); }); })) === 200);
  t.type('exit\r');
  await until(() => t.closed, 'the shell has ended');
  assert.strictEqual(t.exit, 0);
  await until(() => children().length === 0, 'it is reaped');
});

test('services go on with their pids, their restarts and their logs', async () => {
  dir = temp();
  fs.mkdirSync(`${dir}/.config/cchost`, { recursive: true });
  const home = dir;
  fs.writeFileSync(`${home}/.config/cchost/services.json`, JSON.stringify({ services: [{ name: 'web', command: ['sh', '-c', 'echo up; exec sleep 1000'] }, { name: 'once', command: ['sh', '-c', 'exit 0'], restart: 'on-failure' }] }));
  await start([], { HOME: home });
  const list = async () => (await agent.call('GET', '/services')).body.services;
  await until(async () => (await list()).length === 2 && (await list())[1].state === 'done', 'they run');
  const before = await list();
  await update();
  await until(async () => (await list()).length === 2, 'they are told');
  assert.deepStrictEqual((await list()).map((s) => [s.name, s.state, s.pid, s.restarts, s.exit]), before.map((s) => [s.name, s.state, s.pid, s.restarts, s.exit]));
  const { pid } = (await list())[0];
  process.kill(pid, 'SIGKILL');
  await until(async () => { const [web] = await list(); return web.restarts === 1 && web.pid && web.pid !== pid; }, 'it begins again');
  await agent.stop();
  assert.ok(!fs.existsSync(`/proc/${pid}`));
  fs.rmSync(home, { recursive: true });
});

test('what cannot go on is not exec\'ed: another sum, no program, another program, one that cannot read the state', async () => {
  await start();
  const t = await open({ session: 'a' });
  await t.sees(/\$ $/);
  const refused = [[bytes, { hash: sha(other) }, 422, /not what sha256 says/], [bytes, { hash: 'x' }, 400, /sha256/], [Buffer.from('#!/bin/sh\nexit 0\n'), {}, 422, /cannot go on/], [Buffer.alloc(0), {}, 422, /sha256/],
    [fs.readFileSync('/bin/true'), {}, 422, /cannot go on/], [fs.readFileSync('/bin/false'), {}, 422, /cannot go on/], [bytes.subarray(0, bytes.length >> 1), {}, 422, /cannot go on/], [foreign, {}, 422, /cannot go on/],
    [patched('/healthz\0', '/healthy\0'), {}, 422, /cannot go on/], // it would answer nobody who asks how it is
    [patched('watched\0', 'watchet\0'), {}, 422, /cannot go on/]]; // it would not call off the alarm that ends one who hangs
  for (const [body, how, status, why] of refused) {
    const r = await put(body, how);
    assert.strictEqual(r.status, status, JSON.stringify(r.body));
    assert.match(r.body.error, why);
  }
  assert.deepStrictEqual([t.opened, (await health()).version], [1, '0.1.0']);
  t.type('echo still-$((6*7))\r');
  await t.sees(/still-42/);
  await until(() => children().length === 1, 'no check is left');
  await update(); // and one that can, still
});

test('what would be cut is waited for: a command, a plain terminal, a transfer', async () => {
  await start();
  const go = path.join(dir, 'go');
  const exec = agent.call('POST', '/exec', { cmd: ['sh', '-c', `until [ -e ${go} ]; do sleep 0.02; done; echo done`] });
  await until(() => children().length === 1, 'it runs');
  const r = await put(other);
  assert.deepStrictEqual([r.status, r.body.code, r.retry], [409, 'busy', '30']);
  fs.writeFileSync(go, '');
  assert.strictEqual(Buffer.from((await exec).body.stdout, 'base64').toString(), 'done\n');
  const plain = new WebSocket(agent.url, ['tty'], { perMessageDeflate: false });
  plain.on('open', () => plain.send('{"columns":80,"rows":24}'));
  await until(async () => (await put(other, { hash: 'f'.repeat(64) })).status === 409, 'the terminal is seen');
  plain.close();
  await until(async () => (await put(other, { hash: 'f'.repeat(64) })).status === 422, 'it has gone');
  const upload = http.request({ socketPath: agent.sock, method: 'PUT', path: '/files?path=slow', agent: false, headers: { 'Content-Length': 10 } });
  upload.on('error', () => {});
  upload.write('12345');
  await until(async () => (await put(other, { hash: 'f'.repeat(64) })).status === 409, 'the transfer is seen');
  upload.end('67890');
  await new Promise((resolve) => { upload.on('response', (res) => { res.resume(); res.on('end', resolve); }); });
  assert.strictEqual(fs.readFileSync(`${dir}/slow`, 'utf8'), '1234567890');
  await update();
});

test('an update that breaks off, or is killed, changes nothing', async () => {
  await start();
  const t = await open({ session: 'a' });
  await t.sees(/\$ $/);
  const req = await put(other, { cut: 1 << 20 });
  await until(async () => (await put(other)).status === 409, 'it is under way');
  req.destroy();
  await until(async () => (await put(other, { hash: 'f'.repeat(64) })).status === 422, 'it is over');
  assert.deepStrictEqual([t.opened, (await health()).version], [1, '0.1.0']);
  await put(other, { cut: 1 << 20 });
  agent.child.kill('SIGKILL');
  await until(() => agent.child.signalCode, 'it is killed');
  t.again = false;
  fs.rmSync(agent.sock);
  agent = await Agent.start(dir, program, ['--root', dir]);
  assert.strictEqual((await health()).version, '0.1.0');
});

const lines = (name) => { try { return fs.readFileSync(path.join(dir, name), 'utf8').split('\n').filter(Boolean); } catch { return []; } };
const LASTS = `trap "" HUP; touch lasts; until [ -e over ]; do sleep 0.02; done`; // hears no hang-up

test('the newest turn of a chat is there after updates that came while its page was away', async () => {
  const bin = temp(), go = `${bin}/go`;
  fs.symlinkSync(path.join(__dirname, '../lib/claude.js'), `${bin}/claude`);
  await start([], { PATH: `${bin}:${process.env.PATH}`, CLAUDE_DOUBLE_LOG: `${bin}/log`, CLAUDE_DOUBLE_GO: go, CLAUDE_SETTINGS: 'leave', CLAUDE_CODE_OAUTH_TOKEN: 'a-token', CLAUDECODE: '' });
  fs.mkdirSync(`${dir}/app`);
  const page = async (query) => {
    const ws = new WebSocket(`ws+unix://${agent.sock}:/chat?cwd=app${query}`, { perMessageDeflate: false }), got = [];
    ws.on('message', (d) => got.push(JSON.parse(d)));
    await new Promise((resolve, reject) => { ws.on('open', resolve); ws.on('error', reject); });
    return { ws, got, sees: (type) => until(() => got.find((m) => m.type === type), () => `${type} in ${JSON.stringify(got)}`) };
  };
  const p = await page('');
  p.ws.send(JSON.stringify({ type: 'message', content: 'wait' }));
  const { turn, n } = await p.sees('text');
  p.ws.terminate();
  fs.writeFileSync(go, '');
  await until(async () => !(await agent.call('GET', '/activity')).body.turn, 'the turn is over');
  await update();
  await update(bytes, '0.1.0'); // nobody has asked for it in between
  const back = await page(`&turn=${turn}&n=${n}`);
  const state = await back.sees('state');
  assert.deepStrictEqual([state.turn, state.working, state.lost], [turn, false, 0]);
  const done = await back.sees('done');
  assert.deepStrictEqual(back.got.slice(1).map((m) => [m.turn, m.n]), Array.from({ length: done.n - n }, (_, i) => [turn, n + 1 + i]));
  const other = await page('');
  await other.sees('done');
  assert.deepStrictEqual(other.got.slice(1).map((m) => m.n), Array.from({ length: done.n }, (_, i) => i + 1));
  for (const { ws } of [back, other]) ws.terminate();
  fs.rmSync(bin, { recursive: true });
});

test('a service, or a terminal that nobody looked at, does not stand still after an update as one does whose viewer was lost', async () => {
  const home = temp(), writes = (name) => `while :; do head -c 30000 /dev/zero | tr '\\0' x; echo x >>$HOME/${name}; sleep 0.02; done`;
  fs.writeFileSync(`${home}/services.json`, JSON.stringify({ services: [{ name: 'web', command: ['sh', '-c', writes('web')] }] }));
  await start(['--ring', '65536'], { CCHOST_SERVICES: `${home}/services.json` });
  const [alone, watched] = [await open({ session: 'alone', keepOutput: false }), await open({ session: 'watched', keepOutput: false })];
  alone.type(`${writes('alone')}\r`);
  await until(() => lines('alone').length > 2 && lines('web').length > 2, 'they write');
  await alone.leave(1000);
  watched.ws.send(Buffer.from('2'));
  watched.type(`${writes('watched')}\r`);
  await until(async () => (await agent.session('watched')).bytes > 40000, 'he lacks more than half a ring');
  watched.again = false;
  await update();
  const [web, tab, held] = ['web', 'alone', 'watched'].map((name) => lines(name).length);
  await until(() => lines('web').length > web + 6 && lines('alone').length > tab + 6, () => `${lines('web').length - web}, ${lines('alone').length - tab} times`);
  assert.ok(lines('watched').length < held + 5, 'that one is waited for'); // its terminal takes some more than it is read
  fs.rmSync(home, { recursive: true });
});

test('the child of a tab that was closed is reaped after updates, too', async () => {
  await start();
  const t = await open({ session: 'a' });
  t.type(`cd ${dir}; exec sh -c '${LASTS}'\r`);
  await until(() => fs.existsSync(`${dir}/lasts`), 'it runs');
  const [pid] = children();
  assert.strictEqual((await agent.call('DELETE', '/tabs/a')).status, 200);
  t.again = false;
  await update();
  await update(bytes, '0.1.0');
  assert.deepStrictEqual([children(), (await agent.call('GET', '/sessions')).body], [[pid], []]);
  fs.writeFileSync(`${dir}/over`, '');
  await until(() => children().length === 0, 'it is reaped');
});

test('a plain terminal whose client has gone holds up no update, however long its program lasts', async () => {
  await start();
  const plain = new WebSocket(agent.url, ['tty'], { perMessageDeflate: false });
  plain.on('open', () => { plain.send('{"columns":80,"rows":24}'); plain.send(Buffer.from(`0cd ${dir}; exec sh -c '${LASTS}'\r`)); });
  await until(() => fs.existsSync(`${dir}/lasts`), 'it runs');
  plain.close();
  await until(async () => (await agent.call('GET', '/activity')).body.clients === 0, 'he has gone');
  assert.strictEqual(children().length, 1);
  await update();
  fs.writeFileSync(`${dir}/over`, '');
  await until(() => children().length === 0, 'it is reaped');
});

test('what was handed over does not stay in memory', async () => {
  // What the sanitizer keeps of freed memory is not what a test measures.
  await start(['--shell', 'head -c 1500000 /dev/zero | tr "\\0" x; exec cat'], { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS || ''}:quarantine_size_mb=1` });
  for (let i = 0; i < 20; i += 1) assert.strictEqual((await agent.call('POST', '/tabs', { name: `t${i}` })).status, 200);
  const full = async () => (await agent.call('GET', '/sessions')).body.filter((s) => s.bytes === 1500000).length === 20;
  await until(full, 'their rings are full', 60);
  const before = agent.rss();
  await update();
  assert.ok(await full());
  await until(() => agent.rss() < 1.3 * before, () => `${agent.rss()} KiB, ${before} before`);
});
