// A soak: SOAK_SECONDS (60) of everything at once, and whether all that is held comes back to a flat line. `make soak SOAK_SECONDS=3600`
// is the run in earnest; SOAK_SEED plans another one; SOAK_OUT is where samples, unexpected answers and the report are put. SOAK_REPORT
// names such a report, to be judged again.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { root } = require('../lib/cchost.js');
const { Soak, ACTIONS, MORE } = require('./soak.js');

const kept = process.env.SOAK_REPORT && JSON.parse(fs.readFileSync(process.env.SOAK_REPORT));
const seconds = kept?.seconds || Number(process.env.SOAK_SECONDS || 60), seed = kept?.seed || Number(process.env.SOAK_SEED || 1);
const out = process.env.SOAK_OUT || path.join(root, 'build', process.env.V || 'release', 'soak');
const MiB = 1048576;
// What is allowed. For some twenty minutes all that is kept for use again still fills: a short run finds nothing but what is gross.
const long = seconds >= 3000;
const bounds = { grows: long ? 0.2 : 1, idle: long ? 0.3 : 1, more: long ? 0 : 24 * MiB, hourly: 0.1, agent: (long ? 1 : 8) * MiB, entry: 4096 };
const skip = !kept && spawnSync('prometheus', ['--version']).status !== 0 && 'prometheus is not installed (make deps-test)';

let r = kept;
test.before(async () => {
  if (skip || kept) return;
  const s = new Soak({ seconds, seed, out });
  try {
    await s.run();
    r = s.report();
  } finally {
    await s.stop();
  }
});

const rounded = (o) => JSON.stringify(o, (_, v) => (typeof v === 'number' ? Number(v.toPrecision(4)) : v));

test('nothing was answered that was not expected, and everything was used', { skip }, () => {
  console.log(`SOAK ${r.requests} requests (${r.again} of them again, as a kept connection had ended), ${r.slow} over a second; ${r.upgrades} upgrades, ${r.heard.events} events heard over ${r.heard.opened} streams, ${r.webhooks} webhooks, ${r.spans} spans`);
  console.log(`SOAK actions ${rounded(r.done)}`);
  assert.strictEqual(r.unexpected, 0, `seed ${seed}: ${JSON.stringify(r.first, null, 1)}`);
  for (const name of Object.keys(ACTIONS)) assert.ok(r.done[name] > 0, name);
});

test('memory, descriptors, threads and tasks are flat at work, and come back when nobody asks', { skip }, () => {
  const { anon, heap, lua, fds, threads, tasks } = r.at_work;
  console.log(`SOAK at work, second sixth, last sixth, growth: ${rounded(r.at_work)}; later half, by the hour: ${rounded(r.later)}`);
  const { begin, warm, end, gone } = r.idle;
  for (const [name, x] of Object.entries(r.idle)) console.log(`SOAK idle, ${name}: own memory ${(x.anon / MiB).toFixed(1)}, C's heap ${(x.heap / MiB).toFixed(1)} of ${(x.held / MiB).toFixed(1)}, RSS ${(x.rss / MiB).toFixed(1)}, Lua ${(x.lua / MiB).toFixed(1)} MiB, ${x.fds} descriptors, ${x.threads} threads, ${x.tasks} tasks`);
  for (const [name, x] of Object.entries({ anon, heap, lua })) assert.ok(x.late <= x.early * (1 + bounds.grows) + bounds.more, `${name} grew: ${rounded(x)}`);
  // What leaks is in use. Own memory has its steps besides, where a peak is higher than all before it, or a thread more is needed.
  if (long) for (const name of ['heap', 'lua']) assert.ok(r.later[name] <= bounds.hourly, `${name} grows by ${r.later[name]} an hour in the later half`);
  for (const [name, x] of Object.entries({ fds, threads, tasks })) assert.ok(x.late <= x.early * 1.3 + 5, `${name}: ${rounded(x)}`);
  assert.ok(end.fds <= warm.fds, `descriptors: ${warm.fds} after warming up, ${end.fds} at the end: ${JSON.stringify([warm.open, end.open])}`);
  assert.ok(gone.fds <= begin.fds + MORE, `descriptors: ${begin.fds} at the begin, ${gone.fds} when all is gone: ${JSON.stringify([begin.open, gone.open, gone.sockets])}`);
  assert.strictEqual(end.tasks, warm.tasks);
  for (const name of ['anon', 'heap']) assert.ok(end[name] <= warm[name] * (1 + bounds.idle) + bounds.more, `${name}, idle: ${warm[name]}, then ${end[name]}`);
});

test('the agents of machines that stay are flat', { skip }, () => {
  console.log(`SOAK agents: ${rounded(r.agents)}`);
  assert.ok(r.agents.length >= 3);
  for (const a of r.agents) {
    assert.ok(a.anon.late <= a.anon.early * 1.3 + bounds.agent, rounded(a));
    assert.ok(a.fds.late <= a.fds.early + 10, rounded(a));
  }
});

test('the store grows by what it records, at an even rate, and no further once that is old', { skip }, () => {
  console.log(`SOAK store: bytes of its file by an entry of the log, in fifths of the run: ${rounded(r.bytes_an_entry)}`);
  console.log(`SOAK store, each time when all was over 400 days old: ${JSON.stringify(r.kept)}`);
  for (const n of r.bytes_an_entry) assert.ok(n < bounds.entry, `${n} bytes an entry`);
  for (let i = 2; i < r.kept.length; i += 1) {
    // For ever stays what each machine used, by months, and of an account that has ended that it was there.
    const more = 2 * (r.kept[i].made - r.kept[i - 1].made) + 3 * r.people;
    assert.ok(r.kept[i].records <= r.kept[i - 1].records + more, `year ${i}: ${r.kept[i].records} records, ${r.kept[i - 1].records} before, and ${more} may have come`);
    const by = (k) => (r.kept[i][k] - r.kept[i - 1][k]) / (r.kept[i].entries - r.kept[i - 1].entries);
    console.log(`SOAK store, year ${i}: an entry of the log is for ever ${by('live').toFixed(0)} bytes, and takes ${by('file').toFixed(0)} of the file`);
    assert.ok(by('live') < 1024, `year ${i}: ${by('live')} bytes an entry`);
  }
});

test('Prometheus: no scrape failed, and no series came after the first minute', { skip }, () => {
  console.log(`SOAK prometheus: ${rounded(r.scrapes)}; series after ${r.series.after.toFixed(0)} s: ${r.series.then}, at the end: ${r.series.end}`);
  assert.strictEqual(r.scrapes.failed, 0);
  assert.ok(r.scrapes.count > seconds / 4, `${r.scrapes.count} scrapes`);
  assert.deepStrictEqual(r.series.more, []);
});
