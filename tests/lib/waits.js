// Whatever a test waits for has an end, and says in vain of what: what else was waited for then, what the servers said last, and
// which processes there are. The same is told when something else ends a test (the time of tests/run is over).
'use strict';
const fs = require('node:fs');

const open = new Set(); // { what, since }
const tellers = new Set(); // of servers and the like: functions to lines

const text = (what) => (typeof what === 'function' ? what() : what);

// -> pid -> { pid, ppid, line } of all processes that can be read
function processes() {
  const all = new Map();
  for (const name of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const [, state, ppid] = /\) (\S) (\d+)/.exec(fs.readFileSync(`/proc/${name}/stat`, 'latin1'));
      const line = fs.readFileSync(`/proc/${name}/cmdline`, 'latin1').replace(/\0/g, ' ').trim().slice(0, 160);
      let at = '';
      try { at = fs.readFileSync(`/proc/${name}/wchan`, 'latin1'); } catch { /* not ours to know */ }
      all.set(Number(name), { pid: Number(name), ppid: Number(ppid), line: `${state} ${at} ${line}` });
    } catch { /* it has ended */ }
  }
  return all;
}

// Those that this process began, and those of which a command line names one of `words`: machines are nobody's children.
function ours(words) {
  const all = processes();
  const below = (p) => p && (p.ppid === process.pid || below(all.get(p.ppid)));
  return [...all.values()].filter((p) => p.pid !== process.pid && (below(p) || words.some((w) => p.line.includes(w))));
}

function state() {
  const lines = [];
  for (const w of open) lines.push(`waits since ${((Date.now() - w.since) / 1000).toFixed(1)} s: ${text(w.what)}`);
  const words = [];
  for (const tell of tellers) {
    const { word, lines: more } = tell();
    words.push(word);
    lines.push(...more);
  }
  for (const p of ours(words).slice(0, 60)) lines.push(`process ${p.pid} of ${p.ppid}: ${p.line}`);
  return lines.join('\n');
}

// The promise's value, or an error after so many seconds.
async function within(promise, what, seconds = 60) {
  const wait = { what, since: Date.now() };
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`in vain, ${seconds} s: ${text(what)}\n${state()}`)), seconds * 1000);
  });
  open.add(wait);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
    open.delete(wait);
  }
}

const PATIENCE = process.env.V === 'asan' ? 60 : 20; // seconds; the sanitizers make all of it slower

// Waits for a condition (its truthy value is returned), by asking again every 5 ms. what: a text, or a function that tells it then.
async function until(fn, what, seconds = PATIENCE) {
  const end = Date.now() + seconds * 1000;
  const wait = { what, since: Date.now() };
  open.add(wait);
  try {
    for (;;) {
      const v = await fn();
      if (v) return v;
      if (Date.now() > end) throw new Error(`in vain, ${seconds} s: ${text(what)}`);
      await new Promise((r) => setTimeout(r, 5));
    }
  } finally {
    open.delete(wait);
  }
}

// Tells all that when a signal ends this process, and exits.
function on_signal() {
  fs.writeSync(2, `\n# ended by a signal; what was open then:\n${state().replace(/^/gm, '# ')}\n`);
  process.exit(1);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, on_signal);

module.exports = { within, until, state, tellers };
