// Accounts as an admin sees and changes them, and the end of one.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { until, binary, temp } = require('../lib/cchost.js');
const { start, as, bearer, person, admin, apiToken } = require('./people.js');

test('an account is found by its uuid, its number and its address; numbers are never given twice', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const make = async (email) => (await s.call('POST', '/users', { email, name: 'A' })).body;
  const [a, b] = [await make('A@example.org'), await make('b@example.org')];
  assert.deepStrictEqual([a.number, b.number, a.email], [1, 2, 'a@example.org']);
  for (const key of [a.id, '1', 'a@example.org', 'A@Example.Org']) assert.strictEqual((await s.call('GET', `/users/${key}`)).body.id, a.id);
  assert.deepStrictEqual([(await s.call('POST', '/users', { email: 'a@EXAMPLE.org' })).status], [409]);
  const page = await s.call('GET', '/users?limit=1');
  assert.deepStrictEqual(page.body.map((u) => u.number), [1]);
  const next = /<([^>]+)>/.exec(page.headers.link)[1];
  assert.deepStrictEqual((await s.call('GET', next)).body.map((u) => u.number), [2]);
  assert.strictEqual((await s.call('DELETE', `/users/${b.id}`)).status, 200);
  assert.strictEqual((await make('b@example.org')).number, 3);
});

test('50 at once with one address make one account', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const all = await Promise.all(Array.from({ length: 50 }, () => s.call('POST', '/users', { email: 'raced@example.org' })));
  assert.deepStrictEqual([201, 409].map((c) => all.filter((r) => r.status === c).length), [1, 49]);
  const signed = await Promise.all(Array.from({ length: 20 }, () => person(s, 'other@example.org')));
  assert.strictEqual(new Set(signed.map((p) => p.id)).size, 1);
});

test('an account is changed with a precondition, and its machines take its SSH keys', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const got = await s.call('GET', `/users/${p.id}`);
  assert.strictEqual((await s.call('PATCH', `/users/${p.id}`, { plan: 'pro' }, { 'If-Match': '"999"' })).status, 412);
  assert.strictEqual((await s.call('PATCH', `/users/${p.id}`, { plan: 'pro' }, { 'If-Match': got.headers.etag })).body.plan, 'pro');
  assert.strictEqual((await s.call('PATCH', `/users/${p.id}`, { status: 'x' })).status, 400);
  spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'me', '-f', `${s.dir}/k`]);
  const key = fs.readFileSync(`${s.dir}/k.pub`, 'utf8').trim();
  assert.strictEqual((await p.call('POST', '/auth/ssh-keys', { key: `${key}\n` })).status, 201);
  assert.strictEqual((await p.call('POST', '/auth/ssh-keys', { key })).status, 409);
  assert.match((await p.call('POST', '/auth/ssh-keys', { key: `no-pty ${key}` })).body.error, /^key: options before/);
  const m = (await p.call('POST', '/instances', {})).body;
  assert.deepStrictEqual(m.ssh_keys, [key]);
  assert.match((await p.call('POST', '/instances', { ssh_keys: ['ssh-rsa AAAA'] })).body.error, /^ssh_keys\[0\]: /);
});

test('suspended: signed out at once, nothing works, the machines go on; resumed: it works again', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const token = await apiToken(p, ['account:read']);
  const m = (await p.call('POST', '/instances?wait=30', {})).body;
  assert.strictEqual((await s.call('POST', '/users/p@example.org/suspend')).body.status, 'suspended');
  assert.strictEqual((await p.call('GET', '/auth/me')).status, 401);
  const r = await as(s, bearer(token.token), 'GET', '/auth/me');
  assert.deepStrictEqual([r.status, r.body.error], [403, 'this account is suspended']);
  const no = await as(s, {}, 'POST', '/auth/login', { email: 'p@example.org' });
  assert.deepStrictEqual([no.status, no.body.error], [403, 'this account is suspended']);
  assert.strictEqual((await s.call('POST', '/instances', { user_id: p.id })).status, 403);
  assert.strictEqual((await s.call('GET', `/instances/${m.id}`)).body.status, 'RUNNING');
  assert.strictEqual((await s.call('POST', '/users/p@example.org/resume')).body.status, 'active');
  assert.strictEqual((await as(s, bearer(token.token), 'GET', '/auth/me')).status, 200);
  assert.strictEqual((await p.call('GET', '/auth/me')).status, 401, 'sessions that ended stay ended');
});

test('deleted: what was his is told first, then it goes, with all that tells who he was', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const root = await admin(s);
  const m = (await p.call('POST', '/instances?wait=30', { name: 'his' })).body;
  const token = await apiToken(p, ['account:read']);
  await p.call('PUT', '/auth/settings', { anthropic_api_key: 'a-key-of-somebody-that-is-long-enough' });
  const refused = await root.call('DELETE', `/users/${p.id}`);
  assert.deepStrictEqual([refused.status, /1 machines/.test(refused.body.error)], [409, true]);
  assert.strictEqual((await p.call('GET', '/auth/me')).status, 200, 'and nothing has happened');
  const r = await root.call('DELETE', `/users/${p.id}?machines=delete`);
  assert.strictEqual(r.status, 200, r.text);
  const { export: e } = r.body;
  assert.deepStrictEqual([e.user.email, e.machines.map((x) => x.name), e.tokens.length, e.sessions.length], ['p@example.org', ['his'], 1, 1]);
  assert.ok(e.events.some((x) => x.type === 'created') && e.events.some((x) => x.type === 'signed_in'));
  assert.doesNotMatch(r.text, /a-key-of-somebody|"hash":"[0-9a-f]{64}","scopes/);
  await until(async () => (await s.call('GET', `/instances/${m.id}`)).body.status === 'DELETED', 'the machine is deleted');
  assert.strictEqual((await p.call('GET', '/auth/me')).status, 401);
  assert.strictEqual((await as(s, bearer(token.token), 'GET', '/auth/me')).status, 401);
  assert.strictEqual((await root.call('DELETE', `/users/${p.id}`)).status, 404);
  const stub = (await root.call('GET', `/users/${p.id}`)).body;
  assert.deepStrictEqual([stub.status, stub.email, stub.name, stub.number], ['deleted', null, null, 1]);
  const told = (await s.call('GET', '/events?kind=user&limit=1000')).text;
  assert.doesNotMatch(told, /p@example\.org/);
  const verify = spawnSync(binary, ['log', '--verify', `--data-dir=${s.dir}`], { encoding: 'utf8' });
  assert.strictEqual(verify.status, 0, verify.stderr);
  const again = await person(s, 'p@example.org'); // the address is free
  assert.notStrictEqual(again.id, p.id);
  assert.deepStrictEqual((await again.call('GET', '/instances')).body, []);
});

test('API tokens: shown once, with an end, revocable, repeated with a key the same', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const headers = { 'Idempotency-Key': 'k1' };
  const spec = { name: 'ci', scopes: ['instances:read'], days: 1 };
  const one = await p.call('POST', '/auth/tokens', spec, headers);
  const two = await p.call('POST', '/auth/tokens', spec, headers);
  assert.deepStrictEqual([one.status, two.status, two.body], [201, 201, one.body]);
  assert.strictEqual(Math.round((Date.parse(one.body.expires_at) - Date.now()) / 3600000), 24);
  const list = (await p.call('GET', '/auth/tokens')).body;
  assert.deepStrictEqual(list.map((x) => [x.name, x.token]), [['ci', undefined]]);
  const me = bearer(one.body.token);
  assert.strictEqual((await as(s, me, 'GET', '/instances')).status, 200);
  assert.match((await as(s, me, 'POST', '/instances', {})).body.error, /lacks the scope 'instances:write'/);
  assert.match((await as(s, me, 'POST', '/auth/tokens', spec)).body.error, /needs a session/);
  await until(async () => (await p.call('GET', '/auth/tokens')).body[0].last_used_at !== null, 'its use is noted');
  for (const bad of [{ ...spec, scopes: [] }, { ...spec, scopes: ['all'] }, { ...spec, days: 0 }, { ...spec, instance: 'none' }, { scopes: ['billing'] }]) {
    assert.strictEqual((await p.call('POST', '/auth/tokens', bad)).status, 400, JSON.stringify(bad));
  }
  assert.strictEqual((await p.call('POST', '/auth/tokens', { ...spec, scopes: ['operator'] })).status, 403);
  assert.strictEqual((await p.call('DELETE', `/auth/tokens/${one.body.id}`)).status, 204);
  assert.strictEqual((await as(s, me, 'GET', '/instances')).status, 401);
});

test('machines that came under an address become those of who signs in with it', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  fs.writeFileSync(`${s.dir}/i.json`, JSON.stringify({ instances: { a1b2c3d4e5f6: {
    instanceId: 'a1b2c3d4e5f6', email: 'ann@example.org', serverName: 'cc-a1b2c3d4e5f6', serverIp: '192.0.2.7', serverType: 'cpx21',
    createdAt: '2026-01-02T03:04:05Z', expiresAt: '2027-02-02T03:04:05Z', status: 'running' } } }));
  const r = spawnSync(binary, ['import', '--instances-json', `${s.dir}/i.json`, `--data-dir=${s.dir}`], { encoding: 'utf8' });
  assert.strictEqual(r.status, 0, r.stderr);
  const bob = await person(s, 'bob@example.org');
  assert.deepStrictEqual((await bob.call('GET', '/instances')).body, []);
  const ann = await person(s, 'Ann@example.org');
  const list = (await ann.call('GET', '/instances')).body;
  assert.deepStrictEqual(list.map((m) => [m.short, m.owner]), [['a1b2c3d4e5f6', ann.id]]);
  const past = (await ann.call('GET', `/instances/${list[0].id}/events`)).body;
  assert.strictEqual(past[past.length - 1].type, 'given');
});

test('the command for accounts does what the API does', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const run = (...args) => spawnSync(binary, ['users', ...args, `--data-dir=${s.dir}`], { encoding: 'utf8' });
  assert.match(run('add', 'Ann@example.org').stdout, /^ +1 .* active +user +ann@example\.org\n$/);
  assert.strictEqual(run('add', 'ann@example.org').status, 1);
  assert.match(run('add', 'ann').stderr, /email: an e-mail address has one @/);
  assert.match(run('admin', 'ann@example.org').stdout, /admin/);
  const ann = await person(s, 'ann@example.org');
  assert.strictEqual((await ann.call('GET', '/users')).status, 200);
  assert.strictEqual(JSON.parse(run('export', '1').stdout).user.email, 'ann@example.org');
  assert.strictEqual(JSON.parse(run('show', ann.id).stdout).role, 'admin');
  run('user', '1');
  await until(async () => (await ann.call('GET', '/users')).status === 403, 'the server has heard of it');
  assert.strictEqual(run('delete', '1').status, 0);
  await until(async () => (await ann.call('GET', '/auth/me')).status === 401, 'and of this');
  assert.strictEqual(run('nonsense', '1').status, 2);
  assert.strictEqual(run().stdout, '');
});

test('a repeat with its key has one effect and one answer, also when the server was killed before it could keep it', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  let s = await start({}, dir);
  const p = await person(s, 'p@example.org');
  spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${dir}/k`]);
  const key = fs.readFileSync(`${dir}/k.pub`, 'utf8');
  const asks = [
    () => s.call('POST', '/users', { email: 'new@example.org' }, { 'Idempotency-Key': 'u' }),
    () => as(s, { ...bearer(p.token), 'Idempotency-Key': 't' }, 'POST', '/auth/tokens', { name: 'x', scopes: ['billing'] }),
    () => as(s, { ...bearer(p.token), 'Idempotency-Key': 'k' }, 'POST', '/auth/ssh-keys', { key }),
  ];
  const first = [];
  for (const ask of asks) first.push(await ask());
  assert.deepStrictEqual(first.map((r) => r.status), [201, 201, 201], first.map((r) => r.text).join());
  await s.kill();
  s = await start({}, dir);
  for (const [i, ask] of asks.entries()) {
    const r = await ask();
    assert.deepStrictEqual([r.status, r.text, r.headers['idempotency-replayed']], [201, first[i].text, 'true']);
  }
  await s.stop();
});

test('the export of an account with a long log held everybody up', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  let n = 0;
  await Promise.all(Array.from({ length: 100 }, async () => {
    while (n < 10000) assert.strictEqual((await p.call('PATCH', '/auth/me', { name: `n${n++}` })).status, 200);
  }));
  let going = true, worst = 0;
  const others = (async () => {
    while (going) {
      const at = Date.now();
      await s.call('GET', '/types');
      worst = Math.max(worst, Date.now() - at);
    }
  })();
  const begun = Date.now();
  const { body } = await s.call('DELETE', `/users/${p.id}`);
  const whole = Date.now() - begun;
  going = false;
  await others;
  assert.ok(body.export.events.length >= 10000);
  assert.deepStrictEqual([body.export.events[0].type, body.export.events[1].type], ['created', 'signed_in']);
  assert.ok(worst < whole / 4 + 50, `${worst} ms of ${whole}`); // it was more than a third
  assert.ok(!(await s.call('GET', '/events?kind=user&limit=1000')).text.includes('p@example.org'));
});
