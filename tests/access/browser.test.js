// What browsers may do: headers on every answer, cookies only from our own pages, CORS for one origin.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const net = require('node:net');
const path = require('node:path');
const { start, as, person } = require('./people.js');
const { root } = require('../lib/cchost.js');

const five = {
  'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'strict-origin-when-cross-origin',
  'x-xss-protection': '0', 'permissions-policy': 'camera=(), microphone=()',
};

const raw = (port, text) => new Promise((resolve, reject) => {
  const c = net.connect(port, '127.0.0.1', () => c.write(text));
  let out = '';
  c.on('data', (d) => { out += d; });
  c.on('end', () => resolve(out));
  c.on('error', reject);
});

test('the headers are on every answer: good ones, errors, 404s, and what is refused before it is a request', async (t) => {
  for (const [settings, hsts] of [[{}, undefined], [{ base_url: 'https://api.example.org' }, 'max-age=31536000; includeSubDomains']]) {
    const s = await start(settings);
    t.after(() => s.stop());
    const answers = [
      await as(s, {}, 'GET', '/healthz'), await as(s, {}, 'GET', '/instances'), await s.call('GET', '/nowhere'), await s.call('PUT', '/instances'),
      await s.call('POST', '/instances', '{'), await s.call('GET', '/instances'), await s.call('GET', '/events'),
    ];
    for (const r of answers) {
      for (const [name, value] of Object.entries(five)) {
        if (name === 'referrer-policy' && /html/.test(r.headers['content-type'])) continue;
        assert.strictEqual(r.headers[name], value, `${r.status} ${name}`);
      }
      assert.strictEqual(r.headers['strict-transport-security'], hsts);
    }
    const bad = await raw(s.port, 'GET / HTTP/1.1\r\nBad Header: x\r\n\r\n');
    assert.match(bad, /^HTTP\/1\.1 400 /);
    for (const [name, value] of Object.entries(five)) assert.ok(bad.toLowerCase().includes(`${name}: ${value}`.toLowerCase()), name);
    assert.strictEqual(/strict-transport-security/i.test(bad), hsts !== undefined);
  }
});

test('what was answered to a cookie could be kept by a cache between', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const asked = async (where) => (await as(s, { Cookie: `session=${p.token}` }, 'GET', where)).headers['cache-control'];
  for (const where of ['/auth/me', '/auth/settings', '/instances', '/nowhere']) assert.strictEqual(await asked(where), 'private, no-cache', where);
  assert.strictEqual(await asked('/events'), 'no-store', 'its own counts');
});

test('a page has a policy that lets nothing run', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const r = await as(s, { Accept: 'text/html' }, 'GET', '/auth/verify?token=%3Cscript%3E');
  assert.strictEqual(r.status, 401);
  assert.match(r.headers['content-security-policy'], /^default-src 'none'; style-src 'nonce-\w+'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/);
  assert.strictEqual(r.headers['x-frame-options'], 'DENY');
  assert.doesNotMatch(r.text, /<script/);
});

test('a change by cookie needs a page of ours to have sent it', async (t) => {
  const s = await start({ frontend_url: 'https://app.example.org' });
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const change = (headers) => as(s, { Cookie: `session=${p.token}`, ...headers }, 'PATCH', '/auth/me', { name: 'x' });
  const good = [{ Origin: s.url }, { Origin: 'https://app.example.org' }, { 'Sec-Fetch-Site': 'same-origin' }, { Referer: `${s.url}/dashboard` }];
  const bad = [{}, { Origin: 'https://evil.example' }, { Origin: 'null' }, { 'Sec-Fetch-Site': 'cross-site' }, { 'Sec-Fetch-Site': 'same-site' },
    { Referer: 'https://evil.example/' }, { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'same-origin' },
    { Origin: `${s.url}.evil.example` }, { Referer: `${s.url}@evil.example/` }];
  for (const h of good) assert.strictEqual((await change(h)).status, 200, JSON.stringify(h));
  for (const h of bad) assert.strictEqual((await change(h)).status, 403, JSON.stringify(h));
  assert.strictEqual((await as(s, { Cookie: `session=${p.token}` }, 'GET', '/auth/me')).status, 200, 'reading needs none');
  assert.strictEqual((await p.call('PATCH', '/auth/me', { name: 'x' }, { Origin: 'https://evil.example' })).status, 200, 'nor does a token');
});

test('CORS is for exactly the frontend, on errors too', async (t) => {
  const s = await start({ base_url: 'https://api.example.org', frontend_url: 'https://app.example.org' });
  t.after(() => s.stop());
  const front = { Origin: 'https://app.example.org' };
  for (const [method, where, status] of [['GET', '/instances', 200], ['GET', '/nowhere', 404], ['POST', '/instances?wait=x', 400]]) {
    const r = await s.call(method, where, undefined, front);
    assert.strictEqual(r.status, status);
    assert.deepStrictEqual([r.headers['access-control-allow-origin'], r.headers['access-control-allow-credentials'], r.headers.vary],
      ['https://app.example.org', 'true', 'Origin']);
  }
  for (const origin of ['https://evil.example', 'https://app.example.org.evil.example', 'http://app.example.org', 'null']) {
    const r = await s.call('GET', '/instances', undefined, { Origin: origin });
    assert.deepStrictEqual([r.status, r.headers['access-control-allow-origin'], r.headers.vary], [200, undefined, 'Origin'], origin);
  }
  const ask = { 'Access-Control-Request-Method': 'PATCH', 'Access-Control-Request-Headers': 'content-type' };
  const yes = await as(s, { ...front, ...ask }, 'OPTIONS', '/instances/x');
  assert.strictEqual(yes.status, 204);
  assert.match(yes.headers['access-control-allow-methods'], /DELETE, GET, PATCH/);
  assert.match(yes.headers['access-control-allow-headers'], /Content-Type/);
  assert.strictEqual(yes.headers['access-control-max-age'], '86400');
  const no = await as(s, { Origin: 'https://evil.example', ...ask }, 'OPTIONS', '/instances/x');
  assert.deepStrictEqual([no.status, no.headers['access-control-allow-origin'], no.headers['access-control-allow-methods']], [204, undefined, undefined]);
  assert.strictEqual((await as(s, {}, 'OPTIONS', '/instances')).status, 401, 'no preflight, no exception');
});

test('an answer that varies with Accept did not say that it varies with Origin, too', async (t) => {
  const s = await start({ frontend_url: 'https://app.example.org' });
  t.after(() => s.stop());
  for (const Origin of [undefined, 'https://app.example.org']) {
    assert.strictEqual((await s.call('GET', '/events', undefined, { Origin })).headers.vary, 'Accept, Origin');
  }
});

test('without a frontend of its own there is no CORS', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const r = await s.call('GET', '/instances', undefined, { Origin: s.url });
  assert.deepStrictEqual([r.headers['access-control-allow-origin'], r.headers.vary], [undefined, undefined]);
});

test('a 401 took the cookie away, and with it that of a session begun since; two different ones are none', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const r = await as(s, { Cookie: 'session=nonsense' }, 'GET', '/auth/me');
  assert.deepStrictEqual([r.status, r.headers['set-cookie']], [401, undefined]);
  assert.strictEqual((await as(s, { Cookie: `session=${p.token}; session=other` }, 'GET', '/auth/me')).status, 401);
  assert.strictEqual((await as(s, { Cookie: `x=1; session="${p.token}"` }, 'GET', '/auth/me')).status, 200);
});

test('the dashboard is served from memory: names with hashes for good, compressed, under a strict policy', async (t) => {
  const s = await start({ rate_limit_api: 5 });
  t.after(() => s.stop());
  const page = await as(s, {}, 'GET', '/');
  assert.strictEqual(page.status, 200);
  assert.match(page.headers['content-type'], /^text\/html; charset=utf-8$/);
  assert.strictEqual(page.headers['cache-control'], 'no-cache');
  assert.match(page.headers['content-security-policy'], /^default-src 'none'; script-src 'self'; style-src 'self'; [^*]*frame-ancestors 'none'$/);
  assert.doesNotMatch(page.headers['content-security-policy'], /unsafe|data:|blob:/);
  assert.doesNotMatch(page.text, /<style|style=|<script(?! type="module" src="\/assets\/)|https?:/);
  const files = page.text.match(/\/assets\/[\w.-]+/g);
  assert.deepStrictEqual(files.map((f) => f.split('.').pop()).sort(), ['css', 'js', 'svg']);
  for (const file of files) {
    const plain = await as(s, { 'Accept-Encoding': 'identity' }, 'GET', file);
    assert.deepStrictEqual([plain.status, plain.headers['content-encoding'], plain.headers['cache-control'], plain.headers.vary],
      [200, undefined, 'public, max-age=31536000, immutable', 'Accept-Encoding']);
    assert.strictEqual(plain.headers['x-content-type-options'], 'nosniff');
    for (const [said, used] of [['gzip', 'gzip'], ['gzip, br;q=0.9', 'br'], ['br;q=0, gzip', 'gzip'], ['br;q=0.0', undefined]]) {
      const r = await as(s, { 'Accept-Encoding': said }, 'HEAD', file);
      assert.deepStrictEqual([r.status, r.headers['content-encoding'], r.text], [200, used, ''], said);
      if (used) assert.ok(Number(r.headers['content-length']) < plain.text.length);
      const again = await as(s, { 'Accept-Encoding': said, 'If-None-Match': r.headers.etag }, 'GET', file);
      assert.deepStrictEqual([again.status, again.text], [304, '']);
    }
  }
  // None of these was counted: a limit of five stands.
  const counted = await as(s, {}, 'GET', '/plans');
  assert.deepStrictEqual([counted.status, counted.headers['ratelimit-remaining']], [200, '4']);
});

test('its paths are pages, others are errors: a page for who asks for one', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const see = async (where, headers = {}) => {
    const r = await as(s, headers, 'GET', where);
    return `${r.status} ${/html/.test(r.headers['content-type']) ? 'page' : r.body.code}`;
  };
  for (const where of ['/', '/auth/login', '/dashboard', '/dashboard/', '/dashboard/new', '/dashboard/machines/x', '/dashboard/admin/users', '/dashboard/admin/users/x', '/dashboard/chat?cwd=%2Fx']) {
    assert.strictEqual(await see(where), '200 page', where);
  }
  for (const where of ['/assets/nothing.js', '/assets/..%2findex.html', '/assets/app.js.gz', `/assets/${'x'.repeat(300)}.js`]) {
    assert.strictEqual(await see(where), '404 not_found', where);
  }
  assert.strictEqual(await see('/nowhere', { Accept: 'text/html,*/*' }), '404 page');
  assert.strictEqual(await see('/nowhere'), '401 unauthorized');
  assert.strictEqual(await see('/instances', { Accept: 'text/html' }), '401 unauthorized', 'what there is, is not a page');
  assert.strictEqual((await as(s, { Accept: 'text/html' }, 'POST', '/nowhere', {})).status, 401);
});

test('plans and prices are open to all, as the policy has them', async (t) => {
  const s = await start({ policies_dir: path.join(root, 'policies') });
  t.after(() => s.stop());
  const { status, body } = await as(s, {}, 'GET', '/plans');
  assert.strictEqual(status, 200);
  assert.deepStrictEqual(body.plans.map((p) => [p.name, p.month_micro, p.machines, p.included_hours, p.trial_hours, p.overage]),
    [['free', 0, 1, 0, 5, false], ['starter', 19e6, 1, 20, 0, true], ['pro', 29e6, 0, 60, 0, true]]);
  assert.deepStrictEqual([body.currency, body.default, body.storage_micro, body.checkout, body.for_sale], ['USD', 'free', 100, false, []]);
  assert.deepStrictEqual(body.types[1], { name: 'small', vcpu: 1, memory_mib: 2048, disk_gib: 20, prepaid: false, hour_micro: 40000, block_micro: 40000 });
});
