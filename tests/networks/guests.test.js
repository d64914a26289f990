// Networks of users with real guests (qemu, emulated) on a real Open vSwitch: who reaches whom is tried from inside the guests.
'use strict';
require('../lib/netns.js').enter(__filename, { mounts: true });
const test = require('node:test');
const assert = require('node:assert');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Server, temp, until } = require('../lib/cchost.js');
const libvirtd = require('../lib/libvirtd.js');
const ovs = require('../lib/ovs.js');
const { account, remove } = require('./owners.js');

const lack = ovs.missing() || libvirtd.missing();
const backends = (process.env.BACKENDS || '').split(' ');
if (lack && backends.includes('ovs') && backends.includes('libvirt')) throw new Error(`this host is meant to have Open vSwitch and libvirtd: ${lack}`);

let v; let o; let s; let dir; let ann; let bob;
const table = (t) => `{${Object.entries(t).map(([k, x]) => `${k}=${typeof x === 'string' ? `"${x}"` : x}`).join(',')}}`;

test.before(async () => {
  if (lack) return;
  o = await ovs.Ovs.start();
  process.env.OVS_RUNDIR = o.dir; // libvirt plugs its guests in by itself
  v = await libvirtd.Libvirtd.start();
  dir = temp();
  const { machine, data_gib } = v.settings;
  s = await Server.start({ provider: 'libvirt', libvirt_uri: v.uri, libvirt_images: v.images, libvirt_image: 'base', libvirt_type: 'qemu',
    libvirt_options: table({ machine, data_gib }), stop_grace_seconds: 5, terminal_command: 'exec sh', sweep_seconds: 1,
    network_backend: 'ovs', ovs_rundir: o.dir, ovs_datapath: 'netdev' }, dir);
  [ann, bob] = [await account(s, 'ann@example.org'), await account(s, 'bob@example.org')];
});
test.after(async () => {
  if (!s) return;
  for (const who of [ann, bob].filter(Boolean)) await remove(who); // of a test that failed
  await s.deleteAll();
  await s.stop();
  const left = v.left();
  await v.end();
  const bridges = o.left();
  await o.end();
  fs.rmSync(dir, { recursive: true });
  assert.deepStrictEqual([left, bridges], [[], []], 'nothing of ours is left');
  assert.doesNotMatch(execFileSync('ip', ['-o', 'link']).toString(), /: (cc|vnet)/);
});

async function machine(who, name, subnet, groups) {
  const m = await who.made('/instances', { name, type: 'tiny', subnet_id: subnet.id, security_groups: groups.map((g) => g.id) });
  await s.running(m.id, 120);
  const sh = async (line) => {
    let r; // an emulated guest on a busy host may be slow to let anybody in: 503
    await until(async () => { r = await who.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line], timeout: 30 }); return r.status !== 503; }, () => `${name} takes commands: ${r && r.text}`, 60);
    assert.strictEqual(r.status, 200, r.text);
    return r.body.stdout.trim();
  };
  const at = path.join(dir, 'libvirt', 'machines', m.short);
  // As root of the guest, which no user of a machine is here: by the host's own way.
  const root = (line) => spawnSync('ssh', ['-F', 'none', '-o', `ControlPath="${at}/ctl"`, '--', `root@cc-${m.short}`, line], { encoding: 'utf8' }).stdout.trim();
  return { ...m, sh, root, ip: m.address.split('/')[0] };
}

// Whether something there answers; what does says which machine it is.
const serve = (m, port) => m.sh(`setsid nc -ll -p ${port} -e echo ${m.name} </dev/null >/dev/null 2>&1 & echo on`);
const ask = async (m, ip, port) => (await m.sh(`nc -w 2 ${ip} ${port} </dev/null 2>/dev/null`)) || null;
const soon = (m, ip, port, what) => until(async () => (await ask(m, ip, port)) === what, `${m.name} reaches ${what} at ${ip}:${port}`, 60);
const ping = async (m, ip) => /1 packets received/.test(m.root(`ping -c 1 -W 2 ${ip}`));

test('two tenants and three machines: groups decide between one\'s own, and nothing leads to another\'s', { skip: lack }, async () => {
  const everything = [{ direction: 'ingress' }];
  const net = await ann.made('/vpcs?wait=30', { name: 'net', cidr_block: '10.0.0.0/16' });
  const [a, b] = [await ann.made('/subnets', { vpc_id: 'net', name: 'a', cidr_block: '10.0.0.0/24' }),
    await ann.made('/subnets', { vpc_id: 'net', name: 'b', cidr_block: '10.0.1.0/24' })];
  const clients = await ann.made('/security-groups', { vpc_id: 'net', name: 'clients' });
  const web = await ann.made('/security-groups', { vpc_id: 'net', name: 'web', rules: [{ direction: 'ingress', protocol: 'tcp', port_min: 8080, group_id: clients.id }] });
  // Bob's network has the same addresses as Ann's.
  await bob.made('/vpcs?wait=30', { name: 'net', cidr_block: '10.0.0.0/16' });
  const his = await bob.made('/subnets', { vpc_id: 'net', name: 'a', cidr_block: '10.0.0.0/24' });
  const open = await bob.made('/security-groups', { vpc_id: 'net', name: 'open', rules: everything });
  const [one, two, bobs, second] = await Promise.all([machine(ann, 'one', a, [web]), machine(ann, 'two', b, [clients]), machine(bob, 'bobs', his, [open]), machine(bob, 'second', his, [open])]);
  const both = [[one, ann], [two, ann]];
  assert.deepStrictEqual([one.address, two.address, [bobs.address, second.address].sort()], ['10.0.0.2/24', '10.0.1.2/24', ['10.0.0.2/24', '10.0.0.3/24']]);

  // ---- each is told its own address, and has no other way
  assert.strictEqual(await one.sh("ip -4 -o addr show scope global | awk '{print $4}'"), '10.0.0.2/24');
  assert.strictEqual(await one.sh('ip route | sort | tr -s " " | sed "s/ *$//"'), '10.0.0.0/16 via 10.0.0.1 dev eth0\n10.0.0.0/24 dev eth0 scope link src 10.0.0.2');
  assert.match(v.virsh('dumpxml', `cc-${one.short}`), /<virtualport type='openvswitch'>/);

  for (const m of [one, two, bobs, second]) for (const port of [8080, 9090]) await serve(m, port);

  // ---- one's own: as the groups say, also across subnets
  await soon(two, one.ip, 8080, 'one');
  assert.strictEqual(await ask(two, one.ip, 9090), null, 'another port');
  assert.strictEqual(await ask(one, two.ip, 8080), null, 'the other way');
  assert.strictEqual(await ping(two, one.ip), false);
  await soon(bobs, second.ip, 9090, 'second');
  assert.strictEqual(await ping(bobs, second.ip), true, 'all is let in by a rule without a port');

  // ---- rules reach machines that run
  const rules = `/security-groups/${web.id}/rules`;
  const { rules: [first] } = web;
  assert.strictEqual((await ann.call('DELETE', `${rules}/${first.id}`)).status, 200);
  assert.strictEqual(await ask(two, one.ip, 8080), null, 'the rule is gone');
  const icmp = await ann.made(rules, { direction: 'ingress', protocol: 'icmp', cidr: '10.0.1.0/24' });
  assert.strictEqual(await ping(two, one.ip), true);
  assert.strictEqual((await ann.call('DELETE', `${rules}/${icmp.id}`)).status, 200);
  for (const rule of everything) await ann.made(rules, rule);
  await soon(two, one.ip, 9090, 'one');
  await ann.call('PATCH', '/instances/two', { security_groups: [web.id] });
  await soon(one, two.ip, 9090, 'two');

  // ---- now all of Ann's let everything in: Bob reaches none of it, whatever address he tries, and whichever he takes for his own
  const hosts = () => execFileSync('sh', ['-c', "ip -4 -o addr | awk '{sub(\"/.*\", \"\", $4); print $4}'"]).toString().trim().split('\n');
  const his_own = { [bobs.ip]: 'bobs', [second.ip]: 'second' };
  for (const ip of [...new Set([...both.map(([m]) => m.ip), ...hosts()])]) {
    for (const port of [8080, 9090]) assert.strictEqual(await ask(bobs, ip, port), ip.startsWith('127.') ? 'bobs' : his_own[ip] ?? null, `bobs asks ${ip}:${port}`);
  }
  assert.strictEqual(await ask(one, '10.0.0.3', 8080), null, 'and Ann reaches none of his: 10.0.0.3 is nobody\'s there');
  const taken = '10.0.1.2'; // Ann's second
  bobs.root(`ip addr add ${taken}/24 dev eth0`);
  assert.strictEqual(await ask(bobs, second.ip, 8080), 'second', 'his own goes on');
  assert.strictEqual(/1 packets received/.test(bobs.root(`ping -c 1 -W 2 -I ${taken} ${second.ip}`)), false, 'with another address he is nobody');
  bobs.root('ip link set eth0 down; ip link set eth0 address 52:54:0a:00:01:02; ip link set eth0 up; ip addr add 10.0.0.9/24 dev eth0');
  assert.strictEqual(await ping(bobs, second.ip), false, 'and with another MAC');
  assert.strictEqual(await ask(two, one.ip, 8080), 'one', 'Ann notices nothing');

  // ---- the switch is started again, its flows are gone: they are put back
  execFileSync(o.restart);
  await soon(two, one.ip, 8080, 'one');
  await soon(one, two.ip, 8080, 'two');

  // ---- off and on again it has the same address, and a place
  assert.strictEqual((await ann.call('POST', '/instances/one/stop')).body.status, 'STOPPED');
  const plugs = () => o.run('ovs-vsctl', `--db=unix:${o.dir}/db.sock`, '--bare', '--columns=external_ids', 'list', 'Interface');
  assert.ok(!plugs().includes(one.id), plugs());
  assert.ok((await ann.call('POST', '/instances/one/start')).status < 300);
  await s.running(one.id, 60);
  await serve(one, 8080);
  await soon(two, one.ip, 8080, 'one');

  // ---- what is in use stays, and says by whom; what is not goes, with all of it
  for (const [where, by] of [[`/subnets/${a.id}`, /the machines one have addresses/], [`/security-groups/${web.id}`, /machines have the security group 'web': .*one/], [`/vpcs/${net.id}`, /has the subnets a, b and the security groups clients, web/]]) {
    const r = await ann.call('DELETE', where);
    assert.deepStrictEqual([r.status, by.test(r.body.error)], [409, true], r.text);
  }
  for (const [who, names, rest] of [[ann, ['one', 'two'], [clients, web]], [bob, ['bobs', 'second'], [open]]]) {
    for (const name of names) assert.ok((await who.call('DELETE', `/instances/${name}`)).status < 300);
    await until(async () => (await who.call('GET', '/instances')).body.length === 0, 'his machines are gone', 60);
    for (const g of rest) assert.strictEqual((await who.call('DELETE', `/security-groups/${g.id}`)).status, 200);
    for (const x of (await who.call('GET', '/subnets')).body) assert.strictEqual((await who.call('DELETE', `/subnets/${x.id}`)).status, 200);
    assert.deepStrictEqual((await who.call('DELETE', '/vpcs/net')).body, { message: 'deleted' });
  }
  assert.deepStrictEqual([o.left(), plugs()], [[], '']);

});
