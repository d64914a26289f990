// What a machine's agent is told of its owner's Claude credentials, and what becomes of what it does not take: an agent of the
// test's own, behind the mock provider.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { temp, until } = require('../lib/cchost.js');
const { person, start } = require('../access/people.js');

// -> {s, p, agent: {told: [...], status}, settled()}
async function world(t) {
  const dir = temp();
  const socket = path.join(dir, 'agent.sock');
  const agent = { told: [], status: 200 };
  const server = http.createServer((req, res) => {
    let text = '';
    req.on('data', (d) => { text += d; });
    req.on('end', () => {
      if (req.url === '/healthz') return void res.end('{"status":"ok"}'); // which program it is: another's question
      agent.told.push({ what: `${req.method} ${req.url}`, by: req.headers.authorization, values: JSON.parse(text) });
      res.writeHead(agent.status, { 'Content-Type': 'application/json' }).end('{}');
    });
  });
  await new Promise((r) => server.listen(socket, r));
  const at = path.join(dir, 'data');
  fs.mkdirSync(at, { mode: 0o700 });
  const mock = `{state='${dir}/world', endpoint='${socket}'}`;
  const w = { agent, s: await start({ mock }, at) };
  w.again = async () => { w.s = await start({ mock }, at); w.p = await person(w.s, 'p@example.org'); };
  t.after(async () => {
    await w.s.stop();
    server.closeAllConnections();
    await new Promise((r) => server.close(r));
    fs.rmSync(dir, { recursive: true, force: true });
  });
  w.p = await person(w.s, 'p@example.org');
  w.make = async () => {
    const r = await w.p.call('POST', '/instances?wait=30', {});
    assert.strictEqual(r.body.status, 'RUNNING', r.text);
    return r.body;
  };
  w.put = async (values) => assert.strictEqual((await w.p.call('PUT', '/auth/settings', values)).status, 200);
  w.touch = (m, text) => w.p.call('PATCH', `/instances/${m.id}`, { labels: { text } });
  return w;
}

test('who has none is asked nothing; from then on each start and each change is told, with the secret of that machine', async (t) => {
  const w = await world(t);
  const first = await w.make();
  assert.deepStrictEqual(w.agent.told, []);
  await w.put({ anthropic_api_key: 'key-one' });
  await until(() => w.agent.told.length === 1, 'the change is told');
  const second = await w.make();
  assert.strictEqual(w.agent.told.length, 2); // when the create is done, it is told
  for (const said of w.agent.told) {
    assert.match(said.by, /^Bearer [0-9a-f]{64}$/);
    assert.deepStrictEqual([said.what, said.values], ['PUT /auth/credentials', { anthropic_api_key: 'key-one', claude_oauth_token: null }]);
  }
  assert.notStrictEqual(w.agent.told[0].by, w.agent.told[1].by);
  await w.put({ anthropic_api_key: '', claude_oauth_token: 'token-two' });
  await until(() => w.agent.told.length === 4, 'both hear of it');
  assert.deepStrictEqual(w.agent.told.slice(2).map((x) => x.values.claude_oauth_token), ['token-two', 'token-two']);
  await w.p.call('POST', `/instances/${first.id}/stop`);
  await w.put({ claude_oauth_token: '' });
  await until(() => w.agent.told.length === 5, 'only the one that runs hears of it');
  assert.strictEqual(w.agent.told[4].by, w.agent.told[1].by, second.id);
  await w.p.call('POST', `/instances/${first.id}/start`);
  assert.strictEqual(w.agent.told.length, 6); // what it may still have is taken away
  assert.deepStrictEqual(w.agent.told[5].values, { anthropic_api_key: null, claude_oauth_token: null });
  assert.ok(w.agent.told.slice(0, 5).every((x) => x.by !== w.agent.told[5].by), 'a new run has a new secret');
});

test('what an agent does not take now it is told again, also by the next process', async (t) => {
  const w = await world(t);
  w.agent.status = 500;
  await w.put({ anthropic_api_key: 'key-one' });
  const m = await w.make();
  await until(() => w.agent.told.length > 1, 'it is tried again'); // by the step, and by who follows
  assert.strictEqual((await w.p.call('GET', `/instances/${m.id}`)).body.status, 'RUNNING');
  await w.s.kill();
  w.agent.told = [];
  w.agent.status = 200;
  await w.again();
  await until(() => w.agent.told.length === 1, 'the next process tells it');
  assert.strictEqual(w.agent.told[0].values.anthropic_api_key, 'key-one');
  await w.touch(m, 'a');
  await w.put({ anthropic_api_key: 'key-two' }); // if the first had been told again, it would be before this one
  await until(() => w.agent.told.length > 1, 'the change');
  assert.deepStrictEqual(w.agent.told.slice(1).map((x) => x.values.anthropic_api_key), ['key-two']);
});

test('an agent that is older, or knows another secret, is left alone until its machine starts again', async (t) => {
  const w = await world(t);
  await w.put({ anthropic_api_key: 'key-one' });
  for (const status of [404, 401]) {
    w.agent.status = status;
    w.agent.told = [];
    const m = await w.make();
    assert.strictEqual(w.agent.told.length, 1);
    w.agent.status = 200;
    await w.touch(m, 'b');
    await w.p.call('POST', `/instances/${m.id}/stop`);
    await w.p.call('POST', `/instances/${m.id}/start`);
    assert.strictEqual(w.agent.told.length, 2, `after ${status}`); // by its start alone
    await w.p.call('DELETE', `/instances/${m.id}`);
  }
  assert.ok(!w.s.log.includes('key-one'));
});
