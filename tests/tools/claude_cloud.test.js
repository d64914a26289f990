// claude-cloud: against the real server, and against a double that answers as no honest server would.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { temp, root, until } = require('../lib/cchost.js');
const { MailServer } = require('../lib/smtp.js');
const { Pty } = require('../lib/pty.js');
const { start, person, as } = require('../access/people.js');
const { shells, shell, run, seen_in_arguments } = require('./shells.js');

const script = path.join(root, 'lua/scripts/claude-cloud.sh');
const made = [];
const home = () => { const d = temp(); made.push(d); return d; };
test.after(() => { for (const d of made) fs.rmSync(d, { recursive: true, force: true }); });

const mode = (file) => (fs.statSync(file).mode & 0o777).toString(8);

// One person at one server. cc(args...) -> { code, out, err }; cc.with(how, args...)
function tool(name, url, at = home()) {
  const cc = (...args) => cc.with({}, ...args);
  cc.with = (how, ...args) => run(name, script, { ...how, args, env: { HOME: at, CLAUDE_CLOUD_URL: url, ...how.env } });
  cc.home = at;
  cc.file = path.join(at, '.claude-cloud/token');
  cc.token = () => fs.readFileSync(cc.file, 'utf8').trim();
  return cc;
}

const is = (r, code, out, err = '') => assert.deepStrictEqual([r.code, r.out, r.err], [code, out, err]);
const not_in = 'Not logged in. Run: claude-cloud login\n';

// ---- the real server

let s;
test.before(async () => { s = await start({ quota_instances: 0 }); });
test.after(() => s.stop());

for (const name of shells) {
  test(`from signing in to signing out, under ${name}`, async () => {
    const cc = tool(name, s.url);
    const email = `${name.split(' ')[0]}@example.org`;
    for (const c of ['status', 'connect', 'list', 'start', 'stop', 'logs']) is(await cc(c), 1, '', not_in);
    is(await cc.with({ input: `${email}\n` }, 'login'), 0, 'Logged in successfully.\n', 'Email: ');
    assert.deepStrictEqual([mode(cc.file), mode(path.dirname(cc.file))], ['600', '700']);
    is(await cc('status'), 0, `email:  ${email}\nname:   ${name.split(' ')[0]}\nplan:   free\nserver: ${s.url}\n`);
    is(await cc('list'), 0, 'You have no machines.\n');
    is(await cc('stop'), 1, '', 'You have no machines.\n');
    is(await cc('connect'), 1, '', 'no running instance found for this user\n');
    const me = await person(s, email);
    const { id } = (await me.call('POST', '/instances?wait=30', { name: 'box' })).body;
    const row = (status) => `${'NAME'.padEnd(25)}${'STATUS'.padEnd(11)}PROVIDER   TYPE     ID\n${'box'.padEnd(25)}${status.padEnd(11)}mock       small    ${id}\n`;
    is(await cc('list'), 0, row('RUNNING'));
    is(await cc('stop'), 0, 'box is STOPPED.\n');
    is(await cc('list'), 0, row('STOPPED'));
    is(await cc('connect'), 1, '', "'box' is stopped. Start it with: claude-cloud start box\n");
    is(await cc('start', 'box'), 0, 'box is RUNNING.\n');
    is(await cc('start', 'nobody'), 1, '', 'no such machine\n');
    is(await cc('connect', 'box'), 1, '', "'box' cannot be attached to: it is a machine of the provider 'mock'\n");
    is(await cc('connect', '../x?y=$(id)'), 1, '', 'no such machine\n');
    is(await cc('logs', 'box'), 1, '', 'the provider mock keeps no log of a machine\n');
    await me.call('POST', '/instances?wait=30', { name: 'second' });
    is(await cc('stop'), 1, '', 'Which one? Say its name; claude-cloud list shows them.\n');
    const token = cc.token();
    is(await cc('logout'), 0, 'Logged out.\n');
    assert.ok(!fs.existsSync(cc.file));
    assert.strictEqual((await as(s, { Authorization: `Bearer ${token}` }, 'GET', '/auth/me')).status, 401, 'the session is over');
    is(await cc('logout'), 0, 'Logged out.\n');
    is(await cc('status'), 1, '', not_in);
    is(await cc('login', 'no address'), 1, '', (await as(s, {}, 'POST', '/auth/login', { email: 'no address' })).body.error + '\n');
    is(await cc('verify', 'nonsense'), 1, '', 'invalid or expired token\n');
  });

  test(`usage, under ${name}`, async () => {
    const cc = tool(name, s.url);
    for (const h of ['help', '--help', '-h']) {
      const r = await cc(h);
      assert.deepStrictEqual([r.code, r.err], [0, '']);
      assert.match(r.out, /^usage: claude-cloud COMMAND\n/);
    }
    for (const args of [[], ['nothing'], [''], ['--version'], ['status', 'x'], ['list', 'x'], ['connect', 'a', 'b'], ['login', 'a', 'b']]) {
      const r = await cc(...args);
      assert.deepStrictEqual([r.code, r.out], [2, ''], args.join(' '));
      assert.match(r.err, /^usage: claude-cloud COMMAND\n/);
    }
    for (const url of ['ftp://x', 'x', 'http://', 'http://a b', 'http://a\nb', '-o/tmp/x']) {
      const r = await cc.with({ env: { CLAUDE_CLOUD_URL: url } }, 'login', 'a@example.org');
      assert.strictEqual(r.code, 1, url);
      assert.match(r.err, /^CLAUDE_CLOUD_URL is no URL/);
    }
    is(await cc.with({ env: { HOME: '' } }, 'status'), 1, '', 'HOME is not set.\n');
    assert.deepStrictEqual(fs.readdirSync(cc.home), []);
  });

  test(`a session that has ended is told, under ${name}`, async () => {
    const cc = tool(name, s.url);
    is(await cc('login', 'ended@example.org'), 0, 'Logged in successfully.\n');
    await as(s, { Authorization: `Bearer ${cc.token()}` }, 'POST', '/auth/logout');
    for (const c of ['status', 'list', 'logs']) is(await cc(c), 1, '', not_in);
    is(await cc('connect'), 1, '', 'invalid token\n');
    is(await cc('logout'), 0, 'Logged out.\n');
  });
}

test('what is an argument would be seen', async () => {
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()', 'secret-of-this-test'], { stdio: ['pipe', 'ignore', 'ignore'] });
  await until(() => seen_in_arguments('secret-of-this-test').length === 1, 'it is seen');
  child.stdin.end();
  await new Promise((r) => child.on('close', r));
});

test('a magic link comes by mail; its token, or all of it, signs in', async (t) => {
  const mail = await MailServer.start({ user: 'me', password: 'pa55-of-the-mail-server' });
  const posting = await start({ smtp_host: '127.0.0.1', smtp_port: mail.port, smtp_username: 'me', smtp_ca: mail.ca, smtp_from: 'x <noreply@example.org>' },
    null, { env: { SMTP_PASSWORD: 'pa55-of-the-mail-server' } });
  t.after(async () => { await posting.stop(); await mail.stop(); });
  for (const name of shells) {
    const cc = tool(name, posting.url);
    is(await cc('login', 'ann@example.org'), 0, 'Magic link sent to ann@example.org.\nOpen it, or run: claude-cloud verify TOKEN\n');
    assert.ok(!fs.existsSync(cc.file));
    const link = /https?:\/\/\S+/.exec((await mail.next()).text)[0];
    const token = new URL(link).searchParams.get('token');
    if (name === 'dash') is(await cc('verify', link), 0, 'Logged in successfully.\n');
    else is(await cc.with({ input: `${token}\n` }, 'verify'), 0, 'Logged in successfully.\n', 'Token: ');
    assert.match((await cc('status')).out, /^email: {2}ann@example\.org\n/);
    is(await cc('verify', token), 1, '', 'invalid or expired token\n');
  }
});

// ---- a double: answer(req, body) -> [status, body, headers]

const DAY = 'text/x-shellscript; charset=utf-8';

async function double(t, answer) {
  const d = { requests: [] };
  const server = http.createServer((req, res) => {
    const parts = [];
    req.on('data', (x) => parts.push(x));
    req.on('end', () => {
      const body = Buffer.concat(parts).toString();
      d.requests.push({ method: req.method, url: req.url, headers: req.headers, body });
      const [status, text, headers] = answer(req, body);
      res.writeHead(status, { 'Content-Type': 'application/json', Connection: 'close', ...headers });
      res.end(typeof text === 'object' && !Buffer.isBuffer(text) ? JSON.stringify(text) : text);
    });
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  t.after(() => new Promise((r) => server.close(r)));
  d.url = `http://127.0.0.1:${server.address().port}`;
  return d;
}

const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LW9mLWFubg.sig-na_ture';

async function signed_in(name, d) {
  const cc = tool(name, d.url);
  is(await cc('login', 'a@example.org'), 0, 'Logged in successfully.\n');
  return cc;
}

for (const name of shells) {
  test(`what people type arrives as they typed it, under ${name}`, async (t) => {
    const d = await double(t, () => [200, { message: 'sent' }]);
    const cc = tool(name, d.url);
    for (const email of ['a"b\\c@x', '$(id)`id`${HOME}', "it's", '%s%n\\n', '-n', '@/etc/passwd', 'ä€😀', 'tab\tand\x01\x1b[31m\x7f', '{"a":1}', ' spaced ', '\\']) {
      const r = await cc('login', email);
      const got = d.requests.at(-1);
      assert.strictEqual(JSON.parse(got.body).email, email);
      assert.deepStrictEqual([got.headers['content-type'], got.headers.authorization], ['application/json', undefined]);
      assert.strictEqual(r.out.split('\n')[0], `Magic link sent to ${email.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '?')}.`);
    }
    await cc('login', 'two\nlines\n');
    assert.strictEqual(JSON.parse(d.requests.at(-1).body).email, 'two\nlines\n');
    for (const token of ['a"b\\c', '$(id)', 'x y']) {
      await cc('verify', token);
      assert.strictEqual(JSON.parse(d.requests.at(-1).body).token, token);
    }
  });

  test(`JSON is read as JSON, and steers no terminal, under ${name}`, async (t) => {
    let me = '';
    const d = await double(t, (req) => (req.url === '/auth/login' ? [200, { token: TOKEN }] : [200, me]));
    const cc = await signed_in(name, d);
    const email = async (text) => { me = text; const r = await cc('status'); return /^email: {2}(.*)$/m.exec(r.out)?.[1]; };
    for (const [text, want] of [
      ['{"email":"a@b"}', 'a@b'],
      [' {\n "x" : [1, {"email": "no"}, "email"],\t"y":{"email":"no"} , "email" : "yes" }\n', 'yes'],
      ['{"email":"a\\"b\\\\c\\/d"}', 'a"b\\c/d'],
      ['{"x":"\\"email\\":\\"no\\"","email":"yes"}', 'yes'],
      ['{"x\\"":"email","email":"yes"}', 'yes'],
      ['{"emai\\u006c":"\\u0041\\u007A"}', 'Az'],
      ['{"email":"\\u001b[31m\\n\\t\\u0000\\u007f."}', '?[31m????.'],
      ['{"email":"\x1b]0;x\x07\u009b31m\u0085é"}', '?]0;x??31m?é'],
      ['{"email":"\\u00e9\\ud83d\\ude00"}', '\\u00e9\\ud83d\\ude00'],
      ['{"email":"$(id)`id`%s"}', '$(id)`id`%s'],
      ['{"email":12.5e3}', '12.5e3'],
      ['{"email":null}', undefined], ['{"email":{"email":"no"}}', undefined], ['{}', undefined], ['[]', undefined], ['', undefined],
      ['{"email":"a"', undefined], ['{"email":"a}', undefined], ['{"email":"a"}}', undefined], ['{"email":"\\x"}', undefined],
      ['{"email":"\\u12"}', undefined], ['{email:"a"}', undefined], ['<html>', undefined], ['['.repeat(5000), undefined],
    ]) assert.strictEqual(await email(text), want, text.slice(0, 80));
  });

  test(`a token that is none is not stored, under ${name}`, async (t) => {
    for (const token of ['a"b', 'a b', 'a\nb', '$(id)', 'a\u001bb', 'é']) {
      const d = await double(t, () => [200, { token }]);
      const cc = tool(name, d.url);
      for (const c of ['login', 'verify']) is(await cc(c, 'x'), 1, '', "The server's answer makes no sense.\n");
      assert.ok(!fs.existsSync(cc.file));
    }
    const d = await double(t, () => [200, 'no JSON']);
    is(await tool(name, d.url)('verify', 'x'), 1, '', "The server's answer makes no sense.\n");
  });

  test(`errors are told, under ${name}`, async (t) => {
    let answer;
    const d = await double(t, (req) => (req.url === '/auth/login' ? [200, { token: TOKEN }] : answer));
    const cc = await signed_in(name, d);
    for (const [a, want] of [
      [[500, '<html>'], `${d.url} answers 500\n`], [[409, { error: 'taken', code: 'x' }], 'taken\n'], [[301, '', { Location: '/x' }], `${d.url} answers 301\n`],
      [[403, { error: 'no \u001b[31m' }], 'no ?[31m\n'], [[401, { error: 'invalid token' }], not_in],
    ]) { answer = a; is(await cc('status'), 1, '', want); }
    answer = [500, ''];
    is(await cc('logout'), 0, 'Logged out.\n', `${d.url} answers 500: the session may go on there until it expires.\n`);
    assert.ok(!fs.existsSync(cc.file));
    const gone = tool(name, 'http://127.0.0.1:1', cc.home);
    const r = await gone('login', 'a@example.org');
    assert.strictEqual(r.code, 1);
    assert.match(r.err, /^curl: .*\nCannot reach http:\/\/127\.0\.0\.1:1\n$/);
  });

  test(`signing out works also when the server is gone, under ${name}`, async (t) => {
    const d = await double(t, () => [200, { token: TOKEN }]);
    const cc = await signed_in(name, d);
    fs.writeFileSync(path.join(cc.home, '.claude-cloud/server'), 'http://127.0.0.1:1\n');
    const r = await cc.with({ env: { CLAUDE_CLOUD_URL: 'http://127.0.0.1:1' } }, 'logout');
    assert.deepStrictEqual([r.code, r.out], [0, 'Logged out.\n']);
    assert.match(r.err, /Cannot reach http:\/\/127\.0\.0\.1:1: the session goes on there until it expires\.\n$/);
    assert.deepStrictEqual(fs.readdirSync(path.dirname(cc.file)), []);
  });

  test(`a token goes to the server that it is from, along no redirect, under ${name}`, async (t) => {
    const other = await double(t, () => [200, {}]);
    const d = await double(t, (req) => (req.url === '/auth/login' ? [200, { token: TOKEN }] : [302, '', { Location: `${other.url}/x` }]));
    const cc = await signed_in(name, d);
    fs.writeFileSync(path.join(cc.home, '.curlrc'), 'location\nheader = "X-Rc: 1"\n');
    for (const c of ['status', 'list', 'connect', 'logs']) assert.strictEqual((await cc(c)).code, 1);
    assert.strictEqual(d.requests.at(-1).headers.authorization, `Bearer ${TOKEN}`);
    assert.strictEqual(d.requests.at(-1).headers['x-rc'], undefined);
    for (const c of ['status', 'connect']) is(await cc.with({ env: { CLAUDE_CLOUD_URL: other.url } }, c), 1, '', not_in);
    assert.deepStrictEqual(other.requests, []);
  });

  test(`a script is run only when it is one, under ${name}`, async (t) => {
    let answer;
    const d = await double(t, (req) => (req.url === '/auth/login' ? [200, { token: TOKEN }] : answer));
    const cc = await signed_in(name, d);
    const mark = path.join(cc.home, 'ran');
    const text = `#!/bin/sh\nmain() { echo "ran '$1' $-"; : >'${mark}'; exit 7; }\nmain\n`;
    for (const a of [[200, text, { 'Content-Type': 'text/html' }], [200, text, { 'Content-Type': 'text/x-shellscriptx' }], [201, text, { 'Content-Type': DAY }]]) {
      answer = a;
      is(await cc('connect'), 1, '', `${d.url} gave no script.\n`);
      assert.ok(!fs.existsSync(mark));
    }
    for (const type of [DAY, 'text/x-shellscript']) {
      answer = [200, text, { 'Content-Type': type }];
      const r = await cc('connect', 'a&b=c d');
      assert.deepStrictEqual([r.code, r.err], [7, '']);
      assert.match(r.out, /^ran '' [a-zA-Z]*\n$/);
      assert.strictEqual(new URL(d.requests.at(-1).url, d.url).searchParams.get('instance'), 'a&b=c d');
      assert.strictEqual(d.requests.at(-1).headers.accept, 'text/x-shellscript');
    }
  });

  test(`many machines, with names that no server of ours would give, under ${name}`, async (t) => {
    const all = Array.from({ length: 120 }, (_, i) => ({ id: `id-${i}&x`, name: i === 7 ? 'a\tb\u001b[31m"\\' : `m${i}`, status: 'RUNNING', provider: 'mock', type: 'small', env: { name: 'no' } }));
    const d = await double(t, (req) => {
      if (req.url === '/auth/login') return [200, { token: TOKEN }];
      const q = new URL(req.url, 'http://x').searchParams;
      const from = q.has('after') ? all.findIndex((m) => m.id === q.get('after')) + 1 : 0;
      return [200, all.slice(from, from + Number(q.get('limit')))];
    });
    const cc = await signed_in(name, d);
    const r = await cc('list');
    const lines = r.out.trim().split('\n').slice(1);
    assert.deepStrictEqual(lines.map((l) => l.split(/ +/)[0]), all.map((m, i) => (i === 7 ? 'a?b?[31m"\\' : m.name)));
    assert.strictEqual(lines[0], 'm0'.padEnd(25) + 'RUNNING    mock       small    id-0&x');
    assert.deepStrictEqual(d.requests.slice(1).map((q) => q.url).map((u) => new URL(u, 'http://x').searchParams.get('after')), [null, 'id-49&x', 'id-99&x']);
  });

  test(`nothing secret is an argument of any process, under ${name}`, async (t) => {
    const found = [];
    const look = () => found.push(...seen_in_arguments(TOKEN), ...seen_in_arguments('secret-of-the-script'));
    const d = await double(t, (req) => {
      look();
      if (/login|verify/.test(req.url)) return [200, { token: TOKEN }];
      if (/connect/.test(req.url)) return [200, `#!/bin/sh\nx=secret-of-the-script\n: >'${cc.home}/runs'\nread -r line\necho "got $line"\nif [ -t 0 ]; then echo terminal; fi\n`, { 'Content-Type': DAY }];
      return [200, []];
    });
    const cc = await signed_in(name, d);
    for (const c of ['status', 'list', 'logs', 'stop']) await cc(c, ...(/logs|stop/.test(c) ? ['x'] : []));
    const p = await Pty.run([...shell[name].argv, script, 'connect'], { env: { PATH: shell[name].path, HOME: cc.home, CLAUDE_CLOUD_URL: d.url } });
    t.after(() => p.close());
    await until(() => fs.existsSync(`${cc.home}/runs`), 'the script runs');
    look();
    p.type('a line\r');
    await p.ended;
    assert.match(p.output, /got a line\r\nterminal\r\n/);
    await cc('logout');
    assert.deepStrictEqual(found, []);
    assert.strictEqual(d.requests.filter((r) => r.headers.authorization === `Bearer ${TOKEN}`).length, 6);
  });

  test(`the token's file is nobody else's from its beginning, under ${name}`, async (t) => {
    const d = await double(t, () => [200, { token: TOKEN }]);
    const cc = tool(name, d.url);
    fs.mkdirSync(path.dirname(cc.file), { mode: 0o777 });
    fs.chmodSync(path.dirname(cc.file), 0o777);
    fs.writeFileSync(cc.file, 'old', { mode: 0o666 });
    const loose = path.join(cc.home, 'loose.sh');
    fs.writeFileSync(loose, `umask 000\n. '${script}'\n`);
    const r = await run(name, loose, { args: ['login', 'a@example.org'], env: { HOME: cc.home, CLAUDE_CLOUD_URL: d.url } });
    is(r, 0, 'Logged in successfully.\n');
    assert.deepStrictEqual([mode(cc.file), mode(path.dirname(cc.file)), cc.token()], ['600', '700', TOKEN]);
    assert.deepStrictEqual(fs.readdirSync(path.dirname(cc.file)).sort(), ['server', 'token']);
  });

  test(`a part of the script does nothing, under ${name}`, async () => {
    const text = fs.readFileSync(script, 'utf8');
    const at = home();
    const part = path.join(at, 'part.sh');
    for (const n of [text.lastIndexOf('main "$@"'), text.length >> 1, text.length >> 2, 1000]) {
      fs.writeFileSync(part, text.slice(0, n));
      const r = await run(name, part, { args: ['login', 'a@example.org'], env: { HOME: at, CLAUDE_CLOUD_URL: 'http://127.0.0.1:1' } });
      assert.strictEqual(r.out, '', String(n));
      assert.doesNotMatch(r.err, /Cannot reach/);
    }
    assert.deepStrictEqual(fs.readdirSync(at), ['part.sh']);
  });
}

// ---- how it comes onto people's computers

test('the server gives the script away with its own address in it', async () => {
  const r = await as(s, {}, 'GET', '/cli/claude-cloud');
  assert.deepStrictEqual([r.status, r.headers['content-type'], r.headers['cache-control']], [200, DAY, 'no-store']);
  const original = fs.readFileSync(script, 'utf8');
  assert.strictEqual(r.text, original.replace(/^default_url=.*$/m, `default_url='${s.url}'`));
});

for (const name of shells) {
  test(`install.sh, piped into ${name}`, async (t) => {
    const r = await as(s, {}, 'GET', '/install.sh');
    assert.deepStrictEqual([r.status, r.headers['content-type']], [200, DAY]);
    const at = home();
    const bin = path.join(at, '.local/bin');
    const install = (text, more = {}) => run(name, null, { input: text, env: { HOME: at }, ...more });
    is(await install(r.text), 0, `claude-cloud is installed: ${bin}/claude-cloud\nYour shell does not look there for commands yet. Add this to its profile:\n` +
      `  export PATH="${bin}:$PATH"\nNext: claude-cloud login\n`);
    is(await install(r.text, { before: [bin] }), 0, `claude-cloud is installed: ${bin}/claude-cloud\nNext: claude-cloud login\n`);
    assert.deepStrictEqual(fs.readdirSync(bin), ['claude-cloud']);
    assert.strictEqual(mode(path.join(bin, 'claude-cloud')), '755');
    const used = await run(name, path.join(bin, 'claude-cloud'), { args: ['login', 'installed@example.org'], env: { HOME: at } });
    is(used, 0, 'Logged in successfully.\n');
    const empty = home();
    const part = await install(r.text.slice(0, r.text.lastIndexOf('main "$@"')), { env: { HOME: empty } });
    is(part, 0, '');
    assert.deepStrictEqual(fs.readdirSync(empty), [], 'a part does nothing');
    // what comes is no script: the one that is there stays
    const before = fs.readFileSync(path.join(bin, 'claude-cloud'));
    for (const [answer, why] of [[[200, '<html>'], 'gave something else'], [[200, fs.readFileSync(script, 'utf8').slice(0, 5000)], 'gave something else'], [[404, ''], 'cannot be fetched']]) {
      const d = await double(t, () => answer);
      const bad = await install(r.text.replace(/^base_url=.*$/m, `base_url='${d.url}'`));
      assert.strictEqual(bad.code, 1);
      assert.match(bad.err, new RegExp(`claude-cloud is not installed: .*${why}`));
      assert.deepStrictEqual(fs.readdirSync(bin), ['claude-cloud']);
    }
    assert.deepStrictEqual(fs.readFileSync(path.join(bin, 'claude-cloud')), before);
  });
}
