'use strict';
// The proxy to machines, with a backend on a unix socket that does what no decent one would.
const test = require('node:test');
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { start, exchange, until, json } = require('./lib');
const { Client, frame, upgrade } = require('./wslib');

let server;
let backend;
let behave;                              // (socket, head, rest) => what this backend does once a head has come
const socketPath = path.join(os.tmpdir(), `cchost-backend-${process.pid}.sock`);
const open = new Set();

test.before(async () => {
  backend = net.createServer({ allowHalfOpen: true }, (s) => {
    let buf = Buffer.alloc(0);
    open.add(s);
    s.on('close', () => open.delete(s));
    s.on('error', () => {});
    const onData = (d) => {
      buf = Buffer.concat([buf, d]);
      const end = buf.indexOf('\r\n\r\n');
      if (end < 0) return;
      s.off('data', onData);
      behave(s, buf.toString('latin1', 0, end), buf.subarray(end + 4));
    };
    if (behave.onConnect) behave.onConnect(s); else s.on('data', onData);
  });
  await new Promise((r) => backend.listen(socketPath, r));
  server = await start({ backend: socketPath });
});
test.after(async () => {
  await until(async () => (await json(server, '/stats')).upgraded === 0, 8000);
  await server.quit();
  for (const s of open) s.destroy();
  backend.close();
});

const accept = (head) => crypto.createHash('sha1').update(/Sec-WebSocket-Key: (.*)/.exec(head)[1].trim() + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
const yes = (head, extra = '') => `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept(head)}\r\n${extra}\r\n`;
const plain = (op, data, fin = true) => frame(op, data, { mask: false, fin });

test.afterEach(async () => {
  for (const s of open) s.destroy();
  await until(async () => (await json(server, '/streams')).length === 0, 6000);
});

// Each answer that is no proper 101 must become a 502, and the backend's connection must end.
const wrong = {
  'nothing but an end': (s) => s.end(),
  'a reset': (s) => s.destroy(),
  '404': (s) => s.write('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'),
  '200': (s) => s.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'),
  '100 first': (s, h) => s.write('HTTP/1.1 100 Continue\r\n\r\n' + yes(h)),
  'garbage': (s) => s.write('\x16\x03\x01garbage\r\n\r\n'),
  'HTTP/0.9': (s) => s.write('<html></html>\n'),
  'HTTP/2.0': (s, h) => s.write(yes(h).replace('HTTP/1.1', 'HTTP/2.0')),
  'a status of two digits': (s, h) => s.write(yes(h).replace('101', '10')),
  'a wrong accept key': (s, h) => s.write(yes(h).replace(/Accept: ..../, 'Accept: AAAA')),
  'no accept key': (s, h) => s.write(yes(h).replace(/Sec-WebSocket-Accept.*\r\n/, '')),
  'no Upgrade': (s, h) => s.write(yes(h).replace('Upgrade: websocket\r\n', '')),
  'another Upgrade': (s, h) => s.write(yes(h).replace('websocket', 'h2c')),
  'no Connection': (s, h) => s.write(yes(h).replace('Connection: Upgrade\r\n', '')),
  'an extension that nobody offered': (s, h) => s.write(yes(h, 'Sec-WebSocket-Extensions: permessage-deflate\r\n')),
  'a 101 with a body': (s, h) => s.write(yes(h, 'Content-Length: 5\r\n')),
  'a chunked 101': (s, h) => s.write(yes(h, 'Transfer-Encoding: chunked\r\n')),
  'bare LFs': (s, h) => s.write(yes(h).replace(/\r\n/g, '\n')),
  'a folded header': (s, h) => s.write(yes(h, 'X: a\r\n b\r\n')),
  'NUL in a header': (s, h) => s.write(yes(h, 'X: a\0b\r\n')),
  'a header without a colon': (s, h) => s.write(yes(h, 'nonsense\r\n')),
  'an endless head': (s) => s.write('HTTP/1.1 101 Switching Protocols\r\nX: ' + 'a'.repeat(20000)),
  'a head that is cut off': (s) => { s.write('HTTP/1.1 101 Swi'); s.end(); },
};
for (const [name, fn] of Object.entries(wrong)) {
  test(`a backend that answers ${name}: 502, and the client may go on`, async () => {
    behave = fn;
    const r = await exchange(server.port, upgrade('/proxy') + 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    assert.deepStrictEqual(r.replies.map((x) => x.status), [502, 200]);
    await until(() => [...open].every((s) => s.destroyed || s.readableEnded || s.readyState !== 'open'));
    for (const s of open) s.destroy();
  });
}

test('a backend that does not answer: 504 after five seconds; one that the client gives up on is left', async () => {
  behave = () => {};
  const t = Date.now();
  const left = await new Promise((resolve) => {
    const s = net.connect(server.port, '127.0.0.1');
    s.write(upgrade('/proxy'));
    setTimeout(() => { s.destroy(); resolve(); }, 200);
  });
  assert.strictEqual(left, undefined);
  await until(() => [...open].every((s) => s.readableEnded), 2000);
  for (const s of open) s.destroy();
  const r = await exchange(server.port, upgrade('/proxy'), { until: (x) => x.length === 1, ms: 8000 });
  assert.strictEqual(r.replies[0].status, 504);
  assert.ok(Date.now() - t > 4900);
  for (const s of open) s.destroy();
});

test('no backend at all: 502', async () => {
  const own = await start({ backend: socketPath + '.none' });
  const r = await exchange(own.port, upgrade('/proxy'), { until: (x) => x.length === 1 });
  assert.strictEqual(r.replies[0].status, 502);
  await own.quit();
});

test('the backend gets a request of ours: no secrets, no hop-by-hop, our Host', async () => {
  let seen;
  behave = (s, head) => { seen = head; s.write(yes(head)); };
  const c = await Client.connect(server.port, '/proxy?deep/path', { extra: 'Cookie: session=1\r\nAuthorization: Bearer x\r\nX-API-Key: k\r\nX-Forwarded-For: 9.9.9.9\r\n' +
    'Origin: http://evil\r\nX-Test: theirs\r\nUser-Agent: me\r\nSec-WebSocket-Protocol: tty\r\nSec-WebSocket-Extensions: permessage-deflate\r\nTE: trailers\r\n' });
  assert.strictEqual(c.status, 101);
  assert.match(seen, /^GET \/deep\/path HTTP\/1\.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n/);
  assert.match(seen, /\r\nX-Test: ours/);
  assert.match(seen, /\r\nUser-Agent: me/);
  assert.match(seen, /\r\nSec-WebSocket-Protocol: tty/);
  for (const gone of [/cookie/i, /authorization/i, /api-key/i, /forwarded/i, /origin/i, /theirs/, /extensions/i, /\nTE/i]) assert.doesNotMatch(seen, gone);
  c.end();
});

test('headers named in Connection stay with us', async () => {
  let seen;
  behave = (s, head) => { seen = head; s.write(yes(head)); };
  await exchange(server.port, upgrade('/proxy', 'X-Hop: 1\r\n').replace('Connection: Upgrade', 'Connection: Upgrade, X-Hop'), { until: (x) => x.length === 1, heads: true });
  assert.doesNotMatch(seen, /hop/i);
});

test('bytes that come with the 101, or before it is answered, arrive', async () => {
  behave = (s, head, rest) => {
    setTimeout(() => { s.write(Buffer.concat([Buffer.from(yes(head)), plain(2, 'with')])); s.on('data', (d) => s.write(plain(2, d))); if (rest.length) s.write(plain(2, rest)); }, 50);
  };
  const typed = frame(2, '0abc');
  const c = await Client.connect(server.port, '/proxy', { early: typed });
  assert.strictEqual((await c.next()).data.toString(), 'with');
  assert.ok((await c.next()).data.equals(typed));
  c.end();
});

test('a 101 that comes byte by byte is the same', async () => {
  behave = async (s, head) => { s.setNoDelay && s.setNoDelay(); for (const b of Buffer.from(yes(head))) { s.write(Buffer.from([b])); await new Promise(setImmediate); } s.write(plain(1, 'x')); };
  const c = await Client.connect(server.port, '/proxy');
  assert.strictEqual((await c.next()).data.toString(), 'x');
  c.end();
});

test('typing is told from resizing, pinging and the hello', async () => {
  behave = (s, head) => s.write(yes(head));
  const c = await Client.connect(server.port, '/proxy');
  c.send(frame(2, '{"columns":80}'), frame(2, '1{"columns":90}'), frame(9, '0000'), frame(2, '2'), frame(10, '0'));
  await until(async () => (await json(server, '/streams'))[0].in > 0);
  assert.strictEqual((await json(server, '/streams'))[0].typed, 0);
  c.send(frame(2, '0ls\r'), frame(1, '0'), frame(2, '0a', { fin: false }), frame(9, 'x'), frame(0, 'bc'), frame(2, ''), frame(0, '', { fin: false }));
  c.sock.setNoDelay(true);
  for (const b of frame(2, '0' + 'x'.repeat(300))) { c.sock.write(Buffer.from([b])); await new Promise(setImmediate); }
  await until(async () => (await json(server, '/streams'))[0].typed === 3 + 0 + 3 + 300);
  c.end();
});

test('a backend that dies between frames: 1011 and a reason', async () => {
  for (const how of ['end', 'destroy']) {
    behave = (s, head) => { s.write(yes(head)); s.write(plain(2, '0output')); setTimeout(() => s[how](), 50); };
    const c = await Client.connect(server.port, '/proxy');
    const f = await c.close();
    assert.deepStrictEqual([f.op, f.code, f.reason], [8, 1011, 'the machine went away']);
    c.sock.end();
    await until(() => c.ended || c.gone);
    c.end();
  }
});

test('a backend that dies inside a frame: no byte of ours goes into it', async () => {
  behave = (s, head) => { s.write(yes(head)); s.write(plain(2, 'x'.repeat(100)).subarray(0, 50)); setTimeout(() => s.end(), 50); };
  const c = await Client.connect(server.port, '/proxy');
  assert.strictEqual((await c.next()).op, 'end');
  assert.strictEqual(c.bytes.length, 50);
  c.end();
});

test('a backend that closed properly is not closed twice', async () => {
  behave = (s, head) => { s.write(yes(head)); s.write(plain(8, Buffer.from([0x0f, 0xa1]))); s.end(); };
  const c = await Client.connect(server.port, '/proxy');
  assert.strictEqual((await c.next()).code, 4001);
  assert.strictEqual((await c.next()).op, 'end');
  c.end();
});

test('what is no WebSocket passes unread, and then no frame is forged', async () => {
  behave = (s, head) => { s.write(yes(head)); s.write(Buffer.alloc(100, 0xff)); setTimeout(() => s.end(), 50); };
  const r = await exchange(server.port, upgrade('/proxy'), { heads: true });
  assert.ok(r.rest.equals(Buffer.alloc(100, 0xff)), r.rest.toString('hex'));
  assert.strictEqual(r.closed, 'end');
});

test('a client that goes ends the backend; one that half-closes still hears its last words', async () => {
  let ended = 0;
  behave = (s, head) => { s.write(yes(head)); s.on('end', () => { ended++; s.write(plain(2, 'last')); s.end(); }); s.resume(); };
  const c = await Client.connect(server.port, '/proxy');
  c.sock.end();
  assert.strictEqual((await c.next()).data.toString(), 'last');
  await until(() => ended === 1);
  c.end();
  const d = await Client.connect(server.port, '/proxy');
  d.sock.resetAndDestroy ? d.sock.resetAndDestroy() : d.sock.destroy();
  await until(() => ended === 2 || open.size === 0);
});

test('streams of one machine can be closed from outside', async () => {
  behave = (s, head) => { s.write(yes(head)); s.resume(); };
  const a = await Client.connect(server.port, '/proxy');
  const b = await Client.connect(server.port, '/proxy');
  await until(async () => (await json(server, '/streams')).length === 2);
  const r = await exchange(server.port, 'GET /close_streams HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  assert.strictEqual(r.replies[0].body.toString(), '2');
  for (const c of [a, b]) {
    const f = await c.close();
    assert.deepStrictEqual([f.code, f.reason], [4009, 'stopped']);
    c.sock.end();
  }
  await until(async () => (await json(server, '/streams')).length === 0);
  a.end();
  b.end();
});

test('a megabyte each way arrives unchanged', async () => {
  behave = (s, head, rest) => { s.write(yes(head)); if (rest.length) s.write(rest); s.on('data', (d) => s.write(plain(2, d))); };
  const c = await Client.connect(server.port, '/proxy');
  const sent = Buffer.concat(Array.from({ length: 64 }, () => frame(2, crypto.randomBytes(16384))));
  c.send(sent);
  let got = Buffer.alloc(0);
  while (got.length < sent.length) got = Buffer.concat([got, (await c.next()).data]);
  assert.ok(got.equals(sent));
  c.end();
});

const rss = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1]);

test('a client that reads nothing stops its backend, and memory stays', async () => {
  let sent = 0;
  behave = (s, head) => {
    s.write(yes(head));
    const chunk = plain(2, Buffer.alloc(65000));
    const pump = () => { let more = true; while (more) { more = s.write(chunk); sent += chunk.length; } };
    s.on('drain', pump);
    pump();
  };
  const before = rss();
  const list = [];
  for (let i = 0; i < 20; i++) { const c = await Client.connect(server.port, '/proxy'); c.sock.pause(); list.push(c); }
  await new Promise((r) => setTimeout(r, 700));
  const stopped = sent;
  await new Promise((r) => setTimeout(r, 300));
  assert.strictEqual(sent, stopped, 'the backend stands still');
  assert.ok(rss() - before < 20 * 300 + 2000, `${rss() - before} KiB for 20`);
  list[0].sock.resume();
  await until(() => sent > stopped + 1000000);
  for (const c of list) c.end();
});

test('a backend that reads nothing stops its client, and memory stays', async () => {
  behave = (s, head) => { s.write(yes(head)); s.pause(); };
  const before = rss();
  const c = await Client.connect(server.port, '/proxy');
  const chunk = frame(2, Buffer.alloc(65000));
  let sent = 0;
  while (c.sock.writableLength < 5000000 && sent < 100000000) { c.send(chunk); sent += chunk.length; await new Promise(setImmediate); }
  assert.ok(sent < 50000000, String(sent));
  assert.ok(rss() - before < 4000, `${rss() - before} KiB`);
  c.end();
});

// Five pings of ours to one who answers them, each second time only: ten times of a ping.
async function tenPings(own) {
  const c = await Client.connect(own.port, '/ws');
  for (let i = 0; i < 5; i++) {
    assert.strictEqual((await c.next(20000)).op, 9);
    c.send(frame(10));
  }
  c.end();
}

// None of them answers a ping; each has something to read, or something of it is read.
test('pings end no WebSocket whose bytes move: slow readers, long messages, a client held that has said much', async () => {
  const own = await start({ backend: socketPath, ping: 1 });
  const whole = plain(2, Buffer.alloc(65000));
  const endless = (mask) => frame(2, '', { mask, claim: 2 ** 40 });
  const drip = (s) => { const t = setInterval(() => s.write(Buffer.alloc(1000)), 20); s.on('close', () => clearInterval(t)); };
  const slowly = (s) => s.on('data', () => { s.pause(); setTimeout(() => s.resume(), 20); });
  const machine = {
    '/slow': (s) => { const pump = () => { while (s.write(whole)); }; s.on('drain', pump); pump(); },
    '/long': (s) => { s.write(endless(false)); drip(s); },
    '/upload': (s) => slowly(s),
  };
  behave = (s, head) => { s.write(yes(head)); machine[head.split(' ')[1]](s); };
  const slow = await Client.connect(own.port, '/proxy?slow');
  slowly(slow.sock);
  const long = await Client.connect(own.port, '/proxy?long');
  const upload = await Client.connect(own.port, '/proxy?upload');
  upload.send(endless(true));
  const pump = () => { while (!upload.gone && upload.sock.write(Buffer.alloc(65536))); };
  upload.sock.on('drain', pump);
  pump();
  const held = await Client.connect(own.port, '/hold');
  const said = Buffer.alloc(200000, frame(2, 'x'.repeat(100)));
  held.send(said);
  await tenPings(own);
  const names = Object.entries({ slow, long, upload, held }).filter(([, c]) => c.gone || c.ended || c.frames.some((f) => f.op === 8)).map(([name]) => name);
  assert.deepStrictEqual(names, [], 'cut');
  assert.strictEqual((await json(own, '/streams')).length, 4);
  let heard = 0;
  behave = (s, head, rest) => { s.write(yes(head)); heard = rest.length; s.on('data', (d) => { heard += d.length; }); };
  await exchange(own.port, 'GET /let_go HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await until(() => heard >= said.length);
  for (const c of [slow, long, upload, held]) c.end();
  await until(async () => (await json(own, '/streams')).length === 0);
  await own.quit();
});

test('pings end a WebSocket whose client reads nothing of what waits for him', async () => {
  const own = await start({ backend: socketPath, ping: 0.3 });
  behave = (s, head) => { s.write(yes(head)); const pump = () => { while (s.write(plain(2, Buffer.alloc(65000)))); }; s.on('drain', pump); pump(); };
  const c = await Client.connect(own.port, '/proxy');
  c.sock.pause();
  await until(async () => (await json(own, '/streams')).length === 1);
  await until(async () => (await json(own, '/streams')).length === 0);
  c.end();
  await own.quit();
});

test('an upgrade begun while the server drains is refused, and the server drains', async () => {
  const own = await start({ backend: socketPath });
  behave = (s, head) => s.write(yes(head));
  const s = net.connect(own.port, '127.0.0.1');
  let got = '';
  s.on('data', (d) => { got += d; });
  s.on('error', () => {});
  s.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => got.includes('{"ok":true}'));
  await exchange({ path: own.socket }, 'GET /drain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await until(() => !fs.existsSync(own.socket));
  got = '';
  s.write(upgrade('/proxy'));
  await until(() => /\r\n\r\n./.test(got) || open.size);
  assert.match(got, /^HTTP\/1\.1 502 [^]*the server is going away/);
  s.destroy();
  assert.strictEqual(await own.ended, 0);
});

test('an upgrade that is answered once the server drains is told to end', async () => {
  const own = await start({ backend: socketPath });
  let answer;
  behave = (s, head) => { answer = () => s.write(yes(head)); };
  const p = Client.connect(own.port, '/proxy');
  await until(() => answer);
  await exchange({ path: own.socket }, 'GET /drain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await until(() => !fs.existsSync(own.socket));
  answer();
  const c = await p;
  assert.strictEqual((await c.close()).code, 1001);
  c.end();
  assert.strictEqual(await own.ended, 0);
});

test('a client who ends his side while the handler works ends the backend too', async () => {
  let ended = false;
  behave = (s, head) => { s.write(yes(head)); s.on('end', () => { ended = true; s.end(); }); s.resume(); };
  const s = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
  s.on('error', () => {});
  s.resume();
  s.end(upgrade('/proxy_late'));
  await until(() => ended, 10000);
  await until(async () => (await json(server, '/stats')).upgraded === 0);
  s.destroy();
});

test('a request that is passed on and then answered by the handler himself: the next one is answered too', async () => {
  behave = (s) => s.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello');
  const s = net.connect(server.port, '127.0.0.1');
  let got = Buffer.alloc(0);
  s.on('error', () => {});
  s.on('data', (d) => { got = Buffer.concat([got, d]); });
  s.write('GET /change_of_mind HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => got.includes('\r\n0\r\n\r\n'));
  s.write('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab');
  await until(async () => (await json(server, '/stats')).running === 2);
  await exchange(server.port, 'GET /let_go HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'); // the handler of the first ends
  s.write('cde');
  await until(() => got.includes('abcde'));
  s.destroy();
});

test('of a held client nothing goes on that we say ourselves', async () => {
  let seen;
  behave = (s, head) => { seen = head; s.write(yes(head)); };
  const c = await Client.connect(server.port, '/hold', { extra: 'X-Test: theirs\r\nX-Other: theirs\r\n' });
  await exchange(server.port, 'GET /let_go HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await until(() => seen);
  assert.deepStrictEqual(seen.split('\r\n').filter((l) => /^x-/i.test(l)), ['X-Other: theirs', 'X-Test: ours']);
  c.end();
});

test('300 dials at once, half of them given up', async () => {
  behave = (s, head) => setTimeout(() => { s.write(yes(head)); s.resume(); }, Math.random() * 50);
  await Promise.all(Array.from({ length: 300 }, async (_, i) => {
    const p = Client.connect(server.port, '/proxy');
    if (i % 2) { const c = await p; c.end(); return; }
    const s = net.connect(server.port, '127.0.0.1');
    s.on('error', () => {});
    s.write(upgrade('/proxy'));
    setTimeout(() => s.destroy(), Math.random() * 50);
    (await p).end();
  }));
  await until(async () => (await json(server, '/streams')).length === 0, 8000);
});
