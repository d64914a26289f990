// Machines that cchost-spawner starts where control groups are v2, and delegated to its unit: what a machine may take is held by them.
// In an emulated guest, as this host may have v1.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { Server, until, temp, root, binary } = require('../../lib/cchost.js');

const built = path.join(root, 'build', process.env.V || 'release');
const freePort = () => new Promise((resolve) => {
  const s = net.createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); });
});

class Guest {
  async boot(image) {
    this.port = await freePort();
    this.key = 'a-key-of-the-guest';
    this.agent = new http.Agent({ keepAlive: true });
    this.log = '';
    this.child = spawn('qemu-system-x86_64', ['-accel', 'tcg', '-cpu', 'max', '-m', '1400', '-smp', '1', '-display', 'none', '-monitor', 'none', '-serial', 'stdio',
      '-no-reboot', '-kernel', path.join(image, 'vmlinuz'), '-initrd', path.join(image, 'initramfs.gz'), '-append', 'console=ttyS0 quiet panic=-1',
      '-netdev', `user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:${this.port}-:8080`, '-device', 'virtio-net-pci,netdev=n'], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = new Promise((r) => this.child.on('exit', r));
    for (const out of [this.child.stdout, this.child.stderr]) out.on('data', (d) => { this.log += String(d).replace(/\r/g, ''); });
    await this.says(/msg=ready.*\n/, 180);
  }

  says(pattern, seconds = 60) {
    return until(() => {
      assert.ok(this.child.exitCode === null && !/Kernel panic|guest: the server ended/.test(this.log), this.log);
      return pattern.exec(this.log);
    }, () => `${pattern} in\n${this.log.slice(-4000)}`, seconds);
  }

  call(...request) { return Server.prototype.call.apply(this, request); }
  ask(...request) { return Server.prototype.ask.apply(this, request); }

  async end() {
    this.child.kill('SIGKILL');
    await this.exited;
    this.agent.destroy();
  }
}

test('a machine by the spawner is held to its memory, its processes and its share of the processor, by groups of v2', async (t) => {
  const dir = temp();
  const made = spawnSync(path.join(__dirname, 'image.sh'), [dir, binary, path.join(built, 'cchost-spawner'), path.join(built, 'cchost-launch')], { encoding: 'utf8' });
  if (made.status === 77) return t.skip(made.stdout.trim());
  assert.strictEqual(made.status, 0, made.stdout + made.stderr);
  const g = new Guest();
  try {
    await g.boot(dir);
    const { status, body: m } = await g.call('POST', '/instances?wait=60', { name: 'near', network: 'none', type: 'tiny' });
    assert.deepStrictEqual([status, m.status], [201, 'RUNNING'], JSON.stringify(m) + g.log.slice(-3000));
    const held = ['memory_mib', 'vcpu', 'pids'];
    assert.deepStrictEqual((m.unenforced || []).map((u) => u.what).filter((w) => held.includes(w)), [], JSON.stringify(m.unenforced));
    await g.says(new RegExp(`guest: memory.max=${512 * 1024 * 1024}\n`));
    await g.says(/guest: pids\.max=4096\n/);
    await g.says(/guest: cpu\.max=100000 100000\n/);
    await g.says(/guest: units 1\n/);
    const exec = async (script) => (await g.call('POST', '/instances/near/exec', { cmd: ['sh', '-c', script], timeout: 90 })).body;
    assert.match((await exec('cat /proc/self/cgroup')).stdout, /^0::\/$/m); // its own is the top of what it sees
    const hog = await exec('head -c 700m /dev/zero | tail -c 690m | wc -c');
    assert.notStrictEqual(hog.stdout.trim(), String(690 * 1024 * 1024), 'more than its memory was given to it');
    assert.match(await (async () => JSON.stringify(await exec('echo alive')))(), /alive/);
    assert.strictEqual((await g.call('DELETE', '/instances/near')).status < 300, true);
    await until(() => /guest: units 0\n$/.test(g.log.slice(0, g.log.lastIndexOf('\n') + 1)), 'its unit is empty', 60);
  } finally {
    await g.end();
    fs.rmSync(dir, { recursive: true });
  }
  return undefined;
});
