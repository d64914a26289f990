// 10,000 machines at Hetzner's double, nine of ten running: what one sweep of them costs in requests and time, and how many sweeps an
// hour the budget allows, of which it leaves half to users. No validator: it is the driver that is measured.
'use strict';
const { execFile } = require('node:child_process');
const { promisify } = require('node:util');
const fs = require('node:fs');
const path = require('node:path');
const { Hetzner } = require('../lib/hetzner.js');
const { root, binary, temp } = require('../lib/cchost.js');

const N = Number(process.env.MACHINES || 10000);
const HOUR = 3600;

(async () => {
  const z = await Hetzner.start({ checked: false, limit: HOUR });
  const dir = temp();
  z.world.seed(N);
  const out = (await promisify(execFile)(binary, [path.join(root, 'tests/bench/hetzner.lua'), path.join(dir, 'h'), z.url, z.token])).stdout;
  const lists = [...out.matchAll(/^list\t(\d+)\t([\d.]+)$/gm)].map((m) => ({ n: Number(m[1]), ms: Number(m[2]) }));
  const [, code, after] = /^wait\t(\w+)\t([\d.]+)$/m.exec(out);
  if (lists.some((l) => l.n !== N)) throw new Error(`not all were listed:\n${out}`);
  if (code !== 'limit' || z.requests.some((r) => r.status === 429)) throw new Error(`Hetzner had to refuse:\n${out}`);
  if (z.rate.left < HOUR / 2 - 1) throw new Error(`only ${z.rate.left} requests are left to users`);
  const each = z.requests.length / lists.length;
  const ms = lists.map((l) => l.ms).sort((a, b) => a - b);
  console.log(`hetzner.sweep.requests: ${each.toFixed(0)} of ${HOUR} an hour, for ${N} machines`);
  console.log(`hetzner.sweep.ms: ${ms[ms.length >> 1].toFixed(0)} ms (${ms[0].toFixed(0)}-${ms[ms.length - 1].toFixed(0)}, n=${ms.length})`);
  console.log(`hetzner.sweeps: ${(HOUR / 2 / each).toFixed(1)} an hour for good, ${lists.length} at once from a full budget; the next after ${Number(after).toFixed(0)} s`);
  await z.world.close();
  await z.stop();
  fs.rmSync(dir, { recursive: true, force: true });
})();
