// docs/scripts.md: the functions that its tables name are there, its recipes work, and each example has one.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { Server, root, temp, until, binary } = require('../lib/cchost.js');
const { shown } = require('../lib/shown.js');

const text = fs.readFileSync(path.join(root, 'docs', 'scripts.md'), 'utf8');

// [module, function] of every table.
function named() {
  const out = [];
  let module = null;
  for (const line of text.split('\n')) {
    const [, heading] = /^## (?:`([\w.]+)`)?/.exec(line) || [];
    if (line.startsWith('## ')) module = heading || null;
    const [, first] = /^\| (`[^|]*`) \|/.exec(line) || [];
    if (!first) continue;
    const [, own, list] = /^(?:`([\w.]+)`: )?(.*)$/.exec(first);
    assert.ok(own || module, line);
    for (const [, name] of list.matchAll(/`(\w+)`/g)) out.push([own || module, name]);
  }
  return out;
}

test('every function of the tables is there', (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const list = named();
  assert.ok(list.length >= 100, `${list.length}`);
  const lines = [...list, ['store', 'none']].map(([m, f]) => `if require("${m}").${f} == nil then print("${m}.${f}") end`);
  fs.writeFileSync(path.join(dir, 'all.lua'), lines.join('\n'));
  const r = spawnSync(binary, [path.join(dir, 'all.lua')], { encoding: 'utf8', cwd: dir });
  assert.strictEqual(r.stdout + r.stderr, 'store.none\n');
});

// The files of lua/meta by the module that each is of: {file, text, name: what the module is called in it}.
function annotated() {
  const folder = path.join(root, 'lua', 'meta');
  const files = fs.readdirSync(folder, { recursive: true }).filter((f) => f.endsWith('.lua') && f !== 'policies.lua'); // which is made, and tested, by `cchost policy describe`
  return new Map(files.map((file) => {
    const all = fs.readFileSync(path.join(folder, file), 'utf8');
    const module = /^---@meta ([\w.]+)$/m.exec(all)[1];
    assert.strictEqual(`${module.replace(/\./g, '/')}.lua`, file);
    return [module, { text: all, name: /^return (\w+)$/m.exec(all)[1] }];
  }));
}

// What is declared, as lines "NAME.function(a, b)"; a method of what `objects` can make here as "CLASS:method".
const objects = { 'task.handle': 'task.spawn(function() end)', 'task.signal': 'task.signal()', 'process.handle': 'process.spawn { "true" }',
  'fs.lock': 'fs.lock(os.tmpname())', 'providers.provider': 'providers.get "mock"', 'store.tx': 'the_tx', 'http.server': 'http.serve { handler = print, port = 0 }' };
function declared({ text: all, name }, module) {
  const classes = new Map([...all.matchAll(/^---@class ([\w.]+)[^\n]*\n(?:---[^\n]*\n)*local (\w+) = \{\}$/gm)].map((m) => [m[2], m[1]]));
  const lines = [];
  for (const [, of, dot, fn, params] of all.matchAll(/^function (\w+)([.:])(\w+)\(([^)]*)\) end$/gm)) {
    if (dot === '.') {
      assert.strictEqual(of, name, `${module}: ${fn} is of what?`);
      lines.push(`${module}.${fn}(${params})`);
    } else if (objects[classes.get(of)]) lines.push(`${classes.get(of)}:${fn}`);
  }
  return lines;
}

test('the annotations for editors declare every function of the modules, as it is called, and none that is not there', (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const metas = annotated();
  assert.deepStrictEqual([...new Set(named().map(([m]) => m)), 'tty'].filter((m) => !metas.has(m)), [], 'a module of the page has none');
  const want = [...metas].flatMap(([module, meta]) => declared(meta, module)).sort();
  assert.ok(want.length >= 280, `${want.length}`);
  assert.deepStrictEqual(want.filter((line, n) => line === want[n - 1]), [], 'declared twice');
  for (const made of Object.keys(objects)) assert.ok(want.some((line) => line.startsWith(`${made}:`)), made);
  const script = `
local file = ...
local app, json = require "script", require "json"
app.open()
local task, process, fs, providers, http = require "task", require "process", require "fs", require "providers", require "http"
local the_tx
require("store").update(function(tx) the_tx = tx return true end)
local declared = json.decode(assert(fs.read(file)))
local out = json.array {}
local function of(module, name, f)
  local info, names = debug.getinfo(f, "uS"), {}
  if info.what == "C" or info.source:find("^=?%[") then return declared[module .. "." .. name] or "()" end
  for i = 1, info.nparams do names[i] = debug.getlocal(f, i) end
  if info.isvararg then names[#names + 1] = "..." end
  return "(" .. table.concat(names, ", ") .. ")"
end
for _, module in ipairs { ${[...metas.keys()].map((m) => `"${m}"`)} } do
  for name, f in pairs(require(module)) do
    if type(f) == "function" then out[#out + 1] = module .. "." .. name .. of(module, name, f) end
  end
end
for class, it in pairs { ${Object.entries(objects).map(([c, make]) => `["${c}"] = ${make}`)} } do
  local methods = debug.getmetatable(it).__index
  for name, f in pairs(methods) do
    if type(f) == "function" and not name:find "^__" then out[#out + 1] = class .. ":" .. name end
  end
  if it.close and class ~= "providers.provider" then it:close() end
end
print(json.encode(out))
`;
  fs.writeFileSync(path.join(dir, 'all.lua'), script);
  fs.writeFileSync(path.join(dir, 'declared'), JSON.stringify(Object.fromEntries(want.filter((l) => l.includes('(')).map((l) => [l.replace(/\(.*/, ''), l.replace(/^[^(]*/, '')]))));
  const r = spawnSync(binary, [path.join(dir, 'all.lua'), path.join(dir, 'declared')], { encoding: 'utf8', cwd: dir, env: { ...process.env, DATA_DIR: path.join(dir, 'data'), PROVIDER: 'mock' } });
  assert.strictEqual(r.stderr, '');
  const got = JSON.parse(r.stdout);
  assert.deepStrictEqual({ lacking: got.filter((l) => !want.includes(l)), declared_alone: want.filter((l) => !got.includes(l)) }, { lacking: [], declared_alone: [] });
});

test('every example is a recipe', () => {
  const names = fs.readdirSync(path.join(root, 'examples')).filter((f) => f.endsWith('.lua'));
  assert.ok(names.length >= 11);
  assert.deepStrictEqual(names.filter((n) => !text.includes(`./cchost examples/${n}`)), []);
});

test('invitations from a file that cannot be read ended in a traceback, behind a store that was made for them', (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const r = spawnSync(binary, [path.join(root, 'examples/invite.lua'), `${dir}/none`, 'starter', 'x'],
    { encoding: 'utf8', cwd: dir, env: { ...process.env, DATA_DIR: `${dir}/data`, PROVIDER: 'mock' } });
  assert.deepStrictEqual([r.status, r.stderr, fs.existsSync(`${dir}/data`)], [1, `error: ${dir}/none: No such file or directory\n`, false]);
});

// Takes what is posted; refuses the first.
async function chat(t) {
  const got = [];
  let refused = 0;
  const server = http.createServer((req, res) => {
    let body = '';
    req.on('data', (d) => { body += d; });
    req.on('end', () => {
      if (refused++ === 0) { res.statusCode = 500; return res.end(); }
      got.push(JSON.parse(body));
      res.end('{}');
    });
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  t.after(() => new Promise((r) => { server.closeAllConnections(); server.close(r); }));
  return { got, url: `http://127.0.0.1:${server.address().port}/hook` };
}

test('the recipes work beside a server', async (t) => {
  const page = shown('docs/scripts.md');
  const here = temp();
  const s = await Server.start({ provider: 'local', policies_dir: path.join(root, 'policies'), terminal_command: 'exec sh' });
  t.after(async () => {
    await s.stop();
    fs.rmSync(here, { recursive: true, force: true });
  });
  fs.symlinkSync(path.join(root, 'examples'), path.join(here, 'examples'));
  const owner = await s.account('ann@example.org', 'pro');
  const made = async (name) => {
    const r = await s.call('POST', '/instances?wait=60', { name, user_id: owner });
    assert.strictEqual(r.status, 201, r.text);
    await s.running(r.body.id);
    return r.body;
  };
  const box = await made('box');
  await made('other');
  const v = await s.call('POST', '/volumes?wait=30', { name: 'data', size_gib: 1, user_id: owner });
  assert.strictEqual(v.status, 201, v.text);
  const env = { DATA_DIR: s.dir };

  const [machines] = await page.run({ cwd: here, env }, 0);
  for (const sign of [/^box +RUNNING/m, /^Linux /m, /"name":"other".*"stdout":"claude at work\\n"/, /2 machines would be labelled/, /2 machines labelled/, /0 of 2 machines would be stopped/,
    /^data: nightly-\d{4}-\d\d-\d\d$/m]) assert.match(machines, sign);
  assert.deepStrictEqual((await s.call('GET', `/instances/${box.id}`)).body.labels, { night: 'off' });
  assert.match((await s.call('GET', `/volumes/${v.body.id}`)).body.snapshots[0].name, /^nightly-/);

  const [accounts] = await page.run({ cwd: here, env }, 1);
  for (const sign of [/^cy@example\.org: starter\ndan@example\.org: starter\n2 of 2 accounts are new\n0 of 2 accounts are new$/m, /account +charged/, /^account,plan,hours/m]) assert.match(accounts, sign);
  assert.strictEqual((await s.call('GET', '/users/cy@example.org')).body.plan, 'starter');

  const { got, url } = await chat(t);
  const line = page.take(2).join('\n').replace('./cchost', `exec ${binary}`);
  const child = spawn('bash', ['-euc', `${line} 1`], { cwd: here, env: { ...process.env, ...env, WEBHOOK: url }, stdio: ['ignore', 'pipe', 'pipe'] });
  let err = '';
  child.stderr.on('data', (d) => { err += d; });
  const ended = new Promise((r) => child.on('exit', r));
  await until(async () => {
    if (got.length || child.exitCode !== null) return true;
    await s.call('POST', '/instances?wait=30', { name: `bad-${Date.now()}`, image: '/nowhere', user_id: owner });
    return false;
  }, () => `a failure is told\n${err}`, 60);
  assert.strictEqual(await ended, 0, err);
  assert.match(got[0].text, /instance [0-9a-f-]{36} failed: \S/);
  assert.match(err, /not taken: status 500/);
  assert.match(fs.readFileSync(path.join(s.dir, 'told'), 'utf8'), /^\d+$/);

  const [own] = await page.run({ cwd: here, env }, 3);
  assert.match(own, /^RUNNING\t2$/m);
  assert.match(own, /^true$/m);
  page.done();
});
