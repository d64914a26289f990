// What a machine says of its use: leases by cchost-busy, and input at a terminal that is not ours.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Server, until } = require('../lib/cchost.js');
const { Terminal } = require('../lib/terminal.js');

let s;
test.before(async () => { s = await Server.start({ terminal_command: 'exec bash --norc' }); });
test.after(() => s.stop());

const made = async (body = {}) => {
  const r = await s.call('POST', '/instances', { network: 'none', ...body });
  assert.strictEqual(r.status, 201, r.text);
  await s.running(r.body.id);
  return r.body.id;
};
const exec = async (id, ...cmd) => {
  const r = await s.call('POST', `/instances/${id}/exec`, { cmd, timeout: 60 });
  assert.strictEqual(r.status, 200, r.text);
  return r.body;
};
const sh = (id, line) => exec(id, 'sh', '-c', line);
const stats = async (id) => {
  const r = await s.call('GET', `/instances/${id}/stats`);
  assert.strictEqual(r.status, 200, r.text);
  return r.body;
};

test('a command under cchost-busy is a lease while it runs', async () => {
  const id = await made();
  assert.deepStrictEqual((await stats(id)).leases, []);
  const before = Date.now();
  const done = exec(id, 'cchost-busy', '-r', 'nightly build', '--', 'sh', '-c', 'while [ ! -e /tmp/go ]; do sleep 0.02; done; echo done; exit 7');
  const [lease] = await until(async () => { const { leases } = await stats(id); return leases.length && leases; }, 'the lease');
  assert.strictEqual(lease.reason, 'nightly build');
  assert.ok(lease.since >= before && lease.since <= Date.now() && lease.until_at === lease.since + 60000, JSON.stringify(lease));
  await sh(id, 'touch /tmp/go');
  const r = await done;
  assert.deepStrictEqual([r.exit, r.stdout, r.stderr], [7, 'done\n', '']);
  assert.deepStrictEqual((await stats(id)).leases, []);
});

test('cchost-busy is found by every kind of shell, and by cmd', async () => {
  const id = await made({ cmd: ['sh', '-c', 'cchost-busy hold --id of-cmd -r "$CCHOST_BUSY_SOCKET"; cchost-busy -- sh -c "touch /tmp/cmd"'] });
  for (const shell of ['sh -c', 'sh -lc', 'bash -c', 'bash -lc']) {
    assert.strictEqual((await sh(id, `${shell} 'command -v cchost-busy; echo $CCHOST_BUSY_SOCKET'`)).stdout, '/run/cchost/bin/cchost-busy\n/run/cchost/busy.sock\n', shell);
  }
  await until(async () => (await sh(id, 'test -e /tmp/cmd')).exit === 0, 'cmd ran');
  // of-cmd is there unless the command was faster than the agent's first breath: then it said so and went on
  const r = await sh(id, 'env -i /run/cchost/bin/cchost-busy hold --id claude-turn -t 10m && cchost-busy list');
  assert.match(r.stdout, /^claude-turn\n(of-cmd\t.*\/run\/cchost\/busy\.sock\n)?claude-turn\t.*held by hand\n$/);
  assert.strictEqual((await stats(id)).turn, true);
  assert.strictEqual((await sh(id, 'cchost-busy release claude-turn')).exit, 0);
  assert.strictEqual((await stats(id)).turn, false);
});

test('from a terminal, with its ^C', async () => {
  const id = await made();
  const tty = await Terminal.open(`${s.url}/instances/${id}/terminal`, { 'X-API-Key': s.key });
  tty.type('cchost-busy -- sleep 1000; echo co""de $?\r');
  const { leases } = await until(async () => { const a = await stats(id); return a.leases.length && a; }, 'the lease');
  assert.strictEqual(leases[0].reason, 'sleep 1000');
  tty.type('\x03');
  await tty.sees(/code 130/);
  assert.deepStrictEqual((await stats(id)).leases, []);
  await tty.close();
});

test('a stop ends all leases', async () => {
  const id = await made();
  assert.strictEqual((await exec(id, 'cchost-busy', 'hold', '-t', '1d')).exit, 0);
  assert.strictEqual((await stats(id)).leases.length, 1);
  await s.call('POST', `/instances/${id}/stop`);
  assert.strictEqual((await s.call('GET', `/instances/${id}/stats`)).status, 409);
  await s.call('POST', `/instances/${id}/start`);
  assert.deepStrictEqual((await stats(id)).leases, []);
});

// A terminal that somebody else made. The kernel notes its input to eight seconds, so this types until it does.
const typing = `
import os, pty, subprocess, time
fd, slave = pty.openpty()
name = os.ttyname(slave)
subprocess.Popen(["sh", "-c", "stty -echo; while read line; do :; done"], stdin=slave, stdout=slave, stderr=slave)
open("/tmp/there", "w").close()
while not os.path.exists("/tmp/type"):
    time.sleep(0.02)
end = time.time() + 30
while os.stat(name).st_atime <= os.stat(name).st_ctime and time.time() < end:
    os.write(fd, b"x\\n")
    time.sleep(0.05)
open("/tmp/typed", "w").close()
while not os.path.exists("/tmp/end"):
    time.sleep(0.02)
`;

test('input at another terminal of the machine counts, its being there does not', async () => {
  const id = await made();
  const done = exec(id, 'python3', '-c', typing);
  await until(async () => (await sh(id, 'test -e /tmp/there')).exit === 0, 'the terminal is there');
  assert.deepStrictEqual([(await stats(id)).last_input_at, (await stats(id)).clients], [undefined, 0]);
  const before = Date.now();
  await sh(id, 'touch /tmp/type');
  await until(async () => (await sh(id, 'test -e /tmp/typed')).exit === 0, 'something was typed', 60);
  const at = (await stats(id)).last_input_at;
  assert.ok(at >= before - 1000 && at <= Date.now(), `${at - before} ms after the first key`);
  await sh(id, 'touch /tmp/end');
  await done;
  assert.strictEqual((await stats(id)).last_input_at, at, 'it is remembered when that terminal has gone');
});
