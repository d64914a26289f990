// What a process, and the server's own figures, say at one moment; and whether a row of such moments is a flat line.
'use strict';
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const read = (file) => { try { return fs.readFileSync(file, 'latin1'); } catch { return ''; } };
const kib = (text, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? NaN) * 1024;

// Bytes, and counts. `anon` is its own memory; `file` is of files, the store's map first of all.
function of(pid) {
  const status = read(`/proc/${pid}/status`), rollup = read(`/proc/${pid}/smaps_rollup`);
  let fds = NaN;
  try { fds = fs.readdirSync(`/proc/${pid}/fd`).length; } catch { /* it has ended */ }
  return {
    pid, rss: kib(status, 'VmRSS'), anon: kib(status, 'RssAnon'), file: kib(status, 'RssFile'), pss: kib(rollup, 'Pss'), fds,
    threads: Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? NaN),
  };
}

// What the descriptors of a process are, by kind: for whoever looks for one that stayed.
function descriptors(pid) {
  const count = {};
  for (const n of fs.readdirSync(`/proc/${pid}/fd`)) {
    let to = 'gone';
    try { to = fs.readlinkSync(`/proc/${pid}/fd/${n}`); } catch { /* meanwhile closed */ }
    to = to.replace(/\d{2,}|[0-9a-f]{12}/g, 'N');
    count[to] = (count[to] || 0) + 1;
  }
  return count;
}

// Its sockets, a line each, as ss(8) tells them.
function sockets(pid) {
  const { stdout } = spawnSync('ss', ['-xtuanpH'], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return (stdout || '').split('\n').filter((l) => l.includes(`pid=${pid},`)).map((l) => l.replace(/\s+/g, ' ').replace(/users:.*/, ''));
}

// Processes named `name` that see `dir`, a folder of a test, as a mount or in their command line: -> [{ pid, line }]. A mount is told
// of by its place in its own file system, which /tmp may be one of.
function processes(name, dir) {
  const found = [];
  const place = path.relative(os.tmpdir(), dir);
  for (const pid of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const line = read(`/proc/${pid}/cmdline`).replace(/\0/g, ' ');
    if (line.split(' ')[0].endsWith(name) && (line.includes(place) || read(`/proc/${pid}/mountinfo`).includes(place))) found.push({ pid: Number(pid), line });
  }
  return found;
}

const figures = (text) => new Map(text.split('\n').filter((l) => l && !l.startsWith('#')).map((l) => [l.slice(0, l.lastIndexOf(' ')), Number(l.slice(l.lastIndexOf(' ') + 1))]));

const NAMES = {
  lua: 'cchost_lua_memory_bytes', heap: 'cchost_heap_used_bytes', held: 'cchost_heap_bytes', tasks: 'cchost_tasks', used: 'cchost_store_used_bytes', map: 'cchost_store_map_bytes', records: 'cchost_store_records',
  entries: 'cchost_store_log_entries', readers: 'cchost_store_readers', http: 'cchost_http_connections{kind="http"}', upgraded: 'cchost_http_connections{kind="upgraded"}',
  proxied: 'cchost_proxy_connections', running: 'cloudcode_instances_active', stalls: 'cchost_loop_stalls_total',
};

function told(text) {
  const f = figures(text);
  return Object.fromEntries(Object.entries(NAMES).map(([k, name]) => [k, f.get(name)]));
}

const sorted = (list) => list.filter(Number.isFinite).sort((a, b) => a - b);
const quantile = (list, q) => { const s = sorted(list); return s.length ? s[Math.min(s.length - 1, Math.floor(q * s.length))] : NaN; };
const median = (list) => quantile(list, 0.5);

// Least squares of y over x. -> { slope, at: the value of the line at the first x }
function line(points) {
  const n = points.length;
  const mx = points.reduce((a, [x]) => a + x, 0) / n, my = points.reduce((a, [, y]) => a + y, 0) / n;
  const sxx = points.reduce((a, [x]) => a + (x - mx) ** 2, 0);
  const slope = sxx ? points.reduce((a, [x, y]) => a + (x - mx) * (y - my), 0) / sxx : 0;
  return { slope, at: my + slope * (points[0][0] - mx) };
}

// Of samples with `t` (seconds) in [from, to): how `name` went. Sixths of the whole run are what `from` and `to` are cut by.
// -> { early, late, growth: of late over early, hourly: the slope by an hour, as a part of early }
function course(samples, name, from, to) {
  const sixth = (to - from) / 5; // the first sixth is warming up, and lies before `from`
  const points = samples.filter((s) => s.t >= from && s.t < to && Number.isFinite(s[name])).map((s) => [s.t, s[name]]);
  if (points.length < 4) return { early: NaN, late: NaN, growth: NaN, hourly: NaN };
  const early = median(points.filter(([t]) => t < from + sixth).map(([, y]) => y)), late = median(points.filter(([t]) => t >= to - sixth).map(([, y]) => y));
  return { early, late, growth: late / early - 1, hourly: line(points).slope * 3600 / early };
}

// y over x in n equal parts of the samples: the slope of each.
function slices(samples, x, y, n) {
  const rows = samples.filter((s) => Number.isFinite(s[x]) && Number.isFinite(s[y])).map((s) => [s[x], s[y]]);
  return Array.from({ length: n }, (_, i) => rows.slice(Math.floor(i * rows.length / n), Math.floor((i + 1) * rows.length / n)))
    .filter((part) => part.length > 2).map((part) => line(part).slope);
}

module.exports = { of, descriptors, sockets, processes, figures, told, median, quantile, line, course, slices };
