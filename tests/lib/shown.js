// The commands that a document shows, for the test that runs them.
//
//   const page = shown('docs/operations.md')
//   page.blocks        those that are to be run, in their order: { page, line, text, lines }
//   await page.run({ env, cwd, change, seconds })   runs them all, one after another -> what each wrote; change(text): as it can be run here
//   await page.run({ ... }, 2, 3)                   the third and the fourth
//   page.take(n)       the lines of one, which its test runs by itself
//   page.done()        fails when one of them was not run
//
// A block is Markdown's ```sh. What a test cannot run as it stands has one of these above it, which nobody sees on the page:
//   <!-- not run here: WHY -->            <!-- run by tests/FOLDER/NAME.test.js -->
// tests/docs/shown.test.js sees to it that there is no other.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { root, binary } = require('./cchost.js');

const NOT_HERE = /^<!-- not run here: (\S.*\S) -->$/;
const BY = /^<!-- run by (tests\/[\w/]+\.test\.js) -->$/;

// Every fenced block: { page, line, language, text, why, by }.
function fences(page) {
  const lines = fs.readFileSync(path.join(root, page), 'utf8').split('\n');
  const found = [];
  for (let i = 0; i < lines.length; i++) {
    const [, indent, language] = /^(\s*)```(\w*)\s*$/.exec(lines[i]) || [];
    if (indent === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, i + 1);
    assert.ok(end > i, `${page}:${i + 1}: a block without an end`);
    const above = (lines[i - 1] || '').trim();
    found.push({ page, line: i + 1, language, text: lines.slice(i + 1, end).map((l) => l.slice(indent.length)).join('\n'),
      why: (NOT_HERE.exec(above) || [])[1], by: (BY.exec(above) || [])[1] });
    i = end;
  }
  return found;
}

// -> { status, out, err }. Not waited for by a blocked loop: what a command asks may be a double in this process.
function bash(text, { env, cwd, seconds = 60 } = {}) {
  const child = spawn('bash', ['-euc', text], { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], timeout: seconds * 1000 });
  const said = { out: '', err: '' };
  child.stdout.on('data', (d) => { said.out += d; });
  child.stderr.on('data', (d) => { said.err += d; });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ ...said, status: code ?? signal }));
  });
}

class Page {
  constructor(page) {
    this.page = page;
    this.blocks = fences(page).filter((b) => b.language === 'sh' && !b.why && !b.by)
      .map((b) => ({ ...b, lines: b.text.trim().split('\n') }));
    this.ran = new Set();
  }

  take(n) {
    assert.ok(this.blocks[n], `${this.page} has no block ${n}`);
    this.ran.add(n);
    return this.blocks[n].lines;
  }

  async run({ change = (text) => text, ...how } = {}, ...which) {
    const said = [];
    for (const n of which.length ? which : this.blocks.keys()) {
      const lines = change(this.take(n).join('\n').replaceAll('./cchost', binary));
      const r = await bash(lines, how);
      assert.strictEqual(r.status, 0, `${this.page}:${this.blocks[n].line}\n${lines}\n${r.out}${r.err}`);
      said.push(r.out);
    }
    return said;
  }

  done() {
    const left = this.blocks.filter((_, n) => !this.ran.has(n)).map((b) => `${b.page}:${b.line}`);
    assert.deepStrictEqual(left, [], 'every block was run');
  }
}

module.exports = { shown: (page) => new Page(page), fences, bash };
