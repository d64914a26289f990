// typist.js N: inside of a booted system (booted.js) it types at random in N terminals of the machine `near`, each a cat that says
// so, and goes on at its byte when a terminal is told to come again. USR1: says so when each has got 300 bytes more. USR2: types
// no more, and says what came back of it all.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const { SessionTerminal } = require('../../lib/session.js');
const { until } = require('../../lib/cchost.js');

const headers = { 'X-API-Key': fs.readFileSync('/var/lib/cchost/api_key', 'utf8').trim() };
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const url = 'ws://127.0.0.1:8080/instances/near/terminal';

async function run(n) {
  const all = [];
  for (let i = 0; i < n; i += 1) {
    const t = await SessionTerminal.open(url, { session: `t${i}`, headers, pause: 100 });
    await t.sees(/cat runs/, 60);
    all.push(Object.assign(t, { before: t.length, typed: [] }));
  }
  let typing = true;
  const stopped = new Promise((r) => process.once('SIGUSR2', () => { typing = false; r(); }));
  process.on('SIGUSR1', async () => {
    const at = all.map((t) => t.length);
    await until(() => all.every((t, k) => t.ready && t.length > at[k] + 300), 'each has got more', 60);
    say({ more: true });
  });
  say({ typing: process.pid });
  for (let i = 0; typing; i += 1) {
    const piece = crypto.randomBytes(1 + (i % 60));
    all[i % n].typed.push(piece);
    all[i % n].type(piece);
    await new Promise((r) => setTimeout(r, 5));
  }
  await stopped;
  const want = (t) => Buffer.concat(t.typed);
  await until(() => all.every((t) => t.pending.length === 0 && t.length - t.before >= want(t).length), 'all is back', 60).catch(() => {});
  const out = { bytes: 0, lost: 0, wrong: 0, connections: 0 };
  for (const t of all) {
    const got = t.bytes.subarray(t.before), is = want(t);
    out.bytes += is.length;
    out.connections += t.opened;
    out.lost += Math.max(0, is.length - got.length);
    if (!got.equals(is.subarray(0, got.length))) out.wrong += 1;
  }
  say(out);
  process.exit();
}

run(Number(process.argv[2])).catch((e) => { say({ failed: e.stack }); process.exit(1); });
