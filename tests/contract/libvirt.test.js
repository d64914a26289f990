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
const { same } = require('../lib/image.js');
const { contract } = require('../lib/contract.js');
const { Terminal } = require('../lib/terminal.js');
const { Vnc } = require('../lib/vnc.js');

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

// A host of its own over the libvirtd, until the test ends.
async function host(t, more = {}) {
  const dir = temp();
  const { machine, data_gib } = v.settings;
  const s = await Server.start({ provider: 'libvirt', libvirt_uri: v.uri, libvirt_images: v.images, libvirt_image: 'base', libvirt_type: 'qemu',
    libvirt_options: table({ machine, data_gib }), stop_grace_seconds: 5, terminal_command: 'exec sh', ...more }, dir);
  t.after(async () => {
    if (s.child.exitCode === null && !s.child.signalCode) {
      await s.deleteAll();
      await until(() => v.left().length === 0, 'all are deleted', 60);
      await s.stop();
    }
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return s;
}

async function machine(s, body = {}) {
  const r = await s.call('POST', '/instances', { type: 'tiny', network: 'none', ...body });
  assert.strictEqual(r.status, 201, r.text);
  await s.running(r.body.id, 90);
  return (await s.call('GET', `/instances/${r.body.id}`)).body;
}

const shell = (s, m) => async (line) => {
  const r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line], timeout: 30 });
  assert.strictEqual(r.status, 200, r.text);
  return r.body.stdout;
};

// Points of a PNG, as the header has them.
function png(body) {
  assert.strictEqual(body.subarray(0, 8).toString('latin1'), '\x89PNG\r\n\x1a\n');
  return [body.readUInt32BE(16), body.readUInt32BE(20)];
}

test('the screen by the API: a console for one, once, for a minute; a picture', { skip }, async (t) => {
  const s = await host(t);
  const m = await machine(s);
  const at = `/instances/${m.id}/console`;
  const ask = async () => {
    const r = await s.call('GET', at);
    assert.strictEqual(r.status, 200, r.text);
    assert.strictEqual(r.headers['cache-control'], 'no-store');
    assert.ok(Math.abs(Date.parse(r.body.expires_at) - Date.now() - 60000) < 5000, r.body.expires_at);
    assert.strictEqual(r.body.protocol, 'binary');
    return r.body;
  };
  const stale = await ask();
  const one = await ask();
  const con = await Vnc.open(one.url);
  assert.strictEqual(con.ws.protocol, 'binary');
  assert.strictEqual(con.version, 'RFB 003.008\n');
  await con.login(one.password);
  assert.ok(con.width >= 640 && con.height >= 400, `${con.width}x${con.height}`);
  con.key(0xff0d);
  await until(async () => (await s.call('GET', `/instances/${m.id}/events?limit=100`)).status === 200, 'it answers');
  // once: the ticket is used up; a password that another has replaced is none; nobody comes in without
  await assert.rejects(Vnc.open(one.url), { status: 401 });
  const late = await Vnc.open(stale.url);
  await assert.rejects(late.login(stale.password), /[Aa]uthentication/);
  await late.close();
  const nobody = await Vnc.open((await ask()).url);
  await assert.rejects(nobody.login('guessed!'), /[Aa]uthentication/);
  await nobody.close();
  // rights as for the terminal
  const url = `${s.url.replace('http', 'ws')}${at}`;
  await assert.rejects(Vnc.open(url, { 'X-API-Key': s.key }), { status: 400 });
  const { ticket } = (await s.call('POST', `/instances/${m.id}/ticket`)).body;
  await assert.rejects(Vnc.open(`${url}?token=${ticket}`), { status: 400 }, 'a ticket for terminals');
  await assert.rejects(Vnc.open((await ask()).url, { Origin: 'https://evil.example' }), { status: 403 });
  await assert.rejects(Vnc.open((await ask()).url, {}, ['tty']), { status: 400 });
  const again = await s.call('GET', `${at}?token=${(await ask()).ticket}`, undefined, { 'X-API-Key': undefined });
  assert.strictEqual(again.status, 401, 'a ticket gives no ticket');
  // and it runs out: at qemu itself, without us
  const passwords = v.virsh('qemu-monitor-command', `cc-${m.short}`, '--hmp', 'info vnc');
  assert.match(passwords, /vnc/);
  v.virsh('qemu-monitor-command', `cc-${m.short}`, '--hmp', 'expire_password vnc now');
  const out = await ask().then(async (o) => { v.virsh('qemu-monitor-command', `cc-${m.short}`, '--hmp', 'expire_password vnc now'); return o; });
  const over = await Vnc.open(out.url);
  await assert.rejects(over.login(out.password), /[Aa]uthentication/);
  await over.close();
  const picture = await new Promise((resolve, reject) => {
    require('node:http').get(`${s.url}/instances/${m.id}/screenshot`, { headers: { 'X-API-Key': s.key } }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('end', () => resolve({ status: res.statusCode, type: res.headers['content-type'], body: Buffer.concat(parts) }));
    }).on('error', reject);
  });
  assert.deepStrictEqual([picture.status, picture.type, png(picture.body)], [200, 'image/png', [con.width, con.height]]);
  // a stop ends what is open, with a reason
  await s.call('POST', `/instances/${m.id}/stop`);
  await con.closed;
  assert.deepStrictEqual([con.code, con.reason], [1001, 'the machine is being stopped']);
  for (const what of ['console', 'screenshot']) assert.strictEqual((await s.call('GET', `/instances/${m.id}/${what}`)).status, 409, what);
});

test('suspended and resumed by the API: its memory stays, and so does what it costs', { skip }, async (t) => {
  const s = await host(t);
  const m = await machine(s);
  const sh = shell(s, m);
  const boot = await sh('cat /proc/sys/kernel/random/boot_id');
  let r = await s.call('POST', `/instances/${m.id}/suspend`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'RUNNING'], r.text);
  assert.strictEqual(v.virsh('domstate', `cc-${m.short}`), 'paused');
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['true'] })).status, 409);
  assert.strictEqual((await s.call('GET', `/instances/${m.id}/screenshot`)).status, 200, 'what it showed last');
  await s.call('POST', `/instances/${m.id}/suspend`);
  r = await s.call('POST', `/instances/${m.id}/resume`);
  assert.deepStrictEqual([r.status, r.body.status, r.body.suspended_at], [200, 'RUNNING', undefined], r.text);
  assert.strictEqual(await sh('cat /proc/sys/kernel/random/boot_id'), boot, 'it did not boot again');
  // stopped while it stands still: its file systems are unmounted all the same
  await sh('echo unsynced >/claude-data/f');
  await s.call('POST', `/instances/${m.id}/suspend`);
  r = await s.call('POST', `/instances/${m.id}/stop`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED'], r.text);
  await s.call('POST', `/instances/${m.id}/start`);
  await s.running(m.id, 60);
  assert.strictEqual(await sh('cat /claude-data/f'), 'unsynced\n');
});

test('snapshots and another type by the API', { skip }, async (t) => {
  const s = await host(t);
  const m = await machine(s);
  const sh = shell(s, m);
  const post = async (what, body, status = 200) => {
    const r = await s.call('POST', `/instances/${m.id}/${what}?wait=120`, body);
    if (r.status === 202) {
      const op = r.headers.location;
      await until(async () => (await s.call('GET', op)).body.state === 'done', `${what} is done`, 120);
    } else {
      assert.strictEqual(r.status, status, r.text);
    }
    return (await s.call('GET', `/instances/${m.id}`)).body;
  };
  await sh('echo before >/home/claude/f; echo before >/claude-data/f; sync');
  let now = await post('snapshots', { name: 'good' }, 201);
  assert.deepStrictEqual([now.status, now.snapshots.map((x) => x.name)], ['RUNNING', ['good']]);
  await sh('echo after >/home/claude/f; echo after >/claude-data/f; sync');
  const facts = 'grep -c ^processor /proc/cpuinfo; cat /sys/class/block/vda/size; free -m | awk "/^Mem/ { print (\\$2 > 1500) }"';
  const was = (await sh(facts)).split('\n');
  now = await post('resize', { type: 'small' });
  const types = Object.fromEntries((await s.call('GET', '/types')).body.map((x) => [x.name, x]));
  const is = (await sh(facts)).split('\n');
  assert.deepStrictEqual([now.type, now.resources.disk_gib], ['small', types.small.disk_gib]);
  assert.deepStrictEqual(is.slice(0, 2), [String(Math.ceil(types.small.vcpu)), String(types.small.disk_gib * 2097152)], `before: ${was}`);
  assert.strictEqual(await sh('cat /claude-data/f'), 'after\n');
  now = await post('snapshots/good/restore');
  assert.strictEqual(now.status, 'RUNNING');
  assert.strictEqual(await sh('cat /home/claude/f /claude-data/f'), 'before\nbefore\n');
  assert.strictEqual((await sh(facts)).split('\n')[1], is[1], 'a disk that has grown does not shrink with it');
  now = await post('resize', { type: 'tiny' });
  assert.deepStrictEqual([now.type, now.resources.disk_gib], ['tiny', types.small.disk_gib]);
  assert.deepStrictEqual((await sh(facts)).split('\n').slice(0, 2), [String(Math.ceil(types.tiny.vcpu)), is[1]]);
  await s.call('POST', `/instances/${m.id}/stop`);
  await s.call('DELETE', `/instances/${m.id}/snapshots/good`);
  assert.deepStrictEqual((await s.call('GET', `/instances/${m.id}/snapshots`)).body, []);
});

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
  await same(sh);
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
  assert.strictEqual(good.of('firewall'), 'warn', 'it is not ours to set');
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
  const program = path.join(dir, 'cchost'); // where we stand may be closed to him, too
  fs.copyFileSync(binary, program);
  fs.chownSync(dir, 65534, 65534);
  const socket = path.join(v.dir, 'run', 'libvirt-sock');
  const { mode } = fs.statSync(socket);
  fs.chmodSync(socket, 0o700);
  const args = ['provider', 'check', 'libvirt', `--libvirt-uri=${v.uri}`, `--libvirt-images=${v.images}`, `--data-dir=${dir}`];
  const r = spawnSync(program, args, { encoding: 'utf8', uid: 65534, gid: 65534, cwd: '/' });
  fs.chmodSync(socket, mode);
  assert.match(r.stdout, /^bad +permissions +.*closed to this user/m, r.stdout + r.stderr);
  assert.strictEqual(r.status, 1);
});
