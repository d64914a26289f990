// How often who may ask. No clock is waited for: within a test's second no token comes back.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { MailServer } = require('../lib/smtp.js');
const { start, as, bearer, person } = require('./people.js');

const statuses = async (n, call) => {
  const out = [];
  for (let i = 0; i < n; i++) out.push((await call(i)).status);
  return out;
};
const refused = (list) => list.filter((x) => x === 429).length;

test('signing in: five a minute, by address, over however many connections', async (t) => {
  const s = await start({ rate_limit_auth: 5 });
  t.after(() => s.stop());
  const all = await statuses(7, (i) => as(s, { Connection: 'close' }, 'POST', '/auth/login', { email: `user${i}@example.org` }));
  assert.deepStrictEqual(all, [200, 200, 200, 200, 200, 429, 429]);
  const r = await as(s, {}, 'POST', '/auth/login', { email: 'a@example.org' });
  assert.deepStrictEqual([r.body.error, r.body.code], ['rate limit exceeded', 'too_many']);
  assert.ok(Number(r.headers['retry-after']) >= 1 && Number(r.headers['retry-after']) <= 12, r.headers['retry-after']);
  assert.deepStrictEqual([r.headers['ratelimit-limit'], r.headers['ratelimit-remaining']], ['5', '0']);
  assert.strictEqual((await as(s, {}, 'GET', '/auth/verify?token=x')).status, 429, 'verify is counted with it');
  assert.strictEqual((await as(s, {}, 'GET', '/healthz')).status, 200);
  assert.strictEqual((await s.call('GET', '/instances')).status, 200, 'another class');
});

test('the API: by account, whatever the address and the credential', async (t) => {
  const s = await start({ rate_limit_api: 10, trusted_proxies: '127.0.0.1', dev_login: 'on' });
  t.after(() => s.stop());
  const [p, q] = [await person(s, 'p@example.org'), await person(s, 'q@example.org')];
  const again = await person(s, 'p@example.org');
  const all = await statuses(12, (i) => (i % 2 ? p : again).call('GET', '/auth/me', undefined, { 'X-Forwarded-For': `203.0.113.${i}` }));
  assert.strictEqual(refused(all), 2);
  assert.deepStrictEqual(all.slice(0, 10), Array(10).fill(200));
  const other = await q.call('GET', '/auth/me');
  assert.deepStrictEqual([other.status, other.headers['ratelimit-limit'], other.headers['ratelimit-remaining']], [200, '10', '9']);
});

test('guesses are counted by address: X-Forwarded-For from a trusted proxy alone, IPv6 by its /64', async (t) => {
  const s = await start({ rate_limit_api: 4, trusted_proxies: '127.0.0.1' });
  t.after(() => s.stop());
  const guess = (from) => as(s, { ...bearer('x'), ...(from && { 'X-Forwarded-For': from }) }, 'GET', '/auth/me');
  assert.deepStrictEqual(await statuses(5, () => guess('203.0.113.1')), [401, 401, 401, 401, 429]);
  assert.deepStrictEqual(await statuses(5, (i) => guess(`203.0.113.1:${1000 + i}`)), Array(5).fill(429), 'a port changes nothing');
  assert.deepStrictEqual(await statuses(5, (i) => guess(`2001:db8:1:2::${i}`)), [401, 401, 401, 401, 429]);
  assert.strictEqual((await guess('2001:db8:1:3::1')).status, 401);
  const direct = await start({ rate_limit_api: 4 });
  t.after(() => direct.stop());
  const spoofed = await statuses(5, (i) => as(direct, { ...bearer('x'), 'X-Forwarded-For': `203.0.113.${i}` }, 'GET', '/auth/me'));
  assert.deepStrictEqual(spoofed, [401, 401, 401, 401, 429]);
});

test('60 a minute by default, and 0 is no limit', async (t) => {
  const s = await start({ rate_limit_api: undefined });
  t.after(() => s.stop());
  const all = await statuses(61, () => s.call('GET', '/types'));
  assert.deepStrictEqual([refused(all), all[60]], [1, 429]);
  const free = await start();
  t.after(() => free.stop());
  assert.strictEqual(refused(await statuses(100, () => free.call('GET', '/types'))), 0);
  assert.strictEqual((await free.call('GET', '/types')).headers['ratelimit-limit'], undefined);
});

test("strangers at the operator's address used up what his key may ask", async (t) => {
  const s = await start({ rate_limit_api: 3 });
  t.after(() => s.stop());
  assert.strictEqual(refused(await statuses(5, () => as(s, {}, 'GET', '/types'))), 2);
  assert.strictEqual((await s.call('GET', '/types')).headers['ratelimit-remaining'], '2');
});

test('what is answered without a credential is limited, too: scripts, and what there is not', async (t) => {
  for (const where of ['/connect.sh?user_id=1', '/install.sh', '/cli/claude-cloud', '/nowhere']) {
    const s = await start({ rate_limit_api: 3 });
    t.after(() => s.stop());
    const all = await statuses(5, (i) => as(s, { Connection: 'close' }, 'GET', `${where}${where.includes('?') ? i : ''}`));
    assert.strictEqual(refused(all), 2, `${where}: ${all}`);
  }
});

test('mail to one address had no bound but five a minute: 20 an hour, whoever asks', async (t) => {
  const mail = await MailServer.start({ user: 'me', password: 'another' });
  const s = await start({
    smtp_host: '127.0.0.1', smtp_port: mail.port, smtp_username: 'me', smtp_ca: mail.ca, smtp_from: 'a@example.org', trusted_proxies: '127.0.0.1',
  }, null, { env: { SMTP_PASSWORD: 'another' } });
  t.after(async () => {
    await s.stop();
    await mail.stop();
  });
  const ask = (email, i) => as(s, { 'X-Forwarded-For': `203.0.113.${i}` }, 'POST', '/auth/login', { email });
  assert.deepStrictEqual(await statuses(22, (i) => ask('victim@example.org', i)), [...Array(20).fill(200), 429, 429]);
  const retry = Number((await ask('VICTIM@example.org', 99)).headers['retry-after']);
  assert.ok(retry > 120 && retry <= 180, `one more in three minutes: ${retry}`);
  assert.strictEqual((await ask('other@example.org', 99)).status, 200);
  assert.strictEqual(mail.messages, 21);
});
