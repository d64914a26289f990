'use strict';
// Who may shake hands with `cchost serve`, how, and what becomes of those who may not.
const test = require('node:test');
const assert = require('node:assert');
const { spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const tls = require('node:tls');
const { Server, complaints, until, temp } = require('../lib/cchost.js');
const { make } = require('./certs.js');

const dir = temp();
let server;
let ca;

test.before(async () => {
  make(dir, 'root', { names: ['the tests'], ip: [] });
  ca = fs.readFileSync(`${dir}/root.crt`);
  const pairs = [
    make(dir, 'first', { names: ['first.test', 'localhost'], ca: 'root' }),
    make(dir, 'first-rsa', { names: ['first.test'], kind: 'rsa', ca: 'root' }),
    make(dir, 'second', { names: ['second.test', 'also.second.test'], kind: 'ec384', ca: 'root' }),
    make(dir, 'wild', { names: ['*.wild.test'], ca: 'root' }),
    make(dir, 'deep', { names: ['deep.wild.test'], kind: 'rsa', ca: 'root' }),
  ];
  server = await Server.start({ provider: 'mock', log_level: 'debug', http_head_seconds: 2, http_idle_seconds: 60,
    tls_cert: pairs.map((p) => p.cert).join(','), tls_key: pairs.map((p) => p.key).join(', ') }, null, { ca });
});
// What strangers send is never an error, and nothing of it is left.
test.after(async () => {
  await server.stop();
  fs.rmSync(dir, { recursive: true, force: true });
  assert.deepStrictEqual(complaints(server.log), [], server.log);
});

// -> the socket, after its handshake; rejects with the client's error
function shake(options = {}) {
  return new Promise((resolve, reject) => {
    const s = tls.connect({ host: '127.0.0.1', port: server.port, ca, checkServerIdentity: () => undefined, ...options });
    s.setMaxListeners(50);
    s.on('secureConnect', () => resolve(s));
    s.on('error', reject);
    s.on('close', () => reject(new Error('closed')));
  });
}

async function name(options) {
  const s = await shake(options);
  const { subject, pubkey } = s.getPeerCertificate();
  const kind = pubkey.length > 200 ? 'rsa' : 'ec';
  s.destroy();
  return `${subject.CN} ${kind}`;
}

// A request over a socket that is there already.
function get(s, path = '/healthz') {
  return new Promise((resolve, reject) => {
    let text = '';
    s.on('data', (d) => {
      text += d;
      if (/\r\n\r\n.*}$/s.test(text)) resolve(text);
    });
    s.on('close', () => reject(new Error(`closed: ${text}`)));
    s.on('error', reject);
    s.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
  });
}

const serves = async () => assert.strictEqual((await server.call('GET', '/healthz')).status, 200);

// openssl s_client, whose text is gathered until it ends.
function sClient(args, input = null) {
  return new Promise((resolve) => {
    const c = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${server.port}`, '-CAfile', `${dir}/root.crt`, ...args]);
    let out = '';
    for (const s of [c.stdout, c.stderr]) s.on('data', (d) => { out += d; if (input) input(c, out); });
    c.stdin.on('error', () => {});
    c.on('close', (code) => resolve({ code, out }));
    if (!input) c.stdin.end();
  });
}

// What a raw peer is told until the connection ends.
function raw(bytes, { end = false } = {}) {
  return new Promise((resolve) => {
    const s = net.connect(server.port, '127.0.0.1');
    const got = [];
    s.on('data', (d) => got.push(d));
    s.on('error', () => {});
    s.on('close', () => resolve(Buffer.concat(got)));
    s.on('connect', () => { for (const b of [bytes].flat()) s.write(b); if (end) s.end(); });
  });
}

// The first record of a real client.
function hello(options = {}) {
  return new Promise((resolve) => {
    const catcher = net.createServer((s) => s.once('data', (d) => { resolve(d); s.destroy(); catcher.close(); }));
    catcher.listen(0, '127.0.0.1', () => tls.connect({ port: catcher.address().port, host: '127.0.0.1', ...options }).on('error', () => {}));
  });
}

test('the certificate is chosen by the name that the client asks for', async () => {
  const ecdsa = { sigalgs: 'ECDSA+SHA256:ECDSA+SHA384' };
  const want = { 'first.test': 'first.test', 'localhost': 'first.test', 'SECOND.test': 'second.test', 'also.second.test': 'second.test',
    'a.wild.test': '*.wild.test', 'b.wild.test': '*.wild.test', 'wild.test': 'first.test', 'a.b.wild.test': 'first.test',
    'nobody.test': 'first.test', '': 'first.test' };
  for (const [servername, cn] of Object.entries(want)) assert.strictEqual(await name({ servername, ...ecdsa }), `${cn} ec`, servername);
  assert.strictEqual(await name({ servername: 'deep.wild.test' }), 'deep.wild.test rsa'); // an exact name before a wildcard
  assert.strictEqual(await name({ servername: 'first.test', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }), 'first.test rsa');
  assert.strictEqual(await name({ ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }), 'first.test rsa'); // no name: the default's twin
  await assert.rejects(name({ servername: 'second.test', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }), /handshake failure/);
});

test('the whole chain is sent, and a client that checks it is content', async () => {
  const { out } = await sClient(['-servername', 'first.test', '-verify_hostname', 'first.test', '-verify_return_error', '-showcerts']);
  assert.match(out, /Verify return code: 0 \(ok\)/);
  assert.strictEqual(out.match(/BEGIN CERTIFICATE/g).length, 2);
  const s = await shake({ servername: 'first.test', checkServerIdentity: tls.checkServerIdentity });
  assert.ok(s.authorized);
  assert.match(await get(s), /200 OK/);
  s.destroy();
});

test('ALPN: http/1.1 and nothing else', async () => {
  for (const [offer, want] of [[['h2', 'http/1.1'], 'http/1.1'], [['http/1.1'], 'http/1.1'], [undefined, false]]) {
    const s = await shake({ ALPNProtocols: offer });
    assert.strictEqual(s.alpnProtocol, want);
    assert.match(await get(s), /200 OK/);
    s.destroy();
  }
  await assert.rejects(shake({ ALPNProtocols: ['h2'] }), /no application protocol/);
  await assert.rejects(shake({ ALPNProtocols: ['http/1.0', 'spdy/3'] }), /no application protocol/);
  await serves();
});

test('TLS 1.0, 1.1 and SSL 2 are refused; 1.2 is spoken with those who could do more', async () => {
  for (const v of ['-tls1', '-tls1_1']) {
    const { out } = await sClient([v, '-cipher', 'ALL:@SECLEVEL=0']);
    assert.match(out, /alert protocol version/, out);
  }
  const { out } = await sClient(['-tls1_2', '-cipher', 'ALL:@SECLEVEL=0']);
  assert.match(out, /Protocol *: TLSv1.2/);
  const s = await shake({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' });
  assert.strictEqual(s.getProtocol(), 'TLSv1.2');
  s.destroy();
  await assert.rejects(shake({ minVersion: 'TLSv1.3' }), /protocol version|handshake failure/);
  await raw(Buffer.concat([Buffer.from([0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 16]), crypto.randomBytes(37)]));
  await serves();
});

const good = ['CHACHA20-POLY1305', 'AES128-GCM-SHA256', 'AES256-GCM-SHA384'].flatMap((c) => [`ECDHE-ECDSA-${c}`, `ECDHE-RSA-${c}`]);

test('ciphers: ECDHE with AEAD, in the order of the server, and no other', async () => {
  for (const c of good) {
    const s = await shake({ ciphers: c });
    assert.strictEqual(s.getCipher().name, c);
    assert.match(await get(s), /200 OK/);
    s.destroy();
  }
  const s = await shake({ ciphers: [...good].reverse().join(':') });
  assert.strictEqual(s.getCipher().name, 'ECDHE-ECDSA-CHACHA20-POLY1305');
  s.destroy();
  const bad = tls.getCiphers().map((c) => c.toUpperCase()).filter((c) => !c.startsWith('TLS_') && !good.includes(c));
  assert.ok(bad.includes('AES128-SHA') && bad.includes('ECDHE-RSA-AES128-SHA256') && bad.includes('AES128-GCM-SHA256'));
  await assert.rejects(shake({ ciphers: `${bad.join(':')}:@SECLEVEL=0`, maxVersion: 'TLSv1.2' }), /handshake failure/);
});

test('curves: X25519, P-256, P-384, and no other', async () => {
  for (const curve of ['X25519', 'P-256', 'P-384']) {
    const s = await shake({ ecdhCurve: curve === 'P-256' ? curve : `${curve}:P-256` });
    assert.match(s.getEphemeralKeyInfo().name, { X25519: /X25519/, 'P-256': /prime256v1/, 'P-384': /secp384r1|prime256v1/ }[curve]);
    s.destroy();
  }
  await assert.rejects(shake({ ecdhCurve: 'X448', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }), /handshake failure/);
});

test('to negotiate anew is refused, and ends the connection', async () => {
  let asked = false;
  const { out } = await sClient(['-tls1_2'], (c, text) => {
    if (!asked && /Verify return code/.test(text)) { asked = true; c.stdin.write('R\n'); }
  });
  assert.ok(asked && /RENEGOTIATING/.test(out), out);
  assert.match(out, /no renegotiation|unexpected eof|closed/i);
  await serves();
});

test('sessions are resumed by ticket', async () => {
  const a = await shake();
  assert.ok(!a.isSessionReused() && a.getTLSTicket().length > 0);
  const session = a.getSession();
  const ticket = a.getTLSTicket();
  a.destroy();
  const b = await shake({ session });
  assert.ok(b.isSessionReused());
  assert.match(await get(b), /200 OK/);
  b.destroy();
  const bent = Buffer.from(session);
  bent[session.indexOf(ticket) + 40] ^= 1;
  const c = await shake({ session: bent });
  assert.ok(!c.isSessionReused());
  assert.match(await get(c), /200 OK/);
  c.destroy();
});

test('plain HTTP is answered in its own words and closed', async () => {
  for (const words of ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'POST /instances HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}', 'G']) {
    const text = String(await raw(Buffer.from(words)));
    assert.match(text, /^HTTP\/1.1 400 Bad Request\r\n.*this port speaks TLS \(https:\/\/\)$/s);
    assert.strictEqual(/Content-Length: (\d+)/.exec(text)[1], String(text.split('\r\n\r\n')[1].length));
  }
  await serves();
});

test('garbage instead of a handshake ends the connection', async () => {
  const real = await hello();
  const list = [
    crypto.randomBytes(5000), Buffer.alloc(5000), Buffer.from([0x16]), Buffer.from([0x16, 3]), Buffer.from([0x16, 9, 9, 0, 5, 1, 2, 3, 4, 5]),
    Buffer.from([0x16, 3, 1, 0xff, 0xff, ...crypto.randomBytes(4000)]), Buffer.from([0x16, 3, 1, 0, 0]),
    Buffer.from([0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]), Buffer.from([0x15, 3, 3, 0, 2, 2, 40]),
    Buffer.concat([Buffer.from([0x16, 3, 1, 0x40, 0]), crypto.randomBytes(16384)]),
    Buffer.concat([real, real]), Buffer.concat([real, Buffer.from([0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5])]),
    Buffer.concat([real, Buffer.from([0x14, 3, 3, 0, 1, 1])]), real.subarray(0, real.length - 1),
  ];
  for (let i = 0; i < 150; i++) {
    const b = Buffer.from(real);
    for (let k = 0; k < 1 + (i % 4); k++) b[crypto.randomInt(b.length)] = crypto.randomInt(256);
    list.push(b);
  }
  await Promise.all(list.map((b) => raw(b, { end: true })));
  await serves();
});

test('a handshake that stalls is ended by the deadline', async () => {
  const real = await hello();
  const drip = (s) => {
    let at = 0;
    const timer = setInterval(() => { if (at < 40) s.write(real.subarray(at, ++at)); }, 60);
    s.on('close', () => clearInterval(timer));
  };
  const start = server.log.length;
  const ends = [() => {}, (s) => s.write(real.subarray(0, 1)), (s) => s.write(real.subarray(0, 60)), (s) => s.write(real), drip].map((say) => new Promise((r) => {
    const s = net.connect(server.port, '127.0.0.1');
    s.on('connect', () => say(s));
    s.on('error', () => {});
    s.on('close', r);
    s.resume();
  }));
  await Promise.all(ends);
  await serves();
  assert.deepStrictEqual(complaints(server.log.slice(start)), []);
});

test('clients that vanish in the middle of a handshake leave nothing behind', async () => {
  const real = await hello();
  await Promise.all(Array.from({ length: 150 }, (_, i) => new Promise((resolve) => {
    const s = net.connect(server.port, '127.0.0.1');
    s.on('error', () => {});
    s.on('close', resolve);
    s.on('connect', () => s.write(i % 3 ? real : real.subarray(0, 30), () => {
      if (i % 2) s.resetAndDestroy(); else if (i % 5) s.destroy(); else s.once('data', () => s.resetAndDestroy());
    }));
    if (i % 5 === 0 && i % 3 === 0 && i % 2 === 0) s.destroy(); // nothing will come
  })));
  await serves();
});

test('an old connection does not notice what others do', async () => {
  const s = await shake();
  await until(async () => { await serves(); return true; }, 'it serves');
  assert.match(await get(s), /200 OK/);
  s.destroy();
});
