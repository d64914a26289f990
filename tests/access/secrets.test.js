// Secrets at rest and on their way: nothing that the program writes holds one, and the master key can change.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { temp, binary } = require('../lib/cchost.js');
const { MailServer } = require('../lib/smtp.js');
const { start, as, bearer, apiToken, person } = require('./people.js');

const files = (dir) => fs.readdirSync(dir, { withFileTypes: true }).flatMap((e) => {
  const full = path.join(dir, e.name);
  return e.isDirectory() ? files(full) : e.isFile() ? [full] : [];
});

// Every secret in every form that could be written: as it is, in base64, in hexadecimal.
function forms(secret) {
  const b = Buffer.from(secret);
  return [b, Buffer.from(b.toString('base64').replace(/=+$/, '')), Buffer.from(b.toString('hex'))];
}

test('nothing that was written holds a secret: store, log, events, exports, backups, processes', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const mail = await MailServer.start({ user: 'me', password: 'another' });
  const env = {
    SMTP_PASSWORD: 'smtp-password-5a1b2c3d', JWT_SECRET: 'jwt-secret-of-this-test-0123456789abcdef', API_KEY: 'api-key-of-this-test-0123456789',
    MASTER_KEY: '5a'.repeat(32), JWT_SECRET_PREVIOUS: 'previous-jwt-secret-0123456789abcdef00',
  };
  let s = await start({ log_level: 'debug' }, dir, { env: { ...env, SMTP_PASSWORD: undefined } }); // development signs in at once
  const p = await person(s, 'p@example.org');
  const secrets = { ...env, session: p.token };
  secrets.anthropic_api_key = 'anthropic-key-of-somebody-0123456789';
  secrets.claude_oauth_token = 'oauth-token-of-somebody-0123456789';
  const put = await p.call('PUT', '/auth/settings', { anthropic_api_key: secrets.anthropic_api_key, claude_oauth_token: secrets.claude_oauth_token });
  assert.strictEqual(put.status, 200, put.text);
  const made = await p.call('POST', '/auth/tokens', { name: 'x', scopes: ['account:read'] }, { 'Idempotency-Key': 'once' });
  secrets.token = made.body.token.split('_')[2];
  const m = (await p.call('POST', '/instances?wait=30', {})).body;
  secrets.ticket = (await p.call('POST', `/instances/${m.id}/ticket`, undefined, { 'Idempotency-Key': 'twice' })).body.ticket;
  await as(s, bearer('wrong-token-0123456789abcdef'), 'GET', '/auth/me');
  await as(s, { 'X-API-Key': 'wrong-key-0123456789abcdef' }, 'GET', '/auth/me');
  await p.call('PUT', '/auth/settings', { anthropic_api_key: `${secrets.anthropic_api_key} with a space` });
  const shown = await p.call('GET', '/auth/settings');
  assert.strictEqual(shown.body.auth_method, 'oauth');
  const events = (await s.call('GET', '/events?limit=1000')).text;
  const line = fs.readFileSync(`/proc/${s.child.pid}/cmdline`, 'latin1');
  let log = s.log;
  await s.stop();
  s = await start({ smtp_host: '127.0.0.1', smtp_port: mail.port, smtp_username: 'me', smtp_ca: mail.ca, smtp_from: 'a@example.org', log_level: 'debug' }, dir, { env });
  assert.strictEqual((await as(s, {}, 'POST', '/auth/login', { email: 'q@example.org' })).status, 503);
  log += s.log;
  const run = (...args) => spawnSync(binary, [...args, `--data-dir=${dir}`], { encoding: 'utf8', env: { ...process.env, ...env } });
  const outputs = [run('export', `${dir}/out.jsonl`), run('backup', `${dir}/out.backup`), run('log', '--json'), run('users', '--json'),
    run('users', 'export', '1'), run('log', '--data-dir=/nowhere/at/all')];
  await s.stop();
  await mail.stop();
  const written = { log, events, line, shown: shown.text, outputs: outputs.map((r) => r.stdout + r.stderr).join('\n') };
  for (const file of files(dir)) written[path.relative(dir, file)] = fs.readFileSync(file);
  assert.ok(Object.keys(written).length >= 9, Object.keys(written).join(' '));
  for (const [name, secret] of Object.entries(secrets)) {
    for (const form of forms(secret)) {
      for (const [where, text] of Object.entries(written)) {
        assert.ok(!Buffer.from(text).includes(form), `${name} is in ${where}`);
      }
    }
  }
});

test('files of secrets are for their owner alone', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  for (const name of ['api_key', 'jwt_secret', 'master_key']) assert.strictEqual(fs.statSync(`${s.dir}/${name}`).mode & 0o777, 0o600, name);
});

test('settings are masked, kept apart, and can be taken away', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const [p, q] = [await person(s, 'p@example.org'), await person(s, 'q@example.org')];
  assert.deepStrictEqual((await p.call('GET', '/auth/settings')).body, { anthropic_api_key: '', claude_oauth_token: '', auth_method: 'none' });
  const key = `beginning-${'x'.repeat(40)}-end1`;
  await p.call('PUT', '/auth/settings', { anthropic_api_key: key });
  assert.deepStrictEqual((await p.call('GET', '/auth/settings')).body, { anthropic_api_key: 'beginnin…end1', claude_oauth_token: '', auth_method: 'api_key' });
  assert.strictEqual((await q.call('GET', '/auth/settings')).body.auth_method, 'none');
  const me = (await p.call('GET', '/auth/me')).body;
  assert.deepStrictEqual([me.has_anthropic_key, me.has_oauth_token], [true, false]);
  await p.call('PUT', '/auth/settings', { claude_oauth_token: 'short' });
  assert.deepStrictEqual((await p.call('GET', '/auth/settings')).body.claude_oauth_token, '••••••••');
  await p.call('PUT', '/auth/settings', { claude_oauth_token: '' });
  assert.deepStrictEqual((await p.call('GET', '/auth/settings')).body.auth_method, 'api_key');
  assert.strictEqual((await p.call('PUT', '/auth/settings', { anthropic_api_key: 7 })).status, 400);
});

test('rekey: secrets move to the new master key, then the old one is not needed', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const [old, now] = ['1b'.repeat(32), '2c'.repeat(32)];
  const with_ = (env) => start({}, dir, { env });
  const run = (env) => spawnSync(binary, ['rekey', `--data-dir=${dir}`], { encoding: 'utf8', env: { ...process.env, ...env } });
  let s = await with_({ MASTER_KEY: old });
  const key = `beginning-${'y'.repeat(40)}-end2`;
  for (const email of ['p@example.org', 'q@example.org']) await (await person(s, email)).call('PUT', '/auth/settings', { anthropic_api_key: key });
  const make = async () => (await person(s, 'p@example.org')).call('POST', '/auth/tokens', { name: 'x', scopes: ['billing'] }, { 'Idempotency-Key': 'k' });
  const token = (await make()).body.token; // the kept answer is sealed, too: without it a repeat after the change failed
  await s.stop();
  s = await with_({ MASTER_KEY: now }); // the old key is missing: what is there cannot be read, and says so
  assert.strictEqual((await (await person(s, 'p@example.org')).call('GET', '/auth/settings')).status, 403);
  const missing = run({ MASTER_KEY: now });
  assert.deepStrictEqual([missing.status, /(user\/|idempotency ).*which is not here/.test(missing.stderr)], [1, true]);
  await s.stop();
  s = await with_({ MASTER_KEY: now, MASTER_KEY_PREVIOUS: old });
  const read = async () => (await (await person(s, 'p@example.org')).call('GET', '/auth/settings')).body.anthropic_api_key;
  assert.strictEqual(await read(), 'beginnin…end2');
  assert.match(run({ MASTER_KEY: now, MASTER_KEY_PREVIOUS: old }).stdout, /^3 secrets sealed anew/);
  assert.match(run({ MASTER_KEY: now, MASTER_KEY_PREVIOUS: old }).stdout, /^0 secrets/);
  await s.stop();
  s = await with_({ MASTER_KEY: now });
  assert.strictEqual(await read(), 'beginnin…end2');
  assert.strictEqual((await make()).body.token, token);
  await s.stop();
});
