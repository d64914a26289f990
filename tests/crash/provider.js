// What the mock provider has: its world and its ledger, read from their files.
'use strict';
const fs = require('node:fs');

// Whole lines as objects; a line that a kill cut off is none.
function lines(path) {
  if (!fs.existsSync(path)) return [];
  const text = fs.readFileSync(path, 'utf8');
  return text.slice(0, text.lastIndexOf('\n') + 1).split('\n').filter(Boolean).map((l) => JSON.parse(l));
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

// What happened to each machine: short -> its lines, in order.
function histories(path) {
  const out = new Map();
  for (const l of lines(path)) {
    if (!/^[0-9a-f]{12}$/.test(l.short)) continue;
    if (!out.has(l.short)) out.set(l.short, []);
    out.get(l.short).push(l);
  }
  return out;
}

const mishaps = (path) => lines(path).filter((l) => l.mishap).length;

module.exports = { world, histories, mishaps };
