// A set that is staged beside a server that runs: what it would do is told, it decides for some, it comes into force, or is taken back.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { Server, until, temp, root, binary } = require('../lib/cchost');

const run = (words) => new Promise((resolve) => {
  execFile(binary, words, (e, out, err) => resolve({ code: e ? e.code : 0, out, err }));
});
const shipped = (name) => fs.readFileSync(path.join(root, 'policies', name), 'utf8');
const allows = (text) => shipped('access.lua').replace('return "allow", "within the plan"', text);

// A server with a folder of policies, and the command beside it.
async function begin(dir = null, policies = temp()) {
  const s = await Server.start({ provider: 'mock', policies_dir: policies }, dir);
  s.policies = policies;
  s.policy = (...words) => run(['policy', ...words, `--data-dir=${s.dir}`, `--policies-dir=${policies}`]);
  s.edit = async (files) => {
    const edited = temp();
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(edited, name), text);
    const r = await s.policy('stage', edited, '--note', 'a try', '--author=ann');
    fs.rmSync(edited, { recursive: true });
    return r;
  };
  s.staged = async () => JSON.parse((await s.policy('staged', '--json')).out);
  s.live = async () => (await s.call('GET', '/policies')).body;
  return s;
}
async function done(s) { await s.stop(); fs.rmSync(s.policies, { recursive: true }); }

// Accounts, until `n` of them are decided for by a generation.
async function users(s, n, generation) {
  const found = [];
  for (let i = 0; found.length < n; i++) {
    assert.ok(i < 60, 'nobody is decided for by it');
    const id = await s.account(`u${i}@example.org`, 'pro');
    const r = await s.call('POST', '/instances', { name: `m${i}`, user_id: id });
    const e = (await s.call('GET', `/instances/${r.body.id}/events`)).body[0];
    if (e.data.decision.generation === generation) found.push({ id, machine: r.body.id });
  }
  return found;
}

test('staged without effect: differences are told by the command and by the route, and outlive the server', async () => {
  const data = temp();
  let s = await begin(data);
  assert.deepStrictEqual([(await s.call('GET', '/policies/staged')).status, (await s.policy('staged')).code], [404, 1]);
  const bad = await s.edit({ 'access.lua': 'return {' });
  assert.deepStrictEqual([bad.code, /access\.lua:1: /.test(bad.err)], [1, true]);
  const staged = await s.edit({ 'access.lua': allows('if r.type == "large" then return "deny", "no large ones" end\n  return "allow", "fine"') });
  assert.strictEqual(staged.out, 'generation 2 is staged, and asked beside generation 1, without effect: access.lua\n', staged.err);
  const ann = await s.account('ann@example.org', 'pro');
  for (const type of ['small', 'large', 'large']) {
    assert.strictEqual((await s.call('POST', '/instances', { type, user_id: ann })).status, 201);
  }
  const { body } = await s.call('GET', '/policies/staged');
  assert.deepStrictEqual(body.counts['access.create'], { agree: 1, differ: 2, failed: 0, skipped: 0, pairs: { 'allow -> deny': 2 } });
  assert.deepStrictEqual([body.generation, body.percent, body.note, body.author, body.changed], [2, 0, 'a try', 'ann', ['access.lua']]);
  const [d] = body.differences;
  assert.deepStrictEqual([d.name, d.input.owner, d.live.reason, d.staged.reason, d.enforced],
    ['access.create', ann, 'within the plan', 'no large ones', false]);
  const told = await until(async () => { const r = await s.policy('staged'); return /2 {2}allow -> deny/.test(r.out) && r.out; }, 'written');
  assert.match(told, /^generation 2 .* by ann: a try\nchanged: access\.lua\nwithout effect\n/);
  assert.match(told, /access\.create +1 +2 +0 +0\n +2 {2}allow -> deny\n/);
  assert.match(told, /live: +within the plan\n +staged: no large ones\n/);
  assert.match((await s.policy('log')).out, /^ +2 .*\(a try\) {2}\[staged\]\n +1 /);
  assert.strictEqual((await s.call('GET', '/healthz?verbose')).body.generation, 1);
  await s.stop();
  s = await begin(data, s.policies);
  const again = (await s.call('GET', '/policies/staged')).body;
  assert.deepStrictEqual([again.generation, again.counts['access.create'].differ, again.differences.length], [2, 2, 2]);
  assert.strictEqual((await s.policy('unstage')).out, 'generation 2 is staged no longer\n');
  await until(async () => (await s.call('GET', '/policies/staged')).status === 404, 'unstaged');
  await s.deleteAll();
  await done(s);
  fs.rmSync(data, { recursive: true });
});

test('promoted to some, across a restart, then to all', async () => {
  const data = temp();
  let s = await begin(data);
  await s.edit({
    'placement.lua': 'return { place = function(r) return { provider = "mock", type = "large" }, "the staged place" end }',
    'routes.lua': shipped('routes.lua'),
  });
  assert.strictEqual((await s.policy('promote')).code, 2);
  assert.strictEqual((await s.policy('promote', '--percent=many')).code, 2);
  const promoted = await s.policy('promote', '--percent', '30', '--max-stop-ratio=off', '--max-errors', '9');
  assert.strictEqual(promoted.out, 'generation 2 decides for 30% of the users\n', promoted.err);
  const own = (await s.call('POST', '/instances', {})).body;
  assert.strictEqual(own.type, 'small', "the operator's own is decided for by the live set");
  const [mine] = await users(s, 1, 2);
  assert.strictEqual((await s.call('GET', `/instances/${mine.machine}`)).body.type, 'large');
  await s.running(mine.machine);
  assert.strictEqual((await s.call('GET', `/instances/${mine.machine}`)).body.idle.generation, 2);
  const { guards } = await s.staged();
  assert.deepStrictEqual([guards.max_errors, guards.max_stop_ratio, guards.min_stops], [9, false, 5]);
  await s.stop();
  s = await begin(data, s.policies);
  const place = async () => (await s.call('POST', '/instances', { user_id: mine.id })).body.type;
  await until(async () => (await place()) === 'large', 'it decides again');
  assert.strictEqual((await s.staged()).percent, 30);

  fs.writeFileSync(path.join(s.policies, 'idle.lua'), `${shipped('idle.lua')}\n`);
  await until(async () => (await s.live()).generation === 3, 'a newer save');
  assert.deepStrictEqual((await s.staged()).live, { staged_beside: 1, now: 3, changed_since: ['idle.lua'] });
  assert.match((await s.policy('staged')).out, /generation 3 is in force by now; changed since it was staged: idle\.lua/);
  const refused = await s.policy('promote', '--percent=100');
  assert.deepStrictEqual([refused.code, refused.err],
    [1, 'cchost: idle.lua changed since generation 2 was staged: stage it anew, or --force takes it as it is\n']);
  const all = await s.policy('promote', '--percent=100', '--force');
  assert.strictEqual(all.out, 'generation 4 is in force\n', all.err);
  await until(async () => (await s.call('GET', '/policies/staged')).status === 404, 'staging has ended');
  assert.strictEqual((await s.call('POST', '/instances', {})).body.type, 'large');
  const live = await s.live();
  assert.deepStrictEqual([live.generation, live.pending, live.note, live.author, live.faults], [4, false, 'a try', 'ann', []]);
  assert.strictEqual(JSON.parse((await s.policy('status', '--json')).out).hash, live.hash);
  assert.match(fs.readFileSync(path.join(s.policies, 'placement.lua'), 'utf8'), /the staged place/);
  assert.strictEqual((await s.call('GET', '/events?type=policies_changed&order=newest')).body[0].data.staged, 2);
  assert.strictEqual((await s.policy('rollback')).out, 'generation 5 is in force\n');
  assert.match((await s.policy('log')).out, /^ +5 .*\(back to generation 3\)\n/);
  assert.strictEqual((await s.policy('promote', '--percent=100')).code, 1);
  await s.deleteAll();
  await done(s);
  fs.rmSync(data, { recursive: true });
});

test('one that raises when it decides returns by itself within a second, and no request fails', async () => {
  const s = await begin();
  const staged = await s.edit({ 'access.lua': allows('if r.type == "large" then local x = nil; return x.execute end\n  return "allow", "fine"') });
  assert.strictEqual(staged.code, 0, staged.err);
  assert.strictEqual((await s.policy('promote', '--percent=50')).code, 0);
  const [mine, other] = await users(s, 2, 2);
  const begun = Date.now();
  for (let i = 0; i < 12; i++) {
    const r = await s.call('POST', '/instances', { type: 'large', user_id: [mine, other][i % 2].id });
    assert.strictEqual(r.status, 201, r.text);
  }
  const back = await until(async () => (await s.call('GET', '/policies/staged')).body.returned, 'returned');
  assert.ok(Date.now() - begun < 2000, 'it took too long');
  assert.deepStrictEqual([back.guard, back.percent, back.figures.failed], ['errors', 50, 4]);
  await s.says(/level=error.*a guard has tripped.*errors/);
  const e = (await s.call('GET', '/events?type=canary_returned')).body[0];
  assert.deepStrictEqual([e.kind, e.id, e.by, e.data.guard, e.data.generation, e.data.figures.failed], ['policy', 'staged', 'policy', 'errors', 2, 4]);
  const told = await until(async () => { const r = await s.policy('staged'); return /returned from 50%/.test(r.out) && r.out; }, 'told');
  assert.match(told, /without effect\nreturned from 50% at .*: errors: 4 of its \d+ decisions failed; 3 may\n/);
  assert.match(told, /allow -> failed/);
  assert.match(told, /policies\/access\.lua:\d+: attempt to index local 'x'/);
  await done(s);
});

test('the routes are an admin\'s', async () => {
  const s = await begin();
  for (const where of ['/policies', '/policies/staged']) {
    assert.strictEqual((await s.call('GET', where, undefined, { 'X-API-Key': undefined })).status, 401);
  }
  const { body } = await s.call('GET', '/policies');
  assert.deepStrictEqual([body.generation, body.pending, body.faults, body.folder], [1, false, [], s.policies]);
  assert.deepStrictEqual(Object.keys(body).sort(), Object.keys(JSON.parse((await s.policy('status', '--json')).out)).sort());
  await done(s);
});
