// What a webhook must not reach: what this host alone can reach, whatever its name resolves to and when.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { until, root, temp, binary } = require('../lib/cchost.js');
const { start, person, apiToken, as, bearer } = require('./people.js');
const { Receiver } = require('../lib/receiver.js');
const { make } = require('../tls/certs.js');

const V = process.env.V || 'release';

// A server that looks names up where the test says, and a receiver on loopback.
async function world(t, settings, addresses = [], answer = undefined, tls = undefined, how = {}) {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.writeFileSync(`${dir}/names`, addresses.map((a) => `${a}\n`).join(''));
  const asan = process.env.ASAN_OPTIONS;
  const env = addresses.length ? {
    LD_PRELOAD: path.join(root, 'build', V, 'names.so'), NAMES: `${dir}/names`, ...(asan !== undefined && { ASAN_OPTIONS: `${asan}:verify_asan_link_order=0` }),
  } : {};
  const s = await start({ webhook_seconds: 2, webhook_http: 'on', ...settings }, undefined, { env: { ...env, ...how.env } });
  t.after(() => s.child.kill('SIGKILL')); // of a test that failed
  const r = await Receiver.start(answer, tls);
  t.after(() => r.stop());
  const p = await person(s, 'p@example.org');
  const send = async (url) => {
    const made = await p.call('POST', '/webhooks', { url, events: ['ledger.dispute'] });
    assert.strictEqual(made.status, 201, `${url} ${made.text}`);
    const d = await p.call('POST', `/webhooks/${made.body.id}/test`);
    assert.strictEqual(d.status, 200, d.text);
    assert.strictEqual((await p.call('DELETE', `/webhooks/${made.body.id}`)).status, 204);
    return d.body;
  };
  return { s, r, p, send };
}

const refused = (d, what) => assert.deepStrictEqual([d.ok, d.status, d.error], [false, null, 'it leads to an address that is not public'], what);

test('addresses of this host, of private networks and of metadata services, however they are written', async (t) => {
  const { s, r, send } = await world(t, { webhook_allow: '192.0.2.1' });
  for (const host of ['127.0.0.1', 'localhost', '127.1', '2130706433', '0x7f.1', '0177.0.0.1', '0.0.0.0', '[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]',
    '10.0.0.1', '172.16.0.1', '192.168.0.1', '100.64.0.1', '169.254.169.254', '[fe80::1]', '[fd00:ec2::254]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]',
    '224.0.0.1', '255.255.255.255']) {
    refused(await send(`http://${host}:${r.port}/hook`), host);
  }
  // the server's own API
  refused(await send(`http://127.0.0.1:${s.port}/healthz`), 'our own listener');
  assert.deepStrictEqual([r.got.length, r.open], [0, 0]);
  await s.stop();
});

test('a setting allows ranges, and nothing beside them', async (t) => {
  const { s, r, send } = await world(t, { webhook_allow: '127.0.0.1' });
  assert.strictEqual((await send(r.url)).ok, true);
  refused(await send(`http://127.0.0.2:${r.port}/hook`), 'its neighbour');
  assert.strictEqual(r.got.length, 1);
  await s.stop();
});

test('an address of this host\'s own is refused though it is public', (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.writeFileSync(`${dir}/own.lua`, `
    local http, served = require "http", 0
    local server = assert(http.serve { host = "", port = 0, handler = function(req) served = served + 1 req:reply(200, "") end })
    local _, port = server:addr()
    local function ask(host, public) return http.request { url = ("http://%s:%d/"):format(host, port), public = public } end
    local answer, err = ask("1.2.3.4", {})
    print(answer, err.code, served, ask("1.2.3.4", { "1.2.3.4" }).status, select(2, ask("[2a01::1]", {})).code, served)
    server:close()`);
  const r = spawnSync('unshare', ['-rn', 'sh', '-ec', 'ip link set lo up; ip addr add 1.2.3.4/32 dev lo; ip addr add 2a01::1/128 dev lo nodad; exec "$0" "$1"', binary, `${dir}/own.lua`],
    { encoding: 'utf8', cwd: dir });
  assert.strictEqual(r.stdout, 'nil\tdenied\t0\t200\tdenied\t1\n', r.stderr);
});

test('a name that resolves to something else the next time', async (t) => {
  const { s, r, send } = await world(t, { webhook_allow: '127.0.0.1' }, ['127.0.0.1', '127.0.0.2', '127.0.0.1', '10.0.0.1', '::1'],
    (res) => res.writeHead(200, { Connection: 'close' }).end());
  const at = (name) => send(`http://${name}.test:${r.port}/hook`);
  assert.strictEqual((await at('a')).ok, true);
  refused(await at('b'), '127.0.0.2');
  assert.strictEqual((await at('c')).ok, true);
  refused(await at('d'), '10.0.0.1');
  refused(await at('e'), '::1');
  assert.strictEqual(r.got.length, 2);
  await s.stop();
});

test('a redirect to what it may not reach is not followed, one to what it may reach neither', async (t) => {
  const { s, r, send } = await world(t, { webhook_allow: '127.0.0.1' }, [], (res) => res.writeHead(307, { Location: `http://127.0.0.2:${s.port}/` }).end());
  const d = await send(r.url);
  assert.deepStrictEqual([d.ok, d.status, r.got.length], [false, 307, 1]);
  await s.stop();
});

test('the environment\'s proxy is not a way around', async (t) => {
  const proxy = await Receiver.start();
  t.after(() => proxy.stop());
  const { s, r, send } = await world(t, { webhook_allow: '192.0.2.1' }, [], undefined, undefined, { env: { http_proxy: proxy.url, all_proxy: proxy.url, no_proxy: '' } });
  refused(await send(r.url));
  refused(await send('http://10.0.0.1/'));
  assert.strictEqual(proxy.got.length, 0);
  await s.stop();
});

test('TLS is verified', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const c = make(dir, 'good', { names: ['localhost'] });
  const tls = { cert: fs.readFileSync(c.cert), key: fs.readFileSync(c.key) };
  const { s, r, send } = await world(t, { webhook_http: 'off', webhook_ca: c.cert }, [], undefined, tls);
  assert.strictEqual((await send(`https://localhost:${r.port}/`)).ok, true);
  const wrong = await send(`https://127.0.0.2:${r.port}/`);
  assert.deepStrictEqual([wrong.ok, wrong.status], [false, null]);
  await s.stop();
  const other = await start({ webhook_seconds: 2 });
  t.after(() => other.child.kill('SIGKILL'));
  const made = (await other.call('POST', '/webhooks', { url: `https://localhost:${r.port}/`, events: ['ledger.dispute'] })).body;
  const d = (await other.call('POST', `/webhooks/${made.id}/test`)).body;
  assert.deepStrictEqual([d.ok, d.status, r.got.length], [false, null, 1], 'an authority that it does not know');
  await other.stop();
});

test('production sends by TLS alone, and to nothing of its own, unless it is told to', async (t) => {
  const { s, p } = await world(t, { webhook_http: 'off', webhook_allow: '192.0.2.1' });
  for (const url of ['http://example.org/', 'http://10.0.0.1/']) assert.match((await p.call('POST', '/webhooks', { url })).body.error, /https expected/);
  await s.stop();
});

test('another\'s are not there, and tokens need the scope', async (t) => {
  const { s, r, p } = await world(t, {});
  const q = await person(s, 'q@example.org');
  const h = (await p.call('POST', '/webhooks', { url: r.url, events: ['ledger.dispute'] })).body;
  for (const [method, where, body] of [['GET', ''], ['PATCH', '', {}], ['DELETE', ''], ['POST', '/secret', {}], ['POST', '/replay', { after: 0 }], ['POST', '/test'],
    ['GET', '/deliveries'], ['POST', '/deliveries/1/redeliver']]) {
    assert.strictEqual((await q.call(method, `/webhooks/${h.id}${where}`, body)).status, 404, `${method} ${where}`);
  }
  assert.deepStrictEqual((await q.call('GET', '/webhooks')).body, []);
  const read = await apiToken(p, ['webhooks:read']), write = await apiToken(p, ['webhooks:write']);
  assert.deepStrictEqual([(await as(s, bearer(read.token), 'GET', '/webhooks')).status, (await as(s, bearer(write.token), 'GET', '/webhooks')).status], [200, 403]);
  assert.deepStrictEqual([(await as(s, bearer(read.token), 'POST', '/webhooks', { url: r.url })).status, (await as(s, bearer(write.token), 'POST', '/webhooks', { url: r.url })).status],
    [403, 201]);
  await until(() => r.got.length > 0, 'that one is told of itself');
  await s.stop();
});
