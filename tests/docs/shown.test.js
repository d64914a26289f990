// The documents as a whole: every block of commands is run by a test or says why not, every command, target and bench that a text names is there,
// and the index knows every page.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { root, binary } = require('../lib/cchost.js');
const { fences } = require('../lib/shown.js');

const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');
const docs = fs.readdirSync(path.join(root, 'docs')).filter((f) => f.endsWith('.md')).map((f) => `docs/${f}`);
const pages = ['README.md', ...docs, 'policies/README.md', 'providers/README.md', 'web/README.md', 'store/SCHEMA.md'];
const tests = fs.readdirSync(path.join(root, 'tests', 'docs')).filter((f) => f.endsWith('.test.js')).map((f) => read(`tests/docs/${f}`));

const COMMAND = /^\s*(?:\.\/)?(?:cchost|ccc|claude-cloud|curl|make|sudo|apt-get|apt|systemctl|docker|npm|node|bash)\s+\S/;

// What is wrong with a block, or nothing.
function fault(b) {
  const at = `${b.page}:${b.line}`;
  if (b.language === 'sh') {
    if (b.by) return !fs.existsSync(path.join(root, b.by)) && `${at}: ${b.by} is not there`;
    if (b.why) return b.why.length < 15 && `${at}: that is no reason`;
    return !tests.some((text) => text.includes(`shown('${b.page}')`)) && `${at}: no test runs it, and no reason is given`;
  }
  if (!['lua', 'json', 'text', 'js', 'nix', 'yaml'].includes(b.language)) return `${at}: a block of which language?`;
  const line = b.language === 'text' && b.text.split('\n').find((l) => COMMAND.test(l));
  return line && `${at}: ${line}: commands stand in a block of sh`;
}

const all = pages.flatMap(fences);

test('every block of commands is run by a test, or says why not', () => {
  assert.deepStrictEqual(all.map(fault).filter(Boolean), []);
  assert.ok(all.filter((b) => b.language === 'sh' && !b.why && !b.by).length >= 40);
  const block = { page: 'docs/nothing.md', line: 1, language: 'sh', text: 'rm -r /' };
  assert.match(fault(block), /no test runs it/);
  assert.match(fault({ ...block, language: 'text', text: 'make it' }), /stand in a block of sh/);
  assert.match(fault({ ...block, by: 'tests/none.test.js' }), /is not there/);
});

test('commands are in fenced blocks, not in indented ones', () => {
  const found = [];
  for (const page of pages) {
    const lines = read(page).split('\n');
    const fenced = new Set(fences(page).flatMap((b) => Array.from({ length: b.text.split('\n').length + 1 }, (_, i) => b.line - 1 + i)));
    lines.forEach((l, i) => { if (!fenced.has(i) && /^ {4}/.test(l) && COMMAND.test(l) && lines[i - 1] === '') found.push(`${page}:${i + 1}: ${l.trim()}`); });
  }
  assert.deepStrictEqual(found, []);
});

test('every page that a test runs says so by ending with done()', () => {
  for (const text of tests.filter((x) => /= shown\('/.test(x))) assert.strictEqual((text.match(/= shown\('/g) || []).length <= (text.match(/\.done\(\)/g) || []).length, true, text.slice(0, 200));
});

test('commands, targets and benches that a text names are there', () => {
  const help = spawnSync(binary, ['--help'], { encoding: 'utf8' }).stdout;
  const known = new Set([...help.matchAll(/^ {2}cchost ([a-z]+)/gm)].map((m) => m[1]));
  const targets = new Set([...read('Makefile').matchAll(/^([a-z-]+):/gm), ...read('Makefile').matchAll(/\.PHONY: (.*)/g)].flatMap((m) => m[1].split(' ')));
  const benches = read('tests/bench/run');
  const suites = read('tests/run');
  const found = [];
  for (const page of pages) {
    for (const [, code] of read(page).replace(/^(\s*)```[\s\S]*?^\1```/gm, '').matchAll(/`([^`\n]+)`/g)) {
      const [, command] = /^(?:\.\/)?cchost ([a-z]+)(?![\w./-])/.exec(code) || [];
      const magic = code === 'cchost store'; // the first words of the store's file
      if (command && !known.has(command) && !magic) found.push(`${page}: cchost ${command}`);
      const [, target] = /(?:^| )make ([a-z][a-z-]+)(?![\w./-])/.exec(code) || [];
      if (target && /^make |[A-Z]=\S+ make /.test(code) && !targets.has(target)) found.push(`${page}: make ${target}`);
      const [, bench] = /^(?:[A-Z]+=\d+ )?tests\/bench\/run ([a-z]+)/.exec(code) || [];
      if (bench && !new RegExp(`\\b${bench}\\b`).test(benches)) found.push(`${page}: tests/bench/run ${bench}`);
      const [, suite] = /^tests\/run ([a-z]+)/.exec(code) || [];
      if (suite && !new RegExp(`\\b${suite}\\b`).test(suites)) found.push(`${page}: tests/run ${suite}`);
    }
  }
  assert.deepStrictEqual(found, []);
});

test('the README has every command that the program has', () => {
  const help = spawnSync(binary, ['--help'], { encoding: 'utf8' }).stdout;
  const table = /## Commands\n([^]*?)\nEach has/.exec(read('README.md'))[1];
  const named = new Set(table.split('\n').flatMap((row) => [...(row.split('|')[1] || '').matchAll(/`(?:cchost )?([a-z]+)/g)].map((m) => m[1])));
  const missing = [...help.matchAll(/^ {2}cchost ([a-z]+)/gm)].map((m) => m[1]).filter((c) => !named.has(c));
  assert.deepStrictEqual(missing, []);
});

test('the index of docs/ has every page, once', () => {
  const linked = [...read('docs/README.md').matchAll(/\]\(([^)#]+\.md)\)/g)].map((m) => path.normalize(`docs/${m[1]}`));
  assert.deepStrictEqual(docs.filter((p) => p !== 'docs/README.md' && !linked.includes(p)), []);
  for (const p of ['policies/README.md', 'providers/README.md', 'web/README.md', 'store/SCHEMA.md']) assert.ok(linked.includes(p), p);
});

test('the limits of docs/figures.md are those of the settings, and its links lead somewhere', () => {
  const settings = new Map([...read('docs/settings.md').matchAll(/^\| `(\w+)` \| [^|]* \| `?([^|`]*)`? \|/gm)].map((m) => [m[1], m[2]]));
  const page = read('docs/figures.md');
  const said = [...page.matchAll(/`([A-Z_]+)`: (\d+)/g)];
  assert.ok(said.length >= 12);
  for (const [, name, value] of said) assert.strictEqual(settings.get(name), value, name);
});

// As the hosts of such pages make the name of a heading.
const anchor = (heading) => heading.toLowerCase().replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[^\w\- ]/g, '').replace(/ /g, '-');

test('links to a part of a page lead to a heading', () => {
  const found = [];
  for (const page of pages) {
    for (const [, file, part] of read(page).matchAll(/\]\(([^)#:\s]*)#([^)\s]+)\)/g)) {
      const target = file ? path.join(path.dirname(page), file) : page;
      if (!target.endsWith('.md')) continue;
      const names = [...read(target).matchAll(/^#+ (.*)$/gm)].map((m) => anchor(m[1]));
      if (!names.includes(part)) found.push(`${page}: ${file}#${part}`);
    }
  }
  assert.deepStrictEqual(found, []);
});
