// kill -9 at random points while 1,000 machines of paying customers churn and every one of Stripe's events is told twice, in any
// order: after the last restart the books balance, nobody has paid without a machine or credit, and no millisecond is billed twice
// or while the provider did not run the machine.
//
//   CRASH_MONEY_KILLS=40   kills once all machines are there; some more meanwhile      CRASH_MACHINES=1000
//   CRASH_SEED=N           plan of customers, requests, fates, deliveries and kills; printed, so that a failed run can be repeated
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, binary, until } = require('../lib/cchost.js');
const { withShop } = require('../billing/shop.js');
const { Random } = require('./random.js');
const { Customer, HOURS } = require('./customers.js');
const provider = require('./provider.js');

const kills = Number(process.env.CRASH_MONEY_KILLS || 40);
const machines = Number(process.env.CRASH_MACHINES || 1000);
const seed = Number(process.env.CRASH_SEED || Date.now() % 0x7fffffff);
const SHARE = { pro: 0.6, credit: 0.2, starter: 0.1, hours: 0.1 }; // of the customers
const CLIENTS = 16;
const SLACK_MS = 5; // between two readings of the clock
const pause = (ms) => new Promise((r) => setTimeout(r, ms));

const mishaps = 'chance={fail=0.02,after=0.02,lose=0.002}';
const mock = (random) => `{seed=${random.bits()},latency_ms=1,latency_max_ms=20,state="mock.state",ledger="mock.ledger",`
  + `create={${mishaps}},start={${mishaps}},stop={${mishaps}},destroy={${mishaps}}}`;

class Run {
  constructor(shop) {
    this.shop = shop;
    this.random = new Random(seed);
    this.up = Promise.resolve();
    this.over = false;
    this.most = 0; // machines at once
    this.calm = Infinity; // when the last kill was
    this.counts = { kills: 0, requests: 0, repeated: 0, made: 0, deleted: 0 };
  }

  async people() {
    const n = Math.ceil(machines / (SHARE.pro * 26 + SHARE.credit * 8));
    this.customers = [];
    for (const [kind, share] of Object.entries(SHARE)) {
      for (let i = 0; i < Math.ceil(n * share); i++) {
        this.customers.push(new Customer(this, await this.shop.person(`${kind}${i}@example.org`), kind, this.random.fork()));
      }
    }
  }

  has() { return this.customers.reduce((n, c) => n + c.machines.size, 0); }

  async work(random) {
    const makers = this.customers.filter((c) => c.most > 0);
    while (!this.over) {
      await this.up;
      await random.of(makers).step(random);
      await new Promise(setImmediate);
    }
  }

  // One in six dies once more while it starts.
  async kill() {
    const { server, hooks } = this.shop;
    let done;
    this.up = new Promise((r) => { done = r; });
    await server.kill();
    this.counts.kills++;
    while (this.random.chance(1 / 6)) {
      const early = Object.assign(new Server(), { dir: server.dir, settings: server.settings, how: server.how });
      early.launch().catch(() => {});
      await pause(this.random.below(80));
      early.child.kill('SIGKILL');
      await early.exited;
      this.counts.kills++;
    }
    await server.launch();
    hooks.url = `${server.url}/billing/webhook`;
    done();
  }

  alive() {
    const { exitCode, signalCode } = this.shop.server.child;
    if (exitCode !== null || signalCode) throw new Error(`the server ended by itself:\n${this.shop.server.log.slice(-4000)}`);
  }

  async lives(failed) {
    const fates = this.customers.map((c) => [c, this.random.below(kills)]);
    const asked = [];
    for (let k = 0; k < kills && !failed();) {
      await pause(this.random.between(50, this.most < machines ? 2500 : 1200));
      this.alive();
      await this.kill();
      this.most = Math.max(this.most, this.has());
      if (this.most < machines) continue;
      asked.push(this.random.of(this.customers.filter((c) => c.kind === 'credit')).more());
      for (const [c, at] of fates) if (at === k) c.meet();
      k++;
    }
    this.calm = Date.now();
    await Promise.all(asked);
  }

  async all() {
    await this.people();
    const failures = [];
    const note = (e) => { failures.push(e); this.over = true; this.calm = 0; };
    const begun = this.customers.map((c) => pause(c.random.below(4000)).then(() => c.begin()));
    const clients = Array.from({ length: CLIENTS }, () => this.random.fork()).map((r) => this.work(r));
    for (const p of [...begun, ...clients]) p.catch(note);
    await Promise.all([this.lives(() => failures.length > 0).catch(note), Promise.all(begun).catch(note)]);
    this.over = true;
    await Promise.all(clients).catch(note);
    if (failures.length) throw failures[0];
  }

  // Nothing is under way any more.
  async rest() {
    const { shop } = this;
    await shop.hooks.settled();
    await shop.worked(['event', 'order', 'cancel'], 90);
    let restless;
    await until(async () => {
      this.records = new Map();
      for (const c of this.customers) {
        c.list = [];
        for (const m of await shop.machines(c.who)) {
          c.list.push(m);
          this.records.set(m.id, m);
        }
        const ended = c.paid.subscription?.status === 'canceled';
        restless = c.list.find((m) => !(m.status === 'STOPPED' || (m.status === 'RUNNING' && !ended)));
        if (restless) return false;
      }
      return true;
    }, () => `machines rest: ${JSON.stringify(restless)}\n${shop.server.log.slice(-3000)}`, 90);
  }
}

// ---- what must be so

const sum = (list) => list.reduce((a, b) => a + b, 0);
const posted = (entries, account) => sum(entries.flatMap((e) => e.postings.filter(([a]) => a === account).map(([, n]) => n)));

function verified(shop, t) {
  for (const command of ['ledger', 'log']) {
    const r = spawnSync(binary, [command, '--verify'], { encoding: 'utf8', env: { ...process.env, ...shop.env, DATA_DIR: shop.dir, PROVIDER: 'mock' } });
    assert.strictEqual(r.status, 0, `${command} --verify: ${r.stdout}${r.stderr}`);
    t.diagnostic(`${command} --verify: ${r.stdout.trim()}`);
  }
}

// Reckoned here, from the entries alone.
function balanced(books) {
  for (const [owner, entries] of Object.entries(books.entries)) {
    const balances = {};
    for (const e of entries) for (const [account, n] of e.postings) balances[account] = (balances[account] || 0) + n;
    for (const [account, n] of Object.entries(balances)) if (n === 0) delete balances[account];
    assert.deepStrictEqual(balances, books.accounts[owner].balances, owner);
    assert.strictEqual(new Set(entries.map((e) => e.id)).size, entries.length, `${owner}: one entry of each cause`);
  }
}

// When the provider ran a machine: [[from, to], ...]
function runs(history) {
  const out = [];
  let since = null;
  for (const l of history.filter((x) => x.changed)) {
    const on = ['create', 'complete', 'start'].includes(l.op);
    if (!on && since !== null) out.push([since, l.at]);
    since = on ? since ?? l.at : null;
  }
  if (since !== null) out.push([since, Infinity]);
  return out;
}

// No interval of a machine touches another, and none is billed as running while the provider did not run it. -> ms
async function usedOnce(books, shop) {
  const histories = provider.histories(path.join(shop.dir, 'mock.ledger'));
  const byMachine = new Map();
  for (const e of Object.values(books.entries).flat().filter((x) => x.type === 'usage')) {
    if (!byMachine.has(e.machine)) byMachine.set(e.machine, []);
    byMachine.get(e.machine).push(e);
  }
  let ms = 0;
  for (const [id, list] of byMachine) {
    list.sort((a, b) => a.from - b.from);
    list.forEach((e, i) => assert.ok(i === 0 || e.from >= list[i - 1].to, `${id}: billed twice: ${JSON.stringify([list[i - 1], e])}`));
    const { short } = (await shop.server.call('GET', `/instances/${id}`)).body; // a tombstone, too
    const ran = runs(histories.get(short) || []);
    for (const e of list.filter((x) => x.state === 'RUNNING')) {
      assert.ok(ran.some(([a, b]) => e.from >= a - SLACK_MS && e.to <= b + SLACK_MS), `${id}: billed and not run: ${JSON.stringify(e)}, it ran ${JSON.stringify(ran)}`);
      ms += e.to - e.from;
    }
  }
  return ms;
}

// What he was answered is so: each machine once, none that he has not asked for.
function asAnswered(c) {
  const tokens = c.list.map((m) => m.labels.token).filter(Boolean);
  assert.strictEqual(new Set(tokens).size, tokens.length, `${c.who.email}: no request made two machines`);
  assert.deepStrictEqual(new Set(c.list.filter((m) => m.labels.token).map((m) => m.id)), new Set(c.machines.keys()), c.who.email);
}

// Hours that were bought are a machine's, or were given back.
async function hoursAreThere(c, entries, server) {
  const ids = new Set(entries.filter((e) => e.machine && e.postings.some(([a]) => a === 'granted')).map((e) => e.machine));
  for (const id of ids) {
    const { body } = await server.call('GET', `/instances/${id}`);
    const ms = 0 - posted(entries.filter((e) => e.machine === id), 'granted');
    const off = Math.abs(Math.round((body.prepaid?.hours ?? 0) * 3600e3) - ms);
    assert.ok(off <= (body.prepaid?.refunded ? 1000 : 0), `${c.who.email}: ${id}: ${ms} ms are bought: ${JSON.stringify(body.prepaid)}`); // ended at two readings of the clock
  }
}

async function satisfied(c, { shop, books }) {
  const w = shop.world;
  const user = await shop.user(c.who);
  const { balances } = books.accounts[c.who.id];
  const entries = books.entries[c.who.id];
  const what = `${c.who.email} (${c.fate}): ${JSON.stringify([user, balances, c.list.map((m) => [m.id, m.status, m.labels, m.prepaid])])}`;
  assert.strictEqual(0 - (balances.payments || 0), w.taken(user.stripe_customer_id) * 10000, `what was paid is what the books say: ${what}`);
  asAnswered(c);
  await hoursAreThere(c, entries, shop.server);
  if (c.paid.subscription) {
    const sub = w.subscriptions.get(user.stripe_subscription_id);
    assert.deepStrictEqual([sub.id, user.subscription_status], [c.paid.subscription.id, sub.status], what);
    if (sub.status === 'canceled') return; // rest() has seen that none of his runs
    assert.strictEqual(user.plan, sub.items.data[0].price.id.replace('price_', ''), what);
    assert.ok(c.list.length > 0, `a machine: ${what}`);
    if (c.kind === 'starter') assert.deepStrictEqual(c.list.map((m) => m.status), ['RUNNING'], what);
  } else if (c.kind === 'hours') {
    assert.ok(c.refunded || c.list.some((m) => m.prepaid?.hours === HOURS && m.prepaid.begun_at) || balances.credit > 0, `hours or credit: ${what}`);
  } else {
    const spent = sum(['block', 'credited_back', 'usage'].map((type) => -posted(entries.filter((e) => e.type === type), 'credit')));
    // a dispute that finds the credit spent on hours that have not begun takes those; won, they are credit again
    const hours = 0 - (balances.refunds || 0);
    assert.ok(hours === 0 || (hours > 0 && c.fate !== 'left'), `refunds: ${what}`);
    assert.strictEqual(balances.credit || 0, w.taken(user.stripe_customer_id) * 10000 - spent + hours, `credit: ${what}`);
  }
}

withShop(test, `${machines} machines of paying customers, ${kills} kills`, {
  settings: { mock: mock(new Random(seed)), provider_seconds: 1, sweep_seconds: 2, quota_instances: 0 },
}, async (shop, w, t) => {
  t.diagnostic(`CRASH_SEED=${seed} CRASH_MONEY_KILLS=${kills} CRASH_MACHINES=${machines}`);
  const run = new Run(shop);
  shop.hooks.follow({ random: () => run.random.next(), twice: 1, late: 1, at_once: 8 });
  await run.all();
  await run.rest();
  await run.kill();
  await run.rest();
  t.diagnostic(`${run.counts.kills} lives: ${JSON.stringify({ ...run.counts, machines: run.most, customers: run.customers.length, events: w.events.length })}`);
  assert.ok(run.most >= machines, `${run.most} machines at once`);
  assert.ok(w.events.every((e) => shop.hooks.told.get(e.id) >= 2), 'each event was taken twice');
  assert.deepStrictEqual(shop.list().filter((x) => x.status === 'parked'), []);
  assert.strictEqual(w.customers.size, run.customers.length, 'one customer each');
  verified(shop, t);
  const books = shop.books();
  assert.deepStrictEqual(books.faults, []);
  balanced(books);
  t.diagnostic(`${Object.values(books.entries).flat().length} entries, ${await usedOnce(books, shop)} ms of machines, none twice`);
  for (const c of run.customers) await satisfied(c, { shop, books });
});
