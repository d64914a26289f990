// ccc's words, both syntaxes, exit codes and JSON: at a server and on a store alike.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { atServer, onStore, key, bin } = require('./ccc.js');
const { binary } = require('../lib/cchost.js');

const usage = `Claude Code Cloud CLI

Usage: ccc <command> [options]

Commands:
  provision   Create a new instance
  deprovision Delete an instance
  status      Check instance status
  list        List all instances
  extend      Extend instance time
  types       Show available server types

Run 'ccc <command> --help' for command-specific help.
`;

const TIME = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z';
const commands = ['provision', 'deprovision', 'status', 'list', 'extend', 'types'];
const near = (iso, hours) => assert.ok(Math.abs(Date.parse(iso) - Date.now() - hours * 3600e3) < 60e3, `${iso} is in ${hours} h`);

for (const [where, make] of [['at a server', atServer], ['on a store', onStore]]) {
  test(`${where}`, async (t) => {
    const p = await make();
    t.after(() => p.end());

    await t.test('usage is exit 0 without arguments and with -h and --help, 1 with an unknown command', () => {
      for (const args of [[], ['-h'], ['--help']]) assert.strictEqual(p.ok(...args), usage);
      const r = p.refused(/^Unknown command: nothing\nClaude Code Cloud CLI\n/, 'nothing');
      assert.strictEqual(r.err, `Unknown command: nothing\n${usage}`);
      assert.strictEqual(r.out, '');
      for (const c of commands) for (const h of ['--help', '-h']) assert.match(p.ok(c, h), new RegExp(`^Usage: ccc ${c}`));
      assert.match(p.ok('provision', '--help'), /hours {8}Hours until expiration \(default: 24\)\n {2}server-type {2}Hetzner server type \(default: cpx21\)\n {17}cpx11 - 2 vCPU, 2GB RAM\n/);
      assert.match(p.ok('extend', 'x', '1', '--help'), /^Usage: ccc extend/, 'also behind arguments');
    });

    await t.test('too few arguments are usage and exit 1', () => {
      for (const args of [['provision'], ['provision', 'a@example.org'], ['deprovision'], ['status'], ['extend'], ['extend', 'x']]) {
        assert.strictEqual(p.refused(new RegExp(`^Usage: ccc ${args[0]}`), ...args).out, '');
      }
      p.refused(/^Error: Unexpected argument: b\nUsage/, 'status', 'a', 'b');
      p.refused(/^Error: Unknown option: --bad\n/, 'list', '--bad');
      p.refused(/^Error: Option --hours is given twice\n/, 'extend', 'x', '--hours', '1', '--hours', '2');
      p.refused(/^Error: Option --json takes no value/, 'list', '--json=1');
      p.refused(/^Error: Option --hours: a value expected/, 'extend', 'x', '--hours');
    });

    await t.test('types', () => {
      assert.strictEqual(p.ok('types'), `Available server types:
  cpx11  2 vCPU, 2GB RAM, 40GB   ~€0.007/hr  ~€5/mo
  cpx21  3 vCPU, 4GB RAM, 80GB   ~€0.010/hr  ~€7/mo
  cpx31  4 vCPU, 8GB RAM, 160GB  ~€0.019/hr  ~€14/mo
`);
      assert.deepStrictEqual(p.json('types').map((x) => [x.name, x.vcpu, x.memory_mib, x.disk_gib, x.list_eur_micro, x.hour_micro, x.currency]),
        [['cpx11', 2, 2048, 40, 7000, 7000, 'USD'], ['cpx21', 3, 4096, 80, 10000, 10000, 'USD'], ['cpx31', 4, 8192, 160, 19000, 19000, 'USD']]);
    });

    await t.test('provision by words, status, list, extend, deprovision', () => {
      if (where === 'at a server') assert.strictEqual(p.ok('list'), '');
      const out = p.ok('provision', 'Test@Example.com', key().text, '1', 'cpx11');
      const made = new RegExp(`^Provisioning Claude Code Cloud instance\\.\\.\\.
  Instance ID: ([0-9a-f]{12})
  Server type: cpx11
  Expires: (?:${TIME}|1 hours after it is ready)
Creating mock server\\.\\.\\.
Server IP: (192\\.0\\.2\\.\\d+)
Waiting for SSH\\.\\.\\.

Instance provisioned successfully!
==================================
Instance ID: \\1
SSH command: ssh claude@\\2
Expires:     (${TIME})
$`).exec(out);
      assert.ok(made, out);
      const [, id, ip, expires] = made;
      near(expires, 1);
      assert.strictEqual(p.ok('list'), `${id}\t${ip}\ttest@example.com\t${expires}\n`);
      assert.match(p.ok('status', id), new RegExp(`^Instance ID: ${id}\nEmail: {7}test@example.com\nServer name: cc-${id}\nServer IP: {3}${ip}\n` +
        `Server type: cpx11\nLocation: {4}fsn1\nProvider: {4}mock\nStatus: {6}running\nSSH command: ssh claude@${ip}\nCreated: {5}${TIME}\nExpires: {5}${expires}\nRemaining: {3}59m\n$`));
      for (const form of [`cc-${id}`, id.toUpperCase()]) assert.strictEqual(p.json('status', form).instanceId, id);
      const said = p.ok('extend', id, '5');
      const later = new RegExp(`^Extended instance ${id} by 5 hours\nNew expiration: (${TIME})\n$`).exec(said)[1];
      assert.strictEqual(Date.parse(later) - Date.parse(expires), 5 * 3600e3);
      assert.strictEqual(p.json('extend', id, '--hours', '2').expiresAt, new Date(Date.parse(later) + 2 * 3600e3).toISOString());
      assert.strictEqual(p.ok('deprovision', id), `Deprovisioning instance ${id}...\nServer deleted\nInstance removed from state\nDone\n`);
      assert.strictEqual(p.ok('list'), '');
      for (const args of [['status', id], ['deprovision', id], ['extend', id, '1'], ['status', 'a1b2c3d4e5f6'], ['deprovision', '../etc'], ['extend', '%', '1']]) {
        p.refused(new RegExp(`^Error: Instance ${args[1].replace('.', '\\.')} not found\n$`), ...args);
      }
    });

    await t.test('provision by options: several keys, from files too, a location, defaults', () => {
      const two = path.join(bin, 'two.pub');
      fs.writeFileSync(two, `# mine\n\n${key('ed25519', 0, 'b').text}\r\n${key().text}\n`);
      const e = p.json('provision', 'bob@example.org', '--ssh-key', key('rsa', 4096).file, '--ssh-key', two, '--ssh-key', key().text,
        '--location=hel1', '--hours', '2', '--type=cpx31');
      assert.deepStrictEqual([e.email, e.serverType, e.location, e.status, e.serverName, e.sshCommand],
        ['bob@example.org', 'cpx31', 'hel1', 'running', `cc-${e.instanceId}`, `ssh claude@${e.serverIp}`]);
      near(e.expiresAt, 2);
      const plain = p.json('provision', 'bob@example.org', key().file);
      assert.deepStrictEqual([plain.serverType, plain.location], ['cpx21', 'fsn1']);
      near(plain.expiresAt, 24);
      const mixed = p.json('provision', 'bob@example.org', key().text, '3', '--type', 'cpx11');
      assert.strictEqual(mixed.serverType, 'cpx11');
      near(mixed.expiresAt, 3);
      const words = p.json('provision', 'bob@example.org', '--ssh-key', key().text, '4', 'cpx11');
      near(words.expiresAt, 4);
      const list = p.json('list');
      assert.deepStrictEqual(list.map((x) => x.instanceId).sort(), [e, plain, mixed, words].map((x) => x.instanceId).sort());
      assert.deepStrictEqual([...new Set(list.map((x) => x.email))], ['bob@example.org'], 'one account');
      for (const x of list) assert.deepStrictEqual(p.json('deprovision', x.instanceId), { instanceId: x.instanceId, status: 'deleted' });
      assert.deepStrictEqual(p.json('list'), []);
    });

    await t.test('what cannot be is refused with the reason, also as JSON, and nothing is made', () => {
      const k = key().text;
      p.refused(/^Error: Invalid email address 'ann': an e-mail address has one @\.\n$/, 'provision', 'ann', k);
      p.refused(/^Error: Unknown server type 'cx99'\. Must be one of cpx11, cpx21, cpx31\.\n$/, 'provision', 'a@example.org', k, '1', 'cx99');
      p.refused(/^Error: hours: given twice/, 'provision', 'a@example.org', k, '1', '--hours', '2');
      const r = p.refused(/^Error: Invalid hours '0'/, 'extend', 'x', '0', '--json');
      assert.match(JSON.parse(r.out).error, /^Invalid hours '0'\. Must be a whole number from 1 to 87600\.$/);
      assert.deepStrictEqual(p.json('list'), []);
    });
  });
}

test('without a store and without a server it says so', () => {
  const p = onStore();
  p.env.DATA_DIR = '/nonexistent';
  p.refused(/^Error: there is no store in \/nonexistent \(DATA_DIR\), and CCHOST_URL names no server\n$/, 'list');
  p.env.CCHOST_URL = 'http://127.0.0.1:1';
  p.env.API_KEY = '0123456789abcdef';
  p.env.CCHOST_URL = 'ftp://x';
  p.refused(/^Error: the server's URL: http:/, 'list');
  return p.end();
});

test('who may not is told', async () => {
  const p = await atServer();
  p.env.API_KEY = 'a-key-that-is-not-the-servers';
  p.refused(/^Error: invalid API key\n$/, 'list');
  p.refused(/^Error: invalid API key\n$/, 'provision', 'a@example.org', key().text);
  await p.end();
});

test('types tells what an operator asks, where that is something else', async () => {
  const dear = path.join(bin, 'dear');
  fs.mkdirSync(dear);
  fs.writeFileSync(path.join(dear, 'plans.lua'), `return { kind = "plans", default = "free", currency = "CHF", plans = { free = { machines = 0 } },
    price = { { from = "2026-01-01", hour = { cpx11 = 7000, cpx21 = 50000 }, block = { cpx21 = 45000 } }, { from = "2999-01-01", hour = { cpx11 = 1 } } } }`);
  const p = await atServer('', { policies_dir: dear });
  assert.match(p.ok('types'), /\n {2}cpx31 {2}.*~€14\/mo\nSold by the hour at \(CHF\): cpx11 0\.007, cpx21 0\.045\n$/);
  await p.end();
});

test('cchost ccc is the same', () => {
  const run = (...args) => spawnSync(binary, args, { encoding: 'utf8' });
  for (const args of [['ccc'], ['ccc', '--help']]) assert.deepStrictEqual([run(...args).status, run(...args).stdout], [0, usage]);
  assert.strictEqual(run('ccc', 'nothing').status, 1);
});
