// The main job without any double: a real server, a `local` machine, a third-party WebSocket client.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { Server } = require('../lib/cchost.js');
const { Terminal } = require('../lib/terminal.js');
const { traces } = require('../lib/traces.js');

const shell = 'exec bash --norc';

test('from an HTTP call to a shell, through stop and start, to nothing left', async (t) => {
  const s = await Server.start({ terminal_command: shell });
  t.after(() => s.stop());
  const r = await s.call('POST', '/instances', { name: 'box' });
  assert.strictEqual(r.status, 201, r.text);
  assert.strictEqual(r.body.status, 'STARTING');
  const left = () => traces(s.dir, [r.body.short]);
  const where = `${s.url}/instances/box/terminal`;
  const auth = { 'X-API-Key': s.key };

  let tty = await Terminal.open(where, auth);
  tty.type('echo $((6*7)); echo kept > /claude-data/file; stty size\r');
  await tty.sees(/\r42\r\n/);
  await tty.sees(/24 80/);
  tty.resize(100, 30);
  tty.type('stty size\r');
  await tty.sees(/30 100/);
  await tty.close();

  let x = await s.call('POST', '/instances/box/stop');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'STOPPED'], x.text);
  assert.deepStrictEqual([left().processes, left().cgroups], [[], []], 'stop frees the processes');
  await assert.rejects(Terminal.open(`${where}?wake=false`, auth), { status: 409 });
  x = await s.call('POST', '/instances/box/start');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'RUNNING'], x.text);

  tty = await Terminal.open(where, auth);
  tty.type('cat /claude-data/file\r');
  await tty.sees(/\rkept\r\n/);
  tty.type('exit 0\r');
  await tty.closed;
  assert.strictEqual(tty.code, 1000);

  x = await s.call('POST', '/instances/box/exec', { cmd: ['sh', '-c', 'cat; echo out; echo err >&2; exit 3'] });
  assert.deepStrictEqual([x.status, x.body.exit, x.body.stdout, x.body.stderr], [200, 3, 'out\n', 'err\n'], x.text);

  x = await s.call('DELETE', '/instances/box');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'DELETED'], x.text);
  assert.deepStrictEqual(left(), { processes: [], mounts: [], sockets: [], cgroups: [] }, 'nothing remains');
});

test('a terminal needs a credential and an upgrade', async (t) => {
  const s = await Server.start({ terminal_command: shell });
  t.after(() => s.stop());
  const { body } = await s.call('POST', '/instances', {});
  const where = `${s.url}/instances/${body.id}/terminal`;
  await assert.rejects(Terminal.open(where), { status: 401 });
  await assert.rejects(Terminal.open(where, { 'X-API-Key': 'wrong' }), { status: 401 });
  assert.strictEqual((await s.call('GET', `/instances/${body.id}/terminal`)).status, 426);
  assert.strictEqual((await s.call('DELETE', `/instances/${body.id}`)).status, 200);
});

test('a terminal of a machine that is stopped or deleted is told why it ends', async (t) => {
  const s = await Server.start({ terminal_command: shell });
  t.after(() => s.stop());
  const { body } = await s.call('POST', '/instances', {});
  const auth = { 'X-API-Key': s.key };
  for (const [method, where, word] of [['POST', '/stop', /stopped/], ['DELETE', '', /deleted/]]) {
    const tty = await Terminal.open(`${s.url}/instances/${body.id}/terminal`, auth);
    await tty.sees(/\$|#/);
    await s.call(method, `/instances/${body.id}${where}`);
    await tty.closed;
    assert.strictEqual(tty.code, 1001);
    assert.match(tty.reason, word);
    if (method === 'POST') await s.call('POST', `/instances/${body.id}/start`);
  }
});

test('by default a terminal is tmux where there is one, and its session outlives the connection', {
  skip: fs.existsSync('/usr/bin/tmux') && !fs.existsSync('/usr/bin/zellij') ? false : 'no tmux (or a zellij) on this host',
}, async (t) => {
  const s = await Server.start();
  t.after(() => s.stop());
  const { body } = await s.call('POST', '/instances', {});
  const where = `${s.url}/instances/${body.id}/terminal`;
  const auth = { 'X-API-Key': s.key };
  let tty = await Terminal.open(where, auth);
  await tty.sees(/\[claude\]/);
  tty.type('mine=kept-$((6*7)); echo se""t\r');
  await tty.sees(/set/);
  await tty.close();
  tty = await Terminal.open(where, auth);
  await tty.sees(/\[claude\]/);
  tty.type('echo $mine\r');
  await tty.sees(/kept-42/);
  await tty.close();
  assert.strictEqual((await s.call('DELETE', `/instances/${body.id}`)).status, 200);
});
