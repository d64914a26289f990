// kill -9 of the host: machines live on, half-made ones are finished or gone.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Server, until } = require('../lib/cchost.js');
const { Terminal } = require('../lib/terminal.js');
const { traces } = require('../lib/traces.js');

test('ten machines run, five are being made, the host is killed', async (t) => {
  const s = await Server.start({ terminal_command: 'exec bash --norc' });
  t.after(() => s.stop());
  const ten = [];
  for (let i = 0; i < 10; i++) ten.push((await s.call('POST', '/instances', { name: `ten-${i}` })).body);
  for (const m of ten) await s.running(m.id);
  const t0 = await Terminal.open(`${s.url}/instances/ten-0/terminal`, { 'X-API-Key': s.key });
  t0.type('echo before > /claude-data/mark; echo do""ne\r');
  await t0.sees(/\rdone\r\n/);

  // the five answers are not waited for: the host is killed somewhere in their making
  const five = Array.from({ length: 5 }, (_, i) => s.call('POST', '/instances', { name: `five-${i}` }).catch(() => null));
  await five[0];
  await s.kill();
  const answers = (await Promise.all(five)).filter((r) => r && r.status === 201);
  await s.launch();

  for (const m of ten) {
    assert.strictEqual(await s.status(m.id), 'RUNNING');
    const tty = await Terminal.open(`${s.url}/instances/${m.id}/terminal`, { 'X-API-Key': s.key });
    tty.type('echo $((6*7))\r');
    await tty.sees(/\r42\r\n/);
    await tty.close();
  }
  const x = await s.call('POST', '/instances/ten-0/exec', { cmd: ['cat', '/claude-data/mark'] });
  assert.strictEqual(x.body.stdout, 'before\n');

  // every acknowledged one is there; every one that is there becomes RUNNING
  for (const r of answers) assert.ok(['STARTING', 'RUNNING'].includes(await s.status(r.body.id)));
  const list = (await s.call('GET', '/instances?limit=100')).body;
  for (const m of list) await s.running(m.id);
  const store = new Set(list.map((m) => `cc-${m.short}`));
  const shorts = list.map((m) => m.short);
  await until(() => traces(s.dir).cgroups.every((g) => store.has(g.split('/').pop())), 'no cgroup without its machine');

  await Promise.all(list.map((m) => s.call('DELETE', `/instances/${m.id}`)));
  const left = traces(s.dir, shorts);
  assert.deepStrictEqual([left.processes, left.mounts, left.cgroups], [[], [], []]);
});
