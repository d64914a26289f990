// cchost provider check: what an operator is told before the first machine, also where nothing is there yet. Of docker, hetzner,
// libvirt and netbird their own tests show it.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { binary, temp } = require('../lib/cchost.js');

const check = (dir, name, env = {}) => {
  const r = spawnSync(binary, ['provider', 'check', name, '--json', `--data-dir=${dir}`], { encoding: 'utf8', cwd: path.dirname(dir), env: { PATH: process.env.PATH, ...env } });
  const found = r.stdout.split('\n').filter(Boolean).map((l) => JSON.parse(l));
  return { code: r.status, err: r.stderr, found, of: (what) => found.filter((f) => f.what === what).map((f) => `${f.state}: ${f.sentence}`).join('\n') };
};

test('each provider has an answer, before there is a DATA_DIR', (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const at = path.join(dir, 'data');
  const mock = check(at, 'mock');
  assert.deepStrictEqual([mock.code, mock.of('settings')], [0, 'ok: the provider mock needs nothing of this host']);
  fs.rmdirSync(at);

  const local = check(at, 'local');
  for (const what of ['machines', 'permissions', 'network', 'limits', 'disk', 'ssh']) assert.match(local.of(what), /^(ok|warn|bad): \S/, `${what} ${local.err}`);
  assert.strictEqual(local.code, local.found.some((f) => f.state === 'bad') ? 1 : 0);
  assert.strictEqual(fs.statSync(at).mode & 0o777, 0o700, 'DATA_DIR as the server makes it');

  const docker = check(path.join(dir, 'other'), 'docker', { DOCKER_HOST: 'unix:///nowhere/s' });
  assert.deepStrictEqual([docker.code, docker.of('dockerd')], [1, 'bad: /nowhere/s: No such file or directory: is dockerd installed, and does it run?']);
  const hetzner = check(at, 'hetzner');
  assert.deepStrictEqual([hetzner.code, hetzner.of('settings')], [1, 'bad: hetzner needs a token of its API (HCLOUD_TOKEN)']);
  assert.doesNotMatch(hetzner.err, /not woken/, 'what was never begun is not ended'); // it closed descriptor 0

  const nobody = check(at, 'nobody');
  assert.deepStrictEqual([nobody.code, nobody.found], [1, []]);
  assert.match(nobody.err, /there is no provider called nobody/);
});
