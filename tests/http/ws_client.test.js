'use strict';
// http.websocket: the client's end, against a server of another make (ws), and against one that keeps to no rule.
const test = require('node:test');
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const WebSocket = require('ws');
const { until } = require('./lib');
const { frame } = require('./wslib');

const bin = process.env.CCHOST || path.join(__dirname, '../../cchost');

// -> one result per case; fails unless the process ends well, with nothing left open.
function use(cases) {
  return new Promise((resolve, reject) => {
    const child = spawn(bin, [path.join(__dirname, 'ws_client.lua'), JSON.stringify(cases)], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (d) => { out += d; });
    child.stderr.on('data', (d) => { err += d; });
    child.on('close', (code) => {
      if (code !== 0 || err) reject(new Error(`${code}: ${err}`));
      else resolve(out.trim().split('\n').map((l) => JSON.parse(l)));
    });
  });
}
const one = async (c) => (await use([c]))[0];

// ---- ws, a server of another make

let url;
let unix;
const seen = [];
const servers = [];

test.before(async () => {
  unix = path.join(os.tmpdir(), `cchost-ws-${process.pid}.sock`);
  for (const where of [{ port: 0, host: '127.0.0.1' }, unix]) {
    const listener = require('node:http').createServer((req, res) => {
      res.writeHead(418, { 'Content-Type': 'application/json' });
      res.end('{"error":"a teapot"}');
    });
    const wss = new WebSocket.Server({ noServer: true, perMessageDeflate: true, handleProtocols: (p) => (p.has('tty') ? 'tty' : false) });
    listener.on('upgrade', (req, socket, head) => {
      seen.push(req);
      if (req.url === '/refuse') { socket.end('HTTP/1.1 409 Conflict\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"error":"no"}\n'); return; }
      wss.handleUpgrade(req, socket, head, (ws) => {
        ws.on('message', (data, binary) => {
          if (String(data) === 'close') ws.close(4001, 'as you wish');
          else if (String(data) === 'cut') socket.destroy();
          else ws.send(data, { binary });
        });
        if (req.url === '/greet') { ws.send('hello'); ws.ping('?'); ws.on('pong', (d) => ws.send(`pong ${d}`)); }
      });
    });
    await new Promise((r) => listener.listen(where, r));
    servers.push({ listener, wss });
  }
  url = `ws://127.0.0.1:${servers[0].listener.address().port}`;
});
test.after(async () => {
  for (const { listener, wss } of servers) {
    await until(() => wss.clients.size === 0);
    await new Promise((r) => listener.close(r));
  }
  fs.rmSync(unix, { force: true });
});

test('messages of every size come back as they went', async () => {
  const sizes = [0, 1, 125, 126, 65535, 65536, 300000, 1000000];
  const send = [{ text: 'text \u20ac' }, { text: 'bytes', kind: 'binary' }, ...sizes.map((size) => ({ size, kind: 'binary' }))];
  const r = await one({ url: `${url}/echo`, send, recv: send.length });
  assert.deepStrictEqual(r.got.slice(0, 2), [{ kind: 'text', size: 8, text: 'text \u20ac' }, { kind: 'binary', size: 5, text: 'bytes' }]);
  sizes.forEach((n, i) => {
    const x = 'x'.repeat(n);
    assert.deepStrictEqual(r.got[i + 2], { kind: 'binary', size: n, ...(n < 200 ? { text: x } : { sum: crypto.createHash('sha256').update(x).digest('hex') }) });
  });
});

test('what is said first waits to be received, and pings are answered', async () => {
  const r = await one({ url: `${url}/greet`, recv: 2 });
  assert.deepStrictEqual(r.got.map((m) => m.text), ['hello', 'pong ?']);
});

test('closing from either side, and a cut', async () => {
  const [ours, theirs, cut] = await use([{ url, close: 4002, reason: 'done' }, { url, send: [{ text: 'close' }], recv: 1 }, { url, send: [{ text: 'cut' }], recv: 1 }]);
  assert.deepStrictEqual([ours.got[0].close, ours.got[0].code, ours.got[0].reason], [4002, 'closed', 'done']);
  assert.deepStrictEqual([theirs.got[0].close, theirs.got[0].reason], [4001, 'as you wish']);
  assert.strictEqual(cut.got[0].close, 1006);
});

test('the request says what it was told to, and what it must', async () => {
  seen.length = 0;
  const port = servers[0].listener.address().port;
  await use([{ url: `http://localhost:${port}/a/b?c=d`, headers: { Authorization: 'Bearer x', 'X-Two': ['1', '2'] }, subprotocol: 'tty' }, { url: `ws://127.0.0.1:${port}?q` },
    { url: 'http://some.name/x', unix, subprotocol: 'tty' }]);
  assert.deepStrictEqual(seen.map((r) => r.url), ['/a/b?c=d', '/?q', '/x']);
  assert.deepStrictEqual(seen.map((r) => r.headers.host), [`localhost:${port}`, `127.0.0.1:${port}`, 'some.name']);
  assert.deepStrictEqual(seen.map((r) => r.headers['sec-websocket-protocol']), ['tty', undefined, 'tty']);
  assert.deepStrictEqual([seen[0].headers.authorization, seen[0].headers['x-two']], ['Bearer x', '1, 2']);
  assert.strictEqual(seen[0].headers['sec-websocket-extensions'], undefined);
  const keys = seen.map((r) => r.headers['sec-websocket-key']);
  assert.strictEqual(new Set(keys).size, 3, 'a new key each time');
  for (const k of keys) assert.strictEqual(Buffer.from(k, 'base64').length, 16);
});

test('a refusal is told with its status and body', async () => {
  const r = await one({ url: `${url}/refuse` });
  assert.deepStrictEqual([r.code, r.status, r.body], ['state', 409, '{"error":"no"}\n']);
});

test('one that nobody uses any more, or that is open at the end, is closed', async () => {
  assert.deepStrictEqual((await use([{ url, hold: true }, { url: `${url}/greet`, hold: true }])).map((r) => r.open), [true, true]);
});

test('what cannot be is refused before anything is sent', async () => {
  seen.length = 0;
  for (const bad of ['', 'ftp://x/', 'ws:/x', 'ws://', 'ws:///x', 'ws://a@b/', 'ws://a b/', 'ws://a/#x', 'ws://a/\u0001', 'ws://a\\b/']) {
    assert.strictEqual((await one({ url: bad })).code, 'invalid', bad);
  }
  for (const headers of [{ 'X-A': 'a\r\nX-B: b' }, { 'a b': 'c' }, { Host: 'x' }, { Upgrade: 'x' }, { 'Sec-WebSocket-Key': 'x' }, { 'Content-Length': '5' }]) {
    assert.strictEqual((await one({ url, headers })).code, 'invalid', JSON.stringify(headers));
  }
  assert.strictEqual((await one({ url, subprotocol: 'a b' })).code, 'invalid');
  assert.strictEqual((await one({ url, headers: { 'X-A': 'x'.repeat(40000) } })).code, 'limit');
  assert.match((await one({ url, timeout: -1 })).raised, /timeout must be a number/);
  assert.match((await one({})).raised, /url must be given/);
  assert.deepStrictEqual(seen, []);
});

test('nobody there', async () => {
  const dead = net.createServer();
  await new Promise((r) => dead.listen(0, '127.0.0.1', r));
  const { port } = dead.address();
  await new Promise((r) => dead.close(r));
  const [a, b, c] = await use([{ url: `ws://127.0.0.1:${port}/` }, { url: 'ws://x/', unix: '/nowhere/at/all' }, { url: 'ws://x/', unix: `/${'x'.repeat(200)}` }]);
  assert.deepStrictEqual([a.code, b.code, c.code], ['unavailable', 'unavailable', 'invalid']);
});

// ---- a server that keeps to no rule

const accept = (req) => crypto.createHash('sha1').update(/sec-websocket-key: (\S+)/i.exec(req)[1] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
const good = (req, more = '') => `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept(req)}\r\n${more}\r\n`;
const plain = (x, op = 1, more = {}) => frame(op, x, { mask: false, ...more });
const both = (head, ...rest) => Buffer.concat([Buffer.from(head, 'latin1'), ...rest]);

async function raw(t, behave) {
  const sockets = new Set();
  const server = net.createServer((c) => {
    let req = '';
    sockets.add(c);
    c.on('error', () => {});
    c.on('close', () => sockets.delete(c));
    c.on('data', (d) => {
      if (req.includes('\r\n\r\n')) return;
      req += d.toString('latin1');
      if (req.includes('\r\n\r\n')) behave(c, req);
    });
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  t.after(async () => {
    await until(() => sockets.size === 0);
    await new Promise((r) => server.close(r));
  });
  return `ws://127.0.0.1:${server.address().port}/`;
}

for (const [name, behave, want] of [
  ['a wrong Accept', (c, r) => c.end(good(r).replace(/Accept: ..../, 'Accept: AAAA')), { code: 'unavailable' }],
  ['no Accept', (c, r) => c.end(good(r).replace(/Sec-WebSocket-Accept.*\r\n/, '')), { code: 'unavailable' }],
  ['no Upgrade', (c, r) => c.end(good(r).replace(/Upgrade: websocket\r\n/, '')), { code: 'unavailable' }],
  ['an extension that was not offered', (c, r) => c.end(good(r, 'Sec-WebSocket-Extensions: permessage-deflate\r\n')), { code: 'unavailable' }],
  ['a subprotocol that was not offered', (c, r) => c.end(good(r, 'Sec-WebSocket-Protocol: tty\r\n')), { code: 'unsupported' }],
  ['no HTTP', (c) => c.end('hello\r\n\r\n'), { code: 'unavailable' }],
  ['a head without an end', (c) => { const b = Buffer.alloc(65536, 'a'); c.write('HTTP/1.1 101 x\r\nX: '); c.write(b); }, { code: 'unavailable' }],
  ['half a head', (c) => c.end('HTTP/1.1 101 Swi'), { code: 'unavailable' }],
  ['nothing', (c) => c.end(), { code: 'unavailable' }],
  ['a reset', (c) => c.resetAndDestroy(), { code: 'unavailable' }],
  ['a redirect', (c) => c.end('HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n'), { code: 'invalid', status: 302, body: '' }],
  ['a body that is cut off', (c) => c.end('HTTP/1.1 404 No\r\nContent-Length: 100\r\n\r\nabc'), { code: 'not_found', status: 404, body: 'abc' }],
  ['a body too long', (c) => { c.write('HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n'); c.write(Buffer.alloc(40000, 'b')); }, { code: 'unavailable', status: 500, body: 'b'.repeat(16384) }],
  ['a chunked body', (c) => c.write('HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'), { code: 'unavailable', status: 503, body: '' }],
]) {
  test(`${name} is no WebSocket`, async (t) => {
    const where = await raw(t, behave);
    const r = await one({ url: where });
    for (const [k, v] of Object.entries(want)) assert.strictEqual(r[k], v, JSON.stringify(r).slice(0, 300));
  });
}

for (const [name, bytes, want] of [
  ['a masked frame', frame(1, 'x'), { close: 1002 }],
  ['a reserved bit', plain('x', 1, { rsv: 4 }), { close: 1002 }],
  ['a reserved opcode', plain('x', 3), { close: 1002 }],
  ['text that is no UTF-8', plain(Buffer.from([0xff])), { close: 1007 }],
  ['a message too big', plain(Buffer.alloc(2000)), { close: 1009 }],
  ['a length that is claimed too big', plain('', 2, { claim: 2 ** 31, form: 64 }), { close: 1009 }],
  ['a bad close', plain(Buffer.from([3, 238]), 8), { close: 1002 }],
  ['nothing to continue', plain('x', 0), { close: 1002 }],
]) {
  test(`${name} ends it`, async (t) => {
    const where = await raw(t, (c, r) => { c.write(both(good(r), bytes)); c.on('data', () => c.end()); });
    const r = await one({ url: where, recv: 1, max_message: 1000 });
    for (const [k, v] of Object.entries(want)) assert.strictEqual(r.got[0][k], v, JSON.stringify(r));
  });
}

test('byte by byte it is the same', async (t) => {
  const where = await raw(t, async (c, r) => {
    for (const b of both(good(r), plain('one'), plain('tw', 1, { fin: false }), plain('p', 9), plain('o', 0), plain(Buffer.from([3, 232]), 8))) {
      c.write(Buffer.from([b]));
      await new Promise((x) => setImmediate(x));
    }
    c.end();
  });
  const r = await one({ url: where, recv: 3 });
  assert.deepStrictEqual(r.got.map((m) => m.text ?? m.close), ['one', 'two', 1000]);
});

test('every frame is masked with a key of its own', async (t) => {
  const got = [];
  const where = await raw(t, (c, r) => { c.write(good(r)); c.on('data', (d) => { got.push(d); if (Buffer.concat(got).length >= 22) c.end(plain(Buffer.from([3, 232]), 8)); }); });
  await one({ url: where, send: [{ text: 'abcde' }, { text: 'abcde' }], recv: 1 });
  const all = Buffer.concat(got);
  const keys = [all.subarray(2, 6), all.subarray(13, 17)];
  for (const [i, at] of [0, 11].entries()) {
    assert.strictEqual(all[at + 1], 0x85);
    assert.strictEqual(Buffer.from(all.subarray(at + 6, at + 11)).map((b, j) => b ^ keys[i][j & 3]).toString(), 'abcde');
  }
  assert.notDeepStrictEqual(keys[0], keys[1]);
});

test('one that never answers is given up, by time or by who asked', async (t) => {
  const where = await raw(t, () => {});
  const half = await raw(t, (c, r) => c.write(good(r).slice(0, 40)));
  const body = await raw(t, (c) => c.write('HTTP/1.1 409 No\r\nContent-Length: 100\r\n\r\nabc'));
  const r = await use([{ url: where, timeout: 0.2 }, { url: half, timeout: 0.2 }, { url: body, timeout: 0.2 }, { url: where, cancel: 0.05 }, { url: half, cancel: 0.05 }, { url: where, cancel: 0 }]);
  assert.deepStrictEqual(r.map((x) => x.code), ['timeout', 'timeout', 'state', 'cancelled', 'cancelled', 'cancelled']);
  assert.strictEqual(r[2].body, 'abc');
});

test('one that does not read slows its sender', async (t) => {
  let peer;
  const where = await raw(t, (c, r) => { peer = c; c.write(good(r)); setImmediate(() => c.pause()); });
  const [r] = await use([{ url: where, send: Array.from({ length: 200 }, () => ({ size: 1000000, kind: 'binary' })), cancel: 0.5 }]);
  assert.strictEqual(r.sent.code, 'cancelled');
  peer.destroy();
});
