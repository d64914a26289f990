// Faults that a review found by hand; each test is named after one.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { spawnSync } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');

// Lives of one server on one folder and one world of the mock; all gone with the test.
async function world(t) {
  const dir = temp();
  let s = null;
  t.after(async () => {
    await s?.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return async (mock = '', settings = {}) => {
    await s?.stop();
    s = null;
    s = await Server.start({ provider: 'mock', drain_seconds: 1, mock: `{state="${dir}/world"${mock}}`, ...settings }, dir);
    return s;
  };
}
const create = async (s, body = {}) => {
  const r = await s.call('POST', '/instances?wait=30', body);
  assert.strictEqual(r.status, 201, r.text);
  return r.body;
};
const post = (s, m, verb, body, headers) => s.call('POST', `/instances/${m.id}/${verb}`, body, headers);
const get = async (s, m) => (await s.call('GET', `/instances/${m.id}`)).body;

// A DELETED machine that is at its provider again, and whose cleanup cannot be done.
async function cleaning(life, body, email) {
  const first = await life();
  const user_id = email && await first.account(email);
  const m = await create(first, { ...body, user_id });
  assert.strictEqual((await first.call('DELETE', `/instances/${m.id}`)).body.status, 'DELETED');
  fs.writeFileSync(`${first.dir}/x.lua`, `
    local p = require("provider").open("mock", { state = "${first.dir}/world" })
    assert(p:create { id = "${m.id}", short = "${m.short}", name = "again", image = "x" })
    p:close()`);
  assert.strictEqual(spawnSync(binary, [`${first.dir}/x.lua`]).status, 0);
  const s = await life(',destroy={fail=1000,code="unavailable"}', { sweep_seconds: 1, quota_instances: 1 });
  await until(async () => (await s.call('GET', `/instances/${m.id}/events`)).body.some((e) => e.type === 'found_again'), 'found again');
  return { s, m, user_id };
}

test('a deletion of what was DELETED took the name of another machine', async (t) => {
  const { s, m } = await cleaning(await world(t), { name: 'n' });
  const other = await create(s, { name: 'n' });
  const r = await s.call('DELETE', `/instances/${m.id}?wait=0`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'DELETED'], r.text);
  assert.strictEqual((await s.call('GET', '/instances/n')).body.id, other.id);
  assert.strictEqual((await s.call('POST', '/instances', { name: 'n' })).status, 409);
});

test('a stop of what was DELETED took a place in the quota for ever', async (t) => {
  const { s, m, user_id } = await cleaning(await world(t), {}, 'ann@example.org');
  const r = await post(s, m, 'stop?wait=0');
  assert.deepStrictEqual([r.status, r.body.status, r.body.desired], [200, 'DELETED', 'DELETED'], r.text);
  await create(s, { user_id });
});

test('a start was answered as done after a cancelled one, though nothing was asked for', async (t) => {
  const life = await world(t);
  const s = await life(',create={latency_ms=1000}');
  const { body: m } = await s.call('POST', '/instances', {});
  const stop = await post(s, m, 'stop?wait=0');
  assert.strictEqual((await s.call('POST', `${stop.headers.location}/cancel`)).body.state, 'cancelled');
  assert.strictEqual((await get(s, m)).desired, 'RUNNING');
  const again = await post(s, m, 'stop');
  assert.deepStrictEqual([again.status, again.body.status], [200, 'STOPPED'], again.text);
});

test('a cancelled start forgot the start that waited behind it', async (t) => {
  const life = await world(t);
  const s = await life(',start={latency_ms=1000}');
  const m = await create(s);
  await post(s, m, 'stop');
  const start = await post(s, m, 'start?wait=0');
  await post(s, m, 'stop?wait=0');
  await post(s, m, 'start?wait=0');
  await s.call('POST', `${start.headers.location}/cancel`);
  await until(async () => (await get(s, m)).queue.length === 0, 'all is done');
  const now = await s.call('GET', `/operations/${(await get(s, m)).operation}?wait=30`);
  assert.strictEqual(now.body.state, 'done');
  const { status, desired } = await get(s, m);
  assert.deepStrictEqual([status, desired], ['RUNNING', 'RUNNING']);
});

test('a command with a key ran twice when its client had left', async (t) => {
  const life = await world(t);
  const s = await life(',exec={latency_ms=60000}');
  const m = await create(s);
  const req = require('node:http').request({ host: '127.0.0.1', port: s.port, method: 'POST', path: `/instances/${m.id}/exec`,
    headers: { 'X-API-Key': s.key, 'Idempotency-Key': 'gone' }, agent: false });
  req.on('error', () => {});
  req.end(JSON.stringify({ cmd: ['true'] }));
  const waiting = async () => (await s.call('GET', '/providers')).body.providers[0].calls.waiting;
  await until(async () => (await waiting()) > 0, 'it is under way');
  req.destroy();
  await until(async () => (await waiting()) === 0, 'it is given up');
  const r = await post(s, m, 'exec', { cmd: ['true'] }, { 'Idempotency-Key': 'gone' });
  assert.deepStrictEqual([r.status, r.body.code], [409, 'conflict'], r.text);
});

test('a deletion that failed at another provider was never tried again after a restart', async (t) => {
  const life = await world(t);
  const first = await life(',destroy={fail=1,code="invalid"}', { provider: 'local' });
  const m = await create(first, { provider: 'mock' });
  assert.strictEqual((await first.call('DELETE', `/instances/${m.id}`)).status, 502);
  const s = await life('', { provider: 'local', sweep_seconds: 1 });
  await until(async () => (await get(s, m)).status === 'DELETED', 'DELETED');
});

test('a start of what could not be deleted went beyond the quota', async (t) => {
  const life = await world(t);
  const s = await life(',destroy={fail=1,code="invalid"}', { quota_instances: 1 });
  const user_id = await s.account('ann@example.org');
  const a = await create(s, { user_id });
  assert.strictEqual((await s.call('DELETE', `/instances/${a.id}`)).status, 502);
  const b = await create(s, { user_id });
  const r = await post(s, a, 'start');
  assert.deepStrictEqual([r.status, r.body.code], [429, 'quota'], r.text);
  for (const m of [a, b]) await s.call('DELETE', `/instances/${m.id}`);
});

test('a repeated create that had waited was answered with the record as it began', async (t) => {
  const life = await world(t);
  const s = await life(',latency_ms=100');
  const twice = [];
  for (let i = 0; i < 2; i++) twice.push(await s.call('POST', '/instances?wait=10', {}, { 'Idempotency-Key': 'k' }));
  assert.deepStrictEqual([twice[1].text, twice[1].headers.etag, twice[1].headers.location], [twice[0].text, twice[0].headers.etag, twice[0].headers.location]);
  assert.strictEqual(twice[1].body.status, 'RUNNING');
});

test('records read fresh after a restart while their provider was out of reach', async (t) => {
  const life = await world(t);
  const first = await life(',list={fail=1000000}', { sweep_seconds: 1 });
  const m = await create(first);
  const since = await until(async () => (await get(first, m)).stale_since, 'stale');
  const s = await life(',list={lose=1000000}', { sweep_seconds: 1, provider_seconds: 2 });
  assert.strictEqual((await get(s, m)).stale_since, since);
});

test('a deletion that cannot be done was asked for by every sweep', async (t) => {
  const life = await world(t);
  const s = await life(',destroy={fail=1000000,code="invalid"}', { sweep_seconds: 1 });
  const m = await create(s);
  assert.strictEqual((await s.call('DELETE', `/instances/${m.id}`)).status, 502);
  const tried = await until(async () => {
    const { drift } = await get(s, m);
    return drift?.count >= 3 && drift;
  }, 'a third time');
  assert.ok(Date.parse(tried.next_at) > Date.now() + 500, 'pauses grow');
  await s.call('POST', `/instances/${m.id}/stop`); // any other wish may be had
});

test('cancelling an operation whose machine is gone was a 500', async (t) => {
  const life = await world(t);
  const s = await life();
  const m = await create(s);
  const op = (await get(s, m)).operation;
  await s.call('DELETE', `/instances/${m.id}`);
  fs.writeFileSync(`${s.dir}/y.lua`, `
    require("script").open()
    local retention = require "retention"
    retention.settings = { log_days = 365, tombstone_days = 1, operation_days = 30, conversation_days = 0, delivery_days = 14 }
    assert(retention.run(require("time").now() + 2 * 86400000).purged == 1)`);
  assert.strictEqual(spawnSync(binary, [`${s.dir}/y.lua`], { env: { ...process.env, DATA_DIR: s.dir, PROVIDER: 'mock' } }).status, 0);
  const r = await s.call('POST', `/operations/${op}/cancel`);
  assert.deepStrictEqual([r.status, r.body.code], [409, 'state'], r.text);
});

test('a stop that failed was never put right, though the machine ran', async (t) => {
  const life = await world(t);
  const s = await life(',stop={fail=1,code="invalid"}', { sweep_seconds: 1 });
  const m = await create(s);
  assert.strictEqual((await post(s, m, 'stop')).status, 502);
  await until(async () => (await get(s, m)).status === 'STOPPED', 'STOPPED');
});

test('a volume or a type that a running machine got was in no event of that name', async (t) => {
  const life = await world(t);
  const s = await life();
  const m = await create(s);
  await post(s, m, 'volumes', { id: 'v', path: '/v' });
  await post(s, m, 'resize', { type: 'large' });
  for (const type of ['attached', 'resized']) {
    const { body } = await s.call('GET', `/instances/${m.id}/events?type=${type}`);
    assert.deepStrictEqual(body.map((e) => [e.type, e.data.status]), [[type, 'RUNNING']]);
  }
});

test('a driver that says "cancelled" was asked for ever, without a count or a word', async (t) => {
  const life = await world(t);
  const s = await life(',create={fail=3,code="cancelled"}');
  const r = await s.call('POST', '/instances', {});
  const op = await s.call('GET', `${r.headers.location}?wait=30`);
  assert.deepStrictEqual([op.body.state, op.body.attempts], ['done', 4], op.text);
});

test('an owner that is no number a user can have was taken', async (t) => {
  const life = await world(t);
  const s = await life();
  assert.deepStrictEqual((await s.call('POST', '/instances', '{"user_id":1e300}')).body.field, 'user_id');
});

test('an import of instances.json into a new folder made a store that serve refused', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.writeFileSync(`${dir}/i.json`, JSON.stringify({ instances: { a1b2c3d4e5f6: { instanceId: 'a1b2c3d4e5f6', email: 'a@example.org', serverName: 'ccc-a1b2c3d4e5f6',
    serverIp: '192.0.2.1', serverType: 'cpx21', createdAt: '2026-01-01T00:00:00Z', expiresAt: '2027-01-01T00:00:00Z', status: 'running' } } }));
  const r = spawnSync(binary, ['import', '--instances-json', `${dir}/i.json`, `--data-dir=${dir}/data`], { encoding: 'utf8' });
  assert.strictEqual(r.status, 0, r.stderr);
  const s = await Server.start({ provider: 'mock' }, `${dir}/data`);
  const { body } = await s.call('GET', '/instances');
  assert.strictEqual(body.length, 1);
  const stop = await s.call('POST', `/instances/${body[0].id}/stop`);
  assert.deepStrictEqual([stop.status, stop.body.code], [400, 'unsupported'], stop.text);
  assert.strictEqual((await s.call('GET', `/instances/${body[0].id}`)).body.status, 'RUNNING');
  await s.stop();
});

test('an import took a machine in a status that is none, and every request on it was a 500', async (t) => {
  const life = await world(t);
  const s = await life();
  const m = await create(s, { name: 's' });
  const run = (args) => spawnSync(binary, args, { encoding: 'utf8' });
  const text = run(['export', `--data-dir=${s.dir}`]).stdout;
  const into = temp();
  t.after(() => fs.rmSync(into, { recursive: true, force: true }));
  const file = `${into}/export`;
  const cases = [
    [text.replace('"status":"RUNNING"', '"status":"BOGUS"'), /value\.status/],
    [text.replace(/"deadline_at":null/, '"deadline_at":"2026-01-01T00:00:00.000Z"'), /value\.deadline_at/],
    [text.replace(`"key":"operator/s"`, '"key":"operator/t"'), /index instance_name/],
  ];
  for (const [changed, fault] of cases) {
    assert.notStrictEqual(changed, text);
    fs.writeFileSync(file, changed);
    const r = run(['import', file, `--data-dir=${into}/data`]);
    assert.strictEqual(r.status, 1);
    assert.match(r.stderr, fault);
  }
  fs.writeFileSync(file, text);
  assert.strictEqual(run(['import', file, `--data-dir=${into}/data`]).status, 0);
  assert.match(run(['instances', `--data-dir=${into}/data`]).stdout, new RegExp(m.id));
});

test('check called sound what serve refused', () => {
  for (const arg of ['--mock={nonsense=1}', '--provider-requests-per-hour={mcok=5}', '--status-seconds={STARTING=0}']) {
    const r = spawnSync(binary, ['check', arg], { encoding: 'utf8' });
    assert.strictEqual(r.status, 1, arg + r.stdout);
    assert.match(r.stderr, /nonsense|mcok|1 or more/);
  }
});
