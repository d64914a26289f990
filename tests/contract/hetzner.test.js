// The driver hetzner against a double of Hetzner's API, whose servers are sshd's in namespaces (tests/lib/hetzner.js): the contract,
// then what is this driver's own, by the whole host. Every request is one that Hetzner's document allows, or its test fails.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFile, execFileSync } = require('node:child_process');
const { promisify } = require('node:util');
const { Server, until, temp, root, binary } = require('../lib/cchost.js');
const { CrashProxy, crashes } = require('../lib/crashproxy.js');
const { same } = require('../lib/image.js');
const { contract } = require('../lib/contract.js');
const { Hetzner } = require('../lib/hetzner.js');
const { Terminal } = require('../lib/terminal.js');

const has = (program) => { try { execFileSync('which', [program]); return true; } catch { return false; } };
const why = process.getuid() !== 0 ? 'it needs root' : ['unshare', 'sshd', 'ssh', 'ssh-keygen', 'curl'].filter((p) => !has(p)).map((p) => `${p} is not here`)[0];
const skip = why && `hetzner: ${why}`;
if (skip && (process.env.BACKENDS || '').split(' ').includes('hetzner')) throw new Error(`this host is meant to have the double of Hetzner: ${why}`);
const unchecked = Hetzner.missing();

const quick = { poll_ms: 10, retry_ms: 20, ssh_every_ms: 50, ssh_tries: 100, stop_grace_ms: 2000 };

let z;
test.before(async () => {
  if (!skip) z = await Hetzner.start({ machines: true, checked: !unchecked, limit: 1000000 });
});
test.after(async () => {
  if (!z) return;
  const left = z.world.left();
  await z.stop();
  assert.deepStrictEqual(left, [], 'nothing of ours is left');
});

const table = (o) => `{${Object.entries(o).map(([k, v]) => `${k}=${typeof v === 'string' ? `"${v}"` : v}`).join(',')}}`;
const settings = (more = {}, options = {}) => ({ provider: 'hetzner', hcloud_endpoint: z.url, hcloud_options: table({ ...quick, ...options }),
  terminal_command: 'exec sh', ...more });
const env = () => ({ HCLOUD_TOKEN: z.token });

const only = (map) => {
  assert.strictEqual(map.size, 1);
  return [...map.values()][0];
};

function clean() {
  z.faults = [];
  z.world.soldOut.clear();
  z.world.failActions = [];
  z.world.limits.servers = Infinity;
  z.machines.refuse = false;
  z.rate.left = z.rate.limit;
}

// Volumes that outlive their machines, as they are meant to, are forgotten.
function forget() { for (const v of [...z.world.volumes.values()]) if (!v.server) z.world.deleteVolume(v); }

async function host(t, more, options) {
  clean();
  const s = await Server.start(settings(more, options), null, { env: env() });
  t.after(async () => {
    clean();
    await s.stop();
    forget();
  });
  return s;
}

async function make(s, body) {
  const r = await s.call('POST', '/instances', { type: 'cpx11', ...body });
  assert.strictEqual(r.status, 201, r.text);
  await s.running(r.body.id, 60);
  return (await s.call('GET', `/instances/${r.body.id}`)).body;
}

async function fails(s, body) {
  const r = await s.call('POST', '/instances', { type: 'cpx11', ...body });
  assert.strictEqual(r.status, 201, r.text);
  return until(async () => {
    const { body: m } = await s.call('GET', `/instances/${r.body.id}`);
    return m.status === 'ERROR' && m;
  }, 'it fails', 60);
}

const run = async (s, m, line) => {
  const r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line], timeout: 20 });
  assert.strictEqual(r.status, 200, r.text);
  return r.body;
};

const serverOf = (m) => z.named(m.short);
const ownVolume = (m) => [...z.world.volumes.values()].find((v) => v.name === `cc-${m.short}`);
const dirOf = (s, m) => path.join(s.dir, 'hetzner', 'machines', m.short);

test('the contract', { skip }, async (t) => {
  await contract(t, 'hetzner', { endpoint: z.url, token: z.token, ...quick }, {
    left: `curl -sf ${z.base}/left`, halt: `curl -sf ${z.base}/halt?short=$SHORT`, remove: `curl -sf ${z.base}/remove?short=$SHORT`,
    down: 'endpoint=http://127.0.0.1:1/v1',
  });
});

test('the validator of the requests refuses a wrong one', { skip: skip || unchecked }, async () => {
  await fetch(`${z.url}/servers`, { method: 'POST', headers: { authorization: `Bearer ${z.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'x', image: 'ubuntu-24.04', server_type: 'cpx11', wrong: 1, location: 'nowhere' }) });
  assert.match(z.refused().join(), /wrong/);
});

// ---- by the whole host

test('from an HTTP call to a shell on a server, through pause and wake, to nothing left', { skip }, async (t) => {
  const s = await host(t);
  const m = await make(s, { name: 'box', env: { WORD: 'one two' } });
  const auth = { 'X-API-Key': s.key };
  const tty = await Terminal.open(`${s.url}/instances/box/terminal`, auth);
  tty.type('echo $((6*7)) "$WORD" $(id -un); echo kept >/claude-data/file\r');
  await tty.sees(/42 one two claude\r\n/);
  await tty.close();
  const first = serverOf(m);
  let x = await s.call('POST', '/instances/box/pause');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'STOPPED'], x.text);
  assert.strictEqual(serverOf(m), undefined, 'a machine that is paused costs no server');
  assert.ok(ownVolume(m), 'pausing deletes no data');
  x = await s.call('POST', '/instances/box/wake');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'RUNNING'], x.text);
  assert.strictEqual((await run(s, m, 'cat /claude-data/file; echo "$WORD"')).stdout, 'kept\none two\n');
  assert.notStrictEqual(serverOf(m).userData, first.userData, 'what is used once is made anew for each server');
  const stats = await s.call('GET', '/instances/box/stats');
  assert.strictEqual(stats.status, 200, stats.text);
  x = await s.call('DELETE', '/instances/box');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'DELETED'], x.text);
  assert.deepStrictEqual(z.world.left(), [], 'its data go with a machine that is deleted: they stayed there for ever, and cost');
});

// B7, B8, B8b
test('a server has the agent, its volume at /claude-data, ssh for its user alone, and nothing else open', { skip }, async (t) => {
  const s = await host(t);
  const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxbq6JLXbQOyaUAG2QU5fUugEgSMPf6QEiNX8miEDgK a@b';
  const m = await make(s, { name: 'box', ssh_keys: [key], volumes: [{ id: 'more', path: '/more data' }] });
  const server = serverOf(m);
  const [firewall] = [...z.world.firewalls.values()];
  assert.deepStrictEqual(server.public_net.firewalls.map((f) => f.id), [firewall.id]);
  assert.deepStrictEqual(firewall.rules, [{ direction: 'in', protocol: 'tcp', port: '22', source_ips: ['0.0.0.0/0', '::/0'] }]);
  assert.strictEqual((await run(s, m, 'mountpoint -q /claude-data && mountpoint -q "/more data" && stat -c %U /claude-data')).stdout, 'claude\n');
  assert.match((await run(s, m, 'cat ~/.ssh/authorized_keys; ls -ld ~ | cut -d" " -f3')).stdout, /a@b\nclaude\n$/, 'whose home is his');
  await same(async (line) => (await run(s, m, line)).stdout);
  assert.strictEqual((await run(s, m, 'cchost-busy hold -r "a build" -t 10m')).exit, 0);
  assert.deepStrictEqual((await s.call('GET', '/instances/box/stats')).body.leases.map((l) => l.reason), ['a build']);
  assert.deepStrictEqual([m.ssh.host, m.ssh.port, m.ssh.user], [server.public_net.ipv4.ip, 22, 'claude']);
  // its address in its owner's network is one that it has
  const network = only(z.world.networks);
  assert.deepStrictEqual(server.private_net.map((n) => [n.network, n.ip]), [[network.id, m.address.split('/')[0]]]);
  assert.ok(network.subnets.some((n) => n.ip_range === `${m.address.replace(/\.\d+\/\d+$/, '')}.0/24`), JSON.stringify(network.subnets));
});

test('a server gets the tools that it has not where that is asked for, and nobody waits for them', { skip }, async (t) => {
  const s = await host(t, {}, { install: true });
  const m = await make(s);
  await until(async () => /^setup: /m.test((await run(s, m, 'cat /var/log/cchost-setup.log')).stdout), 'it says what it does');
  const no = await promisify(execFile)(binary, ['provider', 'check', 'hetzner', `--hcloud-endpoint=${z.url}`, '--hcloud-options={install=1}'], { env: { ...process.env, HCLOUD_TOKEN: 'x' } }).catch((e) => e);
  assert.match(`${no.stdout}${no.stderr}`, /install: true or false expected/);
});

test('an owner has a network in each zone where he has machines, and another one has his own', { skip }, async (t) => {
  const s = await host(t);
  const other = await s.account('other@example.org');
  const made = [];
  for (const [location, user_id] of [['fsn1'], ['nbg1'], ['ash'], ['fsn1', other]]) made.push(await make(s, { location, user_id }));
  const at = made.map((m) => serverOf(m).private_net);
  assert.deepStrictEqual(at.map((list) => list.map((n) => n.ip)), made.map((m) => [m.address.split('/')[0]]));
  const [first, second, far, others] = at.map((list) => list[0].network);
  assert.strictEqual(first, second);
  assert.strictEqual(new Set([first, far, others]).size, 3);
  assert.deepStrictEqual([first, far].map((id) => z.world.networks.get(id).subnets[0].network_zone), ['eu-central', 'us-east']);
  await s.call('DELETE', `/instances/${made[0].id}`);
  assert.strictEqual(z.world.networks.size, 3, 'one of his is still there');
  await s.call('DELETE', `/instances/${made[1].id}`);
  assert.deepStrictEqual([...z.world.networks.keys()].sort(), [far, others].sort());
  for (const m of made.slice(2)) await s.call('DELETE', `/instances/${m.id}`);
  assert.deepStrictEqual(z.world.left(), []);
});

// C11
test('the host key is pinned: the one of the first contact is gone, another one is refused', { skip }, async (t) => {
  const s = await host(t);
  const m = await make(s, { ssh_keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxbq6JLXbQOyaUAG2QU5fUugEgSMPf6QEiNX8miEDgK a@b'] });
  const ip = serverOf(m).public_net.ipv4.ip;
  const scan = execFileSync('ssh-keyscan', ['-T', '5', ip], { stdio: ['ignore', 'pipe', 'ignore'] }).toString().trim().split('\n').map((l) => l.replace(/^\S+ /, ''));
  assert.deepStrictEqual(scan, [m.ssh.host_key], 'it has one key, and that is the pinned one');
  assert.ok(!serverOf(m).userData.includes(scan[0].split(' ')[1]), 'which never was in user data');
  assert.strictEqual(fs.readFileSync(path.join(dirOf(s, m), 'known_hosts'), 'utf8'), `cc-${m.short} ${scan[0]}\n`);
  assert.ok(!fs.existsSync(path.join(dirOf(s, m), 'first.key')));
  const label = serverOf(m).labels['cchost-host-key'];
  assert.strictEqual(`SHA256:${label.slice(7, -1).replace(/-/g, '+').replace(/_/g, '/')}`, m.ssh.fingerprint, 'and its label says so');
  // somebody else answers there
  await s.kill();
  await z.machines.stop(serverOf(m).id);
  await z.machines.start(serverOf(m), [ownVolume(m)]);
  await s.launch();
  await s.running(m.id);
  const r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['true'] });
  assert.strictEqual(r.status, 503, r.text);
});

// The processes of ssh that keep a machine's connection.
const connections = (s, m) => fs.readdirSync('/proc').filter((pid) => {
  try { return /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`${dirOf(s, m)}/ctl`); } catch { return false; }
});

test('one ssh for each machine: a delete ends it, and it outlives no host for longer than its time', { skip }, async (t) => {
  const s = await host(t, { sweep_seconds: 86400 }, { tunnel_keep_ms: 3000 });
  const [a, b] = [await make(s, { name: 'a' }), await make(s, { name: 'b' })];
  await Promise.all(Array.from({ length: 8 }, () => run(s, b, 'true')));
  assert.strictEqual(connections(s, b).length, 1, 'however many come at once');
  await s.call('DELETE', '/instances/b');
  await until(async () => (await s.status(b.id)) === 'DELETED', 'it is deleted', 30);
  assert.deepStrictEqual(connections(s, b), []);
  await run(s, a, 'true');
  await s.kill();
  assert.strictEqual(connections(s, a).length, 1, 'found again by who comes soon');
  await until(() => connections(s, a).length === 0, 'it ends by itself', 20);
  await s.launch();
  assert.strictEqual((await run(s, a, 'echo back')).stdout, 'back\n');
});

test('no secret of a machine stands in user data, and nothing of it that lasts', { skip }, async (t) => {
  const s = await host(t);
  const m = await make(s, { env: { TOKEN: 'not-to-be-seen' }, cmd: ['sleep', '1000'] });
  const text = serverOf(m).userData;
  for (const word of ['not-to-be-seen', 'sleep', z.token, s.key]) assert.ok(!text.includes(word), word);
  assert.ok(Buffer.byteLength(text) < 4096, `${Buffer.byteLength(text)} bytes`);
  assert.strictEqual((await run(s, m, 'echo $TOKEN; pgrep -fc "[s]leep 1000"')).stdout, 'not-to-be-seen\n1\n');
  const files = fs.readdirSync(s.dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  assert.ok(files.length > 3);
  for (const e of files) assert.ok(!fs.readFileSync(path.join(e.parentPath || e.path, e.name)).includes(z.token), `the provider's token is in ${e.name}`);
});

// C4
test('a server that cannot be logged in to is a failure, told as it is, and nothing of it is left', { skip }, async (t) => {
  const refused = /ssh to cc-\w+ \(127\.[\d.]+\): .*refused/.source;
  for (const [seconds, tries, words] of [[40, 3, `${refused}$`], [12, 1000, `${refused}; its time was up$`]]) {
    const s = await host(t, { status_seconds: table({ STARTING: seconds }) }, { ssh_tries: tries });
    z.machines.refuse = true;
    const m = await fails(s, { name: 'deaf' });
    assert.match(m.error, new RegExp(words));
    await until(() => z.world.left().length === 0, 'nothing is left', 60);
    assert.strictEqual(m.started_at, undefined);
  }
});

// C3, B8c
test('a failure anywhere in a create leaves nothing that costs', { skip }, async (t) => {
  const s = await host(t);
  for (const [fault, words] of [
    [{ method: 'POST', path: '/volumes', status: 422, code: 'invalid_input' }, /invalid_input/],
    [{ method: 'POST', path: '/servers', status: 422, code: 'invalid_input' }, /invalid_input/],
    [{ method: 'PUT', path: /^\/servers\/\d+$/, status: 403, code: 'forbidden' }, /forbidden/],
    [{ action: 'create_server', code: 'placement_error' }, /placement_error/],
  ]) {
    if (fault.action) z.world.failActions.push({ command: fault.action, code: fault.code });
    else z.fault(fault);
    const m = await fails(s, {});
    assert.match(m.error, words);
    await until(() => z.world.left().length === 0, () => `${m.error}: ${z.world.left()}`);
    await s.call('DELETE', `/instances/${m.id}`);
  }
});

test('a project\'s own limit is told as one, and waits for nothing', { skip }, async (t) => {
  const s = await host(t);
  z.world.limits.servers = 0;
  assert.match((await fails(s, {})).error, /resource_limit_exceeded/);
  assert.deepStrictEqual(z.world.left(), []);
});

test('a type that Hetzner does not have, or no more, is refused with what it has', { skip }, async (t) => {
  const s = await host(t);
  const r = await s.call('POST', '/instances', { type: 'cx99' });
  assert.ok(r.status === 422 || r.status === 400, r.text);
  const old = await host(t, { hcloud_types: table({ small: 'cx11' }) });
  assert.match((await fails(old, { type: 'small' })).error, /does not sell cx11 in fsn1/);
});

test('types say where Hetzner sells them, and nothing when it does not answer', { skip }, async (t) => {
  const s = await host(t, { hcloud_types: table({ small: 'cx11', medium: 'cpx31' }) });
  const places = async (of) => Object.fromEntries((await of.call('GET', '/types')).body.map((x) => [x.name, x.locations]));
  const told = await places(s);
  assert.deepStrictEqual([told.cpx11, told.medium, told.small], [['fsn1', 'nbg1', 'hel1', 'ash'], ['fsn1', 'nbg1', 'hel1'], []], 'cx11 is sold no more');
  const asked = () => z.asked('GET', /server_types$/).length;
  const once = asked();
  await places(s);
  assert.strictEqual(asked(), once, 'it is not asked again');
  const away = await host(t, { hcloud_endpoint: 'http://127.0.0.1:1/v1' });
  assert.deepStrictEqual(new Set(Object.values(await places(away))), new Set([undefined]));
});

test('a snapshot or backup of the project\'s other servers is nobody\'s image, until the operator has labelled it', { skip }, async (t) => {
  const s = await host(t);
  const { images } = z.world;
  t.after(() => [77, 78].forEach((id) => images.delete(id)));
  for (const [id, type] of [[77, 'snapshot'], [78, 'backup']]) {
    images.set(id, { ...images.get(11), id, name: null, type, labels: {}, created_from: { id: 1, name: 'shop' } });
    assert.match((await fails(s, { image: `${id}` })).error, /is the project's own: the operator labels it cchost-image=NAME/);
  }
  fs.mkdirSync(path.join(z.dir, 'image-77'), { recursive: true });
  images.get(77).labels['cchost-image'] = 'shop';
  await make(s, { name: 'labelled', image: '77' });
  const own = await host(t, { hcloud_image: '78' });
  images.get(78).type = 'snapshot';
  fs.mkdirSync(path.join(z.dir, 'image-78'), { recursive: true });
  await make(own, { name: 'default' });
});

// the seed's own complaint: cpx21 in fsn1
test('what is sold out is made in the policy\'s next place', { skip }, async (t) => {
  const dir = temp();
  fs.cpSync(path.join(root, 'tests', 'lib', 'policies'), dir, { recursive: true });
  fs.writeFileSync(path.join(dir, 'placement.lua'), `local P = { kind = "placement", name = "near", version = 1 }
function P.place(r)
  local nbg1 = { provider = "hetzner", type = r.type, location = "nbg1" }
  return { provider = "hetzner", type = r.type, location = r.location or "fsn1", fallbacks = { nbg1 } }, "near, else nbg1"
end
function P.selftest(is)
  is(P.place({ type = "cpx21" }).location, "fsn1")
end
return P
`);
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const s = await host(t, { policies_dir: dir });
  z.world.soldOut.add('cpx21@fsn1');
  const from = Date.now();
  const m = await make(s, { name: 'far', type: 'cpx21' });
  assert.strictEqual(serverOf(m).location.name, 'nbg1');
  assert.strictEqual(serverOf(m).server_type.name, 'cpx21');
  assert.ok(Date.now() - from < 20000, 'at once');
  assert.deepStrictEqual(z.world.left(), [`server cc-${m.short}`, `volume cc-${m.short}`, `network ${only(z.world.networks).name}`], 'and nothing is left in fsn1');
});

// B9
test('two creates at once of one name make one machine', { skip }, async (t) => {
  const s = await host(t);
  const both = await Promise.all([1, 2].map(() => s.call('POST', '/instances', { name: 'twin', type: 'cpx11' })));
  assert.deepStrictEqual(both.map((r) => r.status).sort(), [201, 409]);
  await s.running('twin', 60);
  assert.strictEqual(z.world.left().filter((l) => /^server/.test(l)).length, 1);
});

// C5
test('a failed look is never read as "gone"', { skip }, async (t) => {
  const s = await host(t, { sweep_seconds: 1 });
  const m = await make(s, {});
  const server = serverOf(m);
  for (const [status, code] of [[401, 'unauthorized'], [500, 'server_error'], [503, 'unavailable'], [429, 'rate_limit_exceeded']]) {
    z.fault({ method: 'GET', path: /^\/(servers|volumes)/, status, code, times: 6, headers: status === 429 ? { 'Retry-After': '1' } : {} });
    await until(() => z.faults.length === 0, () => `sweeps meet ${status}`, 60);
    assert.strictEqual(await s.status(m.id), 'RUNNING', `${status}`);
    assert.strictEqual(serverOf(m), server);
  }
});

test('a delete survives 429 and faults of any kind, and goes on', { skip }, async (t) => {
  const s = await host(t);
  for (const fault of [
    { method: 'DELETE', path: /^\/servers/, status: 429, code: 'rate_limit_exceeded', headers: { 'Retry-After': '1' } },
    { method: 'DELETE', path: /^\/servers/, status: 423, code: 'locked' },
    { method: 'DELETE', path: /^\/servers/, status: 409, code: 'conflict' },
    { method: 'DELETE', path: /^\/servers/, drop: 'after' },
    { method: 'DELETE', path: /^\/volumes/, status: 503, code: 'unavailable' },
    { method: 'GET', path: /^\/servers/, drop: true },
  ]) {
    const m = await make(s, {});
    z.fault(fault);
    await s.call('DELETE', `/instances/${m.id}`);
    await until(async () => (await s.status(m.id)) === 'DELETED', () => `deleted in spite of ${JSON.stringify(fault)}`, 60);
    assert.strictEqual(serverOf(m), undefined);
    assert.strictEqual(z.faults.length, 0, `it was not met: ${JSON.stringify(fault)}`);
  }
});

test('Hetzner\'s limit of requests is told with its time, and nothing is asked meanwhile', { skip }, async (t) => {
  const s = await host(t, { sweep_seconds: 86400 });
  z.fault({ method: 'GET', path: '/servers', status: 429, code: 'rate_limit_exceeded', headers: { 'Retry-After': '3' } });
  const r = await s.call('POST', '/instances', { type: 'cpx11' });
  const from = Date.now();
  await until(() => z.faults.length === 0, 'the limit is met');
  const n = z.requests.length;
  await s.running(r.body.id, 60);
  assert.ok(Date.now() - from > 2500, `${Date.now() - from} ms`);
  const next = z.requests.slice(n)[0];
  assert.ok(next, 'it went on');
});

// B17
test('a sweep is two lists, however many machines there are, and leaves half of the hour\'s requests to users', { skip }, async (t) => {
  const s = await host(t, { sweep_seconds: 1 });
  await make(s, {});
  z.rate.limit = 200;
  z.rate.left = 110;
  t.after(() => { z.rate.limit = z.rate.left = 1000000; });
  await until(() => z.asked('GET', '/servers').some((r) => r.query.label_selector), 'it sweeps');
  const lists = () => z.asked('GET', '/servers').filter((r) => r.query.label_selector).length;
  const was = lists();
  const m = await make(s, {}); // some three sweeps' time, and what a user asks for goes on
  assert.ok(lists() - was <= 6, `${lists() - was} lists`);
  assert.ok(z.rate.left < 100, 'the half that is users\' is in use');
  const quiet = lists();
  await until(async () => (await s.call('DELETE', `/instances/${m.id}`)).status < 300, 'and goes on', 60);
  assert.strictEqual(lists(), quiet, 'and no sweep takes of it');
});

test('a server that is taken away behind our back is an event, and its data is found again', { skip }, async (t) => {
  const s = await host(t, { sweep_seconds: 1 });
  const m = await make(s, { name: 'lost' });
  await run(s, m, 'echo kept >/claude-data/file');
  await z.machines.stop(serverOf(m).id);
  z.world.deleteServer(serverOf(m));
  await until(async () => serverOf(m) && (await s.status(m.id)) === 'RUNNING', 'the sweep makes it again', 60);
  await until(async () => (await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['cat', '/claude-data/file'] })).body.stdout === 'kept\n', 'with its data', 30);
});

test('what the project has of others is never touched', { skip }, async (t) => {
  const s = await host(t, { orphans: 'delete', orphan_grace_seconds: 0, sweep_seconds: 1 });
  const theirs = [z.world.createServer({ name: 'web-1', server_type: 'cpx11', image: 'debian-12', user_data: '#cloud-config\n{"ssh_keys":{"ecdsa_private":"","ecdsa_public":""},"users":[{"ssh_authorized_keys":[]}],"mounts":[]}\n' }).body.server.id];
  const volume = z.world.createVolume({ name: 'data', size: 10, location: 'fsn1' }).body.volume;
  const m = await make(s, {});
  await s.call('DELETE', `/instances/${m.id}`);
  await until(() => z.world.servers.get(theirs[0]) && z.world.servers.size === 1, 'ours is gone');
  const bad = await fails(s, { volumes: [{ id: 'data', path: '/data' }] }).catch((e) => e);
  assert.ok(z.world.volumes.has(volume.id));
  assert.ok(bad);
  await until(() => !z.world.servers.get(theirs[0]).locks.size, 'it is not locked');
  await z.machines.stop(theirs[0]);
  z.world.deleteServer(z.world.servers.get(theirs[0]));
  z.world.deleteVolume(volume);
});

test('a firewall that was opened wider by hand is closed again', { skip }, async (t) => {
  const [f] = [...z.world.firewalls.values()];
  f.rules.push({ direction: 'in', protocol: 'tcp', port: '7681', source_ips: ['0.0.0.0/0'] });
  const s = await host(t);
  await make(s, {});
  assert.deepStrictEqual(f.rules.map((r) => r.port), ['22']);
});

test('provider check tells in plain words what is wrong', { skip }, async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  clean();
  const check = (more, token = z.token) => new Promise((resolve) => {
    const args = Object.entries({ ...settings(more), data_dir: dir }).map(([k, v]) => `--${k.replace(/_/g, '-')}=${v}`);
    execFile(binary, ['provider', 'check', 'hetzner', ...args], { env: { ...process.env, HCLOUD_TOKEN: token } }, (e, out, err) => resolve({ code: e ? e.code : 0, out: out + err }));
  });
  let r = await check();
  assert.strictEqual(r.code, 0, r.out);
  for (const line of [/^ok +credentials +Hetzner takes the token/m, /^ok +network/m, /^ok +ssh +OpenSSH/m, /^ok +small +cpx11 with ubuntu-24.04 can be made in fsn1/m, /requests an hour are left/]) assert.match(r.out, line);
  r = await check({}, 'wrong');
  assert.strictEqual(r.code, 1, r.out);
  assert.match(r.out, /^bad +credentials +Hetzner does not take HCLOUD_TOKEN/m);
  r = await check({ hcloud_types: table({ small: 'cx99' }) });
  assert.strictEqual(r.code, 1, r.out);
  assert.match(r.out, /^bad +small +Hetzner has no server type cx99; it has: cpx11/m);
  r = await check({ hcloud_endpoint: 'http://127.0.0.1:1/v1' });
  assert.match(r.out, /^bad +credentials +Hetzner could not be asked: nobody answers/m);
  z.refused(); // the wrong token is meant
});

test('a directory that is too long for sockets is refused by its setting, with the limit and why, whatever the driver', async () => {
  for (const [provider, most, reason] of [['hetzner', 58, 'ssh keeps sockets below it, whose paths have at most 107'], ['libvirt', 58, 'ssh keeps sockets'],
    ['local', 74, 'sockets of agents are below it, whose paths have at most 107'], ['docker', 200, 'sockets of agents are below it']]) {
    const at = `${os.tmpdir()}/${'d'.repeat(most)}/${provider}`;
    const r = await promisify(execFile)(binary, ['provider', 'check', provider, `--data-dir=${path.dirname(at)}`], { env: { ...process.env, HCLOUD_TOKEN: 'x' } }).catch((e) => e);
    assert.strictEqual(r.code, 1);
    assert.ok(r.stdout.includes(`bad   settings     DATA_DIR: the provider's dir: ${at.slice(0, 120)} has ${at.length} bytes, and at most ${most} expected: ${reason}`), r.stdout + r.stderr);
    fs.rmSync(path.dirname(at), { recursive: true, force: true });
  }
});

// ---- crash points

async function points(t, act, look) {
  const proxy = await CrashProxy.start({ to: { host: '127.0.0.1', port: z.port } });
  const start = (dir) => {
    clean();
    return Server.start(settings({ hcloud_endpoint: `http://127.0.0.1:${proxy.port}/v1` }), dir, { env: env() });
  };
  const left = () => { forget(); return z.world.left(); };
  return crashes(t, { proxy, start, left }, act, look);
}

test('killed at any step of a create, the host comes back to exactly one machine', { skip }, async (t) => {
  const n = await points(t, async (s, arm) => {
    arm();
    await s.call('POST', '/instances', { name: 'c', type: 'cpx11' });
    await s.running('c', 60);
  }, async (s, what) => {
    await s.running('c', 60);
    assert.deepStrictEqual(z.world.left().map((l) => l.split(' ')[0]), ['server', 'volume', 'network'], what);
    const m = (await s.call('GET', '/instances/c')).body;
    assert.strictEqual((await run(s, m, 'echo in')).stdout, 'in\n', what);
  });
  assert.ok(n >= 8, `${n} points`);
});

test('killed at any step of a stop and a start, its data is whole and it is there once', { skip }, async (t) => {
  const n = await points(t, async (s, arm) => {
    const m = await make(s, { name: 'c' });
    await run(s, m, 'echo data >/claude-data/file');
    arm();
    await s.call('POST', '/instances/c/stop');
    await s.call('POST', '/instances/c/start');
  }, async (s, what) => {
    await until(async () => {
      const { operation } = (await s.call('GET', '/instances/c')).body;
      return /^(done|failed|cancelled)$/.test((await s.call('GET', `/operations/${operation}`)).body.state);
    }, `${what}: nothing is under way`, 60);
    const r = await s.call('POST', '/instances/c/start');
    assert.ok(r.status === 200 || r.status === 202, `${what}: ${r.text}`);
    await s.running('c', 60);
    const m = (await s.call('GET', '/instances/c')).body;
    assert.strictEqual((await run(s, m, 'cat /claude-data/file')).stdout, 'data\n', what);
    assert.deepStrictEqual(z.world.left().map((l) => l.split(' ')[0]), ['server', 'volume', 'network'], what);
  });
  assert.ok(n >= 6, `${n} points`);
});

test('killed at any step of a delete, the host comes back to no machine', { skip }, async (t) => {
  const n = await points(t, async (s, arm) => {
    await make(s, { name: 'c' });
    arm();
    await s.call('DELETE', '/instances/c');
  }, async (s, what) => {
    await until(async () => (await s.call('GET', '/instances')).body.length === 0, `${what}: it is deleted`, 60);
    assert.deepStrictEqual(z.world.left(), [], what);
  });
  assert.ok(n >= 4, `${n} points`);
});

// Its own volume takes the place of the one at /claude-data: it is made first, and then the other one's labels go.
const detaches = {
  'the host is killed once it is made': ({ s, proxy }) => {
    proxy.arm(1, 'after', () => s.child.kill('SIGKILL'), (r) => r.method === 'POST' && r.url === '/v1/volumes');
    return async () => {
      assert.ok(proxy.fired);
      await s.exited;
      s.agent.destroy();
      await s.launch();
    };
  },
  'its answer is 504': () => {
    z.fault({ method: 'POST', path: '/volumes', status: 504, code: 'timeout', after: true });
    return async () => {};
  },
};
for (const [what, cut] of Object.entries(detaches)) {
  test(`a detach whose own volume is there already leaves a machine that is stopped: ${what}`, { skip }, async (t) => {
    const proxy = await CrashProxy.start({ to: { host: '127.0.0.1', port: z.port } });
    const s = await host(t, { hcloud_endpoint: `http://127.0.0.1:${proxy.port}/v1` });
    t.after(() => proxy.stop()); // behind the host, which deletes its machines by it
    const m = await make(s, { name: 'c', volumes: [{ id: 'mine', path: '/claude-data' }] });
    assert.strictEqual(ownVolume(m), undefined);
    await run(s, m, 'echo kept >/claude-data/file');
    assert.strictEqual((await s.call('POST', '/instances/c/stop')).body.status, 'STOPPED');
    const mend = cut({ s, proxy });
    await s.call('DELETE', '/instances/c/volumes/mine').catch((e) => { if (!proxy.fired) throw e; });
    await mend();
    const now = async () => (await s.call('GET', '/instances/c')).body;
    await until(async () => /^(done|failed|cancelled)$/.test((await s.call('GET', `/operations/${(await now()).operation}`)).body.state), 'nothing is under way', 60);
    if ((await now()).volumes.length) assert.strictEqual((await s.call('DELETE', '/instances/c/volumes/mine')).status, 200);
    assert.deepStrictEqual([z.faults, (await now()).volumes], [[], []]);
    assert.match(ownVolume(m).labels[`cchost-at-${m.short}`], /^m/, 'it says that the machine was usable');
    assert.strictEqual((await now()).status, 'STOPPED');
    let r = await s.call('POST', '/instances/c/volumes', { id: 'mine', path: '/data' });
    assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED'], r.text);
    r = await s.call('POST', '/instances/c/start');
    assert.deepStrictEqual([r.status, r.body.status], [200, 'RUNNING'], r.text);
    assert.strictEqual((await run(s, m, 'cat /data/file; ls /claude-data/file 2>/dev/null || echo fresh')).stdout, 'kept\nfresh\n');
  });
}

// ---- the double itself

test('Hetzner\'s own command line understands the double', { skip: skip || (!has('hcloud') && 'hcloud is not here') }, async () => {
  clean();
  const hcloud = async (...args) => (await promisify(execFile)('hcloud', args, { env: { ...process.env, HCLOUD_TOKEN: z.token, HCLOUD_ENDPOINT: z.url, HOME: z.dir } })).stdout;
  await hcloud('volume', 'create', '--name', 'v', '--size', '10', '--location', 'fsn1', '--format', 'ext4');
  assert.match(await hcloud('volume', 'list'), / v +10 GB/);
  await hcloud('volume', 'delete', 'v');
  await hcloud('network', 'create', '--name', 'n', '--ip-range', '10.9.0.0/16');
  await hcloud('network', 'delete', 'n');
  assert.match(await hcloud('server-type', 'list'), /cpx11/);
  assert.match(await hcloud('location', 'list'), /fsn1/);
  assert.match(await hcloud('firewall', 'list'), /cchost-ssh-only/);
  z.refused(); // what hcloud sends beside the document is its own affair
});
