// Every command that docs/webhooks.md shows is run, in the order it stands there, with the receiver that it shows.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, temp, until } = require('../lib/cchost.js');
const { fences, shown } = require('../lib/shown.js');

const page = shown('docs/webhooks.md');

const freePort = () => new Promise((resolve) => {
  const probe = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

test('the commands and the receiver of the page about webhooks work', async (t) => {
  const s = await Server.start({ provider: 'mock' });
  t.after(() => s.child.kill('SIGKILL')); // of a test that failed
  const here = temp();
  const pid = `${here}/receiver.pid`;
  t.after(() => { if (fs.existsSync(pid)) process.kill(Number(fs.readFileSync(pid, 'utf8'))); });
  const { text: receiver } = fences('docs/webhooks.md').find((b) => b.language === 'js');
  fs.writeFileSync(`${here}/receiver.js`, receiver);
  const pieces = page.blocks.map((_, n) => page.take(n).join('\n'));
  page.done();
  assert.strictEqual(pieces.length, 3);
  let env = { ...process.env, KEY: s.key, CCHOST_URL: s.url, PORT: String(await freePort()) };
  // its output goes to files: what it leaves running would hold a pipe open
  const run = (lines) => {
    const r = spawnSync('bash', ['-euc', `{ ${lines}\n} > said.txt 2> errors.txt; env > env.txt`], { cwd: here, env, timeout: 60e3 });
    const said = fs.readFileSync(`${here}/said.txt`, 'utf8');
    assert.strictEqual(r.status, 0, `${lines}\n${said}${fs.readFileSync(`${here}/errors.txt`, 'utf8')}`);
    for (const m of fs.readFileSync(`${here}/env.txt`, 'utf8').matchAll(/^(ID|WEBHOOK_SECRET)=(.*)$/gm)) env = { ...env, [m[1]]: m[2] };
    return said;
  };
  const told = () => fs.readFileSync(`${here}/told.txt`, 'utf8').trim().split('\n').filter(Boolean);

  const sent = JSON.parse(run(pieces[0]));
  assert.deepStrictEqual([sent.ok, sent.status, sent.type], [true, 204, 'test']);
  await until(() => told().some((l) => /^msg_\S+ instance running$/.test(l)), 'the receiver was told of the machine');
  assert.match(told()[0], /^test_[0-9a-f]{32} webhook test$/);
  assert.strictEqual(run(pieces[1]), 'g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  const n = told().length;
  const said = run(pieces[2]);
  assert.strictEqual(JSON.parse(/^\[.*?\](?=\{)/s.exec(said)[0]).length, 3);
  assert.match(said, /"secret":"whsec_/);
  assert.strictEqual((await s.call('GET', `/webhooks/${env.ID}`)).status, 404);
  assert.strictEqual(told().length, n, 'what came again was known by its id');
  await s.stop();
});
