// cchost as the first process of a container: here of a pid namespace.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { temp, until, binary, root } = require('../lib/cchost.js');

const skip = process.getuid() !== 0 && 'needs root';

// cchost as process 1 with these arguments. -> {child, said(), ended: [code, signal], one(): its pid out here}
function first(t, args) {
  const dir = temp();
  const child = spawn('unshare', ['--pid', '--fork', '--mount-proc', '--kill-child', binary, ...args(dir)], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (d) => { said += d; });
  const ended = new Promise((r) => child.on('close', (code, signal) => r([code, signal])));
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const one = () => Number(fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8'));
  return { child, ended, one, dir, said: () => said };
}

function script(text) {
  return (dir) => {
    fs.writeFileSync(path.join(dir, 'x.lua'), text);
    return [path.join(dir, 'x.lua')];
  };
}

test('the program is its child, whose code is its own; orphans are reaped', { skip }, async (t) => {
  const p = first(t, script(`
local sys, task, fs = require "sys", require "task", require "fs"
assert(sys.pid() == 2, sys.pid())
for _ = 1, 5 do assert(sys.run { "sh", "-c", "sleep 0.2 & exit 0" }) end
local function others()
  local n = 0
  for _, name in ipairs(fs.list("/proc")) do if tonumber(name) and tonumber(name) > 2 then n = n + 1 end end
  return n
end
print("orphans", others())
for _ = 1, 400 do
  if others() == 0 then return 7 end
  task.sleep(0.05)
end
return 1
`));
  assert.deepStrictEqual(await p.ended, [7, null], p.said());
  assert.match(p.said(), /^orphans\t5$/m);
});

test('what has no handler ends it, too, and the end is told as shells do', { skip }, async (t) => {
  const p = first(t, script('print("here"); io.stdout:flush(); require("task").sleep(100)'));
  await until(() => /here/.test(p.said()), 'it began');
  process.kill(p.one(), 'SIGTERM');
  assert.deepStrictEqual(await p.ended, [143, null], p.said());
});

test('serve ends in time, and in order; other signals reach it', { skip }, async (t) => {
  const p = first(t, (dir) => ['serve', '--listen-addr=127.0.0.1:0', `--data-dir=${dir}`, '--provider=mock', `--log-file=${dir}/log`,
    `--policies-dir=${path.join(root, 'tests/lib/policies')}`]);
  const log = path.join(p.dir, 'log');
  const text = (file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');
  await until(() => /msg=ready/.test(text(log)), () => `it is ready: ${p.said()}`, 30);
  fs.renameSync(log, `${log}.1`);
  process.kill(p.one(), 'SIGHUP');
  await until(() => fs.existsSync(log), 'its log is opened anew');
  process.kill(p.one(), 'SIGTERM');
  assert.deepStrictEqual(await p.ended, [0, null], p.said());
  assert.match(text(log), /msg="ending/);
});
