// A chat with Claude Code on a real machine, through the host: what users have, but for Claude Code itself (tests/lib/claude.js).
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const WebSocket = require('ws');
const { Server, until } = require('../lib/cchost.js');

const ours = 'command -v cchost-busy >/dev/null && cchost-busy claude-hook || true';

let s, id;
const opened = [];
test.before(async () => {
  s = await Server.start({});
  const r = await s.call('POST', '/instances', { network: 'none', env: { CLAUDE_DOUBLE_LOG: '/tmp/claude.log', CLAUDE_CODE_OAUTH_TOKEN: 'a-token' } });
  assert.strictEqual(r.status, 201, r.text);
  ({ id } = r.body);
  await s.running(id);
});
test.after(async () => {
  for (const ws of opened) ws.terminate();
  await s.stop();
});

const sh = async (line) => {
  const r = await s.call('POST', `/instances/${id}/exec`, { cmd: ['sh', '-c', line], timeout: 60 });
  assert.strictEqual(r.status, 200, r.text);
  assert.strictEqual(r.body.exit, 0, r.body.stderr);
  return r.body.stdout;
};
const get = async (where) => {
  const r = await s.call('GET', `/instances/${id}${where}`);
  assert.strictEqual(r.status, 200, r.text);
  return r.body;
};

async function connect(query = '') {
  const ws = new WebSocket(`${s.url.replace('http', 'ws')}/instances/${id}/chat${query}`, { headers: { 'X-API-Key': s.key } });
  opened.push(ws);
  const c = { ws, got: [] };
  ws.on('message', (d) => c.got.push(JSON.parse(d)));
  await new Promise((resolve, reject) => { ws.on('open', resolve); ws.on('error', reject); });
  c.until = (fn, what) => until(() => c.got.find(fn), `${what}: ${JSON.stringify(c.got).slice(0, 500)}`);
  c.say = (content, more) => ws.send(JSON.stringify({ type: 'message', content, ...more }));
  return c;
}

test('without Claude Code the chat and the status say how to get it', async () => {
  const c = await connect();
  c.say('hello');
  const e = await c.until((m) => m.type === 'error', 'an error');
  assert.match(e.content, /npm install -g --prefix ~\/.local @anthropic-ai\/claude-code/);
  assert.strictEqual((await get('/auth/status')).reason, e.content);
});

test('a turn in a project, its conversation in the list, and the machine in use meanwhile', async () => {
  const double = fs.readFileSync(path.join(__dirname, '../lib/claude.js')).toString('base64');
  await sh(`mkdir -p ~/.local/bin /claude-data/app && echo ${double} | base64 -d >~/.local/bin/claude && chmod +x ~/.local/bin/claude`);
  assert.deepStrictEqual(await get('/auth/status'), { status: 'authenticated', url: null, reason: null });
  const c = await connect();
  c.say('hello', { cwd: '/claude-data/app' });
  assert.match((await c.until((m) => m.type === 'done', 'the end')).content, /before: nothing/);
  const [conversation] = await get('/sessions/app/conversations');
  assert.strictEqual(conversation.title, 'hello');
  c.say('slow');
  await c.until((m) => m.content === 'I begin', 'it is at work');
  const { turn, leases } = await get('/stats');
  assert.deepStrictEqual([turn, leases.map((l) => l.reason)], [true, ['Claude is working']]);
  c.ws.terminate();
  const back = await connect('?cwd=/claude-data/app');
  assert.strictEqual((await back.until((m) => m.type === 'state', 'how it stands')).working, true);
  back.ws.send('{"type":"abort"}');
  await back.until((m) => m.aborted, 'its end');
  await until(async () => !(await get('/stats')).turn, 'no turn goes on');
});

test('the settings that Claude Code reads have the hooks, and the hook works as the user runs it', async () => {
  const settings = JSON.parse(await sh('cat ~/.claude/settings.json'));
  assert.deepStrictEqual([settings.permissions.defaultMode, settings.hooks.Stop[0].hooks[0].command], ['bypassPermissions', ours]);
  assert.strictEqual(await sh(`printf '{"hook_event_name":"UserPromptSubmit","session_id":"s1"}' | sh -c '${ours}'`), '');
  assert.strictEqual((await get('/stats')).turn, true);
  assert.strictEqual(await sh(`printf '{"hook_event_name":"Stop","session_id":"s1"}' | sh -c '${ours}'`), '');
  assert.strictEqual((await get('/stats')).turn, false);
});

test('a pause and a wake: the conversation goes on', async () => {
  for (const act of ['pause', 'wake']) assert.strictEqual((await s.call('POST', `/instances/${id}/${act}?wait=60`)).status, 200, act);
  const c = await connect();
  c.say('again', { cwd: 'app' });
  assert.match((await c.until((m) => m.type === 'done' || m.type === 'error', 'the end')).content, /before: hello, slow\./);
});
