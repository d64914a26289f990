'use strict';
// `cchost serve` with certificates: what it does with good and bad ones, new ones under load, streams, terminals, its end.
const test = require('node:test');
const assert = require('node:assert');
const { execFile, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const https = require('node:https');
const tls = require('node:tls');
const { Server, complaints, until, temp, binary } = require('../lib/cchost.js');
const { Stream } = require('../lib/events.js');
const { Terminal } = require('../lib/terminal.js');
const { make } = require('./certs.js');

const dir = temp();
let ca;
test.before(() => {
  make(dir, 'root', { names: ['the tests'], ip: [] });
  ca = fs.readFileSync(`${dir}/root.crt`);
});
test.after(() => fs.rmSync(dir, { recursive: true, force: true }));

let made = 0;
// A pair of its own, in files that a test may change. -> {cert, key}
function pair(options = {}) { return make(dir, `pair${++made}`, { ca: 'root', ...options }); }
const settings = (p, more = {}) => ({ provider: 'mock', tls_cert: p.cert, tls_key: p.key, ...more });
async function start(t, p, more) {
  const s = await Server.start(settings(p, more), null, { ca });
  t.after(() => s.child.exitCode === null && s.kill()); // the test failed half-way
  return s;
}

const quiet = (s) => assert.deepStrictEqual(complaints(s.log), [], s.log);
const run = (...args) => new Promise((resolve) => execFile(...args, (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr })));

// The serial number of the certificate that a new connection is shown.
function serial(s) {
  return new Promise((resolve, reject) => {
    const c = tls.connect({ host: '127.0.0.1', port: s.port, ca }, () => { resolve(c.getPeerCertificate().serialNumber); c.destroy(); });
    c.on('error', reject);
  });
}
// Puts what pair `from` holds in the place of `to`, as renewal tools do.
function replace(to, from, which = ['cert', 'key']) {
  for (const k of which) {
    fs.copyFileSync(from[k], `${to[k]}.new`);
    fs.renameSync(`${to[k]}.new`, to[k]);
  }
}

test('the API over https, with curl and with Node, kept alive', async (t) => {
  const s = await start(t, pair());
  assert.match(s.url, /^https:/);
  const c = await run('curl', ['-sS', '--http2', '--cacert', `${dir}/root.crt`, '-w', '%{http_version} %{ssl_verify_result} %{num_connects}\n',
    `${s.url}/healthz`, `${s.url}/healthz`, '-o', `${dir}/o1`, '-o', `${dir}/o2`]);
  assert.strictEqual(c.stdout, '1.1 0 1\n1.1 0 0\n', c.stderr);
  assert.strictEqual((await run('curl', ['-sS', `${s.url}/healthz`])).code, 60, 'an unknown root is not trusted');
  const r = await s.call('POST', '/instances', { name: 'one', image: 'x' });
  assert.strictEqual(r.status, 201, r.text);
  await s.running('one');
  const all = await Promise.all(Array.from({ length: 300 }, () => s.call('GET', '/instances')));
  assert.ok(all.every((x) => x.status === 200 && x.body.length === 1));
  await s.stop();
  quiet(s);
});

test('a stream of events, idle connections and a request under way: an orderly end', async (t) => {
  const s = await start(t, pair(), { mock: '{create={latency_ms=300}}' });
  const auth = { 'X-API-Key': s.key };
  const stream = await Stream.open(s.port, '/events', auth, ca);
  assert.strictEqual(stream.status, 200);
  for (let i = 0; i < 5; i++) assert.strictEqual((await s.call('POST', '/instances', { name: `m${i}`, image: 'x' })).status, 201);
  await stream.has(10);
  const idle = tls.connect({ host: '127.0.0.1', port: s.port, ca });
  const ended = new Promise((r) => { idle.on('end', r); idle.resume(); });
  await new Promise((r) => idle.on('secureConnect', r));
  await s.deleteAll();
  const late = s.call('POST', '/instances', { name: 'late', image: 'x' });
  await late;
  await s.deleteAll();
  await s.stop();
  await Promise.all([stream.closed, ended]); // ended: a close_notify came first, or Node would have said so
  assert.ok(stream.ended && !stream.broken);
});

test('a terminal of a real machine over wss', async (t) => {
  const s = await Server.start({ tls_cert: pair().cert, tls_key: `${dir}/pair${made}.key`, terminal_command: 'exec bash --norc' }, null, { ca });
  t.after(() => s.child.exitCode === null && s.stop());
  const auth = { 'X-API-Key': s.key };
  const r = await s.call('POST', '/instances', { name: 'box' });
  assert.strictEqual(r.status, 201, r.text);
  const tty = await Terminal.open(`${s.url}/instances/box/terminal`, auth, undefined, ca);
  tty.type('echo $((6*7)); stty size\r');
  await tty.sees(/\r42\r\n/);
  await tty.sees(/24 80/);
  tty.resize(100, 30);
  tty.type('stty size; head -c 3000000 /dev/zero | tr "\\0" x; echo; echo do""ne\r');
  await tty.sees(/30 100/);
  await tty.sees(/\ndone\r\n/, 30);
  assert.ok(tty.raw > 3000000);
  const other = await Terminal.open(`${s.url}/instances/box/terminal`, auth, undefined, ca);
  other.ws._socket.destroy(); // a laptop that is shut: no close frame, no close_notify
  await other.closed;
  tty.type('exit 0\r');
  await tty.closed;
  assert.strictEqual(tty.code, 1000);
  await s.stop();
});

test('new certificates under load: no request fails, old connections go on', async (t) => {
  const p = pair(), q = pair({ kind: 'rsa' });
  const s = await start(t, p);
  const serials = [await serial(s)];
  let stop = false, n = 0;
  const old = new https.Agent({ keepAlive: true, maxSockets: 4, ca });
  const get = (agent) => new Promise((resolve, reject) => {
    https.get(`${s.url}/healthz`, { agent, ca }, (res) => { res.resume(); res.on('error', reject); res.on('end', () => { n++; resolve(res); }); }).on('error', reject);
  });
  const load = [old, old, old, old, false, false, false].map(async (agent) => {
    while (!stop) assert.strictEqual((await get(agent)).statusCode, 200);
  });
  await until(() => n > 100, 'the load is on');
  for (const next of [q, pair(), pair({ kind: 'ec384' })]) {
    const before = n;
    replace(p, next);
    s.child.kill('SIGHUP');
    await until(async () => !serials.includes(await serial(s)), 'the new certificate is shown');
    serials.push(await serial(s));
    await until(() => n > before + 100, 'requests go on');
  }
  stop = true;
  await Promise.all(load);
  const sockets = await until(() => { const x = Object.values(old.freeSockets).flat(); return x.length === 4 && x; }, 'all four are free');
  assert.ok(sockets.every((x) => x.getPeerCertificate().serialNumber === serials[0]), 'old connections have lived through it');
  old.destroy();
  await s.stop();
  assert.ok(!/level=error/.test(s.log) && s.log.match(/certificates loaded anew/g).length >= 3, s.log);
});

test('files are looked at without a signal; a bad pair is told once and the old one stays', async (t) => {
  const p = pair(), q = pair(), r = pair();
  const s = await start(t, p);
  const first = await serial(s);
  replace(p, q, ['cert']); // and the key comes later
  await s.says(/level=warn.*the old ones stay.*does not belong to the certificate.*\n/);
  assert.strictEqual(await serial(s), first);
  replace(p, q, ['key']);
  await s.says(/certificates loaded anew/);
  const second = await serial(s);
  assert.notStrictEqual(second, first);
  fs.writeFileSync(p.cert, 'no certificate\n');
  await s.says(/holds no certificate/);
  const said = s.log.match(/the old ones stay/g).length;
  await s.says(new RegExp('')); // it is alive
  s.child.kill('SIGHUP'); // asked in so many words, it says it again
  await until(() => s.log.match(/the old ones stay/g).length === said + 1, 'it tries again when told to');
  assert.strictEqual(await serial(s), second);
  fs.unlinkSync(p.cert);
  await s.says(/cannot be read/);
  assert.strictEqual(await serial(s), second);
  replace(p, r);
  await until(async () => ![first, second].includes(await serial(s)), 'a good pair heals it');
  await s.stop();
});

// Each must be refused before anything is served, with the file and the reason.
const faults = {
  'a file that is not there': [() => ({ cert: `${dir}/none.crt`, key: pair().key }), /tls-cert.*none\.crt/],
  'a folder': [() => ({ cert: dir, key: pair().key }), /tls-cert.*a file that can be read expected/],
  'a file without a certificate': [() => ({ cert: pair().key, key: pair().key }), /\.key: holds no certificate/],
  'a file without a key': [() => ({ cert: pair().cert, key: pair().cert }), /\.crt: holds no private key/],
  'the key of another': [() => ({ cert: pair().cert, key: pair().key }), /the key in .*\.key does not belong to the certificate in .*\.crt/],
  'the key of another kind': [() => ({ cert: pair().cert, key: pair({ kind: 'rsa' }).key }), /does not belong to/],
  'a certificate that is cut off': [() => { const p = pair(); fs.writeFileSync(p.cert, fs.readFileSync(p.cert, 'utf8').slice(0, 400)); return p; }, /its certificate cannot be read/],
  'a chain that is broken': [() => { const p = pair(); fs.appendFileSync(p.cert, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'); return p; }, /one of its certificates cannot be read/],
  'a key that is cut off': [() => { const p = pair(); fs.writeFileSync(p.key, fs.readFileSync(p.key, 'utf8').slice(0, 120)); return p; }, /\.key: its private key cannot be read/],
  'a key under a passphrase': [() => {
    const p = pair();
    spawnSync('openssl', ['ec', '-in', p.key, '-out', `${p.key}.enc`, '-aes256', '-passout', 'pass:x']);
    return { cert: p.cert, key: `${p.key}.enc` };
  }, /the key is encrypted/],
  'an RSA key of 1024 bits': [() => pair({ kind: 'rsa1024', ca: null }), /an RSA key needs 2048 bits/],
  'a key of a kind that TLS 1.2 does not sign with': [() => pair({ kind: 'ed25519', ca: null }), /\.(key|crt): /],
  'a certificate for clients': [() => pair({ extra: ['extendedKeyUsage=clientAuth'] }), /not meant for a TLS server/],
  'a certificate that must not sign': [() => pair({ extra: ['keyUsage=keyEncipherment'] }), /not meant for a TLS server/],
  'more certificates than keys': [() => ({ cert: `${pair().cert},${pair().cert}`, key: pair().key }), /2 certificates and 1 keys/],
  'too many of them': [() => { const p = pair(); return { cert: Array(65).fill(p.cert).join(), key: Array(65).fill(p.key).join() }; }, /at most 64 certificates/],
  'a unix socket': [() => pair(), /TLS needs a TCP address/, `--listen-addr=unix:${dir}/sock`],
};
for (const [name, [files, want, listen = '--listen-addr=127.0.0.1:0']] of Object.entries(faults)) {
  test(`does not start with ${name}`, async () => {
    const p = files();
    for (const command of ['check', 'serve']) {
      const r = await run(binary, [command, listen, `--data-dir=${dir}/data`, '--provider=mock', `--tls-cert=${p.cert}`, `--tls-key=${p.key}`]);
      assert.ok(r.code === 1 || r.code === 2, `exit code ${r.code}: ${r.stderr}`);
      assert.match(r.stderr, want);
      assert.ok(!/ready|left open|Sanitizer|runtime error|traceback/.test(r.stderr), r.stderr);
      assert.ok(!fs.existsSync(`${dir}/data`), 'nothing was opened');
    }
  });
}

test('cchost check warns when no certificate bears the name of BASE_URL', async () => {
  const p = pair({ names: ['a.test', '*.b.test'] });
  const check = async (url) => (await run(binary, ['check', '--provider=mock', `--tls-cert=${p.cert}`, `--tls-key=${p.key}`, `--base-url=${url}`])).stderr;
  for (const url of ['https://A.test', 'https://x.b.test:8443', 'https://127.0.0.1', 'https://[::1]']) assert.strictEqual(await check(url), '');
  assert.match(await check('https://b.test'), /^cchost: warning: --tls-cert \(command line\): no certificate bears the name b\.test$/m);
});

test('an expired certificate is shown with a warning', async (t) => {
  const p = pair({ days: 1 });
  const names = ['openssl', 'x509', '-in', p.cert, '-signkey', p.key, '-days', '-1', '-out', p.cert];
  assert.strictEqual(spawnSync(names[0], names.slice(1)).status, 0);
  const s = await Server.start(settings(p), null, { ca: fs.readFileSync(p.cert) });
  t.after(() => s.child.exitCode === null && s.kill());
  assert.match(s.log, /level=warn.*the certificate has expired/);
  s.child.kill('SIGHUP');
  await s.says(/module=tls msg=".*the certificate has expired".*\n.*certificates loaded anew/);
  assert.strictEqual((await run('curl', ['-sk', `${s.url}/healthz`])).code, 0);
  const code = await new Promise((r) => tls.connect({ host: '127.0.0.1', port: s.port, ca: fs.readFileSync(p.cert) }).on('error', (e) => r(e.code)));
  assert.strictEqual(code, 'CERT_HAS_EXPIRED');
  s.own = false; // stop() would ask over https to delete what is there
  await s.stop();
});
