// cchost attach: a person's terminal on a real machine, and what a script gets from it.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const tls = require('node:tls');
const { spawn } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');
const { Pty } = require('../lib/pty.js');
const { certificate } = require('../lib/smtp.js');
const { person, apiToken } = require('../access/people.js');

const bare = { ...process.env, DATA_DIR: undefined, CCHOST_CONFIG: undefined, CCHOST_URL: undefined, CCHOST_TOKEN: undefined, API_KEY: undefined };
const usual = { icanon: true, echo: true, isig: true };
const raw = { icanon: false, echo: false, isig: false };

let s;
test.before(async () => {
  s = await Server.start({ terminal_command: 'PS1="ready> " TERM=dumb exec bash --norc' });
  const r = await s.call('POST', '/instances?wait=60', { name: 'box' });
  assert.strictEqual(r.body.status, 'RUNNING', r.text);
});
test.after(() => s.stop());

const env = (more) => ({ ...bare, DATA_DIR: s.dir, CCHOST_URL: s.url, ...more });

// In a terminal, once the machine's prompt is there.
async function attach(t, args = ['box'], options = {}) {
  const p = await Pty.run([binary, 'attach', ...args], { env: env(options.env), ...options.size });
  t.after(() => p.close());
  await p.sees(/ready> /);
  return p;
}

// Without one. -> { code, out, err }
function piped(input, args, more = {}) {
  return new Promise((resolve) => {
    const child = spawn(binary, ['attach', ...args], { env: env(more), stdio: [input === null ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    const r = { out: '', err: '' };
    child.stdout.on('data', (d) => { r.out += d.toString('latin1'); });
    child.stderr.on('data', (d) => { r.err += d; });
    child.on('close', (code, signal) => {
      assert.doesNotMatch(r.err, /traceback|left open|Sanitizer/);
      resolve({ ...r, code: code ?? signal });
    });
    if (input === null) return;
    child.stdin.on('error', () => {}); // it may have ended before it read any
    child.stdin.end(input);
  });
}

async function refused(code, pattern, args, more) {
  const r = await piped('', args, more);
  assert.match(r.err, pattern);
  assert.deepStrictEqual([r.code, r.out], [code, ''], r.err);
}

async function ended(p, code) {
  assert.deepStrictEqual(await p.ended, { exit: code, signal: null }, p.output.slice(-300));
  assert.deepStrictEqual(await p.modes(), usual, 'the terminal is as it was');
  assert.doesNotMatch(p.output, /traceback|left open|Sanitizer/);
}

test('a shell: what is typed, its size, its end', async (t) => {
  const p = await attach(t, ['box'], { size: { columns: 101, rows: 33 } });
  assert.deepStrictEqual(await p.modes(), raw);
  p.type('echo $((6*7)); stty size\r');
  await p.sees(/\r\n42\r\n33 101\r\n/);
  p.resize(77, 22);
  await until(() => { p.type('stty size\r'); return p.sees(/22 77/, 1).catch(() => false); }, 'the new size');
  p.type('sleep 1000\r'); // what is typed before it runs may be lost, with the Ctrl-C or by it: bash sets its terminal up
  await until(async () => (await s.call('GET', '/instances/box/sessions')).body.some((x) => x.foreground === 'sleep'), 'sleep runs');
  p.type('\x03'); // Ctrl-C is the machine's
  await p.sees(/\^C\r\n(?:.*\r\n)*.*ready> $/);
  p.type('exit 0\r');
  await ended(p, 0);
  assert.match(p.output, /the shell has ended\r\n$/);
});

test('~. at the beginning of a line leaves, ~~ is one, and elsewhere they are nothing special', async (t) => {
  const p = await attach(t);
  p.type('echo a~.b ~~\r');
  await p.sees(/\na~\.b ~~\r/);
  p.type('~~a () { echo tilde-$1; }; \'~a\' x; echo don""e\r');
  await p.sees(/done\r/);
  assert.match(p.output, /ready> ~a \(\)/, 'the machine has got one');
  p.type('~x\r');
  await p.sees(/ready> ~x/);
  p.type('~');
  p.type('.');
  await ended(p, 0);
  assert.match(p.output, /left; come back with: cchost attach box\r\n$/);
});

test('a machine that stops says so; one that is stopped is started, and shows it', async (t) => {
  const p = await attach(t);
  await s.call('POST', '/instances/box/stop');
  await ended(p, 1);
  assert.match(p.output, /the machine is being stopped; come back with: cchost attach box\r\n$/);
  await until(async () => (await s.status('box')) === 'STOPPED', 'it is stopped');
  const r = await piped('echo $((6*7)); exit 0\n', ['box']);
  assert.deepStrictEqual([r.code, r.err], [0, '']);
  assert.match(r.out, /the machine is starting/);
  assert.match(r.out, /\n42\r\n/);
});

test('whatever ends it, the terminal is as it was', async (t) => {
  const numbers = { TERM: 15, HUP: 1, INT: 2, QUIT: 3, ABRT: 6 };
  if (process.env.V !== 'asan') numbers.SEGV = 11; // which is the sanitizer's own there
  for (const [name, number] of Object.entries(numbers)) {
    const p = await attach(t);
    assert.deepStrictEqual(await p.modes(), raw);
    p.signal(name);
    assert.deepStrictEqual(await p.ended, { exit: null, signal: number }, name);
    assert.deepStrictEqual(await p.modes(), usual, name);
  }
});

test('stopped from outside it gives the terminal back, and takes it again when it goes on', async (t) => {
  const p = await attach(t);
  const state = () => /^State:\s+(\w)/m.exec(fs.readFileSync(`/proc/${p.pid}/status`, 'utf8'))[1];
  p.signal('TSTP');
  await until(() => state() === 'T', 'it is stopped');
  assert.deepStrictEqual(await p.modes(), usual);
  p.signal('CONT');
  await until(async () => !(await p.modes()).icanon, 'raw again');
  p.type('echo $((6*7))\r');
  await p.sees(/\r\n42\r\n/);
  p.type('~.');
  p.type('\r~.');
  await ended(p, 0);
});

test('a fault of a script that has made the terminal raw restores it', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const endings = { 'error("on purpose")': 1, 'require("script").quit(3)': 3, 'return 5': 5 };
  if (process.env.V !== 'asan') endings['os.exit(4)'] = 4; // it leaves everything as it is, which the sanitizer calls a leak
  for (const [line, code] of Object.entries(endings)) {
    fs.writeFileSync(path.join(dir, 'x.lua'), `require("tty").raw()\nrequire("sys").stdout("ready> ")\nrequire("tty").read()\n${line}\n`);
    const p = await Pty.run([binary, path.join(dir, 'x.lua')], { env: env() });
    t.after(() => p.close());
    await p.sees(/ready> /);
    assert.deepStrictEqual(await p.modes(), raw);
    p.type('x');
    assert.deepStrictEqual(await p.ended, { exit: code, signal: null }, line);
    assert.deepStrictEqual(await p.modes(), usual, line);
  }
});

test('without a terminal it types its input, and its exit code is the shell\'s success', async () => {
  let r = await piped('echo $((6*7)); stty size; exit 0\n', ['box']);
  assert.deepStrictEqual([r.code, r.err], [0, '']);
  assert.match(r.out, /\n42\r\n24 80\r\n/);
  r = await piped('echo en""d\n', ['box']); // no exit: Ctrl-D
  assert.match(r.out, /\nend\r\n/);
  assert.strictEqual(r.code, 0);
  r = await piped('~.\nexit 0\n', ['box']);
  assert.match(r.out, /~\./);
  assert.strictEqual(r.code, 0);
  r = await piped(null, ['box']);
  assert.strictEqual(r.code, 0);
  r = await piped('exit 3\n', ['box']);
  assert.match(r.err, /the shell has ended badly, or the machine went away/);
  assert.strictEqual(r.code, 1);
});

test('much that is typed arrives whole', async () => {
  const much = Array.from({ length: 20000 }, (_, i) => `line ${i} of what is typed\n`).join('');
  const r = await piped(`stty raw -echo; head -c ${much.length} | sha256sum; stty sane; exit 0\n${much}`, ['box']);
  assert.strictEqual(r.code, 0, r.err);
  assert.ok(r.out.includes(crypto.createHash('sha256').update(much).digest('hex')), r.out.slice(-300));
});

test('nobody reads its output: it ends in peace', async () => {
  const sh = spawn('bash', ['-c', `echo 'seq 1 1000000' | "$B" attach box | head -n 3; echo "code \${PIPESTATUS[1]}"`],
    { env: env({ B: binary }), stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  sh.stdout.on('data', (d) => { out += d; });
  await new Promise((r) => sh.on('close', r));
  assert.match(out, /code 0\n$/);
});

test('who is not let in is told why', async () => {
  await refused(1, /^cchost: not let in: invalid token \(.*CCHOST_TOKEN/, ['box'], { CCHOST_TOKEN: 'x' });
  await refused(1, /not let in: invalid API key/, ['box'], { API_KEY: 'a-key-that-is-wrong' });
  await refused(1, /^cchost: nobody: no such machine\n$/, ['nobody']);
  await refused(1, /^cchost: \.\.\/x\?y: no such machine\n$/, ['../x?y']);
  await refused(1, /cannot reach http:\/\/127\.0\.0\.1:1: /, ['box', '--url=http://127.0.0.1:1']);
  await refused(1, /cannot reach unix:\/nowhere: no such file/, ['box', '--url=unix:/nowhere']);
  await refused(1, /no credential: .*api_key/, ['box'], { DATA_DIR: '/nowhere' });
  await refused(1, /no credential for http:\/\/192\.0\.2\.1:8080: /, ['box', '--url=http://192.0.2.1:8080']);
  await refused(1, /nowhere/, ['box', '--token-file=/nowhere']);
  for (const args of [[], ['a', 'b'], ['box', '--bad'], ['box', '--url=ftp://x'], ['box', '--url=http://a@b/'], ['box', '--url=http://a?b'], ['box', '--url']]) {
    await refused(2, /^cchost: /, args);
  }
});

test('what a server answers instead is told, and steers no terminal', async (t) => {
  let answer;
  const server = http.createServer();
  server.on('upgrade', (req, socket) => socket.end(`HTTP/1.1 ${answer[0]} x\r\nContent-Length: ${Buffer.byteLength(answer[1])}\r\nConnection: close\r\n\r\n${answer[1]}`));
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  t.after(() => new Promise((r) => server.close(r)));
  const url = `--url=http://127.0.0.1:${server.address().port}`;
  for (const [status, body, want] of [
    [502, '{"error":"cannot reach the machine","code":"unavailable"}', 'the machine cannot be reached: cannot reach the machine'],
    [503, '<html>', 'the machine cannot be reached: status 503'],
    [429, '{"error":"rate limit exceeded"}', 'the server refused: rate limit exceeded'],
    [302, '', 'the server refused: status 302'],
    [403, '{"error":"\\u001b[31mno\\n"}', 'not allowed: ?[31mno?'],
    [404, '{"error":5}', 'box: status 404'],
  ]) {
    answer = [status, body];
    const r = await piped('', ['box', url]);
    assert.deepStrictEqual([r.code, r.out, r.err], [1, '', `cchost: ${want}\n`]);
  }
});

test('without --url it goes where serve is with these settings', async () => {
  const port = String(s.port);
  const here = { CCHOST_URL: '' };
  assert.strictEqual((await piped('exit 0\n', ['box', `--listen-addr=127.0.0.1:${port}`], here)).code, 0);
  assert.strictEqual((await piped('exit 0\n', ['box'], { ...here, LISTEN_ADDR: `0.0.0.0:${port}` })).code, 0);
  await refused(1, /cannot reach unix:\/nowhere: /, ['box'], { ...here, LISTEN_ADDR: 'unix:/nowhere' });
  await refused(2, /names no port; say where the server is with --url=/, ['box', '--listen-addr=127.0.0.1:0'], here);
  const pair = certificate(fs.mkdtempSync(path.join(s.dir, 'own-')));
  const tls_settings = { ...here, TLS_CERT: pair.cert, TLS_KEY: pair.key, LISTEN_ADDR: `127.0.0.1:${port}` };
  await refused(1, new RegExp(`cannot reach https://127\\.0\\.0\\.1:${port}: `), ['box'], tls_settings);
  await refused(1, /cannot reach https:\/\/localhost:1: /, ['box'], { ...tls_settings, BASE_URL: 'https://localhost:1' });
});

test('an account comes by its token, from a file or the environment', async (t) => {
  const ann = await person(s, 'ann@example.org');
  const made = await ann.call('POST', '/instances?wait=60', { name: 'hers' });
  assert.strictEqual(made.body.status, 'RUNNING', made.text);
  const good = await apiToken(ann, ['instances:connect']);
  const poor = await apiToken(ann, ['instances:read']);
  const file = path.join(s.dir, 'token-of-ann');
  fs.writeFileSync(file, `${good.token}\n`, { mode: 0o600 });
  assert.strictEqual((await piped('exit 0\n', ['hers', `--token-file=${file}`], { DATA_DIR: '/nowhere' })).code, 0);
  assert.strictEqual((await piped('exit 0\n', ['hers'], { CCHOST_TOKEN: ann.token })).code, 0);
  await refused(1, /no such machine/, ['box'], { CCHOST_TOKEN: good.token });
  await refused(1, /not allowed: the token lacks the scope 'instances:connect'/, ['hers'], { CCHOST_TOKEN: poor.token });
  // signing out ends what was opened with it
  const p = await attach(t, ['hers'], { env: { CCHOST_TOKEN: ann.token } });
  assert.strictEqual((await ann.call('POST', '/auth/logout')).status, 204);
  await ended(p, 1);
  assert.match(p.output, /signed out; come back with/);
});

// A listener that passes every connection on to the server.
async function front(t, listener, where) {
  const all = new Set();
  listener.on(listener instanceof tls.Server ? 'secureConnection' : 'connection', (c) => {
    const b = net.connect(s.port, '127.0.0.1');
    for (const x of [c, b]) { all.add(x); x.on('error', () => {}); x.on('close', () => { c.destroy(); b.destroy(); all.delete(x); }); }
    c.pipe(b).pipe(c);
  });
  listener.on('tlsClientError', () => {});
  await new Promise((r) => listener.listen(where, r));
  t.after(async () => {
    await until(() => all.size === 0, 'every connection has ended');
    await new Promise((r) => listener.close(r));
  });
  return listener.address();
}

test('over a unix socket', async (t) => {
  const file = path.join(s.dir, 'front.sock');
  await front(t, net.createServer(), file);
  const r = await piped('echo $((6*7)); exit 0\n', ['box', `--url=unix:${file}`]);
  assert.match(r.out, /\n42\r\n/);
  assert.strictEqual(r.code, 0);
});

test('over TLS, whose certificate is looked at', async (t) => {
  const pair = certificate(fs.mkdtempSync(path.join(s.dir, 'front-')));
  const listener = tls.createServer({ cert: fs.readFileSync(pair.cert), key: fs.readFileSync(pair.key), ALPNProtocols: ['h2', 'http/1.1'] });
  const { port } = await front(t, listener, { port: 0, host: '127.0.0.1' });
  const url = `--url=https://localhost:${port}`;
  const r = await piped('stty -echo; seq 1 200000; exit 0\n', ['box', url, `--ca=${pair.cert}`]);
  assert.strictEqual(r.code, 0, r.err);
  const numbers = r.out.match(/^\d+(?=\r$)/gm);
  assert.deepStrictEqual([numbers.length, numbers[0], numbers.at(-1)], [200000, '1', '200000']);
  const p = await attach(t, ['box', url, `--ca=${pair.cert}`]);
  p.type('echo $((6*7))\r');
  await p.sees(/\r\n42\r\n/);
  p.type('~.');
  p.type('\r~.');
  await ended(p, 0);
  await refused(1, /cannot reach https:\/\/localhost:\d+: SSL certificate problem/, ['box', url]);
  await refused(1, /cannot reach https:\/\/127\.0\.0\.1:\d+: /, ['box', `--url=https://127.0.0.1:${s.port}`, `--ca=${pair.cert}`]);
});

test('to a server that speaks TLS itself, whose settings say so', async (t) => {
  const dir = temp();
  const pair = certificate(dir);
  const own = await Server.start({ tls_cert: pair.cert, tls_key: pair.key, terminal_command: 'PS1="ready> " TERM=dumb exec bash --norc' }, null, { ca: fs.readFileSync(pair.cert) });
  t.after(async () => { await own.stop(); fs.rmSync(dir, { recursive: true, force: true }); });
  const r = await own.call('POST', '/instances?wait=60', { name: 'box' });
  assert.strictEqual(r.body.status, 'RUNNING', r.text);
  const settings = { CCHOST_URL: '', DATA_DIR: own.dir, LISTEN_ADDR: `127.0.0.1:${own.port}`, TLS_CERT: pair.cert, TLS_KEY: pair.key };
  for (const more of [{}, { BASE_URL: `https://localhost:${own.port}` }]) {
    const x = await piped('stty -echo; seq 1 50000; exit 0\n', ['box', `--ca=${pair.cert}`], { ...settings, ...more });
    assert.strictEqual(x.code, 0, x.err);
    assert.strictEqual(x.out.match(/^\d+(?=\r$)/gm).length, 50000);
  }
  await refused(1, /cannot reach https:\/\/127\.0\.0\.1:\d+: SSL certificate problem/, ['box'], settings);
});

test('nothing remains at the server', async () => {
  await until(async () => (await s.call('GET', '/instances/box/stats')).body.clients === 0, 'no client is left');
});
