'use strict';
// RFC 6455, frame by frame, against our own echo: directly, and through the proxy.
const test = require('node:test');
const assert = require('node:assert');
const WebSocket = require('ws');
const { start, exchange, until, json } = require('./lib');
const { Client, frame, closeFrame, upgrade, ACCEPT } = require('./wslib');

let server;
let front;                               // its /proxy leads to server's /ws
test.before(async () => {
  server = await start({ ping: 5 });
  front = await start({ backend: server.socket });
});
test.after(async () => { await front.quit(); await server.quit(); });

const utf8 = Buffer.from('κόσμε');
const bad = (hex) => Buffer.from(hex, 'hex');
const text = (s, o) => frame(1, s, o);

// name: [frames, code of the close that must come (0: none; a list: what must be echoed)]
const cases = {
  'an empty text': [[text('')], ['']],
  'a short text': [[text('hello')], ['hello']],
  'text of 125 bytes': [[text('x'.repeat(125))], ['x'.repeat(125)]],
  'text of 126 bytes': [[text('x'.repeat(126))], ['x'.repeat(126)]],
  'text of 127 bytes': [[text('x'.repeat(127))], ['x'.repeat(127)]],
  'text of 65,535 bytes': [[text('x'.repeat(65535))], ['x'.repeat(65535)]],
  'text of 65,536 bytes': [[text('x'.repeat(65536))], ['x'.repeat(65536)]],
  'a message at the bound': [[frame(2, Buffer.alloc(1000000))], [Buffer.alloc(1000000)]],
  'a message above the bound': [[frame(2, Buffer.alloc(1000001))], 1009],
  'a claimed length of 2^40': [[frame(2, '', { claim: 2 ** 40 })], 1009],
  'fragments above the bound': [[frame(2, Buffer.alloc(600000), { fin: false }), frame(0, Buffer.alloc(600000))], 1009],
  'binary': [[frame(2, Buffer.from([0, 255, 1]))], [Buffer.from([0, 255, 1])]],
  'two messages in one write': [[text('a'), text('b')], ['a', 'b']],
  'an unmasked frame': [[text('a', { mask: false })], 1002],
  'an unmasked close': [[frame(8, '', { mask: false })], 1002],
  'RSV1': [[text('a', { rsv: 4 })], 1002],
  'RSV2': [[text('a', { rsv: 2 })], 1002],
  'RSV3': [[text('a', { rsv: 1 })], 1002],
  'RSV on a ping': [[frame(9, 'a', { rsv: 4 })], 1002],
  'a length of 5 in 16 bits': [[text('hello', { form: 16 })], 1002],
  'a length of 5 in 64 bits': [[text('hello', { form: 64 })], 1002],
  'a length of 200 in 64 bits': [[text('x'.repeat(200), { form: 64 })], 1002],
  'a length with its highest bit set': [[Buffer.concat([Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4])])], 1002],
  // control frames
  'a ping': [[frame(9, 'abc')], [{ op: 10, data: 'abc' }]],
  'an empty ping': [[frame(9)], [{ op: 10, data: '' }]],
  'a ping of 125 bytes': [[frame(9, 'p'.repeat(125))], [{ op: 10, data: 'p'.repeat(125) }]],
  'a ping of 126 bytes': [[frame(9, 'p'.repeat(126))], 1002],
  'a pong nobody asked for': [[frame(10, 'x'), text('a')], ['a']],
  'ten pings': [Array.from({ length: 10 }, (_, i) => frame(9, String(i))), Array.from({ length: 10 }, (_, i) => ({ op: 10, data: String(i) }))],
  'a fragmented ping': [[frame(9, 'a', { fin: false })], 1002],
  'a close of 126 bytes': [[frame(8, Buffer.concat([bad('03e8'), Buffer.alloc(124, 97)]))], 1002],
  'a close of one byte': [[frame(8, 'a')], 1002],
  // fragments
  'two fragments': [[text('a', { fin: false }), frame(0, 'b')], ['ab']],
  'empty fragments': [[text('', { fin: false }), frame(0, '', { fin: false }), frame(0, '')], ['']],
  'a hundred fragments': [[text('x', { fin: false }), ...Array.from({ length: 98 }, () => frame(0, 'x', { fin: false })), frame(0, 'x')], ['x'.repeat(100)]],
  'a ping between fragments': [[text('a', { fin: false }), frame(9, 'p'), frame(0, 'b')], [{ op: 10, data: 'p' }, 'ab']],
  'a continuation of nothing': [[frame(0, 'a')], 1002],
  'a continuation of nothing, not the last': [[frame(0, 'a', { fin: false })], 1002],
  'a continuation after a whole message': [[text('a'), frame(0, 'b')], 1002],
  'a text between fragments': [[text('a', { fin: false }), text('b')], 1002],
  'a binary between fragments': [[text('a', { fin: false }), frame(2, 'b')], 1002],
  // UTF-8
  'UTF-8': [[text(utf8)], [utf8]],
  'UTF-8 cut in the middle of a character': [[text(utf8.subarray(0, 3), { fin: false }), frame(0, utf8.subarray(3))], [utf8]],
  'UTF-8 byte by byte': [[text(utf8.subarray(0, 1), { fin: false }), ...[...utf8.subarray(1, -1)].map((b) => frame(0, Buffer.from([b]), { fin: false })), frame(0, utf8.subarray(-1))], [utf8]],
  'the last code point': [[text(bad('f48fbfbf'))], [bad('f48fbfbf')]],
  'a noncharacter': [[text(bad('efbfbf'))], [bad('efbfbf')]],
  'NUL in text': [[text('a\0b')], ['a\0b']],
  'a lone continuation byte': [[text(bad('80'))], 1007],
  'a character that is cut off': [[text(bad('ce'))], 1007],
  'a character cut off by the last fragment': [[text(bad('ce'), { fin: false }), frame(0, '')], 1007],
  'an overlong slash': [[text(bad('c0af'))], 1007],
  'an overlong NUL': [[text(bad('c080'))], 1007],
  'an overlong of three': [[text(bad('e080af'))], 1007],
  'an overlong of four': [[text(bad('f0808080'))], 1007],
  'a surrogate': [[text(bad('eda080'))], 1007],
  'above U+10FFFF': [[text(bad('f4908080'))], 1007],
  '0xfe': [[text(bad('fe'))], 1007],
  'five bytes': [[text(bad('f888808080'))], 1007],
  'bad UTF-8 told before the message ends': [[text(Buffer.concat([utf8, bad('80')]), { fin: false })], 1007],
  'the same bytes as binary': [[frame(2, bad('80'))], [bad('80')]],
  // the close
  'a close without a code': [[frame(8)], 1005],
  'a close with a reason': [[closeFrame(1000, 'done')], 1000],
  'a close with a reason of 123 bytes': [[closeFrame(1000, 'r'.repeat(123))], 1000],
  'a close with a reason that is no UTF-8': [[frame(8, Buffer.concat([bad('03e8'), bad('cebaff')]))], 1007],
  'nothing counts behind a close': [[closeFrame(1000), text('late')], 1000],
  'a close between fragments': [[text('a', { fin: false }), closeFrame(1000)], 1000],
};
for (const op of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) cases[`reserved opcode ${op}`] = [[frame(op, 'a')], 1002];
for (const c of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) cases[`close code ${c}`] = [[closeFrame(c)], c];
for (const c of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]) cases[`close code ${c}, which may not be sent`] = [[closeFrame(c)], 1002];

async function run(port, path, list, want, pieces) {
  const c = await Client.connect(port, path);
  assert.strictEqual(c.status, 101, c.head);
  const bytes = Buffer.concat(list);
  if (pieces && bytes.length < 2000) {
    c.sock.setNoDelay(true);
    for (const b of bytes) { c.sock.write(Buffer.from([b])); await new Promise(setImmediate); }
  } else {
    c.send(bytes);
  }
  if (Array.isArray(want)) {
    for (const w of want) {
      const f = await c.next();
      assert.strictEqual(f.rsv, 0);
      if (w && w.op) assert.deepStrictEqual([f.op, f.data.toString()], [w.op, w.data]);
      else assert.ok(f.data.equals(Buffer.from(w)), `op ${f.op} code ${f.code} ${f.data.length} bytes`);
    }
    c.send(closeFrame(1000));
    want = 1000;
  }
  const f = await c.close();
  assert.strictEqual(f.op, 8, 'a close frame');
  assert.strictEqual(f.code, want);
  c.sock.end();
  await until(() => c.ended || c.gone);
  c.end();
}

for (const [name, [list, want]] of Object.entries(cases)) {
  test(name, () => run(server.port, '/ws', list, want, false));
  test(`${name}: byte by byte`, () => run(server.port, '/ws', list, want, true));
  test(`${name}: through the proxy`, () => run(front.port, '/proxy?ws', list, want, false));
}

const handshakes = {
  'no key': [upgrade('/ws').replace(/Sec-WebSocket-Key.*\r\n/, ''), 400],
  'a short key': [upgrade('/ws').replace(/Key: .*/, 'Key: AAAA'), 400],
  'a key that is no base64': [upgrade('/ws').replace(/Key: .*/, 'Key: ' + '!'.repeat(24)), 400],
  'a key of 17 bytes': [upgrade('/ws').replace(/Key: .*/, 'Key: ' + Buffer.alloc(17).toString('base64')), 400],
  'two keys': [upgrade('/ws', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'), 400],
  'no version': [upgrade('/ws').replace(/Sec-WebSocket-Version.*\r\n/, ''), 400],
  'version 8': [upgrade('/ws').replace('Version: 13', 'Version: 8'), 426],
  'version 14': [upgrade('/ws').replace('Version: 13', 'Version: 14'), 426],
  'two versions': [upgrade('/ws', 'Sec-WebSocket-Version: 13\r\n'), 400],
  'another protocol': [upgrade('/ws').replace('websocket', 'h2c'), 400],
  'no Connection': [upgrade('/ws').replace('Connection: Upgrade\r\n', ''), 400],
  'no Upgrade': [upgrade('/ws').replace('Upgrade: websocket\r\n', ''), 400],
  'HTTP/1.0': [upgrade('/ws').replace('HTTP/1.1', 'HTTP/1.0'), 400],
  'POST': [upgrade('/ws').replace('GET', 'POST'), 400],
};
for (const [name, [bytes, status]] of Object.entries(handshakes)) {
  test(`handshake: ${name}`, async () => {
    for (const port of [server.port, front.port]) {
      const r = await exchange(port, port === front.port ? bytes.replace('/ws', '/proxy?ws') : bytes, { until: (x) => x.length === 1 });
      assert.ok(port === front.port ? [400, 426, 502].includes(r.replies[0].status) : r.replies[0].status === status, String(r.replies[0].status));
      if (status === 426 && port === server.port) assert.strictEqual(r.replies[0].headers['sec-websocket-version'], '13');
    }
  });
}

test('handshake: the accept key and the protocol of our choice', async () => {
  for (const [port, path] of [[server.port, '/ws'], [front.port, '/proxy?ws']]) {
    let c = await Client.connect(port, path, { extra: 'Sec-WebSocket-Protocol: chat, tty\r\n' });
    assert.match(c.head, new RegExp('Sec-WebSocket-Accept: ' + ACCEPT.replace(/[+]/g, '\\+')));
    assert.match(c.head, /Sec-WebSocket-Protocol: tty/);
    assert.match(c.head, /\r\nConnection: Upgrade/);
    assert.doesNotMatch(c.head, /Content-Length|Transfer-Encoding|keep-alive/i);
    c.end();
    c = await Client.connect(port, path, { extra: 'Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n' });
    assert.doesNotMatch(c.head, /Sec-WebSocket-(Protocol|Extensions)/);
    c.end();
  }
});

test('handshake: words in any case, and lists', async () => {
  const c = await Client.connect(server.port, '/ws');
  c.end();
  const r = await exchange(server.port, upgrade('/ws').replace('Connection: Upgrade', 'connection: keep-alive, UPGRADE').replace('websocket', 'WebSocket'), { until: (x) => x.length === 1, heads: true });
  assert.strictEqual(r.replies[0].status, 101);
});

test('frames that come with the request are not lost', async () => {
  for (const [port, path] of [[server.port, '/ws'], [front.port, '/proxy?ws']]) {
    const c = await Client.connect(port, path, { early: frame(1, 'early') });
    assert.strictEqual((await c.next()).data.toString(), 'early');
    c.end();
  }
});

test('the server closes with its own code and reason', async () => {
  for (const [port, path] of [[server.port, '/ws'], [front.port, '/proxy?ws']]) {
    const c = await Client.connect(port, path);
    c.send(frame(1, 'close me'));
    const f = await c.close();
    assert.deepStrictEqual([f.code, f.reason], [4001, 'as you wish']);
    c.send(closeFrame(4001));
    await until(() => c.ended || c.gone);
    c.end();
  }
});

test('a peer that answers no close is dropped', async () => {
  const c = await Client.connect(server.port, '/ws');
  c.send(frame(1, 'close me'));
  await c.close();
  await until(() => c.ended || c.gone, 8000);
  c.end();
});

test('a slow reader gets all that was sent before the close, and the close', async () => {
  const c = await Client.connect(server.port, '/ws_full');
  c.sock.pause();
  let n;
  await until(async () => (n = await json(server, '/closing').catch(() => 0)) > 0);
  let slow = 1600000; // bytes, of which 256 KiB are read a second: longer than a closing may take where nothing moves
  const step = (d) => {
    c.sock.pause();
    setTimeout(() => c.sock.resume(), slow > 0 ? d.length / 256 : 0);
    slow -= d.length;
  };
  c.sock.on('data', step);
  c.sock.resume();
  await until(() => c.ended || c.gone || c.frames.some((f) => f.op === 8));
  const data = c.frames.filter((f) => f.op === 2);
  assert.deepStrictEqual([data.length, data.reduce((sum, f) => sum + f.data.length, 0)], [n, n * 65536]);
  assert.strictEqual(c.frames.at(-1).reason, 'all of it');
  c.end();
});

test('a peer that answers no ping is dropped', async () => {
  const own = await start({ ping: 0.2 });
  const c = await Client.connect(own.port, '/ws');
  const f = await c.next();
  assert.strictEqual(f.op, 9);
  await until(() => c.ended || c.gone, 3000);
  c.end();
  const d = await Client.connect(own.port, '/ws');
  for (let i = 0; i < 5; i++) { assert.strictEqual((await d.next()).op, 9); d.send(frame(10)); }
  d.end();
  await own.quit();
});

test('a peer that reads nothing blocks only its own sender: memory stays', async () => {
  const fs = require('node:fs');
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1]);
  const before = rss();
  const c = await Client.connect(server.port, '/ws');
  c.send(frame(1, 'flood'));
  c.sock.pause();
  await new Promise((r) => setTimeout(r, 500));
  assert.ok(rss() - before < 20000, `${rss() - before} KiB`);
  c.end();
});

test('a third-party client talks to it', async () => {
  for (const url of [`ws://127.0.0.1:${server.port}/ws`, `ws://127.0.0.1:${front.port}/proxy?ws`]) {
    const ws = new WebSocket(url, ['tty'], { perMessageDeflate: true });
    await new Promise((r, j) => { ws.on('open', r); ws.on('error', j); });
    assert.strictEqual(ws.protocol, 'tty');
    const got = [];
    ws.on('message', (d) => got.push(d));
    ws.send('0hello');
    ws.send(Buffer.alloc(300000, 7));
    await until(() => got.length === 2);
    assert.strictEqual(got[0].toString(), '0hello');
    assert.ok(got[1].equals(Buffer.alloc(300000, 7)));
    const closed = new Promise((r) => ws.on('close', (code) => r(code)));
    ws.close(4000, 'bye');
    assert.strictEqual(await closed, 4000);
  }
});

test('draining tells WebSockets and proxied streams 1001', async () => {
  const own = await start();
  const own2 = await start({ backend: own.socket });
  const a = await Client.connect(own.port, '/ws');
  const b = await Client.connect(own2.port, '/proxy?ws');
  const quit2 = own2.quit();
  assert.strictEqual((await b.close()).code, 1001);
  b.sock.end();
  await quit2;
  const quit = own.quit();
  assert.strictEqual((await a.close()).code, 1001);
  a.send(closeFrame(1001));
  a.sock.end();
  await quit;
});

test('all that was opened is gone', async () => {
  await until(async () => (await json(server, '/stats')).upgraded === 0, 8000);
  await until(async () => (await json(front, '/stats')).upgraded === 0, 8000);
  assert.deepStrictEqual(await json(front, '/streams'), []);
});
