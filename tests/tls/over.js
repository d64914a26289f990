'use strict';
// Loaded before a test of tests/http, lets it run over TLS as it is: TCP connections become TLS, servers get a certificate.
// Handshakes go to TCP ports of servers only; unix sockets stay plain, as they do in the server.
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const tls = require('node:tls');
const { make } = require('./certs');

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-tls-'));
process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
const pair = make(dir, 'server');
process.env.MUTATIONS ||= '1000'; // each is a handshake
// What the sanitizer keeps of freed memory is no memory of the server's, and the proxy's tests measure that.
if (/proxy/.test(process.argv[1])) process.env.ASAN_OPTIONS = `${process.env.ASAN_OPTIONS || ''}:quarantine_size_mb=1`;
process.env.CCHOST_TEST_TLS = `${pair.cert},${pair.key}`;

function connect(...args) {
  const o = typeof args[0] === 'object' ? { ...args[0] } : { port: args[0], host: args[1] };
  if (o.path) return plain(...args);
  const s = tls.connect({ ...o, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
  s.resetAndDestroy = () => s.destroy(); // a TLS socket of Node's cannot reset
  return s;
}
const plain = net.connect;
net.connect = net.createConnection = connect;
