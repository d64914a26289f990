// NixOS once, machines many times: `cchost image nixos` and machines of image nixos.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { until } = require('../lib/cchost.js');
const { CrashProxy } = require('../lib/crashproxy.js');
const { World, skip } = require('./world.js');

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxbq6JLXbQOyaUAG2QU5fUugEgSMPf6QEiNX8miEDgK a@b';
const quiet = { checked: false };
const snapshots = (w) => [...w.z.world.images.values()].filter((i) => i.type === 'snapshot');
const clear = (w) => { for (const i of snapshots(w)) w.z.world.deleteImage(i); };

async function build(w, ...more) {
  const r = await w.cli('image', 'nixos', 'build', ...more);
  assert.strictEqual(r.code, 0, r.out);
  return /^image (\d+) of configuration ([0-9a-f]{40}) is there$/m.exec(r.out).slice(1);
}

test('built once, it is what any number of machines are made from, and none knows another', { skip }, async (t) => {
  const w = await World.start(t);
  const s = await w.host();
  assert.match((await w.fails(s, { name: 'early', image: 'nixos' })).error, /there is no image nixos for x86: "cchost image nixos build" makes it/);
  await s.call('DELETE', '/instances/early');
  const [id, hash] = await build(w);
  assert.strictEqual(w.phases(), 'kexec disko install', 'what becomes an image is never booted');
  assert.ok(!w.calls().some((c) => /copy-host-keys|extra-files/.test(c.args)), 'and has nobody\'s keys');
  const [image] = snapshots(w);
  assert.deepStrictEqual(image.labels, { cchost: '1', 'cchost-image': 'nixos', 'cchost-hash': hash });
  assert.strictEqual(image.description, `cchost nixos ${hash.slice(0, 12)}`);
  assert.strictEqual(w.z.world.servers.size, 0, 'the server that it was made on is gone');
  assert.deepStrictEqual(fs.readdirSync(path.join(w.data, 'hetzner/machines')), []);
  const files = fs.readdirSync(path.join(w.z.machines.dir, `image-${id}`), { recursive: true });
  assert.ok(!files.some((f) => /ssh_host|authorized_keys|machine-id|cloud-instance/.test(f)), files.join());
  // the same again is no work
  w.forgetCalls();
  const before = w.z.asked('POST', /./).length;
  assert.deepStrictEqual(await build(w), [id, hash]);
  assert.strictEqual(w.z.asked('POST', /./).length, before);
  assert.strictEqual(w.phases(), '');
  // machines
  const a = await w.make(s, { name: 'a', image: 'nixos', ssh_keys: [KEY], env: { WORD: 'x' } });
  const b = await w.make(s, { name: 'b', image: 'nixos' });
  assert.strictEqual(w.phases(), '', 'without nixos-anywhere');
  for (const m of [a, b]) {
    assert.strictEqual(w.z.named(m.short).image.id, Number(id));
    assert.strictEqual((await w.run(s, m, 'test -e /etc/NIXOS && cat /etc/cloud-instance/id && hostname && mountpoint -q /claude-data && echo data')).stdout, `${m.short}\ncc-${m.short}\ndata\n`);
    assert.strictEqual(w.asRoot(m, 'ls /etc/ssh | grep "ssh_host_.*key$"').trim(), 'ssh_host_ed25519_key', 'the first contact\'s key is gone');
  }
  assert.strictEqual(w.asRoot(a, 'cat /etc/ssh/ssh_host_ed25519_key.pub').trim(), a.ssh.host_key, 'pinned');
  assert.notStrictEqual(w.asRoot(b, 'cat /etc/ssh/ssh_host_ed25519_key.pub'), w.asRoot(a, 'cat /etc/ssh/ssh_host_ed25519_key.pub'));
  assert.strictEqual(w.asRoot(a, 'cat /etc/cloud-instance/authorized_keys.d/claude'), `${KEY}\n`);
  assert.strictEqual(w.asRoot(b, 'cat /etc/cloud-instance/authorized_keys.d/claude'), '');
  // through a stop, onto the image of that day
  await w.run(s, a, 'echo kept >/claude-data/file');
  assert.strictEqual((await s.call('POST', '/instances/a/stop')).body.status, 'STOPPED');
  fs.appendFileSync(path.join(w.flake, 'hosts/cloud-instance/default.nix'), '# another day\n');
  const [next, other] = await build(w);
  assert.ok(next !== id && other !== hash, 'a changed configuration is another image');
  assert.ok((await s.call('POST', '/instances/a/start')).status < 300);
  await s.running(a.id, 60);
  assert.strictEqual(w.z.named(a.short).image.id, Number(next));
  assert.strictEqual((await w.run(s, a, 'cat /claude-data/file')).stdout, 'kept\n');
  // what there is, and what may go
  let r = await w.cli('image', 'nixos', 'list');
  assert.deepStrictEqual(r.out.trim().split('\n').map((l) => l.split(/\s+/).filter(Boolean)).map((l) => [l[0] === '*', ...l.filter((x) => x !== '*').slice(0, 2)]).sort(), [[false, id, 'available'], [true, next, 'available']].sort());
  r = await w.cli('image', 'nixos', 'prune');
  assert.strictEqual(r.out, `${id} is deleted\n1 deleted, 1 kept\n`);
  assert.strictEqual((await w.run(s, b, 'echo in')).stdout, 'in\n', 'machines live on without the image that they were made from');
  clear(w);
});

test('a machine cannot be made from an image of ours that is not ours, nor can others\' be deleted', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  const theirs = { ...w.z.world.images.get(11), id: 77, name: null, type: 'snapshot', labels: { app: 'shop', 'cchost-image': 'nixos' }, created: '2099-01-01T00:00:00+00:00' };
  w.z.world.images.set(77, theirs);
  const s = await w.host();
  assert.match((await w.fails(s, { image: 'nixos' })).error, /there is no image nixos/);
  const r = await w.cli('image', 'nixos', 'prune');
  assert.strictEqual(r.out, '0 deleted, 0 kept\n');
  assert.ok(w.z.world.images.delete(77));
});

test('a build that fails leaves nothing, and says why', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  w.fail('install', 'error: build of \'/nix/store/x.drv\' failed\n');
  let r = await w.cli('image', 'nixos', 'build');
  assert.strictEqual(r.code, 1);
  assert.match(r.out, /nixos-anywhere's phase install ended with 1: .*error: build of '\/nix\/store\/x\.drv' failed/);
  assert.deepStrictEqual(w.z.world.left(), []);
  w.mend('install');
  w.z.world.failActions.push({ command: 'create_image', code: 'action_failed' });
  r = await w.cli('image', 'nixos', 'build');
  assert.match(r.out, /Hetzner could not do it: a fault on demand .*; the same command goes on where it was/);
  assert.deepStrictEqual(snapshots(w), [], 'what is not whole is nobody\'s');
  w.forgetCalls();
  await build(w);
  assert.strictEqual(w.phases(), '', 'and it does');
  clear(w);
});

test('the command says how it is called, and what is missing', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  for (const [words, code, says] of [[['image', 'nixos'], 2, /usage: cchost image nixos/], [['image', 'debian', 'build'], 2, /usage/], [['image', 'nixos', 'eat'], 2, /usage/],
    [['image', 'nixos', 'build', '--seconds=0'], 2, /--seconds/], [['image', 'nixos', 'hash', '--hcloud-options={}'], 1, /no flake is set/],
    [['image', 'nixos', 'hash', '--hcloud-options={nixos={flake="/nowhere#x"}}'], 1, /nowhere/]]) {
    const r = await w.cli(...words);
    assert.strictEqual(r.code, code, `${words}: ${r.out}`);
    assert.match(r.out, says);
  }
  fs.rmSync(path.join(w.flake, 'flake.lock'));
  const r = await w.cli('provider', 'check', 'hetzner');
  for (const line of [/^ok +nixos-anywhere +.*can be run/m, /^warn +nixos flake +.*has no flake\.lock/m, /^warn +nixos image +There is none yet: "cchost image nixos build"/m, /^(ok|warn) +nix +/m]) assert.match(r.out, line);
  assert.strictEqual(r.code, 0, r.out);
});

test('provider check says when an installation at each start would be cut off', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  const check = (...more) => w.cli('provider', 'check', 'hetzner', ...more);
  const words = (state, call, starting) => new RegExp(`^${state} +seconds +.*nixos-anywhere.*PROVIDER_SECONDS \\(${call}\\) and STATUS_SECONDS.STARTING \\(${starting}\\) would cut it off: set 3600 and 7200`, 'm');
  let r = await check('--provider-seconds=60');
  assert.match(r.out, words('warn', 60, 900), 'it is not the image of all');
  assert.strictEqual(r.code, 0, r.out);
  r = await check('--provider-seconds=60', '--hcloud-image=nixos-anywhere');
  assert.match(r.out, words('bad', 60, 900));
  assert.strictEqual(r.code, 1, r.out);
  r = await check('--provider-seconds=3600', '--hcloud-image=nixos-anywhere');
  assert.match(r.out, words('bad', 3600, 900));
  r = await check('--provider-seconds=3600', '--status-seconds={STARTING=7200}', '--hcloud-image=nixos-anywhere');
  assert.doesNotMatch(r.out, /seconds/);
  r = await check('--provider-seconds=60', '--hcloud-options={}');
  assert.match(r.out, /^ok +credentials/m);
  assert.doesNotMatch(r.out, /nixos-anywhere/, 'who has no flake is not told of it');
});

for (const phase of ['kexec', 'disko', 'install']) {
  test(`a build killed in ${phase} is gone on with on the same server`, { skip }, async (t) => {
    const w = await World.start(t, quiet);
    for (const when of ['before', 'after']) {
      w.forgetCalls();
      w.hold(phase, when);
      const dead = w.cli('image', 'nixos', 'build');
      await w.held(phase, when);
      const [server] = [...w.z.world.servers.values()];
      assert.match(server.name, /^cchost-image-[0-9a-f]{12}$/);
      w.child.kill('SIGKILL');
      await dead;
      if (when === 'before') w.killTool();
      w.free(phase, when);
      const r = await w.cli('image', 'nixos', 'list');
      if (!/available/.test(r.out)) assert.match(r.out, /^\* cchost-image-[0-9a-f]{12} +building/m);
      await build(w);
      assert.strictEqual(w.z.asked('POST', '/servers').length, when === 'before' ? 1 : 2, 'on one server each');
      assert.strictEqual(fs.readFileSync(path.join(w.z.machines.dir, `image-${snapshots(w)[0].id}`, 'etc/wiped'), 'utf8').trim(), '1');
      clear(w);
      assert.deepStrictEqual(w.z.world.left(), []);
    }
  });
}

test('killed before and after any request that changes something, a build comes to one image and nothing else', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  const p = await CrashProxy.start({ to: { host: '127.0.0.1', port: w.z.port } });
  t.after(() => p.stop());
  w.endpoint = `http://127.0.0.1:${p.port}/v1`;
  let points = 0;
  for (let n = 1, fired = true; fired; n++) {
    for (const when of ['before', 'after']) {
      p.arm(n, when, () => w.child.kill('SIGKILL'));
      const r = await w.cli('image', 'nixos', 'build');
      fired = p.fired;
      p.disarm();
      if (fired) await build(w);
      else assert.strictEqual(r.code, 0, r.out);
      assert.strictEqual(snapshots(w).filter((i) => i.status === 'available').length, 1, `request ${n}, ${when}`);
      assert.strictEqual(w.z.world.servers.size, 0, `request ${n}, ${when}`);
      clear(w);
      w.z.world.firewalls.clear();
      w.z.world.keys.clear();
      if (!fired) break;
      points++;
    }
  }
  assert.ok(points >= 10, `${points} points`);
});

// Hetzner's create_image makes one more image with each request that it takes, and each costs.
const made = { method: 'POST', path: /create_image$/, after: true };
const lost = { 'a 504': [{ ...made, status: 504, code: 'timeout' }], 'a 502': [{ ...made, status: 502, code: 'bad_gateway' }],
  'a 502 with no word of it': [{ ...made, status: 502 }], 'a 504, and then locked by it': [{ ...made, status: 504, code: 'timeout' }, { ...made, after: false, status: 423, code: 'locked' }] };
for (const [what, faults] of Object.entries(lost)) {
  test(`a snapshot that was made for all that its answer says is not made twice: ${what}`, { skip }, async (t) => {
    const w = await World.start(t, quiet);
    const asked = () => w.z.asked('POST', /create_image$/).length;
    const { list } = w.z.world;
    // one that is not told of at once: who looks sees it once all of the faults are met
    w.z.world.list = function (kind, key, query) { return list.call(this, query.type === 'snapshot' && asked() < faults.length ? [] : kind, key, query); };
    for (const f of faults) w.z.fault(f);
    const [id] = await build(w);
    assert.deepStrictEqual([w.z.faults, asked()], [[], faults.length]);
    assert.deepStrictEqual(snapshots(w).map((i) => [String(i.id), i.status]), [[id, 'available']]);
    assert.strictEqual(w.z.world.servers.size, 0);
    clear(w);
  });
}

test('a snapshot whose request came to nothing is asked for again', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  w.z.fault({ ...made, after: false, status: 504, code: 'timeout' });
  const [id] = await build(w);
  assert.strictEqual(w.z.asked('POST', /create_image$/).length, 2);
  assert.deepStrictEqual(snapshots(w).map((i) => [String(i.id), i.status]), [[id, 'available']]);
  clear(w);
});

test('two builds at once make one', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  const both = await Promise.all([w.cli('image', 'nixos', 'build'), w.cli('image', 'nixos', 'build')]);
  assert.deepStrictEqual(both.map((r) => r.code), [0, 0], both.map((r) => r.out).join());
  assert.strictEqual(w.phases(), 'kexec disko install');
  assert.strictEqual(snapshots(w).length, 1);
  clear(w);
});

test('prune takes away what was left of a build of another configuration', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  w.hold('disko', 'before');
  const dead = w.cli('image', 'nixos', 'build');
  await w.held('disko', 'before');
  w.child.kill('SIGKILL');
  await dead;
  w.killTool();
  w.free('disko', 'before');
  fs.appendFileSync(path.join(w.flake, 'lib.nix'), '# changed\n');
  const r = await w.cli('image', 'nixos', 'prune');
  assert.match(r.out, /^cchost-image-[0-9a-f]{12} is deleted\n1 deleted, 0 kept\n$/);
  await until(() => w.z.machines.running.size === 0, 'it is gone');
});
