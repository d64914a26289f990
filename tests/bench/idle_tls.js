// idle_tls.js NAME PORT COUNT PID...: RSS that COUNT idle connections over TLS (and plain on PORT + 1) cost the processes, in KiB each.
'use strict';
const fs = require('node:fs');
const net = require('node:net');
const tls = require('node:tls');

const [name, port, count, ...pids] = process.argv.slice(2);
const rss = () => pids.reduce((n, pid) => n + Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]), 0);

// A connection that has asked once and keeps quiet.
const ask = (c, resolve, reject) => {
  c.on('error', reject);
  c.once('data', () => resolve(c));
  c.write('GET / HTTP/1.1\r\nHost: b\r\n\r\n');
};
const kinds = {
  plain: () => new Promise((resolve, reject) => { const c = net.connect(Number(port) + 1, '127.0.0.1', () => ask(c, resolve, reject)); }),
  silent: () => new Promise((resolve, reject) => { const c = net.connect(Number(port), '127.0.0.1', () => resolve(c)); c.on('error', reject); }),
  idle: () => new Promise((resolve, reject) => { const c = tls.connect({ port: Number(port), host: '127.0.0.1', rejectUnauthorized: false }, () => ask(c, resolve, reject)); c.on('error', reject); }),
};

(async () => {
  for (const [kind, open] of Object.entries(kinds)) {
    const all = [];
    for (let i = 0; i < 50; i++) all.push(await open());
    const before = rss();
    for (let i = 0; i < Number(count); i += 50) all.push(...(await Promise.all(Array.from({ length: 50 }, open))));
    console.log(`tls.${name}.${kind}_rss: ${((rss() - before) / Number(count)).toFixed(2)} KiB per ${kind} connection (n=${count})`);
    for (const c of all) c.destroy();
  }
})().catch((e) => { console.error(e); process.exit(1); });
