// Every route that there is, tried by everybody who may knock. What each may expect is derived from what `cchost routes` says
// that the route needs; what the routes need is written down in routes.txt, so that a new or changed one is a decision.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { binary } = require('../lib/cchost.js');
const { makers } = require('./objects.js');
const { start, sign, as, bearer, person, admin, apiToken } = require('./people.js');

const command = (...args) => {
  const r = spawnSync(binary, args, { encoding: 'utf8' });
  assert.strictEqual(r.status, 0, r.stderr);
  return r.stdout;
};
const routes = command('routes', '--json').trim().split('\n').map((l) => JSON.parse(l));
const scopes = [...new Set(routes.map((r) => r.scope))].filter((s) => s && s !== 'any' && !['operator', 'metrics'].includes(s));

test('the routes and what they need are those that were decided', () => {
  assert.strictEqual(command('routes'), fs.readFileSync(path.join(__dirname, 'routes.txt'), 'utf8'));
});

test('no two routes without a need', () => {
  for (const r of routes) assert.ok(r.open ? !r.scope : r.scope, `${r.method} ${r.path}`);
});

let s;
let who;

test('set up', async () => {
  // Stripe is set up, so that its routes are there, and nowhere.
  s = await start({ quota_instances: 0, quota_vpcs: 0, quota_webhooks: 0, network_backend: 'mock', policies_dir: path.join(__dirname, 'policies') }, undefined,
    { env: { STRIPE_SECRET_KEY: 'sk_test_nowhere', STRIPE_API_URL: 'http://127.0.0.1:1', STRIPE_WEBHOOK_SECRET: 'whsec_nowhere' } });
  who = { owner: await person(s, 'owner@example.org'), other: await person(s, 'other@example.org'), root: await admin(s) };
  const gone = await person(s, 'owner@example.org');
  assert.strictEqual((await gone.call('POST', '/auth/logout')).status, 204);
  who.revoked = gone.token;
  make = makers(s, () => who.owner);
});

let make;

async function objects() {
  const of = {};
  for (const kind of new Set(routes.map((r) => r.object).filter(Boolean))) {
    of[kind] = await make[kind]();
    assert.match(of[kind], /^[\w.-]+$/, kind);
  }
  return of;
}

const bodies = {
  '/instances/{id}/terminal/share': { session: 'main' },
  '/auth/login': { email: 'new@example.org' }, '/auth/tokens': { name: 'x', scopes: ['billing'] }, '/users': { email: 'x@example.org' },
  '/instances/{id}/extend': { hours: 1 }, '/instances/{id}/resize': { type: 'small' }, '/instances/{id}/exec': { cmd: ['true'] },
  '/billing/checkout': { plan: 'gold' }, // refused before Stripe is asked
  '/conversations/{id}/messages': { role: 'user', content: 'x' }, '/security-groups/{id}/rules': { direction: 'ingress' },
  '/webhooks': { url: 'http://127.0.0.1:1/', enabled: false }, '/webhooks/{id}/replay': { after: 0 },
  '/instances/{id}/volumes': { id: 'extra', path: '/v2' }, '/volumes/{id}/restore': { snapshot: 's1' }, '/instances/{id}/lease': { reason: 'a test', ttl: 60 },
};

function request(route, of) {
  const where = route.path.replace('{id}', of[route.object] ?? 'x').replace('{volume}', make?.volumeOf[of.instance] ?? 'x').replace('{lease}', 'l1')
    .replace('{snapshot}', 's1').replace('{number}', '1').replace('{orphan}', '000000000000');
  if (route.path === '/volumes/{id}/attach') return ['POST', where, { machine: of.instance, path: '/v3' }];
  return [route.method, where, ['POST', 'PATCH', 'PUT'].includes(route.method) ? bodies[route.path] ?? {} : undefined];
}

// Callers that are turned away before anybody looks at what they ask for. [headers, status, words]
const strangers = () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = { user_id: who.owner.id, email: who.owner.email, purpose: 'session', jti: who.owner.session, iat: now - 100, exp: now + 100 };
  return {
    nobody: [{}, 401, 'authentication required'],
    expired: [bearer(sign(s, { ...claims, exp: now - 1 })), 401, 'invalid token'],
    'a token of the wrong purpose': [bearer(sign(s, { ...claims, purpose: 'magic_link' })), 401, 'invalid token purpose'],
    'a session that was ended': [bearer(who.revoked), 401, 'invalid token'],
    'a session that never was': [bearer(sign(s, { ...claims, jti: 'f'.repeat(32) })), 401, 'invalid token'],
    'the session of another': [bearer(sign(s, { ...claims, user_id: who.other.id })), 401, 'invalid token'],
    'a wrong key': [{ 'X-API-Key': 'wrong' }, 401, 'invalid API key'],
    'a good token beside a wrong key': [{ ...bearer(who.owner.token), 'X-API-Key': 'wrong' }, 401, 'invalid API key'],
    'a wrong cookie beside a good token': [{ ...bearer(who.owner.token), Cookie: 'session=x' }, 401, 'invalid token'],
    'a made-up API token': [bearer(`cct_${'0'.repeat(16)}_${'0'.repeat(64)}`), 401, 'invalid token'],
  };
};

const allowed = (r) => ![401, 403].includes(r.status) && !(r.status === 404 && /^no such (machine|volume|operation|session|token|SSH|user|conversation|VPC|subnet|security group$|webhook)/.test(r.body?.error));

test('whoever shows nothing good is turned away from every route', async () => {
  const of = await objects();
  for (const route of routes.filter((r) => !r.open)) {
    for (const [name, [headers, status, words]] of Object.entries(strangers())) {
      const r = await as(s, headers, ...request(route, of));
      assert.deepStrictEqual([r.status, r.body.error], [status, words], `${route.method} ${route.path} by ${name}`);
    }
  }
});

test('open routes ask nobody', async () => {
  for (const route of routes.filter((r) => r.open)) {
    const r = await as(s, {}, ...request(route, {}));
    assert.ok(![401, 403].includes(r.status), `${route.method} ${route.path}: ${r.status}`);
  }
});

// What somebody with an account may expect of a route: a status, or 'allowed'.
function expected(route, { isAdmin, isOwner, key, token }) {
  if (token && route.scope !== 'any' && !token.includes(route.scope)) return 403;
  if (route.admin && !(isAdmin && (!token || token.includes('operator') || route.scope === 'metrics'))) return 403;
  if (route.user && key) return 401;
  if (route.session && token) return 403;
  const own = ['session', 'token', 'ssh_key', 'conversation'].includes(route.object); // nobody else's, not an admin's either
  if (route.object && !route.admin && !isOwner && !(isAdmin && !own)) return 404;
  return 'allowed';
}

const last = (r) => Number(r.path === '/auth/sessions' && r.method === 'DELETE'); // it ends the owner's sessions, too

async function matrix(name, call, what) {
  const of = await objects();
  for (const route of routes.filter((r) => !r.open).sort((a, b) => last(a) - last(b))) {
    // a caller's own session would end with these
    if (!what.key && !what.token && route.method !== 'GET' && /^\/auth\/(sessions|logout)$/.test(route.path)) continue;
    const r = await call(...request(route, of));
    const want = expected(route, what);
    const line = `${route.method} ${route.path} by ${name}: ${r.status} ${r.text.slice(0, 200)}`;
    if (want === 'allowed') assert.ok(allowed(r), `${line}; allowed`); else assert.strictEqual(r.status, want, line);
    if (want === 'allowed' && route.object && route.method !== 'GET') of[route.object] = await make[route.object]();
  }
}

test('the owner reaches what is his', () => matrix('the owner', who.owner.call, { isOwner: true }));
test('another user does not', () => matrix('another user', who.other.call, {}));
test('an admin reaches all but what is personal', () => matrix('an admin', who.root.call, { isAdmin: true }));
test("so does the operator's key", () => matrix('the key', (...a) => s.call(...a), { isAdmin: true, key: true }));

for (const scope of scopes) {
  test(`a token of scope ${scope} reaches that alone`, async () => {
    const t = await apiToken(who.owner, [scope]);
    await matrix(`a token of ${scope}`, (...a) => as(s, bearer(t.token), ...a), { isOwner: true, token: [scope] });
    who.owner = await person(s, 'owner@example.org');
  });
}

test("an admin's token without 'operator' is no admin", async () => {
  const t = await apiToken(who.root, ['instances:read']);
  await matrix("an admin's token", (...a) => as(s, bearer(t.token), ...a), { token: ['instances:read'] });
});

test("an admin's token for the figures has those alone; another user's cannot be", async () => {
  const t = await apiToken(who.root, ['metrics']);
  await matrix('a token of metrics', (...a) => as(s, bearer(t.token), ...a), { isAdmin: true, token: ['metrics'] });
  assert.strictEqual((await as(s, bearer(t.token), 'GET', '/metrics')).status, 200);
  const denied = await who.other.call('POST', '/auth/tokens', { name: 'x', scopes: ['metrics'] });
  assert.deepStrictEqual([denied.status, /only an admin's token/.test(denied.body.error)], [403, true]);
});

test('a token for one machine reaches that one', async () => {
  const m = { id: await make.instance() };
  const events = (await s.call('GET', `/instances/${m.id}/events`)).body;
  const mine = { instance: m.id, history: m.id, operation: events[0].data.operation };
  const others = await objects();
  const t = await apiToken(who.owner, ['instances:read', 'instances:write', 'instances:connect'], { instance: mine.instance });
  for (const route of routes.filter((r) => !r.open && /^instances:/.test(r.scope))) {
    if (route.method !== 'GET') continue;
    const at = async (of) => (await as(s, bearer(t.token), ...request(route, of))).status;
    const line = `${route.method} ${route.path}`;
    if (!route.object || ['volume', 'conversation'].includes(route.object)) { assert.strictEqual(await at(mine), 403, line); continue; } // about more
    assert.ok(![401, 403, 404].includes(await at(mine)), line);
    assert.strictEqual(await at(others), 404, line);
  }
});

test('what a suspended account shows is refused everywhere', async () => {
  const p = await person(s, 'suspended@example.org');
  const t = await apiToken(p, scopes);
  assert.strictEqual((await s.call('POST', `/users/${p.id}/suspend`)).status, 200);
  const of = await objects();
  for (const route of routes.filter((r) => !r.open)) {
    assert.strictEqual((await p.call(...request(route, of))).status, 401, `${route.method} ${route.path}`);
    assert.strictEqual((await as(s, bearer(t.token), ...request(route, of))).status, 403, `${route.method} ${route.path}`);
  }
});

test('ending', () => s.stop());
