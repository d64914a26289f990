// GET /instances/{id}/stats: what a machine's agent says, read as what anybody may have said. The mock says what it is told.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, temp, binary } = require('../lib/cchost.js');

async function serve(t, mock) {
  const dir = temp();
  const s = await Server.start({ provider: 'mock', mock: mock.replace('STATE', path.join(dir, 'world')) }, dir);
  t.after(async () => { await s.deleteAll(); await s.stop(); fs.rmSync(dir, { recursive: true, force: true }); });
  return s;
}

async function made(s) {
  const r = await s.call('POST', '/instances', {});
  await s.running(r.body.id);
  return r.body;
}

test('the settings of the mock say it of every machine', async (t) => {
  const until = Date.now() + 60000;
  const s = await serve(t, `{activity={load=0.7, foreground="make", clients=2, ssh_sessions=1, turn=true, last_input_ms=1700000000000, leases='[{"id":"build","reason":"make all","until_ms":${until},"since_ms":1700000000001}]'}}`);
  const { id } = await made(s);
  const r = await s.call('GET', `/instances/${id}/stats`);
  assert.strictEqual(r.status, 200);
  assert.deepStrictEqual(r.body, {
    last_input_at: 1700000000000, clients: 2, foreground: 'make', load: 0.7, turn: true, ssh_sessions: 1,
    leases: [{ id: 'build', reason: 'make all', until_at: until, since: 1700000000001 }],
  });
});

test('a command says it of one machine, also from another process on the same state', async (t) => {
  const s = await serve(t, '{state="STATE", activity={load=0.25}}');
  const [a, b] = [await made(s), await made(s)];
  const load = async (m) => (await s.call('GET', `/instances/${m.id}/stats`)).body.load;
  const r = await s.call('POST', `/instances/${a.id}/exec`, { cmd: ['mock-activity', '{"load":3}'] });
  assert.deepStrictEqual([r.status, r.body.exit], [200, 0], r.text);
  assert.deepStrictEqual([await load(a), await load(b)], [3, 0.25]);
  const script = path.join(s.dir, 'say.lua');
  fs.writeFileSync(script, `
    local p = assert(require("provider").open("mock", { state = ${JSON.stringify(path.join(s.dir, 'world'))} }))
    assert(p:exec("cc-${b.short}", { cmd = { "mock-activity", [[{"load":4}]] } }))`);
  const other = spawnSync(binary, [script], { encoding: 'utf8' });
  assert.strictEqual(other.status, 0, other.stderr);
  assert.deepStrictEqual([await load(a), await load(b)], [3, 4]);
});

test('a machine that lies does no harm', async (t) => {
  const s = await serve(t, '{}');
  const { id } = await made(s);
  const say = async (report) => {
    const r = await s.call('POST', `/instances/${id}/exec`, { cmd: ['mock-activity', JSON.stringify(report)] });
    assert.strictEqual(r.status, 200, r.text);
    return (await s.call('GET', `/instances/${id}/stats`)).body;
  };
  const nothing = { clients: 0, load: 0, turn: false, ssh_sessions: 0, leases: [] };
  assert.deepStrictEqual(await say({}), nothing);
  assert.deepStrictEqual(await say({ last_input_ms: 'x', clients: -1, foreground: {}, load: -5, turn: 'yes', ssh_sessions: null, leases: { a: 1 } }), nothing);
  const far = Number.MAX_SAFE_INTEGER;
  const before = Date.now();
  const x = await say({ last_input_ms: far, clients: far, foreground: 'a\u001b[31m\u202eb', load: 1e300, ssh_sessions: far,
    leases: Array.from({ length: 100 }, (_, i) => ({ id: `l${i}`, reason: 'é'.repeat(120), until_ms: far, since_ms: far })) });
  assert.ok(x.last_input_at >= before && x.last_input_at <= Date.now());
  assert.deepStrictEqual([x.foreground, x.load, x.leases.length, x.leases[0].reason], ['a?[31m?b', 4096, 64, 'é'.repeat(100)]);
  assert.ok(x.leases.every((l) => l.until_at <= Date.now() + 86400000 && l.since <= Date.now()));
});
