// kill -9 of the host before and after the effect of each step of what is done to volumes: afterwards it is done, once, and the
// provider has what the records say. On the mock, whose world outlives the host.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { Server, temp, until } = require('../lib/cchost.js');

// The mock's journal, read: volumes by name, with the names of their snapshots, and who has them.
function world(dir) {
  const volumes = {};
  const machines = {};
  for (const line of fs.readFileSync(`${dir}/world`, 'utf8').split('\n').filter(Boolean)) {
    const o = JSON.parse(line);
    if (o.volume) volumes[o.volume.id] = Object.keys(o.volume.snapshots).sort();
    if (o.no_volume) delete volumes[o.no_volume];
    if (o.machine) machines[o.machine.short] = o.machine.volumes.map((v) => `${v.id}:${v.path}`);
    if (o.gone) delete machines[o.gone];
  }
  return { volumes, machines };
}

const mock = (dir, more = '') => `{state="${dir}/world",ledger="${dir}/ledger"${more}}`;
const changes = (dir, op) => fs.readFileSync(`${dir}/ledger`, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l)).filter((l) => l.op === op && l.changed).length;

// The request by what the mock calls its effect; `v` is a volume with the snapshot "s", `m` a machine that is stopped
const acts = {
  volume_create: () => ['POST', '/volumes', { name: 'new', size_gib: 3 }],
  volume_clone: (v) => ['POST', `/volumes/${v.id}/clone`, { name: 'copy', snapshot: 's' }],
  snapshot_create: (v) => ['POST', `/volumes/${v.id}/snapshots?wait=0`, { name: 't' }],
  snapshot_delete: (v) => ['DELETE', `/volumes/${v.id}/snapshots/s?wait=0`],
  volume_restore: (v) => ['POST', `/volumes/${v.id}/restore?wait=0`, { snapshot: 's' }],
  attach: (v, m) => ['POST', `/volumes/${v.id}/attach?wait=0`, { machine: m.id, path: '/v' }],
  detach: (v) => ['POST', `/volumes/${v.id}/detach?wait=0`, {}],
  volume_delete: (v) => ['DELETE', `/volumes/${v.id}?wait=0`],
};

async function ready(s, act) {
  const v = (await s.call('POST', '/volumes?wait=30', { name: 'data', size_gib: 2 })).body;
  await s.call('POST', `/volumes/${v.id}/snapshots`, { name: 's' });
  const m = (await s.call('POST', '/instances?wait=30', {})).body;
  await s.call('POST', `/instances/${m.id}/stop`);
  if (act === 'detach') await s.call('POST', `/volumes/${v.id}/attach`, { machine: m.id, path: '/v' });
  return [v, m];
}

async function agree(s, dir) {
  const records = (await s.call('GET', '/volumes?limit=1000')).body;
  const { volumes, machines } = world(dir);
  assert.deepStrictEqual(Object.fromEntries(records.map((r) => [r.provider_id, r.snapshots.map((x) => x.name).sort()])), volumes);
  for (const m of (await s.call('GET', '/instances')).body) {
    const at = records.filter((r) => r.attached_to === m.id).map((r) => `${r.provider_id}:${r.path}`);
    assert.deepStrictEqual([at, m.volumes.map((x) => `${x.id}:${x.path}`)], [machines[m.short], machines[m.short]]);
  }
  for (const r of records) assert.strictEqual(r.status, 'AVAILABLE', JSON.stringify(r));
}

for (const [act, request] of Object.entries(acts)) {
  for (const when of ['before', 'after']) {
    test(`${act}, killed ${when} its effect`, async () => {
      const dir = temp();
      let s = await Server.start({ provider: 'mock', mock: mock(dir) }, dir);
      const [v, m] = await ready(s, act);
      await s.kill();
      const had = fs.existsSync(`${dir}/ledger`) ? changes(dir, act) : 0;
      const trouble = when === 'before' ? `${act}={fail=1000000,code="unavailable"}` : `${act}={latency_ms=600000}`;
      s = await Server.start({ provider: 'mock', mock: mock(dir, `,${trouble}`) }, dir);
      const r = await s.call(...request(v, m));
      assert.ok([201, 202].includes(r.status), r.text);
      const op = r.headers.location;
      const get = async () => (await s.call('GET', op)).body;
      if (when === 'before') await until(async () => (await get()).attempts >= 2, () => `a try has failed\n${s.log}`);
      else await until(() => changes(dir, act) > had, 'the effect');
      assert.strictEqual((await get()).state, 'running');
      await s.kill();
      s = await Server.start({ provider: 'mock', mock: mock(dir) }, dir);
      await until(async () => (await get()).state === 'done', () => `it is gone on with\n${s.log}`);
      if (act !== 'volume_restore') assert.strictEqual(changes(dir, act), had + 1, 'it was done once');
      await agree(s, dir);
      await s.stop();
      fs.rmSync(dir, { recursive: true, force: true });
    });
  }
}
