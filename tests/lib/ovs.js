// A real Open vSwitch (userspace datapath), in the namespaces of this test (netns.js, with mounts): nothing of the host's is
// touched.
//
//   const v = await Ovs.start();      v.dir: its sockets     v.restart: a command that ends the switch and starts it again
//   v.left()                          bridges that there are
//   v.end()                           all of it ends
//
// missing(): why it cannot be here, or false.
'use strict';
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const netns = require('./netns.js');
const { has } = require('./dockerd.js');
const { until } = require('./cchost.js');

const schema = '/usr/share/openvswitch/vswitch.ovsschema';

function missing() {
  if (process.getuid() !== 0) return 'needs root';
  const needed = ['ip', 'unshare', 'ethtool', 'nft', 'ovsdb-server', 'ovsdb-tool', 'ovs-vswitchd', 'ovs-vsctl', 'ovs-ofctl'];
  const absent = needed.filter((p) => !has(p));
  if (absent.length) return `not installed: ${absent.join(', ')}`;
  return fs.existsSync('/dev/net/tun') ? false : 'no /dev/net/tun';
}

class Ovs {
  static async start() {
    if (!netns.inside()) throw new Error('only in namespaces of its own: netns.js');
    const v = new this();
    v.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cc-ovs-'));
    v.env = { ...process.env, OVS_RUNDIR: v.dir, OVS_DBDIR: v.dir, OVS_LOGDIR: v.dir, OVS_SYSCONFDIR: v.dir };
    v.run('ovsdb-tool', 'create', `${v.dir}/conf.db`, schema);
    v.run('ovsdb-server', `${v.dir}/conf.db`, `--remote=punix:${v.dir}/db.sock`, ...v.daemon('ovsdb-server'));
    v.run('ovs-vsctl', `--db=unix:${v.dir}/db.sock`, '--no-wait', 'init');
    v.run('ovs-vswitchd', `unix:${v.dir}/db.sock`, ...v.daemon('ovs-vswitchd'));
    v.restart = path.join(v.dir, 'restart');
    fs.writeFileSync(v.restart, `#!/bin/sh -e
pid=$(cat '${v.dir}/ovs-vswitchd.pid')
kill "$pid"
while kill -0 "$pid" 2>/dev/null; do :; done
export OVS_RUNDIR='${v.dir}' OVS_DBDIR='${v.dir}' OVS_LOGDIR='${v.dir}' OVS_SYSCONFDIR='${v.dir}'
ovs-vswitchd 'unix:${v.dir}/db.sock' ${v.daemon('ovs-vswitchd').map((w) => `'${w}'`).join(' ')}
ovs-vsctl '--db=unix:${v.dir}/db.sock' --timeout=20 set Open_vSwitch . external_ids:started="$$"
`, { mode: 0o755 });
    return v;
  }

  daemon(name) {
    return [`--pidfile=${this.dir}/${name}.pid`, `--log-file=${this.dir}/${name}.log`, '--detach', '--no-chdir', '-vconsole:off'];
  }

  run(program, ...words) {
    return execFileSync(program, words, { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim();
  }

  left() { return this.run('ovs-vsctl', `--db=unix:${this.dir}/db.sock`, 'list-br').split('\n').filter(Boolean); }

  async end() {
    for (const name of ['ovs-vswitchd', 'ovsdb-server']) {
      const pid = Number(fs.readFileSync(`${this.dir}/${name}.pid`));
      process.kill(pid, 'SIGTERM');
      await until(() => { try { process.kill(pid, 0); return false; } catch { return true; } }, `${name} ends`, 20);
    }
    fs.rmSync(this.dir, { recursive: true });
  }
}

module.exports = { Ovs, missing };
