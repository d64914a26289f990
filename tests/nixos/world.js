// What the tests of NixOS share: the double of Hetzner with the double of nixos-anywhere (tests/lib/hetzner), a flake of one's own,
// and hosts that are set to use them.
//
//   const w = await World.start(t)        ends with the test, and fails it when anything is left at Hetzner
//   w.z, w.flake (a copy of providers/image/nixos)       w.calls() -> [{ phase, pid, args }]
//   await w.hold('disko', 'before')       the next such phase waits there; w.held(...) waits until it does; w.free(...)
//   w.fail('disko', text)                 w.host(more) -> Server       w.cli('image', 'nixos', ...) -> { code, out }
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { Server, until, temp, root, binary } = require('../lib/cchost.js');
const { Hetzner } = require('../lib/hetzner.js');

const has = (program) => { try { execFileSync('which', [program], { stdio: 'ignore' }); return true; } catch { return false; } };
const why = process.getuid() !== 0 ? 'it needs root' : ['unshare', 'sshd', 'ssh', 'ssh-keygen', 'ssh-copy-id', 'flock'].filter((p) => !has(p)).map((p) => `${p} is not here`)[0];
const skip = why && `nixos: ${why}`;
if (skip && (process.env.BACKENDS || '').split(' ').includes('hetzner')) throw new Error(`this host is meant to have the double of Hetzner: ${why}`);

const lua = (v) => (typeof v === 'object' ? `{${Object.entries(v).map(([k, x]) => `${k}=${lua(x)}`).join(',')}}` : typeof v === 'string' ? JSON.stringify(v) : String(v));
const quick = { poll_ms: 60, retry_ms: 20, ssh_every_ms: 100, ssh_tries: 200, stop_grace_ms: 2000 };

class World {
  static async start(t, options = {}) {
    const w = new this();
    w.z = await Hetzner.start({ machines: true, checked: !Hetzner.missing(), limit: 1000000, ...options });
    w.dir = temp();
    w.data = temp();
    w.tool = path.join(w.dir, 'double');
    fs.mkdirSync(w.tool);
    w.flake = path.join(w.dir, 'flake');
    fs.cpSync(path.join(root, 'providers/image/nixos'), w.flake, { recursive: true });
    t.after(() => w.stop());
    return w;
  }

  async stop() {
    for (const f of fs.readdirSync(this.tool)) if (/^hold-/.test(f)) fs.rmSync(path.join(this.tool, f));
    for (const s of this.hosts || []) {
      if (s.child.exitCode !== null || s.child.signalCode) continue;
      await s.deleteAll();
      await s.stop();
    }
    for (const v of [...this.z.world.volumes.values()]) if (!v.server) this.z.world.deleteVolume(v);
    const left = this.z.world.left();
    await this.z.stop();
    for (const d of [this.dir, this.data]) fs.rmSync(d, { recursive: true, force: true });
    assert.deepStrictEqual(left, [], 'nothing is left');
  }

  settings(more = {}) {
    return { provider: 'hetzner', hcloud_endpoint: this.endpoint || this.z.url, terminal_command: 'exec sh', provider_seconds: 300,
      hcloud_options: lua({ ...quick, nixos: { flake: `${this.flake}#cloud-instance`, program: path.join(root, 'tests/lib/hetzner/nixos-anywhere') }, ...more.options }),
      ...Object.fromEntries(Object.entries(more).filter(([k]) => k !== 'options')) };
  }

  get env() { return { HCLOUD_TOKEN: this.z.token, NIX_DOUBLE: this.tool, JWT_SECRET: 'x'.repeat(40) }; }

  async host(more, dir) {
    const s = await Server.start(this.settings(more), dir, { env: this.env });
    this.hosts = [...(this.hosts || []), s];
    return s;
  }

  // The command of an operator; w.child is its process.
  cli(...words) {
    const args = Object.entries({ ...this.settings(), data_dir: this.data }).map(([k, v]) => `--${k.replace(/_/g, '-')}=${v}`);
    const flags = words.filter((x) => x.startsWith('--')); // which count more than what stands before them
    const child = spawn(binary, [...words.filter((x) => !flags.includes(x)), ...args, ...flags], { env: { ...process.env, ...this.env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    let out = '';
    for (const s of [child.stdout, child.stderr]) s.on('data', (d) => { out += d; });
    return new Promise((r) => child.on('close', (code, signal) => r({ code: code ?? signal, out })));
  }

  file(name) { return path.join(this.tool, name); }
  calls() {
    const text = fs.existsSync(this.file('log')) ? fs.readFileSync(this.file('log'), 'utf8') : '';
    return text.trim().split('\n').filter(Boolean).map((l) => { const [phase, pid, ...args] = l.split(' '); return { phase, pid: Number(pid), args: args.join(' ') }; });
  }
  phases() { return this.calls().map((c) => c.phase).join(' '); }
  forgetCalls() { fs.rmSync(this.file('log'), { force: true }); }
  hold(phase, when) { fs.writeFileSync(this.file(`hold-${phase}-${when}`), ''); }
  held(phase, when) { return until(() => fs.existsSync(this.file(`in-${phase}-${when}`)), `nixos-anywhere is in ${phase}, ${when}`, 60); }
  free(phase, when) {
    fs.rmSync(this.file(`hold-${phase}-${when}`), { force: true });
    fs.rmSync(this.file(`in-${phase}-${when}`), { force: true });
  }
  fail(phase, text) { fs.writeFileSync(this.file(`fail-${phase}`), text); }
  mend(phase) { fs.rmSync(this.file(`fail-${phase}`), { force: true }); }

  // Ends the double of nixos-anywhere, with all that it has begun here.
  killTool() {
    const { pid } = this.calls().at(-1);
    const group = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[2];
    process.kill(-Number(group), 'SIGKILL');
  }

  async make(s, body) {
    const r = await s.call('POST', '/instances', { type: 'cpx11', ...body });
    assert.strictEqual(r.status, 201, r.text);
    let m;
    await until(async () => {
      m = (await s.call('GET', `/instances/${r.body.id}`)).body;
      if (m.status === 'ERROR') throw new Error(m.error);
      return m.status === 'RUNNING';
    }, () => `${m.status} ${m.error || ''} after ${this.phases() || 'no phase'}`, 60);
    return m;
  }

  async fails(s, body) {
    const r = await s.call('POST', '/instances', { type: 'cpx11', ...body });
    assert.strictEqual(r.status, 201, r.text);
    return until(async () => {
      const { body: m } = await s.call('GET', `/instances/${r.body.id}`);
      return m.status === 'ERROR' && m;
    }, 'it fails', 60);
  }

  async run(s, m, line) {
    const r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line], timeout: 20 });
    assert.strictEqual(r.status, 200, r.text);
    return r.body;
  }

  // As root, through the machine's namespaces.
  asRoot(m, line) {
    const server = this.z.named(m.short);
    const { pid } = this.z.machines.running.get(server.id);
    return execFileSync('nsenter', [`--mount=/proc/${pid}/ns/mnt`, `--pid=/proc/${pid}/ns/pid_for_children`, 'chroot', path.join(this.z.dir, `server-${server.id}`, 'root/r'), 'sh', '-c', line]).toString();
  }
}

module.exports = { World, skip, lua };
