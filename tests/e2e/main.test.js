// The main job without any double: a real server, a `local` machine, a third-party WebSocket client.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { Server } = require('../lib/cchost.js');
const { Terminal } = require('../lib/terminal.js');
const { traces } = require('../lib/traces.js');

test('from an HTTP call to a shell, through stop and start, to nothing left', async () => {
  const s = await Server.start();
  const before = traces(s.dir);
  const r = await s.call('POST', '/instances', { name: 'box' });
  assert.strictEqual(r.status, 201, r.text);
  assert.strictEqual(r.body.status, 'STARTING');
  const where = `${s.url}/instances/box/terminal`;
  const auth = { 'X-API-Key': s.key };

  let t = await Terminal.open(where, auth);
  t.type('echo $((6*7)); echo kept > /claude-data/file; stty size\r');
  await t.sees(/\r42\r\n/);
  await t.sees(/24 80/);
  t.resize(100, 30);
  t.type('stty size\r');
  await t.sees(/30 100/);
  await t.close();

  let x = await s.call('POST', '/instances/box/stop');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'STOPPED'], x.text);
  assert.deepStrictEqual(traces(s.dir).processes, before.processes, 'stop frees the processes');
  await assert.rejects(Terminal.open(where, auth), { status: 409 });
  x = await s.call('POST', '/instances/box/start');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'RUNNING'], x.text);

  t = await Terminal.open(where, auth);
  t.type('cat /claude-data/file\r');
  await t.sees(/\rkept\r\n/);
  t.type('exit 0\r');
  await t.closed;
  assert.strictEqual(t.code, 1000);

  x = await s.call('POST', '/instances/box/exec', { cmd: ['sh', '-c', 'cat; echo out; echo err >&2; exit 3'] });
  assert.deepStrictEqual([x.status, x.body.exit, x.body.stdout, x.body.stderr], [200, 3, 'out\n', 'err\n'], x.text);

  x = await s.call('DELETE', '/instances/box');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'DELETED'], x.text);
  assert.deepStrictEqual(traces(s.dir), before, 'no process, mount, cgroup or socket remains');
  await s.stop();
  assert.ok(!fs.existsSync(s.dir));
});

test('a terminal needs a credential and an upgrade', async () => {
  const s = await Server.start();
  const { body } = await s.call('POST', '/instances', {});
  const where = `${s.url}/instances/${body.id}/terminal`;
  await assert.rejects(Terminal.open(where), { status: 401 });
  await assert.rejects(Terminal.open(where, { 'X-API-Key': 'wrong' }), { status: 401 });
  assert.strictEqual((await s.call('GET', `/instances/${body.id}/terminal`)).status, 426);
  assert.strictEqual((await s.call('DELETE', `/instances/${body.id}`)).status, 200);
  await s.stop();
});
