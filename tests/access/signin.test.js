// Signing in: by a link that is sent by a real mail server, by development's short cut, and what must not work.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { MailServer } = require('../lib/smtp.js');
const { temp, until } = require('../lib/cchost.js');
const { start, sign, claimsOf, as, bearer, person, admin } = require('./people.js');

const html = { Accept: 'text/html,application/xhtml+xml' };
const json = { Accept: 'application/json' };
const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
const link = (mail) => new URL(/https?:\/\/\S+/.exec(mail.text)[0]);
const cookieOf = (r) => /^session=([^;]*)/.exec(r.headers['set-cookie']?.[0])?.[1];

// A server that sends mail, and its mail server. more: settings
async function posting(t, more = {}, options = {}) {
  const mail = await MailServer.start({ user: 'me', password: 'pa55-of-the-mail-server', ...options });
  const s = await start({
    smtp_host: '127.0.0.1', smtp_port: mail.port, smtp_username: 'me', smtp_ca: mail.ca, smtp_from: 'cchost <noreply@example.org>', ...more,
  }, null, { env: { SMTP_PASSWORD: 'pa55-of-the-mail-server' } });
  t.after(async () => {
    await s.stop();
    await mail.stop();
  });
  return { s, mail };
}

test('a link comes by mail over STARTTLS, and works once', async (t) => {
  const { s, mail } = await posting(t);
  const r = await as(s, {}, 'POST', '/auth/login', { email: ' Ann@Example.ORG ' });
  assert.deepStrictEqual([r.status, r.body], [200, { message: 'magic link sent' }]);
  const m = await mail.next();
  assert.deepStrictEqual([m.from, m.to, m.tls], ['noreply@example.org', ['ann@example.org'], true]);
  assert.match(String(m.data), /^From: "cchost" <noreply@example.org>\r?$/m);
  assert.match(String(m.data), /^Date: \w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r?$/m);
  const url = link(m);
  const where = url.pathname + url.search;
  const claims = claimsOf(url.searchParams.get('token'));
  assert.deepStrictEqual([claims.purpose, claims.email, claims.exp - claims.iat], ['magic_link', 'ann@example.org', 900]);
  const [first, second] = await Promise.all([as(s, json, 'GET', where), as(s, json, 'GET', where)]);
  assert.deepStrictEqual([first.status, second.status].sort(), [200, 401], 'two at once');
  const good = first.status === 200 ? first : second;
  const me = await as(s, bearer(good.body.token), 'GET', '/auth/me');
  assert.deepStrictEqual([me.status, me.body.email, me.body.number, me.body.role], [200, 'ann@example.org', 1, 'user']);
  const again = await as(s, json, 'GET', where);
  assert.deepStrictEqual([again.status, again.body.error], [401, 'invalid or expired token']);
  // the same account the next time, whatever the case
  await as(s, {}, 'POST', '/auth/login', { email: 'ANN@example.org' });
  const next = link(await mail.next());
  const t2 = (await as(s, json, 'GET', next.pathname + next.search)).body.token;
  assert.strictEqual((await as(s, bearer(t2), 'GET', '/auth/me')).body.id, me.body.id);
});

test('a browser gets a page whose button signs in; what only opens the link uses nothing up', async (t) => {
  const { s, mail } = await posting(t);
  await as(s, {}, 'POST', '/auth/login', { email: 'bob@example.org' });
  const url = link(await mail.next());
  for (let i = 0; i < 3; i++) { // a scanner, a preview, the person
    const page = await as(s, html, 'GET', url.pathname + url.search);
    assert.strictEqual(page.status, 200);
    assert.match(page.headers['content-type'], /^text\/html/);
    assert.match(page.text, /bob@example\.org/);
    assert.match(page.text, /<form method="post" action="\/auth\/verify">/);
    assert.doesNotMatch(page.text, /<script/);
    assert.match(page.headers['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/);
    assert.strictEqual(page.headers['set-cookie'], undefined);
  }
  const token = url.searchParams.get('token');
  const r = await as(s, { ...html, ...form, Origin: s.url }, 'POST', '/auth/verify', `token=${encodeURIComponent(token)}`);
  assert.deepStrictEqual([r.status, r.headers.location], [303, '/dashboard']);
  assert.match(r.headers['set-cookie'][0], /^session=[\w.-]+; Path=\/; Max-Age=86400; HttpOnly; SameSite=Lax$/);
  const me = await as(s, { Cookie: `a=b; session=${cookieOf(r)}` }, 'GET', '/auth/me');
  assert.deepStrictEqual([me.status, me.body.email], [200, 'bob@example.org']);
  const again = await as(s, { ...html, ...form }, 'POST', '/auth/verify', `token=${token}`);
  assert.strictEqual(again.status, 401);
  assert.match(again.text, /invalid or expired/);
});

test('with a frontend the browser is led there, and an https cookie is Secure', async (t) => {
  const { s, mail } = await posting(t, { base_url: 'https://api.example.org', frontend_url: 'https://app.example.org' });
  await as(s, {}, 'POST', '/auth/login', { email: 'bob@example.org' });
  const url = link(await mail.next());
  assert.strictEqual(url.origin, 'https://api.example.org');
  const page = await as(s, html, 'GET', url.pathname + url.search);
  assert.match(page.headers['content-security-policy'], /form-action 'self' https:\/\/app\.example\.org/);
  const r = await as(s, { ...form, Origin: 'https://api.example.org' }, 'POST', '/auth/verify', `token=${url.searchParams.get('token')}`);
  assert.deepStrictEqual([r.status, r.headers.location], [303, 'https://app.example.org/dashboard']);
  assert.match(r.headers['set-cookie'][0], /; Secure$/);
});

test('a mail that cannot be sent is told, and what was wrong stands in the log without the password', async (t) => {
  const wrong = await posting(t, {}, { password: 'another' });
  const r = await as(wrong.s, {}, 'POST', '/auth/login', { email: 'ann@example.org' });
  assert.deepStrictEqual([r.status, r.body.error], [503, 'failed to send magic link']);
  await wrong.s.says(/could not be sent.*code=denied.*\n/);
  assert.doesNotMatch(wrong.s.log, /pa55/);
  const untrusted = await posting(t, { smtp_ca: '/etc/ssl/certs/ca-certificates.crt' });
  assert.strictEqual((await as(untrusted.s, {}, 'POST', '/auth/login', { email: 'ann@example.org' })).status, 503);
  await untrusted.s.says(/code=denied.*\n/);
  const refused = await posting(t, {}, { replies: { RCPT: '550 not here' } });
  assert.strictEqual((await as(refused.s, {}, 'POST', '/auth/login', { email: 'ann@example.org' })).status, 400);
});

test('where nobody signs up, strangers get the same answer and no mail', async (t) => {
  const { s, mail } = await posting(t, { signup: 'closed' });
  assert.strictEqual((await s.call('POST', '/users', { email: 'known@example.org' })).status, 201);
  const answers = [];
  for (const email of ['stranger@example.org', 'known@example.org']) {
    const r = await as(s, {}, 'POST', '/auth/login', { email });
    answers.push([r.status, r.text]);
  }
  assert.deepStrictEqual(answers[0], answers[1]);
  assert.deepStrictEqual((await mail.next()).to, ['known@example.org']);
  assert.strictEqual(mail.messages, 1);
  assert.strictEqual((await s.call('GET', '/users')).body.length, 1);
  const denied = await until(async () => { const l = (await s.call('GET', '/events?type=denied')).body; return l.length && l; }, 'the operator is told');
  assert.deepStrictEqual(denied.map((e) => [e.kind, e.data.what, e.data.decision.input.domain, e.data.decision.input.email]), [['policy', 'signup', 'example.org', '']]);
  assert.ok(!JSON.stringify(denied).includes('stranger'));
});

test('who asked could learn that an account is suspended; whoever has its mail is told', async (t) => {
  const { s, mail } = await posting(t);
  assert.strictEqual((await s.call('POST', '/users', { email: 'p@example.org' })).status, 201);
  assert.strictEqual((await s.call('POST', '/users/p@example.org/suspend')).status, 200);
  const answers = [];
  for (const email of ['p@example.org', 'nobody@example.org']) answers.push((await as(s, {}, 'POST', '/auth/login', { email })).text);
  assert.strictEqual(answers[0], answers[1]);
  const [url] = [link(await mail.next()), await mail.next()];
  const r = await as(s, json, 'GET', url.pathname + url.search);
  assert.deepStrictEqual([r.status, r.body.error], [403, 'this account is suspended']);
});

test('an address that was only named makes no account', async (t) => {
  const { s, mail } = await posting(t);
  await as(s, {}, 'POST', '/auth/login', { email: 'ann@example.org' });
  await mail.next();
  assert.deepStrictEqual((await s.call('GET', '/users')).body, []);
});

test('addresses that are none are refused with the reason', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  for (const [email, why] of [['', /expected/], ['a', /one @/], ['a@b', /no dot/], ['a b@c.d', /spaces/], ['a@b..c', /out of place/], ['.a@b.c', /dot/],
    ['a@-b.c', /hyphens/], ['ä@b.c', /ASCII/], ['a@b.c\r\nBcc: x.y.z', /control/], [`${'a'.repeat(65)}@b.c`, /64/], ['a@b@c.d', /one @/]]) {
    const r = await as(s, {}, 'POST', '/auth/login', { email });
    assert.deepStrictEqual([r.status, r.body.field], [400, 'email'], email);
    assert.match(r.body.error, why, email);
  }
  assert.strictEqual((await as(s, {}, 'POST', '/auth/login', {})).body.error, 'email is required');
  assert.strictEqual((await as(s, {}, 'POST', '/auth/login', { mail: 'x' })).status, 400);
});

test('development signs in at once, on this host alone, and logs the link', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const r = await as(s, {}, 'POST', '/auth/login', { email: 'dev@example.org' });
  assert.deepStrictEqual([r.status, r.body.message], [200, 'dev login successful']);
  assert.strictEqual(cookieOf(r), r.body.token);
  await s.says(/magic link.*\/auth\/verify\?token=/);
  const url = new URL((await s.says(/url="?(http[^\s"]+verify[^\s"]+)/))[1]);
  assert.strictEqual((await as(s, json, 'GET', url.pathname + url.search)).status, 200, 'the link works, too');
  // a name that leads here, a proxy, a page of another site
  for (const headers of [{ Host: `attacker.example:${s.port}` }, { 'X-Forwarded-For': '203.0.113.9' }, { Forwarded: 'for=203.0.113.9' },
    { Via: '1.1 proxy' }, { 'X-Real-IP': '203.0.113.9' }, { 'X-Forwarded-Host': 'dev.example.org' }, { 'X-Forwarded-Proto': 'https' }]) {
    const no = await as(s, headers, 'POST', '/auth/login', { email: 'dev@example.org' });
    assert.strictEqual(no.status, 503, JSON.stringify(headers));
    assert.doesNotMatch(no.text, /token/);
  }
  assert.strictEqual((await as(s, { Origin: 'https://evil.example' }, 'POST', '/auth/login', { email: 'a@b.c' })).status, 403);
});

test('a token of one purpose is never good for another', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'a@example.org');
  const url = new URL((await s.says(/url="?(http[^\s"]+verify[^\s"]+)/))[1]);
  const magic = url.searchParams.get('token');
  assert.strictEqual((await as(s, bearer(magic), 'GET', '/auth/me')).body.error, 'invalid token purpose');
  assert.strictEqual((await as(s, { Cookie: `session=${magic}` }, 'GET', '/auth/me')).body.error, 'invalid token purpose');
  const r = await as(s, json, 'GET', `/auth/verify?token=${p.token}`);
  assert.deepStrictEqual([r.status, r.body.error], [401, 'invalid token purpose']);
  assert.strictEqual((await as(s, json, 'GET', '/auth/verify')).body.error, 'missing token');
  assert.strictEqual((await as(s, json, 'GET', '/auth/verify?token=x')).body.error, 'invalid or expired token');
  const claims = { ...claimsOf(magic), exp: 1 };
  assert.strictEqual((await as(s, json, 'GET', `/auth/verify?token=${sign(s, claims)}`)).status, 401);
});

test('secrets rotate: sessions of the previous one are good until it goes', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const [one, two] = ['1'.repeat(32), '2'.repeat(32)];
  let s = await start({ jwt_secret: one }, dir);
  const p = await person(s, 'a@example.org');
  await s.stop();
  s = await start({ jwt_secret: two, jwt_secret_previous: one }, dir);
  assert.strictEqual((await as(s, bearer(p.token), 'GET', '/auth/me')).status, 200);
  const q = await person(s, 'a@example.org');
  const kid = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid;
  assert.notStrictEqual(kid(p.token), kid(q.token));
  // without a kid every key is tried: the secret's bytes are the key
  assert.strictEqual((await as(s, bearer(sign(s, claimsOf(q.token))), 'GET', '/auth/me')).status, 200);
  await s.stop();
  s = await start({ jwt_secret: two }, dir);
  assert.strictEqual((await as(s, bearer(p.token), 'GET', '/auth/me')).status, 401);
  assert.strictEqual((await as(s, bearer(q.token), 'GET', '/auth/me')).status, 200);
  await s.stop();
});

test('sessions survive a kill, and one that ended stays ended', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  let s = await start({}, dir);
  const [stays, goes] = [await person(s, 'a@example.org'), await person(s, 'a@example.org')];
  const list = (await stays.call('GET', '/auth/sessions')).body;
  assert.deepStrictEqual(list.map((x) => x.current).sort(), [false, true]);
  assert.match(list[0].address, /^127\.0\.0\.1$/);
  assert.strictEqual((await stays.call('DELETE', `/auth/sessions/${goes.session}`)).status, 204);
  await s.kill();
  s = await start({}, dir);
  assert.strictEqual((await as(s, bearer(goes.token), 'GET', '/auth/me')).status, 401);
  assert.strictEqual((await as(s, bearer(stays.token), 'GET', '/auth/me')).status, 200);
  const r = await as(s, bearer(stays.token), 'DELETE', '/auth/sessions');
  assert.deepStrictEqual([r.status, cookieOf(r)], [204, '']);
  assert.strictEqual((await as(s, bearer(stays.token), 'GET', '/auth/me')).status, 401);
  await s.stop();
});

test('an admin is who has the address of the admin, or whom another admin makes one', async (t) => {
  const s = await start({ admin_email: 'boss@example.org' });
  t.after(() => s.stop());
  const boss = await person(s, 'boss@example.org');
  const ann = await person(s, 'ann@example.org');
  assert.strictEqual((await boss.call('GET', '/users')).body.length, 2);
  assert.strictEqual((await ann.call('GET', '/users')).status, 403);
  assert.strictEqual((await boss.call('PATCH', '/users/ann@example.org', { role: 'admin' })).status, 200);
  assert.strictEqual((await ann.call('GET', '/users')).status, 200, 'the session goes on with the new rights');
  const other = await admin(s);
  assert.strictEqual((await other.call('GET', '/users/1')).body.email, 'boss@example.org');
});
