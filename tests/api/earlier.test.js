// Faults that earlier implementations had (docs/faults.md), where no other test would show them here.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const http = require('node:http');
const { Server, until } = require('../lib/cchost.js');
const { account } = require('../networks/owners.js');

async function serve(t, mock = '{}') {
  const s = await Server.start({ provider: 'mock', mock });
  t.after(() => s.stop());
  return s;
}

const refused = (r, status, code, field) => assert.deepStrictEqual([r.status, r.body.code, r.body.field], [status, code, field], r.text);

test('B8c: whoever asks for a machine and hangs up leaves none half made', async (t) => {
  const s = await serve(t, '{create={latency_ms=400}}');
  const req = http.request({ host: '127.0.0.1', port: s.port, method: 'POST', path: '/instances?wait=30', headers: { 'X-API-Key': s.key }, agent: false });
  req.on('error', () => {});
  req.end('{"name":"left"}');
  await until(async () => (await s.call('GET', '/instances/left')).body.status === 'STARTING', 'it is being made');
  req.destroy();
  await s.running('left');
  const kinds = (await s.call('GET', '/instances/left/events')).body.map((e) => e.type);
  assert.deepStrictEqual(kinds.filter((k) => k === 'created' || k === 'running'), ['created', 'running']);
});

test('T8: no name is taken for an id, and of two machines of one name each owner has his own', async (t) => {
  const s = await serve(t);
  const [ann, bob] = [await account(s, 'ann@example.org'), await account(s, 'bob@example.org')];
  const his = await bob.made('/instances?wait=30', { name: 'box' });
  for (const name of [his.id, his.id.toUpperCase(), his.short, his.short.toUpperCase(), '1']) {
    refused(await ann.call('POST', '/instances', { name }), 400, 'invalid', 'name');
    refused(await bob.call('PATCH', '/instances/box', { name }), 400, 'invalid', 'name');
  }
  assert.strictEqual(his.short.length, 12, 'the first eight digits of an id are not its name anywhere');
  const hers = await ann.made('/instances?wait=30', { name: 'box' });
  assert.notStrictEqual(hers.provider_id, his.provider_id);
  for (const [one, m] of [[ann, hers], [bob, his]]) assert.strictEqual((await one.call('GET', '/instances/box')).body.id, m.id);
  assert.strictEqual((await ann.call('GET', `/instances/${his.id}`)).status, 404);
  // nor is what a provider calls another's machine a way to it
  const like = await ann.call('POST', '/instances?wait=30', { name: his.provider_id });
  assert.strictEqual(like.status, 201, like.text);
  assert.strictEqual((await bob.call('GET', `/instances/${his.provider_id}`)).status, 404);
  assert.strictEqual((await ann.call('GET', `/instances/${his.provider_id}`)).body.id, like.body.id);
});

test('T16: a volume that its provider could not delete is no deleted one', async (t) => {
  const s = await serve(t, '{volume_delete={fail=1,code="invalid"}}');
  const v = (await s.call('POST', '/volumes?wait=30', { name: 'stays' })).body;
  const r = await s.call('DELETE', '/volumes/stays');
  assert.deepStrictEqual([r.status, r.body.code], [502, 'failed'], r.text);
  const left = (await s.call('GET', `/volumes/${v.id}`)).body;
  assert.strictEqual(left.status, 'ERROR');
  assert.match(left.error, /scripted failure/);
  refused(await s.call('POST', '/volumes', { name: 'stays' }), 409, 'exists', 'name');
  assert.deepStrictEqual((await s.call('GET', '/volumes')).body.map((x) => x.id), [v.id]);
  assert.strictEqual((await s.call('DELETE', '/volumes/stays')).body.status, 'DELETED');
  assert.deepStrictEqual((await s.call('GET', '/volumes')).body, []);
});

test('T16: a provider that is away for a while gets the deletion again until it is done', async (t) => {
  const s = await serve(t, '{volume_delete={fail=2,code="unavailable"}}');
  await s.call('POST', '/volumes?wait=30', { name: 'goes' });
  const r = await s.call('DELETE', '/volumes/goes');
  assert.deepStrictEqual([r.status, r.body.status], [200, 'DELETED'], r.text);
});
