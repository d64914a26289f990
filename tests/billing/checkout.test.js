// From the checkout to the machine: what a user is offered, what he pays, and what he gets for it.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const { Server, binary } = require('../lib/cchost.js');
const { person } = require('../access/people.js');
const { withShop } = require('./shop.js');

withShop(test, 'checkout, paid, active, and the machine is there', {}, async (shop, w) => {
  const ann = await shop.person();
  assert.deepStrictEqual([(await ann.call('GET', '/billing/portal')).status, (await ann.call('GET', '/billing/portal')).body.error], [400, 'no billing account']);
  const bad = await ann.call('POST', '/billing/checkout', { plan: 'gold' });
  assert.deepStrictEqual([bad.status, bad.body.field], [400, 'plan']);
  const session = await shop.checkout(ann);
  assert.deepStrictEqual([session.mode, session.metadata, session.success_url, session.cancel_url],
    ['subscription', { user_id: ann.id, plan: 'starter' }, 'https://app.example.org/dashboard?checkout=success', 'https://app.example.org/dashboard?checkout=cancel']);
  assert.strictEqual((await shop.user(ann)).subscription_status ?? 'inactive', 'inactive');
  w.pay(session);
  await shop.tell();
  const user = await shop.user(ann);
  assert.deepStrictEqual([user.plan, user.subscription_status, user.stripe_customer_id, user.stripe_subscription_id], ['starter', 'active', session.customer, session.subscription]);
  await shop.until(async () => (await shop.machines(ann))[0]?.status === 'RUNNING', 'his machine runs');
  await shop.worked(['order']);
  assert.strictEqual((await shop.machines(ann)).length, 1);
  const books = shop.books();
  assert.deepStrictEqual(books.faults, []);
  assert.strictEqual(books.accounts[ann.id].balances.payments, -19000000);
  assert.match((await ann.call('GET', '/billing/portal')).body.url, /^https:\/\/billing\.stripe\.com\//);
  const second = await ann.call('POST', '/billing/checkout', { plan: 'pro' });
  assert.deepStrictEqual([second.status, /portal/.test(second.body.error)], [409, true]);
});

withShop(test, 'B30: parallel checkouts make one customer and one page; a second subscription is refused, also before its event has come', {}, async (shop, w) => {
  const ann = await shop.person();
  const answers = await Promise.all(Array.from({ length: 8 }, () => ann.call('POST', '/billing/checkout', { plan: 'starter' })));
  assert.deepStrictEqual(answers.map((r) => r.status), Array(8).fill(200));
  assert.strictEqual(new Set(answers.map((r) => r.body.url)).size, 1);
  assert.deepStrictEqual([w.customers.size, w.sessions.size], [1, 1]);
  const other = await shop.checkout(ann, { plan: 'pro' });
  assert.deepStrictEqual([...w.sessions.values()].map((s) => s.status), ['expired', 'open']); // one page at a time can be paid
  w.pay(other);
  const second = await ann.call('POST', '/billing/checkout', { plan: 'starter' });
  assert.deepStrictEqual([second.status, /GET \/billing\/portal/.test(second.body.error)], [409, true]);
  await shop.tell({ twice: true });
  assert.strictEqual((await shop.user(ann)).plan, 'pro');
  assert.deepStrictEqual([w.customers.size, w.subscriptions.size], [1, 1]);
});

withShop(test, 'a customer who was deleted at Stripe is made anew at the next checkout', {}, async (shop, w) => {
  const ann = await shop.person();
  const first = await shop.checkout(ann);
  w.deleteCustomer(first.customer);
  const second = await shop.checkout(ann, { plan: 'pro' }); // before its event has come
  assert.notStrictEqual(second.customer, first.customer);
  assert.strictEqual((await shop.user(ann)).stripe_customer_id, second.customer);
  w.pay(second);
  await shop.tell({ reverse: true });
  assert.deepStrictEqual([(await shop.user(ann)).plan, (await shop.user(ann)).stripe_customer_id], ['pro', second.customer]);
});

withShop(test, 'a customer who was deleted at Stripe, and we have heard of it: no subscription, no portal, a new one at the next checkout', {}, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann);
  w.deleteCustomer(subscription.customer);
  await shop.tell({ reverse: true });
  const user = await shop.user(ann);
  assert.deepStrictEqual([user.plan, user.subscription_status, user.stripe_customer_id], ['free', 'canceled', undefined]);
  assert.strictEqual((await ann.call('GET', '/billing/portal')).status, 400);
  assert.notStrictEqual((await shop.subscribe(ann)).subscription.customer, subscription.customer);
  assert.strictEqual((await shop.user(ann)).subscription_status, 'active');
});

// Bug: with Stripe set up a plan that the operator had given was refused for the want of a subscription.
withShop(test, 'a plan that the operator gives needs no subscription: over HTTP and by command', {}, async (shop) => {
  const [ann, bob] = [await shop.person(), await shop.person('bob@example.org')];
  const given = await shop.server.call('PATCH', `/users/${ann.id}`, { plan: 'pro', reason: 'writes our docs' });
  assert.deepStrictEqual([given.status, given.body.plan, given.body.granted.by, given.body.granted.reason], [200, 'pro', 'operator', 'writes our docs']);
  assert.deepStrictEqual((await shop.server.call('PATCH', `/users/${ann.id}`, { reason: 'of nothing' })).body.field, 'reason');
  const made = await shop.server.call('POST', '/users', { email: 'eve@example.org', plan: 'starter', reason: 'a guest' });
  assert.deepStrictEqual([made.status, made.body.granted.reason], [201, 'a guest']);
  const env = Object.fromEntries(Object.entries({ ...process.env, DATA_DIR: shop.dir }).filter(([k]) => !k.startsWith('STRIPE_')));
  const plan = (...args) => spawnSync(binary, ['plan', ...args], { encoding: 'utf8', env });
  assert.match(plan(bob.email).stdout, /^bob@example.org {2}free, the default\n$/);
  assert.deepStrictEqual([plan(bob.email, 'pro').status, plan(bob.email, '--reason=x').status, plan(bob.email, 'gold', '--reason=x').status, plan('who@example.org').status], [2, 2, 1, 1]);
  assert.match(plan(bob.email, 'pro', '--reason=a friend').stdout, /pro, given by operator at .*: a friend\n$/);
  assert.strictEqual(JSON.parse(plan(bob.email, '--json').stdout).granted.reason, 'a friend');
  for (const who of [ann, bob]) {
    const r = await who.call('POST', '/instances?wait=20', {});
    assert.deepStrictEqual([r.status, (await who.call('GET', '/billing/usage')).body.owed], [201, '0.00'], r.text);
  }
  assert.match((await shop.server.call('GET', `/users/${bob.id}/export`)).text, /"granted":.*a friend/);
  assert.strictEqual((await shop.subscribe(bob, 'starter')).subscription.status, 'active'); // he may pay all the same
  assert.deepStrictEqual([(await shop.user(bob)).plan, (await shop.user(bob)).granted], ['starter', undefined]);
  const refused = plan(bob.email, 'pro', '--reason=a friend');
  assert.deepStrictEqual([refused.status, /its? .*subscription at Stripe/.test(refused.stderr)], [1, true], refused.stderr);
  assert.match(plan(ann.email, 'free', '--reason=no more').stdout, /free, the default\n$/);
  assert.deepStrictEqual(shop.books().faults, []);
});

// Bug: hours that users had taken while nobody was asked for money ran on, for a year, once everybody was.
withShop(test, 'at the first start with Stripe, hours that were taken for nothing end; what the operator gave goes on', { env: { STRIPE_SECRET_KEY: undefined } }, async (shop) => {
  const [ann, bob] = [await shop.person(), await shop.person('bob@example.org')];
  const own = (await ann.call('POST', '/instances?wait=20', { hours: 8000 })).body;
  const gift = (await shop.server.call('POST', '/instances?wait=20', { hours: 8000, user_id: bob.id })).body;
  await shop.server.kill();
  shop.server.how.env = { ...shop.env, STRIPE_SECRET_KEY: shop.stripe.key };
  await shop.server.launch();
  await shop.until(async () => (await ann.call('GET', `/instances/${own.id}`)).body.expires_at === null, 'its hours have ended');
  // the mock has forgotten its machines with the process: they are made again meanwhile
  const payers = async () => (await ann.call('GET', '/billing/usage')).body.machines.map((m) => m.paid_by);
  await shop.until(async () => (await payers()).join() === 'bonus', 'its bonus pays');
  await shop.server.running(own.id);
  assert.strictEqual((await bob.call('GET', `/instances/${gift.id}`)).body.prepaid.hours, 8000);
  assert.deepStrictEqual((await bob.call('GET', '/billing/usage')).body.machines.map((m) => m.paid_by), ['block']);
  assert.strictEqual((await ann.call('POST', `/instances/${own.id}/extend`, { hours: 10 })).status, 402);
  assert.deepStrictEqual(shop.books().faults, []);
});

withShop(test, 'hours: paid, credited and bought in one commit; a machine of its own; more hours for it', {}, async (shop, w) => {
  const ann = await shop.person();
  const session = await shop.checkout(ann, { hours: 24, type: 'medium', spec: { name: 'block' } });
  assert.deepStrictEqual([session.mode, session.amount_total, session.currency, session.metadata.what], ['payment', 192, 'usd', 'block']);
  w.pay(session);
  await shop.tell({ twice: true });
  await shop.worked(['event', 'order']);
  const [m, ...more] = await shop.machines(ann);
  assert.deepStrictEqual([m.name, m.type, m.status, m.prepaid.hours, m.prepaid.paid, more], ['block', 'medium', 'RUNNING', 24, 1920000, []]);
  w.pay(await shop.checkout(ann, { hours: 10, machine: m.id }));
  await shop.tell();
  await shop.worked(['order']);
  const extended = (await ann.call('GET', `/instances/${m.id}`)).body;
  assert.strictEqual((Date.parse(extended.expires_at) - Date.parse(m.expires_at)) / 3600000, 10);
  const books = shop.books();
  assert.deepStrictEqual([books.faults, books.accounts[ann.id].balances.payments, books.accounts[ann.id].balances.revenue, books.accounts[ann.id].balances.credit], [[], -2720000, 2720000, undefined]);
});

withShop(test, 'credit is credit; what a checkout cannot be is refused, the field named', {}, async (shop, w) => {
  const ann = await shop.person();
  w.pay(await shop.checkout(ann, { credit: 12.5 }));
  await shop.tell({ twice: true });
  await shop.worked(['order']);
  assert.strictEqual(shop.books().accounts[ann.id].balances.credit, 12500000);
  for (const [body, field] of [[{ plan: 'gold' }, 'plan'], [{ plan: 'free' }, 'plan'], [{ plan: 'pro', hours: 3 }, 'hours'], [{ hours: 1 }, 'hours'], [{ hours: 0 }, 'hours'],
    [{ hours: 24, type: 'huge' }, 'type'], [{ hours: 24, type: 'large', spec: { type: 'small' } }, 'type'], [{ type: 'small' }, 'type'], [{ credit: 0.1 }, 'credit'], [{ credit: '1.234' }, 'credit'], [{ credit: 'x' }, 'credit'],
    [{ credit: 1e9 }, 'credit'], [{ hours: 24, spec: { user_id: 'x' } }, 'spec'], [{ hours: 24, spec: { nonsense: 1 } }, 'spec'], [{ hours: 24, spec: 3 }, 'spec'], [{ colour: 'red' }, 'colour']]) {
    const r = await ann.call('POST', '/billing/checkout', body);
    assert.deepStrictEqual([r.status, r.body.field], [400, field], `${JSON.stringify(body)} ${r.text}`);
  }
  assert.strictEqual((await ann.call('POST', '/billing/checkout', { hours: 24, machine: '00000000-0000-4000-8000-000000000000' })).status, 404);
  assert.strictEqual((await shop.server.call('POST', '/billing/checkout', {})).status, 401); // the operator's key is no user
});

withShop(test, 'B27: a paid plan whose machine fails is tried again until it is there, and the operator is told',
  { settings: { mock: '{create={fail=2,code="invalid"}}' } }, async (shop) => {
    const ann = await shop.person();
    await shop.subscribe(ann);
    await shop.until(async () => (await shop.machines(ann))[0]?.status === 'RUNNING', 'his machine runs');
    assert.strictEqual((await shop.machines(ann)).length, 1);
  });

withShop(test, 'hours whose machine cannot be made are the user\'s credit, and the operator is told', { settings: { mock: '{create={fail=1000,code="invalid"}}' } }, async (shop, w) => {
  const ann = await shop.person();
  w.pay(await shop.checkout(ann, { hours: 24, type: 'medium' }));
  await shop.tell({ twice: true });
  await shop.worked(['order'], 60);
  const books = shop.books();
  assert.deepStrictEqual([books.accounts[ann.id].balances.credit, books.faults], [1920000, []]);
  await shop.server.says(/level=error.*what was paid could not be done/);
});

// Bug: such an order was looked at every two seconds, with a commit each time, for ever.
withShop(test, 'hours whose machine\'s creation is cancelled are done with: they begin when it runs', { env: { MOCK: '{create={latency_ms=20000}}' } }, async (shop, w) => {
  const ann = await shop.person();
  w.pay(await shop.checkout(ann, { hours: 24, type: 'medium' }));
  await shop.tell();
  await shop.until(async () => (await shop.machines(ann)).length === 1, 'its machine is being made');
  const [m] = await shop.machines(ann);
  const cancelled = await ann.call('POST', `/operations/${m.operation}/cancel?wait=60`);
  assert.strictEqual(cancelled.body.state, 'cancelled', cancelled.text);
  await shop.worked(['order'], 60);
  assert.deepStrictEqual(shop.list(['order']).map((o) => [o.status, o.note]), [['done', 'it is off; its hours begin when it runs']]);
  const off = (await ann.call('GET', `/instances/${m.id}`)).body;
  assert.deepStrictEqual([off.status, off.prepaid.hours, off.prepaid.begun_at], ['STOPPED', 24, null]);
  await ann.call('POST', `/instances/${m.id}/start?wait=60`);
  const on = (await ann.call('GET', `/instances/${m.id}`)).body;
  assert.deepStrictEqual([on.status, Date.parse(on.expires_at) - Date.parse(on.prepaid.begun_at)], ['RUNNING', 24 * 3600e3]);
  assert.deepStrictEqual(shop.books().faults, []);
});

withShop(test, 'hours that the policy refuses by then are the user\'s credit', {}, async (shop, w) => {
  const ann = await shop.person();
  const bad = await shop.checkout(ann, { hours: 24, spec: { name: 'taken' } });
  const good = await shop.checkout(ann, { hours: 24, spec: { name: 'taken' } });
  w.pay(good);
  w.pay(bad);
  await shop.tell();
  await shop.worked(['order']);
  const books = shop.books();
  assert.deepStrictEqual([(await shop.machines(ann)).length, books.accounts[ann.id].balances.credit, books.faults], [1, 960000, []]);
});

test('without Stripe there are no such routes', async () => {
  const s = await Server.start({ provider: 'mock' });
  const ann = await person(s, 'ann@example.org');
  for (const [method, where] of [['POST', '/billing/checkout'], ['GET', '/billing/portal'], ['POST', '/billing/webhook'], ['GET', '/billing/checkout']]) {
    const r = await ann.call(method, where, method === 'POST' ? {} : undefined);
    assert.deepStrictEqual([r.status, r.body.error], [404, `no such route: ${where}`]);
  }
  await s.stop();
});
