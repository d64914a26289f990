// The API of machines, on the mock provider: texts, statuses, fields, transitions.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Server } = require('../lib/cchost.js');

let s;
test.before(async () => { s = await Server.start({ provider: 'mock' }); });
test.after(() => s.stop());

const made = async (body) => {
  const r = await s.call('POST', '/instances', body);
  assert.strictEqual(r.status, 201, r.text);
  return r.body;
};

test('health is open, the rest is not', async () => {
  const h = await s.call('GET', '/healthz', undefined, { 'X-API-Key': undefined });
  assert.strictEqual(h.status, 200);
  assert.strictEqual(h.body.status, 'ok');
  for (const where of ['/instances', '/instances/x', '/types', '/no/such/route', '/operations/x']) {
    const none = await s.call('GET', where, undefined, { 'X-API-Key': undefined });
    assert.deepStrictEqual([none.status, none.body.error, none.body.code], [401, 'authentication required', 'unauthorized'], where);
    const wrong = await s.call('GET', where, undefined, { 'X-API-Key': 'wrong' });
    assert.deepStrictEqual([wrong.status, wrong.body.error, wrong.body.code], [401, 'invalid API key', 'unauthorized'], where);
  }
});

test('types say where they may be had, where the provider knows', async (t) => {
  const told = async (of) => new Set((await of.call('GET', '/types')).body.map((x) => JSON.stringify(x.locations)));
  assert.deepStrictEqual(await told(s), new Set([undefined]));
  for (const [places, said] of [['fsn1  nbg1 ', '["fsn1","nbg1"]'], [' ', '[]']]) {
    const other = await Server.start({ provider: 'mock', mock: `{places="${places}"}` });
    t.after(() => other.stop());
    assert.deepStrictEqual(await told(other), new Set([said]));
  }
});

test('security headers are on every answer', async () => {
  for (const where of ['/healthz', '/instances', '/nothing']) {
    const { headers } = await s.call('GET', where);
    assert.strictEqual(headers['x-content-type-options'], 'nosniff');
    assert.strictEqual(headers['x-frame-options'], 'DENY');
    assert.strictEqual(headers['referrer-policy'], 'strict-origin-when-cross-origin');
    assert.ok(headers['x-request-id']);
  }
});

test('create answers 201, STARTING, with the record and its operation', async () => {
  const r = await s.call('POST', '/instances', { name: 'web-01', image: 'nginx:alpine' });
  assert.strictEqual(r.status, 201);
  assert.strictEqual(r.body.status, 'STARTING');
  assert.strictEqual(r.body.name, 'web-01');
  assert.match(r.body.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  assert.match(r.body.short, /^[0-9a-f]{12}$/);
  assert.match(r.body.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepStrictEqual(r.body.ports, []);
  await s.running(r.body.id);
  const op = await s.call('GET', r.headers.location);
  assert.deepStrictEqual([op.status, op.body.state, op.body.kind, op.body.machine], [200, 'done', 'create', r.body.id]);
  for (const key of [r.body.id, r.body.short, 'web-01']) {
    assert.strictEqual((await s.call('GET', `/instances/${key}`)).body.id, r.body.id);
  }
});

test('an empty body, {} and user_id are enough', async () => {
  assert.strictEqual((await made('')).owner, 'operator');
  assert.strictEqual((await made({})).type, 'small');
  const ann = await s.account('ann@example.org');
  for (const user_id of [ann, 'Ann@Example.org', 1, '1']) assert.strictEqual((await made({ user_id })).owner, ann);
});

test('faults in the body name the field', async () => {
  const cases = [
    ['{', 'invalid', /bad JSON/], ['[]', 'invalid', /object expected/], ['null', 'invalid', /object/], ['"x"', 'invalid', /object/],
    [{ nmae: 'x' }, 'nmae', /unknown field/], [{ name: 7 }, 'name', /string expected/], [{ name: '' }, 'name', /1 to 63/],
    [{ name: 'a b' }, 'name', /letters/], [{ name: '123' }, 'name', /looks like an id/], [{ name: '0123456789ab' }, 'name', /looks like an id/],
    [{ image: null }, 'image', /string expected/], [{ type: 'huge' }, 'type', /no such machine type/], [{ ports: [0] }, 'ports[0]', /1 to 65535/],
    [{ ports: 80 }, 'ports', /list expected/], [{ env: { 'A B': 'x' } }, 'env', /not allowed/], [{ env: { A: 1 } }, 'env.A', /string/],
    [{ network: 'open' }, 'network', /nat, none, host/], [{ hours: 0 }, 'hours', /1 to/], [{ hours: 1.5 }, 'hours', /integer/],
    [{ user_id: -1 }, 'user_id', /id of a user/], [{ user_id: 999 }, 'user_id', /no such user/], [{ volumes: [{ id: 'v' }] }, 'volumes[0].path', /missing/], [{ cmd: ['a', 1] }, 'cmd[1]', /string/],
    ['{"name":"a","name":"b"}', 'invalid', /duplicate/], [{ provider: 'aws' }, 'provider', /local, mock/],
  ];
  for (const [body, field, text] of cases) {
    const r = await s.call('POST', '/instances', body);
    assert.strictEqual(r.status, 400, JSON.stringify(body));
    assert.strictEqual(r.body.code, 'invalid');
    assert.match(r.body.error, text, JSON.stringify(body));
    if (field !== 'invalid') { assert.strictEqual(r.body.field, field); assert.ok(r.body.error.startsWith(field)); }
  }
});

test('a name is unique for its owner, and free again after delete', async () => {
  const a = await made({ name: 'only' });
  const again = await s.call('POST', '/instances', { name: 'only' });
  assert.deepStrictEqual([again.status, again.body.code], [409, 'exists']);
  await made({ name: 'only', user_id: await s.account('someone@example.org') });
  assert.strictEqual((await s.call('DELETE', `/instances/${a.id}`)).status, 200);
  await made({ name: 'only' });
});

test('50 clients race for one name: exactly one machine', async () => {
  const all = await Promise.all(Array.from({ length: 50 }, () => s.call('POST', '/instances', { name: 'raced' })));
  assert.deepStrictEqual(all.map((r) => r.status).sort().slice(0, 2), [201, 409]);
});

test('stop, start and their strict forms', async () => {
  const { id } = await made({});
  await s.running(id);
  const at = (verb) => s.call('POST', `/instances/${id}/${verb}`);
  let r = await at('wake');
  assert.deepStrictEqual([r.status, r.body.code, r.body.status], [409, 'state', 'RUNNING']);
  r = await at('stop');
  assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED']);
  r = await at('stop');
  assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED']);
  r = await at('pause');
  assert.deepStrictEqual([r.status, r.body.code], [409, 'state']);
  r = await at('wake');
  assert.deepStrictEqual([r.status, r.body.status], [200, 'RUNNING']);
  r = await at('start');
  assert.deepStrictEqual([r.status, r.body.status], [200, 'RUNNING']);
  r = await at('pause');
  assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED']);
});

test('delete leaves a tombstone, is in no list, and may be repeated', async () => {
  const { id } = await made({ name: 'gone' });
  const r = await s.call('DELETE', `/instances/${id}`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'DELETED']);
  assert.strictEqual((await s.call('DELETE', `/instances/${id}`)).status, 200);
  assert.strictEqual((await s.call('GET', `/instances/${id}`)).body.status, 'DELETED');
  assert.strictEqual((await s.call('GET', '/instances/gone')).status, 404);
  assert.strictEqual((await s.call('POST', `/instances/${id}/start`)).status, 409);
  const list = await s.call('GET', '/instances?limit=1000');
  assert.ok(!list.body.some((m) => m.id === id));
});

test('what is unknown is 404, what is not allowed 405', async () => {
  for (const where of ['/instances/none', '/instances/00000000-0000-4000-8000-000000000000', '/nothing', '/instances/a/b/c']) {
    assert.strictEqual((await s.call('GET', where)).status, 404, where);
  }
  const r = await s.call('PUT', '/instances');
  assert.deepStrictEqual([r.status, r.headers.allow], [405, 'GET, POST']);
});

test('a list is paged by its Link', async () => {
  for (let i = 0; i < 5; i++) await made({});
  const all = (await s.call('GET', '/instances?limit=1000')).body.map((m) => m.id);
  const seen = [];
  let next = '/instances?limit=2';
  while (next) {
    const r = await s.call('GET', next);
    seen.push(...r.body.map((m) => m.id));
    next = r.headers.link ? /<([^>]+)>/.exec(r.headers.link)[1] : null;
  }
  assert.deepStrictEqual(seen, all);
  for (const bad of ['limit=0', 'limit=x', 'limit=1001']) assert.strictEqual((await s.call('GET', `/instances?${bad}`)).status, 400);
});

test('patch changes what it names, with a precondition', async () => {
  const m = await made({ name: 'before' });
  await s.running(m.id);
  const now = (await s.call('GET', `/instances/${m.id}`)).body;
  const stale = await s.call('PATCH', `/instances/${m.id}`, { name: 'after' }, { 'If-Match': `"${now.version + 5}"` });
  assert.deepStrictEqual([stale.status, stale.body.code], [412, 'precondition']);
  const r = await s.call('PATCH', `/instances/${m.id}`, { name: 'after', labels: { a: 'b' } }, { 'If-Match': `"${now.version}"` });
  assert.deepStrictEqual([r.status, r.body.name, r.body.labels], [200, 'after', { a: 'b' }]);
  assert.strictEqual((await s.call('GET', '/instances/after')).body.id, m.id);
  assert.strictEqual((await s.call('GET', '/instances/before')).status, 404);
});

test('a provider that keeps no log says so', async () => {
  const m = await made({});
  await s.running(m.id);
  const r = await s.call('GET', `/instances/${m.id}/logs`);
  assert.deepStrictEqual([r.status, r.body.code], [400, 'unsupported']);
});

test('extend counts from now, or from the end that is paid already', async () => {
  const { id } = await made({ hours: 2 });
  await s.running(id); // its hours begin when it runs
  const m = (await s.call('GET', `/instances/${id}`)).body;
  assert.strictEqual(Date.parse(m.expires_at) - Date.parse(m.prepaid.begun_at), 2 * 3600e3);
  const r = await s.call('POST', `/instances/${m.id}/extend`, { hours: 3 });
  assert.strictEqual(Date.parse(r.body.expires_at) - Date.parse(m.expires_at), 3 * 3600e3);
});

test('resize restarts what runs, and is refused while something is under way', async () => {
  const m = await made({});
  await s.running(m.id);
  const at = (type) => s.call('POST', `/instances/${m.id}/resize`, { type });
  let r = await at('large');
  assert.deepStrictEqual([r.status, r.body.status, r.body.type, r.body.resources.vcpu], [200, 'RUNNING', 'large', 4], r.text);
  const op = (await s.call('GET', `/operations/${r.body.operation}`)).body;
  assert.deepStrictEqual([op.kind, op.state], ['resize', 'done']);
  r = await at('vast');
  assert.deepStrictEqual([r.status, r.body.field], [400, 'type']);
  await s.call('POST', `/instances/${m.id}/stop`);
  r = await at('tiny');
  assert.deepStrictEqual([r.status, r.body.status, r.body.type], [200, 'STOPPED', 'tiny']);
  await s.call('DELETE', `/instances/${m.id}`);
  assert.strictEqual((await at('small')).status, 409);
});

test('an image that the provider does not have ends in ERROR, which can be deleted', async () => {
  const m = await made({ image: 'missing' });
  const { until } = require('../lib/cchost.js');
  await until(async () => (await s.status(m.id)) === 'ERROR', 'ERROR');
  assert.match((await s.call('GET', `/instances/${m.id}`)).body.error, /missing/);
  assert.strictEqual((await s.call('DELETE', `/instances/${m.id}`)).body.status, 'DELETED');
});
