// What policies refuse is kept in the log of whom they refused, for him and for the admin alone, and once a minute.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { Server, root, temp, binary } = require('../lib/cchost.js');
const { person, apiToken, bearer, as } = require('./people.js');

test('a refusal is told to the account and to the admin, by whom it was made and why', async (t) => {
  const s = await Server.start({ provider: 'mock', policies_dir: path.join(root, 'policies'), drain_seconds: 1 });
  t.after(() => s.stop());
  const [ann, bob] = [await person(s, 'ann@example.org'), await person(s, 'bob@example.org')];
  const m = (await ann.call('POST', '/instances', { type: 'tiny' })).body;
  await s.running(m.id);
  const refused = await Promise.all(Array.from({ length: 8 }, () => ann.call('POST', '/instances', { type: 'tiny' })));
  assert.deepStrictEqual(refused.map((r) => r.status), Array(8).fill(409), refused[0].text);
  const events = async (call) => (await call('GET', '/events?type=denied')).body;
  const hers = await events(ann.call);
  assert.strictEqual(hers.length, 1, JSON.stringify(hers));
  const [e] = hers;
  assert.deepStrictEqual([e.kind, e.id, e.type, e.by], ['user', ann.id, 'denied', ann.id]);
  assert.deepStrictEqual([e.data.what, e.data.reason, e.data.decision.name, e.data.decision.input.machines], ['create', refused[0].body.error, 'access.create', 1]);
  assert.match(e.data.place, /^policies\/access\.lua:\d+$/);
  assert.deepStrictEqual(await events((...a) => s.call(...a)), hers);
  assert.deepStrictEqual(await events(bob.call), []);
  const token = async (scopes) => bearer((await apiToken(ann, scopes)).token);
  assert.deepStrictEqual(await events(async (method, where) => as(s, await token(['instances:read']), method, where)), []);
  assert.deepStrictEqual(await events(async (method, where) => as(s, await token(['instances:read', 'account:read']), method, where)), hers);
  const list = (await ann.call('GET', `/instances/${m.id}/decisions?kind=access`)).body;
  assert.deepStrictEqual(list.map((d) => [d.name, d.verdict, d.event]), [['access.create', 'allow', 'created']]);
  const run = (...args) => spawnSync(binary, args, { encoding: 'utf8', env: { ...process.env, DATA_DIR: s.dir }, timeout: 60e3 });
  assert.match(run('explain', m.id, '--kind=access').stdout,
    /: allow, "within the plan"\ndecided by generation \d+, policies\/access\.lua:\d+\n(.*\n)*would have been refused with machines 1 instead of 0\n/);
  assert.match(run('log', '--type=denied').stdout, /denied/);
});

test('what was left out is written when the server ends', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const s = await Server.start({ provider: 'mock', policies_dir: path.join(root, 'policies'), drain_seconds: 1 }, dir);
  const ann = await person(s, 'ann@example.org');
  await s.running((await ann.call('POST', '/instances', { type: 'tiny' })).body.id);
  for (let i = 0; i < 4; i++) assert.strictEqual((await ann.call('POST', '/instances', { type: 'tiny' })).status, 409);
  await s.stop();
  const r = spawnSync(binary, ['log', '--type=denied', '--json'], { encoding: 'utf8', env: { ...process.env, DATA_DIR: s.dir }, timeout: 60e3 });
  const left = r.stdout.trim().split('\n').map((line) => JSON.parse(line)).map((e) => e.data.left_out ?? 0);
  assert.deepStrictEqual(left.sort(), [0, 2], r.stdout + r.stderr);
});
