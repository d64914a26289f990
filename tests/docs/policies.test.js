// docs/policies.md: each of its files is good, alone among the shipped ones and all together, does what the page says, and its commands work.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, root, temp, until, binary } = require('../lib/cchost.js');
const { person } = require('../access/people.js');
const { shown, fences } = require('../lib/shown.js');

const files = fences('docs/policies.md').filter((b) => b.language === 'lua').map((b) => ({ name: (/^-- policies\/(\S+\.lua)\n/.exec(b.text) || [])[1], ...b }));
const shipped = path.join(root, 'policies');

function folder(t, list) {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.mkdirSync(path.join(dir, 'tests'));
  for (const f of list) fs.writeFileSync(path.join(dir, f.name), `${f.text}\n`);
  return dir;
}
const run = (...args) => spawnSync(binary, args, { encoding: 'utf8', env: { ...process.env, DATA_DIR: '/nonexistent' } });

test('the page has a file of each kind', () => {
  assert.deepStrictEqual(files.map((f) => f.name), ['idle.lua', 'plans.lua', 'access.lua', 'placement.lua', 'expiry.lua', 'health.lua', 'orphans.lua', 'routes.lua', 'schedule.lua',
    'provision.lua', 'tests/evening.lua']);
});

for (const f of files) {
  test(`${f.name} is good, and chance finds nothing`, (t) => {
    const dir = folder(t, [f]);
    const r = run('policy', 'test', dir);
    assert.strictEqual(r.status, 0, r.stderr);
    assert.doesNotMatch(r.stderr, /warning/);
    const tried = run('fuzz', dir, '--count=300', '--seed=1');
    assert.strictEqual(tried.status, 0, tried.stdout + tried.stderr);
  });
}

test('all of them together are a set in force, and their routes and steps do what the page says', async (t) => {
  const dir = folder(t, files);
  const s = await Server.start({ provider: 'local', policies_dir: dir });
  t.after(() => s.stop());
  assert.match(run('policy', 'status', `--data-dir=${s.dir}`, `--policies-dir=${dir}`).stdout, /as it is in force/);
  const ann = await person(s, 'ann@example.org');
  const m = await ann.call('POST', '/instances?wait=60', { name: 'box', type: 'small', labels: { night: 'off' } });
  assert.strictEqual(m.status, 201, m.text);
  await s.running(m.body.id);
  const said = await ann.call('POST', '/instances/box/exec', { cmd: ['sh', '-c', 'cat ~/README'] });
  assert.strictEqual(said.body.stdout, 'welcome to box\n', said.text);
  assert.deepStrictEqual((await ann.call('GET', '/reports/mine')).body, { running: 1, other: 0 });
  const schedule = files.find((f) => f.name === 'schedule.lua').text;
  fs.writeFileSync(path.join(dir, 'schedule.lua'), schedule.replace(/at = "[^"]+", zone = "[^"]+", missed = "once"/, 'every = "1s"')); // it is night
  await until(async () => (await ann.call('GET', '/instances/box')).body.status === 'STOPPED', () => `it is off at night\n${s.log}`, 60);
  assert.deepStrictEqual((await ann.call('GET', '/reports/mine')).body, { running: 0, other: 1 });
});

test('an edit, from a copy to its rollback', async (t) => {
  const page = shown('docs/policies.md');
  const s = await Server.start({ provider: 'mock', policies_dir: undefined });
  const here = temp();
  t.after(() => fs.rmSync(here, { recursive: true, force: true }));
  t.after(() => s.stop());
  await until(() => run('policy', 'log', `--data-dir=${s.dir}`).stdout.includes('1 '), 'a set is in force');
  fs.mkdirSync(path.join(here, 'bin'));
  fs.symlinkSync(binary, path.join(here, 'bin', 'cchost'));
  const [said] = await page.run({ cwd: here, env: { SHIPPED: shipped, DATA_DIR: s.dir, POLICIES_DIR: path.join(s.dir, 'policies'), PATH: `${here}/bin:${process.env.PATH}` } });
  for (const sign of [/^mine: good: \d+ tests/m, /generation 2 is in force/, /by .*: warned half an hour before/, /^-local WARN = 15 \* 60/m, /^\+local WARN = 30 \* 60/m, /generation 3 is in force/]) {
    assert.match(said, sign);
  }
  page.done();
});
