// The shells, each with other tools behind it, that scripts for people's computers must run under.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { temp } = require('../lib/cchost.js');

const dir = temp();
process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));

const find = (name) => {
  const at = ['/usr/bin', '/bin', '/usr/sbin', '/sbin'].map((d) => path.join(d, name)).find((f) => fs.existsSync(f));
  if (!at) throw new Error(`${name} is not installed (make deps-test)`);
  return at;
};

function folder(name, links) {
  const at = path.join(dir, name);
  fs.mkdirSync(at);
  for (const [link, target] of Object.entries(links)) fs.symlinkSync(target, path.join(at, link));
  return at;
}

// Everything is BusyBox's, curl alone is not.
function busybox() {
  const program = find('busybox');
  const applets = spawnSync(program, ['--list'], { encoding: 'utf8' }).stdout.trim().split('\n');
  return folder('busybox', { ...Object.fromEntries(applets.map((a) => [a, program])), curl: find('curl') });
}

const system = '/usr/bin:/bin';
const shells = {
  dash: { argv: [find('dash')], path: `${folder('dash', { sh: find('dash'), awk: find('mawk') })}:${system}` },
  busybox: { argv: [find('busybox'), 'sh'], path: busybox() },
  // macOS: bash as sh, and the one true awk
  'bash --posix': { argv: [find('bash'), '--posix'], path: `${folder('bash', { sh: find('bash'), awk: find('original-awk') })}:${system}` },
};

// Runs a script under one of them. how: { env, input, cwd, args, before: folders to search first } -> { code, out, err }
function run(name, file, how = {}) {
  const shell = shells[name];
  const env = { PATH: [...(how.before || []), shell.path].join(':'), LANG: 'C.UTF-8', ...how.env };
  return new Promise((resolve) => {
    const child = spawn(shell.argv[0], [...shell.argv.slice(1), ...(file ? [file] : []), ...(how.args || [])],
      { env, cwd: how.cwd || dir, stdio: [how.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    const r = { out: '', err: '' };
    child.stdout.on('data', (d) => { r.out += d; });
    child.stderr.on('data', (d) => { r.err += d; });
    child.on('close', (code, signal) => resolve({ ...r, code: code ?? signal }));
    if (how.input === undefined) return;
    child.stdin.on('error', () => {});
    child.stdin.end(how.input);
  });
}

// A folder of programs that write down how they were called: one file of arguments, NUL behind each, per call.
// more: { program: lines of sh that it runs afterwards }
function stubs(names, more = {}) {
  const at = fs.mkdtempSync(path.join(dir, 'stubs-'));
  for (const n of names) {
    fs.writeFileSync(path.join(at, n), `#!/bin/sh\nfor a in "$0" "$@"; do printf '%s\\0' "\${a##*/stubs-*/}"; done >>'${at}/calls'\n` +
      `printf '\\n' >>'${at}/calls'\n${more[n] || ''}\n`, { mode: 0o755 });
  }
  const calls = () => (fs.existsSync(`${at}/calls`) ? fs.readFileSync(`${at}/calls`, 'utf8').split('\0\n').filter(Boolean).map((l) => l.split('\0')) : []);
  return { dir: at, calls };
}

// Command lines of all processes that hold the text.
function seen_in_arguments(text) {
  return fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p) && Number(p) !== process.pid).map((p) => {
    try { return fs.readFileSync(`/proc/${p}/cmdline`, 'utf8'); } catch { return ''; }
  }).filter((line) => line.includes(text));
}

module.exports = { shells: Object.keys(shells), shell: shells, run, stubs, seen_in_arguments };
