// terminals.js [PART...]: figures of terminals through host and agent. echo of a key (echo), beside 100 MB of output (beside),
// and TERMINALS (1000) of them that type while the host is killed 3 times (restarts). Beside the output it is told how long the
// two processes had to wait for a processor, and how long a `cat` behind two pipes takes in the same moments (floor): what
// this machine does to any program.
'use strict';
const { fork, spawn } = require('node:child_process');
const fs = require('node:fs');
const { until } = require('../lib/cchost.js');
const { SessionTerminal } = require('../lib/session.js');
const { world, restarts } = require('../lib/terminals.js');

const N = Number(process.env.TERMINALS || 1000);
const at = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))].toFixed(2);

// Types `keys` keys, each after the echo of the one before. -> ms of each
async function keys(t, count, pause = 0) {
  const out = [];
  for (let i = 0; i < count; i += 1) {
    const begun = performance.now();
    const back = new Promise((r) => { t.onOutput = r; });
    t.type('x');
    await back;
    out.push(performance.now() - begun);
    if (pause) await new Promise((r) => setTimeout(r, pause));
  }
  t.onOutput = null;
  return out;
}

// What a process has had of processors so far, and waited for them, in ms.
function processor(pid) {
  const sum = { ran: 0, waited: 0, times: 0 };
  const [ran, waited, times] = fs.readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ').map(Number);
  return Object.assign(sum, { ran: ran / 1e6, waited: waited / 1e6, times });
}
const since = (a, b) => `ran ${(b.ran - a.ran).toFixed(0)} ms, waited ${(b.waited - a.waited).toFixed(0)} ms in ${b.times - a.times} turns`;

async function join(t) {
  t.connect();
  await t.joined();
}

// A key in the terminal, then one to a `cat` of this process's own, in turn. -> ms of each
async function inTurn(t, count, pause) {
  const cat = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] }), ours = [], floor = [];
  for (let i = 0; i < count; i += 1) {
    ours.push(...await keys(t, 1, pause));
    const begun = performance.now();
    const back = new Promise((r) => { cat.stdout.once('data', r); });
    cat.stdin.write('x');
    await back;
    floor.push(performance.now() - begun);
  }
  cat.stdin.end();
  return { ours, floor };
}

async function echo() {
  const w = await world('stty raw -echo; exec cat');
  const t = w.open({ session: 'a' });
  await join(t);
  await until(async () => (await w.agent.session('a')).foreground === 'cat', 'cat runs');
  await keys(t, 200);
  const ms = (await keys(t, 5000)).sort((a, b) => a - b);
  console.log(`terminals.echo: p50 ${at(ms, 0.5)} ms, p99 ${at(ms, 0.99)} ms, n=${ms.length}`);
  t.again = false;
  t.ws.terminate();
  await w.stop();
}

// Ten terminals are typed at while another one puts out 100 MB, and more.
async function beside() {
  const w = await world('exec bash --norc');
  const others = Array.from({ length: 10 }, (_, i) => w.open({ session: `o${i}` }));
  for (const t of others) await join(t);
  for (const t of others) t.type('stty raw -echo; exec cat\r');
  await until(async () => (await w.agent.call('GET', '/sessions')).body.filter((x) => x.foreground === 'cat').length === 10, 'cats run');
  const before = w.agent.rss();
  const loud = fork(__filename, ['loud', `ws://127.0.0.1:${w.s.port}/instances/box/terminal`, w.s.key]);
  let told = { length: 0 };
  loud.on('message', (m) => { told = m; });
  await until(() => told.length > 1000000, 'it is loud');
  const { length } = told, begun = Date.now(), pids = { agent: w.agent.child.pid, host: w.s.child.pid };
  const had = Object.fromEntries(Object.entries(pids).map(([k, p]) => [k, processor(p)]));
  const all = await Promise.all(others.map((t) => inTurn(t, 300, 10)));
  const [ms, floor] = ['ours', 'floor'].map((k) => all.flatMap((o) => o[k]).sort((a, b) => a - b));
  for (const [k, p] of Object.entries(pids)) console.log(`terminals.beside: the ${k} ${since(had[k], processor(p))}`);
  await until(() => told.length - length > 100000000, '100 MB', 120);
  const took = Date.now() - begun;
  console.log(`terminals.beside: p50 ${at(ms, 0.5)} ms, p99 ${at(ms, 0.99)} ms, n=${ms.length}; floor p50 ${at(floor, 0.5)} ms, p99 ${at(floor, 0.99)} ms; ${((told.length - length) / 1000 / took).toFixed(0)} MB/s beside, the agent grew by ${w.agent.rss() - before} KiB, lost ${told.lost}`);
  for (const t of others) { t.again = false; t.ws.terminate(); }
  loud.kill();
  await w.stop();
}

// A process of its own, so that its work is not in the way of what is measured.
async function loud(url, key) {
  const t = new SessionTerminal(url, { session: 'loud', keepOutput: false, headers: { 'X-API-Key': key } });
  await join(t);
  t.type('while :; do head -c 100000000 /dev/zero | tr "\\0" x | fold -w 100; done\r');
  setInterval(() => process.send({ length: t.length, lost: t.lost }), 50);
}

const parts = {
  echo, beside,
  async restarts() {
    const r = await restarts(N, 3, 300);
    console.log(`terminals.restarts: ${N} terminals, 3 kills: ${r.bytes} bytes typed and echoed, ${r.lost} lost, ${r.wrong} doubled or wrong, ${r.connections} connections`);
    if (r.lost + r.wrong) process.exitCode = 1;
  },
};

(async () => {
  if (process.argv[2] === 'loud') return loud(...process.argv.slice(3));
  const asked = process.argv.slice(2);
  for (const name of asked.length ? asked : Object.keys(parts)) await parts[name]();
  process.exit();
})();
