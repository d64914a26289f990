// cchost upgrade: another process takes the place of the one that serves. Nobody's request fails, no byte of a terminal is lost, work
// that was under way is finished once; a new process that does not become ready changes nothing.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { Grandchild, Server, until, temp, root, binary } = require('../lib/cchost.js');
const { Stream } = require('../lib/events.js');
const { world, typeOver } = require('../lib/terminals.js');
const { Receiver } = require('../lib/receiver.js');
const { descriptors } = require('../soak/sample.js');

// A program in the place of cchost's: a script of sh.
function program(dir, text) {
  const file = path.join(dir, 'program');
  fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return file;
}

// cchost upgrade, with whoever serves afterwards left to the caller.
function ask(s, ...args) {
  const child = spawn(binary, ['upgrade', `--data-dir=${s.dir}`, '--json', ...args], { cwd: s.cwd || s.dir, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', err = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { err += d; });
  return new Promise((r) => child.on('close', (code) => r({ code, err, told: out ? JSON.parse(out) : {} })));
}

// A test that fails leaves no server behind, for which Node would wait.
const started = [];
async function start(...how) {
  const s = await Server.start(...how);
  started.push(s);
  return s;
}
test.afterEach(() => { for (const s of started.splice(0)) s.drop(); });

// The process that served before takes no connection any more: the new one had said that it serves a moment earlier.
const letGo = (s) => s.says(new RegExp(`what is under way here ends here" pid=${s.child.pid}\\b`));

// n clients, each with a connection of its own that it keeps, or a new one for each request, that ask until they are told to stop.
function load(s, n, keepAlive) {
  const out = { answers: 0, failures: [] };
  let on = true;
  const agents = Array.from({ length: n }, () => new http.Agent({ keepAlive, maxSockets: 1 }));
  const ask = (agent) => new Promise((resolve) => {
    const req = http.get({ host: '127.0.0.1', port: s.port, path: '/instances', headers: { 'X-API-Key': s.key }, agent }, (res) => {
      res.resume();
      res.on('end', () => { if (res.statusCode === 200) out.answers += 1; else out.failures.push(res.statusCode); resolve(); });
    });
    req.on('error', (e) => { out.failures.push(e.message); resolve(); });
  });
  const all = Promise.all(agents.map(async (agent) => { while (on) await ask(agent); agent.destroy(); }));
  out.stop = async () => { on = false; await all; };
  return out;
}

test('under load no request fails, and one that is under way ends where it began', async () => {
  const s = await start({ provider: 'mock', mock: '{create={latency_ms=1500}}' });
  const [kept, fresh] = [load(s, 10, true), load(s, 10, false)];
  const slow = s.call('POST', '/instances?wait=20', { name: 'slow' });
  await until(async () => (await s.call('GET', '/instances')).body.length === 1, 'its making has begun');
  for (let i = 0; i < 2; i += 1) {
    const [a, b] = [kept.answers, fresh.answers];
    const was = s.child.pid;
    const { code, told, err } = await s.upgrade();
    assert.strictEqual(code, 0, err);
    assert.deepStrictEqual([told.state, told.from.pid, told.to.pid === was], ['done', was, false]);
    await until(() => kept.answers > a + 200 && fresh.answers > b + 200, 'they go on');
  }
  assert.strictEqual((await slow).status, 201);
  assert.strictEqual((await slow).body.status, 'RUNNING');
  await kept.stop();
  await fresh.stop();
  assert.deepStrictEqual([kept.failures, fresh.failures], [[], []]);
  const log = (await s.call('GET', '/events?kind=server')).body;
  assert.deepStrictEqual(log.map((e) => e.type), ['upgraded', 'upgraded']);
  for (const old of s.before) await old.exited; // they end by themselves
  await s.stop();
});

test('an operation that is under way is taken over and done once', async () => {
  const s = await start({ provider: 'mock', mock: '{create={latency_ms=2000}}', drain_seconds: 1 });
  for (const name of ['a', 'b', 'c']) await s.call('POST', '/instances', { name });
  assert.strictEqual((await s.upgrade()).code, 0);
  for (const name of ['a', 'b', 'c']) await s.running(name, 30);
  const types = (await s.call('GET', '/events?kind=instance')).body.map((e) => e.type).sort();
  assert.deepStrictEqual(types, ['created', 'created', 'created', 'running', 'running', 'running'], 'each of them once');
  await s.call('POST', '/instances/a/stop');
  await until(async () => (await s.status('a')) === 'STOPPED', 'work is begun and done here');
  await s.stop();
});

test('what is asked of the old process while it ends is done by the new one', async () => {
  const s = await start({ provider: 'mock' });
  const agents = Array.from({ length: 12 }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  const ask = (agent, method, where, body) => new Promise((resolve, reject) => {
    const req = http.request({ host: '127.0.0.1', port: s.port, method, path: where, agent, headers: { 'X-API-Key': s.key } }, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; });
      res.on('end', () => resolve({ status: res.statusCode, connection: res.headers.connection, body: text && JSON.parse(text) }));
    });
    req.on('error', reject);
    req.end(body && JSON.stringify(body));
  });
  for (const a of agents) assert.strictEqual((await ask(a, 'GET', '/healthz')).status, 200);
  assert.strictEqual((await s.upgrade()).code, 0);
  await letGo(s);
  // on the connections to the old one, at once: words to the new one that met each other were a 500
  const made = await Promise.all(agents.map((a, i) => ask(a, 'POST', '/instances', { name: `late${i}` })));
  for (const r of made) assert.deepStrictEqual([r.status, r.connection], [201, 'close']);
  for (let i = 0; i < agents.length; i += 1) await s.running(`late${i}`);
  for (const a of agents) a.destroy();
  await s.stop();
});

test('terminals lose no byte, typed or shown', async () => {
  const w = await world('stty raw -echo; exec cat');
  const all = [];
  w.restart = async () => {
    const { code, err } = await w.s.upgrade();
    assert.strictEqual(code, 0, err);
  };
  try {
    const out = await typeOver(w, all, 20, 3, 300);
    assert.deepStrictEqual([out.lost, out.wrong], [0, 0]);
    assert.ok(out.connections >= 80, `${out.connections} connections: each terminal came again after each`);
  } finally {
    for (const t of all) { t.again = false; t.ws.terminate(); }
    await w.stop();
  }
});

test('the process that comes has no descriptor of the one before, however often that is', async (t) => {
  const r = await Receiver.start();
  const s = await start({ provider: 'mock' });
  t.after(() => r.stop());
  const h = (await s.call('POST', '/webhooks', { url: r.url, events: ['ledger.dispute'] })).body;
  const sockets = () => descriptors(s.child.pid)['socket:[N]'];
  let first;
  for (let i = 0; i < 4; i += 1) {
    assert.strictEqual((await s.call('POST', `/webhooks/${h.id}/test`)).body.ok, true); // a connection that is kept, and libcurl's own sockets
    first ??= sockets();
    await until(() => sockets() === first, () => `${first} sockets, as before the first upgrade: ${sockets()} after ${i}`); // a client's end may have to be heard
    s.agent.destroy();
    assert.strictEqual((await s.upgrade()).code, 0);
    await s.before.at(-1).exited; // so that it answers nothing any more
  }
  await s.stop();
});

test('a stream of events goes on at its number', async () => {
  const s = await start({ provider: 'mock' });
  const headers = { 'X-API-Key': s.key };
  const before = await Stream.open(s.port, '/events?after=0', headers);
  await s.call('POST', '/instances?wait=20', { name: 'a' });
  assert.strictEqual((await s.upgrade()).code, 0);
  await before.closed;
  assert.strictEqual(before.broken, false, 'it ends, and is not cut');
  const after = await Stream.open(s.port, '/events', { ...headers, 'Last-Event-ID': before.events.at(-1).id });
  await s.call('POST', '/instances?wait=20', { name: 'b' });
  const want = (await s.call('GET', '/events?limit=1000&after=0')).body.map((e) => e.seq);
  const seen = () => [...before.events, ...after.events].map((e) => Number(e.id));
  await until(() => seen().length >= want.length, () => `${seen()} of ${want}`);
  assert.deepStrictEqual(seen(), want);
  after.req.destroy();
  await s.stop();
});

test('a program that does not become ready is given up, and the old one serves on', async () => {
  const dir = temp();
  const s = await start({ provider: 'mock', upgrade_seconds: 2 });
  const pid = s.child.pid;
  const says = (at, pid = '$$') => `echo '{"at":"${at}","version":"9","token":"t","pid":'${pid}'}'`;
  const prepared = (at) => `${says(at)}; read word`;
  const cases = [
    ['exit 3', /ended with code 3/],
    ['echo hello', /none of cchost's: it said "hello"/],
    ['exec sleep 60', /said nothing for 2 s/],
    [`echo '{"at":"failed","error":"no disk"}'`, /no disk/],
    [`${prepared('prepared')}; exit 4`, /ended with code 4/],
    [`${prepared('prepared')}; exec sleep 60`, /said nothing for 2 s/],
    [`${prepared('migrates')}; exit 5`, /ended with code 5/],
    // who says that he is what he is not
    [`echo '{"at":"prepared"}'; read word; echo '{"at":"ready"}'; exec sleep 60`, /what answers is the process nil/],
    [`${says('prepared', 1)}; read word; ${says('ready', 1)}; exec sleep 60`, /what answers is the process 1, and not \d+, which was started/],
    [`sh -c '${prepared('prepared').replace(/'/g, `'\\''`)}; ${says('ready').replace(/'/g, `'\\''`)}; sleep 60'; exit 1`, /a script must exec it/],
    [`echo '{"at":"prepared","pid":'$$',"version":{},"token":7}'; read word; exit 1`, /does not say who it is/],
    [`${says('ready')}; exec sleep 60`, /it is not prepared/],
    [`${prepared('prepared')}; while ${says('prepared')}; do :; done`, /it was told to serve, and did not/],
    ['echo \'{"at":"failed","error":{"a":1}}\'; exec sleep 60', /something that is no text/],
    [String.raw`printf '\377\200\001\033[2J\n'; exec sleep 60`, /none of cchost's: it said "\?\? {2}\[2J"/],
    ['exec >&-; exec sleep 60', /closed its output, and had said nothing/],
  ];
  const kinds = () => descriptors(pid);
  const open = () => Object.values(kinds()).reduce((a, n) => a + n, 0);
  s.agent.destroy();
  await until(() => kinds()['anon_inode:inotify'], 'it has begun to watch its policies, which it does once it serves');
  const before = open(), were = JSON.stringify(kinds());
  for (const [text, why] of cases) {
    const l = load(s, 4, false);
    const { code, err, told } = await s.upgrade(program(dir, text));
    assert.strictEqual(code, 1, text);
    assert.match(err, why, text);
    assert.strictEqual(told.state, 'abandoned', text);
    await until(() => l.answers > 50, 'it answers');
    await l.stop();
    assert.deepStrictEqual(l.failures, [], text);
    assert.strictEqual((await s.call('POST', '/instances?wait=20', { name: `m${cases.findIndex((c) => c[0] === text)}` })).body.status, 'RUNNING', text);
  }
  s.agent.destroy();
  await until(() => open() <= before, () => `${open()} descriptors, ${before} before: ${JSON.stringify(kinds())}, ${were}`);
  const missing = await s.upgrade(path.join(dir, 'missing'));
  assert.match(missing.err, /cannot run .*missing/);
  assert.strictEqual(s.child.pid, pid);
  assert.strictEqual((await s.upgrade()).code, 0, 'a good one is taken after all these');
  assert.notStrictEqual(s.child.pid, pid);
  await s.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

test('what the server does by itself goes on after an upgrade that was given up', async () => {
  const dir = temp();
  const policies = path.join(dir, 'policies');
  fs.mkdirSync(policies);
  const s = await start({ provider: 'mock', policies_dir: policies });
  const generation = async () => (await s.call('GET', '/healthz?verbose')).body.generation;
  const was = await generation();
  const { code } = await s.upgrade(program(dir, `echo '{"at":"prepared","version":"9","pid":'$$',"token":"t"}'; read word; exit 1`));
  assert.strictEqual(code, 1);
  fs.writeFileSync(path.join(policies, 'idle.lua'), `${fs.readFileSync(path.join(root, 'policies', 'idle.lua'), 'utf8')}-- edited\n`);
  await until(async () => (await generation()) > was, 'an edit of a policy is in force', 30);
  await s.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

test('when the old one is killed before it handed over, the new one ends; killed after that, the new one serves', async () => {
  const dir = temp();
  const s = await start({ provider: 'mock' });
  const go = path.join(dir, 'go'), pids = path.join(dir, 'pid');
  const asked = s.upgrade(program(dir, `echo $$ >${pids}; while [ ! -e ${go} ]; do :; done; exec ${binary} "$@"`), '--wait=5');
  await until(() => fs.existsSync(pids) && fs.readFileSync(pids, 'utf8').endsWith('\n'), 'it is started');
  const pid = Number(fs.readFileSync(pids, 'utf8'));
  await s.kill();
  fs.writeFileSync(go, '');
  await until(() => !fs.existsSync(`/proc/${pid}`), 'the new one ends');
  s.settings = { ...s.settings, listen_addr: `127.0.0.1:${s.port}` };
  await s.launch(); // the port and the lock are free
  assert.strictEqual((await asked).code, 1);

  const { code, told } = await s.upgrade();
  assert.strictEqual(code, 0);
  s.before[0].child.kill('SIGKILL');
  await s.before[0].exited;
  assert.strictEqual((await s.call('POST', '/instances?wait=20', { name: 'a' })).body.status, 'RUNNING');
  assert.strictEqual(pidOf(s), told.to.pid);
  await s.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

// Who serves; read again while it is being written anew: a number of 0 would be a signal for all of us.
function pidOf(s) {
  for (;;) {
    const told = /^(\d+)\n/.exec(fs.readFileSync(path.join(s.dir, 'serve.lock'), 'utf8'));
    if (told) return Number(told[1]);
  }
}

// cchost upgrade, of which nobody here knows who serves then: the server that does is `s`.
async function takenOver(s) {
  const pid = pidOf(s);
  if (pid === s.child.pid) return;
  s.before = [...(s.before || []), { child: s.child, exited: s.exited }];
  s.child = new Grandchild(pid);
  s.exited = s.child.exited;
}

test('several that are asked for at once are done one after the other, and whoever asks is answered', async () => {
  const s = await start({ provider: 'mock' });
  const all = await Promise.all([1, 2, 3].map(() => ask(s, '--wait=60')));
  assert.deepStrictEqual(all.map((r) => [r.code, r.told.state]), all.map(() => [0, 'done']), JSON.stringify(all));
  const order = all.map((r) => r.told).sort((a, b) => (a.started_at < b.started_at ? -1 : 1));
  assert.deepStrictEqual(order.map((r) => r.from.pid), [s.child.pid, order[0].to.pid, order[1].to.pid]);
  await takenOver(s);
  process.kill(pidOf(s), 'SIGUSR2'); // twice at once is once, or twice, and somebody serves
  process.kill(pidOf(s), 'SIGUSR2');
  await until(() => pidOf(s) !== s.child.pid && s.child.exitCode !== null, 'a new one serves, the old one has ended');
  await until(async () => (await s.call('GET', '/events?kind=server')).body.filter((e) => e.type === 'upgraded').length >= 4, 'it is on record');
  await takenOver(s);
  assert.strictEqual((await ask(s)).code, 0);
  await takenOver(s);
  assert.ok(!fs.existsSync(path.join(s.dir, 'upgrade.json')));
  await s.stop();
});

test('what somebody wanted who has gone is nobody\'s wish', async () => {
  const s = await start({ provider: 'mock' });
  fs.writeFileSync(path.join(s.dir, 'upgrade.json'), JSON.stringify({ id: 'old', program: '/bin/false' }));
  process.kill(s.child.pid, 'SIGUSR2');
  await until(() => pidOf(s) !== s.child.pid, 'it is the program\'s own file that is taken');
  await takenOver(s);
  assert.ok(!fs.existsSync(path.join(s.dir, 'upgrade.json')));
  await s.stop();
});

test('asked for while the server starts, it does not end it, and is done then', async () => {
  const s = new Server();
  Object.assign(s, { dir: temp(), own: true, settings: { provider: 'mock' }, how: {} });
  const started = s.launch();
  await until(() => { try { return fs.readFileSync(path.join(s.dir, 'serve.lock'), 'utf8').endsWith('\n'); } catch { return false; } }, 'it has the lock');
  const [asked] = await Promise.all([ask(s, '--wait=60'), started]);
  assert.strictEqual(asked.code, 0, asked.err);
  assert.strictEqual(asked.told.from.pid, s.child.pid);
  await takenOver(s);
  await s.running((await s.call('POST', '/instances', { name: 'a' })).body.id);
  await s.stop();
});

test('a program that is named from a folder is that of the folder of who asks', async () => {
  const s = await start({ provider: 'mock' });
  const dir = temp();
  fs.symlinkSync(binary, path.join(dir, 'another'));
  const r = await ask({ dir: s.dir, cwd: dir }, './another');
  assert.strictEqual(r.code, 0, r.err);
  assert.strictEqual(r.told.program, `${fs.realpathSync(dir)}/./another`);
  await takenOver(s);
  await s.stop();
  fs.rmSync(dir, { recursive: true });
});

test('TERM while an upgrade is under way ends the server, and there is none in its place', async () => {
  const dir = temp();
  const go = path.join(dir, 'go'), pids = path.join(dir, 'pid');
  const slow = program(dir, `echo $$ >>${pids}; while [ ! -e ${go} ]; do :; done; exec ${binary} "$@"`);
  const s = await start({ provider: 'mock' });
  const asked = ask(s, slow);
  await until(() => fs.existsSync(pids) && /\n$/.test(fs.readFileSync(pids, 'utf8')), 'the new one is started');
  s.child.kill('SIGTERM');
  await s.exited;
  assert.strictEqual(s.code, 0);
  const told = await asked;
  assert.strictEqual(told.code, 1);
  assert.match(told.err, /the server was told to end/);
  assert.ok(!fs.existsSync(`/proc/${Number(fs.readFileSync(pids, 'utf8'))}`));
  await s.launch();
  // and when the new one serves already, while requests still end in the old one
  fs.writeFileSync(go, '');
  const agent = new http.Agent({ keepAlive: true });
  const slowly = http.request({ host: '127.0.0.1', port: s.port, method: 'POST', path: '/instances', agent, headers: { 'X-API-Key': s.key, 'Content-Length': 14 } });
  const answered = new Promise((r) => { slowly.on('response', (res) => { res.resume(); r(res.statusCode); }); slowly.on('error', (e) => r(e.code)); });
  await new Promise((r) => slowly.write('{"name"', r));
  const old = s.child.pid;
  assert.strictEqual((await ask(s)).code, 0);
  await takenOver(s);
  process.kill(old, 'SIGTERM');
  await s.exited;
  slowly.end(':"slow"');
  await answered;
  agent.destroy();
  await s.before[0].exited;
  await s.launch();
  await s.stop();
  fs.rmSync(dir, { recursive: true });
});

test('whoever asked is told that the server was killed meanwhile, and so is the record', async () => {
  const dir = temp();
  const s = await start({ provider: 'mock' });
  const asked = ask(s, program(dir, ': >started; exec sleep 5')); // which has the lock, too, until it ends
  await until(() => fs.existsSync(path.join(s.dir, 'started')), 'it is started');
  await s.kill();
  const told = await asked;
  assert.strictEqual(told.code, 1);
  assert.match(told.err, /has ended meanwhile, and none serves/);
  await s.launch();
  const [event] = (await s.call('GET', '/events?kind=server')).body;
  assert.deepStrictEqual([event.type, event.data.error], ['upgrade_abandoned', 'the server ended meanwhile']);
  assert.strictEqual((await s.upgrade()).code, 0);
  await s.stop();
  fs.rmSync(dir, { recursive: true });
});

test('only the server\'s user can ask, and others are told so', { skip: process.getuid() ? 'needs root' : false }, async () => {
  const dir = temp();
  const own = path.join(dir, 'cchost'), data = path.join(dir, 'data');
  fs.copyFileSync(binary, own);
  fs.mkdirSync(data);
  fs.chmodSync(dir, 0o755);
  fs.chownSync(data, 65534, 65534);
  const s = await start({ provider: 'mock', policies_dir: undefined }, data, { wrap: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'], binary: own });
  const r = await ask(s);
  assert.strictEqual(r.code, 1);
  assert.match(r.err, /the server is \S+'s, who alone can ask: runuser -u \S+ -- cchost upgrade/);
  assert.deepStrictEqual(fs.readdirSync(data).filter((f) => /^upgrade/.test(f)), []);
  await s.stop();
  fs.rmSync(dir, { recursive: true });
});

test('a sweep of many machines rests between two of them, and work goes on meanwhile', async () => {
  const s = await start({ provider: 'mock' });
  const names = Array.from({ length: 60 }, (_, i) => `m${i}`);
  await Promise.all(names.map((name) => s.call('POST', '/instances?wait=20', { name })));
  await s.kill(); // the mock's machines with it
  s.settings.mock = '{status={latency_ms=1000}}';
  await s.launch(); // each of them is asked for, which takes a minute
  const found = async () => (await s.call('GET', '/events?kind=instance&type=found_down&limit=1000')).body.length;
  await until(async () => (await found()) > 0, 'the sweep has begun');
  assert.strictEqual((await s.upgrade('--wait=30')).code, 0);
  assert.ok((await found()) < 60, 'it was not waited for');
  await s.stop();
});

test('a unix socket stays where it is', async () => {
  const dir = temp();
  const file = path.join(dir, 'sock');
  const u = new Server();
  Object.assign(u, { dir, settings: {}, how: {}, log: '' });
  u.spawn(binary, ['serve', `--listen-addr=unix:${file}`, `--data-dir=${dir}`, '--provider=mock'], process.env);
  await u.says(/msg=ready/);
  const ask = () => new Promise((resolve, reject) => http.get({ socketPath: file, path: '/healthz', agent: false }, (res) => { res.resume(); resolve(res.statusCode); }).on('error', reject));
  assert.strictEqual(await ask(), 200);
  assert.strictEqual((await u.upgrade()).code, 0);
  await u.before[0].exited;
  assert.strictEqual(await ask(), 200);
  u.child.kill('SIGTERM');
  await u.child.exited;
  fs.rmSync(dir, { recursive: true, force: true });
});

test('where no server runs it says so', async () => {
  const dir = temp();
  const s = await start({ provider: 'mock' }, dir);
  await s.stop();
  const { code, err } = await s.upgrade();
  assert.deepStrictEqual([code, /no server runs on/.test(err)], [1, true], err);
  fs.rmSync(dir, { recursive: true, force: true });
});
