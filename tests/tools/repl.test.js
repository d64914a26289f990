// cchost repl: from a pipe, and at a terminal as a person types.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');
const { Pty } = require('../lib/pty.js');

let s;
test.before(async () => {
  s = await Server.start({ provider: 'mock' });
  for (const name of ['ada', 'bob']) await s.call('POST', '/instances?wait=20', { name });
});
test.after(() => s.stop());

const args = (...more) => ['repl', `--data-dir=${s.dir}`, '--provider=mock', ...more];
function pipe(input, ...more) {
  const { status, stdout, stderr } = spawnSync(binary, args(...more), { input, encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('chunks from a pipe are evaluated, over several lines, and shown as Lua', () => {
  const text = `1 + 1
"a\\nb", nil, { 1, 2, x = { y = "z" }, ["a b"] = true }
for i = 1, 2 do
  print("line", i)
end
local gone = 1; kept = { n = 3 }
kept.n, gone
= 7
#store.list("instance", { limit = 10 })

-- nothing
task.sleep(0.01)`;
  assert.deepStrictEqual(pipe(text), { status: 0, stderr: '',
    stdout: '2\n"a\\nb"\tnil\t{ 1, 2, ["a b"] = true, x = { y = "z" } }\nline\t1\nline\t2\n3\tnil\n7\n2\ntrue\n' });
});

test('the deep, the long, the round and an error of the host', () => {
  const { stdout } = pipe(`{ { { { { 1 } } } } }
local t = {}; t.self = t; return t
local t = {}; for i = 1, 150 do t[i] = i end; return #require("inspect")(t), require("inspect")(t):match("%.%.%. %d+ more")
store.get("instance", "none")
instances.get({ admin = true }, "none")`);
  const [deep, round, long, missing] = stdout.split('\n');
  assert.deepStrictEqual([deep, round, long.split('\t')[1], missing], ['{ { { { {...} } } } }', '{ self = {...} }', '"... 50 more"', 'nil']);
});

test('it only reads, unless it is told otherwise', () => {
  const change = 'store.update(function(tx) tx:put("note", "a", { n = 1 }) return true end)\nstore.get("note", "a")';
  assert.strictEqual(pipe(change).stdout, 'nil\tdenied: this process only reads the store\nnil\n');
  assert.match(pipe(change, '--write').stdout, /^true\n\{ n = 1 \}\t\d+\n$/);
});

test('from a pipe an error ends it with code 1, and so does a chunk without an end', () => {
  assert.deepStrictEqual(pipe('error("oops", 0)\nprint("never")'), { status: 1, stdout: '', stderr: 'oops\n' });
  assert.deepStrictEqual(pipe('1 +* 2\nprint("never")').status, 1);
  assert.deepStrictEqual(pipe('for i = 1, 2 do'), { status: 1, stdout: '', stderr: 'the last chunk has no end\n' });
  const none = spawnSync(binary, ['repl', `--data-dir=${s.dir}/none`], { input: '', encoding: 'utf8' });
  assert.deepStrictEqual([none.status, /there is no store in/.test(none.stderr)], [1, true]);
});

test('at a terminal: completion, history over two sittings, Ctrl-C, Ctrl-D', async () => {
  const home = temp();
  const env = { ...process.env, HOME: home, XDG_STATE_HOME: '', TERM: 'xterm' };
  delete env.XDG_STATE_HOME;
  const sit = () => Pty.run([binary, ...args()], { env });
  const shows = (p, pattern) => until(() => pattern.test(p.output), () => JSON.stringify(p.output));
  let p = await sit();
  await shows(p, /which it only reads/);
  await shows(p, /> /);
  p.type('6 *');
  p.type(' 7\r');
  await shows(p, /\r\n42\r\n/);
  p.type('store.look\t("x", "y"), "completed"\r');
  await shows(p, /nil\s+"completed"/);
  p.type('task.sleep(1000)\r');
  await shows(p, /sleep\(1000\)\r\n/);
  p.type('\x03');
  await shows(p, /\r\n\^?C?interrupted\r\n> /);
  p.type('for i = 1, 2 do\r');
  await shows(p, />> /);
  p.type('\x03');
  await shows(p, />> [^>]*\r\n> $/);
  p.type('"dropped"\r');
  await shows(p, /\r\n"dropped"\r\n/);
  p.type('pasted = "in"\rtask.sleep(0.05)\rpasted .. " one go"\r');
  await shows(p, /\r\n"in one go"\r\n/);
  p.type('error("oops", 0)\r');
  await shows(p, /\r\noops\r\n/);
  p.type('"last of all"\r');
  await shows(p, /\r\n"last of all"\r\n/);
  p.type('\x04');
  assert.strictEqual((await p.ended).exit, 0);
  await p.close();
  const file = path.join(home, '.local', 'state', 'cchost', 'repl_history');
  assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600);

  p = await sit();
  await shows(p, /> /);
  p.type('\x1b[A');
  await shows(p, /"last of all"/);
  p.type(' .. "!"\r');
  await shows(p, /\r\n"last of all!"\r\n/);
  p.type('\x04');
  assert.strictEqual((await p.ended).exit, 0);
  await p.close();
  fs.rmSync(home, { recursive: true, force: true });
});

test('Ctrl-C ends what runs without a wait, what waits again and again, and at the third what catches it', async () => {
  const home = temp();
  const p = await Pty.run([binary, ...args()], { env: { ...process.env, XDG_STATE_HOME: home, TERM: 'xterm' } });
  const shows = (pattern) => until(() => pattern.test(p.output), () => JSON.stringify(p.output.slice(-2000)));
  await shows(/> $/);
  const loops = ['while true do end', 'local t = {}; while true do t[1] = ("x"):rep(3) end', 'coroutine.wrap(function() while true do end end)()', 'while true do task.sleep(0.01) end',
    'while true do store.get("instance", "none") end'];
  for (const [i, loop] of loops.entries()) {
    p.type(`io.stdout:write("at it ${i}", "\\n") ${loop}\r`);
    await shows(new RegExp(`\r\nat it ${i}\r\n`));
    p.type('\x03');
    await until(() => (p.output.match(/interrupted\r\n> /g) || []).length === i + 1, () => `${loop}: ${JSON.stringify(p.output.slice(-500))}`);
  }
  p.type('"still" .. " there"\r');
  await shows(/\r\n"still there"\r\n> /);
  p.type('io.stdout:write("caught\\n") while true do pcall(function() while true do end end) end\r');
  await shows(/\r\ncaught\r\n/);
  const pressed = () => (p.output.slice(p.output.lastIndexOf('\ncaught')).match(/\^C/g) || []).length;
  for (let n = 0; !p.end; n++) { // two that come before it has seen the first are one to it
    assert.ok(n < 100);
    p.type('\x03');
    await until(() => p.end || pressed() > n, () => `^C ${n}`);
  }
  assert.ok(pressed() >= 3);
  assert.strictEqual((await p.ended).signal, 2);
  await p.close();
  fs.rmSync(home, { recursive: true, force: true });
});

test('what is long is cut, and what a terminal would take for a command is told by number', () => {
  const { stdout } = pipe(`("x"):rep(1e6)
{ [("k"):rep(500)] = 1 }
"\\27[31m\\0072\\155\\255", "\\194\\155", "\\195\\169\\240\\159\\152\\128\\237\\160\\128"`);
  const [long, , key, , odd] = stdout.split('\n');
  assert.strictEqual(long, `"${'x'.repeat(4000)}"... 996000 more bytes`);
  assert.strictEqual(key, `  ["${'k'.repeat(100)}"... 400 more bytes] = 1`);
  assert.strictEqual(odd, '"\\27[31m\\0072\\155\\255"\t"\\194\\155"\t"\u00e9\u{1f600}\\237\\160\\128"');
});
