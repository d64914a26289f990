// docs/first-day.md, from its first command to its last: Hetzner, Stripe and the mail server are doubles, and 443 is the port of a
// network of its own. What the page has a person do in a browser is done over HTTP.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { Server, temp, until, binary, root } = require('../lib/cchost.js');
const { Hetzner } = require('../lib/hetzner.js');
const { Stripe } = require('../lib/stripe.js');
const { MailServer, certificate } = require('../lib/smtp.js');
const { bash, shown } = require('../lib/shown.js');

const has = (program) => { try { execFileSync('which', [program]); return true; } catch { return false; } };
const lacks = ['unshare', 'sshd', 'ssh', 'openssl'].find((p) => !has(p));
const skip = process.getuid() !== 0 ? 'the double of Hetzner needs root' : lacks && `${lacks} is not here`;

test('the first day, from nothing to a machine that is paid for', { skip }, async (t) => {
  const page = shown('docs/first-day.md');
  const here = temp();
  t.after(() => fs.rmSync(here, { recursive: true, force: true }));
  const etc = path.join(here, 'etc'), data = path.join(here, 'data'), bin = path.join(here, 'bin');
  for (const dir of [etc, bin, path.join(etc, 'tls'), path.join(etc, 'policies')]) fs.mkdirSync(dir);
  fs.symlinkSync(binary, path.join(bin, 'cchost'));
  const lineage = path.join(here, 'lineage');
  fs.mkdirSync(lineage);
  const { cert, key } = certificate(lineage);
  fs.renameSync(cert, path.join(lineage, 'fullchain.pem'));
  fs.renameSync(key, path.join(lineage, 'privkey.pem'));

  const mail = await MailServer.start({ user: 'cchost', password: 'p4ssword' });
  t.after(() => mail.stop());
  const stripe = await Stripe.start({ checked: !Stripe.missing(), key: 'sk_live_51CchostDouble0123456789', webhook: 'unset' });
  t.after(() => stripe.stop());
  const hetzner = await Hetzner.start({ machines: true, checked: !Hetzner.missing() });
  t.after(() => hetzner.stop());

  const yours = { HCLOUD_TOKEN: hetzner.token, SMTP_HOST: mail.host, SMTP_USERNAME: 'cchost', SMTP_PASSWORD: 'p4ssword', ...stripe.env };
  const doubles = { HCLOUD_ENDPOINT: hetzner.url, HCLOUD_OPTIONS: '{poll_ms=10,retry_ms=20,ssh_every_ms=50,ssh_tries=100,stop_grace_ms=2000}',
    STRIPE_API_URL: stripe.url, SMTP_PORT: String(mail.port), SMTP_CA: mail.ca, TERMINAL_COMMAND: 'exec sh', DRAIN_SECONDS: '2', RATE_LIMIT_API: '0' };
  const ours = Object.fromEntries(Object.keys(process.env).filter((k) => /^(DATA_DIR|PROVIDER|POLICIES_DIR)$/.test(k)).map((k) => [k, undefined]));
  const env = { ...ours, ...doubles, PATH: `${bin}:${process.env.PATH}`, CURL_CA_BUNDLE: path.join(lineage, 'fullchain.pem') };
  const change = (text) => text.replaceAll('/etc/cchost', etc).replaceAll('/var/lib/cchost', data).replaceAll('cloud.example.org', 'localhost')
    .replaceAll('runuser -u cchost -- ', '');
  const run = async (n, more = {}) => (await page.run({ env: { ...env, ...more }, cwd: etc, change, seconds: 120 }, n))[0];

  // 1. install: in a place of its own, of what is built
  await page.run({ env: { DESTDIR: path.join(here, 'installed') }, cwd: root, seconds: 300, change: (text) => text.replace('make deps-run', 'make -n deps-run >/dev/null') }, 0);
  for (const file of ['bin/cchost', 'bin/ccc', 'share/cchost/policies/idle.lua', 'share/cchost/examples/stop-idle.lua']) {
    assert.ok(fs.existsSync(path.join(here, 'installed/usr/local', file)), file);
  }

  // 2, 3. settings, certificates
  await run(1, yours);
  assert.strictEqual(fs.statSync(path.join(etc, 'cchost.lua')).mode & 0o777, 0o600);
  await run(2);
  execFileSync(path.join(etc, 'tls', 'renewed'), { env: { ...process.env, RENEWED_LINEAGE: lineage } });

  // 5. is it sound?
  const sound = await run(3);
  for (const line of [/^ENVIRONMENT +production /m, /^configuration: sound$/m, /^policies: sound/m, /^ok +credentials +Hetzner takes the token/m,
    /^ok +small +cpx11 with ubuntu-24.04 can be made in fsn1/m]) assert.match(sound, line);
  assert.doesNotMatch(sound, /^bad/m);

  // 6. serve
  const serve = page.take(4).join('\n');
  const s = new Server();
  Object.assign(s, { dir: data, settings: {}, how: {}, log: '', own: true });
  s.spawn('bash', ['-c', `${change(serve).replace('cchost serve', 'exec cchost serve')}`], { ...process.env, ...env });
  t.after(() => s.stop());
  await s.says(/"msg":"ready".*\n/);
  s.scheme = 'https';
  s.port = 443;
  s.key = /API_KEY = "(\w+)"/.exec(fs.readFileSync(path.join(etc, 'cchost.lua'), 'utf8'))[1];
  s.agent = new (require('node:https').Agent)({ ca: fs.readFileSync(path.join(lineage, 'fullchain.pem')) });
  stripe.hooks.url = 'off';
  assert.match(await run(5), /ok/);

  // 7. you, by the link; a machine of the operator's
  const signIn = async (email) => {
    assert.strictEqual((await s.call('POST', '/auth/login', { email }, { 'X-API-Key': undefined })).status, 200);
    const { data: text } = await mail.next();
    const token = /token=3D([\w.~-]+(?:=\r\n[\w.~-]+)*)/.exec(text.toString())[1].replaceAll('=\r\n', '');
    const r = await s.call('POST', '/auth/verify', { token }, { 'X-API-Key': undefined });
    assert.strictEqual(r.status, 200, r.text);
    return { 'X-API-Key': undefined, Authorization: `Bearer ${r.body.token}` };
  };
  const you = await signIn('you@example.org');
  assert.strictEqual((await s.call('GET', '/auth/me', undefined, you)).body.role, 'admin');
  const first = await run(6);
  assert.match(first, /"status":"RUNNING"/);
  assert.match(first, /"exit":0/);
  assert.match(first, /"status":"DELETED"/);

  // a customer, who pays
  assert.match(await run(7), /ann@example\.org/);
  const ann = await signIn('ann@example.org');
  const page_of = await s.call('POST', '/billing/checkout', { plan: 'starter' }, ann);
  assert.strictEqual(page_of.status, 200, page_of.text);
  stripe.world.pay([...stripe.world.sessions.values()].find((x) => x.url === page_of.body.url));
  stripe.hooks.url = `${s.url.replace('127.0.0.1', 'localhost')}/billing/webhook`;
  await tell(stripe, s);
  const hers = async () => (await s.call('GET', '/instances', undefined, ann)).body;
  await until(async () => (await hers())[0]?.status === 'RUNNING', () => `her machine runs\n${s.log}`, 90);

  // 8. what to look at
  const looked = await run(8);
  assert.match(looked, / RUNNING +hetzner /);
  assert.match(looked, /^ann@example\.org +starter/m);
  assert.match(looked, /^cc-[0-9a-f]{12} +running/m);
  const proof = await run(9);
  for (const line of [/the books balance/, /the log is whole/, /first\.backup: \d+ bytes/]) assert.match(proof, line);
  page.done();

  // docs/disaster.md: the token is withdrawn, and machines go on
  const [{ id }] = await hers();
  const exec = () => s.call('POST', `/instances/${id}/exec`, { cmd: ['sh', '-c', 'echo still here'] }, ann);
  const { token } = hetzner;
  hetzner.token = 'w'.repeat(64);
  assert.strictEqual((await exec()).body.stdout, 'still here\n');
  const checked = await bash('cchost provider check', { env: { ...env, CCHOST_CONFIG: path.join(etc, 'cchost.lua') }, cwd: etc });
  assert.deepStrictEqual([checked.status, /^bad +credentials/m.test(checked.out)], [1, true], checked.out + checked.err);
  hetzner.token = token;
  hetzner.refused(); // the withdrawn one is meant
  for (const m of await hers()) assert.strictEqual((await s.call('DELETE', `/instances/${m.id}?wait=60`, undefined, ann)).status, 200);
  assert.deepStrictEqual(hetzner.world.left(), [], 'nothing of ours is left there');
});

// Stripe's events, told as it tells them.
async function tell(stripe, s) {
  const answers = await stripe.hooks.deliverAll();
  assert.deepStrictEqual(answers.map((r) => r.status), answers.map(() => 200), s.log);
}
