// A machine is stopped while what its agent answers is being passed on.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { Server, temp } = require('../lib/cchost.js');

// Bug: whoever's answer had begun to come, but had not been given on, was looked at again and again: the loop stood still for ever.
test('a stop while many answers of the machine come does not hold the server', { timeout: 120000 }, async (t) => {
  const dir = temp();
  const sock = path.join(dir, 'agent.sock');
  const agent = http.createServer((req, res) => res.end('[]'));
  await new Promise((r) => { agent.listen(sock, r); });
  const s = await Server.start({ provider: 'mock', mock: `{endpoint="${sock}"}` });
  t.after(() => s.drop()); // of a test that failed
  assert.strictEqual((await s.call('POST', '/instances?wait=20', { name: 'box' })).status, 201);
  let asked = 0, on = true;
  const all = Promise.all(Array.from({ length: 60 }, async () => {
    while (on) {
      const r = await s.call('GET', '/instances/box/projects').catch(() => ({})); // cut in the midst
      asked += r.status === 200;
    }
  }));
  for (let i = 0; i < 40 || asked <= 100; i += 1) { // a busy host passes on less between two stops
    for (const verb of ['stop', 'start']) assert.strictEqual((await s.call('POST', `/instances/box/${verb}`)).status, 200, verb);
  }
  on = false;
  await all;
  assert.ok(asked > 100, `${asked} answers were passed on`);
  await s.stop();
  agent.closeAllConnections();
  await new Promise((r) => { agent.close(r); });
  fs.rmSync(dir, { recursive: true, force: true });
});
