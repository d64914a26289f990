// docs/disaster.md: backup, rehearsal, and a host that is lost. The provider is a mock whose machines outlive the host.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, temp, until, binary } = require('../lib/cchost.js');
const { person } = require('../access/people.js');
const { shown } = require('../lib/shown.js');

const page = shown('docs/disaster.md');

async function place(t) {
  const here = temp();
  t.after(() => fs.rmSync(here, { recursive: true, force: true }));
  fs.mkdirSync(path.join(here, 'bin'));
  fs.symlinkSync(binary, path.join(here, 'bin', 'cchost'));
  const settings = { PROVIDER: 'mock', MOCK: `{state="${here}/world"}` };
  const change = (text) => text.replaceAll('/backups', `${here}/backups`);
  return {
    here,
    start: (dir, env = {}) => (fs.mkdirSync(path.join(here, dir), { recursive: true }), Server.start({ provider: 'mock', mock: settings.MOCK, sweep_seconds: 1 }, path.join(here, dir), { env })),
    run: async (dir, env, ...n) => page.run({ cwd: here, change, env: { ...settings, DATA_DIR: path.join(here, dir), PATH: `${here}/bin:${process.env.PATH}`, ...env } }, ...n),
  };
}

const make = async (s, name) => {
  const r = await s.call('POST', '/instances?wait=30', { name });
  assert.strictEqual(r.status, 201, r.text);
  await s.running(r.body.id);
  return r.body;
};

test('a backup, its rehearsal, and the host is lost', async (t) => {
  const p = await place(t);
  const key = { MASTER_KEY: '1b'.repeat(32) };
  let s = await p.start('data', key);
  let ann = await person(s, 'ann@example.org');
  assert.strictEqual((await ann.call('PUT', '/auth/settings', { anthropic_api_key: `sk-${'y'.repeat(40)}` })).status, 200);
  await make(s, 'kept');
  const gone = await make(s, 'deleted-since');

  const [made] = await p.run('data', key, 0);
  assert.match(made, /cchost-[\dT-]+: \d+ bytes, \d+ log entries/);
  const [rehearsed] = await p.run('data', key, 1);
  for (const sign of [/rehearsal: restored, \d+ log entries/, /the log is whole/, /the books balance/, / RUNNING .* kept$/m, /^0 secrets sealed anew$/m]) assert.match(rehearsed, sign);
  assert.strictEqual(fs.existsSync(path.join(p.here, 'backups', 'rehearsal')), false);
  await assert.rejects(p.run('data', { MASTER_KEY: '2c'.repeat(32) }, 1), /which is not here/, 'another master key is told by the rehearsal');
  fs.rmSync(path.join(p.here, 'backups', 'rehearsal'), { recursive: true });

  const late = await make(s, 'made-since');
  assert.strictEqual((await s.call('DELETE', `/instances/${gone.id}?wait=30`)).status, 200);
  await s.kill();
  fs.rmSync(s.dir, { recursive: true });

  await p.run('new', key, 2);
  const [there] = await p.run('new', key, 3);
  assert.match(there, new RegExp(`^cc-${late.short} +running +mock +- `, 'm'));
  assert.match(there, / operator +kept +RUNNING$/m);
  s = await p.start('new', key);
  await until(async () => (await s.call('GET', '/events?type=orphans_found')).body?.length === 1, () => `the orphan is found\n${s.log}`);
  await until(async () => (await s.call('GET', `/instances/${gone.id}/events?type=found_down`)).body?.length === 1, () => `what was deleted since is started again\n${s.log}`);
  await s.running(gone.id);
  assert.strictEqual((await s.call('GET', '/instances/kept')).body.status, 'RUNNING');
  for (const m of (await s.call('GET', '/instances')).body) await s.call('DELETE', `/instances/${m.id}?wait=30`);
  await s.stop();

  // the master key is lost, too
  s = await p.start('new', { MASTER_KEY: '2c'.repeat(32) });
  ann = await person(s, 'ann@example.org');
  assert.strictEqual((await ann.call('GET', '/auth/settings')).status, 403);
  assert.strictEqual((await ann.call('PUT', '/auth/settings', { anthropic_api_key: `sk-${'z'.repeat(40)}` })).status, 200, 'given again');
  assert.strictEqual((await ann.call('GET', '/auth/settings')).status, 200);
  assert.match((await p.run('new', {}, 4))[0], /store/);
  await s.stop();
  page.done();
});
