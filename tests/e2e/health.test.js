// A real machine whose agent hangs: how often it has failed outlives the host, it is told of once, and restarted where the policy
// says so, as one operation that outlives the host, too.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, until, temp, root, binary } = require('../lib/cchost.js');

const settings = { provider: 'local', activity_check_interval: '1s', health_retry_seconds: 1, health_grace_seconds: 0, stop_grace_seconds: 1, agent_check_seconds: 3600 };

async function world(t, more = {}) {
  const s = await Server.start({ ...settings, ...more });
  t.after(() => s.stop());
  const r = await s.call('POST', '/instances?wait=60', { name: 'box' });
  assert.strictEqual(r.body.status, 'RUNNING', r.text);
  const w = { s, id: r.body.id, short: r.body.short, stopped: [] };
  t.after(() => { for (const pid of w.stopped) try { process.kill(pid, 'SIGCONT'); } catch { /* it is gone */ } });
  w.machine = async () => (await s.call('GET', `/instances/${w.id}`)).body;
  w.health = async () => (await w.machine()).health;
  w.is = (status) => until(async () => { const h = await w.health(); return h && h.status === status && h; }, () => `it is ${status}:\n${s.log.slice(-1500)}`, 60);
  w.events = async (...types) => (await s.call('GET', `/instances/${w.id}/events?limit=1000`)).body.filter((e) => types.includes(e.type));
  w.hang = () => {
    w.stopped.push(agentOf(w));
    process.kill(w.stopped.at(-1), 'SIGSTOP');
  };
  await w.is('healthy');
  return w;
}

// The agent's process: the child of that name of the machine's init.
function agentOf(w) {
  const init = fs.readFileSync(`${w.s.dir}/local/machines/${w.short}/lock`, 'utf8').split(/\s/)[0];
  const children = fs.readFileSync(`/proc/${init}/task/${init}/children`, 'utf8').split(' ').filter(Boolean);
  return children.map(Number).find((p) => { try { return fs.readFileSync(`/proc/${p}/comm`, 'utf8') === 'cchost-agent\n'; } catch { return false; } });
}

test('failures are counted across a restart of the host, told of once, and so is that it is well again', { timeout: 200000 }, async (t) => {
  const w = await world(t, { health_failures: 5 });
  assert.deepStrictEqual(await w.health(), { status: 'healthy', failures: 0, since: null, error: null, text: null, restarted_at: null });
  const tag = (await w.s.call('GET', `/instances/${w.id}`)).headers.etag;
  w.hang();
  const before = await until(async () => { const h = await w.health(); return h.failures >= 2 && h; }, () => `two failures:\n${w.s.log.slice(-1500)}`, 60);
  assert.strictEqual(before.status, 'unknown');
  w.s.child.kill('SIGKILL');
  await w.s.exited;
  await w.s.launch();
  const first = await until(async () => { const h = await w.health(); return h && h.failures > 0 && h; }, 'the new one knows');
  assert.ok(first.failures >= before.failures);
  assert.strictEqual(first.since, before.since);
  const failing = await w.is('failing');
  assert.strictEqual(failing.since, before.since);
  assert.match(failing.text, /^its agent does not answer since \d\d:\d\d UTC \(\d+ times: .*\); to be restarted at \d\d:\d\d UTC if it goes on$/);
  await until(async () => (await w.health()).failures >= 8, 'more failures', 60);
  const [warned, ...others] = await w.events('unhealthy');
  assert.deepStrictEqual([warned.data.failures, warned.data.since, warned.by, others.length], [5, before.since, 'system', 0]);
  assert.deepStrictEqual([warned.data.decision.name, warned.data.decision.verdict], ['health.decide', 'keep']);
  assert.strictEqual((await w.s.call('GET', `/instances/${w.id}`, undefined, { 'If-None-Match': tag })).status, 200);
  const metrics = (await w.s.call('GET', '/metrics')).text;
  assert.match(metrics, /^cloudcode_instances_unhealthy 1$/m);
  assert.match((await w.s.call('GET', '/readyz?verbose')).body.parts.machines.why, /^1 machine fails$/);
  assert.strictEqual((await w.s.call('GET', '/instances')).body.find((m) => m.id === w.id).health.status, 'failing');
  process.kill(w.stopped[0], 'SIGCONT');
  const well = await w.is('healthy');
  assert.deepStrictEqual([well.failures, well.since, well.error, well.text], [0, null, null, null]);
  const [again, ...more] = await w.events('healthy');
  assert.deepStrictEqual([again.data.since, again.data.restarts, more.length], [before.since, 0, 0]);
  assert.ok(again.data.failures >= 8 && again.data.seconds > 0);
  assert.match((await w.s.call('GET', '/metrics')).text, /^cloudcode_instances_unhealthy 0$/m);
  assert.strictEqual((await w.s.call('GET', '/readyz?verbose')).body.parts.machines.ok, true);
});

const eager = `local P = { kind = "health", name = "eager", version = 1 }
function P.decide(m, now)
  if m.restarts > 0 then return "keep", "once is enough" end
  return "restart", "it has failed " .. m.failures .. " times"
end
return P
`;

test('a policy restarts it, which a crash of the host does not undo; it is told, explained and counted', { timeout: 200000 }, async (t) => {
  const policies = temp();
  t.after(() => fs.rmSync(policies, { recursive: true, force: true }));
  fs.copyFileSync(path.join(root, 'tests/lib/policies/plans.lua'), path.join(policies, 'plans.lua'));
  fs.writeFileSync(path.join(policies, 'health.lua'), eager);
  const w = await world(t, { policies_dir: policies });
  await w.s.call('POST', `/instances/${w.id}/exec`, { cmd: ['sh', '-c', 'echo kept > /claude-data/kept'] });
  const agent = agentOf(w);
  w.hang();
  await until(async () => (await w.machine()).status === 'STOPPING', () => `it is being restarted:\n${w.s.log.slice(-1500)}`, 60);
  w.s.child.kill('SIGKILL');
  await w.s.exited;
  await w.s.launch();
  await until(async () => (await w.events('restarted')).length === 1, () => `it was restarted:\n${w.s.log.slice(-1500)}`, 90);
  await w.is('healthy');
  const m = await w.machine();
  assert.strictEqual(m.status, 'RUNNING');
  assert.notStrictEqual(agentOf(w), agent);
  assert.ok(Date.parse(m.health.restarted_at) > Date.parse(m.created_at));
  assert.match(m.health.text, /^restarted at \d\d:\d\d UTC, for it failed$/);
  assert.strictEqual((await w.s.call('POST', `/instances/${w.id}/exec`, { cmd: ['cat', '/claude-data/kept'] })).body.stdout, 'kept\n');
  assert.deepStrictEqual((await w.events('unhealthy', 'healthy', 'restarted')).map((e) => e.type).sort(), ['healthy', 'restarted', 'unhealthy']);
  assert.strictEqual((await w.events('healthy'))[0].data.restarts, 1);
  const asked = (await w.events('stopping'))[0].data;
  assert.deepStrictEqual([asked.verb, asked.reason, asked.decision.kind], ['restart', 'it has failed 3 times', 'health']);
  const { body: d } = await w.s.call('GET', `/instances/${w.id}/decisions?at=${new Date().toISOString()}&kind=health`);
  assert.deepStrictEqual([d.kind, d.verdict, d.reason, d.file, d.note], ['health', 'restart', 'it has failed 3 times', 'health.lua', undefined], JSON.stringify(d));
  const said = spawnSync(binary, ['explain', w.short, '--kind=health', `--data-dir=${w.s.dir}`], { encoding: 'utf8' });
  assert.match(said.stdout, /^[0-9a-f]{12} at \S+: restart, "it has failed 3 times"\ndecided by generation 1, policies\/health\.lua:4\n/, said.stderr);
  assert.strictEqual(w.s.log.match(/a machine that fails is restarted/g), null); // that was the process before
});
