// Disks of virtual machines: the same cases for files in a directory and for LVM, thick and thin. LVM needs a device mapper,
// which the kernel here may not have: so it is real, in a small emulated guest.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { temp, root } = require('../lib/cchost.js');
const { contract, cases, program } = require('../lib/contract.js');
const { has } = require('../lib/dockerd.js');

const why = ['qemu-img', 'qemu-system-x86_64', 'cpio', 'lvm'].filter((p) => !has(p)).map((p) => `not installed: ${p}`)[0];
if (why && (process.env.BACKENDS || '').split(' ').includes('lvm')) throw new Error(`this host is meant to have LVM: ${why}`);

test('dir', { skip: !has('qemu-img') && 'not installed: qemu-img' }, async (t) => {
  const dir = temp();
  fs.writeFileSync(path.join(dir, 'image'), 'image');
  fs.truncateSync(path.join(dir, 'image'), 1 << 20);
  await contract(t, 'storage dir', { dir: path.join(dir, 'volumes') }, { image: path.join(dir, 'image') });
  assert.deepEqual(fs.readdirSync(path.join(dir, 'volumes')), []);
  fs.rmSync(dir, { recursive: true });
});

test('lvm', async (t) => {
  const r = spawnSync(path.join(__dirname, 'lvm_guest.sh'), [path.join(root, 'build', 'guest-lvm'), program], { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (r.status === 77 && !(process.env.BACKENDS || '').split(' ').includes('lvm')) return t.skip(r.stdout.trim());
  const [thick, thin] = ['thick', 'thin'].map((name) => r.stdout.split(`== ${name}`)[1]?.split('== ')[0] || '');
  await t.test('thick', async (s) => assert.equal(await cases(s, thick), 14, r.stdout + r.stderr));
  await t.test('thin', async (s) => assert.equal(await cases(s, thin), 14, r.stdout + r.stderr));
  return undefined;
});
