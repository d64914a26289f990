// --json of every command: each line of what it prints is JSON. And what long work shows of itself at a terminal.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, root, temp, until, binary } = require('../lib/cchost.js');
const { Pty } = require('../lib/pty.js');

// Commands that print nothing that a program would read, and why.
const not = { serve: 'its log is JSON by LOG_FORMAT', attach: 'a conversation', repl: 'a conversation', completion: 'a script for a shell', man: 'a page for man' };

// What is tried of each, in this order, and how it ends (0). {box} is a machine, {op} its operation, {dir} a place for files.
const tried = {
  instances: [[], ['{box}']], operations: [['--all'], ['{op}']], levels: [['--url={url}']], health: [['--url={url}']],
  log: [['--limit=5'], ['--verify']], at: [['now', 'instances'], ['now', 'instance', '{box}']], explain: [['{box}', '--kind=placement']],
  fuzz: [['{dir}/mine', '--count=50', '--seed=1'], ['{dir}/bad', '--count=200', '--seed=1', 1]], users: [['add', 'bob@example.org'], [], ['show', 'bob@example.org'], ['suspend', 'bob@example.org'],
    ['export', 'bob@example.org'], ['delete', 'bob@example.org']],
  ledger: [[], ['ann@example.org'], ['ann@example.org', '--entries'], ['adjust', 'ann@example.org', '5', '--reason=x'], ['--verify']],
  plan: [['ann@example.org'], ['ann@example.org', 'pro', '--reason=x']], invoice: [['ann@example.org', '{month}']], stripe: [['--all'], ['retry', '--parked']],
  provider: [['check', 'mock'], ['list']], image: [['nixos', 'hash', '--hcloud-options={nixos={flake="{root}/providers/image/nixos#cloud-instance"}}']],
  netbird: [['key', 1]], config: [[]], check: [[], ['--idle-threshold=x', 1]], routes: [[]], openapi: [[]], types: [[]], rekey: [[]], ccc: [['types'], ['list']],
  policy: [['status'], ['test', '{dir}/mine'], ['describe'], ['apply', '{dir}/mine'], ['log'], ['show', '1', 'idle.lua'], ['show', '1'], ['diff', '1', '2'], ['stage', '{dir}/other'],
    ['promote', '--percent=10'], ['staged'], ['promote', '--percent=0'], ['unstage'], ['rollback']],
  whatif: [['{dir}/mine/idle.lua'], ['--null']], backup: [['{dir}/b']], restore: [['{dir}/b', '--data-dir={dir}/restored']], export: [['{dir}/e'], [], ['--instances-json', '{dir}/i']],
  import: [['{dir}/e', '--data-dir={dir}/imported']], upgrade: [], // below
};

test('every command has --json, and what it prints with it is JSON', async (t) => {
  const dir = temp();
  const mock = `{state="${dir}/world"}`;
  const s = await Server.start({ provider: 'mock', mock, policies_dir: undefined });
  t.after(async () => {
    await s.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const owner = await s.account('ann@example.org');
  const box = (await s.call('POST', '/instances?wait=20', { name: 'box', user_id: owner })).body;
  await s.running(box.id);
  for (const d of ['mine', 'other', 'bad']) fs.mkdirSync(path.join(dir, d));
  const idle = fs.readFileSync(path.join(root, 'policies', 'idle.lua'), 'utf8');
  fs.writeFileSync(path.join(dir, 'mine', 'idle.lua'), `-- mine\n${idle}`);
  fs.writeFileSync(path.join(dir, 'other', 'idle.lua'), `-- another\n${idle}`);
  fs.writeFileSync(path.join(dir, 'bad', 'idle.lua'), idle.replace('if m.turn ', 'if m.load > 3 then return "keep", "loud" end\n  if m.turn '));
  const words = { box: box.id, op: box.operation, dir, root, url: s.url, month: new Date().toISOString().slice(0, 7) };
  const names = [...spawnSync(binary, ['--help'], { encoding: 'utf8' }).stdout.matchAll(/^ {2}cchost ([a-z]+)/gm)].map((m) => m[1]);
  assert.deepStrictEqual(names.filter((n) => !tried[n] && !not[n]), []);
  assert.deepStrictEqual([...Object.keys(tried), ...Object.keys(not)].filter((n) => !names.includes(n)), []);
  const env = { ...process.env, DATA_DIR: s.dir, API_KEY: s.key, PROVIDER: 'mock', MOCK: mock, POLICIES_DIR: path.join(s.dir, 'policies') };
  for (const [name, calls] of Object.entries(tried)) {
    for (const call of calls) {
      const args = [name, ...call.filter((w) => typeof w === 'string').map((w) => w.replace(/\{(\w+)\}/g, (all, word) => words[word] ?? all)), '--json'];
      const r = spawnSync(binary, args, { encoding: 'utf8', env, cwd: dir, timeout: 90e3 });
      const at = `${args.join(' ')}\n${r.stdout}${r.stderr}`;
      assert.strictEqual(r.status, call.find((w) => typeof w === 'number') ?? 0, at);
      for (const line of r.stdout.split('\n').filter(Boolean)) assert.doesNotThrow(() => JSON.parse(line), at);
      const silent = ['netbird', 'stripe'].includes(name) || (name === 'ledger' && call[0] === 'ann@example.org' && call.length > 1);
      if (!silent) assert.ok(r.stdout.length > 2, `it says something: ${at}`);
    }
    assert.match(spawnSync(binary, [name, '--help'], { encoding: 'utf8' }).stdout, name === 'ccc' ? /ccc/ : /--json/, `${name} tells of it`);
  }
  assert.strictEqual((await s.upgrade()).told.state, 'done'); // with --json
});

// Records enough for a bar to move, as an export has them.
function many(file, n) {
  const lines = [JSON.stringify({ format: 'cchost export', version: 1, records: records(), at: new Date().toISOString() })];
  for (let i = 0; i < n; i++) {
    const id = `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
    lines.push(JSON.stringify({ kind: 'conversation', id, owner: 'operator', value: { id, messages: [] } }));
  }
  lines.push(JSON.stringify({ end: true, records: n, indexes: 0 }));
  fs.writeFileSync(file, `${lines.join('\n')}\n`);
}
// The version of the records' form that this program writes.
function records() {
  const dir = temp();
  try {
    fs.writeFileSync(path.join(dir, 'none'), '{"instances": {}}');
    spawnSync(binary, ['import', '--instances-json', path.join(dir, 'none'), `--data-dir=${dir}`]);
    return JSON.parse(spawnSync(binary, ['export', `--data-dir=${dir}`], { encoding: 'utf8' }).stdout.split('\n')[0]).records;
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

test('long work shows at a terminal how far it is, on one line that is written over itself, and nothing in a pipe', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  many(path.join(dir, 'in'), 60000);
  const run = async (...args) => {
    const p = await Pty.run([binary, ...args, `--data-dir=${dir}/data`], { cwd: dir, columns: 200 });
    assert.strictEqual((await p.ended).exit, 0, p.output);
    await p.close();
    return p.output;
  };
  const imported = await run('import', 'in');
  assert.match(imported, /\r\[#*\.*\] +\d+ % {2}checked/);
  assert.match(imported, /\r\[#+\.*\] +\d+ % {2}imported/);
  assert.match(imported, /\nlines imported: 60000\r\n$/, 'the result stands on a line of its own');
  for (const [args, shows, last] of [[['backup', 'b'], /\rcopied, and read back, \d+ s/, /\nb: \d+ bytes/], [['log', '--verify'], /\rthe log is read, \d+ s/, /\nthe log is whole/],
    [['export', 'out'], /\r\[#*\.*\] +\d+ % {2}\d+ records/, /$/], [['ledger', '--verify'], /^/, /the books balance/], [['restore', 'b', '--force'], /\rread, and put in its place, \d+ s/, /restored, /]]) {
    const said = await run(...args);
    assert.match(said, shows, args.join(' '));
    assert.match(said, last, args.join(' '));
  }
  const piped = spawnSync(binary, ['backup', 'c', `--data-dir=${dir}/data`], { encoding: 'utf8', cwd: dir });
  assert.deepStrictEqual([piped.status, piped.stderr], [0, '']);
});
