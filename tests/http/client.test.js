'use strict';
// http.request against servers that stall, cut off, exaggerate and drip; each also given up half-way.
const test = require('node:test');
const assert = require('node:assert');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { start, exchange, json, until } = require('./lib');

let server;
let peer;
let unixPeer;
const open = new Set();
const unixPath = path.join(os.tmpdir(), `cchost-peer-${process.pid}.sock`);
const seen = [];

// By path, once the head of a request has come.
const behaviours = {
  '/ok': (s) => s.end('HTTP/1.1 200 OK\r\nX-Back: yes\r\nContent-Length: 5\r\n\r\nhello'),
  '/keep': (s) => s.write('HTTP/1.1 200 OK\r\nX-Back: yes\r\nContent-Length: 5\r\n\r\nhello'),
  '/two': (s) => s.end('HTTP/1.1 200 OK\r\nX-Back: a\r\nx-back: b\r\nContent-Length: 0\r\n\r\n'),
  '/hint': (s) => s.end('HTTP/1.1 103 Early Hints\r\nX-Back: no\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'),
  '/chunked': (s) => s.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'),
  '/500': (s) => s.end('HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad'),
  '/redirect': (s) => s.end('HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n'),
  '/stall': () => {},
  '/stall-head': (s) => s.write('HTTP/1.1 200 OK\r\nContent-Le'),
  '/stall-body': (s) => s.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'),
  '/close': (s) => s.end(),
  '/reset': (s) => { try { s.resetAndDestroy(); } catch { s.destroy(); } },
  '/close-after-head': (s) => s.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n'),
  '/truncate': (s) => s.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'),
  '/truncate-chunk': (s) => s.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc'),
  '/garbage': (s) => s.end('\x00\x01\x02 what\r\n\r\n'),
  '/long-head': (s) => { s.write('HTTP/1.1 200 OK\r\n'); for (let i = 0; i < 900; i++) s.write(`X-${i}: ${'a'.repeat(90)}\r\n`); s.end('\r\n'); },
  '/huge': (s) => { s.write('HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n'); const b = Buffer.alloc(65536); const go = () => { while (!s.destroyed && s.write(b)); }; s.on('drain', go); go(); },
  '/drip': async (s) => { for (const b of 'HTTP/1.1 200 OK\r\nX-Back: drip\r\nConnection: close\r\nContent-Length: 20\r\n\r\n' + 'd'.repeat(20)) { if (s.destroyed) return; s.write(b); await new Promise((r) => setTimeout(r, 2)); } s.end(); },
};

function serve(s) {
  let buf = '';
  open.add(s);
  s.on('close', () => open.delete(s));
  s.on('error', () => {});
  s.on('data', (d) => {
    buf += d.toString('latin1');
    const end = buf.indexOf('\r\n\r\n');
    if (end < 0) return;
    const n = Number((/content-length: (\d+)/i.exec(buf) || [0, 0])[1]);
    if (buf.length < end + 4 + n) return;
    seen.push(buf);
    const where = buf.split(' ')[1];
    const all = Number((/^\/all\?(\d+)$/.exec(where) || [])[1]);
    buf = '';
    if (all) s.end(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${all}\r\n\r\n`), Buffer.alloc(all)]));
    else (behaviours[where] || behaviours['/500'])(s);
  });
}

test.before(async () => {
  peer = net.createServer(serve);
  unixPeer = net.createServer(serve);
  await new Promise((r) => peer.listen(0, '127.0.0.1', r));
  await new Promise((r) => unixPeer.listen(unixPath, r));
  server = await start();
});
test.after(async () => {
  await server.quit();
  for (const s of open) s.destroy();
  peer.close();
  unixPeer.close();
});

const base = () => `http://127.0.0.1:${peer.address().port}`;
async function ask(o) {
  const query = Object.entries(o).map(([k, v]) => `${k}=${encodeURIComponent(v)}`).join('&');
  const r = await exchange(server.port, `GET /fetch?${query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, { ms: 10000 });
  assert.strictEqual(r.replies[0].status, 200);
  return r.replies[0].body.toString();
}

const want = {
  '/ok': 'ok 200 5 yes', '/keep': 'ok 200 5 yes', '/two': 'ok 200 0 a, b', '/hint': 'ok 200 2 nil', '/chunked': 'ok 200 3 nil', '/500': 'ok 500 3 nil', '/redirect': 'ok 302 0 nil',
  '/stall': 'err timeout', '/stall-head': 'err timeout', '/stall-body': 'err timeout', '/close': 'err unavailable', '/reset': ['err io', 'err unavailable'],
  '/close-after-head': 'err io', '/truncate': 'err io', '/truncate-chunk': 'err io', '/garbage': 'err io', '/long-head': 'err limit', '/huge': 'err limit', '/drip': 'ok 200 20 drip',
};
for (const [where, answer] of Object.entries(want)) {
  const timeout = answer === 'err timeout' ? 0.5 : 8; // what must come has the time of a busy machine
  test(`a peer that does ${where}: ${answer}`, async () => {
    const a = await ask({ url: base() + where, timeout, max_body: 1000000 });
    assert.ok([answer].flat().includes(a), a);
  });
  test(`a peer that does ${where}, over a unix socket`, async () => {
    const a = await ask({ url: 'http://machine' + where, unix: unixPath, timeout, max_body: 1000000 });
    assert.ok([answer].flat().includes(a), a);
  });
  test(`a peer that does ${where}, given up at once and half-way`, async () => {
    for (const cancel of [0, 0.001, 0.01]) {
      const a = await ask({ url: base() + where, timeout: 2, max_body: 200000000, cancel });
      assert.ok(a === 'err cancelled' || [answer].flat().includes(a), a);
    }
  });
}

test('an answer that comes all at once and is too long is never given in part', async () => {
  const got = {};
  for (let size = 1040000; size < 1200000; size += 4096)
    for (const over of [100, 3000, 9000]) {
      const a = await ask({ url: `${base()}/all?${size}`, timeout: 20, max_body: size - over });
      if (a !== 'err limit') got[`${size} - ${over}`] = a;
    }
  assert.deepStrictEqual(got, {});
});

test('nobody listens, no such socket, no such name, no such scheme', async () => {
  assert.strictEqual(await ask({ url: 'http://127.0.0.1:1/' }), 'err unavailable');
  assert.strictEqual(await ask({ url: 'http://a/', unix: unixPath + '.none' }), 'err unavailable');
  assert.match(await ask({ url: 'http://no-such-host.invalid/' }), /err (unavailable|timeout)/);
  assert.strictEqual(await ask({ url: 'ftp://127.0.0.1/' }), 'err invalid');
  assert.strictEqual(await ask({ url: 'file:///etc/passwd' }), 'err invalid');
  assert.strictEqual(await ask({ url: 'not a url' }), 'err invalid');
});

test('the request is what was asked for', async () => {
  seen.length = 0;
  assert.match(await ask({ url: base() + '/ok', method: 'PUT', body: 'abc' }), /^ok/);
  assert.match(seen[0], /^PUT \/ok HTTP\/1\.1\r\n/);
  assert.match(seen[0], /\r\nContent-Length: 3\r\n/i);
  assert.match(seen[0], /\r\nX-Test: 1\r\n/);
  assert.match(seen[0], /\r\nX-Empty:\r\n/);
  assert.match(seen[0], /\r\nUser-Agent: cchost\r\n/);
  assert.doesNotMatch(seen[0], /Expect|Content-Type/i);
  assert.ok(seen[0].endsWith('\r\n\r\nabc'));
  assert.match(await ask({ url: base() + '/ok', method: 'DELETE' }), /^ok/);
  assert.match(seen[1], /^DELETE /);
  assert.match(await ask({ url: base() + '/ok', body: 'x' }), /^ok/);
  assert.match(seen[2], /^POST /);
  assert.match(await ask({ url: base() + '/ok', method: 'POST' }), /^ok/);
  assert.match(seen[3], /Content-Length: 0/i);
});

test('https is verified: an unknown authority is refused', async () => {
  const { execFileSync } = require('node:child_process');
  const fs = require('node:fs');
  const tls = require('node:tls');
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-tls-'));
  try {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost',
      '-keyout', path.join(dir, 'key'), '-out', path.join(dir, 'cert')], { stdio: 'ignore' });
  } catch { return; }                    // no openssl here
  const t = tls.createServer({ key: fs.readFileSync(path.join(dir, 'key')), cert: fs.readFileSync(path.join(dir, 'cert')) }, serve);
  t.on('tlsClientError', () => {});
  await new Promise((r) => t.listen(0, '127.0.0.1', r));
  assert.strictEqual(await ask({ url: `https://localhost:${t.address().port}/ok` }), 'err denied');
  assert.strictEqual(await ask({ url: `https://localhost:${t.address().port}/ok`, ca: path.join(dir, 'cert') }), 'ok 200 5 yes');
  t.close();
  fs.rmSync(dir, { recursive: true });
});

test('200 requests at once are all answered', async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, () => ask({ url: base() + '/keep', timeout: 10 })));
  assert.ok(answers.every((a) => a === 'ok 200 5 yes'));
});

test('the process may end while requests are under way', async () => {
  const own = await start({ drain: 0.2 });
  for (let i = 0; i < 10; i++) exchange(own.port, `GET /fetch?url=${encodeURIComponent(base() + '/stall')} HTTP/1.1\r\nHost: a\r\n\r\n`).catch(() => {});
  await until(async () => (await json(own, '/stats')).running === 11);
  exchange(own.port, 'GET /quit HTTP/1.1\r\nHost: a\r\n\r\n').catch(() => {});
  assert.strictEqual(await own.ended, 3);
  assert.ok(!/left open|Sanitizer/.test(own.errors), own.errors);
});
