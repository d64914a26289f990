// What the mock provider has: its world and its ledger, read from their files.
'use strict';
const fs = require('node:fs');

// Whole lines from an offset on, as objects; a line that a kill cut off is none.
function lines(path, from = 0, ended = () => {}) {
  if (!fs.existsSync(path)) return [];
  const fd = fs.openSync(path);
  const bytes = Buffer.alloc(fs.fstatSync(fd).size - from);
  const n = fs.readSync(fd, bytes, 0, bytes.length, from);
  fs.closeSync(fd);
  const whole = bytes.subarray(0, n).lastIndexOf(10) + 1;
  ended(from + whole);
  return bytes.toString('utf8', 0, whole).split('\n').filter(Boolean).map((l) => JSON.parse(l));
}

// -> {machines: short -> machine, late: how many effects are still to come}
function world(path) {
  const machines = new Map();
  const late = new Set();
  for (const l of lines(path)) {
    if (l.machine) machines.set(l.machine.short, l.machine);
    if (l.gone) machines.delete(l.gone);
    if (l.late) late.add(l.late.number);
    if (l.ran) late.delete(l.ran);
  }
  return { machines, late: late.size };
}

// What happened to each machine, read on from where the last reading ended: a long run has a long ledger.
class Ledger {
  constructor(path) { Object.assign(this, { path, at: 0, mishaps: 0, histories: new Map() }); }

  // -> short -> its lines, in order
  read() {
    for (const l of lines(this.path, this.at, (end) => { this.at = end; })) {
      this.mishaps += l.mishap ? 1 : 0;
      if (!/^[0-9a-f]{12}$/.test(l.short)) continue;
      if (!this.histories.has(l.short)) this.histories.set(l.short, []);
      this.histories.get(l.short).push(l);
    }
    return this.histories;
  }
}

const histories = (path) => new Ledger(path).read();

module.exports = { world, histories, Ledger };
