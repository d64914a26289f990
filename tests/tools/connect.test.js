// GET /connect.sh: which machine, who may, and the scripts themselves in real shells.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const WebSocket = require('ws');
const { Server, temp, until, binary, root } = require('../lib/cchost.js');
const { Pty } = require('../lib/pty.js');
const { start, person, admin, as, bearer, apiToken } = require('../access/people.js');
const { shells, shell, run, stubs } = require('./shells.js');

const agentBinary = path.join(root, 'build', process.env.V || 'release', 'cchost-agent');
const dir = temp();
test.after(() => fs.rmSync(dir, { recursive: true, force: true }));
let files = 0;
const keep = (text) => { const f = path.join(dir, `script-${++files}.sh`); fs.writeFileSync(f, text); return f; };

// A script that only says why not.
async function says(text, message) {
  for (const name of shells) {
    const r = await run(name, keep(text));
    assert.deepStrictEqual([r.code, r.out, r.err], [1, '', `${message}\n`], name);
  }
}

// Of three places that name it: what the image begins at its start, what a terminal attaches to, what connect.sh attaches to.
test('B24: one name of the session, where it is begun and where one attaches to it', async (t) => {
  const session = path.join(root, 'providers/image/nixos/parts/claude-session');
  const begun = stubs(['zellij'], { zellij: 'exit 0' });
  const r = spawnSync('sh', [session], { env: { PATH: `${begun.dir}:${process.env.PATH}`, HOME: dir } });
  assert.strictEqual(r.status, 0, `${r.stderr}`);
  const [, made] = begun.calls();
  assert.deepStrictEqual(made.slice(0, 3), ['zellij', 'attach', '--create-background']);

  const shown = stubs(['zellij'], { zellij: 'exit 0' });
  const sock = path.join(dir, 'b24.sock');
  const agent = spawn(agentBinary, ['--listen', sock, '--busy', path.join(dir, 'b24.busy'), '--root', dir],
    { env: { ...process.env, PATH: `${shown.dir}:${process.env.PATH}`, HOME: dir }, stdio: 'ignore' });
  t.after(() => agent.kill());
  await until(() => fs.existsSync(sock), 'the agent');
  const ws = new WebSocket(`ws+unix:${sock}:/ws`, 'tty');
  ws.on('open', () => ws.send('{"columns":80,"rows":24}'));
  await new Promise((resolve) => { ws.on('close', resolve); });
  assert.deepStrictEqual(shown.calls(), [['zellij', 'attach', '--create', made[3]]]);

  const connect = fs.readFileSync(path.join(root, 'lua/connect.lua'), 'utf8');
  assert.deepStrictEqual([...new Set([...connect.matchAll(/zellij attach (\w+)/g)].map((m) => m[1]))], [made[3]]);
});

// ---- the route

let s;
let ann;
let bob;
const get = async (headers, query = '') => {
  const r = await as(s, headers, 'GET', `/connect.sh${query}`);
  assert.deepStrictEqual([r.status, r.headers['content-type'], r.headers['cache-control']], [200, 'text/x-shellscript; charset=utf-8', 'no-store']);
  assert.match(r.text, /^#!\/bin\/sh\n/);
  return r.text;
};

test.before(async () => {
  s = await start({ quota_instances: 0 });
  ann = await person(s, 'ann@example.org');
  bob = await person(s, 'bob@example.org');
});
test.after(() => s.stop());

const key = () => ({ 'X-API-Key': s.key });

test('nobody gets anything, and is told so by a script', async () => {
  for (const q of ['', '?user_id=1', `?user_id=${ann.id}`, '?instance=x']) await says(await get({}, q), 'missing authentication or user_id parameter');
  await says(await get({ 'X-API-Key': 'wrong' }, '?user_id=1'), 'invalid API key');
  await says(await get(bearer('x')), 'invalid token');
  await says(await get({ Cookie: 'session=x' }), 'invalid token');
  await says(await get(bearer(ann.token), `?user_id=${bob.id}`), 'user_id is for the admin key alone');
  for (const q of ['0', '999999', 'x', '', encodeURIComponent("';id;'"), encodeURIComponent('$(id)\n`id`'), '0x1', '1e0']) {
    await says(await get(key(), `?user_id=${q}`), 'invalid user_id parameter');
  }
  for (const who of [bearer(ann.token), { Cookie: `session=${ann.token}` }, key()]) await says(await get(who), 'no running instance found for this user');
});

test('the machine that was used last, among those that run', async () => {
  const make = async (name) => (await ann.call('POST', '/instances?wait=30', { name })).body;
  await make('one');
  await make('two');
  const two = 'two';
  for (const who of [bearer(ann.token), { Cookie: `session=${ann.token}` }]) assert.match(await get(who), /two/);
  for (const user of [ann.id, '1', 'ann%40example.org']) assert.match(await get(key(), `?user_id=${user}`), new RegExp(two));
  await says(await get(bearer(ann.token), '?instance=one'), "'one' cannot be attached to: it is a machine of the provider 'mock'");
  await ann.call('POST', '/instances/two/stop');
  assert.match(await get(bearer(ann.token)), /one/, 'the one that runs');
  await says(await get(bearer(ann.token), '?instance=two'), "'two' is stopped. Start it with: claude-cloud start two");
  await ann.call('POST', '/instances/one/stop');
  assert.match(await get(bearer(ann.token)), /claude-cloud start two/);
  await ann.call('POST', '/instances/one/start');
  assert.match(await get(bearer(ann.token), '?instance='), /one/);
});

test('only what is one\'s own', async () => {
  const one = (await ann.call('GET', '/instances/one')).body.id;
  for (const k of ['one', one, one.slice(-12)]) {
    assert.match(await get(bearer(ann.token), `?instance=${k}`), /'one'/);
    await says(await get(bearer(bob.token), `?instance=${k}`), 'no such machine');
    assert.match(await get(key(), `?user_id=1&instance=${k}`), /'one'/);
    await says(await get(key(), `?user_id=${bob.id}&instance=${k}`), 'no such machine');
  }
  assert.match(await get(key(), `?instance=${one}`), /'one'/, 'the operator sees all');
  const root = await admin(s);
  await says(await get(bearer(root.token), '?user_id=1'), 'user_id is for the admin key alone'); // an admin's session is not the key
  for (const bad of ['..%2f', encodeURIComponent("'; touch /tmp/x; '"), 'x'.repeat(500)]) {
    await says(await get(bearer(ann.token), `?instance=${bad}`), 'no such machine');
  }
});

test('an API token needs the scope, and reaches its own machine alone', async () => {
  await ann.call('POST', '/instances/two/start');
  const reads = await apiToken(ann, ['instances:read', 'instances:write']);
  await says(await get(bearer(reads.token)), "the token lacks the scope 'instances:connect'");
  const bound = await apiToken(ann, ['instances:connect'], { instance: 'one' });
  assert.match(await get(bearer(bound.token)), /'one'/);
  await says(await get(bearer(bound.token), '?instance=two'), 'no such machine');
  const both = await apiToken(ann, ['instances:connect']);
  assert.match(await get(bearer(both.token)), /'two'/);
});

// ---- the scripts

const rec = (provider, more = {}) => ({ id: '01234567-89ab-4cde-8f01-23456789abcd', short: '23456789abcd', name: 'box', provider, status: 'RUNNING', ...more });
const evil = ["it's", '$(touch pwned)', '`touch pwned`', '"; touch pwned; "', "'; touch pwned; '", 'a\nb; touch pwned\n', '\\', '-rf', '* ? ~', 'ä€', '$HOME', "'\\''"];

// The text of connect.script for each case.
function scripts(cases) {
  const r = spawnSync(binary, [path.join(__dirname, 'scripts.lua'), JSON.stringify(cases)], { encoding: 'utf8', cwd: dir });
  assert.strictEqual(r.status, 0, r.stderr);
  return Object.fromEntries(r.stdout.trim().split('\n').map((l) => JSON.parse(l)).map((x) => [x.name, x.script]));
}

// Runs it in a terminal; `piped`: as its standard input, like curl | sh.
async function inTerminal(t, name, text, { before = [], env = {}, piped = false } = {}) {
  const file = keep(text);
  const argv = piped ? ['/bin/sh', '-c', `"$@" <'${file}'`, 'sh', ...shell[name].argv] : [...shell[name].argv, file];
  const p = await Pty.run(argv, { cwd: dir, env: { PATH: [...before, shell[name].path].join(':'), HOME: dir, ...env } });
  t.after(() => p.close());
  await p.ended;
  return { code: p.end.exit, output: p.output };
}

const inside = '[ -t 0 ] && echo has-terminal; echo "url=${CCHOST_URL-}"; exit 5';

for (const name of shells) {
  test(`each provider's own way, under ${name}`, async (t) => {
    const text = scripts({ docker: { rec: rec('docker') }, local: { rec: rec('local'), url: 'https://cloud.example.org' } });
    for (const piped of [false, true]) {
      let stub = stubs(['docker'], { docker: inside });
      let r = await inTerminal(t, name, text.docker, { before: [stub.dir], piped });
      assert.deepStrictEqual(stub.calls(), [['docker', 'exec', '-it', 'claude-23456789abcd', '/run/cchost/bin/cchost-agent', 'shell']]);
      assert.strictEqual(r.code, 5, r.output);
      assert.match(r.output, /has-terminal/);
      stub = stubs(['cchost'], { cchost: inside });
      r = await inTerminal(t, name, text.local, { before: [stub.dir], piped });
      assert.deepStrictEqual(stub.calls(), [['cchost', 'attach', rec().id]]);
      assert.match(r.output, /has-terminal\r\nurl=https:\/\/cloud\.example\.org\r\n/);
      r = await inTerminal(t, name, text.local, { before: [stub.dir], piped, env: { CCHOST_URL: 'http://mine' } });
      assert.match(r.output, /url=http:\/\/mine\r\n/);
    }
    for (const [provider, program] of [['docker', 'docker'], ['local', 'cchost']]) {
      const none = await run('busybox', keep(text[provider]));
      assert.strictEqual(none.code, 1);
      assert.match(none.err, new RegExp(`^${program} is needed: `));
    }
  });

  test(`without a terminal a script says that it needs one, under ${name}`, async () => {
    const text = scripts({ docker: { rec: rec('docker') } }).docker;
    const stub = stubs(['docker']);
    const file = keep(text);
    const r = spawnSync('/usr/bin/setsid', ['-w', ...shell[name].argv, file], { encoding: 'utf8', input: '', env: { PATH: `${stub.dir}:${shell[name].path}` } });
    assert.deepStrictEqual([r.status, r.stderr], [1, 'A terminal is needed.\n']);
    assert.deepStrictEqual(stub.calls(), []);
  });

  test(`hetzner: the network is joined, then mosh, under ${name}`, async (t) => {
    const text = scripts({
      plain: { rec: rec('hetzner'), key: ['A1B2-KEY'], address: '100.64.0.7' },
      managed: { rec: rec('hetzner'), key: ['A1B2-KEY', 'https://netbird.example.org:443'], address: '100.64.0.7' },
      unset: { rec: rec('hetzner') }, homeless: { rec: rec('hetzner'), key: ['A1B2-KEY'] },
    });
    for (const n of ['unset', 'homeless']) await says(text[n], 'the mesh network is not configured on this server');
    const reads = 'for a in "$@"; do case $last in --setup-key-file) ls -l "$a" | cut -c1-10; cat "$a";; esac; last=$a; done';
    const netbird = { id: 'echo 0', netbird: `last=''; ${reads}`, mosh: inside };
    let stub = stubs(['netbird', 'mosh', 'id'], netbird);
    let r = await inTerminal(t, name, text.plain, { before: [stub.dir], piped: true });
    assert.strictEqual(r.code, 5, r.output);
    assert.match(r.output, /-rw-------\r\nA1B2-KEY\r\nhas-terminal/);
    let calls = stub.calls().filter((c) => c[0] !== 'id');
    const file = calls[0][3];
    assert.deepStrictEqual(calls, [['netbird', 'up', '--setup-key-file', file], ['mosh', 'claude@100.64.0.7', '--', 'zellij', 'attach', 'claude']]);
    assert.ok(!fs.existsSync(path.dirname(file)), 'the key is gone');
    // a manager of one's own, and not root; BusyBox's id is built in and says what we are
    stub = stubs(['netbird', 'mosh', 'id', 'sudo'], { ...netbird, id: 'echo 1000', sudo: '"$@"' });
    await inTerminal(t, name, text.managed, { before: [stub.dir] });
    calls = stub.calls().filter((c) => c[0] !== 'id');
    if (name !== 'busybox' || process.getuid() !== 0) assert.deepStrictEqual(calls.shift().slice(0, 4), ['sudo', 'netbird', 'up', '--management-url']);
    assert.deepStrictEqual(calls.map((c) => c.slice(0, 4)), [['netbird', 'up', '--management-url', 'https://netbird.example.org:443'],
      ['mosh', 'claude@100.64.0.7', '--', 'zellij']]);
    // Netbird is not there: it is installed, and that may fail
    stub = stubs(['curl', 'mosh', 'id'], { id: 'echo 0', curl: `echo 'echo installed; exit 1'` });
    r = await inTerminal(t, name, text.plain, { before: [stub.dir] });
    assert.strictEqual(r.code, 1);
    assert.match(r.output, /Installing Netbird\.\.\.\r\ninstalled\r\nNetbird could not be installed\.\r\n$/);
    assert.deepStrictEqual(stub.calls().filter((c) => c[0] !== 'id'), [['curl', '-fsSL', 'https://pkgs.netbird.io/install.sh']]);
    stub = stubs(['netbird', 'mosh', 'id'], { ...netbird, netbird: 'exit 1' });
    r = await inTerminal(t, name, text.plain, { before: [stub.dir] });
    assert.match(r.output, /The network could not be joined\.\r\n$/);
    assert.deepStrictEqual(stub.calls().map((c) => c[0]).filter((c) => c === 'mosh'), []);
  });

  test(`no value is looked into, under ${name}`, async (t) => {
    const cases = {};
    evil.forEach((e, i) => {
      cases[`docker${i}`] = { rec: rec('docker', { short: e }) };
      cases[`local${i}`] = { rec: rec('local', { id: e }), url: e };
      cases[`hetzner${i}`] = { rec: rec('hetzner'), key: [e, e], address: e };
      cases[`other${i}`] = { rec: rec(e, { name: e }) };
      cases[`named${i}`] = { rec: rec('mock', { name: e }) };
    });
    const text = scripts(cases);
    for (const [i, e] of evil.entries()) {
      const stub = stubs(['docker', 'cchost', 'mosh', 'netbird', 'id'], { id: 'echo 0', netbird: 'cat "$5"', cchost: 'printf "%s" "url=<$CCHOST_URL>"' });
      const at = { before: [stub.dir] };
      await inTerminal(t, name, text[`docker${i}`], at);
      const local = await inTerminal(t, name, text[`local${i}`], at);
      const hetzner = await inTerminal(t, name, text[`hetzner${i}`], at);
      const calls = stub.calls().filter((c) => c[0] !== 'id');
      assert.deepStrictEqual(calls.map((c) => c.slice(0, 4)), [['docker', 'exec', '-it', `claude-${e}`], ['cchost', 'attach', e], ['netbird', 'up', '--management-url', e],
        ['mosh', `claude@${e}`, '--', 'zellij']]);
      const crlf = (x) => Buffer.from(x.replace(/\n/g, '\r\n')).toString('latin1');
      assert.ok(local.output.includes(`url=<${crlf(e)}>`), local.output);
      assert.ok(hetzner.output.includes(crlf(`${e}\n`)), hetzner.output);
      await says(text[`other${i}`], `'${e}' cannot be attached to: it is a machine of the provider '${e}'`);
      await says(text[`named${i}`], `'${e}' cannot be attached to: it is a machine of the provider 'mock'`);
      assert.ok(!fs.readdirSync(dir).includes('pwned'));
    }
  });

  test(`a part of a script does nothing, under ${name}`, async () => {
    const text = scripts({ docker: { rec: rec('docker') } }).docker;
    const stub = stubs(['docker']);
    for (let n = 10; n < text.length - 5; n += 7) await run(name, keep(text.slice(0, n)), { before: [stub.dir] });
    assert.deepStrictEqual(stub.calls(), []);
  });
}

// ---- all of it, on a real machine

test('from claude-cloud to a shell on a machine', async (t) => {
  const server = await Server.start({ terminal_command: 'PS1="ready> " TERM=dumb exec bash --norc' });
  t.after(() => server.stop());
  const me = await (async () => {
    const r = await as(server, {}, 'POST', '/auth/login', { email: 'me@example.org' });
    return r.body.token;
  })();
  const made = await as(server, bearer(me), 'POST', '/instances?wait=60', { name: 'mine' });
  assert.strictEqual(made.body.status, 'RUNNING', made.text);
  const bin = fs.mkdtempSync(path.join(dir, 'bin-'));
  fs.symlinkSync(binary, path.join(bin, 'cchost'));
  const program = keep((await as(server, {}, 'GET', '/cli/claude-cloud')).text);
  for (const name of shells) {
    const home = fs.mkdtempSync(path.join(dir, 'home-'));
    const env = { PATH: `${bin}:${shell[name].path}`, HOME: home };
    assert.strictEqual((await run(name, program, { args: ['login', 'me@example.org'], env: { HOME: home } })).code, 0);
    const p = await Pty.run([...shell[name].argv, program, 'connect'], { env, cwd: home, columns: 99, rows: 31 });
    t.after(() => p.close());
    await p.sees(/ready> /);
    p.type('echo $((6*7)); stty size\r');
    await p.sees(/\r\n42\r\n31 99\r\n/);
    p.type('exit 0\r');
    assert.deepStrictEqual(await p.ended, { exit: 0, signal: null }, p.output);
    assert.ok((await p.modes()).icanon);
  }
  await until(async () => (await server.call('GET', `/instances/${made.body.id}/stats`)).body.clients === 0, 'no client is left');
});
