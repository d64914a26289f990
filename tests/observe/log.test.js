// The log of a server: its form, for whom a line was, its levels, its file; and that no secret is ever in it.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { complaints, until, temp, binary } = require('../lib/cchost.js');
const { world } = require('../lib/terminals.js');
const { start, as, bearer, person, admin } = require('../access/people.js');

// What is whole of a log in JSON: each line must be.
const lines = (text) => text.slice(0, text.lastIndexOf('\n') + 1).split('\n').filter(Boolean).map((l) => JSON.parse(l));
const access = (s) => lines(s.log).filter((l) => l.module === 'access');
const told = (s, id) => until(() => access(s).find((l) => l.request_id === id), `the request ${id} is told of`);

async function serve(t, settings = {}, dir, how) {
  const s = await start({ log_format: 'json', ...settings }, dir, how);
  t.after(() => s.stop());
  return s;
}

test('each request is one line, by its route, with ids and numbers that are numbers', async (t) => {
  const s = await serve(t);
  const p = await person(s, 'p@example.org');
  const m = (await p.call('POST', '/instances?wait=30', {})).body;
  const call = (id, method, where, body, headers = {}) => p.call(method, where, body, { 'X-Request-Id': id, ...headers });
  const r = await call('one', 'GET', `/instances/${m.short}?at=${new Date().toISOString()}`);
  assert.strictEqual(r.headers['x-request-id'], 'one');
  const line = await told(s, 'one');
  assert.deepStrictEqual({ ...line, time: 0, bytes: 0, ms: 0, trace_id: 0, span_id: 0 }, {
    time: 0, level: 'info', module: 'access', msg: 'request', request_id: 'one', trace_id: 0, span_id: 0, user: p.id, machine: m.id,
    method: 'GET', route: '/instances/{id}', status: 200, bytes: 0, ms: 0, remote: '127.0.0.1',
  });
  assert.ok(line.bytes > r.text.length && line.ms > 0 && line.ms < 60000);
  assert.match(line.trace_id, /^[0-9a-f]{32}$/);
  assert.match(line.span_id, /^[0-9a-f]{16}$/);
  await call('two', 'GET', '/nothing/here/%0aat=all');
  assert.deepStrictEqual([(await told(s, 'two')).route, (await told(s, 'two')).status], ['(none)', 404]);
  await as(s, { 'X-Request-Id': 'three' }, 'GET', '/instances');
  assert.deepStrictEqual([(await told(s, 'three')).route, (await told(s, 'three')).status, (await told(s, 'three')).user], ['/instances', 401, undefined]);
  await s.call('GET', '/instances', undefined, { 'X-Request-Id': 'four' });
  assert.strictEqual((await told(s, 'four')).user, 'operator');
  assert.ok(!s.log.includes('xyz'));
});

test('a trace goes on from the header, into the tasks and threads that a request starts', async (t) => {
  const s = await serve(t, { log_level: 'debug', mock: '{create={fail=1}}' });
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  await s.call('POST', '/instances', { name: 'x' }, { traceparent: `00-${trace}-00f067aa0ba902b7-01`, 'X-Request-Id': 'mine' });
  const line = await told(s, 'mine');
  assert.strictEqual(line.trace_id, trace);
  assert.notStrictEqual(line.span_id, '00f067aa0ba902b7');
  const step = await until(() => lines(s.log).find((l) => l.module === 'runner' && l.trace_id === trace), 'its workflow is told of in its trace');
  assert.strictEqual(step.request_id, 'mine');
  assert.match(step.machine, /^[0-9a-f-]{36}$/);
  assert.match(step.error, /^[a-z]+: \w+/, 'why a step failed is said in words, also where a policy was between');
});

test('seconds until a step is tried again, and how long an upgrade took to rest, were text in the log', async (t) => {
  const s = await serve(t, { mock: '{create={fail=1,code="unavailable"}}' });
  await s.call('POST', '/instances?wait=20', {});
  const of = (module, msg) => until(() => lines(s.log).find((l) => l.module === module && l.msg === msg), msg);
  assert.strictEqual(typeof (await of('runner', 'a step failed and is tried again')).seconds, 'number');
  await s.upgrade();
  assert.strictEqual(typeof (await of('upgrade', 'what goes on by itself rests')).ms, 'number');
});

test('a client that goes before the answer is told of; what went wrong has the ids of its request', async (t) => {
  const s = await serve(t);
  const socket = net.connect(s.port, '127.0.0.1');
  const m = (await s.call('POST', '/instances', {})).body;
  socket.write(`POST /instances/${m.id}/exec HTTP/1.1\r\nHost: x\r\nX-API-Key: ${s.key}\r\nX-Request-Id: left\r\nContent-Length: 10\r\n\r\n`);
  await s.call('GET', '/plans', undefined, { 'X-Request-Id': 'behind' });
  await told(s, 'behind');
  socket.resetAndDestroy();
  assert.strictEqual((await told(s, 'left')).status, 499);
});

test('levels of modules change while it runs, by route and by command, and SIGHUP keeps them', async (t) => {
  const s = await serve(t, { log_levels: 'access=off' });
  const key = { env: { ...process.env, CCHOST_URL: s.url, API_KEY: s.key }, encoding: 'utf8', cwd: s.dir };
  const command = (...args) => new Promise((resolve) => {
    const child = spawn(binary, ['levels', ...args], { env: key.env, cwd: s.dir });
    let out = '';
    for (const f of [child.stdout, child.stderr]) f.on('data', (d) => { out += d; });
    child.on('exit', (code) => resolve({ code, out }));
  });
  const get = async () => (await s.call('GET', '/levels')).body;
  assert.deepStrictEqual(await get(), { level: 'info', modules: { access: 'off' } });
  assert.deepStrictEqual(access(s), []);
  const r = await s.call('PATCH', '/levels', { level: 'warn', modules: { access: 'info', tls: 'debug' } });
  assert.deepStrictEqual([r.status, r.body], [200, { level: 'warn', modules: { access: 'info', tls: 'debug' } }], r.text);
  await s.call('GET', '/plans', undefined, { 'X-Request-Id': 'seen' });
  await told(s, 'seen');
  assert.deepStrictEqual(await command('error', 'tls=', 'store=debug'),
    { code: 0, out: '(all others)         error\naccess               info\nstore                debug\n' });
  s.child.kill('SIGHUP');
  await s.call('GET', '/plans', undefined, { 'X-Request-Id': 'after' });
  await told(s, 'after');
  assert.deepStrictEqual(await get(), { level: 'error', modules: { access: 'info', store: 'debug' } });
  const many = Object.fromEntries([...Array(64)].map((_, i) => [`m${'x'.repeat(i % 8)}_${'y'.repeat(i / 8)}`, 'info']));
  for (const body of [{ level: 'loud' }, { modules: { access: 'loud' } }, { modules: { 'a.b': 'info' } }, { modules: many }, { other: 1 }]) {
    const bad = await s.call('PATCH', '/levels', body);
    assert.ok(bad.status >= 400 && bad.status < 500, `${JSON.stringify(body)}: ${bad.status}`);
  }
  assert.deepStrictEqual(await get(), { level: 'error', modules: { access: 'info', store: 'debug' } });
  assert.deepStrictEqual(await command('access=loud'),
    { code: 1, out: 'cchost: modules.access: one of debug, info, warn, error, off expected, or null\n' }, 'which module is said');
  assert.match((await command('Access=off')).out, /names of small letters and _ expected, not 'Access'/);
});

test('a LOG_FILE is its owner\'s alone, and is opened anew at SIGHUP', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'log');
  // its log is not on stderr, so it is asked for at a socket that is known beforehand
  const socket = path.join(dir, 'socket');
  const child = spawn(binary, ['serve', `--listen-addr=unix:${socket}`, `--data-dir=${dir}/data`, `--log-file=${file}`, '--provider=mock',
    '--log-format=json'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let err = '';
  child.stderr.on('data', (d) => { err += d; });
  const exited = new Promise((r) => child.on('exit', r));
  const read = (f) => (fs.existsSync(f) ? lines(fs.readFileSync(f, 'utf8')) : []);
  await until(() => read(file).some((l) => l.msg === 'ready'), () => `ready: ${err}`);
  assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600);
  const ask = (id) => spawnSync('curl', ['-s', '--unix-socket', socket, '-H', `X-Request-Id: ${id}`, 'http://x/plans']);
  ask('before');
  await until(() => read(file).some((l) => l.request_id === 'before'), 'the first request is in the file');
  fs.renameSync(file, `${file}.1`);
  child.kill('SIGHUP');
  await until(() => fs.existsSync(file), 'the file is made anew');
  ask('after');
  await until(() => read(file).some((l) => l.request_id === 'after'), 'the second request is in the new file');
  assert.ok(!read(`${file}.1`).some((l) => l.request_id === 'after'));
  child.kill('SIGTERM');
  assert.strictEqual(await exited, 0);
  assert.ok(read(file).some((l) => /ending/.test(l.msg)), 'the last lines are written before it ends');
  assert.strictEqual(err, '');
});

test('a log that nobody reads holds up no request; what is lost is counted', async (t) => {
  const s = await serve(t, { log_level: 'debug' });
  s.child.stderr.pause();
  const begun = Date.now();
  for (let i = 0; i < 60; i++) await Promise.all([...Array(200)].map(() => s.call('GET', '/plans', undefined, { 'X-Request-Id': 'x'.repeat(64) })));
  assert.ok(Date.now() - begun < 60000);
  s.child.stderr.resume();
  await until(() => lines(s.log).some((l) => l.module === 'log' && l.lines > 0), 'what was dropped is told');
});

test('in development a line is text, in production JSON, and the setting says otherwise', async () => {
  const run = (...args) => spawnSync(binary, ['serve', '--data-dir=/nowhere/at/all', '--listen-addr=127.0.0.1:0', ...args], { encoding: 'utf8' });
  assert.strictEqual(run('--log-levels=access').status, 2);
  assert.strictEqual(run('--log-levels=access=loud').status, 2);
  const s = await start();
  assert.match(s.log, /^time=\S+ level=info module=serve msg=ready /m);
  await s.stop();
});

test('a start that fails ends with why, and with nothing behind it', async (t) => {
  const s = await serve(t);
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  for (const [name, more] of [['--listen-addr', []], ['--metrics-addr', ['--listen-addr=127.0.0.1:0']]]) {
    const r = spawnSync(binary, ['serve', '--provider=mock', `--data-dir=${dir}`, `${name}=127.0.0.1:${s.port}`, ...more], { encoding: 'utf8' });
    assert.deepStrictEqual([r.status, r.stderr.trimEnd().split('\n').pop()], [1, `cchost: cannot listen on 127.0.0.1 port ${s.port}: Address already in use`], r.stderr);
    assert.deepStrictEqual(complaints(r.stderr), [], r.stderr);
  }
});

// Every route there is, with every secret where a client puts one, by whoever may come in and who may not.
test('no route writes a secret into the log', async (t) => {
  const env = { STRIPE_SECRET_KEY: 'sk_test_secretOfThisTest', STRIPE_API_URL: 'http://127.0.0.1:1', STRIPE_WEBHOOK_SECRET: 'whsec_secretOfThisTest' };
  const s = await serve(t, { log_level: 'debug', network_backend: 'mock' }, undefined, { env });
  const p = await person(s, 'p@example.org');
  const root = await admin(s);
  const token = (await p.call('POST', '/auth/tokens', { name: 'x', scopes: ['account:read'] })).body.token;
  const m = (await s.call('POST', '/instances?wait=30', {})).body;
  const ticketed = await root.call('POST', `/instances/${m.id}/ticket`);
  const { ticket } = ticketed.body;
  assert.ok(ticket, ticketed.text);
  const canary = 'canary-of-this-test-0123456789abcdef';
  const secrets = { ...env, key: s.key, session: p.token, root: root.token, token: token.split('_').pop(), ticket, canary };
  delete secrets.STRIPE_API_URL;
  const routes = spawnSync(binary, ['routes', '--json'], { encoding: 'utf8' }).stdout.trim().split('\n').map((l) => JSON.parse(l));
  assert.ok(routes.length > 150);
  const bodies = [undefined, '{', { password: canary, source: canary, version: '1', name: canary, anthropic_api_key: canary, env: { A: canary }, token: canary, cmd: [canary] },
    { anthropic_api_key: canary }, { env: { SECRET: canary } }, { cmd: ['echo', canary] }, { url: `https://u:${canary}@example.org/x.git` }];
  let asked = 0;
  for (const r of routes.filter((o) => o.path !== '/events' && !/conversations\/list|logout/.test(o.path) && o.method !== 'DELETE')) {
    const where = r.path.replace('{id}', m.id).replace('{token}', canary).replace(/\{\w+\}/g, canary).replace('*', canary);
    for (const headers of [bearer(p.token), bearer(root.token), { Authorization: `Bearer ${canary}`, Cookie: `session=${canary}` }, { 'X-API-Key': canary }]) {
      for (const body of r.method === 'GET' ? [undefined] : bodies) {
        await as(s, { 'Idempotency-Key': canary, ...headers }, r.method, `${where}?token=${ticket}&secret=${canary}&wait=0`, body);
        asked++;
      }
    }
  }
  await until(() => access(s).length >= asked, 'every request is told of');
  for (const [name, secret] of Object.entries(secrets)) {
    assert.ok(secret, name);
    for (const form of [secret, Buffer.from(secret).toString('base64').replace(/=+$/, ''), Buffer.from(secret).toString('hex')]) {
      const at = s.log.indexOf(form);
      assert.ok(at < 0, `${name}: ${s.log.slice(Math.max(0, at - 400), at)}`);
    }
  }
});

test('the line of a terminal has its address, though its connection is gone by then', async () => {
  const w = await world('exec cat', { log_format: 'json' });
  try {
    const t = w.open({ session: 'a' });
    t.connect();
    await t.joined();
    t.again = false;
    t.ws.close(1000);
    const line = await until(() => access(w.s).find((l) => l.route === '/instances/{id}/terminal'), () => w.s.log);
    assert.deepStrictEqual([line.status, line.remote], [101, '127.0.0.1']);
  } finally {
    await w.stop();
  }
});
