// Every command that docs/ledger.md shows is run, in the order it stands there.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, root, temp, binary } = require('../lib/cchost.js');
const { shown } = require('../lib/shown.js');

const page = shown('docs/ledger.md');

test('the commands of the page about the ledger work beside a server', async () => {
  const s = await Server.start({ provider: 'mock', policies_dir: path.join(root, 'policies') });
  const here = temp();
  try {
    assert.strictEqual((await s.call('POST', '/users', { email: 'ann@example.com', plan: 'pro' })).status, 201);
    await s.running((await s.call('POST', '/instances', { name: 'box', user_id: 'ann@example.com' })).body.id);
    fs.symlinkSync(path.join(root, 'examples'), path.join(here, 'examples'));
    const said = await page.run({ cwd: here, env: { DATA_DIR: s.dir, CCHOST_URL: s.url } });
    page.done();
    for (const sign of [/^ann@example\.com +pro +credit 0\.00 +owed \d+\.\d+/m, /posted as adjust\/.*\/friday\n/, /nothing changed: adjust\/.*\/friday was posted before/,
      /the books balance: \d+ entries of 1 accounts; \d+ intervals of 1 machines/]) assert.match(said[0], sign);
    assert.match(said[1], /fee, plan pro/);
    assert.match(said[1], /adjustment, slow disks on Friday +5\.00/);
    assert.match(said[1], /plan starter/);
    assert.match(said[2], /^ann@example\.com {2}pro, given by operator at \S+\nann@example\.com {2}pro, given by operator at \S+: writes our docs\n$/);
    assert.match(said[3], /account +plan +hours/);
    assert.match(said[3], /ann@example\.com,pro,/);
    assert.match(said[3], / 1 ann@example\.com/);
    assert.match(said[3], /1 of 1 accounts would be given/);
    assert.match(said[4], /^genuine: account [0-9a-f-]{36}/);
  } finally {
    await s.stop();
    fs.rmSync(here, { recursive: true, force: true });
  }
});

test('every command has a help text that says how it is used', () => {
  for (const name of ['ledger', 'invoice', 'plan']) {
    const r = spawnSync(binary, [name, '--help'], { encoding: 'utf8' });
    assert.strictEqual(r.status, 0);
    assert.match(r.stdout, new RegExp(`^usage: cchost ${name} `));
    assert.match(spawnSync(binary, ['--help'], { encoding: 'utf8' }).stdout, new RegExp(`cchost ${name} `));
  }
});

test('what cannot be understood ends with 2, what is not there with 1', async () => {
  const s = await Server.start({ provider: 'mock' });
  try {
    await s.call('POST', '/users', { email: 'ann@example.com' });
    const run = (...args) => spawnSync(binary, [...args, `--data-dir=${s.dir}`], { encoding: 'utf8' });
    for (const [code, words, ...args] of [
      [2, /--reason/, 'ledger', 'adjust', 'ann@example.com', '5'], [2, /AMOUNT/, 'ledger', 'adjust', 'ann@example.com', '1.1234567', '--reason=x'],
      [2, /AMOUNT/, 'ledger', 'pay', 'ann@example.com', '-5', '--reason=x'], [2, /AMOUNT/, 'ledger', 'adjust', 'ann@example.com', '0', '--reason=x'],
      [2, /HOURS/, 'ledger', 'hours', 'ann@example.com', '-1', '--reason=x'], [2, /usage/, 'ledger', 'steal', 'ann@example.com', '5', '--reason=x'],
      [1, /no such user/, 'ledger', 'bob@example.com'], [1, /no such user/, 'ledger', 'pay', 'bob@example.com', '5', '--reason=x'],
      [2, /MONTH/, 'invoice', 'ann@example.com', '2026-13'], [1, /no such user/, 'invoice', 'bob@example.com', '2026-11'],
      [2, /--reason/, 'plan', 'ann@example.com', 'pro'], [1, /there is no plan 'gold'/, 'plan', 'ann@example.com', 'gold', '--reason=x'],
      [1, /there is no plan 'gold'/, 'invoice', 'ann@example.com', '2026-11', '--plan=gold'],
    ]) {
      const r = run(...args);
      assert.strictEqual(r.status, code, `${args.join(' ')}: ${r.stdout}${r.stderr}`);
      assert.match(r.stderr, words, args.join(' '));
    }
    assert.strictEqual(spawnSync(binary, ['ledger', '--data-dir=/nowhere/at/all'], { encoding: 'utf8' }).status, 1);
  } finally {
    await s.stop();
  }
});
