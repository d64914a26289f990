// How much of a kind one account may have at a time, also when it is asked for all at once.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { until } = require('../lib/cchost.js');
const { Stream } = require('../lib/events.js');
const { start, person, bearer } = require('./people.js');

const many = (n, fn) => Promise.all(Array.from({ length: n }, (_, i) => fn(i)));

test('an account could have any number of sessions: with the 51st the oldest ends, and what it held open', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const first = await person(s, 'p@example.org');
  const second = await person(s, 'p@example.org');
  const stream = await Stream.open(s.port, '/events', bearer(first.token));
  const [other] = await Promise.all([person(s, 'q@example.org'), many(48, () => person(s, 'p@example.org'))]);
  assert.strictEqual((await first.call('GET', '/auth/me')).status, 200, 'fifty');
  const last = await person(s, 'p@example.org');
  assert.strictEqual((await first.call('GET', '/auth/me')).status, 401);
  await until(() => stream.ended, 'its stream of events ends');
  assert.strictEqual((await second.call('GET', '/auth/me')).status, 200);
  await many(60, () => person(s, 'p@example.org'));
  assert.strictEqual((await last.call('GET', '/auth/me')).status, 401);
  const newest = await person(s, 'p@example.org');
  assert.strictEqual((await newest.call('GET', '/auth/sessions')).body.length, 50);
  assert.strictEqual((await other.call('GET', '/auth/me')).status, 200, "another's stay");
  const ended = (await s.call('GET', '/events?kind=user&type=session_ended&limit=1000')).body;
  assert.strictEqual(ended.length, 62, 'each end is in the log');
});

test('API tokens asked for at once passed their bound of 100', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const make = () => p.call('POST', '/auth/tokens', { name: 'x', scopes: ['account:read'] });
  const count = (all) => [201, 429].map((c) => all.filter((r) => r.status === c).length);
  assert.deepStrictEqual(count(await many(90, make)), [90, 0]);
  assert.deepStrictEqual(count(await many(40, make)), [10, 30]);
  const { body } = await p.call('GET', '/auth/tokens');
  assert.strictEqual(body.length, 100);
  assert.strictEqual((await make()).body.code, 'quota');
  assert.strictEqual((await p.call('DELETE', `/auth/tokens/${body[0].id}`)).status, 204);
  assert.deepStrictEqual(count(await many(3, make)), [1, 2]);
});
