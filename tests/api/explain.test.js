// Decisions over HTTP, `cchost explain`, and `cchost fuzz` on planted bugs.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, temp, binary, until, root } = require('../lib/cchost.js');

const idle = `local P = { kind = "idle", name = "short", version = 1 }

function P.decide(m, now)
  if m.lease_until and m.lease_until > now then return "keep", "busy: " .. m.lease_reason end
  local unused = now - m.last_activity_at
  if unused >= 4 then return "stop", "unused for " .. unused .. " s" end
  return "keep", "in use"
end

function P.lease(r) return math.min(r.ttl, 3600), "an hour" end

return P
`;

let s, policies, one;
test.before(async () => {
  policies = temp();
  fs.writeFileSync(path.join(policies, 'idle.lua'), idle);
  s = await Server.start({ provider: 'mock', policies_dir: policies, activity_check_interval: 1 });
  one = (await s.call('POST', '/instances', { name: 'one' })).body;
  await until(async () => (await s.status(one.id)) === 'STOPPED', 'the policy stops it', 60);
});
test.after(async () => {
  await s.stop();
  fs.rmSync(policies, { recursive: true, force: true });
});

const run = (...args) => spawnSync(binary, args, { encoding: 'utf8', env: { ...process.env, DATA_DIR: s ? s.dir : undefined }, timeout: 60e3 });

test('the list: newest first, runs with their counts, placement from the log', async () => {
  const r = await s.call('GET', `/instances/${one.id}/decisions`);
  assert.strictEqual(r.status, 200, r.text);
  const kinds = r.body.map((d) => d.kind);
  assert.ok(kinds.includes('idle') && kinds.includes('placement'), r.text);
  const stop = r.body.find((d) => d.verdict === 'stop');
  assert.match(stop.reason, /^unused for \d+ s$/);
  assert.ok(Number.isInteger(stop.generation) && stop.count >= 1);
  for (let i = 1; i < r.body.length; i++) assert.ok(r.body[i - 1].from >= r.body[i].from, r.text);
  assert.deepStrictEqual((await s.call('GET', `/instances/one/decisions?kind=placement`)).body.map((d) => d.event), ['created']);
  assert.deepStrictEqual((await s.call('GET', `/instances/${one.id}/decisions?since=2099-01-01`)).body, []);
});

test('what stopped it is named so, until it is started again', async () => {
  const r = await s.call('GET', `/instances/${one.id}/decisions?at=stop`);
  assert.deepStrictEqual([r.status, r.body.kind, r.body.verdict], [200, 'idle', 'stop'], r.text);
  assert.deepStrictEqual(r.body, (await s.call('GET', `/instances/${one.id}/decisions?kind=idle&at=${encodeURIComponent(r.body.at)}`)).body);
  const { body: two } = await s.call('POST', '/instances?wait=10', { name: 'two' });
  const none = await s.call('GET', `/instances/${two.id}/decisions?at=stop`);
  assert.deepStrictEqual([none.status, none.body.code], [404, 'not_found']);
  assert.strictEqual((await s.call('DELETE', `/instances/${two.id}?wait=10`)).status, 200);
});

test('pages go on by Link', async () => {
  const all = (await s.call('GET', `/instances/${one.id}/decisions`)).body;
  const seen = [];
  let where = `/instances/${one.id}/decisions?limit=1`;
  while (where) {
    const r = await s.call('GET', where);
    assert.strictEqual(r.status, 200, r.text);
    seen.push(...r.body);
    where = r.headers.link && /<([^>]+)>; rel="next"/.exec(r.headers.link)[1];
  }
  assert.deepStrictEqual(seen, all);
});

test('one decision: line, inputs, what would have flipped it', async () => {
  const stop = (await s.call('GET', `/instances/${one.id}/decisions`)).body.find((d) => d.verdict === 'stop');
  const r = await s.call('GET', `/instances/${one.id}/decisions?at=${encodeURIComponent(stop.from)}`);
  assert.strictEqual(r.status, 200, r.text);
  const d = r.body;
  assert.deepStrictEqual([d.kind, d.verdict, d.at, d.file, d.line, d.note], ['idle', 'stop', stop.from, 'idle.lua', 6, undefined], r.text);
  assert.deepStrictEqual(d.read, ['last_activity_at', 'lease_until']);
  assert.strictEqual(d.inputs.name, 'one');
  assert.match(d.text, /^would have stayed up with .*, or a busy lease$/);
  const fields = d.flips.map((f) => f.field);
  assert.ok(fields.includes('started_at') && fields.includes('lease_until'), r.text);
  assert.strictEqual(d.flips.find((f) => f.field === 'lease_until').from, null);
});

test('what cannot be asked is refused by name; what is not there is 404', async () => {
  for (const [query, field] of [['at=x', 'at'], ['since=x', 'since'], ['until=-', 'until'], ['limit=0', 'limit'], ['after=x', 'after'], ['kind=x', 'kind']]) {
    const r = await s.call('GET', `/instances/${one.id}/decisions?${query}`);
    assert.deepStrictEqual([r.status, r.body.field], [400, field], r.text);
  }
  const early = await s.call('GET', `/instances/${one.id}/decisions?at=1000`);
  assert.deepStrictEqual([early.status, early.body.code], [404, 'not_found']);
  assert.strictEqual((await s.call('GET', '/instances/nothing/decisions')).status, 404);
});

test('a machine\'s decisions are its owner\'s', async () => {
  const login = async (email) => {
    const r = await s.call('POST', '/auth/login', { email }, { 'X-API-Key': undefined });
    return r.body.token;
  };
  const [ann, bob] = [await login('ann@example.org'), await login('bob@example.org')];
  const as = (token) => ({ 'X-API-Key': undefined, Authorization: `Bearer ${token}` });
  const hers = (await s.call('POST', '/instances', {}, as(ann))).body;
  assert.strictEqual((await s.call('GET', `/instances/${hers.id}/decisions`, undefined, as(ann))).status, 200);
  assert.strictEqual((await s.call('GET', `/instances/${hers.id}/decisions`, undefined, as(bob))).status, 404);
  assert.strictEqual((await s.call('GET', `/instances/${hers.id}/decisions`, undefined, { 'X-API-Key': undefined })).status, 401);
  assert.strictEqual((await s.call('GET', `/instances/${one.id}/decisions`, undefined, as(bob))).status, 404);
});

test('cchost explain tells why it was stopped, beside the server', async () => {
  const r = await until(() => {
    const x = run('explain', 'one');
    return x.status === 0 && / stop, /.test(x.stdout) && x;
  }, 'the day is written', 30);
  assert.match(r.stdout, /^one at .*: stop, "unused for \d+ s"\n/);
  assert.match(r.stdout, /decided by generation \d+, policies\/idle\.lua:6\n +6 \| +if unused >= 4 then return "stop"/);
  assert.match(r.stdout, /it looked at:\n +last_activity_at .*before\)\n +lease_until +-\n/);
  assert.match(r.stdout, /would have stayed up with /);
  assert.doesNotMatch(r.stdout, /note:/);
  const told = JSON.parse(run('explain', 'one', '--json').stdout);
  assert.strictEqual(told.verdict, 'stop');
  const again = await s.call('GET', `/instances/${one.id}/decisions?at=${encodeURIComponent(told.at)}`);
  assert.deepStrictEqual(again.body, told);
  assert.match(run('explain', 'one', '2020-01-01').stderr, /nothing is kept/);
  assert.match(run('explain', '--help').stdout, /--kind=KIND .*: idle, expiry, placement, access, lease, billing, health\n {2}--json/);
  const odd = run('explain', 'one', '--kind=foo');
  assert.deepStrictEqual([odd.status, /--kind: one of idle, expiry, placement, access, lease, billing, health expected/.test(odd.stderr)], [2, true], odd.stderr);
  assert.strictEqual(run('explain', 'one', 'nonsense').status, 2);
  assert.strictEqual(run('explain', 'nobody').status, 1);
  assert.match(run('explain', 'one', '--kind=placement').stdout,
    /mock small, "the setting PROVIDER"\ndecided by generation \d+, policies\/placement\.lua:\d+\n(.*\n)+it looked at:\n(.*\n)* +default +"mock"\n/);
});

test('an expiry is explained, too', async () => {
  const two = (await s.call('POST', '/instances', { name: 'two', hours: 1 })).body;
  await s.running(two.id);
  const r = await until(async () => {
    const x = await s.call('GET', `/instances/${two.id}/decisions?kind=expiry`);
    return x.body.length && x;
  }, 'a warning');
  assert.strictEqual(r.body[r.body.length - 1].verdict, 'warn', r.text);
  const d = (await s.call('GET', `/instances/${two.id}/decisions?kind=expiry&at=${encodeURIComponent(r.body[0].from)}`)).body;
  assert.deepStrictEqual([d.kind, d.verdict, d.note, d.file], ['expiry', 'warn', undefined, 'expiry.lua'], JSON.stringify(d));
  assert.match(d.text, /its hours ending/);
});

// ---- fuzz

function planted(body, more = '') {
  const dir = temp();
  fs.writeFileSync(path.join(dir, 'idle.lua'),
    `local P = { kind = "idle", name = "x", version = 1 }\n${more}\nfunction P.decide(m, now)\n${body}\nend\nfunction P.lease(r) return math.min(r.ttl, 60), "x" end\nreturn P\n`);
  return dir;
}

const bugs = {
  'a nil that is compared': ['  if m.load > 0.5 then return "keep", "busy" end\n  return "keep", "x"', /^policies\/idle\.lua:4: attempt to compare/],
  'a nil that is indexed': ['  if m.foreground:find("make") then return "keep", "x" end\n  return "keep", "x"', /^policies\/idle\.lua:4: attempt to index field 'foreground'/],
  'a verdict that there is not': ['  if m.plan == "unheard-of" then return "hold", "x" end\n  return "keep", "x"', /^policies\/idle\.lua:4: one of keep, warn, stop expected, not 'hold'/],
  'no verdict at all': ['  if m.connections > 3 then return "keep", "x" end', /^policies\/idle\.lua:\d+: one of keep, warn, stop expected, not nil/],
  'a loop without an end': ['  while m.turn do m.n = 1 end\n  return "keep", "x"', /^policies\/idle\.lua:\d+: .*(instructions|CPU time)/],
};

for (const [name, [body, says]] of Object.entries(bugs)) {
  test(`fuzz finds ${name}, and makes it small`, () => {
    const dir = planted(body);
    const r = run('fuzz', dir, '--seed=3');
    assert.strictEqual(r.status, 1, r.stdout + r.stderr);
    assert.match(r.stdout, says);
    assert.match(r.stdout, /seed 3, input \d+/);
    assert.match(r.stdout, /labels = {}/);
    assert.match(r.stdout, /name = ""/);
    if (!/turn|foreground/.test(body)) assert.doesNotMatch(r.stdout, /report_at|lease_until|input_at/);
    assert.strictEqual(run('fuzz', dir, '--seed=3').stdout, r.stdout);
    fs.rmSync(dir, { recursive: true });
  });
}

test('fuzz finds what is remembered, and what must come first', () => {
  const dir = planted('  if m.turn then seen.n = true end\n  if seen.n and m.connections > 7 then return "stop", "x" end\n  return "keep", "x"', 'local seen = {}');
  const r = run('fuzz', path.join(dir, 'idle.lua'), '--seed=5');
  assert.strictEqual(r.status, 1, r.stdout + r.stderr);
  assert.match(r.stdout, /something is remembered/);
  assert.match(r.stdout, /connections = 8[, ]/);
  assert.match(r.stdout, /turn = true/);
  fs.rmSync(dir, { recursive: true });
});

test('what fuzz prints is a test that fails until the bug is gone', () => {
  const dir = planted(bugs['a nil that is compared'][0]);
  const printed = run('fuzz', dir, '--seed=3').stdout;
  const body = printed.slice(printed.indexOf('  ["fuzz:'));
  fs.mkdirSync(path.join(dir, 'tests'));
  fs.writeFileSync(path.join(dir, 'tests', 'fuzzed.lua'), `return {\n${body}}\n`);
  const bad = run('policy', 'test', dir);
  assert.strictEqual(bad.status, 1);
  assert.match(bad.stderr, /fuzz: idle\.decide/);
  const file = path.join(dir, 'idle.lua');
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('m.load > 0.5', '(m.load or 0) > 0.5'));
  const good = run('policy', 'test', dir);
  assert.strictEqual(good.status, 0, good.stdout + good.stderr);
  fs.rmSync(dir, { recursive: true });
});

test('the shipped policies and the usage', () => {
  const r = run('fuzz', path.join(root, 'policies'), '--count=500', '--seed=1');
  assert.deepStrictEqual([r.status, r.stdout], [0, 'nothing found in 6500 inputs (seed 1)\n'], r.stderr);
  assert.strictEqual(run('fuzz', path.join(root, 'policies'), '--seconds=1').status, 0);
  assert.strictEqual(run('fuzz').status, 2);
  assert.strictEqual(run('fuzz', '/nothing/here').status, 1);
  assert.match(run('fuzz', path.join(root, 'policies', 'plans.lua')).stderr, /holds no decisions/);
});
