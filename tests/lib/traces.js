// What machines leave on the host: to be compared before and after.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

function read(file) {
  try { return fs.readFileSync(file, 'latin1'); } catch { return ''; }
}

// Processes, mounts, cgroups and sockets that belong to the data directory `dir`. A cgroup is ours when a process of
// it has mounts from there, or when it is named after one of `shorts` (other tests may run on this host).
function traces(dir, shorts = []) {
  const processes = [];
  for (const pid of fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p))) {
    const line = read(`/proc/${pid}/cmdline`).replace(/\0/g, ' ').trim();
    const mounts = read(`/proc/${pid}/mountinfo`);
    if (/cchost-(agent|launch)|pasta|slirp/.test(line) && (line.includes(dir) || mounts.includes(dir))) processes.push(line);
  }
  const mounts = read('/proc/self/mountinfo').split('\n').filter((l) => l.includes(dir));
  const sockets = read('/proc/net/unix').split('\n').filter((l) => l.includes(dir));
  const cgroups = [];
  const walk = (d, depth) => {
    let names = [];
    try { names = fs.readdirSync(d, { withFileTypes: true }); } catch { return; }
    for (const e of names) {
      if (!e.isDirectory()) continue;
      const full = path.join(d, e.name);
      const ours = () => read(path.join(full, 'cgroup.procs')).split('\n').some((p) => p && read(`/proc/${p}/mountinfo`).includes(dir));
      if (/^cc-[0-9a-f]{12}$/.test(e.name)) {
        if (shorts.includes(e.name.slice(3)) || ours()) cgroups.push(full);
      }
      else if (depth < 5) walk(path.join(d, e.name), depth + 1);
    }
  };
  walk('/sys/fs/cgroup', 0);
  return { processes: processes.sort(), mounts, sockets, cgroups: cgroups.sort() };
}

module.exports = { traces };
