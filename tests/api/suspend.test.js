// Machines that stand still, snapshots of them, disks that only grow, and screens that a provider does not have: on the mock.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const path = require('node:path');
const { Server, root, until } = require('../lib/cchost.js');

let s;
test.before(async () => { s = await Server.start({ provider: 'mock' }); });
test.after(() => s.stop());

const made = async (body = {}) => {
  const r = await s.call('POST', '/instances', body);
  assert.strictEqual(r.status, 201, r.text);
  await s.running(r.body.id);
  return r.body;
};
const post = (m, verb, body) => s.call('POST', `/instances/${m.id}/${verb}`, body);
const get = async (m) => (await s.call('GET', `/instances/${m.id}`)).body;

test('what is suspended is RUNNING and does nothing, until it goes on', async () => {
  const m = await made();
  let r = await post(m, 'resume');
  assert.deepStrictEqual([r.status, r.body.code, /only one that is suspended/.test(r.body.error)], [409, 'state', true], r.text);
  r = await post(m, 'suspend');
  assert.deepStrictEqual([r.status, r.body.status, r.body.desired], [200, 'RUNNING', 'RUNNING'], r.text);
  assert.match(r.body.suspended_at, /^20/);
  const { version } = r.body;
  assert.deepStrictEqual((await post(m, 'suspend')).body.version, version, 'it is so already');
  for (const [verb, body] of [['exec', { cmd: ['true'] }]]) {
    const no = await post(m, verb, body);
    assert.deepStrictEqual([no.status, no.body.code, /is suspended: resume it/.test(no.body.error)], [409, 'state', true], no.text);
  }
  assert.strictEqual((await s.call('GET', `/instances/${m.id}/stats`)).status, 409);
  for (const verb of ['resume', 'wake', 'start']) {
    r = await post(m, verb);
    assert.deepStrictEqual([r.status, r.body.status, r.body.suspended_at], [200, 'RUNNING', undefined], `${verb}: ${r.text}`);
    assert.strictEqual((await post(m, 'exec', { cmd: ['true'] })).status, 200);
    await post(m, 'suspend');
  }
  r = await post(m, 'stop');
  assert.deepStrictEqual([r.body.status, r.body.suspended_at], ['STOPPED', undefined]);
  assert.strictEqual((await post(m, 'suspend')).status, 409);
  r = await post(m, 'wake');
  assert.deepStrictEqual([r.status, r.body.status, r.body.suspended_at], [200, 'RUNNING', undefined], r.text);
  const types = (await s.call('GET', `/instances/${m.id}/events?limit=100`)).body.map((e) => e.type);
  assert.strictEqual(types.filter((t) => t === 'suspended').length, 4, `${types}`);
});

test('a machine that is suspended costs what a running one does', async (t) => {
  const b = await Server.start({ provider: 'mock', policies_dir: path.join(root, 'policies') });
  t.after(() => b.stop());
  const user = await b.account('suspended@example.org');
  await b.call('POST', `/users/${user}/credit`, { micro: 50000000, reason: 'a test' });
  const r = await b.call('POST', '/instances', { user_id: user });
  assert.strictEqual(r.status, 201, r.text);
  await b.running(r.body.id);
  const from = (await b.call('GET', `/instances/${r.body.id}`)).body.status_at;
  await b.call('POST', `/instances/${r.body.id}/suspend`);
  const log = (await b.call('GET', `/instances/${r.body.id}/events?limit=100`)).body;
  assert.strictEqual(log.find((e) => e.type === 'suspended').data.metered_at, undefined, 'its meter goes on');
  const at = (await b.call('GET', `/instances/${r.body.id}`)).body;
  assert.deepStrictEqual([at.status, at.status_at], ['RUNNING', from]);
});

test('snapshots: kept, listed, restored, deleted', async () => {
  const m = await made();
  const at = `/instances/${m.id}/snapshots`;
  assert.deepStrictEqual((await s.call('GET', at)).body, []);
  let r = await s.call('POST', at, { name: 'good' });
  assert.deepStrictEqual([r.status, r.body.name], [201, 'good'], r.text);
  assert.deepStrictEqual((await s.call('GET', at)).body, [r.body]);
  assert.strictEqual((await get(m)).status, 'RUNNING', 'what ran runs again');
  r = await s.call('POST', at, { name: 'good' });
  assert.deepStrictEqual([r.status, r.body.code, r.body.field], [409, 'exists', 'name']);
  for (const name of ['', 'a b', '../x', 'x'.repeat(41)]) assert.strictEqual((await s.call('POST', at, { name })).status, 400, name);
  await post(m, 'stop');
  r = await s.call('POST', at, {});
  assert.deepStrictEqual([r.status, /^\d{14}$/.test(r.body.name)], [201, true], r.text);
  r = await s.call('POST', `${at}/good/restore`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED'], r.text);
  assert.strictEqual((await s.call('POST', `${at}/none/restore`)).status, 404);
  assert.strictEqual((await s.call('DELETE', `${at}/none`)).status, 404);
  r = await s.call('DELETE', `${at}/good`);
  assert.deepStrictEqual([r.status, r.body.snapshots.length], [200, 1], r.text);
  for (let n = 1; n < 16; n++) assert.strictEqual((await s.call('POST', at, { name: `n${n}` })).status, 201);
  r = await s.call('POST', at, { name: 'one-too-many' });
  assert.deepStrictEqual([r.status, r.body.code], [409, 'conflict'], r.text);
});

test('a disk keeps its size when its machine becomes smaller', async () => {
  const m = await made({ type: 'tiny' });
  const sizes = Object.fromEntries((await s.call('GET', '/types')).body.map((x) => [x.name, x.disk_gib]));
  let r = await post(m, 'resize', { type: 'large' });
  assert.deepStrictEqual([r.status, r.body.resources.disk_gib], [200, sizes.large], r.text);
  r = await post(m, 'resize', { type: 'tiny' });
  assert.deepStrictEqual([r.body.type, r.body.resources.disk_gib], ['tiny', sizes.large], r.text);
  assert.ok(sizes.large > sizes.tiny);
});

test('no console, no screenshot: said in words', async () => {
  const m = await made();
  for (const what of ['console', 'screenshot']) {
    const r = await s.call('GET', `/instances/${m.id}/${what}`);
    assert.deepStrictEqual([r.status, r.body.code, /provider mock/.test(r.body.error)], [400, 'unsupported', true], r.text);
  }
  const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'MDEyMzQ1Njc4OWFiY2RlZg==' };
  const r = await s.call('GET', `/instances/${m.id}/console`, undefined, upgrade);
  assert.deepStrictEqual([r.status, /ticket/.test(r.body.error)], [400, true], 'a WebSocket needs the ticket of a GET');
});

test('a sweep leaves what is suspended alone, wakes what others have suspended, and sees what goes on', async (t) => {
  const { execFileSync } = require('node:child_process');
  const fs = require('node:fs');
  const { temp, binary } = require('../lib/cchost.js');
  const dir = temp();
  const state = path.join(dir, 'state');
  const b = await Server.start({ provider: 'mock', mock: `{state="${state}"}`, sweep_seconds: 1 }, dir);
  t.after(async () => { await b.deleteAll(); await b.stop(); fs.rmSync(dir, { recursive: true, force: true }); });
  const script = path.join(dir, 'behind.lua');
  fs.writeFileSync(script, `local verb, id = ...\nlocal p = require("provider").open("mock", { state = "${state}" })\nassert(p[verb](p, id))\n`);
  const behind = (verb, id) => execFileSync(binary, [script, verb, id], { cwd: dir, stdio: 'pipe' });
  const { body: m } = await b.call('POST', '/instances', {});
  await b.running(m.id);
  const now = async () => (await b.call('GET', `/instances/${m.id}`)).body;
  const told = async () => (await b.call('GET', `/instances/${m.id}/events?limit=100`)).body.map((e) => e.type);
  behind('suspend', `cc-${m.short}`);
  await until(async () => (await told()).includes('found_down') && (await now()).status === 'RUNNING', 'it was woken');
  await b.call('POST', `/instances/${m.id}/suspend`);
  assert.ok((await now()).suspended_at);
  behind('start', `cc-${m.short}`);
  await until(async () => !(await now()).suspended_at, 'the record says that it goes on');
});
