// What is used beyond a plan, reported to Stripe: each entry of the ledger once, and no micro-unit lost between two of them.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { temp, binary } = require('../lib/cchost.js');
const { withShop } = require('./shop.js');

// Prices at which a second is some cents.
const policies = temp();
fs.writeFileSync(path.join(policies, 'plans.lua'), `return { kind = "plans", default = "free", currency = "USD",
  plans = { free = { machines = 1 }, starter = { machines = 1, overage = true, grace = 86400, fee = { { from = "2026-01-01", month = 19000000 } } }, pro = { machines = 0 } },
  price = { { from = "2026-01-01", hour = { tiny = 123456789, small = 123456789, medium = 123456789 }, storage = 123456 } } }`);
test.after(() => fs.rmSync(policies, { recursive: true }));

async function use(shop, who, times) {
  await shop.until(async () => (await shop.machines(who))[0]?.status === 'RUNNING', 'his machine runs');
  const [m] = await shop.machines(who);
  const cost = async () => Number((await who.call('GET', '/billing/usage')).body.cost);
  for (let i = 0; i < times; i++) {
    const before = await cost();
    await shop.until(async () => await cost() > before + 0.012, 'it has cost more than a cent');
    assert.strictEqual((await who.call('POST', `/instances/${m.id}/stop?wait=10`, {})).status, 200);
    assert.strictEqual((await who.call('POST', `/instances/${m.id}/start?wait=10`, {})).status, 200);
  }
  await who.call('POST', `/instances/${m.id}/stop?wait=10`, {});
}

const owed = (books, who) => -books.entries[who.id].filter((e) => ['usage', 'return'].includes(e.type)).flatMap((e) => e.postings).filter(([a]) => a === 'owed').reduce((n, [, v]) => n + v, 0);

withShop(test, 'each entry that is owed is reported once, in whole cents, and the rest is carried', { settings: { policies_dir: policies } }, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann);
  shop.stripe.fault({ path: '/v1/billing/meter_events', drop: 'after', times: 3 }); // done, and never answered
  await use(shop, ann, 4);
  await shop.worked(['report']);
  const books = shop.books();
  const { reported } = books.accounts[ann.id];
  assert.deepStrictEqual([books.faults, reported.micro], [[], owed(books, ann)]);
  const sum = w.meterEvents.reduce((n, e) => n + Number(e.payload.value), 0);
  assert.ok(sum > 2, `${sum}`);
  assert.strictEqual(sum, Math.floor(reported.micro / 10000));
  assert.strictEqual(sum, reported.sent);
  assert.ok(w.meterEvents.every((e) => e.payload.stripe_customer_id === subscription.customer && e.identifier.length <= 100));
  assert.strictEqual(new Set(w.meterEvents.map((e) => e.identifier)).size, w.meterEvents.length);
  // Stripe has forgotten the key and knows the identifier: what was sent is sent
  const [report] = shop.list(['report']);
  assert.ok(shop.list(['report']).every((r) => r.status === 'done'), JSON.stringify(report));
});

// Bug: a command on the operator's host knows nothing of the service's settings, and what it posted was never billed.
withShop(test, 'what another process posts is reported, too', { settings: { policies_dir: policies } }, async (shop, w) => {
  const ann = await shop.person();
  await shop.subscribe(ann);
  await shop.until(async () => (await shop.machines(ann))[0]?.status === 'RUNNING', 'his machine runs');
  await shop.until(async () => Number((await ann.call('GET', '/billing/usage')).body.cost) > 0.03, 'it has cost some cents');
  const env = Object.fromEntries(Object.entries({ ...process.env, DATA_DIR: shop.dir }).filter(([k]) => !k.startsWith('STRIPE_')));
  const r = spawnSync(binary, ['ledger', 'hours', ann.email, '0.00001', '--reason=posts what is open'], { encoding: 'utf8', env });
  assert.strictEqual(r.status, 0, r.stderr);
  await shop.until(async () => w.meterEvents.length > 0, 'it is reported');
  const books = shop.books();
  assert.deepStrictEqual([books.faults, books.accounts[ann.id].reported.micro], [[], owed(books, ann)]);
});

// Bug: what had been used beyond the plan was forgotten by Stripe, and asked for by nobody.
withShop(test, 'a subscription that is ended at once leaves a debt: nothing starts before it is paid, or the next one has it', { settings: { policies_dir: policies } }, async (shop, w) => {
  const [ann, bob] = [await shop.person(), await shop.person('bob@example.org')];
  const owes = async (who) => Number((await who.call('GET', '/billing/usage')).body.owed);
  for (const who of [ann, bob]) {
    const { subscription } = await shop.subscribe(who);
    await use(shop, who, 2);
    w.cancel(subscription);
  }
  await shop.tell();
  await shop.worked(['report']);
  for (const who of [ann, bob]) {
    const [m] = await shop.machines(who);
    const r = await who.call('POST', `/instances/${m.id}/start`, {});
    assert.deepStrictEqual([r.status, /^\d+\.\d\d is owed for what was used; pay it .*POST \/billing\/checkout/.test(r.body.error)], [402, true], r.text);
  }
  const debt = await owes(ann);
  assert.ok(debt > 0.02, `${debt}`);
  const usage = shop.books().accounts[ann.id].balances;
  w.pay(await shop.checkout(ann, { credit: 500 }));
  await shop.tell();
  await shop.worked(['order']);
  const after = shop.books();
  assert.deepStrictEqual([after.faults, await owes(ann), after.accounts[ann.id].balances.credit < 500e6 - -usage.owed + 1], [[], 0, true]);
  const [m] = await shop.machines(ann);
  assert.strictEqual((await ann.call('POST', `/instances/${m.id}/start?wait=10`, {})).status, 200);
  const before = w.meterEvents.length;
  const customer = (await shop.user(bob)).stripe_customer_id;
  const { subscription } = await shop.subscribe(bob);
  await shop.until(() => w.meterEvents.length > before, 'what he owed is reported');
  const { reported, balances, debt: left } = shop.books().accounts[bob.id];
  assert.deepStrictEqual([left, Math.floor(-balances.owed / 10000) >= reported.sent, reported.sent > 1], [undefined, true, true]);
  assert.ok(w.meterEvents.slice(before).every((e) => e.payload.stripe_customer_id === customer && e.timestamp >= subscription.current_period_start));
});

// Bug: an account was closed, and what it had used was never billed.
withShop(test, 'who closes his account gets a last invoice of what he has used', { settings: { policies_dir: policies } }, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann);
  await shop.until(async () => (await shop.machines(ann))[0]?.status === 'RUNNING', 'his machine runs');
  await shop.until(async () => Number((await ann.call('GET', '/billing/usage')).body.cost) > 0.03, 'it has cost some cents');
  shop.stripe.fault({ path: '/v1/billing/meter_events', status: 500, times: 4 });
  assert.strictEqual((await shop.server.call('DELETE', `/users/${ann.id}?machines=delete`)).status, 200);
  await shop.until(() => subscription.status === 'canceled', 'it is canceled');
  const asked = shop.stripe.requests.filter((r) => r.status === 200);
  const [end] = asked.filter((r) => r.method === 'DELETE');
  assert.strictEqual(end.params.invoice_now, 'true');
  const told = asked.findIndex((r) => r.path === '/v1/billing/meter_events');
  assert.ok(told >= 0 && told < asked.indexOf(end), 'reported before');
  assert.strictEqual(w.meterEvents[0].payload.stripe_customer_id, subscription.customer);
});

withShop(test, 'a report that Stripe has already is sent', { settings: { policies_dir: policies } }, async (shop, w) => {
  const ann = await shop.person();
  await shop.subscribe(ann);
  shop.stripe.fault({ path: '/v1/billing/meter_events', status: 400, times: 100, error: { message: 'An event already exists with identifier x', type: 'invalid_request_error' } });
  await use(shop, ann, 1);
  await shop.worked(['report']);
  assert.ok(shop.list(['report']).length > 0 && shop.list(['report']).every((r) => r.note === 'sent before'));
  assert.strictEqual(w.meterEvents.length, 0);
});

withShop(test, 'without a metered price nothing is reported', { settings: { policies_dir: policies }, env: { STRIPE_PRICE_USAGE: undefined } }, async (shop, w) => {
  const ann = await shop.person();
  await shop.subscribe(ann);
  await use(shop, ann, 1);
  assert.deepStrictEqual([shop.list(['report']), w.meterEvents.length, owed(shop.books(), ann) > 0], [[], 0, true]);
});

withShop(test, 'by usage records, where the version of the API has them', { settings: { policies_dir: policies }, env: { STRIPE_USAGE: 'records', STRIPE_API_VERSION: '2023-08-16' }, stripe: { version: '2023-08-16' } }, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann);
  await use(shop, ann, 2);
  await shop.worked(['report']);
  const books = shop.books();
  assert.strictEqual(w.usageRecords.reduce((n, r) => n + r.quantity, 0), Math.floor(owed(books, ann) / 10000));
  assert.ok(w.usageRecords.every((r) => r.subscription_item === subscription.items.data[1].id));
});
