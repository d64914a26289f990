// Webhooks: what happens reaches who asked for it, signed, in order, at least once, whatever becomes of the receiver or of us.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { until, temp } = require('../lib/cchost.js');
const { start, as, bearer, person, admin, apiToken } = require('../access/people.js');
const { Receiver, verify } = require('../lib/receiver.js');

const quick = { webhook_retry_first: '1s', webhook_retry_last: '1s', webhook_seconds: 2, quota_instances: 0 };

async function world(t, settings, answer, tls) {
  const s = await start({ ...quick, ...settings });
  t.after(() => s.child.kill('SIGKILL')); // of a test that failed
  const r = await Receiver.start(answer, tls);
  t.after(() => r.stop());
  return { s, r, p: await person(s, 'p@example.org') };
}

async function hook(who, spec) {
  const made = await who.call('POST', '/webhooks', spec);
  assert.strictEqual(made.status, 201, made.text);
  return made.body;
}

const get = async (who, h) => (await who.call('GET', `/webhooks/${h.id}`)).body;
const log = async (who, h) => (await who.call('GET', `/webhooks/${h.id}/deliveries?limit=1000`)).body;
const events = async (who) => (await who.call('GET', '/events?limit=1000')).body;
const machine = async (s, who, name) => {
  const made = await who.call('POST', '/instances?wait=30', { name });
  assert.strictEqual(made.status, 201, made.text);
  return made.body;
};
const seqs = (list) => list.map((e) => e.seq);
const last = (list) => list[list.length - 1];

test('an owner is told what GET /events shows him, signed as Standard Webhooks has it, in order', async (t) => {
  const { s, r, p } = await world(t);
  const q = await person(s, 'q@example.org');
  const h = await hook(p, { url: `${r.url}?x=1`, description: 'all of mine' });
  assert.match(h.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  assert.strictEqual((await get(p, h)).secret, undefined);
  const begin = h.after;
  await machine(s, p, 'mine');
  await machine(s, q, 'his');
  await p.call('POST', '/instances/mine/stop');
  const mine = (await events(p)).filter((e) => e.seq > begin);
  await until(() => r.got.length >= mine.length, () => `${r.got.length} of ${mine.length}`);
  assert.deepStrictEqual(r.got.map((g) => g.body), mine);
  assert.ok(mine.some((e) => e.kind === 'user' && e.type === 'webhook_created') && mine.some((e) => e.kind === 'instance' && e.type === 'stopped'));
  for (const g of r.got) {
    assert.deepStrictEqual([g.method, g.path, g.headers['content-type']], ['POST', '/hook?x=1', 'application/json']);
    assert.ok(verify(h.secret, g.headers, g.text), 'by another implementation');
    assert.ok(!verify(h.secret, g.headers, `${g.text} `) && !verify(`whsec_${'A'.repeat(43)}=`, g.headers, g.text));
    assert.ok(Math.abs(Number(g.headers['webhook-timestamp']) - Date.now() / 1000) < 20);
    assert.match(g.id, /^msg_[0-9a-f]{16}_\d+_[0-9a-f]{8}$/);
  }
  assert.strictEqual(new Set(r.got.map((g) => g.id)).size, r.got.length);
  const kept = await until(async () => { const l = await log(p, h); return l.length === mine.length && l; }, 'all are in its log');
  assert.deepStrictEqual(kept.map((d) => d.event), seqs(mine).reverse());
  assert.deepStrictEqual([kept[0].ok, kept[0].status, kept[0].attempt, kept[0].trigger, kept[0].message], [true, 204, 1, 'event', last(r.got).id]);
  assert.strictEqual((await get(p, h)).after, last(mine).seq);
  await s.stop();
});

test('it is told the kinds and types that it wants; a changed filter tells nothing of before', async (t) => {
  const { s, r, p } = await world(t);
  const h = await hook(p, { url: r.url, events: ['instance.stopped', 'user'] });
  await machine(s, p, 'a');
  await p.call('POST', '/instances/a/stop');
  const told = (e) => e.seq > h.after && (e.kind === 'user' || e.kind === 'instance' && e.type === 'stopped');
  const want = (await events(p)).filter(told);
  assert.ok(want.length >= 2);
  await until(() => r.got.length >= want.length, 'they come');
  assert.deepStrictEqual(r.seqs, seqs(want));
  assert.strictEqual((await p.call('PATCH', `/webhooks/${h.id}`, { events: [] })).status, 200);
  await p.call('POST', '/instances/a/start');
  const now = (await events(p)).filter((e) => e.seq > last(want).seq);
  await until(() => r.got.length >= want.length + now.length, 'the rest');
  assert.deepStrictEqual(r.seqs, [...seqs(want), ...seqs(now)]);
  for (const bad of [['x y'], ['Instance'], ['a.b.c'], [1]]) {
    assert.strictEqual((await p.call('POST', '/webhooks', { url: r.url, events: bad })).status, 400, JSON.stringify(bad));
  }
  for (const [method, where] of [['POST', '/webhooks'], ['PATCH', `/webhooks/${h.id}`]]) { // what would never come
    const { status, body } = await p.call(method, where, { url: r.url, events: ['user', 'instance.stoped'] });
    assert.deepStrictEqual([status, body.field, body.error], [400, 'events',
      "events[1]: there is no type 'stoped' of the kind instance; did you mean 'stopped'?"]);
  }
  await s.stop();
});

test('what fails is tried again with the same id, holds up what is behind it, and not the webhooks of others', async (t) => {
  let bad = 3;
  const { s, r, p } = await world(t, {}, (res) => res.writeHead(bad-- > 0 ? 500 : 200).end('sorry'));
  const other = await Receiver.start();
  t.after(() => other.stop());
  const q = await person(s, 'q@example.org');
  const h = await hook(p, { url: r.url });
  const h2 = await hook(q, { url: other.url });
  await until(() => r.got.length === 1, 'the first try');
  await machine(s, p, 'a');
  await machine(s, q, 'b');
  const his = (await events(q)).filter((e) => e.seq > h2.after);
  await until(() => other.got.length >= his.length, 'others are told');
  const waiting = (await get(p, h)).waiting;
  if (bad > 0) {
    assert.ok(waiting.attempts >= 1 && waiting.event === r.got[0].body.seq && Date.parse(waiting.next_at), JSON.stringify(waiting));
    assert.match(waiting.error, /^it answered 500$/);
  }
  const mine = (await events(p)).filter((e) => e.seq > h.after);
  await until(() => r.got.length >= mine.length + 3, 'all of them');
  assert.deepStrictEqual(r.seqs, [mine[0].seq, mine[0].seq, mine[0].seq, ...seqs(mine)]);
  assert.strictEqual(new Set(r.got.slice(0, 4).map((g) => g.id)).size, 1);
  const timestamps = r.got.slice(0, 4).map((g) => Number(g.headers['webhook-timestamp']));
  assert.ok(timestamps[3] > timestamps[0], 'each try has a time of its own');
  assert.ok(r.got.every((g) => verify(h.secret, g.headers, g.text)));
  const tries = await until(async () => { const l = (await log(p, h)).reverse(); return l.length === mine.length + 3 && l; }, 'the log');
  assert.deepStrictEqual(tries.slice(0, 5).map((d) => [d.attempt, d.ok, d.status, d.body]),
    [[1, false, 500, 'sorry'], [2, false, 500, 'sorry'], [3, false, 500, 'sorry'], [4, true, 200, 'sorry'], [1, true, 200, 'sorry']]);
  await s.stop();
});

test('slow, dripping, redirecting, huge, cut and refused answers', async (t) => {
  const answers = [
    [() => {}, /./, null], // never
    [(res) => { res.writeHead(200); const drip = setInterval(() => res.write('.'), 50); res.on('close', () => clearInterval(drip)); }, /./, null],
    [(res) => res.writeHead(302, { Location: '/elsewhere' }).end(), /302; redirects are not followed/, 302],
    [(res) => { res.writeHead(200); res.end('x'.repeat(8 << 20)); }, null, 200],
    [(res) => { res.writeHead(500, { 'Content-Length': 100 }); res.write('half'); res.destroy(); }, /./, null],
    [(res) => res.writeHead(200, Object.fromEntries([...Array(12)].map((_, i) => [`x-${i}`, 'y'.repeat(8000)]))).end(), /./, null],
    [(res) => res.writeHead(200).end(Buffer.from([0xff, 0xfe, 0x41])), null, 200],
  ];
  let answer;
  const { s, r, p } = await world(t, {}, (res, got) => (got.path === '/hook' ? answer(res) : assert.fail('a redirect was followed')));
  const h = await hook(p, { url: r.url, events: ['ledger.dispute'] });
  for (const [fn, error, status] of answers) {
    answer = fn;
    const d = await p.call('POST', `/webhooks/${h.id}/test`);
    assert.strictEqual(d.status, 200, d.text);
    assert.deepStrictEqual([d.body.status, d.body.ok, d.body.trigger], [status, error === null, 'test'], `${fn}: ${d.text.slice(0, 200)}`);
    if (error) assert.match(d.body.error, error); else assert.strictEqual(d.body.error, null);
    if (status === 200) assert.ok(d.body.body.length <= 1024 && d.body.body.length > 0);
  }
  assert.match((await log(p, h))[0].body, /^\ufffd+A$/);
  const huge = (await log(p, h))[3];
  assert.strictEqual(huge.body, 'x'.repeat(1024));
  await until(() => r.open === 0, 'the huge answer was let go, and so were the others');
  assert.strictEqual((await p.call('POST', `/webhooks/${h.id}/deliveries/1/redeliver`)).status, 409);
  assert.ok(verify(h.secret, r.got[0].headers, r.got[0].text));
  assert.match(r.got[0].id, /^test_/);
  await r.stop();
  const none = (await p.call('POST', `/webhooks/${h.id}/test`)).body;
  assert.deepStrictEqual([none.ok, none.status], [false, null]);
  await s.stop();
});

test('Retry-After is honoured', async (t) => {
  let n = 0;
  const { s, r, p } = await world(t, {}, (res) => (n++ === 0 ? res.writeHead(503, { 'Retry-After': '3' }).end() : res.writeHead(200).end()));
  await hook(p, { url: r.url, events: ['user.webhook_created'] });
  await until(() => r.got.length === 2, 'it came again');
  assert.ok(r.got[1].at - r.got[0].at >= 3000, `${r.got[1].at - r.got[0].at} ms`);
  await s.stop();
});

test('410 disables it at once, too long a failure in the end; an event says so, and nothing is lost', async (t) => {
  let status = 410;
  const { s, r, p } = await world(t, { webhook_retry_for: '2s' }, (res) => res.writeHead(status).end());
  const h = await hook(p, { url: r.url, events: ['user.webhook_created', 'instance'] });
  const off = await until(async () => { const x = await get(p, h); return !x.enabled && x; }, '410');
  assert.match(off.disabled_reason, /410/);
  assert.strictEqual(r.got.length, 1);
  const said = (await events(p)).filter((e) => e.type === 'webhook_disabled');
  assert.deepStrictEqual([said.length, said[0].by, said[0].data.webhook, said[0].data.host], [1, 'system', h.id, '127.0.0.1']);

  status = 500;
  const on = await p.call('PATCH', `/webhooks/${h.id}`, { enabled: true });
  assert.deepStrictEqual([on.body.enabled, on.body.disabled_reason], [true, null]);
  const ended = await until(async () => { const x = await get(p, h); return !x.enabled && x; }, 'given up');
  assert.match(ended.disabled_reason, /^event \d+ could not be delivered in \d tries: it answered 500$/);
  assert.ok(r.got.length >= 3);
  await machine(s, p, 'meanwhile');
  status = 200;
  const before = r.got.length;
  await p.call('PATCH', `/webhooks/${h.id}`, { enabled: true });
  const want = (await events(p)).filter((e) => e.seq > h.after && (e.type === 'webhook_created' || e.kind === 'instance'));
  await until(() => r.got.length - before >= want.length, 'all that was held up');
  assert.deepStrictEqual(r.seqs.slice(before), seqs(want));
  await s.stop();
});

test('one that was level with the log before it was disabled is told what it was not told, once it is enabled', async (t) => {
  let status = 204;
  const { s, r, p } = await world(t, {}, (res) => res.writeHead(status).end());
  const h = await hook(p, { url: r.url, events: ['user.webhook_created', 'instance'] });
  await until(async () => (await log(p, h)).length === 1, 'it was told of its own beginning');
  status = 410;
  await machine(s, p, 'held-up');
  await until(async () => !(await get(p, h)).enabled, '410');
  status = 204;
  const before = r.got.length;
  await p.call('PATCH', `/webhooks/${h.id}`, { enabled: true });
  const want = (await events(p)).filter((e) => e.kind === 'instance');
  await until(() => r.got.length - before >= want.length, () => `${r.got.length - before} of ${want.length}`);
  assert.deepStrictEqual(r.seqs.slice(before), seqs(want));
  await s.stop();
});

test('a rotated secret is good for a time beside the new one', async (t) => {
  const { s, r, p } = await world(t);
  const h = await hook(p, { url: r.url, events: ['ledger.dispute'] });
  const send = async () => { await p.call('POST', `/webhooks/${h.id}/test`); return last(r.got); };
  const two = (await p.call('POST', `/webhooks/${h.id}/secret`, { hours: 1 }, { 'Idempotency-Key': 'k' })).body;
  assert.strictEqual((await p.call('POST', `/webhooks/${h.id}/secret`, { hours: 1 }, { 'Idempotency-Key': 'k' })).body.secret, two.secret, 'repeated');
  assert.notStrictEqual(two.secret, h.secret);
  assert.ok(Date.parse(two.previous_secret_until) > Date.now() + 3500e3);
  let g = await send();
  assert.ok(verify(h.secret, g.headers, g.text) && verify(two.secret, g.headers, g.text));
  assert.strictEqual(g.headers['webhook-signature'].split(' ').length, 2);
  const three = (await p.call('POST', `/webhooks/${h.id}/secret`, { hours: 0 })).body;
  g = await send();
  assert.ok(verify(three.secret, g.headers, g.text) && !verify(two.secret, g.headers, g.text) && !verify(h.secret, g.headers, g.text));
  assert.strictEqual(three.previous_secret_until, null);
  await s.stop();
});

test('replay from a sequence or a time, and one delivery again, with the ids that they had', async (t) => {
  const { s, r, p } = await world(t);
  const h = await hook(p, { url: r.url, events: ['instance'] });
  await machine(s, p, 'a');
  const want = () => events(p).then((all) => all.filter((e) => e.seq > h.after && e.kind === 'instance'));
  let all = await want();
  await until(() => r.got.length === all.length, 'told once');
  const first = r.got.slice();
  assert.strictEqual((await p.call('POST', `/webhooks/${h.id}/replay`, { after: all[0].seq })).status, 200);
  await until(() => r.got.length === 2 * all.length - 1, 'again, behind the first');
  assert.deepStrictEqual(r.got.slice(all.length).map((g) => [g.id, g.text]), first.slice(1).map((g) => [g.id, g.text]));
  assert.strictEqual((await p.call('POST', `/webhooks/${h.id}/replay`, { since: all[0].at })).status, 200);
  await until(() => r.got.length === 3 * all.length - 1, 'again, from a time');
  assert.deepStrictEqual(r.seqs.slice(2 * all.length - 1), seqs(all));

  const newest = (await log(p, h))[0];
  const again = await p.call('POST', `/webhooks/${h.id}/deliveries/${newest.number}/redeliver`);
  assert.deepStrictEqual([again.body.ok, again.body.trigger, again.body.message], [true, 'redelivery', newest.message]);
  assert.strictEqual(last(r.got).id, newest.message);
  assert.strictEqual((await p.call('POST', `/webhooks/${h.id}/deliveries/9999/redeliver`)).status, 404);

  const end = last(await events(p)).seq;
  for (const bad of [{}, { after: 1, since: all[0].at }, { after: end + 1000 }, { since: 'yesterday' }, { after: -1 }]) {
    assert.strictEqual((await p.call('POST', `/webhooks/${h.id}/replay`, bad)).status, 400, JSON.stringify(bad));
  }
  // forth: what lies between is left out
  await p.call('PATCH', `/webhooks/${h.id}`, { enabled: false });
  await machine(s, p, 'b');
  const n = r.got.length;
  await p.call('POST', `/webhooks/${h.id}/replay`, { since: new Date(Date.now() + 1000).toISOString() });
  await p.call('PATCH', `/webhooks/${h.id}`, { enabled: true });
  await machine(s, p, 'c');
  all = (await want()).filter((e) => r.seqs.slice(n).includes(e.seq) || e.data.changes?.name === 'c');
  await until(() => r.got.slice(n).some((g) => g.body.data.changes?.name === 'c'), 'c is told of');
  assert.ok(!r.got.slice(n).some((g) => g.body.data.changes?.name === 'b'));
  await s.stop();
});

test('pages of the delivery log', async (t) => {
  const { s, r, p } = await world(t);
  const h = await hook(p, { url: r.url, events: ['ledger.dispute'] });
  for (let i = 0; i < 5; i++) await p.call('POST', `/webhooks/${h.id}/test`);
  const numbers = [];
  for (let next = `/webhooks/${h.id}/deliveries?limit=2`; next;) {
    const page = await p.call('GET', next);
    numbers.push(page.body.map((d) => d.number));
    next = page.headers.link && /<([^>]+)>; rel="next"/.exec(page.headers.link)[1];
  }
  assert.deepStrictEqual(numbers, [[5, 4], [3, 2], [1]]);
  assert.strictEqual((await p.call('GET', `/webhooks/${h.id}/deliveries?after=x`)).status, 400);
  assert.strictEqual((await p.call('GET', `/webhooks/${h.id}/deliveries?ok=1`)).status, 400);
  await s.stop();
});

test('the operator sees all; an admin only with `all`, and no longer when he is none', async (t) => {
  const { s, r, p } = await world(t);
  const root = await admin(s);
  const of = { key: r, all: await Receiver.start(), own: await Receiver.start() };
  t.after(() => Promise.all([of.all.stop(), of.own.stop()]));
  assert.strictEqual((await p.call('POST', '/webhooks', { url: r.url, all: true })).status, 403);
  await hook(s, { url: of.key.url, events: ['instance'] });
  const h = await hook(root, { url: of.all.url, events: ['instance'], all: true });
  await hook(root, { url: of.own.url, events: ['instance'] });
  await machine(s, p, 'a');
  const want = (await events(s)).filter((e) => e.kind === 'instance');
  await until(() => of.key.got.length === want.length && of.all.got.length === want.length, 'both are told');
  assert.deepStrictEqual(of.key.seqs, seqs(want));
  const less = bearer((await apiToken(root, ['webhooks:read', 'webhooks:write'])).token);
  for (const [method, where, body] of [['GET', ''], ['PATCH', '', { url: of.own.url }], ['POST', '/secret', {}], ['POST', '/replay', { after: 0 }]]) {
    assert.strictEqual((await as(s, less, method, `/webhooks/${h.id}${where}`, body)).status, 404, `${method}${where}: a token of less than he may`);
  }
  assert.strictEqual((await s.call('PATCH', `/users/${root.id}`, { role: 'user' })).status, 200);
  await machine(s, p, 'b');
  await until(() => of.key.got.some((g) => g.body.data.changes?.name === 'b'), 'the operator is told');
  const back = await person(s, 'root@example.org');
  assert.deepStrictEqual([(await back.call('GET', '/webhooks')).body.map((x) => x.id).includes(h.id), (await back.call('GET', `/webhooks/${h.id}`)).status], [true, 200], 'it stays his');
  await machine(s, back, 'own');
  await until(() => of.own.got.some((g) => g.body.data.changes?.name === 'own'), 'his own come');
  await until(() => of.all.got.some((g) => g.body.data.changes?.name === 'own'), 'here, too');
  assert.ok(!of.all.got.some((g) => g.body.data.changes?.name === 'b') && !of.own.got.some((g) => g.body.data.changes?.name === 'b'));
  const first = (await log(back, h)).find((x) => x.number === 1);
  assert.strictEqual((await back.call('POST', `/webhooks/${h.id}/deliveries/1/redeliver`)).status, 404, `what he sees no more is not sent again: ${JSON.stringify(first)}`);
  assert.strictEqual((await back.call('DELETE', `/webhooks/${h.id}`)).status, 204, 'and he can remove it');
  await s.stop();
});

test('what it may be: urls, a quota, versions', async (t) => {
  const { s, r, p } = await world(t, { quota_webhooks: 2 });
  for (const url of ['http://example.org/', 'ftp://example.org/', 'https://', 'https://u:p@example.org/', 'https://example.org/#x', 'https://exa mple.org/',
    'https://example.org:0/', 'https://example.org:99999/', 'https://example.org/\u00e4', 'http://127.0.0.1.example.org/', 'http://localhost@example.org/', 'x']) {
    const made = await p.call('POST', '/webhooks', { url });
    assert.deepStrictEqual([made.status, made.body.field], [400, 'url'], url);
  }
  const h = await hook(p, { url: r.url, enabled: false });
  await hook(p, { url: 'https://[2001:db8::1]:8443/x?y=%20', enabled: false });
  assert.deepStrictEqual([(await p.call('POST', '/webhooks', { url: r.url })).status, (await p.call('GET', '/webhooks')).body.length], [429, 2]);
  assert.strictEqual((await p.call('PATCH', `/webhooks/${h.id}`, { description: 'x' }, { 'If-Match': '"7"' })).status, 412);
  assert.strictEqual((await p.call('PATCH', `/webhooks/${h.id}`, { description: 'x' }, { 'If-Match': '"1"' })).body.version, 2);
  assert.strictEqual((await p.call('DELETE', `/webhooks/${h.id}`)).status, 204);
  assert.deepStrictEqual([(await p.call('GET', `/webhooks/${h.id}`)).status, (await p.call('GET', '/webhooks')).body.length], [404, 1]);
  assert.deepStrictEqual((await events(p)).filter((e) => /^webhook_/.test(e.type)).map((e) => e.type), ['webhook_created', 'webhook_created', 'webhook_changed', 'webhook_deleted']);
  await s.stop();
});

test('a suspended account is told nothing until it is resumed; one that ends loses its webhooks; the export has no secret', async (t) => {
  const { s, r, p } = await world(t);
  const h = await hook(p, { url: r.url, events: ['user', 'instance'] });
  await until(() => r.got.length === 1, 'it works');
  assert.strictEqual((await s.call('POST', `/users/${p.id}/suspend`)).status, 200);
  assert.strictEqual((await s.call('PATCH', `/users/${p.id}`, { name: 'Renamed' })).status, 200);
  const test_ = await s.call('POST', `/webhooks/${h.id}/test`); // by the operator, so that something has come since
  assert.strictEqual(test_.body.ok, true);
  assert.deepStrictEqual(r.got.map((g) => g.body.type), ['webhook_created', 'test']);
  assert.strictEqual((await s.call('POST', `/users/${p.id}/resume`)).status, 200);
  await until(() => r.got.some((g) => g.body.type === 'resumed') && r.got.some((g) => g.body.data.changes?.name === 'Renamed'), 'all of it comes');

  const out = (await s.call('GET', `/users/${p.id}/export`)).text;
  assert.strictEqual(JSON.parse(out).webhooks[0].id, h.id);
  assert.ok(!out.includes(h.secret) && !out.includes('whsec_'));
  assert.ok(!JSON.stringify(await events(s)).includes('whsec_'), 'and no event');
  const n = r.got.length;
  assert.strictEqual((await s.call('DELETE', `/users/${p.id}?machines=delete`)).status, 200);
  assert.strictEqual((await s.call('GET', `/webhooks/${h.id}`)).status, 404);
  const q = await person(s, 'q@example.org');
  await hook(q, { url: `${r.url}2`, events: ['user.webhook_created'] });
  await until(() => last(r.got).path === '/hook2', 'later ones come');
  assert.ok(!r.got.slice(n).some((g) => g.path === '/hook' && g.body.type === 'deleted'));
  assert.ok(!s.log.includes('whsec_'));
  await s.stop();
});

test('killed in the midst of deliveries: each at least once, in order, under its id; none twice but what was under way', async (t) => {
  const dir = temp();
  let s = await start(quick, dir);
  t.after(() => s.child.kill('SIGKILL'));
  const r = await Receiver.start((res) => setTimeout(() => res.writeHead(200).end(), 3));
  t.after(() => r.stop());
  const h = await hook(s, { url: r.url, enabled: false, events: ['user'] });
  for (let i = 0; i < 60; i++) assert.strictEqual((await s.call('POST', '/users', { email: `u${i}@example.org` })).status, 201);
  await s.call('PATCH', `/webhooks/${h.id}`, { enabled: true });
  const kills = 4;
  for (let k = 1; k <= kills; k++) {
    await until(() => r.got.length >= k * 10, 'some came');
    await s.kill();
    s = await start(quick, dir);
  }
  const want = (await events(s)).filter((e) => e.seq > h.after && e.kind === 'user');
  await until(() => new Set(r.seqs).size >= want.length, () => `${new Set(r.seqs).size} of ${want.length}`);
  const ids = new Map(r.got.map((g) => [g.body.seq, g.id]));
  assert.ok(r.got.every((g) => ids.get(g.body.seq) === g.id && verify(h.secret, g.headers, g.text)));
  assert.deepStrictEqual(r.seqs.filter((n, i) => n !== r.seqs[i - 1]), seqs(want), 'in order; what comes again comes at once');
  assert.ok(r.got.length - want.length <= kills, `${r.got.length - want.length} came twice`);
  await s.stop();
});

test('upgraded in the midst of deliveries: each once, in order', async (t) => {
  const { s, r } = await world(t, {}, (res) => setTimeout(() => res.writeHead(200).end(), 20));
  const h = await hook(s, { url: r.url, enabled: false, events: ['user'] });
  for (let i = 0; i < 60; i++) assert.strictEqual((await s.call('POST', '/users', { email: `u${i}@example.org` })).status, 201);
  await s.call('PATCH', `/webhooks/${h.id}`, { enabled: true });
  await until(() => r.got.length >= 10, 'some came');
  const up = await s.upgrade();
  assert.strictEqual(up.code, 0, up.err);
  const want = (await events(s)).filter((e) => e.seq > h.after && e.kind === 'user');
  await until(() => r.got.length >= want.length, () => `${r.got.length} of ${want.length}`);
  await s.call('POST', '/users', { email: 'last@example.org' });
  await until(() => last(r.got).body.data.changes?.email === 'last@example.org', 'and what comes');
  assert.deepStrictEqual(r.seqs.slice(0, want.length), seqs(want));
  assert.strictEqual(r.got.length, want.length + 1);
  await s.stop();
});

test('a hundred webhooks, a third of them dead, and nobody waits for another', async (t) => {
  const dead = await Receiver.start(() => {});
  t.after(() => dead.stop());
  const { s, r } = await world(t, { quota_webhooks: 0 });
  const people = await Promise.all([...Array(34)].map((_, i) => person(s, `p${i}@example.org`)));
  const hooks = await Promise.all(people.flatMap((p) => [r.url, `${r.url}?2`, dead.url].map((url) => hook(p, { url, events: ['user.changed'] }))));
  assert.strictEqual(hooks.length, 102);
  const begun = Date.now();
  for (const p of people) assert.strictEqual((await p.call('PATCH', '/auth/me', { name: 'other' })).status, 200);
  await until(() => r.got.length >= 68 && dead.got.length >= 34, () => `${r.got.length} and ${dead.got.length}`);
  t.diagnostic(`68 deliveries beside 34 that hang in ${Date.now() - begun} ms`);
  assert.strictEqual(new Set(r.got.map((g) => g.id)).size, 68);
  await s.stop();
});

// Bug: one account's tests to a receiver that hangs took all places that there are.
test('an account whose receiver hangs takes no other\'s place', async (t) => {
  const dead = await Receiver.start(() => {});
  t.after(() => dead.stop());
  const { s, r, p } = await world(t, { webhook_seconds: 3 });
  const q = await person(s, 'q@example.org');
  const hangs = await hook(p, { url: dead.url, events: ['ledger.dispute'] }), works = await hook(q, { url: r.url, events: ['ledger.dispute'] });
  s.agent.maxSockets = 400;
  const all = Array.from({ length: 300 }, () => p.call('POST', `/webhooks/${hangs.id}/test`));
  await until(() => dead.got.length === 16, () => `its share: ${dead.got.length}`);
  const begun = Date.now();
  assert.strictEqual((await q.call('POST', `/webhooks/${works.id}/test`)).body.ok, true);
  assert.ok(Date.now() - begun < 2000, `${Date.now() - begun} ms`);
  assert.strictEqual(dead.open, 16);
  dead.answer = (res) => res.writeHead(204).end(); // the rest ends at once
  assert.strictEqual((await Promise.all(all)).filter((x) => x.body.ok).length, 300 - 16);
  await s.stop();
});

test('what waits for a place among the deliveries goes where the webhook is now', async (t) => {
  const { s, r, p } = await world(t, { webhook_seconds: 60 });
  const held = [], dead = await Receiver.start((res) => held.push(res)), other = await Receiver.start();
  t.after(() => Promise.all([dead.stop(), other.stop()]));
  const hangs = await hook(p, { url: dead.url, events: ['ledger.dispute'] });
  const tests = Array.from({ length: 16 }, () => p.call('POST', `/webhooks/${hangs.id}/test`));
  await until(() => held.length === 16, () => `its share: ${held.length}`);
  const waits = await hook(p, { url: r.url, events: ['user.webhook_created'] });
  await until(async () => /^cchost_webhook_deliveries_now\{state="waiting"\} 1$/m.test((await s.call('GET', '/metrics')).text), 'it waits');
  assert.strictEqual((await p.call('PATCH', `/webhooks/${waits.id}`, { url: other.url })).status, 200);
  for (const res of held) res.writeHead(204).end();
  await Promise.all(tests);
  await until(() => other.got.length === 1, 'it is told where it is now');
  assert.strictEqual(r.got.length, 0);
  await s.stop();
});

test('a thousand events', async (t) => {
  const { s, r } = await world(t);
  const h = await hook(s, { url: r.url, enabled: false, events: ['user'] });
  for (let i = 0; i < 1000; i += 50) await Promise.all([...Array(50)].map((_, k) => s.call('POST', '/users', { email: `u${i + k}@example.org` })));
  const begun = Date.now();
  await s.call('PATCH', `/webhooks/${h.id}`, { enabled: true });
  const want = (await events(s)).concat((await s.call('GET', '/events?limit=1000&after=1000')).body).filter((e) => e.seq > h.after && e.kind === 'user');
  assert.ok(want.length >= 1000);
  await until(() => r.got.length >= want.length, () => `${r.got.length} of ${want.length}`, 60);
  t.diagnostic(`${want.length} events in ${Date.now() - begun} ms`);
  assert.deepStrictEqual(r.seqs, seqs(want));
  await until(async () => (await log(s, h)).length === 1000, 'the log has the last thousand');
  await s.stop();
});
