// cchost-agent health: what an image's HEALTHCHECK asks of the agent from inside.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { Agent, program } = require('../lib/real_agent.js');
const { temp } = require('../lib/cchost.js');

const health = (...args) => new Promise((resolve) => {
  execFile(program, ['health', ...args], (e, out, err) => resolve({ code: e ? e.code : 0, out, err }));
});

test('one that answers is well, and says what it is; its key is not asked for', async () => {
  const a = await Agent.start(['--key', 'a'.repeat(64)]);
  const r = await health(a.sock);
  assert.deepStrictEqual([r.code, JSON.parse(r.out).status, r.err], [0, 'ok', '']);
  await a.stop();
});

test('one that is stopped is not well, in time, and is again once it goes on', async () => {
  const a = await Agent.start();
  a.child.kill('SIGSTOP');
  const began = Date.now(), r = await health(a.sock);
  assert.deepStrictEqual([r.code, r.out], [1, '']);
  assert.match(r.err, /timed out/);
  assert.ok(Date.now() - began < 5000, 'before the HEALTHCHECK itself is out of patience');
  a.child.kill('SIGCONT');
  assert.strictEqual((await health(a.sock)).code, 0);
  await a.stop();
});

test('where nobody is it says so', async () => {
  const dir = temp();
  const at = path.join(dir, 's');
  const r = await health(at);
  assert.deepStrictEqual([r.code, r.out, r.err], [1, '', `cchost-agent: ${at}: No such file or directory\n`]);
  fs.writeFileSync(at, '');
  assert.strictEqual((await health(at)).code, 1);
  assert.strictEqual((await health(`/${'x'.repeat(200)}`)).code, 2);
  assert.strictEqual((await health(at, 'more')).code, 2);
  fs.rmSync(dir, { recursive: true });
});

// init holds the socket: a connection waits there for the agent that is just beginning.
test('one that begins is waited for; another answer than 200 is no health', async () => {
  const dir = temp();
  const at = path.join(dir, 's');
  let say;
  const server = net.createServer((c) => c.on('data', () => say(c)));
  await new Promise((ok) => { server.listen(at, ok); });
  say = (c) => setTimeout(() => c.end('HTTP/1.1 200 OK\r\n\r\n{}'), 1000);
  assert.deepStrictEqual(await health(at), { code: 0, out: '{}\n', err: '' });
  say = (c) => c.end('HTTP/1.1 503 Service Unavailable\r\n\r\n{"error":"the agent is being updated"}');
  assert.deepStrictEqual(await health(at), { code: 1, out: '{"error":"the agent is being updated"}\n', err: '' });
  say = (c) => c.end();
  assert.strictEqual((await health(at)).code, 1);
  await new Promise((ok) => { server.close(ok); });
  fs.rmSync(dir, { recursive: true });
});
