// What is done to machines: their lives on `local` and on the mock, volumes, networks, snapshots, leases.
'use strict';
const assert = require('node:assert');

const MOST = { local: 4, mock: 24 };

// A machine that nobody else is at, of those that fit. -> what fn(m) returns
async function with_one(w, rng, fits, fn) {
  const free = w.machines.filter((m) => !m.busy && fits(m));
  if (!free.length) return undefined;
  const m = rng.of(free);
  m.busy = true;
  try { return await fn(m); } finally { m.busy = false; }
}

async function create(w, rng, provider) {
  if (w.machines.filter((m) => m.provider === provider).length >= MOST[provider]) return remove(w, rng, provider);
  const who = rng.of(w.people);
  const body = { name: w.name('m'), provider, labels: { n: String(w.n) }, ...(provider === 'local' && { network: 'none' }) };
  const slot = { provider, busy: true, who };
  w.machines.push(slot);
  try {
    const key = { 'Idempotency-Key': `k${w.n}` };
    const r = await w.ask(who, 'POST', '/instances?wait=60', { body, more: key });
    assert.strictEqual(r.body.status, 'RUNNING', JSON.stringify(r.body));
    Object.assign(slot, r.body, { provider, at: `/instances/${r.body.id}` });
    if (rng.chance(0.1)) assert.strictEqual((await w.body(who, 'POST', '/instances?wait=60', { body, more: key })).id, slot.id);
    slot.busy = false;
  } catch (e) {
    w.machines.splice(w.machines.indexOf(slot), 1);
    throw e;
  }
  return slot;
}

function remove(w, rng, provider) {
  return with_one(w, rng, (m) => m.provider === provider, async (m) => {
    const r = await w.body(m.who, 'DELETE', `${m.at}?wait=60`);
    assert.strictEqual(r.status, 'DELETED', JSON.stringify(r));
    w.machines.splice(w.machines.indexOf(m), 1);
  });
}

const verb = (w, m, word, body) => w.body(m.who, 'POST', `${m.at}/${word}?wait=60`, body && { body });
const stays = (status) => (r) => assert.strictEqual(r.status, status, JSON.stringify(r));

const actions = {
  create_mock: [6, (w, rng) => create(w, rng, 'mock')],
  delete_mock: [4, (w, rng) => remove(w, rng, 'mock')],
  create_local: [3, (w, rng) => create(w, rng, 'local')],
  delete_local: [2, (w, rng) => remove(w, rng, 'local')],
  stop_and_start: [4, (w, rng) => with_one(w, rng, () => true, async (m) => {
    await verb(w, m, 'stop').then(stays('STOPPED'));
    await verb(w, m, 'start').then(stays('RUNNING'));
  })],
  pause_and_wake: [4, (w, rng) => with_one(w, rng, () => true, async (m) => {
    await verb(w, m, 'pause').then(stays('STOPPED'));
    await verb(w, m, 'wake').then(stays('RUNNING'));
  })],
  wake_by_exec: [2, (w, rng) => with_one(w, rng, (m) => m.provider === 'local', async (m) => {
    await verb(w, m, 'pause').then(stays('STOPPED'));
    await w.ask(m.who, 'GET', `${m.at}/files`); // whoever comes starts it
  })],
  extend: [3, (w, rng) => with_one(w, rng, (m) => m.provider === 'mock', (m) => w.ask(m.who, 'POST', `${m.at}/extend`, { body: { hours: rng.between(1, 5) } }))],
  relabel: [4, (w, rng) => with_one(w, rng, () => true, async (m) => {
    const { headers } = await w.ask(m.who, 'GET', m.at);
    await w.ask(m.who, 'PATCH', m.at, { body: { labels: { turn: w.name('l') } }, more: { 'If-Match': headers.etag }, want: [200, 412] });
  })],
  lease: [3, (w, rng) => with_one(w, rng, (m) => m.provider === 'mock', async (m) => {
    const id = w.name('lease');
    await w.ask(m.who, 'POST', `${m.at}/lease`, { body: { id, reason: 'work', ttl: 60 } });
    await w.ask(m.who, 'GET', `${m.at}/leases`);
    await w.ask(m.who, 'DELETE', `${m.at}/leases/${id}`);
  })],
  stats: [6, (w, rng) => with_one(w, rng, () => true, async (m) => {
    await w.ask(m.who, 'GET', `${m.at}/stats`);
    await w.ask(m.who, 'GET', `${m.at}/events?limit=20`);
    await w.ask(m.who, 'GET', `${m.at}/decisions`);
  })],
  machine_snapshot: [1, (w, rng) => with_one(w, rng, (m) => m.provider === 'mock', async (m) => {
    const name = w.name('snap');
    await verb(w, m, 'snapshots', { name });
    await w.ask(m.who, 'POST', `${m.at}/snapshots/${name}/restore?wait=60`);
    await w.ask(m.who, 'DELETE', `${m.at}/snapshots/${name}?wait=60`);
  })],
  volume: [2, async (w, rng) => {
    const who = rng.of(w.people);
    const provider = rng.of(['mock', 'mock', 'local']);
    const v = await w.body(who, 'POST', '/volumes?wait=60', { body: { name: w.name('vol'), size_gib: 1, provider } });
    await w.ask(who, 'POST', `/volumes/${v.id}/snapshots?wait=60`, { body: { name: 'one' } });
    await w.ask(who, 'POST', `/volumes/${v.id}/restore?wait=60`, { body: { snapshot: 'one' } });
    const copy = await w.body(who, 'POST', `/volumes/${v.id}/clone?wait=60`, { body: { name: w.name('copy') } });
    for (const id of [v.id, copy.id]) await w.ask(who, 'DELETE', `/volumes/${id}?wait=60`);
  }],
  network: [1, async (w, rng) => {
    const who = rng.of(w.people);
    const vpc = await w.body(who, 'POST', '/vpcs?wait=60', { body: { name: w.name('net') } });
    const subnet = await w.body(who, 'POST', '/subnets', { body: { vpc_id: vpc.id, name: 'a', cidr_block: '10.0.0.0/24' } });
    const group = await w.body(who, 'POST', '/security-groups', { body: { vpc_id: vpc.id, name: 'g' } });
    await w.ask(who, 'POST', `/security-groups/${group.id}/rules`, { body: { direction: 'ingress', protocol: 'udp', port_min: 53 } });
    await w.ask(who, 'DELETE', `/security-groups/${group.id}`);
    await w.ask(who, 'DELETE', `/subnets/${subnet.id}`);
    await w.ask(who, 'DELETE', `/vpcs/${vpc.id}?wait=60`);
  }],
};

module.exports = { actions };
