'use strict';
// Deadlines and bounds, with small settings: what a slow or greedy peer can take, and how it ends.
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { start, exchange, until, json } = require('./lib');

const head = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const quick = { head_seconds: 0.4, idle_seconds: 0.4, rate_seconds: 0.4, linger_seconds: 0.4, body_rate: 1024 };
const since = (t) => (Date.now() - t) / 1000;

async function withServer(limits, fn) {
  const server = await start(limits);
  await fn(server).catch((e) => { server.child.kill(); throw e; });
  await server.quit();
}

test('a head that does not come to its end is 408 in time, whole or dripping', () => withServer(quick, async (server) => {
  let t = Date.now();
  let r = await exchange(server.port, 'GET / HTTP/1.1\r\nHost: a\r\n');
  assert.deepStrictEqual(r.replies.map((x) => x.status), [408]);
  assert.ok(since(t) >= 0.35 && since(t) < 1.5, String(since(t)));
  t = Date.now();
  r = await exchange(server.port, [...('GET / HTTP/1.1\r\nX: ' + 'a'.repeat(500))], { pause: 20 });
  assert.deepStrictEqual(r.replies.map((x) => x.status), [408]);
  assert.ok(since(t) < 1.5, String(since(t)));
}));

test('a connection that says nothing is closed without a word', () => withServer(quick, async (server) => {
  const t = Date.now();
  const r = await exchange(server.port, '');
  assert.strictEqual(r.bytes.length, 0);
  assert.strictEqual(r.closed, 'end');
  assert.ok(since(t) < 1.5);
}));

test('an idle connection is closed after its time, and not before', () => withServer(quick, async (server) => {
  let t = Date.now();
  let r = await exchange(server.port, head);
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200]);
  assert.ok(r.closed === 'end' && since(t) >= 0.35 && since(t) < 1.5, String(since(t)));
  t = Date.now();
  r = await exchange(server.port, [head, head, head, head], { pause: 200 });
  assert.strictEqual(r.replies.length, 4);
  assert.ok(since(t) >= 0.9);
}));

test('a body that drips is 408, one that flows is not', () => withServer(quick, async (server) => {
  const post = 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n';
  const t = Date.now();
  let r = await exchange(server.port, [post, ...'x'.repeat(100)], { pause: 20 });
  assert.deepStrictEqual(r.replies.map((x) => x.status), [408]);
  assert.strictEqual(r.replies[0].headers.connection, 'close');
  assert.ok(since(t) < 1.5, String(since(t)));
  r = await exchange(server.port, [post, ...Array(20).fill('x'.repeat(200))], { pause: 50 });
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200]);
}));

test('a body that was too long and goes on is answered, however late the handler does', () => withServer({}, async (server) => {
  const s = net.connect(server.port, '127.0.0.1');
  let said = '', failed;
  s.on('data', (d) => { said += d; });
  s.on('error', (e) => { failed = e; });
  const over = new Promise((r) => s.on('close', r));
  s.write(`POST /late_refusal HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n${'x'.repeat(20)}\r\n`);
  await until(async () => await json(server, '/refused') === 1);
  for (let i = 0; i < 10; i++) {
    await new Promise((r) => s.write(`4000\r\n${'x'.repeat(16384)}\r\n`, r));
    await json(server, '/stats');
  }
  await json(server, '/let_go');
  s.end('0\r\n\r\n');
  await over;
  assert.match(said, /^HTTP\/1\.1 413 /, String(failed));
}));

test('chunk sizes of nothing but zeros do not keep a body alive', () => withServer(quick, async (server) => {
  const t = Date.now();
  const r = await exchange(server.port, ['POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', ...Array(100).fill('0'.repeat(50))], { pause: 20 });
  assert.ok([400, 408].includes(r.replies[0].status));
  assert.ok(since(t) < 1.5);
}));

test('a reader that stands still is cut off, with what it holds', () => withServer({ rate_seconds: 0.4 }, async (server) => {
  const s = net.connect(server.port, '127.0.0.1');
  s.on('error', () => {});
  s.pause();
  s.write('GET /big?50000000 HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(async () => (await json(server, '/stats')).timed_out >= 1, 8000);
  await until(async () => (await json(server, '/stats')).connections === 1);
  s.destroy();
}));

const hoards = async (server) => json(server, '/hoards');

test('a reader that stands still is cut off, also when the end of his body came meanwhile', () => withServer({ rate_seconds: 2 }, async (server) => {
  const s = net.connect(server.port, '127.0.0.1');
  s.on('error', () => {});
  s.pause();
  s.write('POST /hoard HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab');
  await until(async () => (await hoards(server)).began === 1);
  s.write('cde');
  await until(async () => (await json(server, '/stats')).timed_out >= 1, 10000);
  s.destroy();
}));

test('a body that stands still is given up, also when a reply went out meanwhile', () => withServer({ rate_seconds: 2 }, async (server) => {
  const s = net.connect(server.port, '127.0.0.1');
  s.on('error', () => {});
  s.on('data', () => {});
  s.write('POST /hoard HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab');
  await until(async () => (await hoards(server)).read === 'timeout', 10000);
  s.destroy();
}));

test('a body whose end comes while its handler waits to write is read to its end', () => withServer({}, async (server) => {
  const s = net.connect(server.port, '127.0.0.1');
  s.on('error', () => {});
  s.write('POST /hoard HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab');
  await until(async () => (await hoards(server)).began === 1);
  s.write('cde');
  await json(server, '/stats'); // once it is answered the end has come, too: it came before
  s.on('data', () => {});
  await until(async () => (await hoards(server)).read === '3', 10000);
  s.destroy();
}));

test('a peer that never closes after our last word is closed', () => withServer(quick, async (server) => {
  const s = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
  s.on('error', () => {});
  s.on('data', () => {});
  s.write('BAD\r\n\r\n');
  await until(async () => (await json(server, '/stats')).connections === 1, 3000);
  s.destroy();
}));

test('at the bound of connections a new one is told 503, and it is served again when one has gone', () => withServer({ connections: 5 }, async (server) => {
  const idle = [];
  for (let i = 0; i < 5; i++) {
    const s = net.connect(server.port, '127.0.0.1');
    await new Promise((r) => s.on('connect', r));
    idle.push(s);
  }
  let r;
  await until(async () => {
    r = await exchange(server.port, head);
    return r.replies[0].status === 503;
  });
  assert.strictEqual(r.replies[0].headers['retry-after'], '1');
  assert.strictEqual(r.closed, 'end');
  idle.pop().destroy();
  await until(async () => (await exchange(server.port, head.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))).replies[0].status === 200);
  for (const s of idle) s.destroy();
}));

// Whoever fills the bound with silence loses his places to whoever asks; a connection that answers is worth more than none.
test('a bound that is full of silence lets newcomers in once the silent have had their time', () => withServer({ connections: 20, head_seconds: 60, idle_seconds: 60 },
  async (server) => {
    const socks = [];
    for (let i = 0; i < 20; i++) {
      const s = net.connect(server.port, '127.0.0.1');
      s.on('error', () => {});
      s.on('close', () => { s.gone = true; });
      await new Promise((r) => s.on('connect', r));
      if (i % 2) s.write('GET / HT'); // half say nothing, half have begun
      socks.push(s);
    }
    const once = head.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');
    await until(async () => (await exchange(server.port, once)).replies[0].status === 200, 10000);
    for (let i = 0; i < 10; i++) assert.strictEqual((await exchange(server.port, once)).replies[0].status, 200);
    const stats = await json(server, '/stats');
    assert.ok(stats.given_up >= 1, JSON.stringify(stats));
    assert.ok(stats.connections <= 20);
    await until(() => socks.some((s) => s.gone));
    for (const s of socks) s.destroy();
  }));

test('a smaller bound of headers and head is kept', () => withServer({ headers: 3, head: 200 }, async (server) => {
  const r = await exchange(server.port, 'GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\nE: f\r\n\r\n');
  assert.strictEqual(r.replies[0].status, 431);
  const q = await exchange(server.port, `GET / HTTP/1.1\r\nHost: a\r\nA: ${'b'.repeat(200)}\r\n\r\n`);
  assert.strictEqual(q.replies[0].status, 431);
}));

const peers = process.env.CCHOST_TEST_TLS ? 300 : 2000; // a head deadline of seconds is short for 2,000 handshakes at once
const headSeconds = process.env.CCHOST_TEST_TLS ? 6 : 2;
test(`${peers} slow peers of four kinds: others are served, and all the slow are gone in time`, { timeout: 60000 }, () => withServer(
  { head_seconds: headSeconds, idle_seconds: 2, rate_seconds: 2, linger_seconds: 1, body_rate: 1024 }, async (server) => {
    const kinds = ['GET / HT', 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\nab', head, 'GET /big?5000000 HTTP/1.1\r\nHost: a\r\n\r\n'];
    const socks = [];
    for (let i = 0; i < peers; i++) {
      const s = net.connect({ port: server.port, host: '127.0.0.1', localAddress: `127.0.${1 + i % 20}.1` });
      s.on('error', () => {});
      s.on('close', () => { s.gone = true; });
      const kind = i % 50 === 3 ? 3 : i % 3;               // a reply of 5 MB is held in memory: 40 of those
      s.write(kinds[kind]);
      if (kind === 3) s.pause(); else s.resume();
      socks.push(s);
    }
    const times = [];
    for (let i = 0; i < 100; i++) {
      const t = process.hrtime.bigint();
      const r = await exchange(server.port, head, { until: (x) => x.length === 1 });
      assert.strictEqual(r.replies[0].status, 200);
      times.push(Number(process.hrtime.bigint() - t) / 1e6);
    }
    await until(async () => (await json(server, '/stats')).connections < 10, 20000);
    for (const s of socks) s.destroy();
    times.sort((a, b) => a - b);
    assert.ok(times[98] < 500, `p99 ${times[98]} ms`);
  }));

test('draining: idle connections close, running requests finish with Connection: close, then it ends', async () => {
  const server = await start();
  const idle = exchange(server.port, head);
  const silent = exchange(server.port, '');
  const running = exchange(server.port, 'GET /sleep?0.5 HTTP/1.1\r\nHost: a\r\n\r\n' + head);
  await until(async () => (await json(server, '/stats')).running === 2);
  const t = Date.now();
  const quit = server.quit();
  assert.strictEqual((await idle).closed, 'end');
  assert.strictEqual((await silent).closed, 'end');
  assert.ok(since(t) < 0.4, 'idle ones at once');
  const r = await running;
  assert.deepStrictEqual(r.replies.map((x) => [x.status, x.headers.connection]), [[200, 'close']]);
  await quit;
  await assert.rejects(exchange(server.port, head));
});

test('a drain whose time is up cuts what still runs and says so', async () => {
  const server = await start({ drain: 0.3 });
  const running = exchange(server.port, 'GET /sleep?3 HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(async () => (await json(server, '/stats')).running === 2);
  await exchange(server.port, 'GET /quit HTTP/1.1\r\nHost: a\r\n\r\n', { until: (x) => x.length === 1 });
  assert.ok((await running).closed);
  assert.strictEqual(await server.ended, 3);
  assert.ok(!/left open|Sanitizer/.test(server.errors), server.errors);
});

test('a second server on the same socket is refused, a dead socket is replaced', async () => {
  const socket = path.join(os.tmpdir(), `cchost-twice-${process.pid}.sock`);
  const first = await start({ socket });
  await assert.rejects(start({ socket }), /exists: somebody listens on/);
  assert.strictEqual((await exchange(socket, head, { until: (x) => x.length === 1 })).replies[0].status, 200);
  first.child.kill('SIGKILL');
  await first.ended;
  assert.ok(fs.existsSync(socket));
  const second = await start({ socket });
  assert.strictEqual((await exchange(socket, head, { until: (x) => x.length === 1 })).replies[0].status, 200);
  await second.quit();
  assert.ok(!fs.existsSync(socket), 'it takes its socket with it');
  fs.writeFileSync(socket, 'a file of somebody');
  await assert.rejects(start({ socket }), /exists/);
  assert.strictEqual(fs.readFileSync(socket, 'utf8'), 'a file of somebody');
  fs.unlinkSync(socket);
});

test('IPv6, and both families at once', async () => {
  const six = await start({ host: '::1' });
  const r = await exchange({ port: six.port, host: '::1' }, 'GET /info HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n');
  assert.match(r.replies[0].body.toString(), /\|::1\|/);
  await assert.rejects(exchange(six.port, head));
  await six.quit();
  const both = await start({ host: '::' });
  for (const host of ['::1', '127.0.0.1']) {
    const q = await exchange({ port: both.port, host }, 'GET /info HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    assert.ok(q.replies[0].body.toString().includes(`|${host}|`), 'v4 peers in their own form');
  }
  await both.quit();
  await assert.rejects(start({ host: 'no.such.address' }), /not an address/);
});
