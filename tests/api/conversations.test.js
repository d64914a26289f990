// Conversations: what clients keep of their chats with the host, over HTTP.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { spawnSync } = require('node:child_process');
const { binary, until } = require('../lib/cchost.js');
const { start, person, apiToken, bearer, as } = require('../access/people.js');

let s;
let ann;
let bob;

test('set up', async () => {
  s = await start();
  [ann, bob] = [await person(s, 'ann@example.org'), await person(s, 'bob@example.org')];
});

const open = async (who, project) => {
  const r = await who.call('GET', `/conversations?project=${encodeURIComponent(project)}`);
  assert.strictEqual(r.status, 200, r.text);
  return r.body;
};
const add = (who, id, body) => who.call('POST', `/conversations/${id}/messages`, body);
const said = async (who, id, body) => {
  const r = await add(who, id, body);
  assert.strictEqual(r.status, 201, r.text);
  return r.body;
};
const read = async (who, id, query = '') => (await who.call('GET', `/conversations/${id}/messages${query}`)).body;
const next = (r) => /<([^>]+)>; rel="next"/.exec(r.headers.link ?? '')?.[1];

test('one for each project and user, made when it is asked for', async () => {
  const c = await open(ann, '/claude-data/app');
  assert.deepStrictEqual(Object.keys(c).sort(), ['created_at', 'id', 'project_path', 'title', 'updated_at']);
  assert.deepStrictEqual([c.project_path, c.title], ['/claude-data/app', null]);
  assert.deepStrictEqual(await open(ann, '/claude-data/app'), c);
  assert.notStrictEqual((await open(ann, '/claude-data/app/')).id, c.id);
  assert.notStrictEqual((await open(bob, '/claude-data/app')).id, c.id);
  const many = await Promise.all(Array.from({ length: 20 }, () => open(ann, '/claude-data/ä ö?&')));
  assert.strictEqual(new Set(many.map((x) => x.id)).size, 1, 'asked for by twenty at once it is one');
  for (const bad of ['', '?project=', `?project=${'x'.repeat(1025)}`, '?project=a%0Ab', '?project=%FF', '?project=a&x=1']) {
    assert.strictEqual((await ann.call('GET', `/conversations${bad}`)).status, 400, bad);
  }
  assert.strictEqual((await ann.call('GET', '/conversations')).body.error, 'project is required');
});

test('messages are kept as they were given, in their order', async () => {
  const c = await open(ann, '/claude-data/app');
  const events = [{ type: 'tool_use', tool: 'Read', input: { file_path: 'a"b\n' }, n: 9007199254740991 }];
  const first = await said(ann, c.id, { role: 'user', content: '\n  What is in a?\nSecond line' });
  const second = await said(ann, c.id, { role: 'assistant', content: '', tool_events: JSON.stringify(events) });
  assert.deepStrictEqual(await read(ann, c.id), [first, second]);
  assert.deepStrictEqual([first.id, second.id, first.role, first.content], [1, 2, 'user', '\n  What is in a?\nSecond line']);
  assert.ok(!('tool_events' in first));
  assert.deepStrictEqual(second.tool_events, events, 'text on the way in, JSON on the way out');
  const now = await open(ann, '/claude-data/app');
  assert.deepStrictEqual([now.title, now.updated_at], ['What is in a?', second.created_at]);
});

test('what is no message is refused with the reason', async () => {
  const c = await open(ann, '/claude-data/app');
  const before = await read(ann, c.id);
  for (const [body, words] of [
    [{ role: 'system', content: 'x' }, "role must be 'user' or 'assistant'"], [{ content: 'x' }, "role must be 'user' or 'assistant'"],
    [{ role: 1, content: 'x' }, "role must be 'user' or 'assistant'"], [{ role: 'user' }, /^content: /], [{ role: 'user', content: 5 }, /^content: /],
    [{ role: 'user', content: 'x'.repeat(262145) }, /^content: at most 262144/], [{ role: 'user', content: 'x', more: 1 }, /^more: /],
    [{ role: 'user', content: 'x', tool_events: [] }, /^tool_events: /],
  ]) {
    const r = await add(ann, c.id, body);
    assert.strictEqual(r.status, 400, JSON.stringify(body).slice(0, 80));
    if (typeof words === 'string') assert.strictEqual(r.body.error, words); else assert.match(r.body.error, words);
  }
  assert.deepStrictEqual(await read(ann, c.id), before);
});

test('tool_events that are no JSON are refused, so that every answer can be read', async () => {
  const c = await open(ann, '/claude-data/app');
  const before = await read(ann, c.id);
  for (const bad of ['', '{', '[1,]', '{"a":1}}', '"text"', '5', 'null', 'NaN', '{"a":1,"a":2}', '\u0000', '['.repeat(5000) + ']'.repeat(5000)]) {
    const r = await add(ann, c.id, { role: 'assistant', content: 'x', tool_events: bad });
    assert.deepStrictEqual([r.status, r.body.field], [400, 'tool_events'], JSON.stringify(bad).slice(0, 40));
  }
  assert.deepStrictEqual(await read(ann, c.id), before);
});

test('pages: from the beginning, and from the end', async () => {
  const c = await open(ann, '/claude-data/pages');
  for (let i = 1; i <= 7; i++) await said(ann, c.id, { role: 'user', content: String(i) });
  const walk = async (where) => {
    const pages = [];
    for (let at = where; at;) {
      const r = await ann.call('GET', at);
      assert.strictEqual(r.status, 200, r.text);
      pages.push(r.body.map((m) => Number(m.content)));
      at = next(r);
    }
    return pages;
  };
  const where = `/conversations/${c.id}/messages`;
  assert.deepStrictEqual(await walk(`${where}?limit=3`), [[1, 2, 3], [4, 5, 6], [7]]);
  assert.deepStrictEqual(await walk(`${where}?limit=3&before=end`), [[5, 6, 7], [2, 3, 4], [1]]);
  assert.deepStrictEqual(await walk(`${where}?limit=7`), [[1, 2, 3, 4, 5, 6, 7]]);
  assert.deepStrictEqual(await walk(`${where}?after=5`), [[6, 7]]);
  for (const bad of ['limit=0', 'after=x', 'before=-1', 'after=1e3', 'page=2', 'after=99999999999999999999']) {
    assert.strictEqual((await ann.call('GET', `${where}?${bad}`)).status, 400, bad);
  }
});

test('the list: last written to first, in pages', async () => {
  for (const p of ['a', 'b', 'c']) await said(bob, (await open(bob, p)).id, { role: 'user', content: p });
  await said(bob, (await open(bob, 'a')).id, { role: 'user', content: 'again' });
  const all = (await bob.call('GET', '/conversations/list')).body;
  assert.deepStrictEqual(all.map((c) => c.project_path), ['a', 'c', 'b', '/claude-data/app']);
  const got = [];
  for (let at = '/conversations/list?limit=2'; at;) {
    const r = await bob.call('GET', at);
    got.push(...r.body);
    at = next(r);
  }
  assert.deepStrictEqual(got, all);
});

test('another one, an admin, and an id that is none get 404 and nothing else', async () => {
  const c = await open(ann, '/claude-data/app');
  for (const [who, id] of [[bob, c.id], [ann, '00000000-0000-4000-8000-000000000000'], [ann, '1'], [ann, `${c.id}x`]]) {
    for (const [method, rest, body] of [['GET', '/messages'], ['POST', '/messages', { role: 'user', content: 'x' }], ['DELETE', '']]) {
      const r = await who.call(method, `/conversations/${id}${rest}`, body);
      assert.deepStrictEqual([r.status, r.body.error], [404, 'no such conversation'], `${method} ${rest}`);
    }
  }
  assert.strictEqual((await s.call('GET', `/conversations/${c.id}/messages`)).status, 401, "the operator's key has no conversations");
  const t = await apiToken(ann, ['account:read']);
  assert.strictEqual((await as(s, bearer(t.token), 'GET', `/conversations/${c.id}/messages`)).status, 403);
});

test('sent twice it is there once', async () => {
  const c = await open(ann, '/claude-data/twice');
  const send = () => ann.call('POST', `/conversations/${c.id}/messages`, { role: 'user', content: 'once' }, { 'Idempotency-Key': 'k1' });
  const [a, b] = [await send(), await send()];
  assert.deepStrictEqual([a.status, b.status, b.body], [201, 201, a.body]);
  assert.strictEqual((await read(ann, c.id)).length, 1);
});

test('a deleted one is gone with its messages, and the project begins anew', async () => {
  const c = await open(ann, '/claude-data/pages');
  const r = await ann.call('DELETE', `/conversations/${c.id}`);
  assert.deepStrictEqual([r.status, r.body], [200, { status: 'deleted' }]);
  assert.strictEqual((await ann.call('GET', `/conversations/${c.id}/messages`)).status, 404);
  assert.strictEqual((await ann.call('DELETE', `/conversations/${c.id}`)).status, 404);
  const anew = await open(ann, '/claude-data/pages');
  assert.notStrictEqual(anew.id, c.id);
  assert.deepStrictEqual(await read(ann, anew.id), []);
});

test('an account keeps so much, is told what to do, and has its room back', async () => {
  const carl = await person(s, 'carl@example.org');
  const c = await open(carl, 'big');
  const content = 'x'.repeat(262144);
  const message = { role: 'user', content, tool_events: JSON.stringify([content.slice(10)]) };
  let r;
  let n = 0;
  do {
    r = await add(carl, c.id, message);
    n++;
  } while (r.status === 201 && n < 100);
  assert.deepStrictEqual([r.status, r.body.code, n], [429, 'quota', 64], r.text);
  assert.match(r.body.error, /32 MiB .* delete a conversation first/);
  const few = await open(carl, 'another'); // these still go
  assert.strictEqual((await add(carl, few.id, message)).status, 429);
  assert.strictEqual((await carl.call('DELETE', `/conversations/${c.id}`)).status, 200);
  await said(carl, few.id, message);
});

const records = () => {
  const script = `
    local store = require "store"
    require "script".open { existing = true }
    local n = 0
    for _, kind in ipairs { "conversation", "conversation_message", "conversations" } do n = n + #store.list(kind, {}) end
    for _, index in ipairs { "conversation_project", "conversation_owner", "conversation_ending" } do n = n + #store.scan(index, {}) end
    print(n)`;
  const file = `${s.dir}/count.lua`;
  fs.writeFileSync(file, script);
  const r = spawnSync(binary, [file], { encoding: 'utf8', env: { ...process.env, DATA_DIR: s.dir }, timeout: 30e3 });
  assert.strictEqual(r.status, 0, r.stderr);
  return Number(r.stdout);
};

test('the export has them, and with the account they go', async () => {
  const c = await open(ann, '/claude-data/app');
  const exported = (await s.call('GET', `/users/${ann.id}/export`)).body;
  const mine = exported.conversations.find((x) => x.id === c.id);
  assert.deepStrictEqual(mine, { ...c, messages: await read(ann, c.id) });
  assert.strictEqual(exported.conversations.length, (await ann.call('GET', '/conversations/list')).body.length);
  const gone = await s.call('DELETE', `/users/${ann.id}?machines=delete`);
  assert.strictEqual(gone.status, 200, gone.text);
  assert.deepStrictEqual(gone.body.export.conversations, exported.conversations);
  for (const u of (await s.call('GET', '/users?limit=100')).body) {
    if (u.id !== ann.id) assert.strictEqual((await s.call('DELETE', `/users/${u.id}?machines=delete`)).status, 200);
  }
  await until(() => records() === 0, 'nothing of any conversation is left');
});

test('nothing is left open', async () => {
  await s.stop();
});
