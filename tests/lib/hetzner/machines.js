// What runs in the double's servers: an sshd each, on an address of 127/8, in namespaces of its own (machine.sh). As root.
//
//   const machines = new Machines(dir)    await machines.start(server, volumes)    .stop(id)    .attach(server, volume)    .forget(volume)
//   machines.refuse = true     no sshd comes up: a server that cannot be logged in to
// A server's disk is a directory, which nixos-anywhere's double (nixos-anywhere, beside this) may install a NixOS on: from its next boot
// on the machine is that. Snapshots are copies of it.
// What cloud-init would do is done from user_data: the host key, the user's keys, the volumes. A volume is a directory.
'use strict';
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { until } = require('../cchost.js');

// The cloud-config that the driver wrote, also out of several parts.
function cloudConfig(text) {
  const at = text.indexOf('#cloud-config\n{');
  if (at < 0) throw new Error('user_data has no cloud-config of ours');
  return JSON.parse(text.slice(at).split('\n')[1]);
}

class Machines {
  constructor(dir) {
    this.dir = dir;
    this.running = new Map();
    process.on('exit', () => { for (const c of this.running.values()) c.kill('SIGKILL'); });
  }

  volumeDir(v) {
    const d = path.join(this.dir, `volume-${v.id}`);
    fs.mkdirSync(d, { recursive: true });
    return d;
  }

  forget(v) { fs.rmSync(path.join(this.dir, `volume-${v.id}`), { recursive: true, force: true }); }

  diskDir(s) {
    const d = path.join(this.dir, `disk-${s.id}`);
    if (!fs.existsSync(d)) {
      fs.mkdirSync(d, { recursive: true });
      if (s.image.type === 'snapshot') fs.cpSync(path.join(this.dir, `image-${s.image.id}`), d, { recursive: true });
    }
    return d;
  }

  copyDisk(s, img) { fs.cpSync(this.diskDir(s), path.join(this.dir, `image-${img.id}`), { recursive: true }); }
  forgetImage(img) { fs.rmSync(path.join(this.dir, `image-${img.id}`), { recursive: true, force: true }); }

  async remove(id) {
    await this.stop(id);
    fs.rmSync(path.join(this.dir, `disk-${id}`), { recursive: true, force: true });
  }

  prepare(s) {
    const dir = path.join(this.dir, `server-${s.id}`);
    const conf = cloudConfig(s.userData);
    fs.mkdirSync(dir, { recursive: true });
    fs.writeFileSync(path.join(dir, 'host.key'), conf.ssh_keys.ecdsa_private);
    fs.writeFileSync(path.join(dir, 'host.pub'), `${conf.ssh_keys.ecdsa_public}\n`);
    fs.writeFileSync(path.join(dir, 'root.pub'), `${s.sshKeys.join('\n')}\n`);
    fs.writeFileSync(path.join(dir, 'claude.pub'), conf.users[0].ssh_authorized_keys.map((k) => `${k}\n`).join(''));
    return { dir, conf };
  }

  async start(s, volumes) {
    if (this.refuse || this.running.has(s.id)) return;
    const { dir, conf } = this.prepare(s);
    const address = s.public_net.ipv4.ip;
    const mounts = volumes.flatMap((v) => {
      const m = (conf.mounts || []).find(([device]) => device === v.linux_device);
      return [this.volumeDir(v), m ? m[1] : '-'];
    });
    const child = spawn('unshare', ['--mount', '--uts', '--pid', '--fork', '--kill-child=KILL', path.join(__dirname, 'machine.sh'), dir, this.diskDir(s), address, ...mounts],
      { stdio: ['ignore', 'ignore', 'pipe'] });
    child.log = '';
    child.stderr.on('data', (d) => { child.log = (child.log + d).slice(-4000); });
    child.ended = new Promise((r) => child.on('exit', r));
    this.running.set(s.id, child);
    await until(() => child.exitCode !== null || answers(address, 22), () => `sshd of ${s.name}: ${child.log}`);
    if (child.exitCode !== null) throw new Error(`machine ${s.name}: ${child.log}`);
  }

  // Of a server that runs: what is in its user_data is mounted there at its next start; a NixOS is told where over ssh.
  async attach(s, v) {
    const child = this.running.get(s.id);
    if (!child) return;
    const at = path.join(this.dir, `server-${s.id}`, 'root/r/volumes', path.basename(this.volumeDir(v)));
    execFileSync('nsenter', [`--mount=/proc/${child.pid}/ns/mnt`, 'sh', '-c', 'mkdir -p "$2" && mount --bind "$1" "$2"', 'sh', this.volumeDir(v), at]);
  }

  async stop(id) {
    const child = this.running.get(id);
    if (!child) return;
    child.kill('SIGKILL');
    await child.ended;
    this.running.delete(id);
    fs.rmSync(path.join(this.dir, `server-${id}`), { recursive: true, force: true });
  }
}

function answers(host, port) {
  return new Promise((resolve) => {
    const c = net.connect(port, host);
    c.setTimeout(1000, () => { c.destroy(); resolve(false); });
    c.on('error', () => resolve(false));
    c.on('data', () => { c.destroy(); resolve(true); });
  });
}

module.exports = { Machines, cloudConfig };
