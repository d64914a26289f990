// slow.js: SLOW (10,000) connections that say nothing, drip a byte now and then, or read slowly, a third each, and beside them a
// client that asks as it should. Two processes: this one measures, the other is the flood.
//
//   node tests/bench/slow.js          the figures
//   node tests/bench/slow.js flood PORT COUNT KEY   (started by the first)
'use strict';
const fs = require('node:fs');
const net = require('node:net');
const { spawn } = require('node:child_process');
const { Server, until } = require('../lib/cchost.js');

const SLOW = Number(process.env.SLOW || 10000);
const ANSWERS = 8;
const ASKS = Number(process.env.ASKS || 3000);

// Keeps `count` connections open: one that was ended is opened again. Says what it has once a second.
function flood(port, count, key) {
  const n = { open: 0, ended: 0, failed: 0 };
  const begin = (i) => {
    const s = net.connect({ port, host: '127.0.0.1', localAddress: `127.0.${1 + i % 20}.1` });
    let timer;
    s.on('connect', () => {
      n.open++;
      s.up = true;
      if (i % 3 === 1) { // a head, a byte every two seconds
        const text = `GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ${'x'.repeat(1000)}\r\n\r\n`;
        let at = 0;
        timer = setInterval(() => s.write(text[at++ % text.length]), 2000);
      }
      if (i % 3 === 2) { // large answers, read a little at a time: more of them than the kernel would keep for the server
        s.write(`GET /instances?limit=1000 HTTP/1.1\r\nHost: a\r\nX-API-Key: ${key}\r\n\r\n`.repeat(ANSWERS));
        s.pause();
        timer = setInterval(() => s.read(10), 1000);
      }
    });
    if (i % 3 !== 2) s.resume();
    s.on('error', () => { n.failed++; });
    s.on('close', () => {
      clearInterval(timer);
      if (s.up) { n.open--; n.ended++; }
      setTimeout(begin, 200, i);
    });
  };
  for (let i = 0; i < count; i++) setTimeout(begin, i / 4, i);
  setInterval(() => console.log(JSON.stringify(n)), 500);
}

const told = (name, list) => {
  const s = list.slice().sort((a, b) => a - b);
  const at = (q) => s[Math.min(s.length - 1, Math.floor(q * s.length))].toFixed(1);
  console.log(`slow.${name}: p50 ${at(0.5)} p99 ${at(0.99)} max ${at(1)} ms (n=${s.length})`);
};

const memory = (pid) => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

// Asks one after the other, some 250 a second: reads, and every tenth time a change. -> ms of each
async function ask(s, ids) {
  const times = [];
  for (let i = 0; i < ASKS; i++) {
    const start = process.hrtime.bigint();
    const r = i % 10 ? await s.call('GET', `/instances/${ids[i % ids.length]}`)
      : await s.call('PATCH', `/instances/${ids[i % ids.length]}`, { labels: { n: String(i) } });
    times.push(Number(process.hrtime.bigint() - start) / 1e6);
    if (r.status !== 200) throw new Error(`${r.status} ${r.text}`);
    await new Promise((done) => setTimeout(done, 3));
  }
  return times;
}

async function main() {
  const s = await Server.start({ provider: 'mock', http_connections: SLOW }, null, { wrap: ['taskset', '-c', '0'] });
  const ids = [];
  for (let i = 0; i < 100; i++) ids.push((await s.call('POST', '/instances?wait=30', {})).body.id);
  const before = memory(s.child.pid);
  told('alone', await ask(s, ids));
  const child = spawn('taskset', ['-c', '1', process.execPath, __filename, 'flood', s.port, SLOW, s.key], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill('SIGKILL'));
  let flood_;
  let most = 0;
  child.stdout.on('data', (d) => { flood_ = JSON.parse(String(d).trim().split('\n').pop()); most = Math.max(most, flood_.open); });
  await until(() => flood_?.open > SLOW * 0.9, () => `the flood stands: ${JSON.stringify(flood_)}`, 120);
  s.agent.destroy(); // a connection that idled for over 2 s makes room at the bound, perhaps just as it is used again
  told('beside', await ask(s, ids));
  console.log(`slow.flood: ${most} open at most of ${SLOW}, ${flood_.ended} ended by the server meanwhile; memory ${before.toFixed(0)} -> ${memory(s.child.pid).toFixed(0)} MiB`);
  child.kill('SIGKILL');
  await new Promise((r) => child.on('exit', r));
  await s.stop();
}

if (process.argv[2] === 'flood') flood(Number(process.argv[3]), Number(process.argv[4]), process.argv[5]); else main();
