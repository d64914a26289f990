// kill -9 of the host right before and right after each step of a create and a delete on a real libvirtd: files, tools (qemu-img,
// genisoimage) and calls of libvirt's protocol. What comes back is exactly one machine, or none: no domain, disk, seed or port of it.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Server, temp, until } = require('../lib/cchost.js');
const { KillAt, crashPoints } = require('../lib/killat.js');
const { Libvirtd, missing } = require('../lib/libvirtd.js');

const why = missing();
const skip = why && `libvirtd: ${why}`;
if (skip && (process.env.BACKENDS || '').split(' ').includes('libvirt')) throw new Error(`this host is meant to have libvirtd: ${why}`);

let v;
test.before(async () => { if (!skip) v = await Libvirtd.start(); });
test.after(async () => { if (v) await v.end(); });

const entries = (s, what) => fs.readdirSync(path.join(s.dir, 'libvirt', what)).sort();
// TCP ports that somebody listens at, in the network that is this test's alone: machines' consoles, and the hosts' own
const consoles = () => execFileSync('ss', ['-Hltn']).toString().split('\n').filter((l) => /127\.0\.0\.1:(59|57)\d\d /.test(l)).length;
const guests = (s) => fs.readdirSync('/proc').filter((p) => {
  if (!/^\d+$/.test(p)) return false;
  try {
    const line = fs.readFileSync(`/proc/${p}/cmdline`, 'latin1');
    return /^\S*qemu-system/.test(line) && line.includes(s.dir);
  } catch { return false; }
}).length;

function settings() {
  const { machine, data_gib } = v.settings;
  return { provider: 'libvirt', libvirt_uri: v.uri, libvirt_images: v.images, libvirt_image: 'base', libvirt_type: 'qemu',
    libvirt_options: `{machine="${machine}",data_gib=${data_gib}}`, stop_grace_seconds: 1, terminal_command: 'exec sh' };
}

function points(t, act, look) {
  return crashPoints({
    act, look,
    begin: async () => {
      const dir = temp();
      const trap = new KillAt(['machines/', 'volumes/'].map((d) => path.join(dir, 'libvirt', d)), '/seed/'); // whose files are put together anew
      const s = await Server.start(settings(), dir, { env: trap.env });
      t.after(() => s.child.kill('SIGKILL')); // of a test that failed
      return Object.assign(s, { trap });
    },
    finish: async (s, what) => {
      await s.deleteAll();
      await until(() => v.left().length === 0 && guests(s) === 0, `${what}: no domain is left`, 40);
      assert.deepStrictEqual(entries(s, 'machines'), [], what);
      assert.deepStrictEqual(entries(s, 'volumes'), [], `${what}: no disk is left`);
      assert.strictEqual(consoles(), 0, `${what}: nobody listens for it`);
      await s.stop();
      s.trap.end();
      fs.rmSync(s.dir, { recursive: true, force: true });
    },
  });
}

const make = async (s) => {
  await s.call('POST', '/instances', { name: 'c', type: 'tiny', network: 'none' });
  await s.running('c', 120);
};

// What there must be once, and what of it may never have happened twice.
async function one(s, what) {
  await s.running('c', 120);
  const { short } = (await s.call('GET', '/instances/c')).body;
  assert.deepStrictEqual(v.left(), [`cc-${short}`], what);
  assert.strictEqual(guests(s), 1, what);
  assert.deepStrictEqual(entries(s, 'machines'), [short], what);
  assert.deepStrictEqual(entries(s, 'volumes'), [`cc-${short}..root.qcow2`, `cc-${short}.qcow2`], what);
  assert.ok(entries(s, `machines/${short}`).includes('seed.iso'), what);
  assert.deepStrictEqual(entries(s, `machines/${short}`).filter((n) => /\.new$|^seed$/.test(n)), [], `${what}: nothing half-made`);
  const r = await s.call('POST', '/instances/c/exec', { cmd: ['sh', '-c', 'echo here >/claude-data/f && cat /claude-data/f'], timeout: 20 });
  assert.strictEqual(r.body.stdout, 'here\n', `${what}: ${r.text}`);
}

const among = (steps, list) => {
  for (const what of list) assert.ok(steps.some((x) => what.test(x)), `${what} among\n${steps.join('\n')}`);
};

test('killed at any step of a create, the host comes back to exactly one virtual machine', { skip }, async (t) => {
  const steps = await points(t, async (s, arm) => {
    arm();
    await make(s);
  }, one);
  t.diagnostic(`${steps.length} steps`);
  among(steps, [/^mkdir .*machines/, /^program qemu-img/, /^program genisoimage/, /^rename .*seed\.iso$/, /^libvirt define/, /^libvirt create/]);
});

// The step at which the host was killed may have been another's, before the DELETE was heard: then the machine runs on, and whoever
// got no answer asks again.
async function ended(s) {
  if (await s.status('c').catch(() => null) === 'RUNNING') await s.call('DELETE', '/instances/c');
}

test('killed at any step of a delete, the host comes back to no virtual machine', { skip }, async (t) => {
  const steps = await points(t, async (s, arm) => {
    await make(s);
    arm();
    await s.call('DELETE', '/instances/c');
  }, async (s, what) => {
    await ended(s);
    await until(async () => (await s.call('GET', '/instances')).body.length === 0, `${what}: it is deleted`, 120);
    assert.deepStrictEqual([v.left(), entries(s, 'machines'), entries(s, 'volumes'), guests(s)], [[], [], [], 0], what);
  });
  t.diagnostic(`${steps.length} steps`);
  among(steps, [/^libvirt destroy/, /^libvirt undefine/, /^unlink .*root\.qcow2/, /^rmdir .*machines/]);
});
