// The agent alone: who may ask it, and what it does with its owner's credentials for Claude.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const WebSocket = require('ws');
const { until, temp, binary } = require('../lib/cchost.js');

const program = path.join(path.dirname(fs.realpathSync(binary)), 'cchost-agent');
const agentBinary = fs.existsSync(program) ? program : path.join(__dirname, '../../build', process.env.V || 'release', 'cchost-agent');

const secret = crypto.randomBytes(32).toString('hex');
const key = crypto.createHash('sha256').update(secret).digest('hex');
const bearer = { Authorization: `Bearer ${secret}` };

let dir, home, sock, child, said = '';
const at = (name) => path.join(home, name);
const read = (name) => JSON.parse(fs.readFileSync(at(name), 'utf8'));
const mode = (name) => fs.statSync(at(name)).mode & 0o777;

async function begin() {
  fs.rmSync(sock, { force: true });
  child = spawn(agentBinary, ['--listen', sock, '--busy', path.join(dir, 'busy.sock'), '--key', key,
    '--shell', 'echo "<${CLAUDE_CODE_OAUTH_TOKEN-none}|${ANTHROPIC_API_KEY-none}>"; exec cat'],
  { stdio: ['ignore', 'inherit', 'pipe'], env: { PATH: process.env.PATH, HOME: home } });
  child.stderr.on('data', (d) => { said += d; });
  await until(() => call('GET', '/healthz').catch(() => false), 'it answers'); // its file is there before it listens
}
async function end() {
  const ended = new Promise((r) => child.on('exit', r));
  child.kill();
  await ended;
}
test.before(async () => {
  dir = temp();
  home = path.join(dir, 'home');
  fs.mkdirSync(home);
  sock = path.join(dir, 'a.sock');
  await begin();
});
test.after(async () => {
  await end();
  fs.rmSync(dir, { recursive: true, force: true });
});

function call(method, where, body, headers = bearer) {
  return new Promise((resolve, reject) => {
    const req = http.request({ socketPath: sock, method, path: where, agent: false, headers }, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; });
      res.on('end', () => resolve({ status: res.statusCode, body: JSON.parse(text) }));
    });
    req.on('error', reject);
    req.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const refused = { status: 401, body: { code: 'unauthorized', error: 'unauthorized' } };

test('B38: the secret is wanted of everything but the health, and the health wants none', async () => {
  assert.strictEqual((await call('GET', '/healthz', undefined, {})).status, 200);
  const wrong = [{}, { Authorization: secret }, { Authorization: 'Bearer ' }, { Authorization: `Bearer ${secret.slice(0, -1)}` },
    { Authorization: `Bearer ${secret}0` }, { Authorization: `Bearer ${key}` }, { Authorization: `Basic ${secret}` }, { Authorization: `Bearer ${secret.toUpperCase()}` }];
  for (const headers of wrong) {
    for (const [method, where] of [['GET', '/activity'], ['POST', '/exec'], ['PUT', '/auth/credentials'], ['GET', '/ws'], ['GET', '/nothing'], ['POST', '/healthz'], ['GET', `/activity?secret=${secret}`]]) {
      const r = await call(method, where, method === 'GET' ? undefined : {}, headers);
      assert.deepStrictEqual(r, refused, `${method} ${where} ${JSON.stringify(headers)}`);
    }
  }
  assert.strictEqual((await call('GET', '/activity')).status, 200);
  assert.strictEqual((await call('GET', '/nothing')).status, 404);
});

test('B38: nobody is upgraded without it, and no address has it', async () => {
  for (const [where, headers] of [['/ws', {}], [`/ws?secret=${secret}`, {}], ['/ws', { Authorization: `Bearer ${key}` }]]) {
    const ws = new WebSocket(`ws+unix://${sock}:${where}`, ['tty'], { headers });
    const status = await new Promise((resolve, reject) => {
      ws.on('unexpected-response', (req, res) => { res.resume(); resolve(res.statusCode); });
      ws.on('open', () => reject(new Error(`${where} was opened`)));
      ws.on('error', reject);
    });
    assert.strictEqual(status, 401, where);
    ws.terminate();
  }
  assert.strictEqual((await call('GET', '/activity')).body.clients, 0);
});

test('B38: what the machine can read of it opens nothing', () => {
  const told = ['cmdline', 'environ'].map((f) => fs.readFileSync(`/proc/${child.pid}/${f}`, 'latin1')).join('');
  assert.ok(told.includes(key) && !told.includes(secret));
});

test('a key that is none starts no agent that would ask for nothing', () => {
  for (const bad of ['', key.slice(1), key.toUpperCase(), `${key}0`]) {
    assert.strictEqual(spawnSync(agentBinary, ['--listen', path.join(dir, 'b.sock'), '--key', bad]).status, 2, bad);
  }
});

// What a terminal that begins now has in its environment.
async function environment() {
  const ws = new WebSocket(`ws+unix://${sock}:/ws`, ['tty'], { headers: bearer });
  let text = '';
  ws.on('message', (d) => { if (d[0] === 0x30) text += d.subarray(1); });
  await new Promise((resolve, reject) => { ws.on('open', resolve); ws.on('error', reject); });
  ws.send('{"columns":200,"rows":24}');
  await until(() => /<.*>\r/.test(text), () => text);
  const closed = new Promise((r) => ws.on('close', r));
  ws.close();
  await closed;
  await until(async () => (await call('GET', '/activity')).body.clients === 0, 'no client is left');
  return /<(.*)\|(.*)>/.exec(text).slice(1);
}

const api = 'sk-ant-api03-0123456789', oauth = 'sk-ant-oat01-abcdefgh';
const put = (values) => call('PUT', '/auth/credentials', values);
const saved = '.config/cchost/claude.json', login = '.claude/.credentials.json', config = '.claude.json';

test('credentials: files for the user alone, the environment of what begins then, and nothing left when they go', async () => {
  assert.deepStrictEqual(await environment(), ['none', 'none']);
  assert.deepStrictEqual(await put({ anthropic_api_key: api }), { status: 200, body: { auth_method: 'api_key' } });
  assert.deepStrictEqual(read(saved), { anthropic_api_key: api });
  assert.ok(!fs.existsSync(at(login)));
  assert.strictEqual(read(config).hasCompletedOnboarding, true);
  assert.deepStrictEqual(await environment(), ['none', api]);

  assert.strictEqual((await put({ anthropic_api_key: api, claude_oauth_token: oauth })).body.auth_method, 'oauth');
  assert.strictEqual(read(login).claudeAiOauth.accessToken, oauth);
  assert.ok(read(login).claudeAiOauth.expiresAt > Date.now());
  assert.deepStrictEqual(await environment(), [oauth, 'none']);
  for (const name of [saved, login, config]) assert.strictEqual(mode(name), 0o600, name);
  for (const name of ['.config/cchost', '.claude']) assert.strictEqual(mode(name), 0o700, name);

  await end(); // the agent's own restart keeps them
  await begin();
  assert.deepStrictEqual(await environment(), [oauth, 'none']);

  assert.strictEqual((await put({ claude_oauth_token: `${oauth}2`, anthropic_api_key: null })).status, 200);
  assert.strictEqual(read(login).claudeAiOauth.accessToken, `${oauth}2`);
  assert.deepStrictEqual(await put({}), { status: 200, body: { auth_method: 'none' } });
  assert.strictEqual((await put({})).status, 200);
  for (const name of [saved, login]) assert.ok(!fs.existsSync(at(name)), name);
  assert.deepStrictEqual(await environment(), ['none', 'none']);
  assert.deepStrictEqual([...fs.readdirSync(at('.claude')), ...fs.readdirSync(at('.config/cchost'))], []);
});

test("credentials: the user's own log-in and settings stay as they are", async () => {
  fs.writeFileSync(at(login), '{"claudeAiOauth":{"accessToken":"his own"}}');
  fs.writeFileSync(at(config), '{"theme":"dark","projects":{"/a":{"n":1}}}');
  assert.strictEqual((await put({ claude_oauth_token: oauth })).status, 200);
  assert.strictEqual(read(login).claudeAiOauth.accessToken, 'his own');
  assert.deepStrictEqual(read(config), { theme: 'dark', projects: { '/a': { n: 1 } }, hasCompletedOnboarding: true });
  assert.deepStrictEqual(await environment(), [oauth, 'none']);
  assert.strictEqual((await put({})).status, 200);
  assert.strictEqual(read(login).claudeAiOauth.accessToken, 'his own');

  fs.writeFileSync(at(config), 'no JSON');
  assert.strictEqual((await put({ claude_oauth_token: oauth })).status, 200);
  assert.strictEqual(fs.readFileSync(at(config), 'utf8'), 'no JSON');
  assert.strictEqual((await put({})).status, 200);
});

test('credentials: what is none is refused, and changes nothing', async () => {
  assert.strictEqual((await put({ anthropic_api_key: api })).status, 200);
  for (const bad of [[], 'x', { anthropic_api_key: 1 }, { anthropic_api_key: '' }, { claude_oauth_token: 'a b' }, { claude_oauth_token: 'a\nb' },
    { claude_oauth_token: 'é' }, { claude_oauth_token: 'x'.repeat(1025) }, { anthropic_api_key: 'a\0b' }]) {
    assert.strictEqual((await put(bad)).status, 400, JSON.stringify(bad).slice(0, 60));
  }
  assert.deepStrictEqual(read(saved), { anthropic_api_key: api });
  assert.strictEqual((await put({})).status, 200);
});

test('credentials: a home that cannot be written is told of, and no part of a file stays', async () => {
  fs.rmSync(at('.config'), { recursive: true });
  fs.writeFileSync(at('.config'), '');
  assert.strictEqual((await put({ anthropic_api_key: api })).status, 500);
  assert.strictEqual((await put({})).status, 200);
  assert.deepStrictEqual(fs.readdirSync(home).sort(), ['.claude', '.claude.json', '.config']);
  fs.rmSync(at('.config'));
  assert.strictEqual((await put({ anthropic_api_key: api })).status, 200);
});

test('nothing of all that was said aloud', () => {
  for (const word of [secret, api, oauth]) assert.ok(!said.includes(word));
});
