// The files of providers/image/nixos: each is Nix, and what they make of a machine, by Nix's own evaluator. There is no nixpkgs here, so
// a stub of its lib takes its place (stub.nix): names and values of NixOS's options are not checked by it (docs/nixos.md).
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync, spawnSync } = require('node:child_process');
const { root } = require('../lib/cchost.js');

const dir = path.join(root, 'providers/image/nixos');
const files = fs.readdirSync(dir, { recursive: true }).filter((f) => f.endsWith('.nix')).sort();
const here = spawnSync('nix-instantiate', ['--version']).status === 0;
const skip = !here && 'nix-instantiate is not here (package nix-bin)';
if (skip && (process.env.BACKENDS || '').split(' ').includes('nix')) throw new Error(`this host is meant to have Nix: ${skip}`);

// Nix wants a store to be there, even for what never uses it: one of its own.
const store = fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-nix-'));
test.after(() => fs.rmSync(store, { recursive: true, force: true }));
const env = { ...process.env, NIX_STORE_DIR: path.join(store, 'store'), NIX_STATE_DIR: path.join(store, 'state'), NIX_LOG_DIR: path.join(store, 'log'), NIX_CONF_DIR: store, HOME: store };
const nix = (...args) => spawnSync('nix-instantiate', args, { env, encoding: 'utf8' });

const part = (name) => fs.readFileSync(path.join(dir, 'parts', name), 'utf8');

function evaluate(expression, more = []) {
  const r = nix('--eval', '--strict', '--json', ...more, '--expr', `let stub = import ${__dirname}/stub.nix; flake = stub.evaluate (import ${dir}/flake.nix); make = flake.lib.mkCloudInstance; in ${expression}`);
  if (r.status !== 0) throw new Error(r.stderr);
  return JSON.parse(r.stdout);
}

test('every file is Nix', { skip }, () => {
  assert.deepStrictEqual(files, ['flake.nix', 'hosts/cloud-instance/default.nix', 'hosts/cloud-instance/disko.nix', 'hosts/cloud-instance/hardware-configuration.nix',
    'hosts/cloud-instance/networking.nix', 'lib.nix', 'modules/cloud-instance.nix']);
  for (const f of files) {
    const r = nix('--parse', path.join(dir, f));
    assert.strictEqual(r.status, 0, `${f}: ${r.stderr}`);
  }
  fs.writeFileSync(path.join(store, 'bad.nix'), '{ a = ; }');
  assert.notStrictEqual(nix('--parse', path.join(store, 'bad.nix')).status, 0, 'and a file that is not is refused');
});

test('the inputs are pinned: each of the flake\'s by revision and hash', () => {
  const { nodes, root: top } = JSON.parse(fs.readFileSync(path.join(dir, 'flake.lock'), 'utf8'));
  const asked = [...fs.readFileSync(path.join(dir, 'flake.nix'), 'utf8').matchAll(/^ +(\w+)\.url = "github:([\w-]+)\/([\w-]+)(?:\/([\w.-]+))?";/gm)];
  assert.deepStrictEqual(Object.keys(nodes[top].inputs).sort(), asked.map((m) => m[1]).sort());
  for (const [, name, owner, repo, ref] of asked) {
    const { locked, original } = nodes[nodes[top].inputs[name]];
    assert.deepStrictEqual([original.owner, original.repo, original.ref], [owner, repo, ref]);
    assert.match(locked.rev, /^[0-9a-f]{40}$/);
    assert.match(locked.narHash, /^sha256-[A-Za-z0-9+/]{43}=$/);
  }
});

test('the flake has what is said of it', { skip }, () => {
  assert.deepStrictEqual(evaluate('{ systems = builtins.attrNames flake.nixosConfigurations; modules = builtins.attrNames flake.nixosModules; lib = builtins.attrNames flake.lib; }'),
    { systems: ['cloud-instance', 'cloud-instance-arm'], modules: ['cloud-instance', 'default'], lib: ['mkCloudInstance'] });
});

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxbq6JLXbQOyaUAG2QU5fUugEgSMPf6QEiNX8miEDgK somebody';

test('mkCloudInstance: the hostname is cc-<id>, the key is claude\'s, the facts are in /etc/cloud-instance', { skip }, () => {
  const m = evaluate(`(c: { inherit (c) networking; etc = c.environment.etc; claude = c.users.users.claude.openssh.authorizedKeys.keys; root = c.users.users.root.openssh.authorizedKeys.keys;
    module = builtins.removeAttrs c.services.cloudInstance [ "tools" ]; }) (make { instanceId = "a1b2c3d4e5f6"; userSshKey = "${KEY}"; expiresAt = "2026-01-22T10:00:00Z"; }).config`);
  assert.strictEqual(m.networking.hostName, 'cc-a1b2c3d4e5f6');
  assert.deepStrictEqual(m.claude, [KEY]);
  assert.deepStrictEqual(m.root, []);
  assert.deepStrictEqual(m.etc, { 'cloud-instance/id': { text: 'a1b2c3d4e5f6\n', mode: '0444' }, 'cloud-instance/expires': { text: '2026-01-22T10:00:00Z\n', mode: '0444' } });
  assert.deepStrictEqual(m.module, { enable: true, instanceId: 'a1b2c3d4e5f6', userSshKey: KEY, expiresAt: '2026-01-22T10:00:00Z', rootSshKeys: [], dataVolume: null, agent: true });
});

test('the machine that is told later has nobody\'s name, key or secret', { skip }, () => {
  const c = evaluate('(c: { inherit (c) networking users services; etc = c.environment.etc; }) (builtins.removeAttrs flake.nixosConfigurations.cloud-instance.config [ "nixpkgs" ])'
    .replace('services;', ';').replace('etc =', 'ssh = c.services.openssh; init = c.services.cloud-init.settings; etc ='));
  assert.strictEqual(c.networking.hostName, '');
  assert.deepStrictEqual(c.etc, {});
  assert.deepStrictEqual([c.users.users.claude.openssh.authorizedKeys.keys, c.users.users.root.openssh.authorizedKeys.keys], [[], []]);
  assert.ok(!/"(hashed|initial)?[pP]assword(File)?"/.test(JSON.stringify(c.users)), 'no password of any kind');
  assert.deepStrictEqual([c.ssh.settings.PasswordAuthentication, c.ssh.settings.KbdInteractiveAuthentication, c.ssh.settings.PermitRootLogin], [false, false, 'prohibit-password']);
  assert.deepStrictEqual(c.ssh.authorizedKeysFiles, ['/etc/cloud-instance/authorized_keys.d/%u']);
  assert.deepStrictEqual(c.networking.firewall, { enable: true, allowedTCPPorts: [22] }, 'ssh alone');
  assert.deepStrictEqual([c.networking.useDHCP, c.networking.useNetworkd], [false, true]);
  assert.ok(!c.init.cloud_init_modules.concat(c.init.cloud_config_modules).some((x) => /users|passwords|mounts|hostname/.test(x)), 'cloud-init changes nothing that is said here');
});

test('the disk: GPT, BIOS boot and ESP, ext4 for the rest; on ARM the ESP alone', { skip }, () => {
  const disk = (name) => evaluate(`flake.nixosConfigurations.${name}.config.disko.devices.disk`);
  const { main } = disk('cloud-instance');
  assert.deepStrictEqual(Object.keys(disk('cloud-instance')), ['main'], 'and no other disk is named');
  assert.deepStrictEqual([main.type, main.device, main.content.type], ['disk', '/dev/sda', 'gpt']);
  const { boot, esp, root: system } = main.content.partitions;
  assert.deepStrictEqual([boot.type, esp.type, esp.content.format, esp.content.mountpoint], ['EF02', 'EF00', 'vfat', '/boot']);
  assert.deepStrictEqual([system.content.format, system.content.mountpoint, system.size], ['ext4', '/', '100%']);
  assert.ok(boot.priority < esp.priority && esp.priority < system.priority, 'the one that grows is last');
  assert.deepStrictEqual(Object.keys(disk('cloud-instance-arm').main.content.partitions), ['esp', 'root']);
  assert.strictEqual(evaluate('flake.nixosConfigurations.cloud-instance-arm.config.boot.loader.grub.device'), 'nodev');
});

test('the agent is kept running once the host has brought it; the volume stands at /claude-data by its id', { skip }, () => {
  const u = evaluate(`(c: { agent = c.systemd.units."cchost-agent.service"; facts = c.systemd.services.cloud-instance-facts; fs = c.fileSystems; })
    (make { modules = [ { services.cloudInstance.dataVolume = "/dev/disk/by-id/scsi-0HC_Volume_1"; } ]; }).config`.replace('c.systemd.services.cloud-instance-facts', 'builtins.removeAttrs c.systemd.services.cloud-instance-facts [ "path" ]'));
  assert.deepStrictEqual(u.agent, { text: part('cchost-agent.service'), wantedBy: ['multi-user.target'] });
  assert.match(u.facts.script, /hostname "cc-\$\(head -n 1 \/etc\/cloud-instance\/id\)"/);
  execFileSync('sh', ['-n', '-c', u.facts.script]);
  assert.strictEqual(u.fs['/claude-data'].device, '/dev/disk/by-id/scsi-0HC_Volume_1');
  assert.ok(u.fs['/claude-data'].options.includes('nofail'));
  const off = evaluate('(make { modules = [ { services.cloudInstance.agent = false; } ]; }).config.systemd.units."cchost-agent.service".text');
  assert.strictEqual(off, null, 'where it is wanted');
});

// What other machines get from setup.sh is here the same, byte for byte: read, or copied into the store, by Nix itself.
test('the layout, the pane and the session are those of every machine, and a layout that is there is left alone', { skip }, () => {
  const programs = evaluate('map (p: [ p.name p.text ]) (builtins.filter (p: p ? text) (make { }).config.environment.systemPackages)');
  assert.deepStrictEqual(programs, ['claude-pane', 'claude-session'].map((name) => [name, part(name)]));
  const rules = evaluate('(make { }).config.systemd.tmpfiles.rules', ['--read-write-mode']).map((r) => r.split(' '));
  for (const [name, to] of [['layout.kdl', 'layouts/claude.kdl'], ['config.kdl', 'config.kdl']]) {
    const [rule, ...more] = rules.filter((r) => r[1] === `/home/claude/.config/zellij/${to}`);
    assert.deepStrictEqual([rule.slice(0, 6), more], [['C', `/home/claude/.config/zellij/${to}`, ':0644', ':claude', ':users', '-'], []], 'copied where nothing is');
    assert.strictEqual(fs.readFileSync(rule[6], 'utf8'), part(name));
  }
});

test('a key that is none, too short, or more than one line is refused, and so is an id', { skip }, () => {
  const rsa = (bytes) => `ssh-rsa ${Buffer.concat([Buffer.from('\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01', 'latin1'), Buffer.from([0, 0, (bytes + 1) >> 8, (bytes + 1) & 255, 0]), Buffer.alloc(bytes, 0xab)]).toString('base64')}`;
  const key = (text) => { try { return evaluate(`(make { userSshKey = ${JSON.stringify(text)}; }).config.users.users.claude.openssh.authorizedKeys.keys`)[0]; } catch (e) { return String(e); } };
  for (const good of [KEY, KEY.split(' ').slice(0, 2).join(' '), rsa(512), rsa(1024)]) assert.strictEqual(key(good), good);
  for (const bad of [rsa(384), rsa(256), 'ssh-rsa AAAA', 'ssh-ed25519 AAAA', `command="x" ${KEY}`, `${KEY}\n${KEY}`, 'ssh-dss AAAAB3NzaC1kc3M=', `${KEY}\n`])
    assert.match(key(bad), /userSshKey: one public key, ed25519 or RSA of at least 4096 bits/, bad.slice(0, 40));
  for (const id of ['', 'A1', 'a b', '-a', 'a/../b', `a"; x = "`, 'a'.repeat(61)]) assert.throws(() => evaluate(`(make { instanceId = ${JSON.stringify(id)}; }).config.networking.hostName`), /strMatching/, id);
  assert.throws(() => evaluate('(make { modules = [ { services.cloudInstance.userKey = "x"; } ]; }).config.services.cloudInstance.userKey'), /does not exist/);
});

test('nothing in the files is a secret, a password or this place\'s', () => {
  for (const f of [...files, 'flake.lock', ...fs.readdirSync(path.join(dir, 'parts')).map((f) => `parts/${f}`)]) {
    const text = fs.readFileSync(path.join(dir, f), 'utf8');
    assert.ok(!/PRIVATE KEY|hashedPassword|initialPassword|\$6\$|\$y\$|token *=/i.test(text), f);
    assert.ok(!/[0-9]{1,3}(\.[0-9]{1,3}){3}/.test(text), `${f}: an address`);
  }
});
