// Machines of `local` by cchost-spawner: it stands elsewhere than the server, which may gain no privileges and has a filter, and what it
// starts is as it is. systemd's own systemd-socket-activate stands in for the units (those: tests/service/package).
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { Server, until, temp, binary, root } = require('../lib/cchost.js');

const built = path.join(root, 'build', process.env.V || 'release');
const spawner = path.join(built, 'cchost-spawner'), launcher = path.join(built, 'cchost-launch');
const statusOf = (pid) => Object.fromEntries(fs.readFileSync(`/proc/${pid}/status`, 'utf8').split('\n').map((l) => l.split(':\t')));
const parentOf = (pid) => Number(statusOf(pid).PPid);

class Listener {
  static async start() {
    const l = new Listener();
    l.dir = temp();
    l.at = path.join(l.dir, 'spawner.sock');
    l.child = spawn('setsid', ['systemd-socket-activate', '--accept', '--inetd', `--listen=${l.at}`, spawner, launcher], { stdio: ['ignore', 'ignore', 'pipe'] });
    l.log = '';
    l.child.stderr.on('data', (d) => { l.log += d; });
    l.exited = new Promise((r) => l.child.on('exit', r));
    await until(() => fs.existsSync(l.at), () => `the socket is there: ${l.log}`);
    return l;
  }

  // The spawners that look after something.
  spawners() {
    return fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p)).map(Number).filter((pid) => {
      try { return fs.readlinkSync(`/proc/${pid}/exe`) === spawner && parentOf(pid) === this.child.pid; } catch { return false; }
    });
  }

  async stop() {
    try { await until(() => this.spawners().length === 0, () => `no spawner is left: ${this.spawners()}`); } finally {
      this.child.kill();
      await this.exited;
      fs.rmSync(this.dir, { recursive: true });
    }
  }
}

const pidOf = (s, short) => Number(/^\d+/.exec(fs.readFileSync(path.join(s.dir, 'local', 'machines', short, 'lock'), 'utf8'))[0]);
const make = (s, name) => s.call('POST', '/instances', { name, network: 'none' });
const exec = async (s, name, script) => (await s.call('POST', `/instances/${name}/exec`, { cmd: ['sh', '-c', script] })).body.stdout;

test('a machine is its spawner\'s child, without the server\'s fetters, and outlives the server', async () => {
  const l = await Listener.start();
  const s = await Server.start({ provider: 'local', local_spawner: l.at }, null, { wrap: ['setpriv', '--no-new-privs'] });
  try {
    const { body: m } = await make(s, 'first');
    await s.running('first');
    const pid = pidOf(s, m.short);
    const [one, ...more] = l.spawners();
    assert.deepStrictEqual(more, []);
    assert.strictEqual(parentOf(pid), one);
    assert.strictEqual(statusOf(s.child.pid).NoNewPrivs, '1');
    assert.strictEqual(statusOf(one).NoNewPrivs, '0');
    assert.notStrictEqual(fs.readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1].split(' ')[3], fs.readFileSync(`/proc/${s.child.pid}/stat`, 'utf8').split(') ')[1].split(' ')[3]); // sessions
    assert.strictEqual(await exec(s, 'first', 'echo kept >/tmp/kept; echo $((6*7))'), '42\n');
    await s.kill();
    await s.launch();
    await s.running('first');
    assert.strictEqual(await exec(s, 'first', 'cat /tmp/kept'), 'kept\n');
    assert.strictEqual(pidOf(s, m.short), pid);
    assert.strictEqual((await s.call('POST', '/instances/first/stop')).body.status, 'STOPPED');
    await until(() => l.spawners().length === 0, 'its spawner has ended');
    assert.strictEqual((await s.call('POST', '/instances/first/start')).body.status, 'RUNNING');
  } finally {
    await s.stop();
    await l.stop();
  }
});

test('a server that is killed while machines are made: they are finished or gone, and so are the spawners', async () => {
  const l = await Listener.start();
  const s = await Server.start({ provider: 'local', local_spawner: l.at });
  try {
    const names = ['a', 'b', 'c', 'd', 'e'];
    names.map((name) => make(s, name).catch(() => {}));
    await until(() => l.spawners().length > 0, 'one is being made');
    await s.kill();
    await s.launch();
    const { body } = await s.call('GET', '/instances');
    for (const m of body) await s.running(m.id, 60);
    await until(() => l.spawners().length === body.length, () => `${body.length} machines, ${l.spawners().length} spawners`);
  } finally {
    await s.stop();
    await l.stop();
  }
});

test('where the spawner is not there, that is what the operator is told', async () => {
  const dir = temp();
  try {
    const at = path.join(dir, 'nobody.sock');
    const check = spawnSync(binary, ['provider', 'check', 'local', `--local-spawner=${at}`, `--data-dir=${dir}`], { encoding: 'utf8', cwd: dir });
    assert.strictEqual(check.status, 1, check.stdout + check.stderr);
    assert.ok(check.stdout.includes(`the spawner at ${at}: No such file or directory`), check.stdout);
    const s = await Server.start({ provider: 'local', local_spawner: at });
    try {
      const { body: m } = await make(s, 'none');
      await until(async () => ['ERROR', undefined].includes(await s.status(m.id)), 'it is refused');
    } finally { await s.stop(); }
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

// What a connection is told, and what the spawner says of it.
function ask(bytes, options, program = spawner) {
  const r = spawnSync('python3', ['-c', `
import os, socket, subprocess, sys
a, b = socket.socketpair()
p = subprocess.Popen(sys.argv[1:], stdin=b, stderr=subprocess.PIPE, **(${options || '{}'}))
b.close()
said = b""
try:
    a.sendall(bytes.fromhex(${JSON.stringify(Buffer.from(bytes).toString('hex'))}))
    a.shutdown(socket.SHUT_WR)
    said = a.recv(1000)
except OSError:
    pass # it has ended already
print(said.decode().split(' ')[0], p.wait(), p.stderr.read().decode())`, program, launcher], { encoding: 'utf8' });
  assert.strictEqual(r.status, 0, r.stderr);
  return r.stdout.trim();
}

test('the spawner serves its own user alone, and takes no request that is none', () => {
  const of = (text, length = text.length) => { const b = Buffer.alloc(4 + text.length); b.writeUInt32LE(length); b.write(text, 4); return b; };
  assert.match(ask(''), /^cchost-spawner 0$/); // who only wants to know
  assert.match(ask(of('arg\0run\0', 5000)), /^cchost-spawner 1 cchost-spawner: no request/);
  assert.match(ask(of('arg\0run\0', 500)), / 1 cchost-spawner: the request ended early/);
  assert.match(ask(of('arg')), / 1 cchost-spawner: a key without its value/);
  assert.match(ask(of('program\0/bin/sh\0')), / 1 cchost-spawner: what is "program"\?/);
  assert.match(ask(of('arg\0x\0set\0../cgroup.procs=0\0')), / 1 cchost-spawner: no setting of a group/);
  assert.match(ask(of('set\0pids.max=1\0')), / 1 cchost-spawner: no arguments/);
  const pipe = spawnSync(spawner, [launcher], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  assert.match(pipe.stderr, /standard input is no connection/);
  if (process.getuid() === 0) { // where another may execute it
    const dir = temp();
    fs.chmodSync(dir, 0o755);
    fs.copyFileSync(spawner, path.join(dir, 'cchost-spawner'));
    assert.match(ask('', '{"user": 65534}', path.join(dir, 'cchost-spawner')), /cchost-spawner: uid 0 may not have machines started here/);
    fs.rmSync(dir, { recursive: true });
  }
});
