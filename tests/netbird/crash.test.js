// kill -9 of the host right before and right after each changing request to Netbird, of create and of delete; and a delete at each
// of those points. Afterwards there is exactly one machine or none, and nothing that belongs to none.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Netbird } = require('../lib/netbird.js');
const { CrashProxy } = require('../lib/crashproxy.js');
const { Mesh, until } = require('./mesh.js');

const HOST = ['groups cchost-control']; // this host's own, which stays

// fn(mesh, proxy, ann) with a proxy between the host and Netbird.
function withProxy(name, fn) {
  test(name, { skip: Netbird.missing() }, async (t) => {
    let proxy;
    // the document's judge has seen all these requests in life.test.js
    const m = await Mesh.open({ netbird: { checked: false }, through: async (nb) => {
      proxy = await CrashProxy.start({ to: { host: '127.0.0.1', port: nb.port } });
      return `http://127.0.0.1:${proxy.port}`;
    } });
    let ok = false;
    try {
      const ann = await m.person();
      await m.machine(ann, { name: 'first' }); // makes the group of this host
      await ann.call('DELETE', '/instances/first');
      await fn(m, proxy, ann, t);
      ok = true;
    } finally {
      await m.close().catch((e) => { m.server.child.kill('SIGKILL'); if (ok) throw e; });
      await proxy.stop();
    }
  });
}

const is = (m, id, ...states) => until(async () => states.includes((await m.server.call('GET', `/instances/${id}`)).body.status), () => `${id} is ${states}\n${m.server.log}`, 60);

// What the provider has, by its own ledger.
const there = (m) => Object.entries(Object.groupBy ? Object.groupBy(m.asked().filter((l) => l.changed), (l) => l.short) : m.asked().filter((l) => l.changed).reduce((o, l) => ({ ...o, [l.short]: [...(o[l.short] || []), l] }), {}))
  .filter(([, lines]) => lines.at(-1).op !== 'destroy').map(([short]) => short);

// The host dies at the n-th changing request, and comes again.
async function survive(m, proxy, n, when, ask) {
  let died = null;
  proxy.arm(n, when, () => { died = m.server.kill(); });
  const asked = ask().catch(() => null); // its connection may end with the host
  await until(() => proxy.fired || m.settled(), () => `it dies or is done\n${m.server.log}`, 60);
  const answer = await asked;
  proxy.disarm();
  if (died) {
    await died;
    await m.server.launch();
  }
  return { died: !!died, answer };
}

withProxy('kill -9 before and after each request of a create and a delete', async (m, proxy, ann, t) => {
  let runs = 0;
  for (const step of ['create', 'delete']) {
    let on = true;
    let kills = 0;
    for (let n = 1; on; n++) {
      for (const when of ['before', 'after']) {
        const name = `m${++runs}`;
        const made = (await ann.call('POST', '/instances', { name: `${name}x` })).body; // there are others
        await is(m, made.id, 'RUNNING');
        await ann.call('DELETE', `/instances/${made.id}`);
        let over = false;
        m.settled = () => over;
        const create = async () => {
          const r = await ann.call('POST', '/instances?wait=30', { name });
          over = true;
          return r;
        };
        const remove = async () => {
          const r = await ann.call('DELETE', `/instances/${name}`);
          over = true;
          return r;
        };
        if (step === 'delete') { await create(); over = false; }
        const { died } = await survive(m, proxy, n, when, step === 'create' ? create : remove);
        on = died;
        kills += died;
        if (step === 'create') {
          const rec = await until(async () => { const r = await ann.call('GET', `/instances/${name}`); return r.status === 200 ? r.body : r.status === 404 ? {} : null; }, 'its record');
          await is(m, rec.id, 'RUNNING');
          const now = (await ann.call('GET', `/instances/${name}`)).body;
          assert.deepStrictEqual(there(m), [now.short], `${n} ${when}: one machine`);
          assert.deepStrictEqual(m.netbird.left(), [...HOST, `groups cchost-user-${ann.id}`, `peers cc-${now.short}`, `policies cchost-control-${ann.id}`, `policies cchost-user-${ann.id}`], `${n} ${when}`);
          assert.strictEqual([...m.netbird.peers.values()][0].id, now.mesh.peer);
          await ann.call('DELETE', `/instances/${name}`);
        }
        await until(async () => (await ann.call('GET', `/instances/${name}`)).status === 404, () => `deleted\n${m.server.log}`, 60);
        assert.deepStrictEqual([there(m), m.netbird.left()], [[], HOST], `${step} ${n} ${when}`);
      }
    }
    assert.ok(kills >= 8, `${step}: ${kills} kills`);
    t.diagnostic(`${step}: killed ${kills} times`);
  }
});

withProxy('a delete at each request of a create', async (m, proxy, ann) => {
  let on = true;
  for (let n = 1; on; n++) {
    for (const when of ['before', 'after']) {
      let deleted = null;
      proxy.arm(n, when, () => { deleted = ann.call('DELETE', '/instances/one?wait=30'); });
      const one = (await ann.call('POST', '/instances', { name: 'one' })).body;
      await until(async () => proxy.fired || ['RUNNING', 'ERROR'].includes(await m.server.status(one.id)), () => `made or deleted\n${m.server.log}`);
      on = proxy.fired;
      proxy.disarm();
      await deleted;
      if (!on) await ann.call('DELETE', '/instances/one');
      await is(m, one.id, 'DELETED');
      assert.deepStrictEqual([there(m), m.netbird.left()], [[], HOST], `${n} ${when}\n${m.server.log}`);
    }
  }
});
