// Volumes by the API, with real machines of `local`: what is written is there, what was restored is what it was.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { Server, until } = require('../lib/cchost.js');

let s;
let ann;
let bob;
test.before(async () => {
  s = await Server.start();
  const as = async (email) => {
    const { token } = (await s.call('POST', '/auth/login', { email }, { 'X-API-Key': undefined })).body;
    return (method, where, body, headers) => s.call(method, where, body, { 'X-API-Key': undefined, Authorization: `Bearer ${token}`, ...headers });
  };
  ann = await as('ann@example.org');
  bob = await as('bob@example.org');
});
test.after(() => s.stop());

// The call must answer so.
const ok = async (call, status, ...request) => {
  const r = await call(...request);
  assert.strictEqual(r.status, status, `${request[0]} ${request[1]}: ${r.text}`);
  return r;
};
const machine = async (call, body = {}) => {
  const r = await ok(call, 201, 'POST', '/instances?wait=30', { network: 'none', ...body });
  assert.strictEqual(r.body.status, 'RUNNING', r.text);
  return r.body;
};
const sh = async (call, id, line) => {
  const r = await ok(call, 200, 'POST', `/instances/${id}/exec`, { cmd: ['sh', '-c', line] });
  return r.body.stdout;
};
const at_local = () => fs.readdirSync(`${s.dir}/local/volumes`).sort();

test('a volume is made, used, saved, spoilt, restored, cloned and deleted', async () => {
  const made = await ok(ann, 201, 'POST', '/volumes?wait=30', { name: 'work', size_gib: 2 });
  const { id } = made.body;
  assert.match(made.headers.location, /^\/operations\//);
  assert.deepStrictEqual([made.body.status, made.body.size_gib, made.body.attached_to, made.body.provider], ['AVAILABLE', 2, null, 'local']);
  assert.strictEqual((await ok(ann, 409, 'POST', '/volumes', { name: 'work' })).body.code, 'exists');
  const m = await machine(ann, { name: 'box' });
  const on = await ok(ann, 200, 'POST', '/volumes/work/attach?wait=30', { machine: 'box', path: '/work' });
  assert.deepStrictEqual([on.body.attached_to, on.body.path], [m.id, '/work']);
  assert.strictEqual(await sh(ann, m.id, 'echo first > /work/file && cat /work/file'), 'first\n');

  // a running machine writes to it: nothing that needs it to stand still
  for (const [verb, where, body] of [['POST', '/snapshots', { name: 'one' }], ['POST', '/clone', {}], ['DELETE', '', undefined]]) {
    const r = await ok(ann, 409, verb, `/volumes/work${where}`, body);
    assert.match(r.body.error, /attached to the machine box/, r.text);
  }
  await ok(ann, 200, 'POST', '/instances/box/stop');
  const saved = await ok(ann, 200, 'POST', '/volumes/work/snapshots', { name: 'one' });
  assert.deepStrictEqual(saved.body.snapshots.map((x) => x.name), ['one']);
  await ok(ann, 200, 'POST', '/instances/box/start');
  assert.strictEqual(await sh(ann, m.id, 'echo second > /work/file; echo more > /work/more; cat /work/file'), 'second\n');
  assert.match((await ok(ann, 409, 'POST', '/volumes/work/restore', { snapshot: 'one' })).body.error, /RUNNING: stop it first/);
  await ok(ann, 200, 'POST', '/instances/box/stop');
  await ok(ann, 201, 'POST', '/volumes/work/clone?wait=30', { name: 'now' });
  const then = await ok(ann, 201, 'POST', '/volumes/work/clone?wait=30', { name: 'then', snapshot: 'one' });
  assert.deepStrictEqual([then.body.status, then.body.from], ['AVAILABLE', { volume: id, snapshot: 'one' }]);
  await ok(ann, 200, 'POST', '/volumes/work/restore', { snapshot: 'one' });
  await ok(ann, 200, 'POST', '/instances/box/start');
  assert.strictEqual(await sh(ann, m.id, 'cat /work/file; ls /work'), 'first\nfile\n');

  // clones are volumes of their own, at another machine and in other hands of uids
  const other = await machine(ann, { volumes: [{ id: 'now', path: '/now' }, { id: 'then', path: '/then' }] });
  assert.strictEqual(await sh(ann, other.id, 'cat /now/file /then/file; echo x > /then/file; cat /then/file'), 'second\nfirst\nx\n');
  assert.strictEqual((await ok(ann, 200, 'GET', '/volumes/now')).body.attached_to, other.id);

  const off = await ok(ann, 200, 'POST', '/volumes/work/detach?wait=30', {});
  assert.deepStrictEqual([off.body.attached_to, off.body.path], [null, null]);
  assert.strictEqual((await ok(ann, 200, 'DELETE', '/volumes/work/snapshots/one')).body.snapshots.length, 0);
  assert.deepStrictEqual((await ok(ann, 200, 'GET', '/volumes/work/snapshots')).body, []);
  const before = at_local().length;
  assert.strictEqual((await ok(ann, 200, 'DELETE', '/volumes/work')).body.status, 'DELETED');
  assert.strictEqual(at_local().length, before - 1);
  await ok(ann, 404, 'GET', '/volumes/work');
  assert.strictEqual((await ok(ann, 200, 'GET', `/volumes/${id}`)).body.status, 'DELETED');
  const told = (await ok(ann, 200, 'GET', '/events?kind=volume&limit=1000')).body.filter((e) => e.id === id).map((e) => e.type);
  assert.strictEqual(told.join(' '), 'created available attached snapshotting snapshot_created clone_asked clone_asked restoring restored '
    + 'detached snapshotting snapshot_deleted deleting deleted');
  // what is another's is not there, nor in his list, nor in his events
  for (const [verb, where, body] of [['GET', '', undefined], ['DELETE', '', undefined], ['POST', '/snapshots', {}], ['POST', '/clone', {}],
    ['POST', '/restore', { snapshot: 'one' }], ['POST', '/attach', { machine: 'box', path: '/x' }], ['POST', '/detach', {}]]) {
    assert.strictEqual((await ok(bob, 404, verb, `/volumes/${then.body.id}${where}`, body)).body.error, 'no such volume');
  }
  assert.deepStrictEqual((await ok(bob, 200, 'GET', '/volumes')).body, []);
  assert.deepStrictEqual((await ok(bob, 200, 'GET', '/events?kind=volume')).body, []);
});

test('lists have pages; what is sent twice with a key is done once; If-Match is heeded', async () => {
  for (let i = 0; i < 5; i++) await ok(bob, 201, 'POST', '/volumes?wait=30', { name: `p${i}`, size_gib: 1 });
  const names = [];
  let where = '/volumes?limit=2';
  while (where) {
    const r = await ok(bob, 200, 'GET', where);
    names.push(...r.body.map((v) => v.name));
    where = r.headers.link && /<([^>]+)>; rel="next"/.exec(r.headers.link)[1];
  }
  assert.deepStrictEqual(names.sort(), ['p0', 'p1', 'p2', 'p3', 'p4']);
  const key = (k) => ({ 'Idempotency-Key': k });
  const [one, two] = [await ok(bob, 201, 'POST', '/volumes', {}, key('a')), await ok(bob, 201, 'POST', '/volumes', {}, key('a'))];
  assert.deepStrictEqual([one.body.id, two.headers['idempotency-replayed']], [two.body.id, 'true']);
  await ok(bob, 422, 'POST', '/volumes', { size_gib: 9 }, key('a'));
  for (let i = 0; i < 2; i++) assert.strictEqual((await ok(bob, 200, 'POST', '/volumes/p0/snapshots', { name: 'k' }, key('b'))).body.snapshots.length, 1);
  const { version } = (await ok(bob, 200, 'GET', '/volumes/p0')).body;
  await ok(bob, 412, 'DELETE', '/volumes/p0', undefined, { 'If-Match': `"${version - 1}"` });
  await ok(bob, 200, 'DELETE', '/volumes/p0', undefined, { 'If-Match': `"${version}"` });
  for (const [body, field] of [[{ name: 'a/b' }, 'name'], [{ size_gib: 1e9 }, 'size_gib'], [{ sizes: 1 }, 'sizes'], [{ provider: 'nowhere' }, 'provider']]) {
    assert.strictEqual((await ok(bob, 400, 'POST', '/volumes', body)).body.field, field);
  }
});

test('the data of a machine stayed at its provider for ever when it was deleted; a volume with a name stays', async () => {
  const before = at_local();
  const m = await machine(ann, { volumes: [{ id: 'stays', path: '/stays' }] });
  assert.strictEqual(await sh(ann, m.id, 'echo mine > /claude-data/file; echo kept > /stays/file; cat /claude-data/file'), 'mine\n');
  assert.ok(at_local().includes(`cc-${m.short}`));
  await ok(ann, 200, 'DELETE', `/instances/${m.id}?wait=30`);
  const left = at_local().filter((x) => !before.includes(x));
  assert.deepStrictEqual(left.map((x) => x.replace(/^[0-9a-f]{32}\./, '')), ['stays']);
  const n = await machine(ann, { volumes: [{ id: 'stays', path: '/again' }] });
  assert.strictEqual(await sh(ann, n.id, 'cat /again/file'), 'kept\n');
});

test('who is deleted leaves no volumes', async () => {
  const { id } = (await ok(bob, 200, 'GET', '/auth/me')).body;
  const m = await machine(bob, { volumes: [{ id: 'bobs', path: '/b' }] });
  const r = await ok((...a) => s.call(...a), 409, 'DELETE', `/users/${id}`);
  assert.match(r.body.error, /1 machines and \d+ volumes/);
  await ok((...a) => s.call(...a), 200, 'DELETE', `/users/${id}?machines=delete`);
  await until(async () => (await s.call('GET', `/instances/${m.id}`)).body.status === 'DELETED', 'his machine is gone');
  await s.kill();
  await s.launch(); // goes on with what is left to do, as it does every minute
  await until(() => !at_local().some((x) => x.startsWith(id.replace(/-/g, ''))), () => `his volumes are gone: ${at_local()}`);
});
