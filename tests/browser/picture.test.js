// The picture of the dashboard in README.md is made by the command that the page names.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { root } = require('./browser.js');
const { temp } = require('../lib/cchost.js');

// A PNG's width and height.
const size = (file) => {
  const bytes = fs.readFileSync(file);
  assert.strictEqual(bytes.toString('latin1', 1, 4), 'PNG', file);
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
};

test('make picture makes it, of the size that the page has', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  assert.match(fs.readFileSync(path.join(root, 'README.md'), 'utf8'), /!\[[^\]]+\]\(docs\/dashboard\.png\)\n\n\(`make picture`/);
  assert.match(fs.readFileSync(path.join(root, 'Makefile'), 'utf8'), /^picture: .*\n(?:\t.*\n)*\t.*node tests\/browser\/picture\.js$/m);
  const file = path.join(dir, 'dashboard.png');
  const child = spawn(process.execPath, [path.join(__dirname, 'picture.js'), file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (d) => { said += d; });
  assert.strictEqual(await new Promise((r) => child.on('exit', r)), 0, said);
  assert.deepStrictEqual(size(file), size(path.join(root, 'docs', 'dashboard.png')));
  assert.ok(fs.statSync(path.join(root, 'docs', 'dashboard.png')).size < 150 * 1024);
});
