'use strict';
// What a well-behaved client may count on: keep-alive, pipelining, bodies both ways, and what a reply carries.
const test = require('node:test');
const assert = require('node:assert');
const net = require('node:net');
const { start, exchange, count, until, json } = require('./lib');

let server;
test.before(async () => { server = await start(); });
test.after(() => server.quit());

const req = (line, headers = '', body = '') => `${line} HTTP/1.1\r\nHost: a\r\n${headers}\r\n${body}`;
const last = 'Connection: close\r\n';
const text = (r) => r.body.toString('latin1');

test('pipelined requests are answered in order, slow ones included', async () => {
  const r = await exchange(server.port, req('GET /sleep?0.1') + req('GET /') + req('POST /echo', 'Content-Length: 3\r\n', 'abc') +
    req('GET /stream?3,4') + req('GET /nobody', last));
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200, 200, 200, 200, 204]);
  assert.deepStrictEqual(r.replies.slice(2, 4).map(text), ['abc', 'xxxxxxxxxxxx']);
});

test('5,000 pipelined requests in one write', async () => {
  const r = await exchange(server.port, req('GET /').repeat(5000) + req('GET /nobody', last), { ms: 20000 });
  assert.strictEqual(r.replies.length, 5001);
});

test('a body is read as it comes, by a reader that is slow, and its bound is kept', async () => {
  const big = 'x'.repeat(5e6);
  const chunked = Array.from({ length: 50 }, () => `${(1e5).toString(16)}\r\n${'x'.repeat(1e5)}\r\n`).join('') + '0\r\n\r\n';
  const r = await exchange(server.port, req('POST /read', `Content-Length: ${big.length}\r\n`, big) + req('POST /read', 'Content-Length: 0\r\n') +
    req('POST /read', 'Transfer-Encoding: chunked\r\n', chunked) + req('GET /read') + req('POST /read?10', 'Content-Length: 10\r\n', '0123456789') +
    req('POST /read?10', `Content-Length: 11\r\n${last}`, '0123456789a'), { ms: 20000 });
  assert.deepStrictEqual(r.replies.map((x) => [x.status, text(x).split(' ')[0]]), [[200, '5000000'], [200, '0'], [200, '5000000'], [200, '0'], [200, '10'], [413, 'limit']]);
});

test('a reply of a known length keeps the connection; less than was promised cuts it, more is a fault', async () => {
  const r = await exchange(server.port, req('GET /sized?5,5') + req('GET /sized?0,0') + req('GET /nobody', last));
  assert.deepStrictEqual(r.replies.map((x) => [x.status, x.headers['content-length']]), [[200, '5'], [200, '0'], [204, undefined]]);
  for (const [promised, written] of [[5, 4], [5, 6]]) {
    const cut = await exchange(server.port, req(`GET /sized?${promised},${written}`) + req('GET /nobody', last));
    assert.ok(cut.closed && !cut.bytes.includes(' 204 '), `${promised},${written}: nothing comes behind it`);
  }
});

test('a reply names what it must', async () => {
  const r = await exchange(server.port, req('GET /', last));
  const h = r.replies[0].headers;
  assert.ok(Math.abs(Date.parse(h.date) - Date.now()) < 5000);
  assert.strictEqual(h['content-type'], 'application/json; charset=utf-8');
  assert.strictEqual(h['content-length'], '11');
  assert.strictEqual(h['x-frame-options'], 'DENY');
  assert.match(h['x-request-id'], /^[0-9a-f]{16}$/);
});

test('a route replaces a default header instead of doubling it', async () => {
  const r = await exchange(server.port, req('GET /override', last));
  assert.deepStrictEqual(r.replies[0].lines.filter((l) => /^x-frame/i.test(l)), ['x-frame-options: SAMEORIGIN']);
  assert.strictEqual(r.replies[0].headers['x-content-type-options'], 'nosniff');
});

test('what a request says is what its handler reads', async () => {
  const r = await exchange(server.port, req('GET /%69nfo?a=b&c=%20', `X-Test: one\r\nX-TEST: two\r\nX-Request-Id: my.own_id-1\r\n${last}`));
  assert.strictEqual(text(r.replies[0]), 'GET|/info|a=b&c=%20|1.1|127.0.0.1|my.own_id-1|one');
  assert.strictEqual(r.replies[0].lines.filter((l) => /^set-cookie/i.test(l)).length, 2);
});

test('a request id that is not sane is replaced', async () => {
  for (const id of ['a b', 'x'.repeat(65), 'é', '{}']) {
    const r = await exchange(server.port, req('GET /', `X-Request-Id: ${id}\r\n${last}`));
    assert.match(r.replies[0].headers['x-request-id'], /^[0-9a-f]{16}$/);
  }
});

test('a trusted proxy is believed from right to left, up to the first that is not trusted', async () => {
  for (const [forwarded, want] of [
    ['X-Forwarded-For: 9.9.9.9\r\n', '9.9.9.9'],
    ['X-Forwarded-For: 1.1.1.1, 9.9.9.9, 127.0.0.5\r\n', '9.9.9.9'],
    ['X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 9.9.9.9\r\n', '9.9.9.9'],
    ['X-Forwarded-For: evil, 127.0.0.5\r\n', '127.0.0.5'],
    ['X-Forwarded-For: [2001:db8::1]:99\r\n', '2001:db8::1'],
    ['X-Forwarded-For:\r\n', '127.0.0.1'],
    ['', '127.0.0.1'],
  ]) {
    const r = await exchange(server.port, req('GET /info', forwarded + last));
    assert.strictEqual(text(r.replies[0]).split('|')[4], want, forwarded);
    const u = await exchange(server.socket, req('GET /info', forwarded + last));
    assert.strictEqual(text(u.replies[0]).split('|')[4], want === '127.0.0.1' ? 'unix' : want, 'unix ' + forwarded);
  }
});

test('HEAD has the length and no body', async () => {
  const r = await exchange(server.port, req('HEAD /big?1000') + req('HEAD /stream?10,10') + req('HEAD /', last), { heads: true });
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200, 200, 200]);
  assert.strictEqual(r.replies[0].headers['content-length'], '1000');
  assert.strictEqual(r.rest.length, 0);
});

test('HTTP/1.0 is answered and closed, streams without chunks', async () => {
  let r = await exchange(server.port, 'GET / HTTP/1.0\r\n\r\n');
  assert.strictEqual(r.replies[0].headers.connection, 'close');
  assert.ok(r.closed);
  r = await exchange(server.port, 'GET /stream?3,5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
  assert.strictEqual(r.replies[0].headers['transfer-encoding'], undefined);
  assert.match(r.bytes.toString(), /\r\n\r\nx{15}$/);
});

test('100-continue is said only when the route wants the body', async () => {
  let r = await exchange(server.port, req('POST /echo', 'Expect: 100-continue\r\nContent-Length: 3\r\n'), { until: (x) => x.length === 1 });
  assert.strictEqual(r.replies[0].status, 100);
  r = await exchange(server.port, [req('POST /echo', `Expect: 100-continue\r\nContent-Length: 3\r\n${last}`), 'abc'], { pause: 100 });
  assert.deepStrictEqual(r.replies.map((x) => x.status), [100, 200]);
  r = await exchange(server.port, req('POST /unread', 'Expect: 100-continue\r\nContent-Length: 3\r\n'));
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200]);
  assert.strictEqual(r.replies[0].headers.connection, 'close');
  r = await exchange(server.port, req('POST /small', 'Expect: 100-continue\r\nContent-Length: 11\r\n'));
  assert.deepStrictEqual(r.replies.map((x) => x.status), [413]);
  r = await exchange(server.port, req('POST /echo', `Expect: 100-continue\r\nContent-Length: 3\r\n${last}`, 'abc'));
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200], 'not when the body is there already');
});

test('a body at its limit is taken, one byte more is 413 and the end', async () => {
  let r = await exchange(server.port, req('POST /small', `Content-Length: 10\r\n${last}`, '0123456789'));
  assert.strictEqual(text(r.replies[0]), '0123456789');
  for (const [h, b] of [['Content-Length: 11\r\n', '0123456789a'], ['Transfer-Encoding: chunked\r\n', 'b\r\n0123456789a\r\n0\r\n\r\n']]) {
    r = await exchange(server.port, req('POST /small', h, b) + req('GET /'));
    assert.deepStrictEqual(r.replies.map((x) => x.status), [413]);
    assert.strictEqual(r.closed, 'end');
  }
  r = await exchange(server.port, req('POST /echo', `Content-Length: ${1 << 20}\r\n${last}`, 'x'.repeat(1 << 20)));
  assert.strictEqual(r.replies[0].body.length, 1 << 20);
  r = await exchange(server.port, req('POST /echo', `Content-Length: ${(1 << 20) + 1}\r\n`, 'x'.repeat(1000)));
  assert.strictEqual(r.replies[0].status, 413);
});

test('a client that sends 50 MB too much still reads its 413', async () => {
  const s = net.connect(server.port, '127.0.0.1');
  let got = '';
  s.on('data', (d) => { got += d; });
  s.on('error', () => {});
  s.write(req('POST /small', 'Content-Length: 50000000\r\n'));
  const chunk = Buffer.alloc(65536);
  for (let i = 0; i < 800 && !s.destroyed; i++) if (!s.write(chunk)) await new Promise((r) => { s.once('drain', r); s.once('close', r); });
  await until(() => got.includes('413'));
  s.destroy();
});

test('an unread body is swallowed when it is small, else it ends the connection', async () => {
  let r = await exchange(server.port, [req('POST /unread', 'Content-Length: 50000\r\n', 'x'.repeat(20000)), 'x'.repeat(30000) + req('GET /', last)]);
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200, 200]);
  r = await exchange(server.port, req('POST /unread', 'Content-Length: 500000\r\n', 'x'.repeat(500000)) + req('GET /'));
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200]);
  r = await exchange(server.port, req('POST /unread', 'Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n0\r\n\r\n') + req('GET /'));
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200]);
});

test('a large reply arrives whole, also to a slow reader', async () => {
  const n = 20000000;
  const s = net.connect(server.port, '127.0.0.1');
  s.write(req(`GET /big?${n}`, last));
  let got = 0;
  await new Promise((resolve) => {
    s.on('data', (d) => { got += d.length; if (got < 2000000) { s.pause(); setTimeout(() => s.resume(), 1); } });
    s.on('end', resolve);
  });
  assert.ok(got > n && got < n + 1000, String(got));
});

test('a stream waits for its reader: the process does not grow', async () => {
  const fs = require('node:fs');
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1]);
  const before = rss();
  const s = net.connect(server.port, '127.0.0.1');
  s.pause();
  s.write(req('GET /stream?4000,65536', last));                // 262 MB
  await new Promise((r) => setTimeout(r, 400));
  const grown = rss() - before;
  assert.ok(grown < 30000, `${grown} KiB`);
  let got = 0;
  s.on('data', (d) => { got += d.length; });
  s.resume();
  await new Promise((r) => s.on('end', r));
  assert.ok(got > 4000 * 65536);
});

test('a client that leaves in the middle of a stream ends it', async () => {
  const s = net.connect(server.port, '127.0.0.1');
  s.write(req('GET /stream?100000,65536'));
  await new Promise((r) => s.once('data', r));
  s.destroy();
  await until(async () => (await json(server, '/stats')).running === 1);
});

test('a client that half-closes still gets its answer', async () => {
  const r = await exchange(server.port, req('GET /sleep?0.1') + req('GET /'), { end: true });
  assert.deepStrictEqual(r.replies.map(text), ['gone', '{"ok":true}']);
  assert.strictEqual(r.closed, 'end');
});

test('a client that goes while its handler works harms nobody', async () => {
  for (let i = 0; i < 50; i++) {
    const s = net.connect(server.port, '127.0.0.1');
    s.on('error', () => {});
    s.write(req('GET /sleep?0.05'));
    setTimeout(() => (i % 2 ? s.destroy() : s.resetAndDestroy && s.resetAndDestroy()), 10);
  }
  await until(async () => (await json(server, '/stats')).running === 1);
});

test('faults of handlers are 500 without detail', async () => {
  const r = await exchange(server.port, req('GET /raise') + req('GET /silent') + req('GET /split') + req('GET /framing') + req('GET /', last));
  assert.deepStrictEqual(r.replies.map((x) => x.status), [500, 500, 500, 500, 200]);
  assert.deepStrictEqual(JSON.parse(text(r.replies[0])), { error: 'internal error', code: 'internal' });
  await until(() => server.errors.includes('a fault on purpose') && server.errors.includes('traceback')); // another pipe than the answers
});

test('the second reply to one request does nothing', async () => {
  const r = await exchange(server.port, req('GET /twice') + req('GET /', last));
  assert.deepStrictEqual(r.replies.map(text), ['first', '{"ok":true}']);
});

test('a unix socket serves the same, and is there for its owner only', async () => {
  const r = await exchange(server.socket, req('GET /', last));
  assert.strictEqual(r.replies[0].status, 200);
  assert.strictEqual(require('node:fs').statSync(server.socket).mode & 0o777, 0o600);
});
