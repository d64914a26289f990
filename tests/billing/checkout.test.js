// From the checkout to the machine: what a user is offered, what he pays, and what he gets for it.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Server } = require('../lib/cchost.js');
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
  assert.strictEqual((await shop.user(ann)).subscription_status, undefined);
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
