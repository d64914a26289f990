// What ends while something of it is under way: each test is a hole that a review found.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const { until, temp } = require('../lib/cchost.js');
const { start, as, bearer, person, admin, apiToken } = require('./people.js');

// A request whose body is held back: rest() sends it and resolves with the status of the answer.
async function held(s, method, where, token, body) {
  const text = JSON.stringify(body);
  const c = net.connect(s.port, '127.0.0.1');
  let answer = '';
  c.on('data', (d) => { answer += d; });
  const ended = new Promise((r) => c.on('close', r));
  await new Promise((r) => c.on('connect', r));
  c.write(`${method} ${where} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${text.length}\r\n\r\n${text[0]}`);
  return async () => {
    c.write(text.slice(1));
    await ended;
    return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)[1]);
  };
}

test('a session that ends while its request is under way made a token that lived on', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const [thief, owner] = [await person(s, 'p@example.org'), await person(s, 'p@example.org')];
  const token = await held(s, 'POST', '/auth/tokens', thief.token, { name: 'x', scopes: ['billing'] });
  const settings = await held(s, 'PUT', '/auth/settings', thief.token, { anthropic_api_key: 'x'.repeat(40) });
  await until(async () => (await owner.call('DELETE', '/auth/sessions?others=true')).status === 204, 'signed out elsewhere');
  assert.deepStrictEqual([await token(), await settings()], [401, 401]);
  assert.deepStrictEqual((await owner.call('GET', '/auth/tokens')).body, []);
  assert.strictEqual((await owner.call('GET', '/auth/settings')).body.auth_method, 'none');
});

test('a session that ends while its request waits was told what came of it', async (t) => {
  const s = await start({ mock: '{create={latency_ms=2000}}' });
  t.after(() => s.stop());
  const [thief, owner] = [await person(s, 'p@example.org'), await person(s, 'p@example.org')];
  const made = await owner.call('POST', '/instances', {});
  const waits = thief.call('GET', `${made.headers.location}?wait=30`);
  const same = owner.call('GET', `${made.headers.location}?wait=30`);
  assert.strictEqual((await thief.call('GET', '/auth/me')).status, 200); // so that the first is there, too
  assert.strictEqual((await owner.call('DELETE', '/auth/sessions?others=true')).status, 204);
  assert.deepStrictEqual([(await waits).status, (await same).status], [401, 200]);
});

test('an admin who is one no more, while his request is under way, made himself one again', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const root = await admin(s);
  const again = await held(s, 'PATCH', `/users/${root.id}`, root.token, { role: 'admin' });
  const another = await held(s, 'POST', '/users', root.token, { email: 'mine@example.org', role: 'admin' });
  assert.strictEqual((await s.call('PATCH', `/users/${root.id}`, { role: 'user' })).status, 200);
  assert.deepStrictEqual([await again(), await another()], [401, 401]);
  assert.strictEqual((await s.call('GET', `/users/${root.id}`)).body.role, 'user');
  assert.strictEqual((await s.call('GET', '/users/mine@example.org')).status, 404);
});

test('a server that was killed while it deleted an account left his machines running for ever', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const settings = { quota_instances: 0, mock: `{state="${dir}/world",destroy={latency_ms=200}}` };
  let s = await start(settings, dir);
  const p = await person(s, 'p@example.org');
  const made = await Promise.all(Array.from({ length: 40 }, () => p.call('POST', '/instances', {})));
  for (const m of made) await s.running(m.body.id);
  s.call('DELETE', `/users/${p.id}?machines=delete`).catch(() => {}); // it is killed under it
  await until(async () => (await s.call('GET', `/users/${p.id}`)).body.status === 'deleted', 'the account is marked');
  await s.kill();
  s = await start(settings, dir);
  await until(async () => (await s.call('GET', '/instances?limit=1000')).body.length === 0, 'his machines are deleted', 60);
  await until(async () => !(await s.call('GET', '/events?kind=user&limit=1000')).text.includes('p@example.org'), 'his address is forgotten');
  await s.stop();
});

test('a link outlived its account and made a new one where nobody may sign up', async (t) => {
  const s = await start({ signup: 'closed' });
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const url = new URL((await s.says(/url="?(http[^\s"]+verify[^\s"]+)/))[1]); // of nobody yet: made before the account was
  await person(s, 'p@example.org');
  const link = new URL((await s.says(/verify.*\n[^]*?url="?(http[^\s"]+verify[^\s"]+)/))[1]); // of the account
  assert.strictEqual((await s.call('DELETE', `/users/${p.id}`)).status, 200);
  const redeem = (u) => as(s, { Accept: 'application/json' }, 'GET', u.pathname + u.search);
  assert.strictEqual((await redeem(link)).status, 401);
  assert.strictEqual((await redeem(url)).status, 401, 'nobody may sign up');
  assert.deepStrictEqual((await s.call('GET', '/users')).body, []);
});

test('a token for one machine was given the kept answer about another', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const [one, two] = [(await p.call('POST', '/instances?wait=30', {})).body, (await p.call('POST', '/instances?wait=30', {})).body];
  const token = await apiToken(p, ['instances:connect'], { instance: one.id });
  const key = { 'Idempotency-Key': '1' };
  assert.strictEqual((await p.call('POST', `/instances/${two.id}/ticket`, {}, key)).status, 201);
  const r = await as(s, { ...bearer(token.token), ...key }, 'POST', `/instances/${two.id}/ticket`, {});
  assert.strictEqual(r.status, 404, s.log.slice(-1500));
});

test('a HEAD used a link up', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  await person(s, 'p@example.org');
  const url = new URL((await s.says(/url="?(http[^\s"]+verify[^\s"]+)/))[1]);
  await as(s, { Accept: 'application/json' }, 'HEAD', url.pathname + url.search);
  assert.strictEqual((await as(s, { Accept: 'application/json' }, 'GET', url.pathname + url.search)).status, 200);
});
