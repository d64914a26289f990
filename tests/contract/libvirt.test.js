// Virtual machines by a real libvirtd, emulated: the contract, and the whole host over it.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Server, binary, temp, until } = require('../lib/cchost.js');
const { Libvirtd, missing } = require('../lib/libvirtd.js');
const { contract } = require('../lib/contract.js');
const { Terminal } = require('../lib/terminal.js');

const why = missing();
const skip = why && `libvirtd: ${why}`;
if (skip && (process.env.BACKENDS || '').split(' ').includes('libvirt')) throw new Error(`this host is meant to have libvirtd: ${why}`);

let v;
test.before(async () => { if (!skip) v = await Libvirtd.start(); });
test.after(async () => {
  if (!v) return;
  const left = v.left();
  await v.end();
  assert.deepStrictEqual(left, [], 'nothing of ours is left');
});

test('the contract of drivers', { skip }, async (t) => {
  const virsh = `virsh -q -c '${v.uri}'`;
  await contract(t, 'libvirt', v.settings, {
    image: 'base', memory: 128,
    left: `${virsh} list --all`,
    halt: `${virsh} destroy cc-$SHORT`,
    remove: `${virsh} destroy cc-$SHORT && ${virsh} undefine cc-$SHORT`,
    down: 'uri=qemu+unix:///system?socket=/nobody',
  });
});

const table = (o) => `{${Object.entries(o).map(([k, x]) => `${k}=${typeof x === 'string' ? `"${x}"` : x}`).join(',')}}`;

test('a virtual machine by the API: made, used, stopped, found again by another host, ended', { skip }, async () => {
  const dir = temp();
  const { machine, data_gib } = v.settings;
  const settings = { provider: 'libvirt', libvirt_uri: v.uri, libvirt_images: v.images, libvirt_image: 'base', libvirt_type: 'qemu',
    libvirt_options: table({ machine, data_gib }), stop_grace_seconds: 5, terminal_command: 'exec sh' };
  let s = await Server.start(settings, dir);
  const made = await s.call('POST', '/instances', { name: 'vm', type: 'tiny', network: 'none', env: { WORD: 'of the record' } });
  assert.strictEqual(made.status, 201, made.text);
  const { id } = made.body;
  await s.running(id, 60);
  const sh = async (line) => {
    const r = await s.call('POST', `/instances/${id}/exec`, { cmd: ['sh', '-c', line], timeout: 20 });
    assert.strictEqual(r.status, 200, r.text);
    return r.body.stdout;
  };
  assert.strictEqual(await sh('echo kept > /claude-data/file; id -un; echo "$WORD"'), 'claude\nof the record\n');
  // B: the seed, with what the record holds, was for root alone, and the way in is no one else's.
  assert.strictEqual(await sh('cat /run/cchost/private/seed/machine.json 2>&1 | grep -c "ermission denied"'), '1\n');
  const term = await Terminal.open(`${s.url}/instances/${id}/terminal`, { 'X-API-Key': s.key });
  term.type('echo $((40 + 2))\n');
  await term.sees(/\b42\b/);
  await term.close();
  assert.match(v.virsh('dumpxml', `cc-${made.body.short}`), /listen='127.0.0.1'/);
  assert.doesNotMatch(v.virsh('dumpxml', `cc-${made.body.short}`), /0\.0\.0\.0/);
  await s.stop();
  s = await Server.start(settings, dir);
  assert.strictEqual(await sh('cat /claude-data/file'), 'kept\n');
  const stopped = await s.call('POST', `/instances/${id}/stop`);
  assert.deepStrictEqual([stopped.status, stopped.body.status], [200, 'STOPPED'], stopped.text);
  assert.strictEqual((await s.call('POST', `/instances/${id}/start`)).status < 300, true);
  await s.running(id, 60);
  assert.strictEqual(await sh('cat /claude-data/file'), 'kept\n');
  assert.ok((await s.call('DELETE', `/instances/${id}`)).status < 300);
  await until(async () => (await s.status(id)) === 'DELETED', 'it is DELETED', 30);
  assert.deepStrictEqual(v.left(), []);
  assert.deepStrictEqual(fs.readdirSync(path.join(dir, 'libvirt', 'machines')), []);
  await s.stop();
  fs.rmSync(dir, { recursive: true });
});

test('an operator is told whether it will do', { skip }, (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const check = (more = {}, env = {}) => {
    const o = { 'libvirt-uri': v.uri, 'libvirt-images': v.images, 'libvirt-image': 'base', 'libvirt-type': 'qemu', 'libvirt-network': 'cctest',
      'libvirt-options': table({ machine: 'pc', disk_gib: 1, data_gib: 1 }), 'data-dir': dir, ...more };
    const r = spawnSync(binary, ['provider', 'check', 'libvirt', '--json', ...Object.entries(o).map(([k, x]) => `--${k}=${x}`)],
      { env: { ...process.env, ...env }, encoding: 'utf8' });
    const lines = r.stdout.split('\n').filter(Boolean).map(JSON.parse);
    return { code: r.status, text: r.stdout + r.stderr, of: (what) => (lines.find((f) => f.what === what) || {}).state, says: (what) => lines.find((f) => f.what === what).sentence };
  };
  const net = path.join(dir, 'net.xml');
  fs.writeFileSync(net, "<network><name>cctest</name><bridge name='cctest0'/></network>");
  const absent = check();
  assert.deepStrictEqual([absent.code, absent.of('network')], [1, 'bad'], absent.text);
  v.virsh('net-define', net);
  assert.match(check().says('network'), /cctest is off: virsh net-start cctest/);
  v.virsh('net-start', 'cctest');
  fs.chmodSync(dir, 0o711);
  const good = check();
  v.virsh('net-destroy', 'cctest');
  v.virsh('net-undefine', 'cctest');
  assert.strictEqual(good.code, 0, good.text);
  for (const what of ['libvirtd', 'image', 'network', 'storage', 'folders', 'tools']) assert.strictEqual(good.of(what), 'ok', good.text);
  assert.strictEqual(good.of('machines'), 'warn', 'emulation is slow');
  fs.chmodSync(dir, 0o700);
  assert.match(check().says('folders'), new RegExp(`^${dir} is closed to other users`));
  const bad = (more, what, says, env) => {
    const r = check(more, env);
    assert.deepStrictEqual([r.code, r.of(what)], [1, 'bad'], r.text);
    assert.match(r.says(what), says);
  };
  bad({ 'libvirt-uri': 'qemu+unix:///system?socket=/nowhere/s' }, 'libvirtd', /No such file.*does it run\?/);
  bad({ 'libvirt-image': 'not-here' }, 'image', /no image not-here.*there are: .*base/);
  bad({ 'libvirt-options': table({ machine: 'pc', arch: 'sparc64' }) }, 'machines', /no machines of the kind qemu, sparc64/);
  bad({ 'storage-backend': 'lvm', 'lvm-vg-name': 'nobodys' }, 'storage', /lvm: /);
  bad({}, 'tools', /genisoimage \(package genisoimage\)/, { PATH: '/nowhere' });
  assert.strictEqual(check({ 'libvirt-options': table({ machine: 'pc', disk_gib: 900000, data_gib: 1 }) }).of('storage'), 'warn');
});

test('and that the socket is closed to him', { skip }, (t) => {
  const dir = fs.mkdtempSync('/tmp/cc-closed-');
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.chownSync(dir, 65534, 65534);
  const socket = path.join(v.dir, 'run', 'libvirt-sock');
  const { mode } = fs.statSync(socket);
  fs.chmodSync(socket, 0o700);
  const args = ['provider', 'check', 'libvirt', `--libvirt-uri=${v.uri}`, `--libvirt-images=${v.images}`, `--data-dir=${dir}`];
  const r = spawnSync(binary, args, { encoding: 'utf8', uid: 65534, gid: 65534, cwd: '/' });
  fs.chmodSync(socket, mode);
  assert.match(r.stdout, /^bad +permissions +.*closed to this user/m, r.stdout + r.stderr);
  assert.strictEqual(r.status, 1);
});
