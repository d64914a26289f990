// Terminals and streams: who may open one, by what, and that they end with the credential that opened them.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { Server, until, temp, binary } = require('../lib/cchost.js');
const { BadIo } = require('../lib/badio.js');
const { Terminal } = require('../lib/terminal.js');
const { Stream } = require('../lib/events.js');
const { as, bearer, person, apiToken } = require('./people.js');

async function world(t, settings = {}, ...how) {
  const s = await Server.start({ terminal_command: 'exec bash --norc', ...settings }, ...how);
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const m = (await p.call('POST', '/instances?wait=30', { network: 'none' })).body;
  assert.strictEqual(m.status, 'RUNNING', JSON.stringify(m));
  return { s, p, m, where: `${s.url}/instances/${m.id}/terminal` };
}
const ends = async (tty, reason) => {
  await tty.closed;
  assert.deepStrictEqual([tty.code, tty.reason], [1008, reason]);
};

test('Origin is looked at whenever there is one, and a cookie needs one', async (t) => {
  const { s, p, where } = await world(t);
  const cookie = { Cookie: `session=${p.token}` };
  for (const headers of [bearer(p.token), { ...cookie, Origin: s.url }, { ...bearer(p.token), Origin: s.url }]) {
    const tty = await Terminal.open(where, headers);
    await tty.close();
  }
  for (const headers of [cookie, { ...cookie, Origin: 'https://evil.example' }, { ...bearer(p.token), Origin: 'https://evil.example' },
    { 'X-API-Key': s.key, Origin: 'null' }]) {
    await assert.rejects(Terminal.open(where, headers), { status: 403 }, JSON.stringify(headers));
  }
  // without an upgrade it is a page's own fetch, which says no Origin: here it learns that these machines have no console
  const plain = await as(s, cookie, 'GET', new URL(where).pathname.replace('terminal', 'console'));
  assert.deepStrictEqual([plain.status, plain.body.code], [400, 'unsupported'], plain.text);
});

test('a ticket opens one terminal of one machine, once; nothing else in a URL does', async (t) => {
  const { s, p, m, where } = await world(t);
  const other = (await p.call('POST', '/instances?wait=30', { network: 'none' })).body;
  const ticket = async () => {
    const r = await p.call('POST', `/instances/${m.id}/ticket`);
    assert.strictEqual(r.status, 201, r.text);
    const left = Date.parse(r.body.expires_at) - Date.now();
    assert.ok(left > 0 && left <= 60000, r.body.expires_at);
    return r.body.ticket;
  };
  const one = await ticket();
  const tty = await Terminal.open(`${where}?token=${one}`, { Origin: s.url });
  tty.type('echo $((6*7))\r');
  await tty.sees(/\r42\r\n/);
  await assert.rejects(Terminal.open(`${where}?token=${one}`), { status: 401 });
  await assert.rejects(Terminal.open(`${s.url}/instances/${other.id}/terminal?token=${await ticket()}`), { status: 404 });
  await assert.rejects(Terminal.open(`${where}?token=${await ticket()}`, { Origin: 'https://evil.example' }), { status: 403 });
  const r = await as(s, { Connection: 'Upgrade', Upgrade: 'websocket' }, 'GET', `/instances/${m.id}/terminal?token=${p.token}`);
  assert.deepStrictEqual([r.status, /a ticket is expected/.test(r.body.error)], [401, true]);
  assert.strictEqual((await as(s, {}, 'GET', `/instances/${m.id}?token=${await ticket()}`)).status, 401, 'for WebSockets alone');
  // a session that ends takes its tickets and its terminals along
  const late = await ticket();
  assert.strictEqual((await p.call('POST', '/auth/logout')).status, 204);
  await ends(tty, 'signed out');
  await assert.rejects(Terminal.open(`${where}?token=${late}`), { status: 401 });
});

test('what ends a credential ends what it holds open, and nothing else', async (t) => {
  const { s, p, m, where } = await world(t);
  const q = await person(s, 'p@example.org');
  const token = await apiToken(p, ['instances:connect', 'instances:read'], { instance: m.id });
  const open = (headers) => Terminal.open(where, headers);
  const [byP, byQ, byToken, byKey] = [await open(bearer(p.token)), await open(bearer(q.token)), await open(bearer(token.token)), await open({ 'X-API-Key': s.key })];
  const stream = await Stream.open(s.port, '/events', bearer(p.token));
  assert.strictEqual((await q.call('DELETE', `/auth/sessions/${p.session}`)).status, 204);
  await ends(byP, 'signed out');
  await until(() => stream.ended, 'its stream of events ends');
  assert.strictEqual((await q.call('DELETE', `/auth/tokens/${token.id}`)).status, 204);
  await ends(byToken, 'the token was revoked');
  assert.strictEqual((await as(s, bearer(token.token), 'GET', `/instances/${m.id}`)).status, 401);
  byQ.type('echo $((6*7))\r');
  await byQ.sees(/\r42\r\n/);
  // by another process: the server hears of it from the log
  const r = spawnSync(binary, ['users', 'suspend', 'p@example.org', `--data-dir=${s.dir}`], { encoding: 'utf8' });
  assert.strictEqual(r.status, 0, r.stderr);
  await ends(byQ, 'the account is suspended');
  assert.strictEqual((await q.call('GET', '/auth/me')).status, 401);
  byKey.type('echo $((6*7))\r');
  await byKey.sees(/\r42\r\n/);
  await byKey.close();
});

test('a session or a token that merely expired left its terminals open', async (t) => {
  const dir = temp();
  const host = new BadIo(dir);
  let w;
  t.after(async () => { // before the server's own end
    host.heal();
    if (w) await w.s.deleteAll();
  });
  w = await world(t, {}, dir, { env: host.env });
  t.after(() => {
    host.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const { s, p, where } = w;
  const token = await apiToken(p, ['instances:connect', 'instances:read'], { days: 1 });
  const lasting = await apiToken(p, ['instances:connect'], { days: 30 });
  const open = (headers) => Terminal.open(where, headers);
  const ticket = (await p.call('POST', `${new URL(where).pathname.replace('terminal', 'ticket')}`)).body.ticket;
  const byTicket = await Terminal.open(`${where}?token=${ticket}`);
  const [bySession, byToken, byLasting] = [await open(bearer(p.token)), await open(bearer(token.token)), await open(bearer(lasting.token))];
  const stream = await Stream.open(s.port, '/events', bearer(token.token));
  host.fail('ENOSPC'); // their end must not wait for a commit
  const begun = Date.now();
  host.clock(24 * 3600e3 + 1000);
  await ends(bySession, 'the session has expired');
  await ends(byTicket, 'the session has expired');
  await ends(byToken, 'the token has expired');
  await until(() => stream.ended, 'the stream of events ends');
  assert.ok(Date.now() - begun < 5000, `${Date.now() - begun} ms`);
  for (const headers of [bearer(p.token), bearer(token.token)]) assert.strictEqual((await as(s, headers, 'GET', '/instances')).status, 401);
  host.heal();
  byLasting.type('echo $((6*7))\r');
  await byLasting.sees(/\r42\r\n/);
  await byLasting.close();
});
