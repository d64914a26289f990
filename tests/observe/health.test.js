// Whether the server is to be asked, and what it says of its parts.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const http = require('node:http');
const net = require('node:net');
const { spawn } = require('node:child_process');
const { binary } = require('../lib/cchost.js');
const { start, as, person } = require('../access/people.js');
const { until } = require('../lib/cchost.js');

test('it is ready, and tells of its parts to an admin alone', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  for (const r of [await as(s, {}, 'GET', '/readyz'), await as(s, {}, 'GET', '/readyz?verbose'), await p.call('GET', '/readyz?verbose')]) {
    assert.deepStrictEqual([r.status, r.body], [200, { status: 'ready', missing: [] }]);
  }
  assert.strictEqual((await as(s, {}, 'GET', '/healthz?verbose')).body.parts, undefined);
  assert.strictEqual((await p.call('GET', '/healthz?verbose')).body.parts, undefined);
  const { body } = await s.call('GET', '/readyz?verbose');
  const needed = ['listener', 'policy', 'store'];
  assert.deepStrictEqual(Object.keys(body.parts).sort(),
    [...needed, 'log', 'machines', 'mail', 'schedule', 'stripe', 'sweep', 'traces', 'webhooks', 'workflows'].sort());
  for (const [name, part] of Object.entries(body.parts)) {
    assert.deepStrictEqual([name, part.ok, part.why, part.needed], [name, true, null, needed.includes(name)]);
    assert.ok(Date.parse(part.since) <= Date.now() + 1000 && part.age_seconds >= 0, name);
    assert.ok(part.last_success === null || Date.parse(part.last_success) <= Date.now() + 1000, name);
  }
  assert.deepStrictEqual(Object.keys((await s.call('GET', '/healthz?verbose')).body.parts), Object.keys(body.parts));
});

test('a part that fails says why and since when to an admin, and the server is asked all the same', async (t) => {
  const s = await start({ provider: 'mock', sweep_seconds: 1, mock: '{list={fail=3}}' });
  t.after(() => s.stop());
  const part = async (name) => (await s.call('GET', '/readyz?verbose')).body.parts[name];
  const sweep = await until(async () => { const it = await part('sweep'); return !it.ok && it; }, 'the sweep fails');
  assert.match(sweep.why, /^not asked with success: mock since /);
  assert.match(sweep.says.providers.mock.error, /unavailable/);
  assert.strictEqual(sweep.says.providers.mock.listed_at, undefined);
  assert.strictEqual((await s.call('GET', '/readyz')).status, 200);
  assert.doesNotMatch((await as(s, {}, 'GET', '/healthz?verbose')).text, /mock|unavailable/);
  const well = await until(async () => { const it = await part('sweep'); return it.ok && it; }, 'the sweep does its work again');
  assert.ok(well.since > sweep.since && well.last_success >= well.says.providers.mock.listed_at);
});

test('once it ends it is not ready, and says what is missing to who is still connected', async () => {
  const s = await start({ drain_seconds: 20 });
  const socket = net.connect(s.port, '127.0.0.1');
  let said = '';
  socket.on('data', (d) => { said += d; });
  const closed = new Promise((r) => socket.on('close', r));
  socket.write('GET /readyz HTTP/1.1\r\nHost: x\r\n'); // the rest comes when it ends
  await s.call('GET', '/healthz');
  s.child.kill('SIGTERM');
  await s.says(/msg="ending/);
  socket.write('\r\n');
  await closed;
  assert.match(said, /^HTTP\/1\.1 503 /);
  assert.deepStrictEqual(JSON.parse(said.split('\r\n\r\n')[1]), { status: 'unavailable', missing: ['listener'] });
  await s.exited;
  await s.stop();
});

// -> [exit code, what it printed, what it complained of]
function health(url, ...words) {
  const child = spawn(binary, ['health', `--url=${url}`, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = ['', ''];
  [child.stdout, child.stderr].forEach((stream, i) => stream.on('data', (d) => { said[i] += d; }));
  return new Promise((r) => child.on('close', (code) => r([code, ...said])));
}

test('cchost health asks for it', async (t) => {
  const s = await start();
  assert.deepStrictEqual(await health(s.url), [0, 'ready\n', '']);
  const [code, json] = await health(s.url, '--json');
  assert.deepStrictEqual([code, JSON.parse(json)], [0, { status: 'ready', missing: [] }]);
  await s.stop();
  const [down, none, why] = await health(s.url);
  assert.deepStrictEqual([down, none], [1, '']);
  assert.match(why, /refused|connect/i);

  let answer;
  const double = http.createServer((req, res) => { res.statusCode = answer[0]; res.end(answer[1]); });
  await new Promise((r) => double.listen(0, '127.0.0.1', r));
  t.after(() => double.close());
  const url = `http://127.0.0.1:${double.address().port}`;
  answer = [503, '{"status":"unavailable","missing":["store","policy"]}'];
  assert.deepStrictEqual(await health(url), [1, '', 'cchost: not ready: store, policy\n']);
  answer = [200, 'hello'];
  assert.match((await health(url)).join('|'), /^1\|\|cchost: \S+ answered with status 200, and not as cchost does/);
  assert.strictEqual((await health(url, 'word'))[0], 2);
});
