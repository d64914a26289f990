// A prepaid block from its first minute to its last, by the shipped policies and the server itself, on a clock that is moved: warned
// a day and an hour before its end, stopped at it, kept for a day, in which more hours bring it back; then deleted.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Place, key, bin } = require('./ccc.js');
const { Server, until, temp, root } = require('../lib/cchost.js');

const HOUR = 3600e3;
const SECOND = 1000;

// A server whose time is moved: s.to(unix ms).
async function moved() {
  const dir = temp();
  const clock = path.join(dir, 'clock');
  const s = new Server();
  Object.assign(s, { dir, settings: { provider: 'mock', policies_dir: path.join(root, 'policies'), mock: '{state="mock.state"}' }, how: {} });
  const { spawn } = s;
  s.spawn = (command, [, ...settings], env) => spawn.call(s, command, [path.join(__dirname, 'moved.lua'), clock, ...settings], env);
  await s.launch();
  s.to = async (ms) => {
    fs.writeFileSync(`${clock}.new`, String(ms));
    fs.renameSync(`${clock}.new`, clock);
    await until(() => !fs.existsSync(clock), () => `the clock is moved\n${s.log}`);
    s.agent.destroy(); // connections that were idle for hours are closed
  };
  return s;
}

test('C10 a block of hours: warned twice, stopped, brought back in its grace, stopped again, deleted', async () => {
  const s = await moved();
  try {
    const p = new Place({ CCHOST_URL: s.url, API_KEY: s.key, DATA_DIR: '/nonexistent' }, bin);
    const id = p.provision('30', 'cpx11');
    const get = async () => (await s.call('GET', `/instances/${id}`)).body;
    const events = async () => (await s.call('GET', `/instances/${id}/events?limit=1000`)).body;
    const of = async (type, since = 0) => (await events()).filter((e) => e.type === type && Date.parse(e.at) >= since);
    const first = await get();
    assert.strictEqual((await s.call('PATCH', `/instances/${id}`, { labels: { ...first.labels, idle: 'never' } })).status, 200);
    const ends = Date.parse(first.expires_at);
    assert.strictEqual(ends - Date.parse(first.prepaid.begun_at), 30 * HOUR);
    const within = (e, at, what) => assert.ok(Date.parse(e.at) >= at - SECOND && Date.parse(e.at) <= at + SECOND, `${what} at ${e.at}, not ${new Date(at).toISOString()}`);

    // Moves to shortly before `at`, sees that nothing has happened, and waits for it.
    async function happens(at, type, since, n) {
      await until(async () => (await of(type, since)).length === n - 1, () => `what was due before ${type}\n${s.log}`);
      await s.to(at - 1.3 * SECOND); // decided by whole seconds, so at most one too early
      assert.strictEqual((await of(type, since)).length, n - 1, `${type} before its time`);
      let list;
      await until(async () => { list = await of(type, since); return list.length >= n; }, () => `${type} at ${new Date(at).toISOString()}: ${JSON.stringify(list)}\n${s.log}`);
      within(list[n - 1], at, type);
      return list[n - 1];
    }

    assert.match((await happens(ends - 24 * HOUR, 'expiry_warning', 0, 1)).data.reason, /in less than (24 h|1 day|1 d)/);
    assert.strictEqual(p.json('status', id).status, 'running');
    assert.match((await happens(ends - HOUR, 'expiry_warning', 0, 2)).data.reason, /in less than 1 h/);
    await happens(ends, 'stopping', 0, 1);
    await until(async () => (await get()).status === 'STOPPED', 'it is stopped');
    assert.deepStrictEqual(p.json('list').map((e) => [e.instanceId, e.status]), [[id, 'stopped']]);
    const refused = await s.call('POST', `/instances/${id}/start`);
    assert.match(refused.body.error, /its hours ended at .*; its data is kept for .*; extend it first/);
    await s.to(ends + 24 * HOUR - 60 * SECOND);
    assert.strictEqual((await get()).status, 'STOPPED', 'kept until its grace ends');
    assert.strictEqual((await of('expiry_warning')).length, 2, 'each warning once');

    // More hours within the grace: it runs again, from now.
    p.ok('extend', id, '2');
    await until(async () => (await get()).status === 'RUNNING', 'it runs again');
    const second = await get();
    const again = Date.parse(second.expires_at);
    const since = Date.parse(second.prepaid.begun_at);
    assert.strictEqual(again - since, 2 * HOUR);
    assert.ok(since > ends + 24 * HOUR - 60 * SECOND);
    await happens(again - HOUR, 'expiry_warning', since, 2); // the first was due when it began
    await happens(again, 'stopping', since, 1);
    await until(async () => (await get()).status === 'STOPPED', 'it is stopped');
    await happens(again + 24 * HOUR, 'deleting', since, 1);
    await until(async () => (await get()).status === 'DELETED', 'it is deleted');
    assert.deepStrictEqual(p.json('list'), []);
    assert.strictEqual((await of('expiry_warning')).length, 4);
    await s.stop();
  } finally {
    s.child.kill('SIGKILL'); // where it is still there
    fs.rmSync(s.dir, { recursive: true, force: true });
  }
});
