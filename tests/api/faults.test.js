// Each test is named after a fault that was found by hand; the mock provider is slow or refuses as told.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');

// A server whose mock provider behaves as `mock` (a Lua table) says; ended with the test.
async function serve(t, mock, settings = {}) {
  const s = await Server.start({ provider: 'mock', mock, ...settings });
  t.after(() => s.stop());
  return s;
}
const create = async (s, body = {}) => {
  const r = await s.call('POST', '/instances', body);
  assert.strictEqual(r.status, 201, r.text);
  return r.body;
};

test('a stop that was asked during a resize was lost', async (t) => {
  const s = await serve(t, '{stop={latency_ms=300}}');
  const m = await create(s);
  await s.running(m.id);
  const resized = s.call('POST', `/instances/${m.id}/resize`, { type: 'large' });
  await until(async () => (await s.status(m.id)) === 'STOPPING', 'STOPPING');
  const r = await s.call('POST', `/instances/${m.id}/stop`);
  assert.deepStrictEqual([r.status, r.body.status, r.body.desired], [200, 'STOPPED', 'STOPPED'], r.text);
  const other = await resized; // it came first, so it was done first
  assert.deepStrictEqual([other.status, other.body.type], [200, 'large'], other.text);
});

test('a delete waited for the create that was under way', async (t) => {
  const s = await serve(t, '{create={latency_ms=60000}}');
  const m = await create(s);
  const r = await s.call('DELETE', `/instances/${m.id}`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'DELETED'], r.text);
});

test('work that the end of the server cut off became an ERROR', async (t) => {
  const dir = temp();
  t.after(() => require('node:fs').rmSync(dir, { recursive: true, force: true }));
  const slow = await Server.start({ provider: 'mock', mock: '{create={latency_ms=60000}}', drain_seconds: 0 }, dir);
  const m = await create(slow);
  await slow.stop();
  const s = await Server.start({ provider: 'mock' }, dir);
  t.after(() => s.stop());
  assert.match(s.log, /resumed=1/);
  await s.running(m.id);
});

test('what a killed script left STARTING is taken up by the server', async (t) => {
  const s = await serve(t, '{}');
  const dir = temp();
  t.after(() => require('node:fs').rmSync(dir, { recursive: true, force: true }));
  require('node:fs').writeFileSync(`${dir}/x.lua`, `
    local app, instances, sys = require "script", require "instances", require "sys"
    app.open()
    print(app.must(instances.create(instances.operator, { name = "orphan" })).id)
    io.stdout:flush()
    sys.kill(sys.pid(), "KILL")`);
  const r = spawnSync(binary, [`${dir}/x.lua`], { env: { ...process.env, DATA_DIR: s.dir, PROVIDER: 'mock', MOCK: '{create={latency_ms=60000}}' }, encoding: 'utf8' });
  assert.strictEqual(r.signal, 'SIGKILL', r.stderr);
  await s.running('orphan');
});

test('a stop or delete that failed was answered with 200', async (t) => {
  const s = await serve(t, '{stop={fail=1,code="invalid"},destroy={fail=1,code="invalid"}}');
  const m = await create(s);
  await s.running(m.id);
  for (const [method, where] of [['POST', '/stop'], ['DELETE', '']]) {
    const r = await s.call(method, `/instances/${m.id}${where}`);
    assert.deepStrictEqual([r.status, r.body.code, r.body.status], [502, 'failed', 'ERROR'], r.text);
  }
  assert.strictEqual((await s.call('DELETE', `/instances/${m.id}`)).body.status, 'DELETED');
});

test('a machine that the provider lost stayed RUNNING', async (t) => {
  const dir = temp();
  t.after(() => require('node:fs').rmSync(dir, { recursive: true, force: true }));
  const first = await Server.start({ provider: 'mock' }, dir);
  const m = await create(first);
  await first.running(m.id);
  const { version } = (await first.call('GET', `/instances/${m.id}`)).body;
  await first.stop();
  // the mock keeps its machines in memory: the next process has none of them
  const s = await Server.start({ provider: 'mock' }, dir);
  t.after(() => s.stop());
  await until(async () => {
    const now = (await s.call('GET', `/instances/${m.id}`)).body;
    return now.version >= version + 2 && now.status === 'RUNNING';
  }, 'found down and started again');
  await s.says(/a record and its machine disagreed.*state=absent work=recover/);
});

test('ids and cursors of any length were a 500', async (t) => {
  const s = await serve(t, '{}');
  const long = 'x'.repeat(600);
  for (const where of [`/instances/${long}`, `/operations/${long}`, '/operations/x', `/instances/${long}/terminal`]) {
    assert.strictEqual((await s.call('GET', where)).status, 404, where);
  }
  assert.strictEqual((await s.call('DELETE', `/instances/${long}`)).status, 404);
  assert.strictEqual((await s.call('GET', `/instances?after=${long}`)).status, 400);
});

test('a long user_id lost digits, and "operator" was a user', async (t) => {
  const s = await serve(t, '{}');
  const far = await s.call('POST', '/instances', { user_id: 123456789012345 });
  assert.deepStrictEqual([far.status, far.body.error], [400, 'user_id: no such user']);
  for (const user_id of ['operator', '', 'a b', 1.5, [], null]) {
    const r = await s.call('POST', '/instances', { user_id });
    assert.deepStrictEqual([r.status, r.body.field], [400, 'user_id'], JSON.stringify(user_id));
  }
  assert.match((await s.call('POST', '/instances', { x: 1 })).body.error, /user_id/);
});

test('volumes that cannot be were accepted', async (t) => {
  const s = await serve(t, '{}');
  for (const volumes of [[{ id: 'a', path: '/../x' }], [{ id: 'a', path: '/x/./y' }], [{ id: 'a', path: '/x' }, { id: 'a', path: '/y' }],
    [{ id: 'a', path: '/x' }, { id: 'b', path: '/x' }]]) {
    const r = await s.call('POST', '/instances', { volumes });
    assert.strictEqual(r.status, 400, JSON.stringify(volumes));
    assert.match(r.body.field, /^volumes/);
  }
});

test('an extension beyond the year 9999 was a 500', async (t) => {
  const s = await serve(t, '{}');
  const m = await create(s, { hours: 87600 });
  let r;
  for (let i = 0; i < 900 && (!r || r.status === 200); i++) r = await s.call('POST', `/instances/${m.id}/extend`, { hours: 87600 });
  assert.deepStrictEqual([r.status, r.body.field], [400, 'hours'], r.text);
});

test('a machine that runs out of threads for commands still stops', async (t) => {
  const s = await Server.start({ provider_threads: 2, terminal_command: 'exec sh' });
  t.after(() => s.stop());
  const a = await create(s);
  const b = await create(s);
  await s.running(a.id);
  await s.running(b.id);
  const long = s.call('POST', `/instances/${a.id}/exec`, { cmd: ['sleep', '1000'], timeout: 1000 }).catch((e) => e);
  await until(async () => (await s.call('POST', `/instances/${a.id}/exec`, { cmd: ['true'] })).status === 503, '503 when half of the threads are taken');
  assert.strictEqual((await s.call('POST', `/instances/${b.id}/stop`)).body.status, 'STOPPED');
  assert.strictEqual((await s.call('DELETE', `/instances/${a.id}`)).body.status, 'DELETED');
  await long;
});

test('a command went on after its client had left', async (t) => {
  const s = await Server.start();
  t.after(() => s.stop());
  const m = await create(s);
  await s.running(m.id);
  const req = require('node:http').request({ host: '127.0.0.1', port: s.port, method: 'POST', path: `/instances/${m.id}/exec`, headers: { 'X-API-Key': s.key }, agent: false });
  req.on('error', () => {});
  req.end(JSON.stringify({ cmd: ['sh', '-c', 'echo $$ > /claude-data/pid; exec sleep 1000'], timeout: 1000 }));
  const sh = async (line) => (await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line] })).body.stdout;
  await until(async () => /\d/.test(await sh('cat /claude-data/pid 2>/dev/null')), 'it runs');
  req.destroy();
  await until(async () => (await sh('kill -0 $(cat /claude-data/pid) 2>/dev/null && echo alive || echo gone')) === 'gone\n', 'it is gone');
});

test('output that is no UTF-8 was a 500', async (t) => {
  const s = await Server.start();
  t.after(() => s.stop());
  const m = await create(s);
  await s.running(m.id);
  const out = async (line) => {
    const r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line] });
    assert.strictEqual(r.status, 200, r.text.slice(0, 200));
    return r.body;
  };
  assert.strictEqual((await out("printf 'a\\377b\\303\\251\\355\\240\\200c\\303'")).stdout, 'a\ufffdbé\ufffd\ufffd\ufffdc\ufffd');
  const cut = await out("printf x; yes é | tr -d '\\n' | head -c 3000000");
  assert.strictEqual(cut.truncated, true);
  assert.ok(cut.stdout.startsWith('xé') && cut.stdout.endsWith('é\ufffd'));
});

test('a machine that died was RUNNING for ever', async (t) => {
  const fs = require('node:fs');
  const s = await Server.start();
  t.after(() => s.stop());
  const die = async (m) => {
    const pid = Number(fs.readFileSync(`${s.dir}/local/machines/${m.short}/lock`, 'utf8').split(' ')[0]);
    process.kill(pid, 'SIGKILL');
    // dead is a zombie or nothing: until then it may still hold its lock, and its children may still answer
    const state = () => { try { return fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '')[0]; } catch { return 'Z'; } };
    await until(() => state() === 'Z', 'it is dead');
  };
  const m = await create(s);
  const told = (r) => `${r.text}\n${fs.readFileSync(`${s.dir}/local/machines/${m.short}/log`, 'utf8').slice(-2000)}\n${s.log.slice(-4000)}`;
  await s.running(m.id);
  await die(m);
  let r = await s.call('POST', `/instances/${m.id}/start`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'RUNNING'], told(r));
  r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['echo', 'one'] });
  assert.strictEqual(r.body.stdout, 'one\n', told(r));
  await die(m);
  await until(async () => { r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['echo', 'two'] }); return r.body.stdout === 'two\n'; }, () => `a failed command makes it start again: ${told(r)}`);
});

test('a stop during the create left the machine running', async (t) => {
  const { traces } = require('../lib/traces.js');
  const s = await Server.start();
  t.after(() => s.stop());
  for (let i = 0; i < 6; i++) {
    const m = await create(s);
    const r = await s.call('POST', `/instances/${m.id}/stop`);
    assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED'], r.text);
    assert.deepStrictEqual(traces(s.dir, [m.short]).processes, []);
  }
});

test('a wrong version of WebSocket was a 502', async (t) => {
  const s = await Server.start();
  t.after(() => s.stop());
  const m = await create(s);
  const up = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };
  for (const headers of [{}, { ...up, 'Sec-WebSocket-Version': '12' }]) {
    const r = await s.call('GET', `/instances/${m.id}/terminal`, undefined, headers);
    assert.deepStrictEqual([r.status, r.headers['sec-websocket-version']], [426, '13'], r.text);
  }
});

test('faults of settings are told all at once, before anything is opened', () => {
  const dir = temp();
  const r = spawnSync(binary, ['serve', '--trusted-proxies=abc', '--mock={', '--http-idle-seconds=x', `--data-dir=${dir}/d`],
    { env: { ...process.env, CCHOST_CONFIG: '/nonexistent' }, encoding: 'utf8' });
  assert.strictEqual(r.status, 2);
  for (const what of ['trusted-proxies', 'mock', 'http-idle-seconds', '/nonexistent']) assert.match(r.stderr, new RegExp(what));
  assert.ok(!/traceback/.test(r.stderr));
  assert.ok(!require('node:fs').existsSync(`${dir}/d`));
  require('node:fs').rmSync(dir, { recursive: true });
});

test('the script that runs a command left its machine when the command was not there', async (t) => {
  const { root } = require('../lib/cchost.js');
  const s = await Server.start();
  t.after(() => s.stop());
  const r = spawnSync(binary, [`${root}/examples/run-command.lua`, '/no/such/command'], { env: { ...process.env, DATA_DIR: s.dir }, encoding: 'utf8' });
  assert.strictEqual(r.status, 1);
  assert.match(r.stderr, /not_found/);
  assert.deepStrictEqual((await s.call('GET', '/instances')).body, []);
});

test('the script that stops what is idle leaves alone what is typed on', async (t) => {
  const { root } = require('../lib/cchost.js');
  const { Terminal } = require('../lib/terminal.js');
  const s = await Server.start({ terminal_command: 'exec sh' });
  t.after(() => s.stop());
  const used = await create(s, { name: 'used' });
  const idle = await create(s, { name: 'idle' });
  await s.running(used.id);
  await s.running(idle.id);
  const tty = await Terminal.open(`${s.url}/instances/used/terminal`, { 'X-API-Key': s.key });
  await tty.sees(/\$/);
  const since = new Date().toISOString();
  tty.type('echo ty""ped\r');
  await tty.sees(/typed/);
  const r = spawnSync(binary, [`${root}/examples/stop-idle.lua`, since], { env: { ...process.env, DATA_DIR: s.dir }, encoding: 'utf8' });
  assert.match(r.stdout, /1 of 2 machines stopped/, r.stdout + r.stderr);
  assert.deepStrictEqual([await s.status('used'), await s.status('idle')], ['RUNNING', 'STOPPED']);
  await tty.close();
});
