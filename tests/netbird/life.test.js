// The life of machines in the mesh network: what is made there, in which order, who reaches whom, and that nothing is left of it.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { binary, root } = require('../lib/cchost.js');
const { withMesh, until } = require('./mesh.js');

const user = (who) => `cchost-user-${who.id ?? who}`;
const only = (map) => { assert.strictEqual(map.size, 1); return [...map.values()][0]; };
const HOST = ['groups cchost-control']; // this host's own, which stays

// Which group reaches which, by the policies: lines of "from -> to protocol/ports".
const reach = (nb) => [...nb.policies.values()].filter((p) => p.enabled).flatMap((p) => p.rules.flatMap((r) => {
  const name = (id) => nb.groups.get(id).name;
  const line = (a, b) => `${name(a)} -> ${name(b)} ${r.protocol}${r.ports ? `/${r.ports}` : ''}`;
  return r.sources.flatMap((a) => r.destinations.flatMap((b) => [...new Set([line(a, b), ...(r.bidirectional ? [line(b, a)] : [])])]));
})).sort();

// A command on the server's data, beside it.
function run(m, ...args) {
  return new Promise((resolve) => {
    const p = spawn(binary, args, { env: { ...process.env, ...m.netbird.env, DATA_DIR: m.data, PROVIDER: 'mock', MOCK: `{state="${m.dir}/world"}`, POLICIES_DIR: path.join(m.dir, 'policies') } });
    let out = '';
    for (const s of [p.stdout, p.stderr]) s.on('data', (d) => { out += d; });
    p.on('exit', (code) => resolve({ code, out }));
  });
}
const lua = (m, text) => {
  const file = path.join(m.dir, 'script.lua');
  fs.writeFileSync(file, `local app = require "script"\napp.open()\n${text}`);
  return run(m, file);
};
const sweep = async (m) => {
  const r = await run(m, 'netbird', 'sweep');
  assert.strictEqual(r.code, 0, r.out);
  return Number(/^(\d+) removed/m.exec(r.out)[1]);
};

withMesh(test, 'a machine joins its owner\'s group with a key that is good once, and leaves nothing', {}, async (m, nb) => {
  const ann = await m.person();
  let key;
  nb.onPeers = (name) => { // it boots
    if (nb.keys.size) key = { ...only(nb.keys) };
    m.boot(name);
  };
  const one = await m.machine(ann, { name: 'one' });
  assert.deepStrictEqual([one.status, one.mesh], ['RUNNING', { network: 'netbird', peer: only(nb.peers).id, address: only(nb.peers).ip }]);
  assert.deepStrictEqual([key.name, key.type, key.usage_limit, key.ephemeral, key.auto_groups], [`cchost-machine-${one.short}`, 'one-off', 1, false, [nb.group(user(ann)).id]]);
  const made = nb.requests.find((r) => r.method === 'POST' && r.path === '/api/setup-keys').body;
  assert.ok(made.expires_in >= 86400, 'not shorter than the API says');
  assert.strictEqual(nb.keys.size, 0, 'a key that was used is taken away');
  assert.deepStrictEqual(nb.members(nb.group(user(ann))).map((p) => p.name), [`cc-${one.short}`]);
  assert.deepStrictEqual(nb.left(), ['groups cchost-control', `groups ${user(ann)}`, `peers cc-${one.short}`, `policies cchost-control-${ann.id}`, `policies ${user(ann)}`]);
  await ann.call('DELETE', '/instances/one');
  assert.deepStrictEqual(nb.left(), HOST);
  const order = nb.requests.filter((r) => r.method === 'DELETE').map((r) => r.path.split('/')[2]).slice(1);
  assert.deepStrictEqual(order, ['policies', 'policies', 'peers', 'groups']);
});

withMesh(test, 'the setup key is shown to nobody and kept by nobody', {}, async (m, nb) => {
  const ann = await m.person();
  const keys = [];
  nb.onPeers = (name) => { for (const k of nb.clear.values()) keys.push(k); m.boot(name); };
  const r = await ann.call('POST', '/instances?wait=30', { name: 'one' });
  assert.strictEqual(r.body.status, 'RUNNING', r.text);
  const script1 = (await ann.call('GET', '/connect.sh')).text;
  const device = /'([0-9A-F-]{36})' >"\$dir\/key"/.exec(script1)[1];
  keys.push(device);
  const seen = [];
  for (const where of ['/instances', `/instances/${r.body.id}`, `/instances/${r.body.id}/events`, r.headers.location, '/operations', '/policies', '/policies/live', `/users/${ann.id}`]) seen.push((await m.server.call('GET', where)).text);
  const out = path.join(m.dir, 'export');
  assert.strictEqual((await run(m, 'export', out)).code, 0);
  seen.push(fs.readFileSync(out, 'utf8'), m.server.log, (await run(m, 'log')).out, (await run(m, 'operations')).out);
  assert.ok(keys.length >= 2);
  for (const text of seen) for (const key of keys) assert.ok(!text.includes(key), text.slice(0, 300));
  assert.ok(seen.some((text) => text.includes('user/' + ann.id + '/netbird_device')), 'what is kept is sealed');
  assert.ok(!seen.some((text) => text.includes('netbird_key')), 'of the machine\'s nothing is kept');
  assert.ok(!seen.some((text) => text.includes(nb.token)), 'nor is the token');
});

withMesh(test, 'two owners: neither reaches the other, this host reaches the agent\'s port alone, and nobody this host', { env: { NETBIRD_AGENT_PORT: '3111' } }, async (m, nb) => {
  const [ann, bob] = [await m.person('ann@example.org'), await m.person('bob@example.org')];
  await Promise.all([m.machine(ann, { name: 'a1' }), m.machine(ann, { name: 'a2' }), m.machine(bob, { name: 'b1' })]);
  assert.deepStrictEqual(reach(nb), [
    `cchost-control -> ${user(ann)} tcp/3111`, `cchost-control -> ${user(bob)} tcp/3111`, `${user(ann)} -> ${user(ann)} all`, `${user(bob)} -> ${user(bob)} all`].sort());
  assert.strictEqual(nb.members(nb.group(user(ann))).length, 2);
  for (const p of nb.peers.values()) assert.strictEqual(p.groups.length, 2, 'All and one owner\'s');
  assert.strictEqual([...nb.routes.values()].length, 0, 'a machine is reached without a route');
});

withMesh(test, 'the group and its policies stay until the owner\'s last machine goes', {}, async (m, nb) => {
  const ann = await m.person();
  await Promise.all(['one', 'two', 'three'].map((name) => m.machine(ann, { name })));
  assert.strictEqual(nb.named('groups', user(ann)).length, 1);
  await ann.call('DELETE', '/instances/one');
  assert.deepStrictEqual([nb.peers.size, nb.policies.size, !!nb.group(user(ann))], [2, 2, true]);
  await Promise.all(['two', 'three'].map((name) => ann.call('DELETE', `/instances/${name}`))); // both are the last
  assert.deepStrictEqual(nb.left(), HOST);
});

withMesh(test, 'a machine that keeps its disk over a stop stays the peer that it is', {}, async (m, nb) => {
  const ann = await m.person();
  const one = await m.machine(ann, { name: 'one' });
  nb.requests.length = 0;
  await ann.call('POST', '/instances/one/stop');
  const again = (await ann.call('POST', '/instances/one/start')).body;
  assert.deepStrictEqual([again.status, again.mesh], ['RUNNING', one.mesh]);
  assert.deepStrictEqual(nb.requests, []);
});

withMesh(test, 'a paused machine that is made anew wakes with a fresh key, not the one that it had used', { mock: 'stop_keeps_disk=false' }, async (m, nb) => {
  const ann = await m.person();
  const one = await m.machine(ann, { name: 'one' });
  const before = m.key(one.short);
  assert.strictEqual((await ann.call('POST', '/instances/one/pause')).body.status, 'STOPPED');
  assert.strictEqual((await ann.call('POST', '/instances/one/wake')).body.status, 'RUNNING');
  assert.notStrictEqual(m.key(one.short), before);
  const now = (await ann.call('GET', '/instances/one')).body;
  assert.strictEqual(only(nb.peers).id, now.mesh.peer, 'the peer that it was is gone');
  assert.notStrictEqual(now.mesh.peer, one.mesh.peer);
  assert.strictEqual(nb.keys.size, 0);
  const resized = await ann.call('POST', '/instances/one/resize?wait=30', { type: 'medium' });
  assert.ok(resized.status < 300, resized.text);
  await until(async () => (await ann.call('GET', '/instances/one')).body.type === 'medium' && (await ann.call('GET', '/instances/one')).body.status === 'RUNNING', 'resized');
  const after = (await ann.call('GET', '/instances/one')).body;
  assert.deepStrictEqual([after.status, after.type, only(nb.peers).id], ['RUNNING', 'medium', after.mesh.peer]);
  assert.notStrictEqual(after.mesh.peer, now.mesh.peer);
  await ann.call('DELETE', '/instances/one');
  assert.deepStrictEqual(nb.left(), HOST);
});

withMesh(test, 'a machine that vanished at its provider is made anew with a fresh key', { settings: { sweep_seconds: 3600 } }, async (m, nb) => {
  const ann = await m.person();
  const one = await m.machine(ann, { name: 'one' });
  await ann.call('POST', '/instances/one/stop');
  const gone = await lua(m, `app.must(require("providers").get("mock"):destroy("cc-${one.short}"))`);
  assert.strictEqual(gone.code, 0, gone.out);
  const again = (await ann.call('POST', '/instances/one/start')).body;
  assert.deepStrictEqual([again.status, only(nb.peers).id, nb.keys.size], ['RUNNING', again.mesh.peer, 0]);
  assert.notStrictEqual(again.mesh.peer, one.mesh.peer);
});

// ---- what goes wrong

for (const [what, options, fault] of [
  ['the provider cannot make it', { mock: 'create={fail=1,code="invalid"}' }],
  ['no key can be made', {}, { method: 'POST', path: '/api/setup-keys', status: 422, times: 2 }],
  ['the group cannot be made', {}, { method: 'POST', path: '/api/groups', status: 403, message: 'user is not allowed to do this' }],
  ['the policy cannot be made', {}, { method: 'POST', path: '/api/policies', status: 422, times: 2 }],
  ['the second policy cannot be made', { second: true }, null],
]) {
  withMesh(test, `when ${what}, neither group nor key nor peer nor machine is left, and the next machine finds no conflict`, options, async (m, nb) => {
    const ann = await m.person();
    if (fault) nb.fault(fault);
    if (options.second) { // the one of this host
      nb.onPeers = (name) => { m.boot(name); nb.fault({ method: 'GET', path: /name=cchost-control/, status: 422 }); nb.onPeers = (n) => m.boot(n); };
    }
    const r = await ann.call('POST', '/instances', { name: 'one' });
    const op = await m.operation(r);
    assert.strictEqual(op.state, 'failed', JSON.stringify(op));
    const rec = (await ann.call('GET', '/instances/one')).body;
    assert.deepStrictEqual([rec.status, rec.mesh], ['ERROR', undefined]);
    assert.deepStrictEqual(nb.left().filter((x) => x !== HOST[0]), []);
    assert.strictEqual((await run(m, 'export', path.join(m.dir, 'x'))).code, 0);
    assert.ok(!fs.readFileSync(path.join(m.dir, 'x'), 'utf8').includes('netbird_key'));
    const two = await m.machine(ann, { name: 'two' });
    assert.strictEqual(two.status, 'RUNNING');
    assert.strictEqual((await ann.call('POST', '/instances/one/start')).body.status, 'RUNNING', 'and what failed can be started');
    assert.strictEqual(nb.members(nb.group(user(ann))).length, 2);
    for (const name of ['one', 'two']) await ann.call('DELETE', `/instances/${name}`);
    assert.deepStrictEqual(nb.left(), HOST);
  });
}

withMesh(test, 'a machine that never joins is not one that runs: all of it is undone', { settings: { status_seconds: '{STARTING=9}' } }, async (m, nb) => {
  m.paused = true;
  const ann = await m.person();
  const op = await m.operation(await ann.call('POST', '/instances', { name: 'one' }));
  assert.deepStrictEqual([op.state, op.error.step], ['failed', 'netbird.join'], JSON.stringify(op));
  assert.match(op.error.message, /has not joined the network yet|its time is over/);
  assert.deepStrictEqual(nb.left(), []);
  assert.deepStrictEqual((await m.server.call('GET', '/instances')).body.map((x) => x.status), ['ERROR']);
  assert.strictEqual(m.asked().filter((l) => l.changed).pop().op, 'destroy');
});

withMesh(test, 'a wrong token is told in words, everything that needs no network works, and a deletion waits for the right one', { env: { NETBIRD_API_TOKEN: 'nbp_wrong' }, settings: { sweep_seconds: 1 } }, async (m, nb) => {
  const ann = await m.person();
  const op = await m.operation(await ann.call('POST', '/instances', { name: 'one' }));
  assert.match(op.error.message, /Netbird: it does not take NETBIRD_API_TOKEN/);
  assert.strictEqual(m.asked().filter((l) => l.changed).length, 0, 'no machine was made');
  assert.deepStrictEqual(nb.left(), []);
  const two = await m.machine(ann, { name: 'two', network: 'none' });
  assert.deepStrictEqual([two.status, two.mesh], ['RUNNING', undefined]);
  await ann.call('DELETE', '/instances/one');
  const one = (await ann.call('GET', '/instances/one')).body;
  assert.deepStrictEqual([one.status, one.desired], ['ERROR', 'DELETED'], 'who knows what it may have there');
  await m.server.kill();
  m.server.how.env.NETBIRD_API_TOKEN = nb.token;
  await m.server.launch();
  await until(async () => (await m.server.call('GET', `/instances/${one.id}`)).body.status === 'DELETED', () => `deleted\n${m.server.log}`, 60);
});

withMesh(test, 'without a token nothing of it runs', { env: { NETBIRD_API_TOKEN: '' } }, async (m, nb) => {
  const ann = await m.person();
  const one = await m.machine(ann, { name: 'one' });
  assert.deepStrictEqual([one.status, one.mesh], ['RUNNING', undefined]);
  assert.match((await ann.call('GET', '/connect.sh')).text, /cannot be attached to/);
  await ann.call('POST', '/instances/one/stop');
  await ann.call('POST', '/instances/one/start');
  await ann.call('DELETE', '/instances/one');
  assert.deepStrictEqual(nb.requests, []);
});

withMesh(test, 'machines of providers that are not named do not join', { providers: ['hetzner'] }, async (m, nb) => {
  assert.strictEqual((await m.machine(await m.person(), { name: 'one' })).status, 'RUNNING');
  assert.deepStrictEqual(nb.requests, []);
});

withMesh(test, 'Netbird is away, slow, full or forgetful: what was asked for is done all the same, once', { netbird: { absent404: true } }, async (m, nb) => {
  const ann = await m.person();
  nb.fault({ method: 'POST', path: '/api/groups', drop: 'after' }); // made, and the answer is lost
  nb.fault({ method: 'POST', path: '/api/setup-keys', drop: 'after' });
  nb.fault({ method: 'POST', path: '/api/policies', drop: 'after', times: 2 });
  nb.fault({ method: 'GET', path: '/api/setup-keys', status: 429, headers: { 'Retry-After': '1' } });
  nb.fault({ method: 'GET', path: /peers/, status: 503 });
  const one = await m.machine(ann, { name: 'one' });
  assert.strictEqual(one.status, 'RUNNING', m.server.log);
  assert.deepStrictEqual(nb.left(), ['groups cchost-control', `groups ${user(ann)}`, `peers cc-${one.short}`, `policies cchost-control-${ann.id}`, `policies ${user(ann)}`]);
  nb.fault({ method: 'DELETE', drop: 'after', times: 3 });
  nb.fault({ method: 'DELETE', status: 500, times: 2 });
  nb.fault({ method: 'GET', drop: true, times: 4 });
  await ann.call('DELETE', '/instances/one');
  await until(async () => (await ann.call('GET', `/instances/${one.id}`)).body.status === 'DELETED', () => `deleted\n${m.server.log}`, 60);
  assert.deepStrictEqual(nb.left(), HOST);
});

withMesh(test, 'a policy that somebody has bent is put right, and one that there is twice becomes one', {}, async (m, nb) => {
  const ann = await m.person();
  await m.machine(ann, { name: 'one' });
  const control = nb.named('policies', `cchost-control-${ann.id}`)[0];
  Object.assign(control.rules[0], { protocol: 'all', bidirectional: true, ports: undefined });
  const own = nb.named('policies', user(ann))[0];
  nb.add('policies', { ...own, id: undefined, name: own.name, rules: own.rules }); // a late answer
  const twin = [...nb.policies.values()].pop();
  twin.id = [...nb.policies.keys()].pop();
  await m.machine(ann, { name: 'two' });
  assert.deepStrictEqual(reach(nb), [`cchost-control -> ${user(ann)} tcp/3001`, `${user(ann)} -> ${user(ann)} all`]);
  assert.strictEqual(nb.policies.size, 2);
});

withMesh(test, 'a group that something else refers to ends no deletion: it stays, is told of, and goes when it can', {}, async (m, nb) => {
  const ann = await m.person();
  const one = await m.machine(ann, { name: 'one' });
  nb.group(user(ann)).dns = true;
  await ann.call('DELETE', '/instances/one');
  await until(async () => (await ann.call('GET', `/instances/${one.id}`)).body.status === 'DELETED', () => `deleted\n${m.server.log}`, 60);
  assert.match(m.server.log, /a group stays, for something else refers to it/);
  assert.deepStrictEqual(nb.left(), [...HOST, `groups ${user(ann)}`]);
  assert.strictEqual(await sweep(m), 0);
  delete nb.group(user(ann)).dns;
  assert.strictEqual(await sweep(m), 1);
  assert.deepStrictEqual(nb.left(), HOST);
});

// ---- devices

const deviceKey = async (who, query = '') => {
  const { text } = await who.call('GET', `/connect.sh${query}`);
  return { text, key: /'([0-9A-F-]{36})' >"\$dir\/key"/.exec(text)?.[1] };
};

withMesh(test, 'the user\'s own device joins his group by connect.sh, and goes with his last machine', {}, async (m, nb) => {
  const [ann, bob] = [await m.person('ann@example.org'), await m.person('bob@example.org')];
  const one = await m.machine(ann, { name: 'one' });
  assert.match((await deviceKey(bob)).text, /no running instance found/);
  assert.match((await m.server.call('GET', '/connect.sh', undefined, { 'X-API-Key': undefined })).text, /missing authentication/);
  assert.deepStrictEqual(nb.keys.size, 0, 'who may not, causes no key');
  const first = await deviceKey(ann);
  assert.match(first.text, new RegExp(`mosh' .*claude@${one.mesh.address.replaceAll('.', '\\.')}|mosh 'claude@${one.mesh.address}'`));
  assert.ok(first.text.includes(`--management-url '${nb.url}'`), 'not Netbird\'s own cloud');
  const again = await Promise.all([deviceKey(ann), deviceKey(ann), deviceKey(ann, '?instance=one')]);
  assert.deepStrictEqual([...new Set(again.map((x) => x.key))], [first.key], 'however often it is fetched, one key is out');
  assert.strictEqual(nb.keys.size, 1);
  const k = only(nb.keys);
  assert.deepStrictEqual([k.type, k.usage_limit, k.ephemeral, k.auto_groups], ['one-off', 1, false, [nb.group(user(ann)).id]]);
  nb.register(first.key, 'anns-laptop');
  assert.throws(() => nb.register(first.key, 'thief'), /overused/);
  assert.deepStrictEqual(nb.members(nb.group(user(ann))).map((p) => p.name).sort(), ['anns-laptop', `cc-${one.short}`]);
  const second = await deviceKey(ann);
  assert.notStrictEqual(second.key, first.key);
  nb.sso('boss-laptop', [user(ann)]); // of somebody who signs in at Netbird: not ours to remove
  nb.sso('stranger', []);
  await ann.call('DELETE', '/instances/one');
  assert.deepStrictEqual(nb.left(), [...HOST, 'peers boss-laptop', 'peers stranger']);
  const out = path.join(m.dir, 'x');
  assert.strictEqual((await run(m, 'export', out)).code, 0);
  assert.ok(!fs.readFileSync(out, 'utf8').includes('netbird_device'));
});

withMesh(test, 'a machine that is not in the network causes no key for a device', {}, async (m, nb) => {
  const ann = await m.person();
  await m.machine(ann, { name: 'one', network: 'none' });
  assert.match((await deviceKey(ann)).text, /cannot be attached to/);
  assert.deepStrictEqual(nb.requests, []);
});

// ---- clean-up

withMesh(test, 'keys of ours that were used or have expired are removed, and nobody else\'s', {}, async (m, nb) => {
  const ann = await m.person();
  const one = await m.machine(ann, { name: 'one' });
  const key = (name, how = {}) => {
    const k = nb.make('keys', { name, type: 'one-off', expires_in: 86400, auto_groups: [nb.group(user(ann)).id], usage_limit: 1 });
    Object.assign(k, how.revoked && { revoked: true }, how.used && { used_times: 1 });
    if (how.expired) nb.expire(k);
    return name;
  };
  const theirs = [key('reusable of the office', { expired: true }), key('cchost-backup', { used: true }), key('cchost-machine-of-bob', { expired: true }), key(`other-machine-${one.short}`, { expired: true }),
    key('cchost-machine-0123456789ab'), key('x', { revoked: true })];
  key(`cchost-machine-${one.short}`, { expired: true });
  key(`cchost-device-${ann.id}`, { used: true });
  key('cchost-machine-ba9876543210', { revoked: true });
  key('cchost-host', { used: true });
  const live = key(`cchost-device-${ann.id}`);
  assert.strictEqual(await sweep(m), 4);
  assert.deepStrictEqual([...nb.keys.values()].map((k) => k.name).sort(), [...theirs, live].sort());
  assert.strictEqual(await sweep(m), 0);
  assert.strictEqual(nb.requests.filter((r) => r.method === 'PUT').length, 0, 'none is revoked: a revoked key stays for ever');
  assert.strictEqual((await ann.call('GET', '/instances/one')).body.status, 'RUNNING');
});

withMesh(test, 'what comes after all was torn down (a late answer) is removed, too; of the living nothing', {}, async (m, nb) => {
  const [ann, bob] = [await m.person('ann@example.org'), await m.person('bob@example.org')];
  const one = await m.machine(ann, { name: 'one' });
  await m.machine(bob, { name: 'two' });
  await ann.call('DELETE', '/instances/one');
  const before = nb.left();
  const group = nb.make('groups', { name: user(ann) });
  nb.make('keys', { name: `cchost-machine-${one.short}`, type: 'one-off', expires_in: 86400, auto_groups: [group.id], usage_limit: 1 });
  const peer = nb.peer(`cc-${one.short}`, [group.id], '');
  nb.make('routes', { network_id: `cchost-${one.short}`, peer: peer.id, network: '10.9.8.0/24', groups: [group.id], metric: 1, keep_route: false, enabled: true });
  const rule = { name: 'r', enabled: true, action: 'accept', bidirectional: true, protocol: 'all', sources: [group.id], destinations: [group.id] };
  nb.make('policies', { name: user(ann), enabled: true, rules: [rule] });
  nb.make('groups', { name: 'cchost-user-01234567-89ab-4cde-8f01-23456789abcd' }); // of another cchost
  nb.make('groups', { name: 'cchost-users' });
  assert.strictEqual(await sweep(m), 5);
  assert.deepStrictEqual(nb.left(), [...before, 'groups cchost-user-01234567-89ab-4cde-8f01-23456789abcd', 'groups cchost-users'].sort());
});

test('the shipped schedule cleans up every 30 minutes', () => {
  assert.match(fs.readFileSync(path.join(root, 'policies/schedule.lua'), 'utf8'), /name = "netbird", every = "30m", run = function\(\) return housekeeping\.netbird\(\) end/);
});

withMesh(test, 'the job of the schedule is the sweep', { settings: {} }, async (m, nb) => {
  const ann = await m.person();
  await m.machine(ann, { name: 'one' });
  nb.expire(nb.make('keys', { name: `cchost-device-${ann.id}`, type: 'one-off', expires_in: 86400, auto_groups: [], usage_limit: 1 }));
  fs.writeFileSync(path.join(m.dir, 'policies/schedule.lua'), 'return { kind = "schedule", name = "default", version = 2, jobs = { { name = "netbird", every = "1s", run = function() return housekeeping.netbird() end } } }');
  await until(() => nb.keys.size === 0, () => `the key is gone\n${m.server.log}`);
});

// ---- networks behind machines

withMesh(test, 'a route is made where there is a network behind the machine, none is anybody else\'s, and it goes first', { mock: 'addresses=true' }, async (m, nb) => {
  const [ann, bob] = [await m.person('ann@example.org'), await m.person('bob@example.org')];
  const one = await m.machine(ann, { name: 'one', subnet_id: 'net' });
  await m.machine(bob, { name: 'two', subnet_id: 'net' });
  await m.machine(bob, { name: 'three' });
  const routes = [...nb.routes.values()];
  assert.strictEqual(new Set(routes.map((r) => r.network)).size, 2, 'no two owners have the same network');
  const mine = routes.find((r) => r.network_id === `cchost-${one.short}`);
  assert.deepStrictEqual([mine.peer, mine.groups, mine.access_control_groups, mine.network], [one.mesh.peer, [nb.group(user(ann)).id], [nb.group(user(ann)).id], one.address.replace(/\.\d+\//, '.0/')]);
  assert.strictEqual(m.told(one.short).address, one.address, 'the provider is told');
  for (const [who, names] of [[ann, ['one']], [bob, ['two', 'three']]]) for (const name of names) await who.call('DELETE', `/instances/${name}`);
  assert.deepStrictEqual(nb.left(), HOST);
  const out = path.join(m.dir, 'x');
  assert.strictEqual((await run(m, 'export', out)).code, 0);
  assert.ok(!/"kind":"address/.test(fs.readFileSync(out, 'utf8')), 'all addresses are given back');
});

// ---- what an operator asks

withMesh(test, 'provider check netbird: in plain words', { netbird: { modules: Object.fromEntries(['groups', 'setup_keys', 'peers', 'policies', 'routes'].map((k) => [k, { read: true, create: true, update: true, delete: true }])) } }, async (m, nb) => {
  const check = async () => {
    const r = await run(m, 'provider', 'check', 'netbird', '--json');
    return { code: r.code, ...Object.fromEntries(r.out.trim().split('\n').map((l) => JSON.parse(l)).map((f) => [f.what, `${f.state}: ${f.sentence}`])) };
  };
  let c = await check();
  assert.strictEqual(c.code, 0, JSON.stringify(c));
  assert.match(c.token, /^ok: Netbird at http.* takes the token, as admin$/);
  assert.match(c.rights, /^ok/);
  assert.match(c.isolation, /^ok/);
  assert.match(c['this host'], /^warn: no peer is in the group cchost-control/);
  const key = await run(m, 'netbird', 'key');
  nb.register(/^([0-9A-F-]{36})$/m.exec(key.out)[1], 'host');
  assert.deepStrictEqual(nb.members(nb.group('cchost-control')).map((p) => p.name), ['host']);
  c = await check();
  assert.match(c['this host'], /^ok/);
  nb.options.modules.setup_keys.create = false;
  nb.options.extra = { peer_approval_enabled: true };
  nb.make('policies', { name: 'Default', enabled: true, rules: [{ name: 'Default', enabled: true, action: 'accept', bidirectional: true, protocol: 'all', sources: [nb.all.id], destinations: [nb.all.id] }] });
  c = await check();
  assert.strictEqual(c.code, 1);
  assert.match(c.rights, /^bad: the token may not create setup keys; its user needs the role admin/);
  assert.match(c.isolation, /^bad: the policy 'Default' lets every peer reach every other/);
  assert.match(c.approval, /^bad: /);
  nb.fault({ path: '/api/users/current', status: 401, message: 'token invalid' });
  c = await check();
  assert.deepStrictEqual([c.code, c.token], [1, 'bad: Netbird: it does not take NETBIRD_API_TOKEN (token invalid)']);
});
