// A run that is ended by a signal left its servers running, and their data in the temporary folder.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { temp, until } = require('../lib/cchost.js');

// Processes whose command line or environment names `dir`, zombies and those of other users apart.
function users(dir) {
  return fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid).filter((pid) => {
    try {
      return ['cmdline', 'environ'].some((file) => fs.readFileSync(`/proc/${pid}/${file}`).includes(dir));
    } catch {
      return false; // it has ended
    }
  });
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} ends a run, its servers and their data`, async () => {
    const dir = temp();
    const env = { ...process.env, TMPDIR: dir, CRASH_MODE: 'mixed', CRASH_KILLS: '1000' };
    delete env.NODE_TEST_CONTEXT;
    const run = spawn(process.execPath, [path.join(__dirname, 'crash.test.js')], { env, stdio: 'ignore' });
    const exited = new Promise((r) => run.on('exit', r));
    try {
      await until(() => users(dir).length > 1, 'a server runs');
      run.kill(signal);
      await exited;
      await until(() => users(dir).length === 0, () => `all have ended but ${users(dir)}`);
      assert.deepStrictEqual(fs.readdirSync(dir), []);
    } finally {
      run.kill('SIGKILL');
      for (const pid of users(dir)) process.kill(Number(pid), 'SIGKILL');
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });
}
