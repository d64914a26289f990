// The failures that users of such systems complain about, each by the name that they gave it; then those that
// `make crash` has found here. The mock is the provider that does them (providers/mock/script.c).
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, until, temp } = require('../lib/cchost.js');
const provider = require('../crash/provider.js');

// A server on a mock with `mock`'s faults (a Lua table's members), whose world and ledger can be read.
async function serve(t, mock = '', settings = {}) {
  const dir = temp();
  fs.mkdirSync(path.join(dir, 'data'));
  const at = { state: path.join(dir, 'mock.state'), ledger: path.join(dir, 'mock.ledger') };
  const text = (more) => `{state=${JSON.stringify(at.state)},ledger=${JSON.stringify(at.ledger)},${more}}`;
  const s = await Server.start({ provider: 'mock', mock: text(mock), provider_seconds: 1, sweep_seconds: 1, ...settings }, path.join(dir, 'data'));
  t.after(async () => {
    try {
      await s.stop();
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });
  return Object.assign(s, {
    machines: () => [...provider.world(at.state).machines.values()],
    effects: (m, op) => (provider.histories(at.ledger).get(m.short) || []).filter((l) => l.op === op),
    again: async (other = '') => { s.settings.mock = text(other); await s.launch(); },
  });
}

const create = async (s, body = {}) => {
  const r = await s.call('POST', '/instances', body);
  assert.strictEqual(r.status, 201, r.text);
  return r.body;
};
const read = async (s, m) => (await s.call('GET', `/instances/${m.id}`)).body;
const made = (s, m) => s.effects(m, 'create').filter((l) => l.changed).length;
const reaches = (s, m, status) => until(async () => (await read(s, m)).status === status, `${m.id} is ${status}`);

async function remove(s, m) {
  const r = await s.call('DELETE', `/instances/${m.id}`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'DELETED'], r.text);
}

// ---- stuck

test('"Starting" for seven days: with a provider that never answers well it ends in ERROR by its deadline, and goes', async (t) => {
  const s = await serve(t, 'create={fail=1000000}', { status_seconds: '{STARTING=3}' });
  const m = await create(s, { name: 'never' });
  assert.ok(Date.parse(m.deadline_at) - Date.parse(m.created_at) < 4000, 'a deadline is told from the beginning');
  await reaches(s, m, 'ERROR');
  const late = Date.parse((await read(s, m)).status_at) - Date.parse(m.deadline_at);
  assert.ok(late < 15000, `${late} ms after its deadline`); // none on a machine with nothing else to do
  assert.match((await read(s, m)).error, /./);
  await remove(s, m);
  assert.strictEqual((await s.call('POST', '/instances', { name: 'never' })).status, 201);
});

test('no stop and no cancel while it starts: both are taken', async (t) => {
  const s = await serve(t, 'create={fail=1000000}');
  const m = await create(s);
  const r = await s.call('POST', `/instances/${m.id}/stop`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED'], r.text);
  const other = await s.call('POST', '/instances', {});
  const cancelled = await s.call('POST', `${other.headers.location}/cancel`);
  assert.deepStrictEqual([cancelled.status, cancelled.body.state], [200, 'cancelled'], cancelled.text);
});

test('"not in a valid state to be destroyed: starting": a delete overtakes the create and leaves nothing', async (t) => {
  const s = await serve(t, 'create={latency_ms=60000}', { provider_seconds: 60 });
  const m = await create(s);
  await until(() => made(s, m) === 1, 'the provider has begun');
  await remove(s, m);
  assert.deepStrictEqual(s.machines(), []);
});

test('stuck deleting: with a provider that cannot destroy it ends in ERROR, and goes when the provider can again', async (t) => {
  const s = await serve(t, 'destroy={fail=3,code="invalid"}');
  const m = await create(s);
  await reaches(s, m, 'RUNNING');
  const r = await s.call('DELETE', `/instances/${m.id}`);
  assert.deepStrictEqual([r.status, r.body.code], [502, 'failed'], r.text);
  await reaches(s, m, 'DELETED'); // asked again by the sweeps, by nobody else
  assert.deepStrictEqual(s.machines(), []);
});

test('the DELETE itself got a 429, and the job exited: it is asked again when it was told, not before', async (t) => {
  const s = await serve(t, 'destroy={fail=2,code="limit",retry_after_ms=700}');
  const m = await create(s);
  await reaches(s, m, 'RUNNING');
  await remove(s, m);
  const asked = s.effects(m, 'destroy');
  assert.deepStrictEqual(asked.map((l) => [l.mishap, l.changed]), [['fail', false], ['fail', false], [undefined, true]]);
  for (let i = 1; i < asked.length; i++) assert.ok(asked[i].at - asked[i - 1].at >= 700, `${asked[i].at - asked[i - 1].at} ms`);
});

// ---- lost, or there twice

test('restart in the middle of a create: it runs, and was made once', async (t) => {
  const s = await serve(t, 'create={latency_ms=60000}', { provider_seconds: 60 });
  const m = await create(s);
  await until(() => made(s, m) === 1, 'the provider has begun');
  await s.kill();
  await s.again();
  await reaches(s, m, 'RUNNING');
  assert.deepStrictEqual([made(s, m), s.machines().length], [1, 1]);
});

test('the provider timed out after it had made the machine: one machine', async (t) => {
  const s = await serve(t, 'create={lose=1}');
  const m = await create(s);
  await reaches(s, m, 'RUNNING');
  assert.deepStrictEqual([made(s, m), s.machines().length], [1, 1]);
});

test('an error after the machine was made: one machine', async (t) => {
  const s = await serve(t, 'create={after=3}');
  const m = await create(s);
  await reaches(s, m, 'RUNNING');
  assert.deepStrictEqual([made(s, m), s.machines().length], [1, 1]);
});

test('a half-made machine is completed, or taken away', async (t) => {
  const s = await serve(t, 'create={half=1}', { status_seconds: '{STARTING=3}' });
  const m = await create(s);
  await reaches(s, m, 'RUNNING');
  assert.deepStrictEqual(s.machines().map((v) => [v.half, v.running]), [['no', true]]);
  await s.kill();
  await s.again('create={half=1000000,code="invalid"}');
  const other = await create(s);
  await reaches(s, other, 'ERROR');
  await until(() => s.machines().length === 1, 'only the first is left at the provider');
});

test('50 clients create one name: one machine, 49 are told', async (t) => {
  const s = await serve(t, 'latency_ms=20');
  const answers = await Promise.all(Array.from({ length: 50 }, () => s.call('POST', '/instances', { name: 'one' })));
  const codes = answers.map((r) => (r.status === 201 ? 'made' : r.body.code)).sort();
  assert.deepStrictEqual(codes, [...Array(49).fill('exists'), 'made']);
  await s.running('one');
  assert.strictEqual(s.machines().length, 1);
});

test('50 clients create with one Idempotency-Key: one machine, 50 times the same answer', async (t) => {
  const s = await serve(t, 'latency_ms=20,create={after=1}');
  const headers = { 'Idempotency-Key': 'one-key' };
  const answers = await Promise.all(Array.from({ length: 50 }, () => s.call('POST', '/instances', { labels: { a: 'b' } }, headers)));
  assert.deepStrictEqual([...new Set(answers.map((r) => `${r.status} ${r.body.id}`))], [`201 ${answers[0].body.id}`]);
  await s.running(answers[0].body.id);
  assert.deepStrictEqual([made(s, answers[0].body), s.machines().length], [1, 1]);
});

test('a name can be used again as soon as its machine is deleted', async (t) => {
  const s = await serve(t, 'latency_ms=5');
  const ids = new Set();
  for (let i = 0; i < 20; i++) {
    const m = await create(s, { name: 'again' });
    ids.add(m.id);
    assert.strictEqual((await s.call('GET', '/instances/again')).body.id, m.id);
    await remove(s, m);
    assert.strictEqual((await read(s, m)).status, 'DELETED');
  }
  assert.strictEqual(ids.size, 20);
  assert.deepStrictEqual(s.machines(), []);
});

// ---- billed for months

test('orphans at the provider: reported, and left alone', async (t) => {
  const s = await serve(t, 'orphans=3');
  await until(() => /no record knows/.test(s.log), 'they are reported');
  await create(s, { name: 'mine' });
  await s.running('mine');
  assert.strictEqual(s.machines().length, 4);
});

test('orphans at the provider: with ORPHANS=delete they go, and nothing else does', async (t) => {
  const s = await serve(t, 'orphans=3', { orphans: 'delete', orphan_grace_seconds: 0 });
  const m = await create(s);
  await until(() => s.machines().length === 1, 'the orphans are gone');
  await reaches(s, m, 'RUNNING');
  assert.deepStrictEqual(s.machines().map((v) => v.id), [m.id]);
});

test('a machine that was made after its deletion: the provider was slow, and the sweep takes it away', async (t) => {
  const s = await serve(t, 'create={late=1},late_ms=1500');
  const m = await create(s);
  await until(() => s.effects(m, 'create').some((l) => l.mishap === 'late'), 'the create is on its way');
  await remove(s, m);
  await until(() => made(s, m) === 1, 'it is made after all');
  await until(() => s.machines().length === 0, 'it is taken away');
  assert.strictEqual((await read(s, m)).status, 'DELETED');
});

// ---- found by make crash

test('a stop took the wish to delete back', async (t) => {
  const s = await serve(t, 'destroy={latency_ms=500}');
  const m = await create(s);
  await reaches(s, m, 'RUNNING');
  const deleted = remove(s, m);
  await reaches(s, m, 'DELETING');
  const r = await s.call('POST', `/instances/${m.id}/stop`);
  assert.deepStrictEqual([r.status, r.body.status, r.body.desired], [200, 'DELETED', 'DELETED'], r.text);
  await deleted;
});

test('the comparison of many machines would not end with the server', async (t) => {
  const s = await serve(t, '');
  const all = await Promise.all(Array.from({ length: 150 }, () => create(s)));
  for (const m of all) await reaches(s, m, 'RUNNING');
  await s.kill();
  fs.rmSync(path.join(path.dirname(s.dir), 'mock.state')); // the provider has lost them all
  await s.again('status={latency_ms=60000}');
  for (let i = 0; i < 300; i++) await s.call('GET', '/healthz'); // the comparison has begun by then
});

// ---- found by review

test('a repeat with its key was 404 once the machine was gone, and 422 with another wait', async (t) => {
  const s = await serve(t);
  const m = await create(s, { name: 'a' });
  await reaches(s, m, 'RUNNING');
  const again = (key, where) => s.call('POST', where, undefined, { 'Idempotency-Key': key });
  const first = await again('k1', '/instances/a/stop?wait=30');
  assert.strictEqual(first.status, 200);
  assert.strictEqual((await again('k1', '/instances/a/stop?wait=0')).text, first.text);
  await remove(s, m);
  const late = await again('k1', '/instances/a/stop');
  assert.deepStrictEqual([late.status, late.text, late.headers['idempotency-replayed']], [200, first.text, 'true']);
});

test('a change that changes nothing made a new version', async (t) => {
  const s = await serve(t);
  const m = await create(s, { name: 'same', labels: { a: 'b' } });
  await reaches(s, m, 'RUNNING');
  const before = await read(s, m);
  for (const body of [{}, { labels: { a: 'b' } }, { name: 'same' }]) {
    assert.strictEqual((await s.call('PATCH', `/instances/${m.id}`, body)).body.version, before.version);
  }
});

test('a start of a machine that runs, and that fails or is cancelled, stopped it', async (t) => {
  const s = await serve(t, 'start={fail=1,code="invalid"}', { sweep_seconds: 1 });
  const m = await create(s, { name: 'up' });
  await reaches(s, m, 'RUNNING');
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/start`)).status, 502);
  await reaches(s, m, 'RUNNING'); // the sweep finds that it runs
  assert.strictEqual(s.effects(m, 'stop').filter((l) => l.changed).length, 0);
  await remove(s, m);
  const slow = await serve(t, 'start={latency_ms=2000}');
  const n = await create(slow, { name: 'up' });
  await reaches(slow, n, 'RUNNING');
  const asked = await slow.call('POST', `/instances/${n.id}/start?wait=0`);
  const cancelled = await slow.call('POST', `${asked.headers.location}/cancel`);
  assert.deepStrictEqual([cancelled.status, cancelled.body.state], [200, 'cancelled'], cancelled.text);
  assert.deepStrictEqual([(await read(slow, n)).status, (await read(slow, n)).desired], ['RUNNING', 'RUNNING']);
  assert.strictEqual(slow.effects(n, 'stop').filter((l) => l.changed).length, 0);
  await remove(slow, n);
});

test('a machine that is to run, and could not be started, stayed off for ever', async (t) => {
  const s = await serve(t, 'start={fail=1,code="invalid"}', { sweep_seconds: 1 });
  const m = await create(s);
  await reaches(s, m, 'RUNNING');
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/stop`)).body.status, 'STOPPED');
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/start`)).status, 502);
  await reaches(s, m, 'RUNNING');
  await remove(s, m);
});

for (const [verb, mock] of [['attach', 'attach={after=1,code="limit",retry_after_ms=3000}'], ['detach', 'detach={fail=1,after=true,code="limit",retry_after_ms=3000}']]) {
  test(`${verb} that took effect and gave way left record and provider at odds for ever`, async (t) => {
    const s = await serve(t, mock);
    const m = await create(s, verb === 'detach' ? { volumes: [{ id: 'vol', path: '/d' }] } : {});
    await reaches(s, m, 'RUNNING');
    const where = `/instances/${m.id}/volumes`;
    const asked = verb === 'attach' ? await s.call('POST', `${where}?wait=0`, { id: 'vol', path: '/d' }) : await s.call('DELETE', `${where}/vol?wait=0`);
    assert.strictEqual(asked.status, 202, asked.text);
    await until(async () => (await s.call('GET', asked.headers.location)).body.attempts > 1, 'a try has failed');
    const stop = await s.call('POST', `/instances/${m.id}/stop?wait=20`);
    assert.deepStrictEqual([stop.status, stop.body.status], [200, 'STOPPED'], stop.text);
    assert.strictEqual((await s.call('GET', asked.headers.location)).body.state, 'superseded');
    const rec = await read(s, m);
    const there = s.machines().find((x) => x.short === m.short);
    assert.deepStrictEqual(rec.volumes.map((v) => v.id), there.volumes.map((v) => v.id), 'they agree');
    assert.strictEqual(rec.volumes.length, verb === 'detach' ? 1 : 0, 'as if it had not been asked');
    await remove(s, m);
  });
}
