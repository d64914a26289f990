// What browsers may do: headers on every answer, cookies only from our own pages, CORS for one origin.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const net = require('node:net');
const { start, as, person } = require('./people.js');

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

test('a cookie that is no good is taken away, and two different ones are none', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const r = await as(s, { Cookie: 'session=nonsense' }, 'GET', '/auth/me');
  assert.deepStrictEqual([r.status, /^session=; .*Max-Age=0/.test(r.headers['set-cookie'][0])], [401, true]);
  assert.strictEqual((await as(s, { Cookie: `session=${p.token}; session=other` }, 'GET', '/auth/me')).status, 401);
  assert.strictEqual((await as(s, { Cookie: `x=1; session="${p.token}"` }, 'GET', '/auth/me')).status, 200);
});
