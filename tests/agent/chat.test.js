// Chat with Claude Code on a machine: the agent alone on its socket, and a double of `claude` (tests/lib/claude.js).
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const WebSocket = require('ws');
const { until, temp, binary } = require('../lib/cchost.js');

const program = path.join(path.dirname(fs.realpathSync(binary)), 'cchost-agent');
const agentBinary = fs.existsSync(program) ? program : path.join(__dirname, '../../build', process.env.V || 'release', 'cchost-agent');

let dir, sock, home, root, log, agent;
const opened = [];
const at = (...parts) => path.join(dir, ...parts);
const read = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
const write = (file, value) => {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
};

// The agent's environment has what it needs and nothing of the one who runs the tests.
async function start(env = {}) {
  const child = spawn(agentBinary, ['--listen', sock, '--busy', at('busy.sock'), '--root', root], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      PATH: `${at('bin')}:${process.env.PATH}`, HOME: home, CLAUDECODE: '1', CLAUDE_DOUBLE_LOG: log, CLAUDE_SETTINGS: 'leave',
      CLAUDE_GRACE_SECONDS: '0.3', CLAUDE_SILENCE_SECONDS: '2', CLAUDE_CODE_OAUTH_TOKEN: 'a-token', ...env,
    },
  });
  child.gone = new Promise((r) => child.on('exit', r));
  await until(() => fs.existsSync(sock) && call('/healthz').catch(() => false), 'the agent listens');
  return child;
}
async function stop(child) {
  child.kill();
  await child.gone;
  fs.rmSync(sock, { force: true });
}
async function restart(env) {
  await stop(agent);
  agent = await start(env);
}

const call = (where) => new Promise((resolve, reject) => {
  http.get({ socketPath: sock, path: where, agent: false }, (res) => {
    let text = '';
    res.on('data', (d) => { text += d; });
    res.on('end', () => resolve({ status: res.statusCode, body: JSON.parse(text) }));
  }).on('error', reject);
});
const leases = async () => (await call('/activity')).body.leases.map((l) => l.id);

// How the double was started, newest last: {argv, cwd, pid, env}; and what it did since.
const lines = () => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8').trim().split('\n').filter(Boolean).map((l) => JSON.parse(l)) : []);
const starts = () => lines().filter((l) => l.argv);
const alive = (pid) => { try { process.kill(pid, 0); return true; } catch { return false; } };
const living = () => starts().filter((l) => alive(l.pid));
const worker = (...cwd) => living().find((s) => s.cwd === path.join(root, ...cwd)).pid; // the process of that folder's chat

test.before(async () => {
  dir = temp();
  [sock, home, root, log] = [at('a.sock'), at('home'), at('data'), at('log')];
  for (const d of ['home', 'data/app', 'data/a.b c', 'bin', 'outside']) fs.mkdirSync(at(d), { recursive: true });
  fs.symlinkSync(path.join(__dirname, '../lib/claude.js'), at('bin/claude'));
  agent = await start();
});
// every socket of a test is closed by it, and no turn goes on
test.afterEach(async () => {
  for (const ws of opened.splice(0)) ws.terminate();
  await until(async () => (await leases()).length === 0, 'no turn goes on');
});
test.after(async () => {
  await stop(agent);
  await until(() => living().length === 0, 'no process is left');
  fs.rmSync(dir, { recursive: true, force: true });
});

// -> {ws, got: messages so far, next(type): the first of that type that was not taken yet, say(content, more), turn(content)}
async function connect(query = '') {
  const ws = new WebSocket(`ws+unix://${sock}:/chat${query}`, { perMessageDeflate: false });
  opened.push(ws);
  const c = { ws, got: [], taken: 0 };
  ws.on('message', (d) => c.got.push(JSON.parse(d)));
  ws.on('error', () => {});
  c.closed = new Promise((r) => ws.on('close', r));
  await new Promise((resolve, reject) => { ws.on('open', resolve); ws.on('error', reject); });
  c.send = (o) => ws.send(typeof o === 'string' ? o : JSON.stringify(o));
  c.next = async (...types) => {
    const find = () => c.got.findIndex((m, i) => i >= c.taken && types.includes(m.type));
    await until(() => find() >= 0, `${types.join(' or ')}; came: ${JSON.stringify(c.got.slice(c.taken)).slice(0, 500)}`);
    c.taken = find() + 1;
    return c.got[c.taken - 1];
  };
  c.say = (content, more) => c.send({ type: 'message', content, ...more });
  // one turn to its end: what was told of it
  c.turn = async (content, more) => {
    const from = c.got.length;
    c.taken = from;
    c.say(content, more);
    await c.next('done', 'error');
    return c.got.slice(from, c.taken);
  };
  return c;
}
const bare = ({ turn, n, ...rest }) => rest; // eslint-disable-line no-unused-vars
const text = (messages) => messages.filter((m) => m.type === 'text').map((m) => m.content).join('');
const last = (messages) => bare(messages[messages.length - 1]);

test('a turn: text as it grows, its end, and how Claude Code was started', async () => {
  const c = await connect();
  const told = await c.turn('hello');
  assert.deepStrictEqual(told.map(bare), [
    { type: 'text', content: 'You said' }, { type: 'text', content: ' "hello"; before: nothing.' },
    { type: 'done', content: 'You said "hello"; before: nothing.' },
  ]);
  const [s] = starts();
  assert.deepStrictEqual(s.argv, ['-p', '--output-format', 'stream-json', '--verbose', '--input-format', 'stream-json',
    '--include-partial-messages', '--permission-mode=bypassPermissions']);
  assert.strictEqual(s.cwd, root);
  assert.deepStrictEqual(s.env, { HOME: home, CCHOST_BUSY_SOCKET: at('busy.sock') }, 'CLAUDECODE is not there');
});

test('B36: the second message goes on where the first ended, also after a restart', async () => {
  let c = await connect();
  await c.turn('one', { cwd: path.join(root, 'app') });
  assert.match(text(await c.turn('two', { cwd: 'app' })), /before: one\./);
  const known = starts();
  assert.strictEqual(known.filter((s) => s.cwd === path.join(root, 'app')).length, 1, 'the same process');
  await restart();
  await until(() => known.every((s) => !alive(s.pid)), 'processes end with the agent');
  c = await connect();
  assert.match(text(await c.turn('three', { cwd: 'app' })), /before: one, two\./);
  assert.match(starts().at(-1).argv.at(-1), /^--resume=[0-9a-f-]{36}$/, 'one word, that no value can break out of');
  assert.match(text(await c.turn('four', { cwd: '' })), /before: hello\./, 'another project, another session');
});

test('B36: results of tools come, with the name of their tool', async () => {
  const told = (await (await connect()).turn('tool')).map(bare);
  assert.deepStrictEqual(told, [
    { type: 'tool_use', tool: 'Bash', input: { command: 'ls' }, id: 'toolu_1' },
    { type: 'tool_result', tool: 'Bash', output: 'a\nb', id: 'toolu_1' },
    { type: 'text', content: 'Two files.' }, { type: 'done', content: 'ready' },
  ]);
});

test('what is no message is told so, and the socket lives on', async () => {
  const c = await connect();
  const expected = "expected {type:'message', content:'...'}";
  for (const [said, words] of [
    ['{', 'invalid JSON'], ['', 'invalid JSON'], ['null', expected], ['[]', expected], ['"x"', expected], [{ type: 'message' }, expected],
    [{ type: 'other', content: 'x' }, expected], [{ type: 'message', content: '' }, expected], [{ type: 'message', content: 5 }, expected],
    [{ type: 'message', content: 'x', cwd: 5 }, expected], [{ type: 'message', content: 'x', session: '--help' }, expected],
    [{ type: 'message', content: 'x'.repeat(262145) }, 'content: at most 256 KiB expected'],
  ]) {
    c.send(said);
    assert.strictEqual((await c.next('error')).content, words, JSON.stringify(said).slice(0, 60));
  }
  c.send({ type: 'abort' }); // nothing is under way
  assert.strictEqual(last(await c.turn('hello')).type, 'done');
});

test('a folder beneath the root and no other', async () => {
  fs.symlinkSync(at('outside'), path.join(root, 'link'));
  fs.mkdirSync(`${root}-other`);
  const c = await connect();
  for (const cwd of ['..', '../outside', 'app/../../outside', '/', '/etc', `${root}-other`, `${root}/../outside`, 'link', 'app\0x', 'a\nb', 'none', 'x'.repeat(5000)]) {
    const before = starts().length;
    c.say('hello', { cwd });
    const e = await c.next('error');
    assert.match(e.content, /^cwd: /, cwd.slice(0, 40));
    assert.strictEqual(starts().length, before);
    const direct = await new Promise((r) => {
      const ws = new WebSocket(`ws+unix://${sock}:/chat?cwd=${encodeURIComponent(cwd)}`);
      ws.on('unexpected-response', (_, res) => { res.resume(); r(String(res.statusCode)); });
      ws.on('error', () => {});
      ws.on('close', (code, why) => r(`${code} ${why}`));
    });
    assert.match(direct, cwd.includes('\0') ? /^400$/ : /^1008 cwd: /, cwd.slice(0, 40));
  }
  for (const cwd of ['a.b c', `${root}/app/`, './app', '']) assert.strictEqual(last(await c.turn('hello', { cwd })).type, 'done', cwd);
});

test('an abort is asked for, and the conversation goes on', async () => {
  const c = await connect();
  c.say('slow');
  await c.next('text');
  c.send({ type: 'abort' });
  assert.deepStrictEqual(bare(await c.next('done', 'error')), { type: 'done', content: '', aborted: true });
  const pid = worker();
  assert.match(text(await c.turn('after')), /before: .*slow/);
  assert.ok(alive(pid), 'the process was not hurt');
});

test('one that does not hear is killed', async () => {
  const c = await connect();
  c.say('deaf', { cwd: 'app' });
  await c.next('text');
  const pid = worker('app');
  c.send({ type: 'abort' });
  assert.deepStrictEqual(bare(await c.next('done', 'error')), { type: 'done', content: '', aborted: true });
  assert.deepStrictEqual(lines().filter((l) => l.pid === pid && l.ignored).map((l) => l.ignored), ['SIGINT', 'SIGTERM']);
  await until(() => !alive(pid), 'it is gone');
  assert.match(text(await c.turn('after')), /before: .*deaf/);
});

test('one that says nothing is ended, told, and gone on with', async () => {
  const c = await connect();
  await c.turn('hello');
  const pid = worker();
  const e = last(await c.turn('hang'));
  assert.deepStrictEqual([e.type, e.code], ['error', 'hung']);
  assert.match(e.content, /said nothing for 2 s.*Say it again/);
  await until(() => !alive(pid), 'it is gone');
  assert.match(text(await c.turn('after')), /before: .*hang/);
});

test('a crash is told with its reason, and the next message resumes', async () => {
  const c = await connect();
  const told = await c.turn('crash', { cwd: 'app' });
  assert.strictEqual(text(told), 'I was about to');
  assert.deepStrictEqual([last(told).type, last(told).code], ['error', 'crashed']);
  assert.match(last(told).content, /exit code 3\): TypeError: out of cheese\. Say it again/);
  assert.strictEqual(last(await c.turn('half')).code, 'crashed', 'half a line is no result');
  assert.match(text(await c.turn('after')), /before: .*crash, half/);
});

test('one that ended by itself between two turns costs nothing', async () => {
  const c = await connect();
  await c.turn('hello');
  const pid = worker();
  assert.strictEqual(last(await c.turn('away')).type, 'done');
  await until(() => !alive(pid), 'it is gone');
  const told = await c.turn('back');
  assert.match(text(told), /before: .*away/);
  assert.strictEqual(last(told).type, 'done');
});

test('a transcript that is gone begins a new session by itself', async () => {
  const c = await connect();
  await c.turn('first', { cwd: 'a.b c' });
  await restart();
  fs.rmSync(path.join(home, '.claude/projects', path.join(root, 'a.b c').replace(/[^a-zA-Z0-9]/g, '-')), { recursive: true });
  const again = await connect();
  assert.match(text(await again.turn('second', { cwd: 'a.b c' })), /before: nothing\./);
  assert.match(text(await again.turn('third', { cwd: 'a.b c' })), /before: second\./);
});

test('a new session, and one of old by its id', async () => {
  const c = await connect();
  const first = starts().length;
  await c.turn('old one', { cwd: 'app', session: 'new' });
  const old = (await call('/sessions/app/conversations')).body[0].id;
  assert.match(text(await c.turn('begin', { cwd: 'app', session: 'new' })), /before: nothing\./);
  assert.match(text(await c.turn('go on', { cwd: 'app' })), /before: begin\./);
  assert.match(text(await c.turn('back', { cwd: 'app', session: old })), /before: old one\./);
  assert.strictEqual(starts().length, first + 3, 'a process for each, and none for what goes on');
});

test('noise, half characters and what is too long to read cost themselves alone', async () => {
  const c = await connect();
  const noise = await c.turn('noise');
  assert.deepStrictEqual([text(noise), last(noise).type], ['Clearhalf \ufffd', 'done']);
  const huge = await c.turn('huge');
  assert.match(text(huge), /more than 1 MiB was left out.*That was long\.$/s);
  assert.strictEqual(last(huge).type, 'done');
  const asks = await c.turn('asks');
  assert.strictEqual(text(asks), 'answered: error', 'whoever asks is answered');
});

test('permission mode by setting', async () => {
  await restart({ CLAUDE_PERMISSION_MODE: 'plan' });
  await (await connect()).turn('hello');
  assert.ok(starts().at(-1).argv.includes('--permission-mode=plan'));
  await restart({ CLAUDE_PERMISSION_MODE: '--dangerously' });
  await (await connect()).turn('hello');
  assert.ok(starts().at(-1).argv.includes('--permission-mode=bypassPermissions'), 'what is no mode is none');
  await restart();
});

test('a process waits for the next turn for a while, and then goes, also one that would stay', async () => {
  await restart({ CLAUDE_KEEP_SECONDS: '0.2' });
  const c = await connect();
  await c.turn('hello');
  const first = starts().at(-1).pid;
  await until(() => !alive(first), 'by the end of its input');
  assert.strictEqual(lines().filter((l) => l.pid === first && 'exit' in l)[0].exit, 0);
  await c.turn('stays');
  const second = starts().at(-1).pid;
  await until(() => !alive(second), 'one that stays is killed');
  assert.match(text(await c.turn('after')), /before: .*stays/);
  await restart();
});

test('several watch one chat; who comes late, or back, has all of it once', async () => {
  const a = await connect();
  const b = await connect(`?cwd=${encodeURIComponent(path.join(root, 'app'))}`);
  assert.deepStrictEqual([(await b.next('state')).working, b.got.length > 0], [false, true]);
  await a.turn('hello', { cwd: 'app' });
  await b.next('message');
  await b.next('done');
  const seen = b.got.filter((m) => m.turn === a.got.at(-1).turn && m.type !== 'state');
  assert.deepStrictEqual(seen.map((m) => m.n), [1, 2, 3, 4]);
  assert.deepStrictEqual([seen[0].type, seen[0].content], ['message', 'hello'], 'what was asked, for those who did not ask');

  a.say('slow', { cwd: 'app' });
  const begun = await a.next('text');
  b.say('me, too', { cwd: 'app' });
  assert.deepStrictEqual([(await b.next('error')).code, b.got.at(-1).content], ['busy', 'Claude is still at work: wait for the end of its turn, or abort it']);
  const late = await connect('?cwd=app');
  const state = await late.next('state');
  assert.deepStrictEqual([state.working, state.turn, state.lost], [true, begun.turn, 0]);
  await late.next('text');
  a.ws.terminate(); // nobody's leaving ends a turn
  late.send({ type: 'abort' });
  await late.next('done');
  assert.deepStrictEqual(late.got.slice(1).map((m) => m.type), ['message', 'text', 'done']);
  const back = await connect(`?cwd=app&turn=${begun.turn}&n=${begun.n}`);
  await back.next('done');
  assert.deepStrictEqual(back.got.map((m) => m.n), [undefined, begun.n + 1]);
});

test('a client that says nonsense for the number that it has is told all, and heard', async () => {
  const { turn, n: most } = (await (await connect()).turn('hello', { cwd: 'app' })).at(-1);
  for (const n of ['0.5', '1e300', '-1', '0x1', 'nan', '', '9'.repeat(16)]) {
    const c = await connect(`?cwd=app&turn=${turn}&n=${n}`);
    await c.next('done');
    assert.deepStrictEqual(c.got.slice(1).map((m) => m.n), Array.from({ length: most }, (_, i) => i + 1), n);
    c.send('{}');
    assert.strictEqual((await c.next('error')).code, 'invalid');
  }
});

test('who reads slowly holds up nobody', async () => {
  const slow = await connect('?cwd=');
  slow.ws._socket.pause();
  const c = await connect();
  const told = await c.turn('burst');
  assert.strictEqual(told.filter((m) => m.type === 'text').length, 5000);
  slow.ws._socket.resume();
  await slow.next('done');
  assert.strictEqual(slow.got.filter((m) => m.type === 'text').length, 5000);
});

test('a turn holds a busy lease as long as it lasts', async () => {
  const c = await connect();
  assert.strictEqual((await call('/activity')).body.turn, false);
  c.say('slow');
  await c.next('text');
  const { body } = await call('/activity');
  assert.deepStrictEqual([body.turn, body.leases.map((l) => [l.id, l.reason])], [true, [['claude-turn', 'Claude is working']]]);
  const d = await connect();
  d.say('slow', { cwd: 'app' });
  await d.next('text');
  c.send({ type: 'abort' });
  await c.next('done');
  assert.deepStrictEqual(await leases(), ['claude-turn'], 'another one goes on');
  d.send({ type: 'abort' });
  await d.next('done');
  await until(async () => (await call('/activity')).body.turn === false, 'it is given back');
});

test('no Claude Code: how to get it', async () => {
  fs.renameSync(at('bin/claude'), at('bin/gone'));
  const path_ = ['/usr/bin', '/bin'].filter((d) => !fs.existsSync(`${d}/claude`)).join(':');
  await restart({ PATH: `${at('bin')}:${path_}` });
  const e = last(await (await connect()).turn('hello'));
  assert.deepStrictEqual([e.type, e.code], ['error', 'no_claude']);
  assert.match(e.content, /npm install -g --prefix ~\/.local @anthropic-ai\/claude-code/);
  assert.deepStrictEqual((await call('/auth/status')).body, { status: 'needs_auth', url: null, reason: e.content });
  fs.renameSync(at('bin/gone'), at('bin/claude'));
  await restart();
});

test("what the owner's settings bring signs in a chat that begins then", async () => {
  await restart({ CLAUDE_CODE_OAUTH_TOKEN: undefined });
  const status = async () => (await call('/auth/status')).body.status;
  const put = (values) => new Promise((resolve, reject) => {
    const req = http.request({ socketPath: sock, method: 'PUT', path: '/auth/credentials', agent: false }, (res) => { res.resume(); res.on('end', () => resolve(res.statusCode)); });
    req.on('error', reject);
    req.end(JSON.stringify(values));
  });
  const began = async (name) => {
    fs.mkdirSync(path.join(root, name));
    const c = await connect();
    await c.turn('hello', { cwd: name });
    const s = starts().pop();
    assert.strictEqual(s.cwd, path.join(root, name));
    return [s.oauth, s.key];
  };
  assert.strictEqual(await status(), 'needs_auth');
  assert.strictEqual(await put({ anthropic_api_key: 'of-the-owner' }), 200);
  assert.strictEqual(await status(), 'authenticated');
  assert.deepStrictEqual(await began('signed-1'), [undefined, 'of-the-owner']);
  assert.strictEqual(await put({ anthropic_api_key: 'of-the-owner', claude_oauth_token: 'his-token' }), 200);
  assert.deepStrictEqual(await began('signed-2'), ['his-token', undefined]);
  assert.strictEqual(await put({}), 200);
  assert.strictEqual(await status(), 'needs_auth');
  assert.deepStrictEqual(await began('signed-3'), [undefined, undefined]);
  fs.rmSync(path.join(home, '.claude.json'));
  await restart();
});

test('whether Claude is signed in: from its files and variables, and from what a turn shows', async () => {
  const status = async () => (await call('/auth/status')).body;
  const file = path.join(home, '.claude/.credentials.json');
  const oauth = (o) => write(file, { claudeAiOauth: { accessToken: 't', ...o } });
  assert.deepStrictEqual(await status(), { status: 'authenticated', url: null, reason: null });
  await restart({ CLAUDE_CODE_OAUTH_TOKEN: '' });
  assert.strictEqual((await status()).status, 'needs_auth');
  assert.match((await status()).reason, /API key or a Claude token in the settings of your account/);
  for (const [name, value] of [['ANTHROPIC_API_KEY', 'k'], ['ANTHROPIC_AUTH_TOKEN', 't']]) {
    await restart({ CLAUDE_CODE_OAUTH_TOKEN: '', [name]: value });
    assert.strictEqual((await status()).status, 'authenticated', name);
  }
  await restart({ CLAUDE_CODE_OAUTH_TOKEN: '' });
  for (const [o, want] of [[{}, 'authenticated'], [{ expiresAt: 1 }, 'needs_auth'], [{ expiresAt: 1, refreshToken: 'r' }, 'authenticated'], [{ accessToken: '' }, 'needs_auth']]) {
    oauth(o);
    assert.strictEqual((await status()).status, want, JSON.stringify(o));
  }
  for (const bad of ['', '[]', 'null', '{"claudeAiOauth":5}', 'x'.repeat(100)]) {
    write(file, bad);
    assert.strictEqual((await status()).status, 'needs_auth', bad);
  }
  fs.rmSync(file);
  const owners = path.join(home, '.config/cchost/claude.json');
  for (const given of [{ claude_oauth_token: 'T', anthropic_api_key: 'K' }, { anthropic_api_key: 'K' }]) {
    write(owners, given);
    await (await connect()).turn('hello'); // in one folder: a process that had others goes
    assert.deepStrictEqual([starts().at(-1).oauth || undefined, starts().at(-1).key], given.claude_oauth_token ? ['T', undefined] : [undefined, 'K']);
  }
  fs.rmSync(owners);
  for (const settings of [{ env: { ANTHROPIC_API_KEY: 'k' } }, { apiKeyHelper: '/bin/key' }]) {
    write(path.join(home, '.claude/settings.json'), settings);
    assert.strictEqual((await status()).status, 'authenticated', JSON.stringify(settings));
  }
  fs.rmSync(path.join(home, '.claude/settings.json'));

  // a turn that is refused says so, until other credentials are there and work
  oauth({});
  const c = await connect();
  const e = last(await c.turn('login'));
  assert.deepStrictEqual([e.type, e.code], ['error', 'auth']);
  assert.match(e.content, /^Invalid API key.*in the settings of your account/);
  assert.strictEqual((await status()).status, 'needs_auth');
  fs.utimesSync(file, 1, 1); // written anew
  assert.strictEqual((await status()).status, 'checking');
  await restart({ CLAUDE_CODE_OAUTH_TOKEN: '' });
  await (await connect()).turn('hello');
  assert.strictEqual((await status()).status, 'authenticated');
  fs.rmSync(file);
  await restart();
});

test('B37: conversations are read from the transcripts that Claude Code writes', async () => {
  const folder = path.join(home, '.claude/projects', path.join(root, 'a.b c').replace(/[^a-zA-Z0-9]/g, '-'));
  fs.rmSync(folder, { recursive: true, force: true });
  const list = async (p = 'a.b%20c') => (await call(`/sessions/${p}/conversations`));
  assert.deepStrictEqual(await list(), { status: 200, body: [] });
  const user = (content, more) => JSON.stringify({ type: 'user', message: { role: 'user', content }, ...more });
  const files = {
    'summed-up': [JSON.stringify({ type: 'summary', summary: 'About apples' }), user('ignored')],
    'first-words': [user('meta', { isMeta: true }), user('<command-name>/clear</command-name>'), user('side', { isSidechain: true }),
      user([{ type: 'tool_result', tool_use_id: 'x', content: 'no' }]), user([{ type: 'text', text: '  Fix\nthe\ttests, please ä' }]), user('later')],
    long: [user('é'.repeat(300))],
    'half-written': [user('Cut off').slice(0, 30), '', 'garbage', user('Whole')],
    'agent-1234': [user('a subagent')], empty: [], nothing: [JSON.stringify({ type: 'file-history-snapshot' })],
  };
  let age = 0;
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, `${name}.jsonl`);
    write(file, `${content.join('\n')}\n`);
    fs.utimesSync(file, 1.7e9 - ++age, 1.7e9 - age);
  }
  write(path.join(folder, 'old.json'), user('another format'));
  fs.symlinkSync(path.join(folder, 'long.jsonl'), path.join(folder, 'a-link.jsonl'));
  fs.mkdirSync(path.join(folder, 'a-folder.jsonl'));
  const { body } = await list();
  assert.deepStrictEqual(body.map((c) => [c.id, c.title]), [['summed-up', 'About apples'], ['first-words', 'Fix the tests, please ä'],
    ['long', 'é'.repeat(50)], ['half-written', 'Whole']]);
  assert.strictEqual(body[0].updatedAt, new Date((1.7e9 - 1) * 1000).toISOString());

  // the newest twenty, of files of any size
  for (let i = 0; i < 30; i++) write(path.join(folder, `n${i}.jsonl`), `${user(`number ${i}`)}\n`);
  fs.truncateSync(path.join(folder, 'n7.jsonl'), 3e9); // sparse: 3 GB of NULs behind its first line
  const many = (await list()).body;
  assert.strictEqual(many.length, 20);
  assert.ok(many.every((c) => /^number \d+$/.test(c.title)));
  for (const bad of ['..', '%2e%2e', '..%2f..%2fetc', '%00', 'none']) assert.ok([400, 404].includes((await list(bad)).status), bad);
  fs.rmSync(folder, { recursive: true });
});

const settings = () => path.join(home, '.claude/settings.json');
const ours = 'command -v cchost-busy >/dev/null && cchost-busy claude-hook || true';

test('B23: its settings: what lacks is added, what is there stays, what is no JSON is left alone', async () => {
  fs.rmSync(settings(), { force: true });
  await restart({ CLAUDE_SETTINGS: 'manage' });
  await until(() => fs.existsSync(settings()), 'the settings');
  const made = read(settings());
  assert.deepStrictEqual([made.permissions.defaultMode, made.skipDangerousModePermissionPrompt], ['bypassPermissions', true]);
  assert.deepStrictEqual(Object.keys(made.hooks).sort(), ['PostToolUse', 'PreToolUse', 'SessionEnd', 'Stop', 'UserPromptSubmit']);
  assert.deepStrictEqual(made.hooks.Stop, [{ hooks: [{ type: 'command', command: ours, timeout: 10 }] }]);
  assert.strictEqual(made.hooks.PreToolUse[0].matcher, '*');
  assert.strictEqual(fs.statSync(settings()).mode & 0o777, 0o600);

  const stamp = fs.statSync(settings()).mtimeMs;
  await restart({ CLAUDE_SETTINGS: 'manage' });
  await call('/auth/status');
  const his = {
    model: 'opus', permissions: { defaultMode: 'plan', allow: ['Read'] },
    hooks: { Stop: [{ hooks: [{ type: 'command', command: 'say done' }] }], Notification: [{ hooks: [] }] }, n: 12345678901,
  };
  write(settings(), his);
  fs.chmodSync(settings(), 0o644);
  await restart({ CLAUDE_SETTINGS: 'manage' });
  await until(() => read(settings()).hooks.PreToolUse, 'the hooks');
  const merged = read(settings());
  assert.deepStrictEqual([merged.model, merged.permissions, merged.n, merged.skipDangerousModePermissionPrompt], ['opus', his.permissions, his.n, undefined]);
  assert.deepStrictEqual(merged.hooks.Notification, his.hooks.Notification);
  assert.deepStrictEqual(merged.hooks.Stop.map((g) => g.hooks[0].command), ['say done', ours]);
  assert.strictEqual(fs.statSync(settings()).mode & 0o777, 0o644);
  assert.ok(stamp > 0);

  const unharmed = async (put, check) => {
    fs.rmSync(settings(), { force: true });
    put();
    await restart({ CLAUDE_SETTINGS: 'manage' });
    await (await connect()).turn('hello'); // what happens at the start has happened
    check();
  };
  await unharmed(() => write(settings(), '{"model": // mine\n "x"}'), () => assert.match(fs.readFileSync(settings(), 'utf8'), /mine/));
  write(at('dotfiles.json'), { a: 1 });
  await unharmed(() => fs.symlinkSync(at('dotfiles.json'), settings()), () => {
    assert.ok(fs.lstatSync(settings()).isSymbolicLink());
    assert.deepStrictEqual(read(at('dotfiles.json')), { a: 1 });
  });
  await unharmed(() => write(settings(), { hooks: 5, permissions: 'x' }), () => assert.deepStrictEqual(read(settings()), { hooks: 5, permissions: 'x' }));
  fs.rmSync(settings());
  await restart();
  await (await connect()).turn('hello');
  assert.ok(!fs.existsSync(settings()), 'CLAUDE_SETTINGS=leave');
});

test("the hook: each session of a terminal's Claude Code holds its own lease while its turn lasts, and nothing is printed", async () => {
  fs.copyFileSync(agentBinary, at('bin/cchost-busy'));
  const env = { PATH: `${at('bin')}:${process.env.PATH}`, CCHOST_BUSY_SOCKET: at('busy.sock') };
  const hook = (event, more = env) => {
    const r = spawnSync('sh', ['-c', ours], { input: typeof event === 'string' ? event : JSON.stringify(event), env: more, encoding: 'utf8', timeout: 10e3 });
    assert.deepStrictEqual([r.status, r.stdout, r.stderr], [0, '', ''], JSON.stringify(event).slice(0, 80));
  };
  const [a, b] = ['0b6f2f5e-7d4b-4a0e-9a0f-3f1c9f8f2a11', '1b6f2f5e-7d4b-4a0e-9a0f-3f1c9f8f2a22'];
  hook({ hook_event_name: 'UserPromptSubmit', session_id: a, prompt: 'x\u0000y' });
  hook({ hook_event_name: 'PreToolUse', session_id: b, tool_name: 'Bash', tool_input: { command: 'z'.repeat(1e6) } });
  assert.deepStrictEqual(await leases(), [`claude-turn.${a}`, `claude-turn.${b}`]);
  hook({ hook_event_name: 'Stop', session_id: a });
  const { body } = await call('/activity');
  assert.deepStrictEqual([body.turn, body.leases.map((l) => l.reason)], [true, ['Claude is working']]);
  hook({ hook_event_name: 'Notification', session_id: b });
  hook({ hook_event_name: 'SessionEnd', session_id: b });
  hook({ hook_event_name: 'Stop', session_id: b }); // twice
  assert.strictEqual((await call('/activity')).body.turn, false);
  for (const odd of ['', '{', '[]', 'null', { hook_event_name: 5 }, { hook_event_name: 'PreToolUse', session_id: '../x y' }]) hook(odd);
  assert.deepStrictEqual(await leases(), ['claude-turn'], 'one without a name that can be one');
  hook({ hook_event_name: 'Stop' });
  hook({ hook_event_name: 'UserPromptSubmit', session_id: a }, { ...env, CCHOST_BUSY_SOCKET: at('nobody') });
  hook({ hook_event_name: 'UserPromptSubmit', session_id: a }, { PATH: '/nowhere:/usr/bin:/bin' });
  assert.deepStrictEqual(await leases(), []);
});
