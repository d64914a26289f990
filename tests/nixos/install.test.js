// Machines of image nixos-anywhere: NixOS put onto a server of theirs, phase by phase, with a real ssh server on loopback as target.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { promisify } = require('node:util');
const { binary, until } = require('../lib/cchost.js');
const { World, skip } = require('./world.js');

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxbq6JLXbQOyaUAG2QU5fUugEgSMPf6QEiNX8miEDgK a@b';
const PHASES = ['kexec', 'disko', 'install', 'reboot'];
const quiet = { checked: false }; // what is asked of Hetzner is the same in all of them: the first has it checked

// What the machine has been through: how often its disk was wiped.
const wiped = (w, m) => w.asRoot(m, 'cat /etc/wiped').trim();

test('a machine becomes NixOS in four phases, each once, and is what was asked for', { skip }, async (t) => {
  const w = await World.start(t);
  const s = await w.host();
  const m = await w.make(s, { name: 'box', image: 'nixos-anywhere', env: { WORD: 'one two' }, ssh_keys: [KEY], volumes: [{ id: 'more', path: '/more data' }] });
  assert.strictEqual(w.phases(), PHASES.join(' '));
  assert.strictEqual(m.image, 'nixos-anywhere');
  const said = await w.run(s, m, 'test -e /etc/NIXOS && cat /etc/cloud-instance/id && hostname && id -un && echo "$WORD" && mountpoint -q /claude-data && mountpoint -q "/more data" && stat -c %U /claude-data');
  assert.strictEqual(said.stdout, `${m.short}\ncc-${m.short}\nclaude\none two\nclaude\n`, said.stderr);
  // its command line
  const [kexec, disko, install, reboot] = w.calls().map((c) => c.args);
  const ip = w.z.named(m.short).public_net.ipv4.ip;
  const dir = path.join(s.dir, 'hetzner');
  const common = `'--flake' '${w.flake}#cloud-instance' '--target-host' 'root@${ip}' '-p' '22' '--post-kexec-ssh-port' '22' '-i' '${dir}/id' '--build-on' 'auto' '--phases'`;
  assert.strictEqual(kexec, `${common} 'kexec'`);
  assert.strictEqual(disko, `${common} 'disko'`);
  assert.strictEqual(install, `${common} 'install' '--copy-host-keys' '--extra-files' '${dir}/machines/${m.short}/extra'`);
  assert.strictEqual(reboot, `${common} 'reboot'`);
  // keys: the host's for root, the user's for claude, one host key through it all, and none in user data that lasts
  assert.match(w.asRoot(m, 'cat /etc/cloud-instance/authorized_keys.d/root'), /^ecdsa-sha2-nistp256 \S+ cchost\n$/);
  assert.strictEqual(w.asRoot(m, 'cat /etc/cloud-instance/authorized_keys.d/claude'), `${KEY}\n`);
  assert.strictEqual(w.asRoot(m, 'cat /etc/ssh/ssh_host_ed25519_key.pub').trim(), m.ssh.host_key);
  assert.strictEqual(w.asRoot(m, 'ls /etc/ssh | grep -c "ssh_host_.*key$"').trim(), '1');
  assert.strictEqual(w.asRoot(m, 'cat "/etc/cloud-instance/volumes" | wc -l').trim(), '2');
  // nothing is left of it here but the last phase's words
  assert.deepStrictEqual(fs.readdirSync(path.join(dir, 'machines', m.short)).sort(), ['agent.sock', 'ctl', 'known_hosts', 'machine.json', 'tool.lock'], 'its connection, and nothing that was needed once');
  assert.match(fs.readFileSync(path.join(dir, 'log', `cc-${m.short}`), 'utf8'), /### Rebooting ###/);
  // a stop deletes the server; the next one is installed again, and the data is the same
  await w.run(s, m, 'echo kept >/claude-data/file');
  assert.strictEqual((await s.call('POST', '/instances/box/stop')).body.status, 'STOPPED');
  assert.ok((await s.call('POST', '/instances/box/start')).status < 300);
  await s.running(m.id, 120);
  assert.strictEqual((await w.run(s, m, 'cat /claude-data/file')).stdout, 'kept\n');
  assert.strictEqual(w.phases(), [...PHASES, ...PHASES].join(' '));
});

test('what is to be run once is for NixOS alone: it comes by --extra-files, and no user data has it', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  const script = path.join(w.dir, 'create.lua');
  fs.writeFileSync(script, `local script, providers = require "script", require "providers"
script.open()
local p = script.must(providers.get("hetzner"))
script.must(p:create({ id = "11111111-1111-4111-8111-abcdefabcdef", short = "abcdefabcdef", image = "nixos-anywhere", type = "cpx11",
  user_data = "#!/bin/sh\\necho once-only-key\\n" }, { deadline = 300 }))
script.must(p:destroy("cc-abcdefabcdef", { purge = true }))
`);
  const settings = Object.fromEntries(Object.entries({ ...w.settings(), data_dir: w.data }).map(([k, v]) => [k.toUpperCase(), String(v)]));
  w.hold('install', 'after');
  const done = promisify(execFile)(binary, [script], { env: { ...process.env, ...w.env, ...settings } });
  await Promise.race([w.held('install', 'after'), done]);
  const m = { short: 'abcdefabcdef' };
  const { userData, volumes } = w.z.named(m.short);
  assert.ok(!userData.includes('once-only-key'));
  assert.ok(!/"mounts":\[\[/.test(userData), 'no volume is named to what is wiped');
  assert.deepStrictEqual(volumes, [], 'nor attached');
  const seed = '/disk/var/lib/cloud/seed/nocloud';
  assert.strictEqual(w.asRoot(m, `cat ${seed}/meta-data`), `{"instance-id": "cc-${m.short}", "local-hostname": "cc-${m.short}"}\n`);
  const inside = w.asRoot(m, `cat ${seed}/user-data; stat -c "%a %U" ${seed}/user-data`);
  assert.match(inside, /text\/x-shellscript[^]*#!\/bin\/sh\necho once-only-key\n[^]*600 root\n$/);
  assert.ok(!/ssh_keys|ssh_deletekeys/.test(inside), 'nothing in it touches the host key that is pinned');
  w.free('install', 'after');
  await done;
});

test('a phase that fails is told with the last that it said, and nothing is left that costs', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  const s = await w.host();
  w.fail('disko', 'building...\nerror: flake has no attribute "cloud-instance"\n       did you mean "cloud-instances"?\n\n');
  const m = await w.fails(s, { name: 'box', image: 'nixos-anywhere' });
  assert.match(m.error, /nixos-anywhere's phase disko ended with 1: .*error: flake has no attribute "cloud-instance"; did you mean "cloud-instances"\?$/);
  await until(() => w.z.world.left().length === 0, () => w.z.world.left().join());
  assert.strictEqual(w.phases(), 'kexec disko');
  assert.match(fs.readFileSync(path.join(s.dir, 'hetzner/log', `cc-${m.short}`), 'utf8'), /Uploading install SSH keys[^]*building\.\.\./, 'all that it said is kept');
});

test('no flake, a flake that is none, no nixos-anywhere: each is said', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  for (const [nixos, words] of [[{}, /no flake is set to install/], [{ flake: `${w.flake}#x`, program: 'nixos-nowhere' }, /nixos-nowhere/]]) {
    const s = await w.host({ options: { nixos } });
    assert.match((await w.fails(s, { image: 'nixos-anywhere' })).error, words);
  }
  const r = await w.cli('provider', 'check', 'hetzner', '--hcloud-options={nixos={flake="somewhere"}}');
  assert.match(r.out, /nixos\.flake: a flake and the name of a system in it/);
});

test('another machine that answers at its address is never given our key, in no phase', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  const s = await w.host({ provider_seconds: 6, options: { ssh_tries: 3 } });
  w.hold('disko', 'before');
  const m = (await s.call('POST', '/instances', { name: 'box', type: 'cpx11', image: 'nixos-anywhere' })).body;
  await w.held('disko', 'before');
  w.asRoot(m, 'cd /etc/ssh && rm -f ssh_host_* && ssh-keygen -q -t ed25519 -N "" -f ssh_host_ed25519_key && kill -HUP $(cat /run/sshd.pid)');
  w.free('disko', 'before');
  await until(async () => /disko/.test((await s.call('GET', `/operations/${m.operation}`)).body.last_error?.message || '') || (await s.status(m.id)) === 'ERROR', 'it is refused', 60);
  assert.ok(!fs.existsSync(path.join(w.z.dir, `disk-${w.z.named(m.short)?.id}`, 'etc/NIXOS')), 'nothing was put onto it');
});

test('a delete in the middle of a phase ends the tool, and takes all of it away', { skip }, async (t) => {
  const w = await World.start(t, quiet);
  const s = await w.host();
  w.hold('install', 'before');
  const m = (await s.call('POST', '/instances', { name: 'box', type: 'cpx11', image: 'nixos-anywhere' })).body;
  await w.held('install', 'before');
  const { pid } = w.calls().at(-1);
  await s.call('DELETE', '/instances/box');
  await until(async () => (await s.status(m.id)) === 'DELETED', 'it is deleted', 60);
  assert.throws(() => process.kill(pid, 0), 'the tool has ended');
  assert.ok(!w.z.world.left().some((l) => /^server/.test(l)));
});

for (const phase of PHASES) {
  test(`a host killed in ${phase} goes on there, and no disk is wiped twice that has something on it`, { skip }, async (t) => {
    const w = await World.start(t, quiet);
    const s = await w.host();
    for (const when of ['before', 'after']) {
      w.forgetCalls();
      w.hold(phase, when);
      const m = (await s.call('POST', '/instances', { name: when, type: 'cpx11', image: 'nixos-anywhere' })).body;
      await w.held(phase, when);
      const first = w.z.named(m.short).id;
      await s.kill();
      if (when === 'before') w.killTool(); // as where the whole machine has gone; else it ends by itself, and is waited for
      w.free(phase, when);
      await s.launch();
      await s.running(m.id, 120);
      assert.strictEqual(w.z.named(m.short).id, first, 'on the same server');
      assert.strictEqual(wiped(w, m), '1', 'its disk was wiped once');
      const at = PHASES.indexOf(phase);
      const again = when === 'before' ? [phase] : phase === 'install' ? ['install'] : [];
      assert.strictEqual(w.phases(), [...PHASES.slice(0, at + 1), ...again, ...PHASES.slice(at + 1)].join(' '), `${when} the end of ${phase}`);
      await s.call('DELETE', `/instances/${m.id}`);
      await until(() => !w.z.world.left().some((l) => /^server/.test(l)), 'it is deleted', 60);
      for (const v of [...w.z.world.volumes.values()]) if (!v.server) w.z.world.deleteVolume(v);
    }
  });
}
