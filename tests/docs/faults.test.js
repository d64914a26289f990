// docs/faults.md: every numbered fault has tests, and each of those is there.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { root } = require('../lib/cchost.js');

const range = (letter, from, to) => Array.from({ length: to - from + 1 }, (_, i) => `${letter}${from + i}`);
const numbers = [...range('B', 1, 8), 'B8b', 'B8c', ...range('B', 9, 14), 'B18', 'B23', 'B24', 'B32', 'B33', ...range('B', 34, 38), ...range('T', 5, 18), 'S12', 'S37', 'S38', ...range('C', 3, 9)];

// [{number, tests: [[file, name]...]}...]
const rows = fs.readFileSync(path.join(root, 'docs', 'faults.md'), 'utf8').split('\n').map((line) => /^\| ([BTCS]\d+[bc]?) \| [^|]+ \| (.+) \|$/.exec(line)).filter(Boolean)
  .map(([, number, shown]) => ({ number, tests: [...shown.matchAll(/\]\(\.\.\/tests\/([^)]+)\)((?:,? `[^`]+`)+)/g)].flatMap(([, file, names]) => [...names.matchAll(/`([^`]+)`/g)].map((m) => [file, m[1]])) }));

const plain = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

// Whether a file defines a test of that name, and, where it lists them, also runs it.
function defines(file, name) {
  const text = fs.readFileSync(path.join(root, 'tests', file), 'utf8').replace(/\\'/g, "'");
  if (!file.endsWith('.c')) return new RegExp(`\\b(?:test|both|with[A-Z]\\w+)\\((?:test, )?(['"\`])${plain(name)}\\1`).test(text);
  return new RegExp(`^static void ${name}\\(`, 'm').test(text) && new RegExp(`^ +\\w+\\(${name}\\)`, 'm').test(text);
}

test('every numbered fault is there, once', () => assert.deepStrictEqual(rows.map((r) => r.number), numbers));

test('every test that is named is there', () => {
  for (const { number, tests } of rows) {
    assert.ok(tests.length > 0, number);
    for (const [file, name] of tests) assert.ok(defines(file, name), `${number}: ${file} has no test '${name}'`);
  }
  assert.strictEqual(defines('docs/faults.test.js', 'no such test'), false);
});
