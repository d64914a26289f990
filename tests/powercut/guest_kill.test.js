// Power cuts that kill -9 of a process cannot show: a small guest is killed under load, with all that its kernel had not
// written to its disk, boots again from the same disk, and must know everything that it had acknowledged.
//
//   GUEST_KILLS=20   GUEST_SEED=N (printed)
// The clients are outside, through a forwarded port of loopback; they and the checks are those of `make crash`. The mock
// inside keeps its machines in memory, so after each boot the provider has lost them, too. Emulated (TCG): any host will do.
'use strict';
const test = require('node:test');
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { Server, until, temp, root, binary } = require('../lib/cchost.js');
const { Random } = require('../crash/random.js');
const { Model } = require('../crash/model.js');
const { Clients } = require('../crash/clients.js');
const { Checker } = require('../crash/checker.js');

const kills = Number(process.env.GUEST_KILLS || 20);
const seed = Number(process.env.GUEST_SEED || Date.now() % 0x7fffffff);
const image = path.join(root, 'build', 'guest');
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

const freePort = () => new Promise((resolve) => {
  const s = net.createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); });
});

// A machine around the server: it is started by power and ended by a cut of it.
class Guest {
  constructor(disk) { this.disk = disk; }

  async boot() {
    this.port = await freePort();
    this.key = 'a-key-of-the-guest';
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 200 });
    this.log = '';
    this.child = spawn('qemu-system-x86_64', ['-accel', 'tcg', '-cpu', 'max', '-m', '512', '-smp', '1', '-display', 'none', '-monitor', 'none',
      '-serial', 'stdio', '-no-reboot', '-kernel', path.join(image, 'vmlinuz'), '-initrd', path.join(image, 'initramfs.gz'),
      '-append', 'console=ttyS0 quiet panic=-1', '-drive', `file=${this.disk},if=virtio,format=raw,cache=writeback`,
      '-netdev', `user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:${this.port}-:8080`, '-device', 'virtio-net-pci,netdev=n'],
    { stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = new Promise((r) => this.child.on('exit', r));
    for (const out of [this.child.stdout, this.child.stderr]) out.on('data', (d) => { this.log += String(d).replace(/\r/g, ''); });
    await until(() => {
      if (this.child.exitCode !== null || /guest: (the server ended|no disk)|Kernel panic/.test(this.log)) throw new Error(`the guest failed:\n${this.log}`);
      return /msg=ready.*\n/.test(this.log);
    }, () => `the guest serves:\n${this.log}`, 120);
    if (!/guest: verified 0/.test(this.log)) throw new Error(`the log does not verify:\n${this.log}`);
  }

  call(...request) { return Server.prototype.call.apply(this, request); }
  ask(...request) { return Server.prototype.ask.apply(this, request); }

  async cut() {
    this.child?.kill('SIGKILL');
    await this.exited;
    this.agent?.destroy();
  }
}

function build() {
  const r = spawnSync(path.join(__dirname, 'guest_image.sh'), [image, binary], { encoding: 'utf8' });
  if (r.status === 77) return r.stdout.trim();
  if (r.status !== 0) throw new Error(r.stdout + r.stderr);
  return null;
}

function makeDisk(dir) {
  const disk = path.join(dir, 'disk.img');
  fs.writeFileSync(disk, '');
  fs.truncateSync(disk, 256 * 1024 * 1024);
  const r = spawnSync('mke2fs', ['-q', '-t', 'ext4', disk], { encoding: 'utf8' });
  if (r.status !== 0) throw new Error(r.stderr);
  return disk;
}

test(`what was acknowledged is there after each of ${kills} power cuts`, async (t) => {
  const lack = build();
  if (lack) return t.skip(lack);
  const dir = temp();
  const random = new Random(seed);
  const model = new Model();
  const clients = new Clients(model, random.fork(), { count: 8 });
  const checker = new Checker(model, {});
  const guest = new Guest(makeDisk(dir));
  t.diagnostic(`GUEST_SEED=${seed} GUEST_KILLS=${kills}`);
  try {
    for (let i = 0; i < kills; i++) {
      await guest.boot();
      await checker.quick(guest);
      const stop = { now: false };
      const work = clients.run(guest, stop);
      work.catch(() => { stop.now = true; }); // told below
      await sleep(random.between(200, 2000));
      stop.now = true;
      await guest.cut();
      await work;
    }
    await guest.boot();
    await checker.quick(guest);
    await until(() => checker.rest(), () => `everything ends: ${checker.restless}`, 120);
    fs.rmSync(dir, { recursive: true, force: true });
  } catch (e) {
    e.message = `seed ${seed}, disk in ${dir}: ${e.message}`;
    throw e;
  } finally {
    await guest.cut();
    t.diagnostic(`${kills} power cuts, ${Object.entries(model.counts).map(([k, v]) => `${v} ${k}`).join(', ')}`);
  }
  return undefined;
});
