// The wall clock is set under a running server, while work is under way: no deadline moves.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { Server, until, temp } = require('../lib/cchost.js');
const { BadIo } = require('../lib/badio.js');

const DAY = 86400e3;

async function serve(t, mock, settings = {}) {
  const dir = temp();
  const clock = new BadIo(dir);
  const s = await Server.start({ provider: 'mock', mock, ...settings }, dir, { env: clock.env });
  t.after(async () => {
    clock.heal();
    await s.stop();
    clock.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return { s, clock };
}

for (const [name, shift] of [['forward', DAY], ['back', -DAY]]) {
  test(`a day ${name}: work that fails and waits goes on, and ends as it would have`, async (t) => {
    const { s, clock } = await serve(t, '{create={fail=4,code="unavailable"}}', { sweep_seconds: 1 });
    const r = await s.call('POST', '/instances', {});
    await until(async () => (await s.call('GET', r.headers.location)).body.attempts > 2, 'a third try');
    clock.clock(shift);
    const op = await s.call('GET', `${r.headers.location}?wait=60`);
    assert.deepStrictEqual([op.body.state, op.body.attempts], ['done', 1 + 4], op.text);
    const { body: m } = await s.call('GET', `/instances/${r.body.id}`);
    assert.strictEqual(m.status, 'RUNNING');
    assert.ok(Math.abs(Date.parse(m.status_at) - Date.now() - shift) < 60e3, 'what is recorded is the wall clock as it is');
    assert.strictEqual((await s.call('POST', `/instances/${m.id}/stop`)).body.status, 'STOPPED');
  });

  test(`a day ${name}: what never succeeds ends at its deadline, not before`, async (t) => {
    const { s, clock } = await serve(t, '{create={fail=1000,code="unavailable"}}', { status_seconds: '{STARTING=6}' });
    const begun = Date.now();
    const r = await s.call('POST', '/instances', {});
    clock.clock(shift);
    const op = await s.call('GET', `${r.headers.location}?wait=60`);
    const seconds = (Date.now() - begun) / 1000;
    assert.strictEqual(op.body.state, 'failed', op.text);
    assert.ok(seconds > 1, `a retry took place: ${seconds}`);
    assert.deepStrictEqual([op.body.error.step, op.body.error.attempts > 2], ['create', true], op.text);
    assert.strictEqual(await s.status(r.body.id), 'ERROR');
  });
}

test('a day back: a busy lease that is taken then keeps its machine', async (t) => {
  const { s, clock } = await serve(t, '{}', { activity_check_interval: 1, idle_threshold: 600 });
  const m = (await s.call('POST', '/instances?wait=60', {})).body;
  clock.clock(-DAY);
  const lease = await s.call('POST', `/instances/${m.id}/lease`, { reason: 'a build', ttl: 3600 });
  assert.strictEqual(lease.status, 201, lease.text);
  assert.ok(Math.abs(Date.parse(lease.body.expires_at) - (Date.now() - DAY + 3600e3)) < 600e3, 'it is written by the wall clock');
  const { idle } = (await s.call('GET', `/instances/${m.id}`)).body;
  assert.match(idle.text, /^busy until \d\d:\d\d UTC: a build/);
});

test('a host that was down for a day goes on with what was under way', async (t) => {
  const { s, clock } = await serve(t, '{create={latency_ms=2000}}');
  const r = await s.call('POST', '/instances', {});
  await until(async () => (await s.call('GET', r.headers.location)).body.state === 'running', 'running');
  await s.kill();
  clock.clock(DAY);
  await s.launch();
  const op = await s.call('GET', `${r.headers.location}?wait=60`);
  assert.deepStrictEqual([op.body.state, op.body.taken], ['done', 1], op.text);
  assert.strictEqual(await s.status(r.body.id), 'RUNNING');
});
