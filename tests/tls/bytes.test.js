'use strict';
// Bytes through TLS: much, slowly, in pieces, to the very end. The server is that of tests/http, whose routes do what is asked.
const test = require('node:test');
const assert = require('node:assert');
const { execFile } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const tls = require('node:tls');
const { temp } = require('../lib/cchost.js');
const { start, until, parse, count } = require('../http/lib.js');
const { make } = require('./certs.js');

const dir = temp();
let server;
let pair;
test.before(async () => {
  pair = make(dir, 'a');
  server = await start({ cert: pair.cert, key: pair.key, rate_seconds: 3, body_rate: 1000, body: 8 << 20 });
});
test.after(async () => {
  await server.quit(); // over the unix socket, which is plain
  fs.rmSync(dir, { recursive: true, force: true });
});

// raw: the socket beneath, for ends that TLS does not announce
function connect(options = {}) {
  return new Promise((resolve, reject) => {
    const under = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    const s = tls.connect({ socket: under, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'], ...options }, () => resolve(s));
    s.under = under;
    s.parts = [];
    s.on('data', (d) => s.parts.push(d));
    s.on('error', reject);
    s.on('close', () => under.destroy()); // which TLS alone would leave half open
    under.on('error', () => {});
  });
}
const bytes = (s) => Buffer.concat(s.parts);
const whole = (r) => (r.headers['content-length'] ? r.body.length >= Number(r.headers['content-length']) : r.complete);
const replies = (s, n) => until(() => { const r = parse(bytes(s)).replies; return count(n)(r) && whole(r[n - 1]) && r; }, 60000);
const plain = (path) => new Promise((resolve, reject) => {
  const s = net.connect({ path: server.socket }, () => s.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n`));
  let text = '';
  s.on('data', (d) => { text += d; });
  s.on('end', () => resolve(text.split('\r\n\r\n')[1]));
  s.on('error', reject);
});
const stats = async () => JSON.parse(await plain('/stats'));
const get = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;

test('a body of 8 MiB comes back unchanged, in records of all sizes', async () => {
  const body = crypto.randomBytes(8 << 20);
  for (const maxSend of [16384, 512]) {
    const s = await connect();
    s.setMaxSendFragment(maxSend);
    s.write(`POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
    s.write(body);
    const [r] = await replies(s, 1);
    assert.strictEqual(r.status, 200);
    assert.ok(r.body.equals(body));
    s.destroy();
  }
});

test('every size around the edges of records comes whole', async () => {
  const s = await connect();
  const sizes = [1, 2, 16000, 16383, 16384, 16385, 32767, 32768, 65535, 65536, 65537, 131072, 262143, 262144, 262145, 1000003];
  for (const n of sizes) s.write(get(`/big?${n}`));
  const r = await replies(s, sizes.length);
  assert.deepStrictEqual(r.map((x) => x.body.length), sizes);
  s.destroy();
});

test('requests that come in one record, and one that comes in a record a byte', async () => {
  const s = await connect();
  s.write(get('/').repeat(500));
  assert.strictEqual((await replies(s, 500)).length, 500);
  s.parts = [];
  s.setNoDelay(true);
  for (const c of get('/info')) s.write(c);
  assert.match(String((await replies(s, 1))[0].body), /^GET\|\/info/);
  s.destroy();
});

test('a slow reader of 30 MB gets them all; one that stops is cut', async () => {
  const s = await connect();
  s.write(get('/big?30000000'));
  const hash = [];
  await new Promise((resolve, reject) => {
    let got = 0;
    s.on('close', () => reject(new Error(`cut behind ${got} bytes`)));
    s.removeAllListeners('data');
    s.on('data', (d) => {
      got += d.length;
      hash.push(d.length);
      s.pause();
      setTimeout(() => s.resume(), hash.length % 50 ? 0 : 5);
      if (got > 30000000) resolve();
    });
  });
  s.destroy();
  const t = await connect();
  t.write(get('/big?30000000'));
  t.pause();
  const before = (await stats()).timed_out;
  await until(async () => (await stats()).timed_out === before + 1);
  t.destroy();
});

test('chunks arrive as they are written, and a writer that is not read waits', async () => {
  const s = await connect();
  s.write(get('/stream?200,100000'));
  s.pause();
  await until(() => s.under.bytesRead > 0);
  s.resume();
  const [r] = await replies(s, 1);
  assert.strictEqual(r.body.length, 200 * 100000);
  s.destroy();
});

test('an upload that nobody reads yet is not read from the socket either', async () => {
  const s = await connect();
  s.write('GET /sleep?0.3 HTTP/1.1\r\nHost: a\r\n\r\n');
  s.write(`POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ${4 << 20}\r\n\r\n`);
  s.write(Buffer.alloc(4 << 20, 'u'));
  const r = await replies(s, 2);
  assert.deepStrictEqual(r.map((x) => x.body.length), [4, 4 << 20]);
  s.destroy();
});

test('the end of TLS comes before the end of the connection', async () => {
  const c = await new Promise((resolve) => execFile('curl', ['-skS', '-0', '--no-alpn', `https://127.0.0.1:${server.port}/stream?50,10000`],
    { maxBuffer: 1 << 24 }, (error, stdout, stderr) => resolve({ error, stdout, stderr })));
  assert.strictEqual(c.error, null, c.stderr); // OpenSSL calls it an error when it does not
  assert.strictEqual(c.stdout.length, 500000);
});

test('a client that ends TLS in order still gets its answer; one that cuts it does not', async () => {
  const s = await connect();
  s.end(get('/sleep?0.2'));
  assert.strictEqual(String((await replies(s, 1))[0].body), 'gone');
  s.destroy();
  const before = (await stats()).truncated;
  const t = await connect();
  t.write(get('/sleep?0.3'), () => t.under.end());
  await until(async () => (await stats()).truncated === before + 1);
  const u = await connect();
  u.write('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc', () => u.under.end());
  await until(async () => (await stats()).truncated === before + 2);
  await until(async () => (await stats()).running === 1);
  assert.ok(parse(bytes(t)).replies.length === 0 && parse(bytes(u)).replies.length === 0);
  for (const x of [s, t, u]) x.destroy();
});

test('a record that was changed on its way ends the connection', async () => {
  const relay = net.createServer((a) => {
    const b = net.connect(server.port, '127.0.0.1');
    b.pipe(a);
    let seen = 0;
    a.on('data', (d) => {
      if (seen++ > 1) d[d.length - 1] ^= 1; // behind the two flights of the handshake
      b.write(d);
    });
    for (const x of [a, b]) x.on('error', () => {});
    b.on('close', () => a.destroy());
    a.on('close', () => b.destroy());
  });
  await new Promise((r) => relay.listen(0, '127.0.0.1', r));
  const s = tls.connect({ port: relay.address().port, host: '127.0.0.1', rejectUnauthorized: false });
  const error = await new Promise((resolve) => {
    s.on('error', resolve);
    s.on('close', () => resolve(new Error('closed')));
    s.on('secureConnect', () => s.write(get('/')));
  });
  assert.match(String(error), /bad record mac|closed|disconnected/);
  relay.close();
});

test('req:secure() knows TLS by itself, and believes only a trusted proxy', async () => {
  const s = await connect();
  s.write(get('/secure'));
  assert.strictEqual(String((await replies(s, 1))[0].body), 'true');
  s.destroy();
  assert.strictEqual(await plain('/secure'), 'true'); // the unix socket is trusted
});

test('bodies are drained and answered across a reload, and a bad pair changes nothing', async () => {
  const next = make(dir, 'b', { kind: 'rsa' });
  const s = await connect();
  const serial = s.getPeerCertificate().serialNumber;
  s.write('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc');
  assert.match(await plain(`/reload?cert=${pair.cert}&key=${next.key}`), /does not belong/);
  let t = await connect();
  assert.strictEqual(t.getPeerCertificate().serialNumber, serial);
  t.destroy();
  assert.strictEqual(await plain(`/reload?cert=${next.cert}&key=${next.key}`), 'true');
  t = await connect();
  assert.notStrictEqual(t.getPeerCertificate().serialNumber, serial);
  const session = t.getSession();
  t.destroy();
  assert.strictEqual(await plain(`/reload?cert=${next.cert}&key=${next.key}`), 'true');
  t = await connect({ session });
  assert.ok(!t.isSessionReused(), 'the keys of tickets have gone with the old set');
  t.destroy();
  s.write('def');
  assert.strictEqual(String((await replies(s, 1))[0].body), 'abcdef');
  s.destroy();
});

test('in the end nobody is left', async () => {
  await until(async () => { const x = await stats(); return x.connections === 1 && x.upgraded === 0 && x.handshakes_waiting === 0; });
});
