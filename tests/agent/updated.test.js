// The host gives the agents of running machines the build that it carries, and no terminal ends by it; and hands it out.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { until, temp } = require('../lib/cchost.js');
const { SessionTerminal, Agent } = require('../lib/session.js');
const { bytes, sha, version } = require('../lib/builds.js');
const { start, person, as, bearer } = require('../access/people.js');

const digest = Buffer.from(sha(bytes), 'hex');

// A machine whose agent is an older build, that runs in a terminal what it was told.
async function world(t) {
  const dir = temp(), old = path.join(dir, 'old');
  fs.writeFileSync(old, version('0.0.9'), { mode: 0o755 });
  const agent = await Agent.start(dir, old, ['--shell', 'exec cat', '--root', dir], { HOME: dir, CCHOST_SERVICES: `${dir}/none` });
  t.after(async () => { await agent.stop(); fs.rmSync(dir, { recursive: true }); });
  const health = async () => (await agent.call('GET', '/healthz').catch(() => ({ body: {} }))).body;
  assert.strictEqual((await health()).version, '0.0.9');
  return { dir, agent, health, settings: { mock: `{endpoint="${agent.sock}"}` } };
}

test('an agent of another build is updated when its machine starts; its terminal goes on through the host', async (t) => {
  const w = await world(t);
  const direct = new SessionTerminal(w.agent.url, { session: 'before' });
  direct.connect();
  await direct.joined();
  direct.type('one\n');
  await direct.sees(/one\r\none\r\n/);
  const s = await start(w.settings, temp());
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const m = (await p.call('POST', '/instances?wait=30', {})).body;
  assert.strictEqual(m.status, 'RUNNING', JSON.stringify(m));
  await until(async () => (await w.health()).build === sha(bytes), 'it is of the build that the server carries', 30);
  await until(() => /an agent was updated/.test(s.log), 'the log says so');
  await until(() => direct.ready && direct.opened === 2, 'its terminal is back');
  direct.type('two\n');
  await direct.sees(/two\r\ntwo\r\n$/);
  assert.strictEqual(direct.output, 'one\r\none\r\ntwo\r\ntwo\r\n');
  const far = new SessionTerminal(`ws://127.0.0.1:${s.port}/instances/${m.id}/terminal`, { session: 'before', headers: bearer(p.token) });
  far.connect();
  await far.joined();
  await far.sees(/two\r\ntwo\r\n/);
  for (const one of [direct, far]) { one.again = false; one.ws.terminate(); }
});

test('one that is busy is asked again later, and goes on as it is meanwhile', async (t) => {
  const w = await world(t);
  const exec = w.agent.call('POST', '/exec', { cmd: ['sh', '-c', `until [ -e ${w.dir}/go ]; do sleep 0.02; done`] });
  const asked = [];
  const front = http.createServer((req, res) => { // sees what the host asks
    asked.push(`${req.method} ${req.url.split('?')[0]}`);
    const to = http.request({ socketPath: w.agent.sock, method: req.method, path: req.url, headers: req.headers, agent: false }, (r) => { asked.push(r.statusCode); res.writeHead(r.statusCode, r.headers); r.pipe(res); });
    to.on('error', () => res.destroy());
    req.pipe(to);
  });
  await new Promise((r) => { front.listen(`${w.dir}/front.sock`, r); });
  t.after(() => new Promise((r) => { front.close(r); front.closeAllConnections(); }));
  const s = await start({ mock: `{endpoint="${w.dir}/front.sock"}` }, temp());
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  assert.strictEqual((await p.call('POST', '/instances?wait=30', {})).body.status, 'RUNNING');
  await until(() => asked.includes('PUT /update') && asked.includes(409), () => `asked: ${asked}`, 30);
  assert.strictEqual((await w.health()).version, '0.0.9');
  fs.writeFileSync(`${w.dir}/go`, '');
  assert.strictEqual((await exec).status, 200);
});

test('what an agent says of itself and of why it is busy is cut between characters, and is a text', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const says = {
    '/healthz': [200, { status: 'ok', version: `${'v'.repeat(39)}\u00fc`, build: 'ab', arch: os.machine(), uptime_ms: 1 }],
    '/update': [409, { error: `${'w'.repeat(199)}\u00fc`, code: 'busy' }],
    '/activity': [200, { last_input_ms: 0, clients: 0, foreground: null, load: 0, uptime_ms: 1, leases: [] }],
  };
  const agent = http.createServer((req, res) => {
    const [status, body] = says[req.url.split('?')[0]] || [404, {}];
    req.resume().on('end', () => res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)));
  });
  await new Promise((r) => { agent.listen(`${dir}/agent.sock`, r); });
  t.after(() => new Promise((r) => { agent.close(r); agent.closeAllConnections(); }));
  const s = await start({ mock: `{endpoint="${dir}/agent.sock"}` }, temp());
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const m = (await p.call('POST', '/instances?wait=30', {})).body;
  await until(() => /its update waits/.test(s.log), () => s.log.slice(-1500), 30);
  const got = await p.call('GET', `/instances/${m.id}/stats`);
  assert.strictEqual(got.status, 200, got.text);
  assert.deepStrictEqual([got.body.agent.update, got.body.agent.version, got.body.agent.why], ['waiting', 'v'.repeat(39), 'w'.repeat(199)]);
});

test('GET /agent/{arch}: the program as it is carried, with its SHA-256, for anybody', async (t) => {
  const s = await start({}, temp());
  t.after(() => s.stop());
  const got = await new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port: s.port, path: `/agent/${os.machine()}` }, (res) => { res.toArray().then((parts) => resolve({ res, body: Buffer.concat(parts) })); }).on('error', reject);
  });
  assert.strictEqual(got.res.statusCode, 200);
  assert.ok(got.body.equals(bytes));
  assert.strictEqual(got.res.headers.etag, `"${sha(bytes)}"`);
  assert.strictEqual(got.res.headers['repr-digest'], `sha-256=:${digest.toString('base64')}:`);
  const again = await as(s, { 'If-None-Match': got.res.headers.etag }, 'GET', `/agent/${os.machine()}`);
  assert.deepStrictEqual([again.status, again.text], [304, '']);
  assert.strictEqual((await as(s, {}, 'GET', '/agent/vax')).status, 404);
});
