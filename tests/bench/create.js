// create.js: POST /instances -> first byte of the shell's output, through the whole API on `local` machines.
// One at a time (ONE, default 200), then BURST (default 100) at once. Prints "name: p50 / p99 ms (min-max, n)".
'use strict';
const { Server } = require('../lib/cchost.js');
const WebSocket = require('ws');

const now = () => Number(process.hrtime.bigint()) / 1e6;

function line(name, list) {
  const s = list.slice().sort((a, b) => a - b);
  const at = (q) => s[Math.min(s.length - 1, Math.floor(q * s.length))].toFixed(1);
  console.log(`${name}: p50 ${at(0.5)} p99 ${at(0.99)} ms (${at(0)}-${at(1)}, n=${s.length})`);
}

async function once(s) {
  const start = now();
  const r = await s.call('POST', '/instances', {});
  if (r.status !== 201) throw new Error(r.text);
  const answered = now();
  const ws = new WebSocket(`ws://127.0.0.1:${s.port}/instances/${r.body.id}/terminal`, ['tty'],
    { headers: { 'X-API-Key': s.key }, perMessageDeflate: false });
  const first = await new Promise((resolve, reject) => {
    ws.on('open', () => ws.send('{"AuthToken":"","columns":80,"rows":24}'));
    ws.on('message', (d) => { if (d[0] === 0x30) resolve(now()); });
    ws.on('error', reject);
    ws.on('close', (code) => reject(new Error(`closed ${code}`)));
  });
  ws.terminate();
  return { id: r.body.id, answer: answered - start, first: first - start };
}

(async () => {
  const s = await Server.start({ terminal_command: process.env.TERMINAL || 'exec bash' });
  const ids = [];
  const warm = await once(s);
  ids.push(warm.id);
  const one = [];
  for (let i = 0; i < Number(process.env.ONE || 200); i++) {
    const r = await once(s);
    one.push(r);
    await s.call('DELETE', `/instances/${r.id}`);
  }
  line('create.first_byte_one_at_a_time', one.map((r) => r.first));
  line('create.answer_one_at_a_time', one.map((r) => r.answer));
  const burst = await Promise.all(Array.from({ length: Number(process.env.BURST || 100) }, () => once(s)));
  line('create.first_byte_burst', burst.map((r) => r.first));
  for (const r of burst) ids.push(r.id);
  await Promise.all(ids.map((id) => s.call('DELETE', `/instances/${id}`)));
  await s.stop();
})().catch((e) => { console.error(e); process.exit(1); });
