// idle.js PORT PID TOKEN COUNT: RSS that COUNT idle proxied WebSockets cost the process PID, in KiB each.
'use strict';
const fs = require('node:fs');
const net = require('node:net');

const [port, pid, token, count] = process.argv.slice(2);
const rss = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

const open = () => new Promise((resolve, reject) => {
  const c = net.connect(Number(port), '127.0.0.1');
  c.on('error', reject);
  c.on('connect', () => c.write(`GET /ws HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
    `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${token}\r\n\r\n`));
  c.once('data', (d) => (/^HTTP\/1.1 101/.test(d.toString()) ? resolve(c) : reject(new Error(d.toString()))));
});

(async () => {
  const all = [];
  for (let i = 0; i < 50; i++) all.push(await open());
  const before = rss();
  for (let i = 0; i < Number(count); i += 50) all.push(...(await Promise.all(Array.from({ length: 50 }, open))));
  const after = rss();
  console.log(`proxy.idle_rss: ${((after - before) / Number(count)).toFixed(2)} KiB per idle connection (n=${count})`);
  for (const c of all) c.destroy();
})().catch((e) => { console.error(e); process.exit(1); });
