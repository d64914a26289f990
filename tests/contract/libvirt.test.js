// Virtual machines by a real libvirtd, emulated: the contract, and the whole host over it.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, temp, until } = require('../lib/cchost.js');
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
