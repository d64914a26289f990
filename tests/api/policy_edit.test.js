// A file of the policies over HTTP: read, tried on the past beside the server, and saved by the checks of an edit on disk.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, temp, binary, until, root } = require('../lib/cchost.js');

const shipped = fs.readFileSync(path.join(root, 'policies', 'idle.lua'), 'utf8');

let s;
let policies;
let dir;
test.before(async () => {
  [policies, dir] = [temp(), temp()];
  fs.rmSync(path.join(policies), { recursive: true });
  fs.cpSync(path.join(root, 'policies'), policies, { recursive: true, filter: (f) => !f.endsWith('tests') });
  const made = spawnSync(binary, [path.join(root, 'tests', 'bench', 'fill_traces.lua'), dir, '12', '7'], { encoding: 'utf8' });
  assert.strictEqual(made.status, 0, made.stderr);
  s = await Server.start({ provider: 'mock', policies_dir: policies, log_days: 3650 }, dir);
});
test.after(async () => {
  await s.stop();
  for (const d of [policies, dir]) fs.rmSync(d, { recursive: true, force: true });
});

const get = async (name = 'idle.lua') => (await s.call('GET', `/policies/${name}`)).body;
const put = (source, version, name = 'idle.lua') => s.call('PUT', `/policies/${name}`, { source, version, note: 'a test' });
const onDisk = () => fs.readFileSync(path.join(policies, 'idle.lua'), 'utf8');

// -> the lines of the answer
async function whatif(source, since = '2026-06-01') {
  const r = await s.call('POST', '/policies/idle.lua/whatif', { source, since });
  return r.status === 200 ? r.text.trim().split('\n').map((l) => JSON.parse(l)) : r;
}

test('a file: what is in force, what lies in the folder, and the difference', async () => {
  const is = await get();
  assert.deepStrictEqual([is.name, is.source, is.saved, is.diff], ['idle.lua', shipped, shipped, '']);
  for (const name of ['nothing.lua', 'idle', '..%2fidle.lua', 'staged.lua']) assert.strictEqual((await s.call('GET', `/policies/${name}`)).status, 404, name);
  fs.writeFileSync(path.join(policies, 'idle.lua'), 'return {\n');
  await until(async () => (await s.call('GET', '/policies')).body.faults.length > 0, 'the edit is refused');
  const broken = await get();
  assert.deepStrictEqual([broken.source, broken.saved], [shipped, 'return {\n']);
  assert.match(broken.diff, /^\+return \{$/m);
  fs.writeFileSync(path.join(policies, 'idle.lua'), shipped);
  await until(async () => (await s.call('GET', '/policies')).body.faults.length === 0, 'it is taken back');
});

test('what would be refused is not saved, and is told with its lines', async () => {
  const { version, generation } = await get();
  const r = await put('return {\n', version);
  assert.deepStrictEqual([r.status, r.body.code, r.body.faults[0].file], [400, 'invalid', 'idle.lua'], r.text);
  assert.ok(r.body.faults[0].line >= 1 && r.body.faults[0].text);
  const bad = await put(shipped.replace('m.turn', 'm.turns.x'), version);
  assert.strictEqual(bad.status, 400);
  assert.deepStrictEqual([onDisk(), (await get()).generation, fs.readdirSync(policies).filter((f) => /next|replaced/.test(f))], [shipped, generation, []]);
});

test('saved: it lies in the folder, is in force, and says who did it; who saw another state is told', async () => {
  const before = await get();
  const text = `${shipped}\n-- saved over HTTP\n`;
  const r = await put(text, before.version);
  assert.strictEqual(r.status, 200, r.text);
  assert.deepStrictEqual(r.body, { generation: before.generation + 1, changed: ['idle.lua'] });
  assert.strictEqual(onDisk(), text);
  const live = (await s.call('GET', '/policies')).body;
  assert.deepStrictEqual([live.generation, live.author, live.note, live.pending, live.faults], [before.generation + 1, 'operator', 'a test', false, []]);
  const late = await put(`${shipped}\n-- by another\n`, before.version);
  assert.deepStrictEqual([late.status, late.body.code], [409, 'conflict']);
  assert.strictEqual(onDisk(), text);

  const seen = await get();
  fs.writeFileSync(path.join(policies, 'idle.lua'), 'return {\n'); // somebody's half-done edit
  const over = await put(shipped, seen.version);
  assert.deepStrictEqual([over.status, onDisk()], [409, 'return {\n']);
  const known = await get();
  assert.strictEqual((await put(shipped, known.version)).status, 200); // now it is known, and replaced; it is somebody's work
  assert.strictEqual(onDisk(), shipped);
  const kept = fs.readdirSync(policies).filter((f) => /^idle\.lua\.replaced-/.test(f));
  assert.deepStrictEqual([kept.length, fs.readFileSync(path.join(policies, kept[0]), 'utf8')], [1, 'return {\n']);
  assert.strictEqual((await s.call('GET', '/policies')).body.generation, live.generation + 1);
});

test('of two who save at once one is told that the other did', async () => {
  const { version } = await get();
  const answers = await Promise.all([1, 2, 3].map((i) => put(`${shipped}\n-- number ${i}\n`, version)));
  assert.deepStrictEqual(answers.map((r) => r.status).sort(), [200, 409, 409]);
  const won = answers.findIndex((r) => r.status === 200) + 1;
  assert.strictEqual(onDisk(), `${shipped}\n-- number ${won}\n`);
  assert.strictEqual((await put(shipped, (await get()).version)).status, 200);
});

test('what-if: the past under the edit, by days, beside those in force; nothing is changed', async () => {
  const same = (await whatif(`${shipped}\n`)).at(-1).result;
  assert.deepStrictEqual([same.machines, same.total.before, same.users], [12, same.total.after, []]);
  const fly = (await whatif(fs.readFileSync(path.join(root, 'examples', 'policies', 'fly.lua'), 'utf8'))).at(-1).result;
  assert.ok(fly.total.after.agents > fly.total.before.agents);
  assert.ok(fly.days.length >= 7 && /^2026-06-0/.test(fly.days[0].day));
  const faults = (await whatif('return {\n')).at(-1);
  assert.deepStrictEqual([faults.code, faults.faults[0].file], ['invalid', 'idle.lua']);
  assert.strictEqual(onDisk(), shipped);
  assert.deepStrictEqual(fs.readdirSync(path.join(dir, 'whatif')), []);
  for (const since of ['soon', '2099-01-01']) {
    const r = await whatif(shipped, since);
    assert.deepStrictEqual([r.status, r.body.field], [400, 'since'], since);
  }
});

test('one what-if at a time; who leaves ends it', async () => {
  const slow = shipped.replace(/function P\.decide\(([^)]*)\)/, 'function P.decide($1)\n  for i = 1, 3000 do local x = i end');
  const body = JSON.stringify({ source: slow, since: '2026-06-01' });
  const req = http.request({ host: '127.0.0.1', port: s.port, method: 'POST', path: '/policies/idle.lua/whatif', headers: { 'X-API-Key': s.key, 'Content-Length': Buffer.byteLength(body) } });
  req.on('error', () => {});
  const res = await new Promise((r) => { req.on('response', r); req.end(body); });
  await new Promise((r) => res.once('data', r));
  const other = await whatif(shipped);
  assert.deepStrictEqual([other.status, other.body.code], [409, 'state']);
  const children = () => fs.readFileSync(`/proc/${s.child.pid}/task/${s.child.pid}/children`, 'utf8').trim().split(' ')
    .filter((pid) => pid && /whatif/.test(fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8')));
  assert.strictEqual(children().length, 1);
  req.destroy();
  await until(() => children().length === 0, 'its process has ended', 30);
  await until(async () => Array.isArray(await whatif(shipped)), 'another one can begin');
});
