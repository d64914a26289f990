// kill -9 of the host right before and right after each step of a create, a start, a stop and a delete of `local`: what comes back is
// exactly one machine, or none, and nothing else of it: no volume, no directory, no uid slot, no port, no cgroup, no process.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, temp, until } = require('../lib/cchost.js');
const { KillAt, crashPoints } = require('../lib/killat.js');
const { traces } = require('../lib/traces.js');

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Ef0Jc4LpfvWRX3u5oTlEJcJ3oV5c5k0kQnZVQp7vX test';
const entries = (dir, what) => fs.readdirSync(path.join(dir, 'local', what)).filter((n) => !n.startsWith('.')).sort();

// What there is of machines below a host's directory.
function has(s) {
  const { processes, cgroups, mounts } = traces(s.dir, s.shorts);
  return { machines: entries(s.dir, 'machines'), volumes: entries(s.dir, 'volumes'), slots: entries(s.dir, 'slots'), ports: entries(s.dir, 'ports'),
    trash: entries(s.dir, 'trash'), mounts, cgroups: new Set(cgroups.map((c) => path.basename(c))).size,
    machine: processes.filter((p) => /cchost-(init|launch)/.test(p)).length };
}

function points(t, act, look) {
  return crashPoints({
    act, look,
    begin: async () => {
      const dir = temp();
      const trap = new KillAt(['local', '/sys/fs/cgroup'].map((d) => (d[0] === '/' ? d : `${path.join(dir, d)}/`)));
      const s = await Server.start({ terminal_command: 'exec sh', stop_grace_seconds: 1 }, dir, { env: trap.env });
      t.after(() => s.child.kill('SIGKILL')); // of a test that failed
      return Object.assign(s, { trap, shorts: [] });
    },
    finish: async (s, what) => {
      await s.deleteAll();
      await until(async () => (await s.call('GET', '/instances')).body.length === 0, `${what}: all are deleted`, 40);
      const { machines, slots, ports, trash, mounts, cgroups, volumes } = has(s);
      assert.deepStrictEqual({ machines, slots, ports, trash, mounts, cgroups }, { machines: [], slots: [], ports: [], trash: [], mounts: [], cgroups: 0 }, what);
      assert.ok(volumes.length <= 1, `${what}: at most the data of the one that there was`);
      await s.stop();
      s.trap.end();
      fs.rmSync(s.dir, { recursive: true, force: true });
    },
  });
}

const make = async (s) => {
  const r = await s.call('POST', '/instances', { name: 'c', ssh_keys: [KEY] });
  s.shorts = [r.body.short];
  await s.running('c', 40);
};

async function one(s, what) {
  await s.running('c', 60);
  const { short } = (await s.call('GET', '/instances/c')).body;
  s.shorts = [short];
  const now = has(s);
  assert.deepStrictEqual([now.machines, now.volumes, now.trash], [[short], [`cc-${short}`], []], what);
  if (process.getuid() === 0) assert.strictEqual(now.slots.length, 1, what);
  assert.ok(now.ports.length <= 1, `${what}: ${now.ports}`);
  assert.ok(now.cgroups <= 1, what);
  const r = await s.call('POST', '/instances/c/exec', { cmd: ['sh', '-c', 'echo here >/claude-data/f && cat /claude-data/f'] });
  assert.strictEqual(r.body.stdout, 'here\n', `${what}: ${r.text}`);
}

const create = async (t) => {
  const steps = await points(t, async (s, arm) => {
    arm();
    await make(s);
  }, one);
  t.diagnostic(`${steps.length} steps`);
  for (const what of [/^mkdir .*machines/, /^orders /, /^program cchost-init/, /^rename .*machine.json/, /^mkdir .*volumes/]) {
    assert.ok(steps.some((x) => what.test(x)), `${what} among ${steps.join('\n')}`);
  }
};

// The step at which the host was killed may have been another's, before the DELETE was heard: then the machine runs on, and whoever
// got no answer asks again.
async function ended(s) {
  if (await s.status('c').catch(() => null) === 'RUNNING') await s.call('DELETE', '/instances/c');
}

const remove = async (t) => {
  const steps = await points(t, async (s, arm) => {
    await make(s);
    arm();
    await s.call('DELETE', '/instances/c');
  }, async (s, what) => {
    await ended(s);
    await until(async () => (await s.call('GET', '/instances')).body.length === 0, `${what}: it is deleted`, 60);
    const now = has(s);
    assert.deepStrictEqual([now.machines, now.slots, now.ports, now.trash, now.cgroups, now.machine], [[], [], [], [], 0, 0], what);
  });
  t.diagnostic(`${steps.length} steps`);
  assert.ok(steps.some((x) => /^rename .*trash/.test(x)), steps.join('\n'));
};

const again = async (t) => {
  const steps = await points(t, async (s, arm) => {
    await make(s);
    await s.call('POST', '/instances/c/exec', { cmd: ['sh', '-c', 'echo kept >/claude-data/f; echo kept >~/f'] });
    arm();
    await s.call('POST', '/instances/c/stop');
    await s.call('POST', '/instances/c/start');
  }, async (s, what) => {
    await until(async () => ['RUNNING', 'STOPPED'].includes(await s.status('c')), `${what}: it is settled`, 60);
    assert.ok((await s.call('POST', '/instances/c/start')).status < 300, what);
    await s.running('c', 60);
    const r = await s.call('POST', '/instances/c/exec', { cmd: ['sh', '-c', 'cat /claude-data/f ~/f'] });
    assert.strictEqual(r.body.stdout, 'kept\nkept\n', `${what}: ${r.text}`);
    assert.strictEqual(has(s).machines.length, 1, what);
  });
  t.diagnostic(`${steps.length} steps`);
  assert.ok(steps.length >= 3, steps.join('\n'));
};

// Side by side: they mostly wait.
test('the host is killed', { concurrency: 3 }, async (t) => {
  await Promise.all([
    t.test('at any step of a create: it comes back to exactly one machine', create),
    t.test('at any step of a delete: it comes back to no machine', remove),
    t.test('at any step of a start or a stop: the data are whole', again),
  ]);
});
