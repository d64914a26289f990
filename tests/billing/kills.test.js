// kill -9 at random points while people pay and webhooks arrive twice and shuffled: afterwards the books balance, and nobody has
// paid without a machine or credit.
//
//   STRIPE_KILLS=8   how often; STRIPE_SEED=N   of the order of all that is by chance
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Random } = require('../crash/random.js');
const { withShop } = require('./shop.js');

const kills = Number(process.env.STRIPE_KILLS || 8);
const seed = Number(process.env.STRIPE_SEED || Date.now() % 0x7fffffff);
const PEOPLE = 12;
const pause = (ms) => new Promise((r) => setTimeout(r, ms));

withShop(test, `${kills} kills while ${PEOPLE} people pay (STRIPE_SEED=${seed})`, { settings: { mock: '{state="mock.state",create={latency_ms=20,latency_max_ms=200}}' } }, async (shop, w) => {
  const random = new Random(seed);
  const chance = () => random.next();
  shop.hooks.follow({ random: chance, twice: 0.5, late: 0.3, at_once: 6 });
  const people = [];
  for (let i = 0; i < PEOPLE; i++) people.push(await shop.person(`p${i}@example.org`));

  // One request, again and again until there is a server that answers it.
  let down = Promise.resolve();
  const insist = async (who, body) => {
    for (let n = 0; n < 100; n++) {
      await down;
      const r = await who.call('POST', '/billing/checkout', body).catch(() => null);
      if (r && r.status === 200) return [...w.sessions.values()].find((s) => s.url === r.body.url);
      if (r && r.status < 500 && r.status !== 429) throw new Error(`${JSON.stringify(body)}: ${r.status} ${r.text}`);
      await pause(20);
    }
    throw new Error(`no answer: ${JSON.stringify(body)}`);
  };
  const lives = people.map(async (who, i) => {
    await pause(chance() * 500);
    if (i % 3 === 0) {
      const { subscription, charge } = w.pay(await insist(who, { plan: chance() < 0.5 ? 'starter' : 'pro' }));
      await pause(chance() * 1500);
      if (i === 3) w.changePrice(subscription, 'price_pro');
      if (i === 6) w.cancel(subscription);
      if (i === 9) w.refund(charge, 100);
    } else if (i % 3 === 1) {
      const { charge } = w.pay(await insist(who, { hours: 24, type: 'medium' }));
      if (i === 4) w.refund(charge, 30);
    } else {
      const { charge } = w.pay(await insist(who, { credit: 5 + i }));
      await pause(chance() * 800);
      if (i === 5) w.refund(charge, 123);
      if (i === 8) w.closeDispute(w.dispute(charge), 'won');
    }
  });
  for (let k = 0; k < kills; k++) {
    await pause(30 + chance() * 400);
    let up;
    down = new Promise((r) => { up = r; });
    await shop.server.kill();
    await shop.server.launch();
    shop.hooks.url = `${shop.server.url}/billing/webhook`;
    up();
  }
  await Promise.all(lives);
  await shop.hooks.settled();
  await shop.worked(['event', 'order', 'cancel'], 60);

  assert.deepStrictEqual(shop.list().filter((x) => x.status === 'parked'), []);
  const books = shop.books();
  assert.deepStrictEqual(books.faults, []);
  for (const [i, who] of people.entries()) {
    const user = await shop.user(who);
    const b = books.accounts[who.id].balances;
    const paid = w.taken(user.stripe_customer_id) * 10000;
    assert.strictEqual(-(b.payments || 0), paid, `${i}: what he has paid is what the books say`);
    const machines = (await shop.machines(who)).map((m) => [m.status, m.prepaid?.hours]);
    if (i % 3 === 0) {
      const sub = w.subscriptions.get(user.stripe_subscription_id);
      assert.strictEqual(user.subscription_status, sub.status, `${i}`);
      assert.deepStrictEqual(machines.length, sub.status === 'active' ? 1 : machines.length && 1, `${i}: one machine`);
      if (sub.status === 'active') assert.deepStrictEqual([machines, user.plan], [[['RUNNING', undefined]], sub.items.data[0].price.id.replace('price_', '')], `${i}`);
    } else if (i % 3 === 1) {
      assert.ok(machines.length === 1 && machines[0][1] === 24 * paid / 1.92e6 ? !b.credit : b.credit > 0, `${i}: hours or credit ${JSON.stringify([machines, b])}`);
    } else {
      assert.strictEqual(b.credit, paid, `${i}: credit`);
    }
  }
  assert.strictEqual(w.customers.size, PEOPLE); // one each, however often we were killed while one was made
});
