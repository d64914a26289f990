// The systemd units: what systemd itself finds in them, without any systemd that runs.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { root, temp } = require('../lib/cchost.js');

const here = path.join(root, 'host', 'service');
const units = fs.readdirSync(here).filter((f) => /\.(service|socket|slice)$/.test(f));
const MOST = 3.0; // the exposure that the service may have, of 10

function run(command, args, env) {
  const r = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8', ...env } });
  assert.ok(!r.error, `${command}: ${r.error}`);
  return { status: r.status, out: r.stdout + r.stderr };
}

// A root in which the units are where they belong, and what they execute is.
function tree(change = (text) => text) {
  const dir = temp();
  const at = path.join(dir, 'lib', 'systemd', 'system');
  fs.mkdirSync(at, { recursive: true });
  for (const u of units) fs.writeFileSync(path.join(at, u), change(fs.readFileSync(path.join(here, u), 'utf8'), u));
  for (const t of ['sysinit', 'basic', 'shutdown', 'network-online', 'nss-lookup', 'time-sync', 'sockets', 'multi-user']) {
    fs.writeFileSync(path.join(at, `${t}.target`), '[Unit]\nDescription=a target\n');
  }
  for (const program of ['usr/bin/cchost', 'usr/lib/cchost/cchost-spawner', 'bin/kill']) {
    fs.mkdirSync(path.join(dir, path.dirname(program)), { recursive: true });
    fs.writeFileSync(path.join(dir, program), '#!/bin/sh\n', { mode: 0o755 });
  }
  return dir;
}

const verify = (dir) => run('systemd-analyze', ['verify', `--root=${dir}`, '--man=no', ...units.filter((u) => !/@/.test(u))], { SYSTEMD_LOG_LEVEL: 'warning' });

test('the service leaves no core file, which would have every secret in it', () => {
  assert.match(fs.readFileSync(path.join(here, 'cchost.service'), 'utf8'), /^LimitCORE=0$/m);
});

test('systemd finds nothing wrong with the units, and would tell', () => {
  const good = tree(), bad = tree((text) => text.replace('[Service]\n', '[Service]\nWatchdogSecs=3\n'));
  try {
    const r = verify(good);
    assert.deepStrictEqual(r, { status: 0, out: '' });
    assert.match(verify(bad).out, /WatchdogSecs/);
  } finally {
    for (const dir of [good, bad]) fs.rmSync(dir, { recursive: true });
  }
});

test(`the service is exposed by ${MOST.toFixed(1)} of 10 at most, and each allowance that is left is explained`, () => {
  const exposure = (unit) => {
    const r = run('systemd-analyze', ['security', '--offline=true', '--no-pager', unit]);
    return { figure: Number(/Overall exposure level for \S+: ([\d.]+)/.exec(r.out)[1]), left: [...r.out.matchAll(/^✗ (\S+)/gm)].map((m) => m[1]) };
  };
  const { figure, left } = exposure(path.join(here, 'cchost.service'));
  console.log(`# cchost.service: exposure ${figure}`);
  assert.ok(figure > 0 && figure <= MOST, `${figure}: ${left}`);
  const page = fs.readFileSync(path.join(root, 'docs', 'service.md'), 'utf8');
  for (const name of new Set(left.map((l) => l.replace(/=.*$/, '')))) assert.ok(page.includes(`\`${name}`), `docs/service.md does not explain ${name}`);
  const dir = temp();
  try {
    const plain = path.join(dir, 'plain.service');
    fs.writeFileSync(plain, '[Service]\nExecStart=/bin/true\n');
    assert.ok(exposure(plain).figure > 9); // the figure is one of the unit, not of the tool
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('the user and the places are what systemd makes of the two files, without root\'s help', { skip: process.getuid() ? 'needs root' : false }, () => {
  const dir = temp();
  try {
    fs.mkdirSync(path.join(dir, 'etc', 'cchost'), { recursive: true });
    for (const [f, text] of [['passwd', 'root:x:0:0:root:/root:/bin/sh\n'], ['group', 'root:x:0:\n']]) fs.writeFileSync(path.join(dir, 'etc', f), text);
    fs.writeFileSync(path.join(dir, 'etc', 'cchost', 'cchost.lua'), 'return {}\n', { mode: 0o644 });
    for (const [tool, file, ...more] of [['systemd-sysusers', 'cchost.sysusers'], ['systemd-tmpfiles', 'cchost.tmpfiles', '--create']]) {
      const r = run(tool, [`--root=${dir}`, ...more, path.join(here, file)]);
      assert.strictEqual(r.status, 0, r.out);
    }
    const [, uid] = /^cchost:x:(\d+):\d+:cchost control plane:\/var\/lib\/cchost:\/usr\/sbin\/nologin$/m.exec(fs.readFileSync(path.join(dir, 'etc', 'passwd'), 'utf8'));
    const is = (p) => { const s = fs.statSync(path.join(dir, p)); return [s.uid === Number(uid), (s.mode & 0o777).toString(8)]; };
    assert.deepStrictEqual(['var/lib/cchost', 'etc/cchost/policies', 'etc/cchost', 'etc/cchost/cchost.lua'].map(is),
      [[true, '700'], [true, '755'], [false, '755'], [false, '640']]);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
