// A configuration that cannot be half right: every fault at once, with where it came from, and no secret told.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { temp, binary, root } = require('../lib/cchost.js');
const { make } = require('../tls/certs.js');

const clean = Object.fromEntries(['PATH', 'HOME', 'ASAN_OPTIONS', 'UBSAN_OPTIONS'].filter((k) => process.env[k]).map((k) => [k, process.env[k]]));
let dir;
test.before(() => { dir = temp(); });
test.after(() => fs.rmSync(dir, { recursive: true, force: true }));
const run = (args, env = {}, file) => {
  if (file === undefined) fs.rmSync(`${dir}/cchost.lua`, { force: true }); else fs.writeFileSync(`${dir}/cchost.lua`, file);
  const r = spawnSync(binary, args, { cwd: dir, env: { ...clean, ...env }, encoding: 'utf8' });
  return { ...r, faults: r.stderr.split('\n').filter((l) => l.startsWith('cchost: ')).map((l) => l.slice(8)) };
};

// What production needs, whole.
const production = {
  ENVIRONMENT: 'production', LISTEN_ADDR: '0.0.0.0:443', BASE_URL: 'https://api.example.org', TRUSTED_PROXIES: '10.0.0.0/8',
  API_KEY: 'operator-key-0123456789abcdef', JWT_SECRET: 'jwt-secret-0123456789abcdef0123456789', MASTER_KEY: '5a4b3c2d1e0f6978a1b2c3d4e5f60718293a4b5c6d7e8f900a1b2c3d4e5f6071',
  SMTP_HOST: 'mail.example.org', SMTP_USERNAME: 'me', SMTP_PASSWORD: 'mail-password-0123',
  STRIPE_SECRET_KEY: 'sk_live_0123456789', STRIPE_WEBHOOK_SECRET: 'whsec_0123456789', STRIPE_PRICE_STARTER: 'price_1Nstarter', STRIPE_PRICE_PRO: 'price_1Npro',
};

test('production with all that it needs is sound', () => {
  const r = run(['check'], production);
  assert.deepStrictEqual([r.status, r.stderr], [0, '']);
});

// [change, the fault]
const rules = [
  [{ API_KEY: undefined }, /^API_KEY: production needs/], [{ API_KEY: 'dev-api-key-0123456' }, /^API_KEY \(environment\): .*24 characters/],
  [{ API_KEY: 'k'.repeat(30) }, /^API_KEY.*1 letters, repeated/], [{ API_KEY: 'short' }, /^API_KEY \(environment\): at least 16/],
  [{ JWT_SECRET: undefined }, /^JWT_SECRET: production needs/], [{ JWT_SECRET: 'short' }, /^JWT_SECRET \(environment\): at least 32/],
  [{ JWT_SECRET: 'dev-jwt-secret-change-in-production' }, /^JWT_SECRET.*default that everybody knows/],
  [{ MASTER_KEY: undefined }, /^MASTER_KEY: production needs/], [{ MASTER_KEY: 'abc' }, /^MASTER_KEY \(environment\): 64 hexadecimal/],
  [{ MASTER_KEY_FILE: '/etc/hostname' }, /^MASTER_KEY .*only one of them/], [{ MASTER_KEY: undefined, MASTER_KEY_FILE: '/etc/hostname' }, /^MASTER_KEY_FILE.*expected in the file/],
  [{ TRUSTED_PROXIES: '0.0.0.0/0' }, /^TRUSTED_PROXIES.*networks of your proxies expected/], [{ JWT_SECRET: 'change-me-'.repeat(4) }, /^JWT_SECRET.*repeated|changed/],
  // these passed the check and raised in the server
  [{ TRUSTED_PROXIES: '10.0.0.5/8' }, /^TRUSTED_PROXIES.*nothing set behind the prefix/], [{ TRUSTED_PROXIES: '1:2' }, /^TRUSTED_PROXIES.*expected/],
  [{ TRUSTED_PROXIES: Array.from({ length: 65 }, (_, i) => `10.0.0.${i}`).join() }, /^TRUSTED_PROXIES.*at most 64/],
  [{ MASTER_KEY: '0'.repeat(64) }, /^MASTER_KEY.*repeated/],
  [{ BASE_URL: undefined }, /^BASE_URL: production needs/], [{ BASE_URL: 'http://api.example.org' }, /^BASE_URL.*https/],
  [{ BASE_URL: 'https://user@api.example.org' }, /^BASE_URL \(environment\): a URL like/], [{ BASE_URL: 'https://api.example.org/x' }, /^BASE_URL/],
  [{ TRUSTED_PROXIES: undefined }, /^TLS_CERT: missing behind an https BASE_URL/], [{ TLS_CERT: '/etc/hostname' }, /^TLS_CERT.*1 certificates and 0 keys/],
  [{ TLS_KEY: '/no/such/file' }, /^TLS_KEY \(environment\): a file that can be read expected/],
  [{ SMTP_HOST: undefined, SMTP_USERNAME: undefined, SMTP_PASSWORD: undefined }, /^SMTP_HOST: production needs.*link by mail/],
  [{ SMTP_PASSWORD: undefined }, /^SMTP_PASSWORD: missing/], [{ SMTP_TLS: 'none' }, /^SMTP_TLS.*in the open/], [{ SMTP_FROM: 'nobody' }, /^SMTP_FROM/],
  [{ STRIPE_WEBHOOK_SECRET: undefined }, /^STRIPE_WEBHOOK_SECRET: missing, and billing is on/],
  [{ STRIPE_PRICE_STARTER: undefined }, /^STRIPE_PRICE_STARTER: missing, and billing is on/], [{ STRIPE_PRICE_PRO: '' }, /^STRIPE_PRICE_PRO: missing/],
  [{ STRIPE_SECRET_KEY: 'pk_live_0123456789' }, /^STRIPE_SECRET_KEY \(environment\): a key that begins with sk_ or rk_ expected$/],
  [{ STRIPE_SECRET_KEY: 'sk_live_0123456789\nX: y' }, /^STRIPE_SECRET_KEY \(environment\): a key that begins/],
  [{ STRIPE_WEBHOOK_SECRET: 'sk_live_9876543210' }, /^STRIPE_WEBHOOK_SECRET \(environment\): a secret that begins with whsec_ expected$/],
  [{ STRIPE_WEBHOOK_SECRET_PREVIOUS: production.STRIPE_WEBHOOK_SECRET }, /^STRIPE_WEBHOOK_SECRET \(environment\): it is the same as STRIPE_WEBHOOK_SECRET_PREVIOUS/],
  [{ STRIPE_WEBHOOK_SECRET: undefined, STRIPE_WEBHOOK_SECRET_PREVIOUS: 'whsec_9876543210' }, /^STRIPE_WEBHOOK_SECRET_PREVIOUS.*it is set, and STRIPE_WEBHOOK_SECRET is not/],
  [{ STRIPE_PRICE_PRO: 'sk_live_9876543210 x' }, /^STRIPE_PRICE_PRO \(environment\): a price's id, like price_1Nxyz expected$/], // and is not quoted
  [{ STRIPE_PRICE_PRO: 'price_1Nstarter' }, /^STRIPE_PRICE_PRO \(environment\): it is the same as STRIPE_PRICE_STARTER/],
  [{ STRIPE_PRICE_USAGE: 'price_1Npro' }, /^STRIPE_PRICE_USAGE \(environment\): it is the same as STRIPE_PRICE_PRO/],
  [{ STRIPE_API_URL: 'http://stripe.example.org' }, /^STRIPE_API_URL.*production needs https/],
  [{ STRIPE_USAGE: 'records' }, /^STRIPE_USAGE.*has no usage records; meter, or one before 2025-03-31/], [{ STRIPE_API_VERSION: 'latest' }, /^STRIPE_API_VERSION.*like 2026/],
  [{ DEV_LOGIN: 'on' }, /^DEV_LOGIN.*'off' expected/], [{ PROVIDER: 'mock' }, /^PROVIDER.*only plays/],
  [{ JWT_SECRET_PREVIOUS: production.JWT_SECRET }, /^JWT_SECRET \(environment\): it is the same as JWT_SECRET_PREVIOUS/],
  [{ RATE_LIMIT_API: '-1' }, /^RATE_LIMIT_API \(environment\): a whole number from 0 to 1000000 expected, not "-1"/],
  [{ IDLE_THRESHOLD: '2 hours' }, /^IDLE_THRESHOLD.*a duration like/], [{ ADMIN_EMAIL: 'me' }, /^ADMIN_EMAIL.*one @/],
  [{ ENVIRONMENT: 'prod' }, /^ENVIRONMENT.*development, production/], [{ FRONTEND_URL: 'app.example.org' }, /^FRONTEND_URL/],
];

for (const [change, fault] of rules) {
  test(`refused: ${JSON.stringify(change)}`, () => {
    const env = { ...production, ...change };
    for (const command of ['check', 'config', 'serve']) {
      const r = run([command, `--data-dir=${dir}/never`], env);
      assert.strictEqual(r.status, command === 'serve' ? 2 : 1, r.stderr);
      assert.ok(r.faults.some((f) => fault.test(f)), r.stderr);
      assert.ok(!fs.existsSync(`${dir}/never`), 'nothing was opened');
      for (const name of ['API_KEY', 'JWT_SECRET', 'MASTER_KEY', 'SMTP_PASSWORD', 'STRIPE_SECRET_KEY']) {
        if (env[name]) assert.ok(!(r.stdout + r.stderr).includes(env[name]), `${name} is told`);
      }
    }
  });
}

test('money is doubted in words: nobody asked for it, or not in earnest, or in earnest by mistake', () => {
  const doubts = (env) => run(['check'], env).faults.filter((f) => /STRIPE/.test(f)).map((f) => f.replace(/^warning: /, ''));
  assert.match(doubts({ ...production, STRIPE_SECRET_KEY: undefined })[0], /^STRIPE_SECRET_KEY: it is not set, so nobody is asked for money/);
  assert.match(doubts({ ...production, STRIPE_SECRET_KEY: 'rk_test_0123456789' })[0], /^STRIPE_SECRET_KEY \(environment\): it is a key for tests/);
  assert.match(doubts({ STRIPE_SECRET_KEY: production.STRIPE_SECRET_KEY })[0], /^STRIPE_SECRET_KEY \(environment\): it is a live key, and this is no production/);
  assert.deepStrictEqual(doubts({ ...production, STRIPE_API_URL: 'http://127.0.0.1:12111', STRIPE_USAGE: 'records', STRIPE_API_VERSION: '2023-08-16' }), []);
  assert.deepStrictEqual([doubts({}), doubts({ STRIPE_SECRET_KEY: 'sk_test_0123456789', STRIPE_API_URL: 'http://stripe-mock:12111' })], [[], []]);
});

test('all faults are told at once, each with where it came from', () => {
  const file = 'return {\n  LOG_DAYS = "x",\n  RATE_LIMT_API = 5,\n\n  SMTP_PORT = 70000,\n}\n';
  const r = run(['check', '--listen-addr=nowhere', '--rate-limit-apu=1', '--drain-seconds'], { ENVIRONMENT: 'production', SWEEP_SECONDS: '0' }, file);
  assert.strictEqual(r.status, 1);
  for (const fault of [/^LOG_DAYS \(cchost\.lua:2\): a whole number/, /^cchost\.lua:3: unknown setting RATE_LIMT_API; did you mean RATE_LIMIT_API\?/,
    /^SMTP_PORT \(cchost\.lua:5\): a whole number from 1 to 65535 expected, not "70000"/, /^--listen-addr \(command line\): host:port/,
    /^unknown setting --rate-limit-apu; did you mean --rate-limit-api\?/, /^--drain-seconds: a value expected/, /^SWEEP_SECONDS \(environment\)/,
    /^API_KEY: production/, /^MASTER_KEY: production/]) {
    assert.ok(r.faults.some((f) => fault.test(f)), `${fault}\n${r.stderr}`);
  }
  assert.strictEqual(run(['check', '--nonsense=1']).faults[0], 'unknown setting --nonsense; cchost config lists them (settings are written --name=value)');
  assert.match(run(['check'], {}, 'return 1').stderr, /cchost\.lua: must return a table/);
  assert.match(run(['check'], {}, 'return {').stderr, /cchost\.lua:1:/);
  assert.match(run(['check'], {}, 'return { LOG_DAYS = os.exit() }').stderr, /cchost\.lua/);
});

test('the command line is over the environment, the environment over the file, the file over the default', () => {
  const file = 'return { LOG_DAYS = 1, DRAIN_SECONDS = 2, SWEEP_SECONDS = 3, TRUSTED_PROXIES = { "10.0.0.0/8", "unix" }, STATUS_SECONDS = { STARTING = 9 } }';
  const r = run(['config', '--json', '--log-days=10'], { LOG_DAYS: '9', DRAIN_SECONDS: '8', IDLE_THRESHOLD: '90m', BASE_URL: 'https://A.Example.org/' }, file);
  assert.strictEqual(r.status, 0, r.stderr);
  const all = Object.fromEntries(r.stdout.trim().split('\n').map((l) => JSON.parse(l)).map((s) => [s.name, s]));
  const at = (name) => [all[name].value, all[name].from];
  assert.deepStrictEqual(at('LOG_DAYS'), ['10', '--log-days (command line)']);
  assert.deepStrictEqual(at('DRAIN_SECONDS'), ['8', 'DRAIN_SECONDS (environment)']);
  assert.deepStrictEqual(at('SWEEP_SECONDS'), ['3', 'SWEEP_SECONDS (cchost.lua:1)']);
  assert.deepStrictEqual(at('QUOTA_INSTANCES'), ['10', 'default']);
  assert.deepStrictEqual(at('TRUSTED_PROXIES'), ['10.0.0.0/8,unix', 'TRUSTED_PROXIES (cchost.lua:1)']);
  assert.deepStrictEqual(at('IDLE_THRESHOLD'), ['5400', 'IDLE_THRESHOLD (environment)']);
  assert.deepStrictEqual(at('BASE_URL')[0], 'https://a.example.org');
  assert.deepStrictEqual(at('DEV_LOGIN'), ['off', 'derived']); // others reach it at BASE_URL
  assert.strictEqual(at('STATUS_SECONDS')[0], '{"STARTING":9}');
});

test('no secret is shown, by whatever way it came', () => {
  const secret = 'a-secret-that-nobody-may-see-0123456789';
  const r = run(['config'], { API_KEY: secret, SMTP_PASSWORD: `${secret}1`, SMTP_USERNAME: 'me' }, `return { JWT_SECRET = "${secret}2" }`);
  assert.strictEqual(r.status, 0, r.stderr);
  assert.ok(!(r.stdout + r.stderr).includes(secret));
  assert.match(r.stdout, /^API_KEY +\(set\) +API_KEY \(environment\)$/m);
  assert.match(r.stdout, /^ANTHROPIC_API_KEY +default, not used yet$/m);
  const line = run(['check', `--api-key=${secret}`]);
  assert.match(line.stderr, /warning: --api-key: whoever is on this host can read it/);
});

test('slips in the environment are warned of', () => {
  const r = run(['check'], { RATE_LIMT_API: '5', SMTP_HOSTS: 'x', DATABASE_URL: 'postgres://x', HOSTNAME: 'x', USER: 'x' });
  assert.strictEqual(r.status, 0);
  assert.deepStrictEqual(r.faults.sort(), [
    'warning: DATABASE_URL (environment): not used; the store is in DATA_DIR',
    'warning: RATE_LIMT_API (environment): no such setting; did you mean RATE_LIMIT_API?',
    'warning: SMTP_HOSTS (environment): no such setting; did you mean SMTP_HOST?',
  ]);
});

test('development needs nothing, and its sign-in is for loopback alone', () => {
  assert.strictEqual(run(['check']).status, 0);
  const dev = (env) => /^DEV_LOGIN +(\w+)/m.exec(run(['config'], env).stdout)?.[1];
  assert.deepStrictEqual([dev({}), dev({ LISTEN_ADDR: ':8080' }), dev({ LISTEN_ADDR: 'unix:/tmp/x' }), dev({ SMTP_HOST: 'x', SMTP_FROM: 'a@b.c' }),
    dev({ BASE_URL: 'https://cc.example.org' }), dev({ BASE_URL: 'http://localhost:9' }), dev({ TRUSTED_PROXIES: '127.0.0.1' })],
  ['on', 'off', 'off', 'off', 'off', 'on', 'off']);
  assert.match(run(['check'], { BASE_URL: 'https://cc.example.org', DEV_LOGIN: 'on' }).stderr, /DEV_LOGIN.*others reach this server/);
  assert.match(run(['check'], { LISTEN_ADDR: ':8080', DEV_LOGIN: 'on' }).stderr, /DEV_LOGIN.*others than this host/);
});

test('other commands need only what they use', () => {
  const r = run(['instances', `--data-dir=${dir}/none`], { ENVIRONMENT: 'production' });
  assert.match(r.stderr, /there is no store/);
});

test('docs/settings.md is what the program says', () => {
  assert.strictEqual(fs.readFileSync(path.join(root, 'docs/settings.md'), 'utf8'), run(['config', '--markdown']).stdout);
});

// [arguments, environment, cchost.lua, the faults]: a secret is in each, where it was not understood.
const leak = 'hunter2hunter2';
const unread = [
  [[`-API_KEY=${leak}`], {}, undefined, [/^unknown setting -API_KEY; did you mean --api-key\?/]],
  [[`--api_key=${leak}`], {}, undefined, [/^unknown setting --api_key; did you mean --api-key\?/]],
  [[`API_KEY=${leak}`], {}, undefined, [/^API_KEY is no argument; did you mean --api-key=\.\.\.\?$/]],
  [['--api-key', leak], {}, undefined, [/^--api-key: a value expected/]],
  [[`--api-key${leak}`], {}, undefined, [/^an option is no setting/]],
  [[`--api-key:${leak}=`], {}, undefined, [/^unknown setting \(not a name\)/]],
  [['-pHu2'], {}, undefined, [/^an option is no setting/]],
  [[leak], {}, undefined, [/takes no arguments, only settings/]],
  [[], {}, `return {\n  API_KEY = "${leak},\n}`, [/^cchost\.lua:2: this is no Lua: unfinished string$/]],
  [[], {}, `return {\n  API_KEY = "a"${leak},\n}`, [/^cchost\.lua:2: this is no Lua: '}' expected \(to close '{' at line 1\)$/]],
  [[], {}, `return { API_KEY = 7${leak} }`, [/^cchost\.lua:1: this is no Lua: malformed number$/]],
  [[], {}, `goto ${leak}`, [/^cchost\.lua:1: this is no Lua$/]],
  [[], {}, `return { API_KEY = ("x"):${leak}() }`, [/^cchost\.lua:1: this cannot be evaluated/]],
  [[], {}, `return { API_KEY = ${leak} }`, [/^cchost\.lua:1: a word without quotes; text is written "like this"/]],
  [[], {}, `return { ["API KEY (${leak})"] = 1 }`, [/^cchost\.lua: unknown setting \(not a name\)/]],
  [[], {}, `return { "${leak}" }`, [/^cchost\.lua: unknown setting 1/]],
  [[], {}, `return "${leak}"`, [/^cchost\.lua: must return a table$/]],
  [[], {}, `return { API_KEY = { "${leak}", "and-more" } }`, [/^API_KEY \(cchost\.lua:1\): one value expected, in quotes$/]],
  [[], { TLS_CERT: '/etc/hostname', TLS_KEY: `-----BEGIN PRIVATE KEY-----\n${leak}` }, undefined, [/^TLS_KEY \(environment\): a file that can be read expected \(there is none\)$/]],
  [[], { MASTER_KEY_FILE: leak }, undefined, [/^MASTER_KEY_FILE \(environment\): a file that can be read expected/]],
  [[], { NETBIRD_API_URL: `https://me:${leak}@api.netbird.io` }, undefined, [/^NETBIRD_API_URL \(environment\): a URL like/]],
];
for (const [args, env, file, faults] of unread) {
  test(`what was not understood is not quoted: ${JSON.stringify([args, env, file])}`, () => {
    for (const command of ['check', 'config', 'serve']) {
      const r = run([command, `--data-dir=${dir}/never`, ...args], env, file);
      assert.ok(r.status === 1 || r.status === 2, r.stderr);
      assert.strictEqual(r.faults.length, faults.length, r.stderr);
      faults.forEach((f, i) => assert.match(r.faults[i], f));
      assert.ok(!(r.stdout + r.stderr).includes('hunter2'), r.stderr);
    }
  });
}

test('a setting before the command is not quoted, nor the URL of a server', () => {
  for (const [args, env] of [[[`--api-key=${leak}`, 'serve'], {}], [[`API_KEY=${leak}`], {}], [['attach', 'x', `--url=https://me:${leak}@host`], {}],
    [['attach', 'x'], { CCHOST_URL: `https://me:${leak}@host` }]]) {
    const r = run(args, env);
    assert.deepStrictEqual([r.status, r.stderr.includes('hunter2')], [2, false], r.stderr);
  }
});

test('every word without quotes in cchost.lua is a fault with its line, and the only one of its setting', () => {
  const file = 'return {\n  PROVIDER = mock,\n  LOG_DAYS = 5,\n  TRUSTED_PROXIES = { "10.0.0.1", loopback },\n  MOCK = { create = { latency_ms = fifty } },\n  API_KEY = key,\n}\n';
  const why = 'a word without quotes; text is written "like this", and there are no variables or functions';
  const unquoted = (r) => r.faults.filter((f) => f.includes('without quotes'));
  assert.deepStrictEqual(run(['check'], {}, file).faults, [2, 4, 5, 6].map((n) => `cchost.lua:${n}: ${why}`));
  const r = run(['check'], { ...production, API_KEY: undefined, TRUSTED_PROXIES: undefined }, file);
  assert.deepStrictEqual(r.faults, unquoted(r)); // no "API_KEY: production needs", no "TLS_CERT: missing behind"
  assert.deepStrictEqual(run(['check'], {}, 'return {\n  API_KEY = os.getenv("KEY"),\n}').faults, [`cchost.lua:2: ${why}`]);
  assert.deepStrictEqual(run(['check'], { ...production, API_KEY: undefined }, 'return {').faults.length, 1); // what it holds is not known
  assert.match(run(['check'], {}, 'LOG_DAYS = 3\nreturn {}').stderr, /^cchost: cchost\.lua:1: this is set outside of the table that the file returns/);
  assert.match(run(['check'], { MOCK: '{create = {latency_ms = fifty}}' }).stderr, /MOCK \(environment\): a Lua table like/);
  assert.match(run(['check'], {}, 'return {\n  LOG_DAYS = function() end }').stderr, /LOG_DAYS \(cchost\.lua:2\): one value expected, in quotes/);
  assert.match(run(['check'], {}, 'return {\n-- LOG_DAYS = 1\n  LOG_DAYS = "x" }').stderr, /LOG_DAYS \(cchost\.lua:3\)/);
});

test('a setting at fault has one fault, and those that stand on it none', () => {
  for (const change of [{ API_KEY: 'short' }, { JWT_SECRET: 'short' }, { MASTER_KEY: 'abc' }, { MASTER_KEY: undefined, MASTER_KEY_FILE: '/no/such' },
    { BASE_URL: 'nonsense' }, { TRUSTED_PROXIES: 'nonsense' }, { TLS_CERT: '/etc/hostname', TLS_KEY: '/no/such' }, { TLS_KEY: '/no/such' },
    { LISTEN_ADDR: 'nonsense', DEV_LOGIN: undefined }, { SMTP_TLS: 'x' }, { MASTER_KEY_FILE: '/no/such' }, { SMTP_FROM: 'x' }]) {
    const r = run(['check'], { ...production, ...change });
    assert.strictEqual(r.faults.length, 1, r.stderr);
  }
});

test('the master key in a file is no other secret again, however it is written', () => {
  const file = `${dir}/master`;
  const hex = production.MASTER_KEY;
  const base64 = Buffer.from(hex, 'hex').toString('base64');
  fs.writeFileSync(file, `${hex}\n`, { mode: 0o600 });
  const env = { ...production, MASTER_KEY: undefined, MASTER_KEY_FILE: file };
  assert.deepStrictEqual(run(['check'], env).stderr, '');
  for (const [name, text] of [['JWT_SECRET', hex], ['API_KEY', hex], ['MASTER_KEY_PREVIOUS', base64], ['JWT_SECRET', base64], ['SMTP_PASSWORD', hex]]) {
    const r = run(['check'], { ...env, [name]: text });
    assert.strictEqual(r.faults.length, 1, r.stderr);
    assert.match(r.faults[0], /it is the same as .*every secret must be one of its own/);
    assert.ok(r.faults[0].includes('MASTER_KEY_FILE') && r.faults[0].includes(name) && !r.stderr.includes(hex), r.stderr);
  }
});

test('files with secrets that others can read or change are warned of', () => {
  const put = (name, mode) => { fs.writeFileSync(`${dir}/${name}`, `${production.MASTER_KEY}\n`); fs.chmodSync(`${dir}/${name}`, mode); return `${dir}/${name}`; };
  const pairs = [['k1', 0o600], ['k2', 0o640], ['k3', 0o602]].map(([name, mode]) => {
    const p = make(dir, name);
    fs.chmodSync(p.key, mode);
    return p;
  });
  put('api_key', 0o604);
  const env = { DATA_DIR: dir, MASTER_KEY_FILE: put('m', 0o644), TLS_CERT: pairs.map((p) => p.cert).join(), TLS_KEY: pairs.map((p) => p.key).join() };
  const r = run(['check'], env, 'return { JWT_SECRET = "a-secret-of-more-than-32-characters" }');
  assert.strictEqual(r.status, 0, r.stderr);
  assert.deepStrictEqual(r.faults, [
    `warning: ${dir}/m (MASTER_KEY_FILE): everybody on this host can read it; chmod 600 expected`,
    `warning: ${dir}/k3.key (TLS_KEY): everybody on this host can change it; chmod 600 expected`,
    'warning: cchost.lua (it holds secrets): everybody on this host can read it; chmod 600 expected',
    `warning: ${dir}/api_key (it holds a secret): everybody on this host can read it; chmod 600 expected`,
  ]);
  fs.rmSync(`${dir}/api_key`);
  assert.strictEqual(run(['check'], {}, 'return { LOG_DAYS = 3 }').stderr, '');
  fs.chmodSync(`${dir}/cchost.lua`, 0o666);
  assert.strictEqual(run(['check'], {}, 'return { LOG_DAYS = 3 }').stderr,
    'cchost: warning: cchost.lua (the settings): everybody on this host can change it; chmod o-w expected\n');
});

test('mail without TLS to another host is warned of, as its links sign people in', () => {
  const env = { ...production, SMTP_TLS: 'none', SMTP_USERNAME: undefined, SMTP_PASSWORD: undefined };
  assert.match(run(['check'], env).stderr, /^cchost: warning: SMTP_TLS \(environment\): without TLS the links .*in the open$/m);
  assert.strictEqual(run(['check'], { ...env, SMTP_HOST: '127.0.0.1' }).stderr, '');
});

test('a URL has a host, and a port from 1 to 65535', () => {
  const all = (url) => /^BASE_URL +(\S+)/m.exec(run(['config'], { BASE_URL: url }).stdout)?.[1];
  for (const url of ['http://', 'http://:80', 'http://.', 'http://-:80', 'http://a:0', 'http://a:65536', 'http://a:', 'http://a:99999999999999999999', 'http://[]', 'http://[::1]8080',
    'http://[::1]:', 'http://[1]', 'http://a:8x', 'http://a b', 'ftp://a']) assert.strictEqual(all(url), undefined, url);
  for (const [url, is] of [['http://a:65535', 'http://a:65535'], ['https://A:0443/', 'https://a'], ['http://[::1]:080', 'http://[::1]'], ['http://a:443', 'http://a:443'],
    ['http://[FD00::1]:08080', 'http://[fd00::1]:8080'], ['http://127.0.0.1:1', 'http://127.0.0.1:1']]) assert.strictEqual(all(url), is);
});

test('a key file is no pipe: it is read more than once', () => {
  const pipe = `${dir}/pipe`;
  spawnSync('mkfifo', [pipe]);
  const r = run(['check'], { MASTER_KEY_FILE: pipe });
  assert.match(r.stderr, /^cchost: MASTER_KEY_FILE \(environment\): a file that can be read expected \(it is no file\)$/m);
});

test('STATUS_SECONDS names statuses that pass, and is told with all other faults', () => {
  const r = run(['check'], { STATUS_SECONDS: '{FOO=3}', LOG_DAYS: 'x' });
  assert.strictEqual(r.faults.length, 2, r.stderr);
  assert.match(r.stderr, /^cchost: STATUS_SECONDS \(environment\): statuses that pass expected: .*STARTING/m);
  assert.match(run(['check'], { STATUS_SECONDS: '{RUNNING=3}' }).stderr, /STATUS_SECONDS/);
  assert.strictEqual(run(['check'], { STATUS_SECONDS: '{STARTING=3,DELETING=9}' }).stderr, '');
});

test('a value with a newline in it stays in its line', () => {
  assert.match(run(['config'], { TERMINAL_COMMAND: 'a\nb' }).stdout, /^TERMINAL_COMMAND +a\?b +TERMINAL_COMMAND/m);
});
