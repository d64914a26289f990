// As a service: sockets that somebody else bound, and what is told to who supervises (sd_listen_fds(3), sd_notify(3)).
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');

test('a socket of systemd is taken, and it hears that we are ready, alive, another process, and at the end', async () => {
  const dir = temp();
  let out = '', err = '';
  const child = spawn('python3', [path.join(__dirname, '..', 'lib', 'supervisor.py'), dir, binary, 'serve', `--data-dir=${dir}/data`, '--provider=mock'],
    { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { err += d; });
  const exited = new Promise((r) => child.on('exit', r));
  const says = async (pattern) => { await until(() => pattern.test(out), () => `${pattern} in ${out}${err}`); return pattern.exec(out); };
  const port = Number((await says(/^port (\d+)$/m))[1]);
  const pid = Number((await says(/^pid (\d+) said READY=1$/m))[1]);
  await says(new RegExp(`^pid ${pid} said STATUS=serves at http://127.0.0.1:${port}$`, 'm'));
  await says(new RegExp(`^pid ${pid} said WATCHDOG=1$`, 'm'));

  const s = new Server();
  Object.assign(s, { dir: `${dir}/data`, port, child: { pid }, exited, agent: new http.Agent() });
  s.key = fs.readFileSync(`${dir}/data/api_key`, 'utf8').trim();
  assert.strictEqual((await s.call('GET', '/healthz')).status, 200);
  const { code, told } = await s.upgrade();
  assert.strictEqual(code, 0);
  await says(new RegExp(`^pid ${pid} said MAINPID=${told.to.pid}$`, 'm'));
  await says(new RegExp(`^pid ${told.to.pid} said READY=1$`, 'm'));
  await says(new RegExp(`^pid ${told.to.pid} said WATCHDOG=1$`, 'm'));
  assert.strictEqual((await s.call('GET', '/healthz')).status, 200);
  assert.strictEqual(await exited, 0, 'the old one ends in peace');

  // the supervisor of the test has ended with its child; the new process lives on, and ends when it is told to
  s.child.kill('SIGTERM');
  await s.exited;
  assert.doesNotMatch(err, /left open|would not end/);
  fs.rmSync(dir, { recursive: true, force: true });
});
