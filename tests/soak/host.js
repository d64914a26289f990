// What is done to the host itself: signing in, lists, events, webhooks, policies, its log, backups.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const { until } = require('../lib/cchost.js');
const { Stream } = require('../lib/events.js');

async function sign_in(w, rng) {
  const p = await w.sign_in(rng.of(w.people).email);
  await w.ask(p, 'GET', '/auth/me');
  await w.ask(p, 'PATCH', '/auth/me', { body: { name: w.name('N ') } });
  await w.ask(p, 'GET', '/auth/sessions');
  const t = await w.body(p, 'POST', '/auth/tokens', { body: { name: 'soak', scopes: ['instances:read'] } });
  const by = { headers: { Authorization: `Bearer ${t.token}` } };
  await w.ask(by, 'GET', '/instances');
  await w.ask(by, 'GET', '/auth/me', { want: [403] });
  await w.ask(p, 'DELETE', `/auth/tokens/${t.id}`);
  await w.ask(by, 'GET', '/instances', { want: [401] });
  await w.ask(p, 'POST', '/auth/logout');
  await w.ask(p, 'GET', '/auth/me', { want: [401] });
  await w.ask(undefined, 'GET', '/auth/me', { headers: { Authorization: `Bearer ${w.name('wrong')}` }, want: [401] });
}

// An account from its beginning to its end.
async function account(w) {
  const email = `${w.name('passing')}@example.org`;
  const u = await w.body(undefined, 'POST', '/users', { body: { email } });
  const p = await w.sign_in(email);
  await w.ask(p, 'PUT', '/auth/settings', { body: { anthropic_api_key: `sk-ant-${w.name('x'.repeat(40))}` } });
  await w.ask(undefined, 'POST', `/users/${u.id}/suspend`);
  await w.ask(p, 'GET', '/auth/me', { want: [401] });
  await w.ask(undefined, 'POST', `/users/${u.id}/resume`);
  await w.ask(undefined, 'GET', `/users/${u.id}/export`);
  await w.ask(undefined, 'DELETE', `/users/${u.id}`);
  assert.ok((await w.body(undefined, 'GET', `/users/${u.id}`)).deleted_at);
}

const next = (r) => /^<([^>]+)>; rel="next"$/.exec(r.headers.link || '')?.[1];

const LISTS = ['/instances?limit=5&fields=id,name,status&sort=-created_at', '/events?limit=50', '/volumes?limit=10', '/instances?limit=7&status=RUNNING', '/webhooks?limit=2'];
const OWN = ['/auth/sessions?limit=3', '/auth/tokens?limit=3', '/conversations/list?limit=3'], OPERATORS = ['/users?limit=4&sort=email'];

// Each list to its last page, or eight of them. all: of each kind, once.
async function lists(w, rng, all) {
  const who = rng.of(w.people);
  if (all) {
    for (const where of [...LISTS, ...OWN]) await list(w, who, where);
    for (const where of OPERATORS) await list(w, undefined, where);
  } else if (rng.chance(0.5)) {
    await list(w, who, rng.of([...LISTS, ...OWN]));
  } else {
    await list(w, undefined, rng.of([...LISTS, ...OPERATORS]));
  }
}

async function list(w, who, where) {
  const seen = new Set();
  let at = where;
  for (let pages = 0; at && pages < 8; pages += 1) {
    const r = await w.ask(who, 'GET', at);
    for (const x of r.body) {
      const key = x.id && x.seq === undefined ? x.id : x.seq;
      if (key === undefined) continue;
      assert.ok(!seen.has(key), `${where} has ${key} twice`);
      seen.add(key);
    }
    at = next(r);
  }
}

async function conversation(w, rng) {
  const who = rng.of(w.people);
  const c = await w.body(who, 'GET', `/conversations?project=/claude-data/${w.name('c')}`);
  for (let i = 0; i < 5; i += 1) await w.ask(who, 'POST', `/conversations/${c.id}/messages`, { body: { role: i % 2 ? 'assistant' : 'user', content: 'x'.repeat(rng.between(1, 3000)) } });
  await w.ask(who, 'GET', `/conversations/${c.id}/messages?before=end&limit=2`);
  await w.ask(who, 'DELETE', `/conversations/${c.id}`);
}

// A webhook is made, told something, asked what it was told, and goes.
async function webhook(w, rng) {
  const who = rng.of(w.people);
  const h = await w.body(who, 'POST', '/webhooks', { body: { url: w.receiver.url, events: rng.chance(0.5) ? [] : ['instance'] } });
  await w.ask(who, 'POST', `/webhooks/${h.id}/test`);
  await w.ask(who, 'PATCH', `/webhooks/${h.id}`, { body: { description: w.name('d') } });
  await w.ask(who, 'POST', `/webhooks/${h.id}/secret`, { body: { hours: 1 } });
  const [d] = await w.body(who, 'GET', `/webhooks/${h.id}/deliveries?limit=5`);
  await w.ask(who, 'POST', `/webhooks/${h.id}/deliveries/${d.number}/redeliver`, { want: d.trigger === 'test' ? [409] : [200, 404] }); // 404: what it was about is gone
  await w.ask(who, 'POST', `/webhooks/${h.id}/replay`, { body: { after: Math.max(0, h.after - 20) } });
  await new Promise((r) => { setTimeout(r, rng.between(100, 2000)); });
  await w.ask(who, 'DELETE', `/webhooks/${h.id}`);
}

async function stream(w, rng) {
  const who = rng.of(w.people);
  const s = await Stream.open(w.s.port, '/events?after=0', who.headers);
  assert.strictEqual(s.status, 200, s.text);
  await new Promise((r) => { setTimeout(r, rng.between(100, 3000)); });
  const seqs = s.seqs;
  for (let i = 1; i < seqs.length; i += 1) assert.ok(seqs[i] > seqs[i - 1], 'events are in order');
  await s.close();
}

async function pages(w, rng, all) {
  const open = (where, how) => w.ask(undefined, 'GET', where, { headers: {}, ...how });
  for (const where of ['/healthz', '/readyz', '/plans', '/install.sh']) await open(where);
  let page;
  const PAGES = ['/', '/dashboard', '/docs/api'];
  for (const where of all ? PAGES : [rng.of(PAGES)]) page = await open(where);
  const asset = /\/assets\/[^"]+/.exec(page.bytes.toString())?.[0];
  if (asset) await open(asset, { headers: { 'Accept-Encoding': rng.of(['br', 'gzip', 'identity']) } });
  const { headers } = await open('/openapi.json');
  await open('/openapi.json', { headers: { 'If-None-Match': headers.etag }, want: [304] });
  await w.ask(undefined, 'GET', `/no/such/page/${w.name('x')}`, { want: [404] });
  await w.ask(rng.of(w.people), 'GET', '/types');
  await w.ask(undefined, 'POST', '/instances', { body: { name: 5, other: w.n }, want: [400] });
  await w.ask(undefined, 'GET', `/instances/${w.name('nobody')}`, { want: [404] });
}

async function metrics(w) {
  await w.ask(undefined, 'GET', '/metrics');
  await w.ask(undefined, 'GET', '/metrics', { more: { Accept: 'application/openmetrics-text;version=1.0.0' } });
  await w.ask(w.people[0], 'GET', '/metrics', { want: [403] });
}

// An edit comes into force, is refused, and is taken back.
const policy = (w, rng) => w.alone('policy', async () => {
  const was = await w.body(undefined, 'GET', '/policies/idle.lua');
  const text = `${was.source.replace(/\n-- edit \w+\n/g, '')}\n-- edit ${w.name('e')}\n`;
  const r = await w.body(undefined, 'PUT', '/policies/idle.lua', { body: { source: text, version: was.version, note: 'soak' } });
  assert.ok(r.generation > was.generation);
  const now = await w.body(undefined, 'GET', '/policies/idle.lua');
  await w.ask(undefined, 'PUT', '/policies/idle.lua', { body: { source: 'return {\n', version: now.version }, want: [400] });
  await w.ask(undefined, 'PUT', '/policies/idle.lua', { body: { source: text, version: was.version }, want: [409] });
  if (rng.chance(0.5)) {
    const back = await w.command('policy', 'rollback', `--policies-dir=${w.policies}`);
    assert.strictEqual(back.code, 0, back.err);
    await until(async () => (await w.body(undefined, 'GET', '/policies/idle.lua')).source === was.source, 'the rollback is in force', 30);
  }
});

const whatif = (w) => w.alone('whatif', async () => {
  const { source } = await w.body(undefined, 'GET', '/policies/idle.lua');
  await w.ask(undefined, 'POST', '/policies/idle.lua/whatif', { body: { source: `${source}\n`, since: '1d' }, want: [200, 400] });
});

const rotate = (w) => w.alone('log', async () => {
  const { file } = w.s, old = `${file}.old`;
  fs.renameSync(file, old);
  process.kill(w.pid, 'SIGHUP');
  await until(() => fs.existsSync(file), 'the log is opened anew', 20);
  w.read_log(fs.readFileSync(old, 'utf8'));
  fs.rmSync(old);
});

const levels = (w) => w.alone('levels', async () => {
  await w.ask(undefined, 'PATCH', '/levels', { body: { modules: { tls: 'debug' } } });
  await w.ask(undefined, 'PATCH', '/levels', { body: { modules: { tls: null } } });
});

const backup = (w) => w.alone('backup', () => w.save());

const actions = {
  sign_in: [4, sign_in], account: [2, account], lists: [8, lists], conversation: [2, conversation], webhook: [3, webhook], stream: [3, stream], pages: [4, pages],
  metrics: [2, metrics], policy: [1, policy], whatif: [0.1, whatif], rotate: [0.3, rotate], levels: [0.5, levels], backup: [0.2, backup],
};

module.exports = { actions };
