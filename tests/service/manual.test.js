// Completion in a real bash and zsh, and the pages of the manual in a real man: all made from what the program says of itself.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { binary, temp, root } = require('../lib/cchost.js');

function say(args, shell = binary) {
  const r = spawnSync(shell, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8' } });
  assert.strictEqual(r.status, 0, `${args}: ${r.error || ''}${r.stderr}`);
  return r;
}

const commands = [...say(['--help']).stdout.matchAll(/^ {2}cchost ([a-z]+)/gm)].map((m) => m[1]);
const script = (shell) => say(['completion', shell]).stdout;
const write = (dir, name, text) => { fs.writeFileSync(path.join(dir, name), text); return path.join(dir, name); };

// What a line means to readline: "=" is a word of its own.
const wordsOf = (line) => line.split(' ').flatMap((w) => w.split(/(=)/)).filter((w, i, all) => w !== '' || i === all.length - 1);

function inBash(file, line) {
  const words = wordsOf(line);
  const code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cchost 2>&1; printf "%s\\n" "${COMPREPLY[@]}"';
  return say(['--norc', '-c', code, 'bash', file, ...words], 'bash').stdout.split('\n').filter(Boolean);
}

// zsh's own part (compadd and the like) stands in by functions that print what they are given.
function inZsh(file, line) {
  const code = `
    compadd() { local a; for a; do [[ $a == -* || -z $a ]] && continue; print -rl -- \${(P)a}; done }
    compset() { true }; _files() { true }
    _describe() { print -rl -- \${\${(P)4}%%:*} }
    file=$1; shift; words=("$@"); CURRENT=$#
    functions[complete_it]="$(<$file)"; complete_it`;
  return say(['-f', '-c', code, 'zsh', file, ...line.split(' ')], 'zsh').stdout.split('\n').filter(Boolean);
}

const cases = [
  ['cchost policy ', ['apply', 'describe', 'diff', 'log', 'promote', 'rollback', 'show', 'stage', 'staged', 'status', 'test', 'unstage']],
  ['cchost image nixos ', ['build', 'hash', 'list', 'prune']],
  ['cchost --json image nixos ', ['build', 'hash', 'list', 'prune']],
  ['cchost ccc ', ['deprovision', 'extend', 'list', 'provision', 'status', 'types']],
  ['ccc ', ['deprovision', 'extend', 'list', 'provision', 'status', 'types']],
  ['cchost completion ', ['bash', 'zsh']],
  ['cchost backup ', []], // a file's name: the shell's own
];

for (const [shell, ask] of [['bash', inBash], ['zsh', inZsh]]) {
  test(`${shell} completes commands, actions, options and values`, () => {
    const dir = temp();
    try {
      const file = write(dir, 'completion', script(shell));
      for (const [line, expected] of cases) assert.deepStrictEqual(ask(file, line).sort(), expected, line);
      const first = ask(file, 'cchost ');
      for (const c of commands) assert.ok(first.includes(c), c);
      const options = ask(file, 'cchost policy staged --');
      for (const o of ['--json', '--limit=', '--provider=', '--data-dir=', '--help']) assert.ok(options.includes(o), `${o}: ${options}`);
      assert.ok(!options.includes('--follow'));
      assert.deepStrictEqual(ask(file, 'cchost serve --provider=').sort(), ['docker', 'hetzner', 'libvirt', 'local', 'mock']);
      if (shell === 'bash') assert.deepStrictEqual(ask(file, 'cchost serve --provider=lo'), ['local']);
      if (shell === 'bash') assert.deepStrictEqual(ask(file, 'cchost upg'), ['upgrade']);
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  });
}

test('the completions are fit to be read by their shells with every check on', () => {
  const dir = temp();
  try {
    const file = write(dir, 'completion', script('bash'));
    say(['-euc', 'source "$1"; complete -p cchost ccc', 'bash', file], 'bash');
    say(['-n', write(dir, 'zsh', script('zsh'))], 'zsh');
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

// What groff has to say of a page with every warning on, and how man shows it.
const warnings = (file) => say(['-k', '-man', '-Tutf8', '-ww', '-z', file], 'groff').stderr;
function man(file) {
  const r = spawnSync('man', ['--encoding=UTF-8', '-l', file], { encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '80', MAN_KEEP_FORMATTING: '', GROFF_NO_SGR: '1' } });
  assert.strictEqual(r.status, 0, r.error || r.stderr);
  return r.stdout.replace(/.\x08/g, '');
}

test('the pages of the manual read without a warning, and say all that there is', () => {
  const dir = temp();
  try {
    const names = say(['man']).stdout.trim().split('\n');
    assert.deepStrictEqual(names.sort(), ['ccc.1', 'cchost-policies.7', 'cchost.1', 'cchost.lua.5', 'claude-cloud.1']);
    const pages = {};
    for (const name of names) {
      const file = write(dir, name, say(['man', name]).stdout);
      assert.strictEqual(warnings(file), '', name);
      pages[name] = man(file).replace(/\s+/g, ' ');
      assert.match(pages[name], /NAME .* SEE ALSO /, name);
    }
    assert.match(warnings(write(dir, 'bad.1', '.TH bad 1\n.SH NAME\nbad \\- x\n.nosuch\n')), /nosuch/); // it would tell
    for (const c of commands) assert.ok(pages['cchost.1'].includes(`cchost ${c} `), c);
    for (const [, name] of fs.readFileSync(path.join(root, 'docs', 'settings.md'), 'utf8').matchAll(/^\| `(\w+)`/gm)) assert.ok(pages['cchost.lua.5'].includes(`${name} (`), name);
    for (const [, file, fn] of say(['policy', 'describe']).stdout.matchAll(/^### `(\w+)\.lua`: `(\w+)\(/gm)) assert.ok(pages['cchost-policies.7'].includes(`${file}.lua: ${fn}(input)`), fn);
    for (const word of ['deprovision', '--ssh-key', 'CCHOST_URL']) assert.ok(pages['ccc.1'].includes(word), word);
    for (const word of ['connect [NAME]', 'verify [TOKEN]', 'CLAUDE_CLOUD_URL', 'http://localhost:8080']) assert.ok(pages['claude-cloud.1'].includes(word), word);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('pages and shells that there are not are refused', () => {
  for (const args of [['man', 'cchost'], ['completion'], ['completion', 'fish']]) assert.strictEqual(spawnSync(binary, args).status, 2, args.join(' '));
});
