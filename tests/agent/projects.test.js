// Projects on a machine: what is listed, and what is cloned from a git server on loopback.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { Agent, until } = require('../lib/real_agent.js');

let a, server, base, repos, hold;
const seen = [];   // requests of the git server
const waiting = []; // of them, those that it answers never

const git = (...args) => execFileSync('git', args, { encoding: 'utf8', env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@a', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@a' } });

// git's own server program, as a web server runs it.
function backend(req, res) {
  seen.push(req.url);
  if (hold) { waiting.push(res); return; }
  const [where, query = ''] = req.url.split('?');
  const cgi = spawn('git', ['http-backend'], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, GIT_PROJECT_ROOT: repos, GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: where, QUERY_STRING: query,
    REQUEST_METHOD: req.method, CONTENT_TYPE: req.headers['content-type'] || '', HTTP_CONTENT_ENCODING: req.headers['content-encoding'] || '', HTTP_GIT_PROTOCOL: req.headers['git-protocol'] || '' } });
  req.pipe(cgi.stdin);
  cgi.stdin.on('error', () => {});
  let head = Buffer.alloc(0);
  cgi.stdout.on('data', (d) => {
    if (head === null) { res.write(d); return; }
    head = Buffer.concat([head, d]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    for (const line of head.subarray(0, end).toString().split('\r\n')) {
      const [, name, value] = /^([^:]+): (.*)$/.exec(line);
      if (name === 'Status') res.statusCode = parseInt(value, 10); else res.setHeader(name, value);
    }
    res.write(head.subarray(end + 4));
    head = null;
  });
  cgi.on('close', () => res.end());
}

const log = () => path.join(a.dir, 'git.log'); // each argument vector that git was called with, by the agent

test.before(async () => {
  const bin = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'cchost-test-'));
  const real = execFileSync('sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim();
  fs.writeFileSync(path.join(bin, 'git'), `#!/bin/sh\n[ "$1" != clone ] || printf '%s\\n' "$@" . >>"$GIT_LOG"\nexec ${real} "$@"\n`, { mode: 0o755 });
  fs.writeFileSync(path.join(bin, 'ssh'), '#!/bin/sh\nprintf "git@host.invalid: Permission denied (publickey).\\r\\n" >&2\nexit 255\n', { mode: 0o755 });
  const env = { PATH: `${bin}:${process.env.PATH}`, GIT_LOG: path.join(bin, 'log'), GIT_CONFIG_GLOBAL: '/dev/null', HOME: bin, GIT_SSH_COMMAND: path.join(bin, 'ssh') };
  a = await Agent.start(['--clone-seconds', '3'], { env });
  a.bin = bin;
  fs.symlinkSync(path.join(bin, 'log'), log());
  repos = path.join(a.dir, 'repos');
  const work = path.join(a.dir, 'work');
  git('init', '-q', '-b', 'main', work);
  for (let i = 0; i < 300; i++) fs.writeFileSync(path.join(work, `file${i}`), `${i}`.repeat(500));
  git('-C', work, 'add', '.');
  git('-C', work, 'commit', '-qm', 'one');
  git('-C', work, 'checkout', '-qb', 'other');
  fs.writeFileSync(path.join(work, 'other'), 'branch');
  git('-C', work, 'add', '.');
  git('-C', work, 'commit', '-qm', 'two');
  git('-C', work, 'checkout', '-q', 'main');
  git('clone', '-q', '--bare', work, path.join(repos, 'hello.git'));
  server = http.createServer(backend);
  await new Promise((r) => { server.listen(0, '127.0.0.1', r); });
  base = `http://127.0.0.1:${server.address().port}`;
});
test.after(async () => {
  server.closeAllConnections();
  server.close();
  await a.stop();
  fs.rmSync(a.bin, { recursive: true });
});
test.beforeEach(() => fs.writeFileSync(log(), ''));
test.afterEach(async () => { // neither a folder nor a process stays
  hold = false;
  for (const res of waiting.splice(0)) res.destroy();
  await until(() => execFileSync('ps', ['-o', 'args=', '--ppid', `${a.child.pid}`, '--no-headers'], { encoding: 'utf8' }).trim() === '' || false, 'no child is left').catch((e) => { if (e.status !== 1) throw e; });
  execFileSync('find', [a.root, '-mindepth', '1', '-delete']);
});

const clone = (body, headers) => a.call('POST', '/projects/clone', { body, headers });
const argv = () => fs.readFileSync(log(), 'utf8').split('\n').slice(0, -2);

function repository(name, config) {
  fs.mkdirSync(a.at(name, '.git'), { recursive: true });
  if (config !== undefined) fs.writeFileSync(a.at(name, '.git/config'), config);
}

test('projects are the folders with a .git, at most three levels down', async () => {
  repository('one', '[core]\n\tbare = false\n[remote "up"]\n\turl = ssh://git@host/up.git\n[remote "origin"]\n\turl = https://host/one.git\n\tfetch = +x\n');
  repository('a/two', '[remote "up"]\n\turl = git@host:two.git\n');
  repository('a/b/three', '[remote "origin"]\n\turl = https://ann:secret@host/three.git\n');
  repository('a/b/c/four', '[remote "origin"]\n\turl = https://host/four.git\n');
  repository('one/inside', '');
  repository('none', '[core]\n');
  repository('bare');
  fs.mkdirSync(a.at('tree'));
  fs.writeFileSync(a.at('tree/.git'), 'gitdir: /elsewhere\n');
  fs.mkdirSync(path.join(a.outside, 'p/.git'), { recursive: true });
  fs.symlinkSync(a.outside, a.at('link'));
  repository('evil');
  fs.writeFileSync(path.join(a.outside, 'config'), '[remote "origin"]\n\turl = not for you\n');
  fs.symlinkSync(path.join(a.outside, 'config'), a.at('evil/.git/config'));
  const { status, body } = await a.get('/projects');
  assert.strictEqual(status, 200);
  const p = (name, remoteUrl) => ({ name: path.basename(name), path: a.at(name), remoteUrl });
  assert.deepStrictEqual(body, [p('a/b/three', 'https://host/three.git'), p('a/two', 'git@host:two.git'), p('bare', null), p('evil', null), p('none', null),
    p('one', 'https://host/one.git'), p('tree', null)]);
  execFileSync('find', [a.root, '-mindepth', '1', '-delete']);
  assert.deepStrictEqual((await a.get('/projects')).body, []);
});

test('a project is cloned and listed', async () => {
  const r = await clone({ url: `${base}/hello.git` });
  assert.deepStrictEqual([r.status, r.body], [201, { name: 'hello', path: a.at('hello'), remoteUrl: `${base}/hello.git` }], `${r.bytes}`);
  assert.strictEqual(fs.readFileSync(a.at('hello/file7'), 'utf8'), '7'.repeat(500));
  assert.deepStrictEqual((await a.get('/projects')).body, [r.body]);
  assert.deepStrictEqual(argv(), ['clone', '--progress', '--', `${base}/hello.git`, '.']);
  const again = await clone({ url: `${base}/hello.git` });
  assert.deepStrictEqual([again.status, again.body.code], [409, 'exists']);
  assert.ok(fs.existsSync(a.at('hello/file7')));
});

test('a branch, and a name of its own', async () => {
  const r = await clone({ url: `${base}/hello.git`, branch: 'other', name: 'mine' });
  assert.deepStrictEqual([r.status, r.body.path], [201, a.at('mine')], `${r.bytes}`);
  assert.strictEqual(fs.readFileSync(a.at('mine/other'), 'utf8'), 'branch');
  assert.deepStrictEqual(argv(), ['clone', '--progress', '--branch=other', '--', `${base}/hello.git`, '.']);
});

test('progress comes in lines of JSON', async () => {
  const r = await clone({ url: `${base}/hello.git` }, { accept: 'application/x-ndjson' });
  assert.strictEqual(r.headers['content-type'], 'application/x-ndjson');
  const lines = r.bytes.toString().trim().split('\n').map((l) => JSON.parse(l));
  assert.deepStrictEqual(lines.pop(), { project: { name: 'hello', path: a.at('hello'), remoteUrl: `${base}/hello.git` } });
  const received = lines.filter((l) => l.phase === 'Receiving objects').map((l) => l.percent);
  assert.deepStrictEqual(received, [...received].sort((x, y) => x - y));
  assert.strictEqual(received.at(-1), 100);
  for (const l of lines) assert.deepStrictEqual(Object.keys(l), ['percent', 'phase']);
  const failed = await clone({ url: `${base}/hello.git`, branch: 'none', name: 'x' }, { accept: 'application/x-ndjson' });
  const end = JSON.parse(failed.bytes.toString().trim().split('\n').at(-1));
  assert.deepStrictEqual([end.code, /none not found/.test(end.error)], ['failed', true], JSON.stringify(end));
  assert.ok(!fs.existsSync(a.at('x')));
});

test('no argument becomes an option, no URL another protocol: B34', async () => {
  const url = `${base}/hello.git`;
  for (const body of [
    { url, branch: '--upload-pack=touch /tmp/x' }, { url, branch: '-u' }, { url, branch: '-' }, { url, branch: '' }, { url, branch: 'a b' }, { url, branch: 'a\nb' }, { url, branch: 1 },
    { url: '--upload-pack=touch x' }, { url: '-u' }, { url: 'file:///etc' }, { url: '/etc' }, { url: a.outside }, { url: 'ext::sh -c touch% /tmp/x' }, { url: 'git://host/x' }, { url: 'ftp://host/x' },
    { url: 'http://' }, { url: 'ssh://-oProxyCommand=touch/x' }, { url: 'git@-oProxyCommand=x:y' }, { url: 'http://-x/y' }, { url: 'git@host' }, { url: `${url}\n--upload-pack=x` }, { url: ` ${url}` },
    { url: `${url}\0x` }, { url: `http://h/${'x'.repeat(3000)}` }, { url: 5 }, { url: ['http://h/x'] }, {},
    { url, name: '../claude-data-other/x' }, { url, name: '/etc/x' }, { url, name: '..' }, { url, name: '.' }, { url, name: '' }, { url, name: '-x' }, { url, name: '.git' }, { url, name: 'a/b' },
    { url, name: 'a\0b' }, { url, name: 'n'.repeat(300) }, { url: 'http://host/..' }, { url, depth: 1 }, [], 'no json',
  ]) {
    const r = await clone(body);
    assert.deepStrictEqual([r.status, r.body.code], [400, 'invalid'], `${JSON.stringify(body)}: ${r.bytes}`);
  }
  assert.deepStrictEqual(argv(), []);
  assert.deepStrictEqual(fs.readdirSync(a.root), []);
});

test('ssh in both spellings is given to git as it is', async () => {
  for (const url of ['git@host.invalid:x/y.git', 'ssh://git@host.invalid:2222/x/y.git']) {
    fs.writeFileSync(log(), '');
    const r = await clone({ url });
    assert.deepStrictEqual([r.status, r.body.code], [502, 'failed'], `${r.bytes}`);
    assert.strictEqual(r.body.error, 'git@host.invalid: Permission denied (publickey). Could not read from remote repository.', 'what ssh said, too');
    assert.deepStrictEqual(argv(), ['clone', '--progress', '--', url, '.']);
    assert.deepStrictEqual(fs.readdirSync(a.root), []);
  }
});

test('what fails leaves nothing, and says why without the credentials', async () => {
  const r = await clone({ url: `${base.replace('//', '//ann:secret@')}/none.git` });
  assert.deepStrictEqual([r.status, r.body.code], [502, 'failed']);
  assert.match(r.body.error, /none\.git/);
  assert.ok(!r.body.error.includes('secret'), r.body.error);
  assert.deepStrictEqual(fs.readdirSync(a.root), []);
  fs.symlinkSync(a.outside, a.at('there'));
  const there = await clone({ url: `${base}/hello.git`, name: 'there' });
  assert.deepStrictEqual([there.status, there.body.code], [409, 'exists']);
});

test('a server that never answers is given up in time, with all that was started', async () => {
  hold = true;
  const begun = Date.now();
  const eight = Array.from({ length: 8 }, (_, i) => clone({ url: `${base}/hello.git`, name: `n${i}` }));
  await until(() => waiting.length === 8, 'eight are under way');
  const more = await clone({ url: `${base}/hello.git`, name: 'more' });
  assert.deepStrictEqual([more.status, more.body.code], [429, 'too_many']);
  for (const r of await Promise.all(eight)) assert.deepStrictEqual([r.status, r.body.code], [504, 'timeout']);
  assert.ok(Date.now() - begun >= 2900, 'not before its time');
  await until(() => waiting.every((res) => res.destroyed || res.closed), 'the helper of git is gone, too');
  assert.deepStrictEqual(fs.readdirSync(a.root), []);
});

test('a clone that nobody waits for any more ends', async () => {
  hold = true;
  const req = http.request({ socketPath: a.sock, method: 'POST', path: '/projects/clone', agent: false });
  req.on('error', () => {});
  req.end(JSON.stringify({ url: `${base}/hello.git` }));
  await until(() => waiting.length > 0, 'git asks');
  assert.deepStrictEqual(fs.readdirSync(a.root), ['hello']);
  req.destroy();
  await until(() => waiting.every((res) => res.destroyed || res.closed), 'git has ended');
  await until(() => fs.readdirSync(a.root).length === 0, 'nothing is left of it');
});

test('a machine without git says so', async () => {
  const bare = await Agent.start([], { env: { PATH: '/nowhere' } });
  const r = await bare.call('POST', '/projects/clone', { body: { url: `${base}/hello.git` } });
  assert.deepStrictEqual([r.status, r.body], [501, { error: 'git is not installed on this machine', code: 'unsupported' }]);
  assert.deepStrictEqual(fs.readdirSync(bare.root), []);
  await bare.stop();
});
