// kill -9 of a server right before or right after a step of its drivers (tests/lib/killat.c), switched while it runs.
//
//   const k = new KillAt(folders, not)     the folders whose names are steps, but for those that contain `not`
//   k.env                                  what the server's environment needs
//   k.arm(n, 'before' | 'after')           the n-th step from now
//   k.fired, k.what                        whether it came so far, and which it was      k.disarm()      k.end()
//   await crashPoints({ arm, act, look })  see below
'use strict';
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { root } = require('./cchost.js');

const library = path.join(root, 'build', process.env.V || 'release', 'killat.so');
const SIZE = 12 + 500;

class KillAt {
  constructor(folders, not = '') {
    this.folders = folders;
    this.not = not;
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-killat-'));
    this.file = path.join(this.dir, 'control');
    fs.writeFileSync(this.file, Buffer.alloc(SIZE));
    this.fd = fs.openSync(this.file, 'r+');
  }

  get env() {
    const program = fs.realpathSync(process.env.CCHOST || path.join(root, 'cchost'));
    const asan = process.env.ASAN_OPTIONS;
    return { LD_PRELOAD: library, KILLAT: this.file, KILLAT_PROGRAM: program, KILLAT_UNDER: this.folders.join(':'), KILLAT_NOT: this.not,
      ...(asan ? { ASAN_OPTIONS: `${asan}:verify_asan_link_order=0` } : {}) };
  }

  arm(n, when) {
    const b = Buffer.alloc(SIZE);
    b.writeUInt32LE(when === 'before' ? 1 : 2, 4);
    fs.writeSync(this.fd, b, 4, SIZE - 4, 4);
    b.writeUInt32LE(n, 0);
    fs.writeSync(this.fd, b, 0, 4, 0); // last: from here on it counts
  }

  disarm() { fs.writeSync(this.fd, Buffer.alloc(4), 0, 4, 0); }

  read() {
    const b = Buffer.alloc(SIZE);
    fs.readSync(this.fd, b, 0, SIZE, 0);
    return b;
  }

  get fired() { return this.read().readUInt32LE(8) === 1; }
  get what() { return this.read().subarray(12).toString().replace(/\0.*/s, ''); }

  end() {
    fs.closeSync(this.fd);
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

// For the n-th step of what act(s, arm) does after arm(), killed before and after it, until there is no n-th. begin(): a server, with
// its KillAt as s.trap; look(s, what) when it has come back; finish(s) ends it. Right after a step that is a name is right before the
// next one, so that is tried once, but for the last. -> the steps
async function crashPoints({ begin, act, look, finish }) {
  const steps = [];
  const once = async (n, when) => {
    const s = await begin();
    const went = act(s, () => s.trap.arm(n, when));
    await Promise.race([went, s.exited]).catch((e) => { if (!s.trap.fired) throw e; });
    const { fired, what } = s.trap;
    s.trap.disarm();
    went.catch(() => {});
    if (fired) {
      await s.exited;
      s.agent.destroy();
      await s.launch();
    }
    const told = fired ? `killed ${when} step ${n}, ${what}` : 'not killed';
    await look(s, told).catch((e) => { throw new Error(`${told}: ${e.message}\n${s.log.slice(-1500)}`, { cause: e }); });
    await finish(s, told);
    return fired && what;
  };
  const name = (what) => !/^(program|orders|libvirt) /.test(what);
  for (let n = 1, what; (what = await once(n, 'before')); n++) {
    steps.push(what);
    if (!name(what)) await once(n, 'after');
  }
  if (steps.length && name(steps[steps.length - 1])) await once(steps.length, 'after');
  return steps;
}

module.exports = { KillAt, crashPoints };
