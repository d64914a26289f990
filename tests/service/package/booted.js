// A systemd that runs, in namespaces (boot.sh), and what is asked of it.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { root, temp, until } = require('../../lib/cchost.js');

// Why there can be no package here, or no systemd, or false.
const lack = process.getuid() ? 'needs root: namespaces, mounts, dpkg' : process.env.V === 'asan' ? 'a package is of the release build' : false;
const cgroup2 = (/^\S+ (\S+) cgroup2 /m.exec(fs.readFileSync('/proc/mounts', 'utf8')) || [])[1];

function run(command, args, more = {}) {
  const r = spawnSync(command, args, { cwd: root, encoding: 'utf8', timeout: 250e3, ...more });
  assert.ok(!r.error && r.status === 0, `${command} ${args.join(' ')}: ${r.error || r.status}\n${r.stdout}${r.stderr}`);
  return r.stdout;
}

const build = (out, ...version) => run('host/service/deb/build.sh', [out, ...version], { env: { ...process.env, DEB_PACK: '-Zgzip -z1' } });

class Booted {
  // dir: of the packages
  constructor(dir) {
    this.dir = dir;
    this.at = fs.mkdtempSync(path.join(dir, 'system-'));
    this.group = path.join(cgroup2, path.basename(dir));
  }

  async start() {
    fs.mkdirSync(this.group);
    this.log = '';
    this.child = spawn('bash', ['-c', 'echo 0 >"$1/cgroup.procs"; exec unshare --mount --pid --cgroup --uts --ipc --net --fork --kill-child --propagation private "$2" "$3"',
      'bash', this.group, path.join(__dirname, 'boot.sh'), this.at], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = new Promise((r) => this.child.on('exit', r));
    for (const out of [this.child.stdout, this.child.stderr]) out.on('data', (d) => { this.log += d; });
    const children = `/proc/${this.child.pid}/task/${this.child.pid}/children`;
    await until(() => {
      assert.strictEqual(this.child.exitCode, null, this.log);
      this.pid = Number(fs.readFileSync(children, 'utf8').trim());
      return this.pid && fs.readFileSync(`/proc/${this.pid}/comm`, 'utf8') === 'systemd\n';
    }, () => `systemd runs: ${this.log}`, 60);
    await until(() => /^(running|degraded)/.test(this.ask('systemctl is-system-running || true')), 'systemd is up', 60);
  }

  enter() { return ['nsenter', '-t', this.pid, '-m', '-p', '-C', '-n', '-u', '-i', '-r', '-w'].map(String); }

  // Runs a bash script inside. -> what it said
  ask(script) {
    const [command, ...args] = this.enter();
    return run(command, [...args, 'bash', '--norc', '-euo', 'pipefail', '-c', `export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive; exec 2>&1; ${script}`],
      { cwd: '/', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  }

  begin(...argv) {
    const [command, ...args] = this.enter();
    return spawn(command, [...args, ...argv], { cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  async stop() {
    this.child.kill('SIGKILL'); // --kill-child: its systemd, and with that all of the namespace
    await this.exited;
    const groups = run('find', [this.group, '-depth', '-type', 'd']).trim().split('\n');
    await until(() => groups.every((g) => { try { fs.rmdirSync(g); } catch (e) { return e.code === 'ENOENT'; } return true; }), 'its groups are empty');
  }
}

module.exports = { Booted, build, lack: lack || (!cgroup2 && 'no cgroup2 is mounted'), noPackage: lack, run, temp };
