// A disk that is full or broken, and a clock that jumps: what is acknowledged is there, what is refused has done nothing,
// reading goes on, and everything works again as soon as the disk does.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { spawn, spawnSync } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');
const { BadIo } = require('../lib/badio.js');

const DAY = 86400 * 1000;

// A server on a disk that can be made to fail; all gone with the test.
async function serve(t, settings = {}) {
  const dir = temp();
  const disk = new BadIo(dir);
  const s = await Server.start({ provider: 'mock', ...settings }, dir, { env: disk.env });
  t.after(async () => {
    disk.heal();
    await s.stop();
    disk.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return { s, disk };
}

async function create(s, name) {
  const r = await s.call('POST', '/instances', { name });
  assert.strictEqual(r.status, 201, r.text);
  return r.body;
}

const names = async (s) => (await s.call('GET', '/instances?limit=1000')).body.map((m) => m.name).sort();

// Every request that changes something, on a machine that runs and one that is stopped.
const changing = (runs, stopped) => [
  ['POST', '/instances', { name: 'new' }],
  ['PATCH', `/instances/${runs}`, { labels: { a: 'b' } }],
  ['POST', `/instances/${runs}/extend`, { hours: 1 }],
  ['POST', `/instances/${runs}/resize`, { type: 'large' }],
  ['POST', `/instances/${stopped}/resize`, { type: 'large' }],
  ['POST', `/instances/${runs}/stop`],
  ['POST', `/instances/${runs}/pause`],
  ['POST', `/instances/${stopped}/start`],
  ['POST', `/instances/${stopped}/wake`],
  ['DELETE', `/instances/${runs}`],
  ['DELETE', `/instances/${stopped}`],
];

for (const [word, status, code] of [['ENOSPC', 507, 'full'], ['EIO', 503, 'io']]) {
  test(`${word}: every change is ${status}, reading goes on, and it is over when the disk is well`, async (t) => {
    const { s, disk } = await serve(t);
    const runs = await create(s, 'runs');
    const stopped = await create(s, 'stopped');
    await s.running(runs.id);
    await s.running(stopped.id);
    assert.strictEqual((await s.call('POST', '/instances/stopped/stop')).status, 200);
    const before = await Promise.all(['runs', 'stopped'].map(async (n) => (await s.call('GET', `/instances/${n}`)).body));
    disk.fail(word);
    for (const [method, where, body] of changing('runs', 'stopped')) {
      const r = await s.call(method, where, body);
      assert.deepStrictEqual([r.status, r.body && r.body.code], [status, code], `${method} ${where}: ${r.status} ${r.text}`);
      assert.ok(r.body.error.length > 10, r.text);
      assert.deepStrictEqual(await names(s), ['runs', 'stopped']);
    }
    for (const m of before) assert.deepStrictEqual((await s.call('GET', `/instances/${m.id}`)).body, m);
    disk.heal();
    const r = await s.call('PATCH', '/instances/runs', { labels: { a: 'b' } });
    assert.deepStrictEqual([r.status, r.body.labels], [200, { a: 'b' }], r.text);
    await create(s, 'new');
    assert.strictEqual((await s.call('DELETE', '/instances/stopped')).status, 200);
    assert.deepStrictEqual(await names(s), ['new', 'runs']);
  });
}

test('what was refused is not there after kill -9, what was acknowledged is', async (t) => {
  const { s, disk } = await serve(t);
  const seed = 1 + Math.floor(Math.random() * 1e9);
  t.diagnostic(`seed ${seed}`);
  const acknowledged = [];
  const refused = [];
  disk.fail('EIO', 0.05, seed);
  await Promise.all(Array.from({ length: 20 }, async (_, client) => {
    for (let i = 0; i < 15; i++) {
      const name = `m-${client}-${i}`;
      const r = await s.call('POST', '/instances', { name });
      assert.ok(r.status === 201 || (r.status === 503 && r.body.code === 'io'), r.text);
      (r.status === 201 ? acknowledged : refused).push(name);
    }
  }));
  await s.kill();
  disk.heal();
  assert.ok(acknowledged.length > 0 && refused.length > 0, `${acknowledged.length} acknowledged, ${refused.length} refused`);
  await s.launch();
  assert.deepStrictEqual(await names(s), acknowledged.sort());
});

test('a server that starts while nothing can be written reads, and writes when it can', async (t) => {
  const { s, disk } = await serve(t);
  await create(s, 'first');
  await s.kill();
  const key = s.key;
  disk.fail('ENOSPC');
  await s.launch();
  assert.strictEqual(s.key, key);
  assert.deepStrictEqual(await names(s), ['first']);
  assert.strictEqual((await s.call('POST', '/instances', { name: 'second' })).status, 507);
  disk.heal();
  await until(async () => (await s.call('POST', '/instances', { name: 'second' })).status === 201, 'it writes again');
});

// A file system of a few MiB that is really full, in a mount namespace of its own.
function smallDisk(t, size) {
  const dir = temp();
  const keeper = spawn('unshare', ['-m', 'sh', '-c', `mount -t tmpfs -o size=${size},mode=0700 tmpfs ${dir} && echo mounted && exec sleep infinity`],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => {
    keeper.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return new Promise((resolve, reject) => {
    keeper.on('exit', () => reject(new Error('no small disk')));
    keeper.stdout.once('data', () => resolve({ dir, seen: `/proc/${keeper.pid}/root${dir}`, wrap: ['nsenter', '-t', String(keeper.pid), '-m', '--'] }));
  });
}

const mayMount = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;

test('a file system that is really full', { skip: mayMount ? false : 'no mount namespace to be had here' }, async (t) => {
  const disk = await smallDisk(t, '6m');
  const s = await Server.start({ provider: 'mock' }, disk.dir, { wrap: disk.wrap });
  t.after(() => s.stop());
  const acknowledged = [];
  const label = 'x'.repeat(60);
  const fill = () => {
    const fd = fs.openSync(`${disk.seen}/ballast`, 'a');
    try {
      for (;;) fs.writeSync(fd, Buffer.alloc(4096));
    } catch (e) {
      assert.strictEqual(e.code, 'ENOSPC');
    } finally {
      fs.closeSync(fd);
    }
  };
  // Pages that are free inside the file are used first, so some still succeed on a full disk.
  const untilFull = async (round) => {
    for (let i = 0; ; i++) {
      const name = `m-${round}-${i}`;
      const r = await s.call('POST', '/instances', { name, labels: { a: label, b: label, c: label } });
      if (r.status === 507) return name;
      assert.strictEqual(r.status, 201, r.text);
      acknowledged.push(name);
      assert.ok(i < 5000, 'it is never full');
    }
  };
  for (let round = 0; round < 3; round++) {
    fill();
    const refused = await untilFull(round);
    assert.strictEqual((await s.call('GET', `/instances/${refused}`)).status, 404);
    assert.deepStrictEqual(await names(s), acknowledged.sort());
    if (round === 1) {
      await s.kill();
      await s.launch(); // on a full disk
      assert.deepStrictEqual(await names(s), acknowledged.sort());
    }
    fs.rmSync(`${disk.seen}/ballast`);
    await until(async () => (await s.call('POST', '/instances', { name: `after-${round}` })).status === 201, 'it writes again', 5);
    acknowledged.push(`after-${round}`);
  }
  await s.kill();
  await s.launch();
  assert.deepStrictEqual(await names(s), acknowledged.sort());
});

test('a backup onto a full file system leaves nothing there', { skip: mayMount ? false : 'no mount namespace to be had here' }, async (t) => {
  const disk = await smallDisk(t, '4m');
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.writeFileSync(`${dir}/x.lua`, `
    local store, json = require "store", require "json"
    local data, target = ...
    assert(store.open { dir = data })
    local function put(id, n) assert(store.update(function(tx) tx:put("n", id, { text = ("x"):rep(n) }) end)) end
    put("small", 1000)
    local made = assert(store.backup(target .. "/small"))
    put("large", 6e6)
    local no, err = store.backup(target .. "/large")
    put("after", 1000)
    print(json.encode { bytes = made.bytes, no = no, code = err.code, records = store.stats().records })
    store.close()
    print(json.encode(assert(store.restore(target .. "/small", data .. "/restored"))))`);
  const r = spawnSync(disk.wrap[0], [...disk.wrap.slice(1), binary, `${dir}/x.lua`, `${dir}/data`, disk.dir], { encoding: 'utf8' });
  assert.strictEqual(r.status, 0, r.stderr);
  const [made, restored] = r.stdout.trim().split('\n').map((l) => JSON.parse(l));
  assert.deepStrictEqual([made.no, made.code, made.records], [undefined, 'full', 3]);
  assert.strictEqual(restored.bytes, made.bytes); // from one file system to another
  assert.deepStrictEqual(fs.readdirSync(disk.seen), ['small']);
});

test('a clock that jumps by a day, there and back, with work under way', async (t) => {
  const { s, disk } = await serve(t, { mock: '{create={latency_ms=300}}' });
  await create(s, 'before');
  for (const [i, ms] of [DAY, -DAY, 0].entries()) {
    const m = await create(s, `under-way-${i}`);
    disk.clock(ms);
    assert.strictEqual((await s.call('GET', '/healthz')).status, 200);
    await s.running(m.id);
    const r = await s.call('POST', '/instances', { name: `jumped-${i}` });
    assert.strictEqual(r.status, 201, r.text);
    const off = Date.parse(r.body.created_at) - Date.now() - ms;
    assert.ok(Math.abs(off) < 60000, `created_at is ${off} ms off`);
    await s.running(r.body.id);
  }
  for (const name of await names(s)) assert.strictEqual((await s.call('GET', `/instances/${name}`)).body.status, 'RUNNING', name);
});
