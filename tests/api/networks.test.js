// Networks of users over HTTP, on doubles of provider and switch: routes, rights, pages, repeats, and what the switch was told.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, until } = require('../lib/cchost.js');
const { account, remove } = require('../networks/owners.js');

const uuid = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;

async function withServer(fn, more = {}) {
  const s = await Server.start({ provider: 'mock', mock: '{vpc=true}', network_backend: 'mock', sweep_seconds: 1, ...more });
  try {
    await fn(s, await account(s, 'ann@example.org'), await account(s, 'bob@example.org'));
  } finally { await s.stop(); }
}

const flows = (s, vpc) => fs.readFileSync(path.join(s.dir, 'network', vpc.id, 'flows'), 'utf8');
const refused = (r, status, code, field, words) => {
  assert.deepStrictEqual([r.status, r.body.code, r.body.field], [status, code, field], r.text);
  assert.match(r.body.error, words);
};

test('a VPC with a subnet, groups and a machine, from the first to the last', () => withServer(async (s, ann, bob) => {
  const r = await ann.call('POST', '/vpcs?wait=30', { name: 'net' });
  assert.strictEqual(r.status, 201, r.text);
  const vpc = r.body;
  assert.match(vpc.id, uuid);
  assert.deepStrictEqual([vpc.status, vpc.cidr_block, vpc.name, vpc.subnets, vpc.owner], ['AVAILABLE', '10.0.0.0/16', 'net', [], ann.id]);
  assert.strictEqual((await ann.call('GET', r.headers.location)).body.kind, 'vpc_create');
  assert.strictEqual((await bob.call('GET', r.headers.location)).status, 404);
  const got = await ann.call('GET', '/vpcs/net');
  assert.deepStrictEqual([got.body.id, (await ann.call('GET', `/vpcs/${vpc.id}`, undefined, { 'If-None-Match': got.headers.etag })).status], [vpc.id, 304]);
  assert.strictEqual((await bob.call('GET', `/vpcs/${vpc.id}`)).status, 404);

  const subnet = await ann.made('/subnets', { vpc_id: 'net', name: 'a', cidr_block: '10.0.0.0/24' });
  assert.deepStrictEqual([subnet.gateway, subnet.vpc_id], ['10.0.0.1', vpc.id]);
  const group = await ann.made('/security-groups', { vpc_id: vpc.id, name: 'web', description: 'what the web may', rules: [{ direction: 'ingress', protocol: 'tcp', port_min: 80 }] });
  const [{ id: rule, ...said }] = group.rules;
  assert.deepStrictEqual(said, { direction: 'ingress', protocol: 'tcp', port_min: 80, port_max: 80, cidr: null, group_id: null, priority: 100, action: 'allow' });
  const m = await ann.made('/instances?wait=30', { name: 'one', subnet_id: subnet.id, security_groups: [group.id] });
  assert.deepStrictEqual([m.status, m.address, m.network, m.vpc_id, m.security_groups], ['RUNNING', '10.0.0.2/24', 'vpc', vpc.id, [group.id]]);
  assert.match(flows(s, vpc), /dl_src=52:54:0a:00:00:02,ip,nw_src=10\.0\.0\.2,.*\n/);
  assert.match(flows(s, vpc), /tcp,tp_dst=0x50\/0xffff/);

  const added = await ann.call('POST', `/security-groups/${group.id}/rules`, { direction: 'ingress', protocol: 'udp', port_min: 53 });
  assert.strictEqual(added.status, 201, added.text);
  assert.strictEqual((await ann.call('GET', added.headers.location)).body.state, 'done', 'it is in force when the answer comes');
  assert.match(flows(s, vpc), /udp,tp_dst=0x35\/0xffff/);
  assert.strictEqual((await ann.call('DELETE', `/security-groups/${group.id}/rules/${rule}`)).status, 200);
  assert.doesNotMatch(flows(s, vpc), /tp_dst=0x50/);
  assert.strictEqual((await ann.call('GET', `/security-groups/${group.id}`)).body.rules.length, 1);

  refused(await ann.call('DELETE', `/subnets/${subnet.id}`), 409, 'conflict', undefined, /^the machines one have addresses in the subnet 'a'/);
  refused(await ann.call('DELETE', `/security-groups/${group.id}`), 409, 'conflict', undefined, /^1 machine has the security group 'web': one$/);
  refused(await ann.call('DELETE', '/vpcs/net'), 409, 'conflict', undefined, /^the VPC 'net' has the subnets a and the security groups web; delete them first$/);
  for (const where of [`/subnets/${subnet.id}`, `/security-groups/${group.id}`, `/vpcs/${vpc.id}`]) assert.strictEqual((await bob.call('DELETE', where)).status, 404);
  assert.strictEqual((await ann.call('PATCH', '/instances/one', { security_groups: [] })).status, 200);
  assert.strictEqual((await ann.call('DELETE', `/security-groups/${group.id}`)).status, 200);
  await ann.call('DELETE', '/instances/one?wait=30');
  assert.strictEqual((await ann.call('DELETE', `/subnets/${subnet.id}`)).status, 200);
  assert.deepStrictEqual((await ann.call('DELETE', '/vpcs/net')).body, { message: 'deleted' });
  assert.strictEqual((await ann.call('GET', `/vpcs/${vpc.id}`)).status, 404);
  assert.deepStrictEqual(fs.readdirSync(path.join(s.dir, 'network')), []);
}));

test('requests that make no sense are refused by the field', () => withServer(async (s, ann) => {
  const post = (where, body) => ann.call('POST', where, body);
  const vpc = await ann.made('/vpcs?wait=30', { name: 'net' });
  refused(await post('/vpcs', {}), 400, 'invalid', 'name', /^name: /);
  refused(await post('/vpcs', { name: 'x', cidr_block: '10.0.0.1/16' }), 400, 'invalid', 'cidr_block', /10\.0\.0\.0\/16$/);
  refused(await post('/vpcs', { name: 'x', cidr: '10.0.0.0/16' }), 400, 'invalid', 'cidr', /^cidr: /);
  refused(await post('/subnets', { name: 'x', cidr_block: '10.0.0.0/24' }), 400, 'invalid', 'vpc_id', /^vpc_id: /);
  refused(await post('/subnets', { vpc_id: 'nobody', name: 'x', cidr_block: '10.0.0.0/24' }), 400, 'invalid', 'vpc_id', /no such VPC/);
  refused(await post('/subnets', { vpc_id: vpc.id, name: 'x', cidr_block: '10.9.0.0/8' }), 400, 'invalid', 'cidr_block', /\/16 to \/29 expected, not \/8/);
  refused(await post('/security-groups', { vpc_id: vpc.id, name: 'x', rules: [{ direction: 'ingress', protocol: 'tcpp' }] }), 400, 'invalid', 'rules[0].protocol', /one of tcp, udp, icmp, all expected, not 'tcpp'/);
  refused(await post('/security-groups', { vpc_id: vpc.id, name: 'x', rules: [{ direction: 'egress', port_min: 1 }] }), 400, 'invalid', 'rules[0].port_min', /only with the protocol tcp or udp/);
  refused(await post('/instances', { subnet_id: 'nothing', provider: 'local' }), 409, 'conflict', 'subnet_id', /the provider 'local' has no private networks/);
  await remove(ann);
}));

test('a network, a subnet or a group that has changed meanwhile is left as it is', () => withServer(async (s, ann) => {
  await ann.made('/vpcs?wait=30', { name: 'net' });
  const subnet = await ann.made('/subnets', { vpc_id: 'net', name: 'a', cidr_block: '10.0.0.0/24' });
  const group = await ann.made('/security-groups', { vpc_id: 'net', name: 'g', rules: [{ direction: 'ingress' }] });
  const egress = await ann.made(`/security-groups/${group.id}/rules`, { direction: 'egress' });
  const old = { 'If-Match': `"${group.version}"` };
  for (const [verb, where, body] of [['POST', `/security-groups/${group.id}/rules`, { direction: 'ingress', protocol: 'icmp' }], ['DELETE', `/security-groups/${group.id}/rules/${egress.id}`], ['DELETE', `/security-groups/${group.id}`]]) {
    refused(await ann.call(verb, where, body, old), 412, 'precondition', undefined, /^it is at version 2, not 1$/);
  }
  refused(await ann.call('DELETE', `/subnets/${subnet.id}`, undefined, { 'If-Match': `"${subnet.version + 1}"` }), 412, 'precondition', undefined, /^it is at version 1, not 2$/);
  refused(await ann.call('DELETE', '/vpcs/net', undefined, { 'If-Match': '"99"' }), 412, 'precondition', undefined, /, not 99$/);
  for (const where of [`/security-groups/${group.id}`, `/subnets/${subnet.id}`, '/vpcs/net']) {
    const { etag } = (await ann.call('GET', where)).headers;
    assert.strictEqual((await ann.call('DELETE', where, undefined, { 'If-Match': etag })).status, 200, where);
  }
}));

test('a machine names the VPC of its subnet by id or by name, as all else does', () => withServer(async (s, ann) => {
  const [net, other] = [await ann.made('/vpcs?wait=30', { name: 'net' }), await ann.made('/vpcs?wait=30', { name: 'other' })];
  const subnet = await ann.made('/subnets', { vpc_id: 'net', name: 'a', cidr_block: '10.0.0.0/24' });
  for (const vpc_id of ['net', net.id, net.id.toUpperCase()]) {
    assert.strictEqual((await ann.made('/instances?wait=30', { subnet_id: subnet.id, vpc_id })).vpc_id, net.id);
  }
  for (const vpc_id of ['other', other.id]) refused(await ann.call('POST', '/instances', { subnet_id: subnet.id, vpc_id }), 400, 'invalid', 'vpc_id', /of another VPC/);
  await remove(ann);
}));

test('lists have pages, and show nobody another\'s', () => withServer(async (s, ann, bob) => {
  const vpc = await ann.made('/vpcs?wait=30', { name: 'net' });
  await bob.made('/vpcs?wait=30', { name: 'net' });
  for (const i of [0, 1, 2, 3, 4]) {
    await ann.made('/subnets?wait=0', { vpc_id: vpc.id, name: `s${i}`, cidr_block: `10.0.${i}.0/24` });
    await ann.made('/security-groups?wait=0', { vpc_id: vpc.id, name: `g${i}` });
  }
  for (const where of ['/subnets', '/security-groups']) {
    const seen = [];
    for (let next = `${where}?limit=2`; next;) {
      const r = await ann.call('GET', next);
      seen.push(...r.body.map((x) => x.name));
      next = r.headers.link && /<([^>]+)>; rel="next"/.exec(r.headers.link)[1];
    }
    assert.deepStrictEqual(seen.sort(), [0, 1, 2, 3, 4].map((i) => `${where[2] === 'u' ? 's' : 'g'}${i}`), where);
    assert.deepStrictEqual((await bob.call('GET', where)).body, []);
    assert.strictEqual((await ann.call('GET', `${where}?vpc_id=net`)).body.length, 5);
    assert.strictEqual((await bob.call('GET', `${where}?vpc_id=${vpc.id}`)).status, 400);
    assert.strictEqual((await s.call('GET', where)).body.length, 5, 'the operator sees all');
  }
  assert.deepStrictEqual([(await ann.call('GET', '/vpcs')).body.length, (await s.call('GET', '/vpcs')).body.length], [1, 2]);
  await remove(ann);
  await remove(bob);
}));

test('a repeat with the same key makes nothing again, and has the same answer', () => withServer(async (s, ann) => {
  const twice = async (where, body) => {
    const key = { 'Idempotency-Key': `key of ${where}`.replace(/ /g, '-') };
    const [a, b] = await Promise.all([ann.call('POST', where, body, key), ann.call('POST', where, body, key)]);
    assert.deepStrictEqual([a.status, b.status, a.text], [201, 201, b.text], where);
    assert.strictEqual((await ann.call('POST', where, { ...body, description: 'other' }, key)).status >= 400, true);
    return a.body;
  };
  const vpc = await twice('/vpcs', { name: 'net' });
  await until(async () => (await ann.call('GET', '/vpcs/net')).body.status === 'AVAILABLE', 'it is there');
  await twice('/subnets', { vpc_id: vpc.id, name: 'a', cidr_block: '10.0.0.0/24' });
  const group = await twice('/security-groups', { vpc_id: vpc.id, name: 'g' });
  await twice(`/security-groups/${group.id}/rules`, { direction: 'ingress' });
  assert.deepStrictEqual([(await ann.call('GET', '/vpcs')).body.length, (await ann.call('GET', '/subnets')).body.length, (await ann.call('GET', `/security-groups/${group.id}`)).body.rules.length], [1, 1, 1]);
  await remove(ann);
}));

test('an account that ends takes its networks with it', () => withServer(async (s, ann) => {
  const vpc = await ann.made('/vpcs?wait=30', { name: 'net' });
  const subnet = await ann.made('/subnets', { vpc_id: 'net', name: 'a', cidr_block: '10.0.0.0/24' });
  const [g, h] = [await ann.made('/security-groups', { vpc_id: 'net', name: 'g' }), await ann.made('/security-groups', { vpc_id: 'net', name: 'h' })];
  for (const [at, of] of [[g, h], [h, g]]) await ann.made(`/security-groups/${at.id}/rules`, { direction: 'ingress', group_id: of.id });
  await ann.made('/instances?wait=30', { subnet_id: subnet.id, security_groups: [g.id, h.id] });
  assert.strictEqual((await s.call('DELETE', `/users/${ann.id}?machines=delete`)).status, 200);
  await until(async () => (await s.call('GET', '/vpcs')).body.length === 0, 'its networks are gone', 90);
  assert.deepStrictEqual([(await s.call('GET', '/subnets')).body, (await s.call('GET', '/security-groups')).body], [[], []]);
  assert.deepStrictEqual(fs.readdirSync(path.join(s.dir, 'network')), []);
  assert.strictEqual((await s.call('GET', `/vpcs/${vpc.id}`)).status, 404);
}));
