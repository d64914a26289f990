// The faults C1-C13 of the scripts that ccc takes the place of (reference: seed-systems.md, A2.2), each as a test.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { atServer, onStore, key, bin, until } = require('./ccc.js');
const { Server, binary } = require('../lib/cchost.js');

const HOUR = 3600e3;

// A test on both kinds of place.
function both(name, fn, more, settings) {
  for (const [where, make] of [['at a server', atServer], ['on a store', onStore]]) {
    test(`${name} (${where})`, async () => {
      const p = await make(more, settings?.[where] || settings?.both);
      try {
        await fn(p, where);
      } finally {
        await p.end();
      }
    });
  }
}

// What there is at the mock provider, by its ledger.
function atProvider(p) {
  const there = new Set();
  const file = path.join(p.dir, 'ledger');
  for (const line of fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').filter(Boolean) : []) {
    const e = JSON.parse(line);
    if (!e.changed) continue;
    if (e.op === 'destroy') there.delete(e.short);
    else if (e.op === 'create' || e.op === 'complete') there.add(e.short);
  }
  return [...there];
}

both('C1 extend counts from the end that was paid for, and an unknown id makes nothing', (p) => {
  const id = p.provision('10');
  const before = Date.parse(p.json('status', id).expiresAt);
  assert.strictEqual(Date.parse(p.json('extend', id, '5').expiresAt), before + 5 * HOUR);
  for (const other of ['a1b2c3d4e5f6', 'nothing', 'cc-a1b2c3d4e5f6', '00000000-0000-4000-8000-000000000000']) {
    p.refused(/^Error: Instance .* not found\n$/, 'extend', other, '5');
  }
  assert.deepStrictEqual(p.json('list').map((e) => e.instanceId), [id], 'no phantom');
});

test('C2 times are UTC, and compared as times: whatever offset they came with', () => {
  const p = onStore();
  const entry = (id, expiresAt) => [id, { instanceId: id, email: 'ann@example.org', serverName: `cc-${id}`, serverIp: '192.0.2.7', serverType: 'cpx21',
    createdAt: '2026-01-02T03:04:05+01:00', expiresAt, status: 'running' }];
  const soon = new Date(Math.floor(Date.now() / 1000) * 1000 + HOUR);
  const as = (offset) => `${new Date(soon.getTime() + offset * HOUR).toISOString().slice(0, 19)}${offset < 0 ? '-' : '+'}${String(Math.abs(offset)).padStart(2, '0')}:00`;
  const file = path.join(p.dir, 'instances.json');
  fs.writeFileSync(file, JSON.stringify({ instances: Object.fromEntries([entry('a1b2c3d4e5f6', as(-11)), entry('b1b2c3d4e5f6', as(11)), entry('c1b2c3d4e5f6', soon.toISOString())]) }));
  const r = spawnSync(binary, ['import', '--instances-json', file], { encoding: 'utf8', env: p.env });
  assert.strictEqual(r.status, 0, r.stderr);
  for (const e of p.json('list')) {
    assert.deepStrictEqual([e.expiresAt, e.createdAt], [soon.toISOString(), '2026-01-02T02:04:05.000Z']);
    const own = p.ok('status', e.instanceId);
    assert.match(own, /Remaining: {3}(59m|1h 0m)\n/);
    assert.match(own, /SSH command: ssh claude@192\.0\.2\.7\n/);
  }
  assert.match(p.ok('extend', 'a1b2c3d4e5f6', '1'), new RegExp(new Date(soon.getTime() + HOUR).toISOString()));
  return p.end();
});

for (const [name, more] of [['fails after its effect', 'create={after=1000,code="denied"}'], ['leaves a half-made server', 'create={half=1000,code="denied"}']]) {
  both(`C3 a create that ${name} leaves no server that nobody knows`, async (p) => {
    const r = p.refused(/^Error: Provisioning failed: .*\n {2}Instance [0-9a-f]{12} was removed\.\n$/, 'provision', 'ann@example.org', key().text);
    assert.doesNotMatch(r.out, /successfully/);
    assert.deepStrictEqual(p.json('list'), []);
    assert.deepStrictEqual(atProvider(p), []);
  }, more);
}

test('C3 C9 killed in the middle: the machine is known, the work goes on, and it can be deleted', async () => {
  const p = onStore('create={latency_ms=3000}');
  const first = p.begin('provision', 'ann@example.org', key().text, '1');
  await until(() => /Creating mock server/.test(first.text()), 'it is being made');
  first.child.kill('SIGKILL');
  await first.ended;
  const [e] = p.json('list');
  assert.deepStrictEqual([e.status, e.email], ['provisioning', 'ann@example.org']);
  const settings = { provider: 'mock', mock: p.env.MOCK };
  const s = await Server.start(settings, p.dir); // it takes up what was left
  await s.running(e.instanceId);
  assert.strictEqual(p.json('status', e.instanceId).status, 'running');
  assert.strictEqual(p.json('deprovision', e.instanceId).status, 'deleted');
  assert.deepStrictEqual(atProvider(p), []);
  await s.stop();
  await p.end();
});

both('C4 a machine without ssh is no success: the reason, exit 1, and no block runs on', (p) => {
  const r = p.refused(/^Error: Provisioning failed: no ssh: nobody answers there\n {2}Instance [0-9a-f]{12} was removed\.\n$/, 'provision', 'ann@example.org', key().text);
  assert.doesNotMatch(r.out, /successfully|SSH command/);
  assert.deepStrictEqual(p.json('list'), []);
  assert.deepStrictEqual(atProvider(p), []);
  const json = p.refused(/./, 'provision', 'ann@example.org', key().text, '--json');
  assert.match(JSON.parse(json.out).error, /no ssh: nobody answers there/);
}, 'ssh={why="nobody answers there"}');

both('C5 a deletion that fails is no deletion: the machine stays known, with the reason, until it is gone', (p) => {
  const id = p.provision('1');
  const other = p.provision('1');
  const r = p.refused(new RegExp(`^Error: Server of instance ${id} could not be deleted: .*The instance is kept`), 'deprovision', id);
  assert.doesNotMatch(r.out, /deleted|removed|Done/);
  assert.match(p.ok('status', id), /Status: {6}error\nError: {7}./);
  assert.deepStrictEqual(p.json('list').map((e) => e.instanceId).sort(), [id, other].sort());
  assert.deepStrictEqual(atProvider(p).sort(), [id, other].sort());
}, 'destroy={fail=1000,code="denied"}', { 'at a server': { status_seconds: '{DELETING=3}' }, 'on a store': { STATUS_SECONDS: '{DELETING=3}' } });

both('C5 a server that is gone already is a deletion', (p) => {
  const id = p.provision('1');
  fs.writeFileSync(path.join(p.dir, 'gone.lua'), `local p = require("provider").open("mock", { state = "${p.dir}/world" })
assert(p:destroy("cc-${id}", {}))`);
  assert.strictEqual(spawnSync(binary, [path.join(p.dir, 'gone.lua')], { encoding: 'utf8' }).stderr, '');
  assert.match(p.ok('deprovision', id), /Done\n$/);
  assert.deepStrictEqual(p.json('list'), []);
});

test('C6 many at once lose nothing', async () => {
  const p = await atServer();
  const beside = onStore();
  beside.env.DATA_DIR = p.dir; // on the store that the server has open
  beside.env.MOCK = `{state="${p.dir}/world",ledger="${p.dir}/ledger"}`;
  const id = p.provision('1');
  const before = Date.parse(p.json('status', id).expiresAt);
  const all = [];
  for (let i = 0; i < 4; i++) {
    for (const at of [p, beside]) {
      all.push(at.begin('extend', id, '1'));
      all.push(at.begin('provision', `u${i}@example.org`, key().text, '1', 'cpx11'));
    }
  }
  for (const c of all) assert.strictEqual(await c.ended, 0, c.text());
  assert.strictEqual(Date.parse(p.json('status', id).expiresAt), before + 8 * HOUR);
  const list = beside.json('list');
  assert.strictEqual(list.length, 9);
  assert.strictEqual(new Set(list.map((e) => e.email)).size, 5, 'one account an address, also when two make it at once');
  await p.end();
  await beside.end();
});

both('C7 keys are read, not looked at: what is damaged, short, or more than a key is refused', (p) => {
  const k = key().text;
  const [type, blob] = k.split(' ');
  const says = 'Error: Invalid SSH key format\\. Must be ed25519 or RSA\\.\n {2}';
  for (const [text, why] of [
    [key('rsa', 1024).text, 'RSA keys of \\d+ bits and more are accepted; this one has 1024'],
    [key('rsa', 2048).text, 'this one has 2048'],
    [key('ecdsa').text, 'ECDSA keys are not accepted'],
    ['ssh-ed25519', '"type base64 comment" expected'],
    ['ssh-ed25519 AAAA', 'the key is damaged'],
    [`ssh-rsa ${blob}`, 'of another type inside'],
    [`${type} ${blob.slice(0, -8)}`, 'the key is damaged'],
    [`${k}\ncommand="id" ${k}`, 'one line expected'],
    [`${k}\0`.replace('\0', '\x01'), 'one line expected'],
    [`command="id" ${k}`, 'options before the key'],
    ['ssh-rsaevil AAAA', "the type 'ssh-rsaevil' is not known"],
    [key().identity, 'this is a private key'],
    [path.join(bin, 'none.pub'), 'there is no file .*/none\\.pub'],
  ]) {
    p.refused(new RegExp(`^${says}.*${why}`), 'provision', 'ann@example.org', text);
    if (text) p.refused(new RegExp(`^${says}.*${why}`), 'provision', 'ann@example.org', '--ssh-key', key().text, '--ssh-key', text);
  }
  for (const hours of ['-1', '0', '1.5', 'x', '1e3', '', ' 5', '87601', '99999999999999999999', '1 day']) {
    p.refused(/^Error: Invalid hours '.*'\. Must be a whole number from 1 to 87600\.\n$/, 'provision', 'ann@example.org', k, hours);
    if (hours) p.refused(/^Error: Invalid hours '/, 'extend', 'a1b2c3d4e5f6', hours);
  }
  for (const email of ['ann', 'a@b@c.org', 'a b@example.org', '@example.org', 'ann@', 'ann@example', 'ann@ex\nample.org', '']) {
    p.refused(/^Error: Invalid email address '/, 'provision', email, k);
  }
  assert.deepStrictEqual(fs.existsSync(path.join(p.dir, 'store')) ? p.json('list') : [], []);
});

both('C8 list and status work', (p) => {
  const id = p.provision('1');
  assert.match(p.ok('list'), new RegExp(`^${id}\t192\\.0\\.2\\.\\d+\tann@example\\.org\t\\S+Z\n$`));
  assert.match(p.ok('status', id), /^Instance ID: .*\n(.*\n)*Remaining: {3}59m\n$/);
});

both('C12 no date, jq, openssl or hcloud: it runs where there are none, in any time zone', (p) => {
  p.env.PATH = '/nonexistent';
  p.env.TZ = 'America/St_Johns';
  p.env.LC_ALL = 'de_DE.UTF-8';
  const id = p.provision('1');
  const { expiresAt } = p.json('status', id);
  assert.ok(Math.abs(Date.parse(expiresAt) - Date.now() - HOUR) < 60e3 && expiresAt.endsWith('Z'), expiresAt);
  p.ok('deprovision', id);
});

both('C13 there are more words than "running", and a provision that failed leaves nothing to pay for', async (p, where) => {
  p.refused(/^Error: Provisioning failed: /, 'provision', 'ann@example.org', key().text, '1');
  assert.deepStrictEqual(p.json('list'), []);
  if (where === 'on a store') return;
  const s = p.server;
  const { body } = await s.call('POST', '/instances', { user_id: await s.account('ann@example.org'), type: 'cpx11', hours: 1, ssh_keys: [key().text] });
  assert.strictEqual(p.json('status', body.short).status, 'provisioning');
  await until(async () => (await s.status(body.id)) === 'ERROR', 'ERROR');
  const e = p.json('status', body.short);
  assert.strictEqual(e.status, 'error');
  assert.ok(e.error.length > 0);
  assert.match(p.ok('status', body.short), /\nError: {7}\S/);
  p.ok('deprovision', body.short);
}, 'create={fail=1000,code="denied",latency_ms=300}');

test('instances.json goes out with the scripts\' field names, and comes in again', () => {
  const p = onStore();
  const id = p.provision('5', 'cpx31');
  p.provision('1');
  const file = path.join(p.dir, 'out.json');
  const cchost = (env, ...args) => {
    const r = spawnSync(binary, args, { encoding: 'utf8', env });
    assert.strictEqual(r.status, 0, r.stderr);
    return r.stdout;
  };
  cchost(p.env, 'export', '--instances-json', file);
  const { instances } = JSON.parse(fs.readFileSync(file, 'utf8'));
  const was = p.json('status', id);
  assert.deepStrictEqual(instances[id], {
    instanceId: id, email: 'ann@example.org', serverName: `cc-${id}`, serverIp: was.serverIp, serverType: 'cpx31',
    createdAt: was.createdAt, expiresAt: was.expiresAt, status: 'running',
  });
  const other = onStore();
  cchost(other.env, 'import', '--instances-json', file);
  assert.deepStrictEqual(JSON.parse(cchost(other.env, 'export', '--instances-json')).instances, instances);
  assert.strictEqual(other.ok('list'), p.ok('list'));
  assert.match(other.ok('deprovision', id), /\nServer left alone: it came from instances\.json/);
  return Promise.all([p.end(), other.end()]);
});
