// The log over HTTP: pages, and streams that lose nothing, whatever happens to the server or to their reader.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');
const { Stream } = require('../lib/events.js');

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const open = (s, where, headers = {}) => Stream.open(s.port, where, { 'X-API-Key': s.key, ...headers });

// All pages from `where` on, by following Link.
async function pages(s, where) {
  const all = [];
  for (let next = where; next;) {
    const r = await s.call('GET', next);
    assert.strictEqual(r.status, 200, r.text);
    all.push(r.body);
    next = r.headers.link && /<([^>]+)>; rel="next"/.exec(r.headers.link)[1];
  }
  return all;
}

async function withServer(settings, fn) {
  const s = await Server.start({ provider: 'mock', ...settings });
  try { await fn(s); } finally { await s.stop(); }
}

const make = async (s, name) => {
  const { body } = await s.call('POST', '/instances', { name });
  await s.running(body.id);
  return body;
};

test('pages: every entry once, in order, with its place in its chain', () => withServer({}, async (s) => {
  assert.deepStrictEqual((await s.call('GET', '/events')).body.map((e) => e.type), ['policies_changed', 'in_force']);
  const a = await make(s, 'a');
  const b = await make(s, 'b');
  await s.call('POST', '/instances/a/stop');
  await s.call('DELETE', '/instances/a');

  const all = (await pages(s, '/events?limit=1000'))[0];
  assert.deepStrictEqual(all.map((e) => e.seq), range(1, all.length));
  assert.deepStrictEqual(Object.keys(all[0]).sort(), ['at', 'by', 'data', 'hash', 'id', 'kind', 'previous', 'seq', 'type']);
  assert.match(all[0].at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.strictEqual(typeof all[0].data, 'object');
  const newest = {};
  for (const e of all) {
    assert.strictEqual(e.previous, newest[e.id] || '0'.repeat(64), `before ${e.seq}`);
    newest[e.id] = e.hash;
  }

  const by3 = await pages(s, '/events?limit=3');
  assert.ok(by3.slice(0, -1).every((p) => p.length === 3) && by3.length === Math.ceil(all.length / 3));
  assert.deepStrictEqual(by3.flat(), all);
  assert.deepStrictEqual((await pages(s, '/events?limit=3&order=newest')).flat(), [...all].reverse());
  assert.deepStrictEqual((await pages(s, '/events?limit=2&type=running')).flat(), all.filter((e) => e.type === 'running'));
  assert.deepStrictEqual((await pages(s, '/events?limit=2&kind=instance&after=2')).flat(), all.filter((e) => e.kind === 'instance' && e.seq > 2));
  assert.deepStrictEqual((await s.call('GET', '/events?type=dispute')).body, []);
  assert.deepStrictEqual((await s.call('GET', `/events?after=${all.length + 5}`)).body, []);

  const ofA = all.filter((e) => e.id === a.id);
  assert.ok(ofA.length >= 4);
  for (const key of [a.id, a.short]) assert.deepStrictEqual((await pages(s, `/instances/${key}/events`)).flat(), ofA);
  assert.deepStrictEqual((await pages(s, `/instances/${a.id}/events?limit=2`)).flat(), ofA);
  assert.deepStrictEqual((await pages(s, `/instances/${a.id}/events?limit=2&order=newest`)).flat(), [...ofA].reverse());
  assert.deepStrictEqual((await pages(s, `/instances/${a.id}/events?limit=1&type=deleted`)).flat(), ofA.filter((e) => e.type === 'deleted'));
  assert.deepStrictEqual((await pages(s, `/instances/${a.id}/events?after=${ofA[1].seq}&limit=1`)).flat(), ofA.slice(2));
  assert.deepStrictEqual((await pages(s, '/instances/b/events')).flat(), all.filter((e) => e.id === b.id));
}));

test('what cannot be asked is refused by name', () => withServer({}, async (s) => {
  await make(s, 'm');
  for (const [query, field] of [['after=x', 'after'], ['after=-1', 'after'], ['after=99999999999999999', 'after'], ['limit=0', 'limit'],
    ['limit=1001', 'limit'], ['limit=1.5', 'limit'], ['type=A', 'type'], ['type=', 'type'], ['kind=a-b', 'kind'], [`kind=${'x'.repeat(65)}`, 'kind'],
    ['order=up', 'order'], ['type=faild', 'type'], ['kind=machine', 'kind'], ['kind=instance&type=trial', 'type']]) {
    for (const where of ['/events', '/instances/m/events']) {
      const r = await s.call('GET', `${where}?${query}`);
      assert.deepStrictEqual([r.status, r.body.code, r.body.field], [400, 'invalid', field], `${where}?${query}`);
    }
  }
  for (const [query, headers, field] of [['', { 'Last-Event-ID': 'x' }, 'Last-Event-ID'], ['after=1000', {}, 'after'], ['order=newest', {}, 'order'], ['type=faild', {}, 'type'],
    ['fields=seq', {}, 'fields']]) { // which was passed over
    const r = await open(s, `/events?${query}`, headers);
    await r.closed;
    assert.deepStrictEqual([r.status, JSON.parse(r.text).field], [400, field]);
  }
  assert.match((await s.call('GET', '/events?type=faild')).body.error, /^type: there is no type of events 'faild'; did you mean 'failed'\?$/);
  assert.strictEqual((await s.call('GET', '/instances/m/events?type=trial')).body.field, 'type', 'a machine has none of the ledger');
  const { parameters } = (await s.call('GET', '/openapi.json')).body.paths['/events'].get;
  assert.match(parameters.find((p) => p.name === 'kind').description, /: instance, .*, webhook$/, 'what may be asked for is said');
  for (const where of ['/instances/none/events', '/instances/00000000-0000-4000-8000-000000000000/events']) {
    assert.strictEqual((await s.call('GET', where)).status, 404, where);
  }
  const head = await s.call('HEAD', '/events', undefined, { Accept: 'text/event-stream' });
  assert.strictEqual(head.status, 200);
}));

test('a stream begins now, after a sequence, or behind Last-Event-ID; filters hold', () => withServer({}, async (s) => {
  const a = await make(s, 'a');
  const before = (await s.call('GET', '/events')).body.length;
  const now = await open(s, '/events');
  const all = await open(s, '/events?after=0');
  const resumed = await open(s, '/events?after=0', { 'Last-Event-ID': '1' });
  const running = await open(s, '/events?after=0&type=running&kind=instance');
  const ofA = await open(s, '/instances/a/events?after=0');
  assert.deepStrictEqual(['content-type', 'cache-control', 'x-accel-buffering'].map((h) => now.headers[h]),
    ['text/event-stream; charset=utf-8', 'no-store', 'no']);
  await make(s, 'b');

  const log = (await s.call('GET', '/events')).body;
  await all.has(log.length);
  assert.deepStrictEqual(all.events.map((e) => e.data), log);
  assert.deepStrictEqual(all.events.map((e) => [e.id, e.type]), log.map((e) => [String(e.seq), e.type]));
  assert.strictEqual(all.retry, 1000);
  await now.has(log.length - before);
  assert.deepStrictEqual(now.seqs, range(before + 1, log.length));
  await resumed.has(log.length - 1);
  assert.deepStrictEqual(resumed.seqs, range(2, log.length));
  await running.has(2);
  assert.deepStrictEqual(running.events.map((e) => e.data), log.filter((e) => e.type === 'running'));
  assert.deepStrictEqual(ofA.events.map((e) => e.data), log.filter((e) => e.id === a.id));
  for (const x of [now, all, resumed, running, ofA]) await x.close();
}));

test('two hundred streams at once are told the same, and end in order when the server does', async () => {
  const s = await Server.start({ provider: 'mock' });
  const streams = await Promise.all(range(1, 200).map(() => open(s, '/events?after=0')));
  await Promise.all(range(1, 20).map((i) => make(s, `m${i}`)));
  const log = (await s.call('GET', '/events?limit=1000')).body.map((e) => e.seq);
  for (const x of streams) {
    await x.has(log.length);
    assert.deepStrictEqual(x.seqs, log);
  }
  const sockets = () => fs.readdirSync(`/proc/${s.child.pid}/fd`).length;
  const open200 = sockets();
  await Promise.all(streams.slice(0, 100).map((x) => x.close())); // these clients go without a word
  await until(() => sockets() <= open200 - 100, 'their streams end without waiting for something to say', 10);
  await s.stop(); // which fails when anything is left open
  await Promise.all(streams.map((x) => x.closed));
  assert.ok(streams.slice(100).every((x) => x.ended && !x.broken), 'each stream ended with its last chunk');
});

test('resume across kill -9 under load shows each sequence once, in order', async () => {
  const s = await Server.start({ provider: 'mock' });
  try {
    const seen = [];
    let busy = true;
    const m = await make(s, 'm');
    const load = range(1, 8).map(async (i) => {
      for (let n = 0; busy; n++) {
        await s.call('PATCH', `/instances/${m.id}`, { labels: { [`w${i}`]: String(n) } }).catch(() => until(() => s.up || !busy, 'a server'));
      }
    });
    s.up = true;
    for (let life = 0; life < 6; life++) {
      const x = await open(s, '/events?after=0', seen.length ? { 'Last-Event-ID': String(seen[seen.length - 1]) } : {});
      await x.has(200);
      if (life < 5) {
        s.up = false;
        await s.kill();
        await x.closed;
      } else {
        busy = false;
        await Promise.all(load);
        const end = Number((await s.call('GET', '/events?order=newest&limit=1')).body[0].seq);
        await until(() => Number(x.last) === end, `the last event, ${end}`);
        await x.close();
      }
      seen.push(...x.seqs);
      if (life < 5) { await s.launch(); s.up = true; }
    }
    assert.deepStrictEqual(seen, range(1, seen.length));
    const logged = (await pages(s, '/events?limit=1000')).flat().map((e) => e.seq);
    assert.deepStrictEqual(seen, logged);
  } finally {
    await s.stop();
  }
});

const rss = (pid) => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

test('a reader that does not read costs bounded memory, holds up nobody, and misses nothing', () => withServer({ http_body_rate: 1 }, async (s) => {
  const m = await make(s, 'm');
  const slow = await open(s, '/events?after=0');
  slow.res.pause();
  const fast = await open(s, '/events?after=0');
  const before = rss(s.child.pid);
  const env = Object.fromEntries(range(0, 3).map((i) => [`E${i}`, 'x'.repeat(30000)]));
  for (let n = 0; n < 400; n++) { // about 48 MB of events: a server that kept them for the slow one would show it
    env.N = String(n);
    assert.strictEqual((await s.call('PATCH', `/instances/${m.id}`, { env })).status, 200);
  }
  const log = (await pages(s, '/events?limit=5')).flat().map((e) => e.seq);
  await fast.has(log.length);
  assert.deepStrictEqual(fast.seqs, log);
  const grown = rss(s.child.pid) - before;
  // the map of the database counts as resident, too: what it may have grown by is taken off
  const map = fs.statSync(path.join(s.dir, 'store', 'data.mdb')).blocks * 512 / 2 ** 20;
  assert.ok(process.env.V === 'asan' || grown < map + 50, `grown by ${grown} MiB with ${map} MiB of store`);
  slow.res.resume();
  await until(() => slow.events.length >= log.length || slow.broken || slow.ended, 'all events, or a cut');
  const rest = await open(s, '/events', { 'Last-Event-ID': slow.last }); // who reads nothing for ten seconds may be cut
  await until(() => slow.events.length + rest.events.length >= log.length, 'the rest');
  assert.deepStrictEqual([...slow.seqs, ...rest.seqs], log);
  await slow.close();
  await rest.close();
  await fast.close();
}));

test('events are the owner\'s and the operator\'s; a silent stream says something', async (t) => {
  const dir = temp();
  const child = spawn(binary, [path.join(__dirname, 'two_users.lua'), dir], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { errors += d; });
  const exited = new Promise((r) => child.on('exit', (code, signal) => r(signal || code)));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  try {
    await until(() => { assert.strictEqual(child.exitCode, null, errors); return /listening \d+\n/.test(out); }, 'listening');
    const s = Object.assign(new Server(), { client: http, port: Number(/listening (\d+)/.exec(out)[1]) });
    const as = (user, method, where, body) => s.call(method, where, body, { 'X-API-Key': undefined, 'X-User': user });
    const follow = (user, where) => Stream.open(s.port, where, { 'X-User': user });

    const watching = { ann: await follow('ann', '/events?after=0'), bob: await follow('bob', '/events?after=0'), root: await follow('root', '/events?after=0') };
    const ids = {};
    for (const user of ['ann', 'bob']) {
      ids[user] = (await as(user, 'POST', '/instances', { name: 'box' })).body.id;
      await until(async () => (await as(user, 'GET', '/instances/box')).body.status === 'RUNNING', 'RUNNING');
    }
    const log = (await as('root', 'GET', '/events')).body.filter((e) => e.kind === 'instance');
    assert.deepStrictEqual(new Set(log.map((e) => e.id)), new Set([ids.ann, ids.bob]));
    for (const user of ['ann', 'bob']) {
      const own = log.filter((e) => e.id === ids[user]);
      const seen = (await as(user, 'GET', '/events')).body;
      assert.deepStrictEqual(seen.filter((e) => e.kind === 'instance'), own);
      assert.deepStrictEqual(new Set(seen.map((e) => e.id)), new Set([ids[user], user]), 'and his own ledger');
      assert.deepStrictEqual((await as(user, 'GET', '/instances/box/events')).body, own);
      await watching[user].has(seen.length);
      assert.deepStrictEqual(watching[user].events.map((e) => e.data), seen);
    }
    await watching.root.has(log.length);
    const other = await as('bob', 'GET', `/instances/${ids.ann}/events`);
    assert.deepStrictEqual([other.status, other.body.code], [404, 'not_found']);
    assert.strictEqual((await follow('bob', `/instances/${ids.ann}/events`)).status, 404);
    assert.strictEqual((await as('root', 'GET', `/instances/${ids.ann}/events`)).status, 200);
    assert.strictEqual((await as(undefined, 'GET', '/events')).status, 401);
    await until(() => Object.values(watching).every((x) => x.comments > 1), 'comments on silent streams');
  } finally {
    child.kill('SIGTERM');
    assert.strictEqual(await exited, 0, errors);
    assert.doesNotMatch(errors, /left open|level=error/);
  }
});

test('one page of large entries held up the process and took gigabytes', async (t) => {
  const s = await Server.start({ provider: 'mock' });
  t.after(() => s.stop());
  const { body: m } = await s.call('POST', '/instances?wait=30', {});
  const big = (n) => ({ env: Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`E${i}`, String(n % 10).repeat(30000)])) });
  for (let n = 0; n < 60; n++) assert.strictEqual((await s.call('PATCH', `/instances/${m.id}`, big(n))).status, 200);
  for (const where of [`/instances/${m.id}/events?limit=1000`, '/events?limit=1000', `/instances/${m.id}/events?limit=1000&order=newest`]) {
    const seqs = [];
    let next = where;
    let pages = 0;
    while (next) {
      const page = await s.call('GET', next);
      assert.ok(page.text.length < 3 << 20, `${page.text.length} bytes`);
      seqs.push(...page.body.filter((e) => e.id === m.id).map((e) => e.seq));
      next = /<([^>]+)>; rel="next"/.exec(page.headers.link || '')?.[1];
      pages++;
    }
    assert.ok(pages > 3, `${pages} pages`);
    assert.strictEqual(new Set(seqs).size, seqs.length);
    const sorted = seqs.slice().sort((a, b) => (where.includes('newest') ? b - a : a - b));
    assert.deepStrictEqual(seqs, sorted);
    assert.ok(seqs.length >= 60, `${seqs.length} entries`);
  }
  const all = (await s.call('PATCH', `/instances/${m.id}`, { env: Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`E${i}`, 'x'.repeat(30000)])) }));
  assert.deepStrictEqual([all.status, all.body.field], [400, 'env'], all.text);
});
