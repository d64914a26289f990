// A host with 10,000 machines at Hetzner's double, nine of ten running: what one sweep of them costs in requests and time, and how many
// sweeps an hour the budget allows, of which it leaves half to users. No validator: it is the host that is measured.
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
  const out = (await promisify(execFile)(binary, [path.join(root, 'tests/bench/hetzner.lua'), path.join(dir, 'h'), z.url, z.token, N], { timeout: 300000, killSignal: 'SIGKILL' })).stdout;
  const ms = [...out.matchAll(/^sweep\t([\d.]+)$/gm)].map((m) => Number(m[1])).sort((a, b) => a - b);
  const [, sweeps, drift, orphans] = /^told\t(\d+)\t(\d+)\t(\w+)/m.exec(out);
  if (Number(sweeps) !== ms.length || drift !== '0' || orphans !== 'none') throw new Error(`the records are not what there is:\n${out}`);
  if (z.requests.some((r) => r.status === 429)) throw new Error(`Hetzner had to refuse:\n${out}`);
  if (z.requests.some((r) => r.method !== 'GET')) throw new Error('a sweep changed something');
  if (z.rate.left < HOUR / 2 - 1) throw new Error(`only ${z.rate.left} requests are left to users`);
  const each = z.requests.length / ms.length;
  console.log(`hetzner.sweep.requests: ${each.toFixed(0)} of ${HOUR} an hour, for ${N} machines: ${(each / HOUR).toFixed(2)} of an hour's`);
  console.log(`hetzner.sweep.ms: ${ms[ms.length >> 1].toFixed(0)} ms (${ms[0].toFixed(0)}-${ms[ms.length - 1].toFixed(0)}, n=${ms.length})`);
  console.log(`hetzner.sweeps: ${(HOUR / 2 / each).toFixed(1)} an hour for good, ${ms.length} at once from a full budget, then one was put off`);
  await z.world.close();
  await z.stop();
  fs.rmSync(dir, { recursive: true, force: true });
})();
