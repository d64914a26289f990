// docs/providers.md: its table says what the drivers say, and its commands work.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, root } = require('../lib/cchost.js');
const { shown } = require('../lib/shown.js');

const NAMES = ['local', 'docker', 'libvirt', 'hetzner', 'mock'];
const source = (name) => fs.readFileSync(path.join(root, 'providers', name, `${name}.c`), 'utf8');

test('the table of what each can is that of the drivers', () => {
  const rows = new Map(fs.readFileSync(path.join(root, 'docs', 'providers.md'), 'utf8').split('\n').filter((l) => l.startsWith('| ')).map((l) => l.split('|').slice(1, -1).map((c) => c.trim()))
    .map(([name, ...cells]) => [name, cells]));
  assert.deepStrictEqual(rows.get(''), NAMES.map((n) => `\`${n}\``));
  for (const [row, member] of [['a stop keeps its disk', 'stop_keeps_disk'], ['volumes have snapshots', 'snapshots'], ['machines have snapshots', 'machine_snapshots'],
    ['suspend', 'suspend'], ['a screen', 'console']]) {
    const has = NAMES.map((n) => new RegExp(`\\.${member} = (?!NULL|false)`).test(source(n)));
    assert.deepStrictEqual(rows.get(row).map((c) => c === 'yes'), has, row);
  }
  for (const [i, n] of NAMES.entries()) assert.strictEqual(/\.net_vpc = true/.test(source(n)), rows.get('networks of users')[i] === 'yes', n);
});

test('the commands of the page about providers', async (t) => {
  const page = shown('docs/providers.md');
  const s = await Server.start({ provider: 'mock', mock: '{state="mock.state"}' });
  t.after(() => s.stop());
  await s.call('POST', '/instances?wait=20', { name: 'first' });
  const change = (text) => text.replace(/(check local)/, '$1 || [ $? = 1 ]'); // what this host lacks is not the page's matter
  const [said] = await page.run({ cwd: s.dir, change, env: { DATA_DIR: s.dir, PROVIDER: 'mock', MOCK: '{state="mock.state"}' } });
  for (const sign of [/^(ok|warn|bad) +machines/m, /^\{.*"what":"settings"/m, /^cc-[0-9a-f]{12} +running +mock/m]) assert.match(said, sign);
  page.done();
});
