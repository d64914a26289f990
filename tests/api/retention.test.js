// Four hundred days in the life of a store: what a server forgets by itself, and what it never does.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { spawnSync } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');
const { BadIo } = require('../lib/badio.js');
const { Stream } = require('../lib/events.js');

const DAY = 86400e3;

// A server whose clock is so many days from now, and live_at(days), which begins it anew at another time: it looks at once
// for what is old.
async function life(t, days) {
  const dir = temp();
  const clock = new BadIo(dir);
  clock.clock(days * DAY);
  const s = await Server.start({ provider: 'mock' }, dir, { env: clock.env });
  t.after(async () => {
    await s.stop();
    clock.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const live_at = async (other) => {
    await s.stop();
    clock.clock(other * DAY);
    await s.launch();
  };
  return { s, dir, live_at };
}

test('deleted machines, finished work and old data go; the chain, the bill and time travel stay', async (t) => {
  const { s, dir, live_at } = await life(t, -400);
  const made = async (name) => {
    const r = await s.call('POST', '/instances', { name });
    await s.running(r.body.id);
    return { id: r.body.id, operation: r.headers.location };
  };
  const events = async (id) => (await s.call('GET', `/instances/${id}/events?limit=1000`)).body;
  const now = async (id) => (await s.call('GET', `/instances/${id}`)).body;

  const kept = await made('kept');
  const gone = await made('gone');
  const label = async (n) => (await s.call('PATCH', '/instances/kept', { labels: { n: String(n) } })).body;
  const early = (await label(0)).updated_at;
  for (let n = 1; n < 40; n++) await label(n); // its 32nd version is written whole
  await s.call('POST', '/instances/kept/stop'); // the mock forgets what runs when its server ends
  const then = (await now(kept.id)).updated_at;
  const tick = Date.now() + 1;
  await until(() => Date.now() > tick, 'the clock to move');
  await s.call('DELETE', `/instances/${gone.id}`);

  await live_at(-375); // 25 days later
  assert.strictEqual((await now(gone.id)).status, 'DELETED');
  assert.strictEqual((await s.call('GET', kept.operation)).status, 200);

  await live_at(-360); // 40 days later
  await until(async () => (await s.call('GET', `/instances/${gone.id}`)).status === 404, 'the deleted machine is forgotten');
  await until(async () => (await s.call('GET', kept.operation)).status === 404, 'finished work is forgotten');
  assert.strictEqual((await now(kept.id)).status, 'STOPPED');
  const told = await events(gone.id);
  assert.deepStrictEqual([told[0].type, told[told.length - 1].type], ['created', 'purged']);
  assert.strictEqual((await s.call('GET', `/instances/${gone.id}?at=${then}`)).body.name, 'gone');
  const at = JSON.parse(spawnSync(binary, ['at', then, 'instance', 'gone', `--data-dir=${dir}`], { encoding: 'utf8' }).stdout);
  assert.deepStrictEqual([at.id, at.status], [gone.id, 'RUNNING']);

  await live_at(0); // and a year
  await until(() => /what is old was removed/.test(s.log), 'old data is dropped');
  const lost = await s.call('GET', `/instances/${kept.id}?at=${early}`);
  assert.deepStrictEqual([lost.status, lost.body.error], [404, 'the log of that time has been trimmed']);
  const all = await events(kept.id);
  assert.deepStrictEqual(all.filter((e) => e.trimmed).map((e) => [e.type, e.data])[0], ['changed', null]);
  assert.ok(all.filter((e) => ['created', 'running', 'stopped'].includes(e.type)).every((e) => e.data && e.data.status), 'what is billed is there');
  assert.deepStrictEqual((await s.call('GET', `/instances/${kept.id}?at=now`)).body, await now(kept.id));
  assert.strictEqual((await s.call('GET', `/instances/${kept.id}?at=${then}`)).body.labels.n, '39');

  const log = (await s.call('GET', '/events?limit=1000')).body;
  assert.deepStrictEqual(log.map((e) => e.seq), log.map((_, i) => i + 1), 'no entry ever goes');
  const stream = await Stream.open(s.port, '/events?after=0', { 'X-API-Key': s.key });
  await stream.has(log.length);
  assert.deepStrictEqual(stream.events.map((e) => e.data), log);
  await stream.close();
  const proof = spawnSync(binary, ['log', '--verify', `--data-dir=${dir}`], { encoding: 'utf8' });
  assert.deepStrictEqual([proof.status, /^the log is whole: /.test(proof.stdout)], [0, true], proof.stderr);
});

test('an entry of a clock that was years ahead held up all forgetting until that time', async (t) => {
  const { s, live_at } = await life(t, 3650);
  await s.running((await s.call('POST', '/instances', { name: 'ahead' })).body.id);
  await live_at(0);
  const { body: gone } = await s.call('POST', '/instances?wait=30', { name: 'gone' });
  await s.call('DELETE', `/instances/${gone.id}`);
  await live_at(60);
  await until(async () => (await s.call('GET', `/instances/${gone.id}`)).status === 404, 'the deleted machine is forgotten');
});
