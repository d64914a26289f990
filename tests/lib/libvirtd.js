// A real libvirtd, with emulated guests (qemu, TCG), in a mount namespace of its own, and in the network namespace of the test
// (netns.js): nothing of the host's libvirt is touched, and no KVM is needed.
//
//   const v = await Libvirtd.start();     v.uri, v.settings (of the driver), v.images (with "base")
//   v.virsh('list', '--all')              its output        v.left()   domains that there are
//   await v.end()                         all of it ends
//
// missing(): why it cannot be here, or false.
'use strict';
const { spawn, spawnSync, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { until } = require('./cchost.js');
const { has } = require('./dockerd.js');

const root = path.join(__dirname, '..', '..');

function missing() {
  if (process.getuid() !== 0) return 'needs root';
  const absent = ['ip', 'unshare', 'libvirtd', 'virsh', 'qemu-system-x86_64', 'qemu-img', 'genisoimage', 'mke2fs', 'cpio'].filter((p) => !has(p));
  return absent.length ? `not installed: ${absent.join(', ')}` : false;
}

class Libvirtd {
  static async start() {
    const v = new this();
    v.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cc-libvirtd-'));
    v.uri = `qemu+unix:///system?socket=${v.dir}/run/libvirt-sock`;
    v.images = path.join(root, 'build', 'guest-base');
    v.settings = { uri: v.uri, images: v.images, virt: 'qemu', machine: 'pc', memory_mib: 128, disk_gib: 1, data_gib: 1, stop_grace_ms: 5000 };
    v.image();
    try {
      await v.launch();
    } catch (e) {
      await v.end();
      throw e;
    }
    return v;
  }

  image() {
    const r = spawnSync(path.join(root, 'tests/contract/guest.sh'), [this.images], { encoding: 'utf8' });
    if (r.status !== 0) throw new Error(`the image of the guest: ${r.stdout}${r.stderr}`);
  }

  // Its files stand over those of the host's libvirt in its own mount namespace alone.
  async launch() {
    const { dir } = this;
    if (spawnSync('getent', ['passwd', 'libvirt-qemu']).status !== 0) execFileSync('useradd', ['--system', 'libvirt-qemu']);
    for (const d of ['/var/lib/libvirt', '/var/cache/libvirt', '/etc/libvirt', '/run/libvirt']) fs.mkdirSync(d, { recursive: true });
    for (const d of ['lib', 'cache', 'etc', 'run']) fs.mkdirSync(path.join(dir, d));
    fs.chmodSync(dir, 0o755);
    fs.writeFileSync(`${dir}/libvirtd.conf`, `listen_tls = 0\nlisten_tcp = 0\nunix_sock_dir = "${dir}/run"\nauth_unix_rw = "none"\n`);
    fs.writeFileSync(`${dir}/etc/qemu.conf`, 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nstdio_handler = "file"\nremember_owner = 0\n'
      + 'namespaces = []\ncgroup_controllers = []\n');
    const mounts = `mount --bind ${dir}/lib /var/lib/libvirt && mount --bind ${dir}/cache /var/cache/libvirt && mount --bind ${dir}/etc /etc/libvirt`
      + ` && mount --bind ${dir}/run /run/libvirt && exec libvirtd -f ${dir}/libvirtd.conf -p ${dir}/pid`;
    const log = fs.openSync(`${dir}/log`, 'a');
    const command = ['unshare', '-m', '--propagation', 'private', 'sh', '-c', mounts];
    this.child = spawn(command[0], command.slice(1), { stdio: ['ignore', log, log], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });
    fs.closeSync(log);
    this.exited = new Promise((r) => this.child.on('exit', r));
    await until(() => {
      if (this.child.exitCode !== null) throw new Error(`libvirtd ended:\n${this.log()}`);
      return spawnSync('virsh', ['-q', '-c', this.uri, 'version']).status === 0;
    }, () => `libvirtd answers:\n${this.log()}`, 60);
  }

  log() { return fs.readFileSync(`${this.dir}/log`, 'utf8').split('\n').slice(-30).join('\n'); }

  virsh(...args) { return execFileSync('virsh', ['-q', '-c', this.uri, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim(); }

  left() { return this.virsh('list', '--all', '--name').split('\n').filter(Boolean); }

  async end() {
    if (this.child && this.child.exitCode === null) {
      for (const name of this.left()) {
        spawnSync('virsh', ['-q', '-c', this.uri, 'destroy', name]);
        spawnSync('virsh', ['-q', '-c', this.uri, 'undefine', name]);
      }
      this.child.kill('SIGTERM');
      await this.exited;
    }
    fs.rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

module.exports = { Libvirtd, missing };
