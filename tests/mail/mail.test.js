// Mail goes to a real mail server (aiosmtpd), whole and only where it may; and each way it can fail is told as what it is.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { MailServer, certificate } = require('../lib/smtp.js');
const { binary, temp, until } = require('../lib/cchost.js');

const PASSWORD = 'pa55 w%rd"\\ä';
const login = { user: 'ann', password: PASSWORD };
const signed = { username: 'ann', password: PASSWORD };

// mail.send of these options in a process of its own. -> { result (or a list, with count), log, give_up() after `ready` }
function sending(server, options) {
  const o = {
    host: server.host, port: server.port, ca: server.ca, tls: 'starttls', timeout: 20,
    from: 'noreply@cchost.example', to: 'bob@example.org', subject: 'Hello', text: 'Hi', ...options,
  };
  for (const k of Object.keys(o)) if (o[k] === null) delete o[k];
  const dir = temp();
  const file = path.join(dir, 'mail.json');
  fs.writeFileSync(file, JSON.stringify(o));
  const child = spawn(binary, [path.join(__dirname, 'send.lua'), file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let log = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { log += d; });
  const exited = new Promise((r) => child.on('exit', (code, signal) => r(code ?? signal)));
  return {
    giveUp: async () => { await until(() => out.includes('"ready"'), 'the sender is ready'); child.kill('SIGUSR1'); },
    result: (async () => {
      const code = await exited;
      fs.rmSync(dir, { recursive: true });
      assert.strictEqual(code, 0, `the sender ended with ${code}: ${log}`);
      assert.doesNotMatch(log, /left open|Sanitizer|runtime error/);
      assert.ok(!(out + log).includes(PASSWORD), 'the password was written');
      const lines = out.trim().split('\n').slice(1).map((l) => JSON.parse(l));
      return o.count ? lines : lines[0];
    })(),
  };
}
const send = (server, options = {}) => sending(server, options).result;

// A test with a server of its own, which at the end has no open connection.
function withServer(name, options, fn) {
  test(name, async () => {
    const server = await MailServer.start(options);
    let ok = false;
    try {
      await fn(server);
      ok = true;
    } finally {
      await server.stop().catch((e) => { if (ok) throw e; });
    }
  });
}

// Long texts: where they first differ, not all of them.
function same(got, want) {
  let at = 0;
  while (at < want.length && got[at] === want[at]) at++;
  assert.ok(got === want, `from ${at}: ${JSON.stringify(got.slice(at, at + 80))}, want ${JSON.stringify(want.slice(at, at + 80))}`);
}

function failed(r, code, retryable, text) {
  assert.strictEqual(r.code, code, JSON.stringify(r));
  assert.strictEqual(r.retryable, retryable, JSON.stringify(r));
  assert.match(r.message, text);
}

withServer('a mail arrives over STARTTLS, signed in, as it was written', login, async (server) => {
  const text = ['.', '..', '.a dot', 'a line ' + 'x'.repeat(3000), 'ümläut € 😀 ' + 'ß'.repeat(200), ' spaces at both ends  ', '\ttabs\t', '=3D = equals=', 'From here', '', '', 'end'].join('\n') + '\n';
  const html = '<p>Grüße &amp; <a href="https://example.org/?token=a.b.c&x=1">sign in</a></p>\n.\n';
  assert.deepStrictEqual(await send(server, { ...signed, subject: 'Grüße an 😀, und noch viel mehr Wörter, bis die Zeile lang genug ist', text, html, from_name: 'Jörg "J" \\' }), { ok: true });
  const m = await server.next();
  assert.strictEqual(m.from, 'noreply@cchost.example');
  assert.deepStrictEqual(m.to, ['bob@example.org']);
  assert.strictEqual(m.tls, true);
  assert.strictEqual(m.user, 'ann');
  same(m.text, text);
  same(m.html, html);
  assert.deepStrictEqual(m.defects, []);
  assert.strictEqual(m.headers.subject, 'Grüße an 😀, und noch viel mehr Wörter, bis die Zeile lang genug ist');
  assert.match(m.headers.from, /J.rg.*<noreply@cchost\.example>/);
  assert.strictEqual(m.headers.to, 'bob@example.org');
  assert.match(m.headers['message-id'], /^<[0-9a-f]{32}@cchost\.example>$/);
  assert.ok(Math.abs(Date.parse(m.headers.date) - Date.now()) < 600e3, m.headers.date);
  assert.deepStrictEqual(m.names, ['From', 'To', 'Subject', 'Date', 'Message-ID', 'Auto-Submitted', 'MIME-Version', 'Content-Type']);
  assert.ok(m.data.toString('latin1').split('\r\n').every((l) => l.length <= 78 && /^[\t -~]*$/.test(l)));
  assert.match(server.lines.join('\n'), /EHLO cchost\.example/);
});

withServer('a message of ours is delivered to the byte: dots, long lines, every 8-bit byte', {}, async (server) => {
  const bytes = Array.from({ length: 128 }, (_, i) => String.fromCodePoint(128 + i)).join('');
  const lines = ['From: a@b.example', 'Subject: bytes', '', '.', '..', '...', '', '.x', 'x'.repeat(998), '.' + 'y'.repeat(900), bytes];
  for (let i = 0; i < 20000; i++) lines.push(i % 3 ? '.' : `.${i}`, ''); // so that dots fall on every edge of libcurl's buffers
  const message = lines.join('\r\n') + '\r\n';
  assert.deepStrictEqual(await send(server, { message }), { ok: true });
  const m = await server.next();
  assert.ok(m.data.equals(Buffer.from(message)), 'what arrived is not what was sent');
});

withServer('ten at once all arrive, on two threads', login, async (server) => {
  const results = await send(server, { ...signed, count: 10 });
  assert.deepStrictEqual(results, Array(10).fill({ ok: true }));
  for (let i = 0; i < 10; i++) await server.next();
});

withServer('TLS from the first byte', { ...login, tls: 'tls', auth_plain: true }, async (server) => {
  assert.deepStrictEqual(await send(server, { ...signed, tls: 'tls' }), { ok: true });
  assert.strictEqual((await server.next()).user, 'ann');
  failed(await send(server, { ...signed, tls: 'tls', ca: null }), 'denied', false, /certificate is not trusted/);
});

withServer('without TLS, where that was asked for', { tls: 'none' }, async (server) => {
  assert.deepStrictEqual(await send(server, { tls: 'none' }), { ok: true });
  assert.strictEqual((await server.next()).tls, false);
});

withServer('a wrong password: denied, and not to be tried again', login, async (server) => {
  failed(await send(server, { username: 'ann', password: 'wrong' }), 'denied', false, /does not accept the user name or the password \(535\)/);
  assert.strictEqual((await server.says('auth')).ok, false);
  assert.strictEqual(server.messages, 0);
});

withServer('no password where one is needed: denied', login, async (server) => {
  failed(await send(server), 'denied', false, /530/);
  assert.strictEqual(server.messages, 0);
});

withServer('a password for a server that asks for none: it gets no mail', {}, async (server) => {
  failed(await send(server, signed), 'denied', false, /offers no way to authenticate/);
  assert.strictEqual(server.messages, 0);
});

withServer('a certificate that nobody trusts: neither password nor mail goes there', login, async (server) => {
  failed(await send(server, { ...signed, ca: null }), 'denied', false, /certificate is not trusted/);
  const dir = temp();
  const other = certificate(dir).cert;
  failed(await send(server, { ...signed, ca: other }), 'denied', false, /certificate is not trusted/);
  fs.rmSync(dir, { recursive: true });
  failed(await send(server, { ...signed, ca: '/nowhere/ca.pem' }), 'denied', false, /certificate/);
  failed(await send(server, { ...signed, host: '127.0.0.2' }), 'unavailable', true, /cannot be reached/);
  assert.ok(!server.lines.some((l) => /AUTH|MAIL/.test(l)), server.lines.join('\n'));
});

withServer('a server that offers no STARTTLS: refused before a password or an address is said', { ...login, tls: 'none', auth_plain: true }, async (server) => {
  failed(await send(server, signed), 'denied', false, /no TLS \(STARTTLS\)/);
  assert.ok(!server.lines.some((l) => /AUTH|MAIL/.test(l)), server.lines.join('\n'));
});

test('a password is not sent to another machine without TLS', async () => {
  failed(await send({ host: 'mail.example', port: 25 }, { ...signed, tls: 'none' }), 'denied', false, /without TLS/);
});

for (const at of ['greeting', 'MAIL', 'RCPT', 'DATA']) {
  withServer(`a 4xx to ${at}: unavailable, worth another try, told with the server's words`, { ...login, replies: { [at]: '451 4.3.0 come again' } }, async (server) => {
    failed(await send(server, signed), 'unavailable', true, at === 'greeting' ? /451/ : /451 4\.3\.0 come again/);
    assert.strictEqual(server.messages, 0);
  });
  withServer(`a 5xx to ${at}: not to be tried again`, { ...login, replies: { [at]: '550 5.1.1 no such user' } }, async (server) => {
    failed(await send(server, signed), 'invalid', false, at === 'greeting' ? /550/ : /550 5\.1\.1 no such user/);
    assert.strictEqual(server.messages, 0);
  });
}

withServer('words of the server that hold the password are not repeated', { ...login, replies: { RCPT: '550 I know secret123' }, password: 'secret123' }, async (server) => {
  const r = await send(server, { username: 'ann', password: 'secret123' });
  failed(r, 'invalid', false, /550$/);
});

for (const at of ['greeting', 'EHLO', 'RCPT', 'DATA']) {
  withServer(`a server that stalls at ${at}: a timeout; or the sender gives up`, { ...login, stall: at }, async (server) => {
    failed(await send(server, { ...signed, timeout: 1 }), 'timeout', true, /in time/);
    const s = sending(server, signed);
    await server.says('stalled', 2);
    await s.giveUp();
    failed(await s.result, 'cancelled', false, /given up/);
  });
  if (at !== 'greeting') {
    withServer(`a server that hangs up at ${at}: unavailable`, { ...login, drop: at }, async (server) => {
      failed(await send(server, signed), 'unavailable', true, /cannot be spoken to/);
    });
  }
}

withServer('a server that stalls at QUIT has taken the mail', { ...login, stall: 'QUIT' }, async (server) => {
  assert.deepStrictEqual(await send(server, signed), { ok: true });
  await server.next();
});

test('nobody listens; no such name; one who listens and never speaks TLS', async () => {
  failed(await send({ host: '127.0.0.1', port: 1 }), 'unavailable', true, /cannot be reached/);
  failed(await send({ host: 'no-such-host.invalid', port: 25 }, { timeout: 5 }), 'unavailable', true, /cannot be reached/);
  const sockets = [];
  const dumb = net.createServer((s) => { sockets.push(s); s.on('error', () => {}); s.write('220 hello\r\n'); s.on('data', () => s.end('what?\r\n')); });
  await new Promise((r) => dumb.listen(0, '127.0.0.1', r));
  failed(await send({ host: '127.0.0.1', port: dumb.address().port }, { tls: 'tls' }), 'denied', true, /no TLS/);
  for (const s of sockets) s.destroy();
  await new Promise((r) => dumb.close(r));
});
