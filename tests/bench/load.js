// load.js: MACHINES (1,000) created from CLIENTS (100) on the mock with 50 ms of provider latency, then read, stopped and
// deleted; the server has core 0, the clients core 1. Every answer is timed but those that are asked to wait for the end
// of work; none may be lost. Then the same without latency: how many workflows a second there are at most.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { Server, temp } = require('../lib/cchost.js');
const provider = require('../crash/provider.js');

const MACHINES = Number(process.env.MACHINES || 1000);
const CLIENTS = Number(process.env.CLIENTS || 100);
const now = () => Number(process.hrtime.bigint()) / 1e6;

const times = {}; // kind of answer -> ms

function told(name, list) {
  const s = list.slice().sort((a, b) => a - b);
  const at = (q) => s[Math.min(s.length - 1, Math.floor(q * s.length))].toFixed(1);
  console.log(`load.${name}: p50 ${at(0.5)} p99 ${at(0.99)} max ${at(1)} ms (n=${s.length})`);
}

async function timed(s, kind, ...request) {
  const start = now();
  const r = await s.call(...request);
  (times[kind] ||= []).push(now() - start);
  if (r.status >= 300) throw new Error(`${kind}: ${r.text}`);
  return r;
}

// Until the operation of an answer is over.
async function over(s, r) {
  const op = (await s.call('GET', `${r.headers.location}?wait=60`)).body;
  if (op.state !== 'done') throw new Error(JSON.stringify(op));
}

// Each client does its share of `list`, one after the other. -> seconds
async function all(list, fn) {
  const start = now();
  let next = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (next < list.length) await fn(list[next++]);
  }));
  return (now() - start) / 1000;
}

async function run(latency, fn) {
  const dir = temp();
  const state = path.join(dir, 'mock.state');
  const s = await Server.start({ provider: 'mock', mock: `{latency_ms=${latency},state=${JSON.stringify(state)}}`, log_level: 'info' }, dir,
    { wrap: ['taskset', '-c', '0'] });
  await fn(s, state);
  await s.stop();
  fs.rmSync(dir, { recursive: true, force: true });
}

const memory = (s) => Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${s.child.pid}/status`, 'utf8'))[1]) / 1024;
const numbers = Array.from({ length: MACHINES }, (_, i) => i);

// -> {ids, seconds}
async function create(s) {
  const ids = [];
  const seconds = await all(numbers, async (i) => {
    const r = await timed(s, 'create', 'POST', '/instances', { name: `m${i}` });
    await timed(s, 'read', 'GET', `/instances/${r.body.id}`);
    await over(s, r);
    await timed(s, 'list', 'GET', '/instances?limit=100');
    ids.push(r.body.id);
  });
  return { ids, seconds };
}

async function none_lost(s, state, ids) {
  const { body } = await s.call('GET', '/instances?limit=1000');
  const running = body.filter((m) => m.status === 'RUNNING').map((m) => m.id);
  const there = [...provider.world(state).machines.values()].filter((m) => m.running).map((m) => m.id);
  const want = JSON.stringify(ids.slice().sort());
  if (JSON.stringify(running.sort()) !== want || JSON.stringify(there.sort()) !== want) throw new Error('machines were lost');
}

(async () => {
  await run(50, async (s, state) => {
    const empty = memory(s);
    const { ids, seconds } = await create(s);
    await none_lost(s, state, ids);
    const ceiling = CLIENTS / 0.05;
    const rate = MACHINES / seconds;
    console.log(`load.machines: ${MACHINES} made from ${CLIENTS} clients in ${seconds.toFixed(2)} s, none lost: ${rate.toFixed(0)}/s, ${(rate / ceiling).toFixed(2)} of what 50 ms allow`);
    await all(ids, (id) => timed(s, 'stop', 'POST', `/instances/${id}/stop`));
    await all(ids, (id) => timed(s, 'delete', 'DELETE', `/instances/${id}`));
    for (const kind of Object.keys(times)) told(`${kind}${kind === 'stop' || kind === 'delete' ? ' (with the 50 ms)' : ''}`, times[kind]);
    told('every answer', Object.values(times).flat());
    console.log(`load.memory: ${memory(s).toFixed(1)} MiB at most; ${empty.toFixed(1)} before`);
  });
  await run(0, async (s) => {
    const { ids, seconds } = await create(s);
    const gone = await all(ids, (id) => timed(s, 'delete', 'DELETE', `/instances/${id}`));
    console.log(`load.workflows: ${(MACHINES / seconds).toFixed(0)} creates/s, ${(MACHINES / gone).toFixed(0)} deletes/s without latency`);
  });
})().catch((e) => { console.error(e); process.exit(1); });
