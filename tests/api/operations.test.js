// Operations over HTTP: what they tell, waiting, cancelling, ETags, volumes, quota; and POST that may be sent twice.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { Server, until, temp, binary } = require('../lib/cchost.js');

// `rubbish`: a folder that goes when the server has ended.
async function serve(t, mock = '{}', settings = {}, dir = null, rubbish = dir) {
  const s = await Server.start({ provider: 'mock', mock, ...settings }, dir);
  t.after(async () => {
    await s.stop();
    if (rubbish) fs.rmSync(rubbish, { recursive: true, force: true });
  });
  return s;
}
const create = async (s, body = {}, headers = {}) => {
  const r = await s.call('POST', '/instances', body, headers);
  assert.strictEqual(r.status, 201, r.text);
  return r;
};
const events = async (s, id) => (await s.call('GET', `/instances/${id}/events`)).body.map((e) => e.type);

test('an operation tells step, attempts, last error and next try', async (t) => {
  const s = await serve(t, '{create={fail=2,code="unavailable"}}');
  const r = await create(s);
  const where = r.headers.location;
  const seen = await until(async () => {
    const { body } = await s.call('GET', where);
    return body.attempts > 1 && body;
  }, 'a second attempt');
  assert.deepStrictEqual([seen.kind, seen.state, seen.step, seen.last_error.code], ['create', 'running', 'create', 'unavailable']);
  assert.match(seen.next_at, /^\d{4}-.*Z$/);
  assert.match(seen.deadline_at, /^\d{4}-.*Z$/);
  const done = await s.call('GET', `${where}?wait=30`);
  assert.deepStrictEqual([done.body.state, done.body.next_at, done.body.machine], ['done', null, r.body.id]);
});

test('?wait holds the answer until the work is done, and no longer', async (t) => {
  const s = await serve(t, '{create={latency_ms=300},stop={latency_ms=60000}}');
  const r = await s.call('POST', '/instances?wait=30', {});
  assert.deepStrictEqual([r.status, r.body.status], [201, 'RUNNING'], r.text);
  const stop = await s.call('POST', `/instances/${r.body.id}/stop?wait=0`);
  assert.deepStrictEqual([stop.status, stop.body.status], [202, 'STOPPING'], stop.text);
  const op = await s.call('GET', `${stop.headers.location}?wait=1`);
  assert.strictEqual(op.body.state, 'running');
  for (const bad of ['wait=x', 'wait=301', 'wait=-1']) {
    const b = await s.call('GET', `${stop.headers.location}?${bad}`);
    assert.deepStrictEqual([b.status, b.body.field], [400, 'wait'], bad);
  }
});

test('what is asked while something is under way waits its turn', async (t) => {
  const s = await serve(t, '{create={latency_ms=300}}');
  const { body: m } = await create(s);
  const stop = await s.call('POST', `/instances/${m.id}/stop?wait=0`);
  assert.deepStrictEqual([stop.status, stop.body.status, stop.body.desired, stop.body.queue.length], [202, 'STARTING', 'STOPPED', 1]);
  const again = await s.call('POST', `/instances/${m.id}/stop`);
  assert.deepStrictEqual([again.status, again.body.status], [200, 'STOPPED'], again.text);
  assert.strictEqual((await s.call('GET', stop.headers.location)).body.state, 'done');
  assert.deepStrictEqual(await events(s, m.id), ['created', 'stop_asked', 'stopping', 'stopped']);
});

test('what a living script works on is left alone by the server, and what it leaves behind is taken up', async (t) => {
  const dir = temp();
  const mock = (more) => `{state="${dir}/world",ledger="${dir}/ledger"${more}}`;
  const s = await serve(t, mock(''), { log_level: 'debug' }, dir);
  fs.writeFileSync(`${dir}/x.lua`, `
    local app, instances, task = require "script", require "instances", require "task"
    app.open()
    local m, op = instances.create(instances.operator, { name = "shared" })
    print(op)
    io.stdout:flush()
    task.sleep(1000)`);
  const script = require('node:child_process').spawn(binary, [`${dir}/x.lua`],
    { env: { ...process.env, DATA_DIR: dir, PROVIDER: 'mock', MOCK: mock(',create={latency_ms=600000}') } });
  const [text] = await require('node:events').once(script.stdout, 'data');
  const where = `/operations/${String(text).trim()}`;
  const stop = await s.call('POST', '/instances/shared/stop?wait=0');
  assert.deepStrictEqual([stop.status, stop.body.queue.length], [202, 1], stop.text);
  // the server looks every two seconds; it must leave the create alone as long as the script lives
  const looks = () => (s.log.match(/left to its runner/g) || []).length;
  await until(() => looks() >= 2, 'the server has looked twice');
  const { body: op } = await s.call('GET', where);
  assert.deepStrictEqual([op.state, op.attempts], ['running', 1]);
  script.kill('SIGKILL');
  await until(async () => (await s.status('shared')) === 'STOPPED', 'taken up, and stopped after it');
  const effects = fs.readFileSync(`${dir}/ledger`, 'utf8').trim().split('\n').map((l) => JSON.parse(l)).filter((e) => e.changed);
  assert.deepStrictEqual(effects.map((e) => e.op), ['create', 'stop']);
});

test('what waits for a machine is bounded, and a deletion passes it all', async (t) => {
  const s = await serve(t, '{create={latency_ms=60000}}');
  const { body: m } = await create(s);
  const ask = (verb) => s.call('POST', `/instances/${m.id}/${verb}?wait=0`);
  for (let i = 0; i < 8; i++) for (const verb of ['stop', 'start']) assert.strictEqual((await ask(verb)).status, 202);
  const more = await ask('stop');
  assert.deepStrictEqual([more.status, more.body.code], [409, 'conflict'], more.text);
  const r = await s.call('DELETE', `/instances/${m.id}`);
  assert.deepStrictEqual([r.status, r.body.status, r.body.queue], [200, 'DELETED', []], r.text);
});

test('a create that is cancelled leaves nothing at the provider, and a machine that can be started', async (t) => {
  const dir = temp();
  const s = await serve(t, `{create={latency_ms=60000},state="${dir}/world"}`, {}, null, dir);
  const r = await create(s);
  const { body: op, headers } = await s.call('GET', r.headers.location);
  const stale = await s.call('POST', `/operations/${op.id}/cancel`, {}, { 'If-Match': `"${op.version + 1}"` });
  assert.deepStrictEqual([stale.status, stale.body.code], [412, 'precondition']);
  const c = await s.call('POST', `/operations/${op.id}/cancel`, {}, { 'If-Match': headers.etag });
  assert.deepStrictEqual([c.status, c.body.state], [200, 'cancelled'], c.text);
  assert.deepStrictEqual(['STOPPED', 'STOPPED'], await (async () => { const { body } = await s.call('GET', `/instances/${r.body.id}`); return [body.status, body.desired]; })());
  const twice = await s.call('POST', `/operations/${op.id}/cancel`);
  assert.deepStrictEqual([twice.status, twice.body.code], [409, 'state']);
  assert.strictEqual((await s.call('POST', `/operations/00000000-0000-4000-8000-000000000000/cancel`)).status, 404);
});

test('a deletion cannot be cancelled', async (t) => {
  const s = await serve(t, '{destroy={latency_ms=2000}}');
  const { body: m } = await create(s);
  await s.running(m.id);
  const r = await s.call('DELETE', `/instances/${m.id}?wait=0`);
  const c = await s.call('POST', `${r.headers.location}/cancel`);
  assert.deepStrictEqual([c.status, c.body.code], [409, 'state'], c.text);
});

test('a resize that the provider refuses leaves the machine as it was', async (t) => {
  const s = await serve(t, '{start={fail=1,code="full"}}');
  const { body: m } = await create(s);
  await s.running(m.id);
  const r = await s.call('POST', `/instances/${m.id}/resize`, { type: 'large' });
  assert.deepStrictEqual([r.status, r.body.code], [502, 'failed'], r.text);
  const { body: now } = await s.call('GET', `/instances/${m.id}`);
  assert.deepStrictEqual([now.status, now.type, now.resources.vcpu], ['RUNNING', 'small', 1]);
});

test('volumes are attached and detached, also where the machine must be off for it', async (t) => {
  const s = await serve(t);
  const { body: m } = await create(s);
  await s.running(m.id);
  const at = (method, where, body) => s.call(method, `/instances/${m.id}/volumes${where}`, body);
  let r = await at('POST', '', { id: 'data', path: '/data' });
  assert.deepStrictEqual([r.status, r.body.status, r.body.volumes], [200, 'RUNNING', [{ id: 'data', path: '/data' }]], r.text);
  r = await at('POST', '', { id: 'data', path: '/data' });
  assert.strictEqual(r.status, 200);
  for (const [body, field] of [[{ id: 'data', path: '/other' }, 'path'], [{ id: 'more', path: '/data' }, 'path']]) {
    r = await at('POST', '', body);
    assert.deepStrictEqual([r.status, r.body.code, r.body.field], [409, 'conflict', field], r.text);
  }
  r = await at('POST', '', { id: 'x' });
  assert.deepStrictEqual([r.status, r.body.field], [400, 'path']);
  assert.strictEqual((await at('DELETE', '/none')).status, 404);
  r = await at('DELETE', '/data');
  assert.deepStrictEqual([r.status, r.body.volumes, r.body.status], [200, [], 'RUNNING'], r.text);
});

test('records have an ETag: 304 for who has it, 412 for who has an old one', async (t) => {
  const s = await serve(t);
  const { body: m } = await create(s);
  await s.running(m.id);
  const { headers, body } = await s.call('GET', `/instances/${m.id}`);
  assert.match(headers.etag, new RegExp(`^"${body.version}(\\.[0-9a-f]{8})?"$`)); // behind the dot: of what is told beside the record
  const same = await s.call('GET', `/instances/${m.id}`, undefined, { 'If-None-Match': headers.etag });
  assert.deepStrictEqual([same.status, same.text, same.headers.etag], [304, '', headers.etag]);
  const changed = await s.call('PATCH', `/instances/${m.id}`, { labels: { version: '7', a: '"version":9' } }, { 'If-Match': headers.etag });
  assert.strictEqual(changed.status, 200);
  assert.match((await s.call('GET', `/instances/${m.id}`)).headers.etag, new RegExp(`^"${body.version + 1}[."]`));
  assert.strictEqual((await s.call('PATCH', `/instances/${m.id}`, {}, { 'If-Match': headers.etag })).status, 412);
  assert.strictEqual((await s.call('PATCH', `/instances/${m.id}`, {}, { 'If-Match': 'x' })).status, 400);
});

test('a quota is kept in the commit of the record: 40 clients at once, 10 machines', async (t) => {
  const s = await serve(t, '{}', { quota_instances: 10 });
  const [ann, bob] = [await s.account('ann@example.org'), await s.account('bob@example.org')];
  const all = await Promise.all(Array.from({ length: 40 }, () => s.call('POST', '/instances', { user_id: ann })));
  assert.deepStrictEqual([201, 429].map((c) => all.filter((r) => r.status === c).length), [10, 30]);
  assert.strictEqual(all.find((r) => r.status === 429).body.code, 'quota');
  const one = all.find((r) => r.status === 201).body.id;
  await s.call('DELETE', `/instances/${one}?wait=0`);
  assert.strictEqual((await s.call('POST', '/instances', { user_id: ann })).status, 201); // free as soon as it was asked for
  assert.strictEqual((await s.call('POST', '/instances', { user_id: bob })).status, 201);
});

test('an earlier state of a machine can be read', async (t) => {
  const s = await serve(t);
  const { body: m } = await create(s, { name: 'then' });
  await s.running(m.id);
  const before = (await s.call('GET', `/instances/${m.id}`)).body;
  delete before.idle; // what is told beside the record
  delete before.health;
  await until(() => Date.now() > Date.parse(before.updated_at), 'a millisecond');
  const at = new Date().toISOString();
  await until(() => Date.now() > Date.parse(at), 'a millisecond');
  await s.call('PATCH', `/instances/${m.id}`, { name: 'now' });
  const then = await s.call('GET', `/instances/${m.id}?at=${at}`);
  assert.deepStrictEqual({ ...then.body, last_activity_at: before.last_activity_at }, before);
  assert.strictEqual((await s.call('GET', `/instances/${m.id}?at=2020-01-01`)).status, 404);
  assert.deepStrictEqual([400, 'at'], await (async () => { const r = await s.call('GET', `/instances/${m.id}?at=soon`); return [r.status, r.body.field]; })());
});

// ---- Idempotency-Key

const key = (k) => ({ 'Idempotency-Key': k });

test('the same key and body: one machine, and the same answer', async (t) => {
  const s = await serve(t);
  const a = await create(s, { name: 'once' }, key('k1'));
  await s.running(a.body.id);
  const b = await s.call('POST', '/instances', { name: 'once' }, key('k1'));
  assert.deepStrictEqual([b.status, b.text, b.headers.location, b.headers['idempotency-replayed']], [201, a.text, a.headers.location, 'true']);
  const other = await s.call('POST', '/instances', { name: 'twice' }, key('k1'));
  assert.deepStrictEqual([other.status, other.body.code, other.body.field], [422, 'key_reused', 'Idempotency-Key']);
  const elsewhere = await s.call('POST', `/instances/${a.body.id}/stop`, { name: 'once' }, key('k1'));
  assert.strictEqual(elsewhere.status, 400); // its own faults first: an unknown field
  assert.strictEqual((await s.call('POST', `/instances/${a.body.id}/stop`, {}, key('k1'))).status, 422);
  for (const bad of ['x'.repeat(256), 'a b']) assert.strictEqual((await s.call('POST', '/instances', {}, key(bad))).status, 400);
  assert.strictEqual((await s.call('GET', '/instances')).body.length, 1);
});

test('50 clients race with one key: one machine, 50 equal answers', async (t) => {
  const s = await serve(t);
  const all = await Promise.all(Array.from({ length: 50 }, () => s.call('POST', '/instances', {}, key('race'))));
  assert.deepStrictEqual([...new Set(all.map((r) => `${r.status} ${r.text}`))].length, 1);
  assert.strictEqual((await s.call('GET', '/instances')).body.length, 1);
});

test('a request that is repeated after a crash has one effect', async (t) => {
  const dir = temp();
  const world = `state="${dir}/world"`;
  const first = await Server.start({ provider: 'mock', mock: `{${world},stop={latency_ms=60000}}` }, dir);
  const a = await create(first, { name: 'a' }, key('create'));
  await first.running(a.body.id);
  await first.call('POST', `/instances/${a.body.id}/extend`, { hours: 5 }, key('extend'));
  const before = (await first.call('GET', `/instances/${a.body.id}`)).body.expires_at;
  const cut = first.call('POST', `/instances/${a.body.id}/stop`, {}, key('stop')).catch((e) => e);
  await until(async () => (await first.status(a.body.id)) === 'STOPPING', 'STOPPING');
  await first.kill();
  await cut;
  const s = await serve(t, `{${world}}`, {}, dir);
  assert.strictEqual((await s.call('POST', '/instances', { name: 'a' }, key('create'))).text, a.text);
  const r = await s.call('POST', `/instances/${a.body.id}/stop`, {}, key('stop'));
  assert.deepStrictEqual([r.status, r.body.status], [200, 'STOPPED'], r.text);
  assert.strictEqual((await s.call('POST', `/instances/${a.body.id}/extend`, { hours: 5 }, key('extend'))).body.expires_at, before);
  const log = (await s.call('GET', `/instances/${a.body.id}/events`)).body.map((e) => e.type);
  assert.deepStrictEqual(log, ['created', 'running', 'extended', 'stopping', 'stopped']);
  for (const m of (await s.call('GET', '/instances')).body) await s.call('DELETE', `/instances/${m.id}`);
});

test('a command with a key is run at most once: after a crash the repeat says that nobody knows', async (t) => {
  const dir = temp();
  const first = await Server.start({ provider: 'mock', mock: `{state="${dir}/world",exec={latency_ms=60000}}` }, dir);
  const { body: m } = await create(first);
  await first.running(m.id);
  const exec = (s, k) => s.call('POST', `/instances/${m.id}/exec`, { cmd: ['true'] }, key(k));
  const cut = exec(first, 'cut').catch((e) => e);
  await until(async () => (await first.call('GET', '/providers')).body.providers[0].calls.waiting > 0, 'it is under way');
  await first.kill();
  await cut;
  const s = await serve(t, `{state="${dir}/world",exec={fail=1,code="limit",retry_after_ms=1000}}`, {}, dir);
  const r = await exec(s, 'cut');
  assert.deepStrictEqual([r.status, r.body.code], [409, 'conflict'], r.text);
  assert.strictEqual((await exec(s, 'busy')).headers['retry-after'], '1'); // it did not begin,
  assert.strictEqual((await exec(s, 'busy')).status, 200); // so it may
  assert.strictEqual((await exec(s, 'busy')).headers['idempotency-replayed'], 'true');
});

test('If-Match holds for every change', async (t) => {
  const s = await serve(t);
  const { body: m } = await create(s);
  await s.running(m.id);
  const { headers } = await s.call('GET', `/instances/${m.id}`);
  const old = { 'If-Match': '"1"' };
  for (const [method, where, body] of [['POST', '/stop', {}], ['DELETE', '', undefined], ['POST', '/extend', { hours: 1 }],
    ['POST', '/resize', { type: 'tiny' }], ['POST', '/volumes', { id: 'v', path: '/v' }], ['PATCH', '', {}]]) {
    const r = await s.call(method, `/instances/${m.id}${where}`, body, old);
    assert.deepStrictEqual([r.status, r.body.code], [412, 'precondition'], method + where);
  }
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/stop`, {}, { 'If-Match': headers.etag })).status, 200);
  assert.strictEqual((await s.call('DELETE', `/instances/${m.id}`, undefined, { 'If-Match': '*' })).status, 200);
});

test('the end of the server lets go whoever waits for an operation', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const s = await Server.start({ provider: 'mock', mock: '{create={latency_ms=60000}}', drain_seconds: 1 }, dir);
  const r = await create(s);
  const held = s.call('GET', `${r.headers.location}?wait=300`);
  // a second request that comes back shows that the first has been read
  await s.call('GET', r.headers.location);
  s.child.kill('SIGTERM');
  assert.deepStrictEqual([(await held).status, (await held).body.state], [200, 'running']);
  await s.stop();
});

test('an answer of 4xx is kept, one of 5xx is not', async (t) => {
  const s = await serve(t, '{stop={fail=1,code="invalid"}}');
  const { body: m } = await create(s);
  await s.running(m.id);
  const wake = () => s.call('POST', `/instances/${m.id}/wake`, {}, key('w'));
  assert.strictEqual((await wake()).status, 409);
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/stop`, {}, key('s'))).status, 502);
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/stop`, {}, key('s'))).status, 502); // what became of the first
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/stop`, {}, key('s2'))).body.status, 'STOPPED');
  const again = await wake();
  assert.deepStrictEqual([again.status, again.headers['idempotency-replayed']], [409, 'true']);
});

test('a provider that cannot be asked makes records stale, and nothing else', async (t) => {
  const s = await serve(t, '{list={fail=1000,code="unavailable"}}', { sweep_seconds: 1 });
  const { body: m } = await create(s);
  await s.running(m.id);
  const stale = await until(async () => (await s.call('GET', `/instances/${m.id}`)).body.stale_since, 'stale');
  assert.match(stale, /^\d{4}-.*Z$/);
  assert.strictEqual((await s.call('GET', '/instances')).body[0].stale_since, stale);
  assert.strictEqual((await s.call('POST', `/instances/${m.id}/stop`)).status, 200);
  const types = (await s.call('GET', '/events?kind=provider')).body.map((e) => e.type);
  assert.deepStrictEqual(types, ['unreachable']);
  await s.says(/cannot be listed/);
  assert.strictEqual(s.log.match(/cannot be listed/g).length, 1);
});
