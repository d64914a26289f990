// What docs/api.md, docs/events.md, docs/observability.md, docs/networks.md, docs/netbird.md, docs/billing.md and policies/README.md show is run.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, root, temp, binary } = require('../lib/cchost.js');
const { Netbird } = require('../lib/netbird.js');
const { person } = require('../access/people.js');
const { shown } = require('../lib/shown.js');

async function started(t, settings = {}) {
  const s = await Server.start({ provider: 'mock', ...settings });
  t.after(() => s.stop());
  return s;
}

test('events as a stream', async (t) => {
  const page = shown('docs/api.md');
  const s = await started(t);
  const made = s.call('POST', '/instances', { name: 'first' });
  const change = (text) => `${text.replaceAll('http://127.0.0.1:8080', s.url).replace('curl -N', 'curl -sN --max-time 2 -H "Last-Event-ID: 0"')} || [ $? = 28 ]`;
  const [said] = await page.run({ env: { KEY: s.key }, change });
  assert.strictEqual((await made).status, 201);
  assert.match(said, /^event: created$/m);
  page.done();
});

test('a network, and a machine in it', async (t) => {
  const page = shown('docs/networks.md');
  const s = await started(t, { mock: '{vpc=true}', network_backend: 'mock' });
  const ann = await person(s, 'ann@example.org');
  const { token } = (await ann.call('POST', '/auth/tokens', { name: 'x', scopes: ['networks:write', 'instances:write'] })).body;
  const [said] = await page.run({ env: { TOKEN: token, URL: s.url } });
  assert.match(said, /"status":"AVAILABLE"/);
  const one = (await ann.call('GET', '/instances/one')).body;
  assert.match(one.address, /^10\.0\.0\.\d+/);
  page.done();
});

test('the mesh network, before its first machine', { skip: Netbird.missing() }, async (t) => {
  const page = shown('docs/netbird.md');
  const here = temp();
  t.after(() => fs.rmSync(here, { recursive: true, force: true }));
  const nb = await Netbird.start();
  t.after(() => nb.stop());
  const s = await started(t);
  for (const p of [...nb.policies.values()]) if (p.name === 'Default') p.enabled = false; // as the page says
  const [said] = await page.run({ cwd: here, env: { ...nb.env, DATA_DIR: s.dir, PROVIDER: 'mock' } });
  assert.match(said, /^ok +token/m);
  assert.match(fs.readFileSync(path.join(here, 'key'), 'utf8'), /^[0-9A-F-]{36}\n$/i);
  page.done();
});

test('levels of the log', async (t) => {
  const page = shown('docs/observability.md');
  const s = await started(t);
  const [said] = await page.run({ env: { DATA_DIR: s.dir, CCHOST_URL: s.url } });
  assert.match(said, /tls +debug/);
  page.done();
});

test('what Stripe has us do, when there is nothing', async (t) => {
  const page = shown('docs/billing.md');
  const s = await started(t);
  assert.deepStrictEqual(await page.run({ env: { DATA_DIR: s.dir } }), ['']);
  page.done();
});

test('the policies that are in force', async (t) => {
  const page = shown('policies/README.md');
  const s = await started(t, { policies_dir: path.join(root, 'policies') });
  const [said] = await page.run({ cwd: root, env: { DATA_DIR: s.dir } });
  for (const sign of [/good: \d+ tests/, /^generation 1 /m, /policies: as it is in force/, /^### `access.lua`/m]) assert.match(said, sign);
  page.done();
});

test('the types of events are all of those that there are', () => {
  const [, block] = /<!-- made by: cchost log --types -->\n```text\n([^]*?)```\n/.exec(fs.readFileSync(path.join(root, 'docs/events.md'), 'utf8'));
  const said = spawnSync(binary, ['log', '--types'], { encoding: 'utf8' });
  assert.strictEqual(said.stdout, block);
  assert.match(block, /^instance\.running /m);
});

// What a level can be given to (`cchost levels tls=debug`) stood nowhere.
test('the modules of the log are all of those that write into it', () => {
  const [, list] = /^The modules are ([^.]*)\./m.exec(fs.readFileSync(path.join(root, 'docs/observability.md'), 'utf8'));
  const told = new Set([...list.matchAll(/`(\w+)`/g)].map((m) => m[1]));
  const found = new Set(['docker', 'hetzner', 'libvirt', 'local', 'mock']); // watching.c tells of each by its name
  for (const dir of ['host', 'lua', 'providers']) {
    for (const file of fs.readdirSync(path.join(root, dir), { recursive: true }).filter((f) => /\.(lua|c)$/.test(f))) {
      const source = fs.readFileSync(path.join(root, dir, file), 'utf8');
      const calls = file.endsWith('.c') ? /\bcc_log(?:_fields)?\(\s*CC_LOG_\w+,\s*"(\w+)"|\bcc_log_raised\(\s*"(\w+)"/g
        : /\b(?:log\.(?:debug|info|warn|error)|due\.new)\(\s*"(\w+)"/g;
      for (const [, a, b] of source.matchAll(calls)) found.add(a || b);
    }
  }
  assert.deepStrictEqual([...told].sort(), [...found].sort());
});
