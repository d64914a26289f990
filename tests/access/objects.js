// Fresh objects of a person's, made when they are named, so that a route that takes one away can be tried by the next, too.
//
//   const make = makers(server, () => person);   await make[kind]() -> what {id} of a route about that kind is (rights.find)
//   make.volumeOf[machine]                 the volume of a machine that was made so
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const { spawnSync } = require('node:child_process');
const { person, apiToken } = require('./people.js');

function makers(s, owner) {
  let n = 0;
  const made = async (r) => {
    const { status, text, body } = await r;
    assert.ok(status === 200 || status === 201, `${status} ${text}`);
    return body;
  };
  const make = { volumeOf: {} };
  make.instance = async () => {
    const m = await made(owner().call('POST', '/instances?wait=30', { volumes: [{ id: `v${++n}`, path: '/v1' }] }));
    make.volumeOf[m.id] = m.volumes[0].id;
    return m.id;
  };
  make.operation = async () => (await s.call('GET', `/instances/${await make.instance()}/events`)).body[0].data.operation;
  make.volume = async () => (await made(owner().call('POST', '/volumes?wait=30', { size_gib: 1 }))).id;
  make.session = async () => (await person(s, owner().email)).session;
  make.token = async () => (await apiToken(owner(), ['billing'])).id;
  make.user = async () => (await made(s.call('POST', '/users', { email: `user${++n}@example.org` }))).id;
  make.ssh_key = async () => {
    const file = `${s.dir}/key${++n}`;
    const keygen = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
    assert.strictEqual(keygen.status, 0, String(keygen.stderr));
    return (await made(owner().call('POST', '/auth/ssh-keys', { key: fs.readFileSync(`${file}.pub`, 'utf8') }))).id;
  };
  make.vpc = async () => (await made(owner().call('POST', '/vpcs?wait=30', { name: `net${++n}` }))).id;
  make.subnet = async () => (await made(owner().call('POST', '/subnets', { vpc_id: await make.vpc(), name: 'a', cidr_block: '10.0.0.0/24' }))).id;
  make.security_group = async () => (await made(owner().call('POST', '/security-groups', { vpc_id: await make.vpc(), name: 'g' }))).id;
  make.webhook = async () => (await made(owner().call('POST', '/webhooks', { url: 'http://127.0.0.1:1/', enabled: false }))).id;
  make.conversation = async () => (await made(owner().call('GET', `/conversations?project=/claude-data/p${++n}`))).id;
  make.history = make.instance;
  make.provider = async () => 'mock';
  make.policy = async () => 'idle.lua';
  return make;
}

module.exports = { makers };
