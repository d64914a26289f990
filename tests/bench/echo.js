// echo.js PORT: accepts WebSocket upgrades and sends every byte back (the backend of idle.js).
'use strict';
const net = require('node:net');
const crypto = require('node:crypto');

net.createServer((c) => {
  let head = '';
  c.on('error', () => {});
  c.on('data', function first(d) {
    head += d.toString('latin1');
    if (!head.includes('\r\n\r\n')) return;
    c.off('data', first);
    const key = /sec-websocket-key: (\S+)/i.exec(head)[1];
    const accept = crypto.createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    c.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    c.pipe(c);
  });
}).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
