// node tests/bench/streams.js COUNT EVENTS: what streams of events cost the server, open and told.
'use strict';
const fs = require('node:fs');
const { Server } = require('../lib/cchost.js');
const { Stream } = require('../lib/events.js');

const [count, events] = process.argv.slice(2).map(Number);
const rss = (pid) => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
const cpu = (pid) => Number(fs.readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1000;

async function told(n) {
  const s = await Server.start({ provider: 'mock' });
  const { body } = await s.call('POST', '/instances', { name: 'm' });
  await s.running(body.id);
  const before = rss(s.child.pid);
  const streams = [];
  for (let i = 0; i < n; i++) streams.push(await Stream.open(s.port, '/events', { 'X-API-Key': s.key }));
  const memory = rss(s.child.pid) - before;
  const start = cpu(s.child.pid);
  for (let i = 0; i < events; i++) await s.call('PATCH', '/instances/m', { labels: { i: String(i) } });
  for (const x of streams) await x.has(events, 300);
  const used = cpu(s.child.pid) - start;
  await Promise.all(streams.map((x) => x.close()));
  await s.stop();
  return { memory, used };
}

(async () => {
  const none = await told(0);
  const { memory, used } = await told(count);
  console.log(`streams.memory: ${(memory / count).toFixed(1)} KiB RSS per open stream (n=${count})`);
  console.log(`streams.cpu: ${((used - none.used) / count / events).toFixed(1)} us per event and stream (${events} events)`);
})();
