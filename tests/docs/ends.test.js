// What tests/run relies on: a file of tests ends with its last test (tests/lib/ends.js).
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { root, temp } = require('../lib/cchost.js');

// Runs a file of these tests alone. -> { status, stdout }
function run(t, text) {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'one.test.js');
  fs.writeFileSync(file, `const test = require('node:test'), net = require('node:net');\n${text}`);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env; // else it would speak to this file's runner
  const node = ['--require', path.join(root, 'tests', 'lib', 'ends.js'), '--test-reporter=tap', file];
  return spawnSync(process.execPath, node, { env: { ...env, GRACE_SECONDS: '2' }, encoding: 'utf8', timeout: 120000 });
}

test('a failed test that left a socket open does not keep its file from ending', (t) => {
  const r = run(t, "test('a', async () => { net.createServer().listen(0); throw new Error('no'); });\ntest('b', () => {});\n");
  assert.deepStrictEqual([r.status, r.signal], [1, null], r.stdout);
  assert.match(r.stdout, /^not ok 1 - a[^]*^ok 2 - b/m);
  assert.match(r.stdout, /# 2 s after the last test there is still open: .*TCPServerWrap/);
});

test('nor does one that passed, and it is no success', (t) => {
  const r = run(t, "test('a', () => { net.createServer().listen(0); });\n");
  assert.deepStrictEqual([r.status, r.signal], [1, null], r.stdout);
  assert.match(r.stdout, /^ok 1 - a[^]*still open/m);
});

test('a test takes as long as it does, with those within it', (t) => {
  const slow = '() => new Promise((r) => setTimeout(r, 3000))';
  const r = run(t, `test('a', async (t) => { await t.test('b', () => {}); await (${slow})(); });\ntest('c', ${slow});\n`);
  assert.deepStrictEqual([r.status, r.signal], [0, null], r.stdout);
  assert.doesNotMatch(r.stdout, /still open/);
});
