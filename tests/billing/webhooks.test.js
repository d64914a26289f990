// What Stripe tells, and what becomes of it: kept before it is answered, done once, whatever the order, the number and the age.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const kit = require('../lib/kit.js');
const { sign } = require('../lib/stripe/hooks.js');
const { withShop } = require('./shop.js');

const runs = async (shop, who) => { await shop.until(async () => (await shop.machines(who))[0]?.status === 'RUNNING', 'his machine runs'); return (await shop.machines(who))[0]; };
const about = (shop, who) => shop.user(who).then((u) => [u.plan, u.subscription_status]);
const balances = (shop, who) => { const b = shop.books(); assert.deepStrictEqual(b.faults, []); return b.accounts[who.id].balances; };
// Machines that are deleted are forgotten, as after 30 days.
const purge = (shop) => {
  const file = path.join(shop.dir, 'purge.lua');
  fs.writeFileSync(file, `require("script").open()
    assert(require("retention").run(require("time").now() + 40 * 86400000).purged == 1)`);
  shop.script(file);
};

withShop(test, 'a webhook is taken when its signature is right, and answered 400 when it is wrong, old or missing', {}, async (shop, w) => {
  w.createCustomer({ email: 'x@example.org' });
  const [event] = w.events;
  const now = w.now();
  for (const how of [{ header: null }, { header: 'nonsense' }, { at: now - 330 }, { at: now + 330 }, { secrets: 'whsec_other' }, { payload: (t) => `${t} ` }]) {
    const r = await shop.hooks.deliver(event, how);
    assert.strictEqual(r.status, 400, JSON.stringify(how));
  }
  assert.deepStrictEqual(shop.list(), []);
  const ok = await shop.hooks.deliver(event);
  assert.deepStrictEqual([ok.status, JSON.parse(ok.text)], [200, { status: 'ok' }]);
  for (const body of ['', '[]', 'null', '{"object":"event"}', '{"object":"event","id":"evt_1","type":"x","created":1}', '{"object":"event","id":"../x","type":"x","created":1,"data":{"object":{}}}', '{'.repeat(5000)]) {
    assert.strictEqual((await shop.hooks.deliver(event, { payload: () => body, header: sign(body, shop.stripe.secret, now) })).status, 400, body.slice(0, 80));
  }
  const large = JSON.stringify({ ...event, pad: 'x'.repeat(65536) });
  assert.strictEqual((await shop.hooks.deliver(event, { payload: () => large, header: sign(large, shop.stripe.secret, now) })).status, 413);
  assert.strictEqual(shop.list().length, 1);
});

withShop(test, 'while the secret is rolled both sign', { env: { STRIPE_WEBHOOK_SECRET: 'whsec_new', STRIPE_WEBHOOK_SECRET_PREVIOUS: 'whsec_double_0123456789abcdef' } }, async (shop, w) => {
  w.createCustomer({});
  for (const secrets of ['whsec_new', 'whsec_double_0123456789abcdef', ['whsec_x', 'whsec_new']]) {
    assert.strictEqual((await shop.hooks.deliver(w.events[0], { secrets })).status, 200);
  }
});

withShop(test, 'B25: checkout.session.completed told again after the cancellation makes nothing active, and no machine', {}, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann);
  const m = await runs(shop, ann);
  w.cancel(subscription);
  await shop.tell();
  assert.deepStrictEqual(await about(shop, ann), ['free', 'canceled']);
  await shop.until(async () => await shop.server.status(m.id) === 'STOPPED', 'his machine is stopped');
  const completed = w.events.find((e) => e.type === 'checkout.session.completed');
  for (let i = 0; i < 3; i++) assert.strictEqual((await shop.hooks.deliver(completed)).status, 200);
  await shop.hooks.deliver({ ...completed, id: 'evt_again' }); // as another event, too
  await shop.worked(['event', 'order']);
  assert.deepStrictEqual(await about(shop, ann), ['free', 'canceled']);
  assert.deepStrictEqual((await shop.machines(ann)).map((x) => x.status), ['STOPPED']);
});

withShop(test, 'B26: an update that was true before the end does not bring a subscription back', {}, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann);
  w.cancelAtEnd(subscription);
  w.cancel(subscription);
  await shop.tell({ reverse: true });
  assert.deepStrictEqual(await about(shop, ann), ['free', 'canceled']);
});

withShop(test, 'B5: without a subscription nothing is made or woken; after its end the machine is stopped at once and stays so', {}, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann);
  const m = await runs(shop, ann);
  const at = Date.now();
  w.cancel(subscription);
  await shop.hooks.deliver(w.events.at(-1));
  await shop.until(async () => ['STOPPING', 'STOPPED'].includes(await shop.server.status(m.id)), 'it is stopped');
  assert.ok(Date.now() - at < 2000, `at once: ${Date.now() - at} ms`);
  await shop.until(async () => await shop.server.status(m.id) === 'STOPPED', 'it is stopped');
  for (const verb of ['wake', 'start']) assert.strictEqual((await ann.call('POST', `/instances/${m.id}/${verb}`, {})).status, 402, verb);
  await ann.call('DELETE', `/instances/${m.id}?wait=10`);
  const made = await ann.call('POST', '/instances', {});
  assert.deepStrictEqual([made.status, /POST \/billing\/checkout/.test(made.body.error)], [402, true]);
});

withShop(test, 'B28: whoever is no customer here is noted, and Stripe need not tell it again', {}, async (shop, w) => {
  const stranger = w.createCustomer({ email: 'who@example.org' });
  const session = w.createSession({ mode: 'subscription', customer: stranger.id, line_items: [{ price: 'price_pro', quantity: '1' }], success_url: 'https://x/', metadata: { user_id: 'nobody' } });
  const { subscription, charge } = w.pay(session);
  const once = w.createSession({ mode: 'payment', customer: stranger.id, line_items: [{ price_data: { currency: 'usd', unit_amount: '500' } }], success_url: 'https://x/' });
  const paid = w.pay(once);
  w.renew(subscription, { fails: true });
  w.refund(charge);
  w.closeDispute(w.dispute(paid.charge));
  w.trialWillEnd(subscription);
  w.expire(w.createSession({ mode: 'subscription', customer: stranger.id, line_items: [{ price: 'price_pro', quantity: '1' }], success_url: 'https://x/' }));
  w.deleteCustomer(stranger);
  await shop.tell({ shuffle: Math.random, twice: true });
  const list = shop.list();
  assert.ok(list.length > 12 && list.every((e) => e.status === 'done' && e.kind === 'stripe_event'), JSON.stringify(list));
  await shop.server.says(/level=error.*somebody has paid who is no user here/);
  assert.deepStrictEqual(shop.books().accounts, {});
});

withShop(test, 'B29: a plan taken in the portal is read back; past_due is cleared by invoice.paid', {}, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann, 'starter');
  const before = balances(shop, ann).included;
  w.changePrice(subscription, 'price_pro');
  await shop.tell();
  assert.deepStrictEqual(await about(shop, ann), ['pro', 'active']);
  assert.ok(balances(shop, ann).included > before);
  const { invoice } = w.renew(subscription, { fails: true });
  const since = (e) => e.type === 'invoice.payment_failed';
  await shop.hooks.deliver(w.events.find(since)); // that alone
  await shop.becomes(ann, 'past_due');
  const first = (await shop.user(ann)).subscription_since;
  await shop.tell({ reverse: true });
  assert.strictEqual((await shop.user(ann)).subscription_since, first); // grace does not begin anew
  w.payInvoice(invoice);
  await shop.hooks.deliver(w.events.find((e) => e.type === 'invoice.paid' && e.data.object.id === invoice.id));
  await shop.becomes(ann, 'active');
  await shop.tell();
  assert.strictEqual(balances(shop, ann).payments, -(19 + 29) * 1e6);
});

withShop(test, 'every status that a subscription may have', {}, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann, 'pro');
  const m = await runs(shop, ann);
  const included = balances(shop, ann).included;
  w.pause(subscription);
  await shop.tell();
  assert.deepStrictEqual(await about(shop, ann), ['pro', 'paused']);
  await shop.until(async () => await shop.server.status(m.id) === 'STOPPED', 'it is stopped');
  w.resume(subscription);
  await shop.tell();
  assert.deepStrictEqual(await about(shop, ann), ['pro', 'active']);
  assert.ok(included - balances(shop, ann).included < 60000, 'the hours are there as before');
  w.setStatus(subscription, 'unpaid');
  await shop.tell();
  assert.deepStrictEqual(await about(shop, ann), ['pro', 'unpaid']);
  assert.strictEqual((await ann.call('POST', `/instances/${m.id}/start`, {})).status, 402);
  assert.strictEqual((await ann.call('POST', '/billing/checkout', {})).status, 409);
  assert.strictEqual((await shop.server.call('PATCH', `/users/${ann.id}`, { plan: 'starter' })).status, 409); // it is the subscription's
  w.setStatus(subscription, 'incomplete_expired');
  await shop.tell();
  assert.deepStrictEqual(await about(shop, ann), ['free', 'incomplete_expired']);
  assert.strictEqual((await shop.subscribe(ann, 'starter')).subscription.status, 'active');
  assert.deepStrictEqual(await about(shop, ann), ['starter', 'active']);
});

withShop(test, 'a payment that takes days: nothing before it has come, all of it then; nothing when it fails', {}, async (shop, w) => {
  const [ann, bob, eve] = [await shop.person(), await shop.person('bob@example.org'), await shop.person('eve@example.org')];
  const [plan, hours, failed] = [await shop.checkout(ann), await shop.checkout(bob, { credit: 20 }), await shop.checkout(eve, { plan: 'pro' })];
  for (const s of [plan, hours, failed]) w.pay(s, { later: true });
  await shop.tell();
  await shop.worked(['order']);
  assert.deepStrictEqual([(await shop.user(ann)).plan, (await shop.machines(ann)).length, shop.books().accounts[bob.id]], ['free', 0, undefined]);
  assert.strictEqual((await shop.user(ann)).subscription_status, 'incomplete');
  w.asyncSucceeds(plan); w.asyncSucceeds(hours); w.asyncFails(failed);
  await shop.tell({ shuffle: Math.random, twice: true });
  await runs(shop, ann);
  await shop.worked(['order']);
  assert.deepStrictEqual([balances(shop, bob).credit, (await shop.user(eve)).plan, (await shop.machines(eve)).length], [20e6, 'free', 0]);
  w.expire(await shop.checkout(eve, { plan: 'pro' }));
  await shop.tell();
  assert.strictEqual((await shop.subscribe(eve, 'pro')).subscription.status, 'active');
});

withShop(test, 'a trial at Stripe: active without a payment, told before it ends', {}, async (shop, w) => {
  const ann = await shop.person();
  const session = await shop.checkout(ann, { plan: 'pro' });
  session.hidden.trial = 14;
  const { subscription } = w.pay(session);
  w.trialWillEnd(subscription);
  await shop.tell({ twice: true });
  assert.deepStrictEqual(await about(shop, ann), ['pro', 'trialing']);
  assert.strictEqual(balances(shop, ann).payments, undefined);
  await runs(shop, ann);
});

// Bug: it was paid back twice: by Stripe, and as credit when the machine was deleted before it ran.
withShop(test, 'a refund of hours that have not begun is not given back again as credit', { env: { MOCK: '{create={latency_ms=20000}}' } }, async (shop, w) => {
  const ann = await shop.person();
  const { charge } = w.pay(await shop.checkout(ann, { hours: 100, type: 'small' }));
  await shop.tell();
  await shop.until(async () => (await shop.machines(ann)).length === 1, 'it is being made');
  w.refund(charge, 100);
  await shop.tell();
  let [m] = await shop.machines(ann);
  assert.deepStrictEqual([m.prepaid.begun_at, m.prepaid.paid, balances(shop, ann).refunds], [null, 3e6, -1e6]);
  const dispute = w.dispute(charge, { amount: 200 });
  await shop.tell();
  [m] = await shop.machines(ann);
  assert.strictEqual(m.prepaid.paid, 1e6);
  await ann.call('DELETE', `/instances/${m.id}`);
  await shop.until(async () => (await shop.machines(ann)).length === 0, 'it is deleted');
  assert.strictEqual(balances(shop, ann).credit, 1e6);
  w.closeDispute(dispute, 'won'); // the money is ours again, and its hours were never used
  await shop.tell();
  const b = balances(shop, ann);
  assert.deepStrictEqual([b.credit, b.payments, b.refunds, b.revenue, b[`block:${m.id}`]], [3e6, -3e6, -3e6, 3e6, undefined]);
  assert.deepStrictEqual(shop.books().faults, []);
});

// Bug: what was paid for the hours had gone back, and the machine ran on to their end.
withShop(test, 'hours that have begun end when what was paid for them goes back: of a part of it as much of them', {}, async (shop, w) => {
  const ann = await shop.person();
  const { charge } = w.pay(await shop.checkout(ann, { hours: 100, type: 'small' }));
  await shop.tell();
  const m = await runs(shop, ann);
  w.refund(charge, 100);
  await shop.tell({ twice: true });
  const shorter = (await ann.call('GET', `/instances/${m.id}`)).body;
  assert.deepStrictEqual([(Date.parse(m.expires_at) - Date.parse(shorter.expires_at)) / 3600000, shorter.prepaid.hours, shorter.status], [25, 75, 'RUNNING']);
  w.pay(await shop.checkout(ann, { credit: 2 })); // which is nobody's but his
  await shop.tell();
  await shop.worked(['order']);
  w.refund(charge);
  const at = Date.now();
  await shop.tell({ twice: true });
  await shop.until(async () => ['STOPPING', 'STOPPED'].includes(await shop.server.status(m.id)), 'it is stopped');
  assert.ok(Date.now() - at < 5000, `at once: ${Date.now() - at} ms`);
  await shop.until(async () => await shop.server.status(m.id) === 'STOPPED', 'it is stopped');
  const now = (await ann.call('GET', `/instances/${m.id}`)).body;
  assert.match(now.reason, /^its hours ended at .*, as what was paid for them went back; its data is kept for /);
  const again = await ann.call('POST', `/instances/${m.id}/start`, {});
  assert.deepStrictEqual([again.status, /went back.*extend it first/.test(again.body.error)], [403, true], again.text);
  const b = balances(shop, ann);
  assert.deepStrictEqual([b.credit, b.payments, b.refunds, b[`block:${m.id}`]], [2e6, -2e6, -4e6, undefined]);
  assert.ok(b.waived === undefined || b.waived > -200, `what it ran until it was stopped: ${b.waived}`);
  const extended = await ann.call('POST', `/instances/${m.id}/extend`, { hours: 10 }); // bought anew, it goes on
  assert.deepStrictEqual([extended.status, /^it runs on prepaid hours, and is no machine of its owner's plan: /.test(extended.body.notice)], [200, true], extended.text);
  await shop.until(async () => await shop.server.status(m.id) === 'RUNNING', 'it runs again');
  assert.strictEqual((await ann.call('GET', `/instances/${m.id}`)).body.prepaid.refunded, undefined);
  assert.strictEqual(balances(shop, ann).credit, 1.6e6);
});

withShop(test, 'hours whose payment is disputed end; won, what had not been used is credit', {}, async (shop, w) => {
  const ann = await shop.person();
  const { charge } = w.pay(await shop.checkout(ann, { hours: 100, type: 'small' }));
  await shop.tell();
  const m = await runs(shop, ann);
  const d = w.dispute(charge);
  await shop.tell();
  await shop.until(async () => await shop.server.status(m.id) === 'STOPPED', 'it is stopped');
  w.closeDispute(d, 'won');
  await shop.tell({ twice: true });
  const b = balances(shop, ann);
  assert.ok(b.credit < 4e6 && b.credit > 4e6 - 2000, `${b.credit}: the seconds that it ran are his`);
  assert.strictEqual(b.payments, -4e6);
});

// Bug: the record of the machine was gone, and its hours' refund took credit that was bought besides.
withShop(test, 'a refund of hours whose machine is long gone takes no other credit', {}, async (shop, w) => {
  const ann = await shop.person();
  const { charge } = w.pay(await shop.checkout(ann, { hours: 100, type: 'small' }));
  await shop.tell();
  const m = await runs(shop, ann);
  await ann.call('DELETE', `/instances/${m.id}`);
  await shop.until(async () => (await shop.machines(ann)).length === 0, 'it is deleted');
  w.pay(await shop.checkout(ann, { credit: 6 }));
  await shop.tell();
  await shop.worked(['order']);
  purge(shop);
  assert.strictEqual((await ann.call('GET', `/instances/${m.id}`)).status, 404);
  w.refund(charge);
  await shop.tell({ twice: true });
  const b = balances(shop, ann);
  assert.deepStrictEqual([b.credit, b.payments, b.refunds], [6e6, -6e6, -4e6]);
});

withShop(test, 'a refund of hours that were given back, of a machine that is long gone, takes their credit', { env: { MOCK: '{create={latency_ms=20000}}' } }, async (shop, w) => {
  const ann = await shop.person();
  const { charge } = w.pay(await shop.checkout(ann, { hours: 100, type: 'small' }));
  await shop.tell();
  await shop.until(async () => (await shop.machines(ann)).length === 1, 'it is being made');
  const [m] = await shop.machines(ann);
  await ann.call('DELETE', `/instances/${m.id}`);
  await shop.until(async () => (await shop.machines(ann)).length === 0, 'it is deleted');
  assert.strictEqual(balances(shop, ann).credit, 4e6);
  purge(shop);
  w.refund(charge);
  await shop.tell({ twice: true });
  const b = balances(shop, ann);
  assert.deepStrictEqual([b.credit, b.payments, b.refunds], [undefined, undefined, undefined]);
});

// Bug: credit was bought, spent on hours, and paid back by Stripe; the machine was deleted before it ran, and it was credit again.
withShop(test, 'credit that went back buys no hours: those that have not begun go with it', { env: { MOCK: '{create={latency_ms=20000}}' } }, async (shop, w) => {
  const ann = await shop.person();
  const { charge } = w.pay(await shop.checkout(ann, { credit: 10 }));
  await shop.tell();
  await shop.worked(['order']);
  const made = await ann.call('POST', '/instances', { type: 'small', hours: 200 });
  assert.deepStrictEqual([made.status, balances(shop, ann).credit], [201, 2e6]);
  w.refund(charge, 400);
  await shop.tell({ twice: true });
  const m = (await ann.call('GET', `/instances/${made.body.id}`)).body;
  assert.deepStrictEqual([m.prepaid.paid, m.prepaid.hours, m.prepaid.begun_at, balances(shop, ann).credit], [6e6, 150, null, undefined]);
  w.refund(charge);
  await shop.tell({ twice: true });
  const over = (await ann.call('GET', `/instances/${m.id}`)).body;
  assert.deepStrictEqual([over.prepaid.paid, over.prepaid.hours, over.prepaid.refunded, Date.parse(over.expires_at) <= Date.now()], [0, 0, true, true]);
  await ann.call('DELETE', `/instances/${m.id}`);
  await shop.until(async () => (await shop.machines(ann)).length === 0, 'it is deleted');
  const b = balances(shop, ann);
  assert.deepStrictEqual([b.credit, b.payments, b.refunds, b.revenue, b[`block:${m.id}`]], [undefined, undefined, -8e6, 8e6, undefined]);
});

withShop(test, 'refunds, told twice and in any order, are booked by their difference; of credit, what is left of it is taken', {}, async (shop, w) => {
  const ann = await shop.person();
  const { charge: fee } = await shop.subscribe(ann);
  const { charge } = w.pay(await shop.checkout(ann, { credit: 30 }));
  await shop.tell();
  await shop.worked(['order']);
  w.refund(charge, 500); w.refund(charge, 700); w.refund(fee, 900);
  await shop.tell({ reverse: true, twice: true });
  const b = balances(shop, ann);
  assert.deepStrictEqual([b.credit, b.refunds, b.payments], [18e6, -9e6, -(19 + 30 - 12 - 9) * 1e6]);
  const early = await shop.checkout(ann, { credit: 8 });
  w.refund(w.pay(early).charge, 300);
  await shop.tell({ reverse: true }); // what goes back comes first
  await shop.worked(['event', 'order']);
  assert.strictEqual(balances(shop, ann).credit, 23e6);
  w.refund([...w.charges.values()].at(-1));
  w.refund(charge);
  await shop.tell();
  assert.deepStrictEqual([balances(shop, ann).credit, balances(shop, ann).payments], [undefined, -10e6]);
  assert.strictEqual(w.taken(w.charges.get(charge.id).customer), 1000);
});

withShop(test, 'a dispute takes the money; won, it is the user\'s as before; an inquiry takes nothing', {}, async (shop, w) => {
  const ann = await shop.person();
  const { charge: one } = w.pay(await shop.checkout(ann, { credit: 10 }));
  const { charge: two } = w.pay(await shop.checkout(ann, { credit: 5 }));
  await shop.tell();
  await shop.worked(['order']);
  w.dispute(two, { status: 'warning_needs_response' });
  const d = w.dispute(one);
  await shop.tell({ twice: true });
  assert.deepStrictEqual([balances(shop, ann).credit, balances(shop, ann).payments], [5e6, -5e6]);
  await shop.server.says(/level=error.*a payment is disputed/);
  w.closeDispute(d, 'won');
  await shop.tell({ twice: true });
  assert.deepStrictEqual([balances(shop, ann).credit, balances(shop, ann).payments], [15e6, -15e6]);
  const e = w.dispute(two);
  w.closeDispute(e, 'won');
  await shop.tell({ reverse: true, twice: true }); // its end before its beginning
  assert.deepStrictEqual([balances(shop, ann).credit, balances(shop, ann).payments], [15e6, -15e6]);
  const f = w.dispute(two);
  w.closeDispute(f, 'lost');
  await shop.tell({ reverse: true });
  assert.deepStrictEqual([balances(shop, ann).credit, balances(shop, ann).payments], [10e6, -10e6]);
});

withShop(test, 'an invoice\'s metered lines pay what is owed, the rest of it is the fee; in either shape', { env: { LOG_LEVEL: 'info' } }, async (shop, w) => {
  for (const [version, email] of [['2026-10-28.endive', 'new@example.org'], ['2023-08-16', 'old@example.org']]) {
    const ann = await shop.person(email);
    const { subscription } = await shop.subscribe(ann);
    const i = w.invoice(subscription, 'subscription_cycle');
    const lines = { object: 'list', has_more: false, data: [{ object: 'line_item', amount: 1900, price: { id: 'price_starter', recurring: { usage_type: 'licensed' } } },
      version > '2025' ? { object: 'line_item', amount: 321, pricing: { price_details: { price: 'price_usage' } } } : { object: 'line_item', amount: 321, price: { id: 'price_older', recurring: { usage_type: 'metered' } } }] };
    Object.assign(i, { lines, amount_due: 2221 });
    w.settle(i);
    await shop.tell({ version, twice: true });
    const b = balances(shop, ann);
    assert.deepStrictEqual([b.revenue, b.credit, b.payments], [38e6, 3.21e6, -41.21e6], version);
  }
  await shop.server.says(/level=warn.*another version of Stripe's API.*2023-08-16/);
});

withShop(test, 'an invoice with more lines than the event shows: they are asked for', {}, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = await shop.subscribe(ann);
  const i = w.invoice(subscription, 'subscription_cycle');
  const data = Array.from({ length: 12 }, () => ({ object: 'line_item', amount: 10, pricing: { price_details: { price: 'price_usage' } } }));
  Object.assign(i, { lines: { object: 'list', has_more: true, data: data.slice(0, 10) }, amount_due: 1900 + 120 });
  w.settle(i);
  i.lines = { object: 'list', has_more: false, data };
  await shop.tell();
  assert.deepStrictEqual(shop.stripe.asked('GET', /\/lines$/).map((r) => [r.path, r.params, r.status]), [[`/v1/invoices/${i.id}/lines`, { limit: '100' }, 200]]);
  const b = balances(shop, ann);
  assert.deepStrictEqual([b.revenue, b.credit, b.payments], [38e6, 1.2e6, -39.2e6]);
});

withShop(test, 'all of it in the shape of 2023, days late', { env: { STRIPE_API_VERSION: '2023-08-16' }, stripe: { version: '2023-08-16' } }, async (shop, w) => {
  const ann = await shop.person();
  const { subscription } = w.pay(await shop.checkout(ann));
  for (const e of w.events) e.created -= 3 * 86400;
  await shop.tell({ version: '2023-08-16', shuffle: Math.random });
  assert.deepStrictEqual(await about(shop, ann), ['starter', 'active']);
  w.cancel(subscription);
  await shop.tell({ version: '2023-08-16' });
  assert.deepStrictEqual(await about(shop, ann), ['free', 'canceled']);
  assert.strictEqual(balances(shop, ann).payments, -19e6);
});

withShop(test, 'two subscriptions at Stripe: the first counts while it lives, and then the other', {}, async (shop, w) => {
  const ann = await shop.person();
  const first = await shop.subscribe(ann, 'starter');
  const session = w.createSession({ mode: 'subscription', customer: first.subscription.customer, line_items: [{ price: 'price_pro', quantity: '1' }], success_url: 'https://x/' });
  const second = w.pay(session);
  await shop.tell({ shuffle: Math.random });
  assert.strictEqual((await shop.user(ann)).stripe_subscription_id, first.subscription.id);
  await shop.server.says(/level=error.*pays two subscriptions/);
  w.cancel(first.subscription);
  await shop.tell();
  assert.deepStrictEqual([(await shop.user(ann)).stripe_subscription_id, ...await about(shop, ann)], [second.subscription.id, 'pro', 'active']);
});

withShop(test, 'an event that cannot be done is parked, the operator told, and done when he has it tried again', {}, async (shop, w) => {
  const ann = await shop.person();
  w.prices.price_odd = { unit_amount: 100 };
  const { subscription } = await shop.subscribe(ann);
  subscription.metadata = {};
  w.changePrice(subscription, 'price_odd');
  const { id } = w.events.at(-1);
  await shop.tell();
  const [parked] = shop.list().filter((e) => e.status === 'parked');
  assert.deepStrictEqual([parked.id, parked.attempts], [id, 5]);
  await shop.server.says(/level=error.*is parked.*cchost stripe retry/);
  assert.deepStrictEqual(await about(shop, ann), ['starter', 'active']);
  const cchost = (...args) => require('node:child_process').execFileSync(require('../lib/cchost.js').binary, ['stripe', ...args], { encoding: 'utf8', env: { ...process.env, DATA_DIR: shop.dir } });
  assert.match(cchost(), new RegExp(`^parked +stripe_event +${id} +customer.subscription.updated.*price_odd`));
  assert.strictEqual(JSON.parse(cchost('show', id)).status, 'parked');
  subscription.metadata = { plan: 'pro' }; // what is wrong is mended
  assert.match(cchost('retry', '--parked'), new RegExp(id));
  await shop.worked();
  assert.deepStrictEqual(await about(shop, ann), ['pro', 'active']);
  assert.strictEqual(cchost(), '');
});

withShop(test, 'while Stripe does not answer, events wait', {}, async (shop, w) => {
  const ann = await shop.person();
  w.pay(await shop.checkout(ann));
  shop.stripe.fault({ path: /^\/v1\/subscriptions/, status: 500, times: 12 });
  const answers = await shop.hooks.deliverAll();
  assert.ok(answers.every((r) => r.status === 200));
  await shop.becomes(ann, 'active');
  await shop.worked();
});

withShop(test, 'what was not told, or told while nobody was there, is asked for at the start', {}, async (shop, w) => {
  const ann = await shop.person();
  w.pay(await shop.checkout(ann));
  await shop.server.kill();
  for (let i = 0; i < 120; i++) w.createCustomer({});
  await shop.server.launch();
  await shop.becomes(ann, 'active');
  await runs(shop, ann);
  await shop.server.says(/events that were missed are here now/);
  shop.hooks.url = `${shop.server.url}/billing/webhook`;
  await shop.tell({ twice: true }); // and then told after all
  assert.strictEqual(balances(shop, ann).payments, -19e6);
  const asked = shop.stripe.asked('GET', '/v1/events').length;
  await shop.server.kill();
  await shop.server.launch();
  await shop.until(() => shop.stripe.asked('GET', '/v1/events').length > asked, 'asked again');
  const since = Number(shop.stripe.asked('GET', '/v1/events').at(-1).params.created.gte);
  assert.ok(since > w.now() - 4000, 'from the last time on');
  shop.hooks.url = `${shop.server.url}/billing/webhook`;
});

withShop(test, 'the fixture events of Stripe\'s document are survived, of every type that we know', {}, async (shop, w) => {
  const { resources } = JSON.parse(fs.readFileSync(path.join(kit.specs, 'stripe/fixtures3.json')));
  const types = { 'checkout.session': ['checkout.session.completed', 'checkout.session.expired', 'checkout.session.async_payment_failed'], subscription: ['customer.subscription.updated', 'customer.subscription.deleted', 'customer.subscription.trial_will_end'],
    invoice: ['invoice.paid', 'invoice.payment_failed'], charge: ['charge.refunded'], dispute: ['charge.dispute.created', 'charge.dispute.closed'], customer: ['customer.deleted'] };
  const all = Object.values(types).flat();
  let n = 0;
  for (const [name, object] of Object.entries(resources)) {
    // each as what it is, and as what it is not
    for (const type of [...(types[name] || [`${name}.updated`]), all[n % all.length]]) {
      const event = { ...resources.event, id: `evt_fixture_${++n}`, type, created: w.now(), data: { object } };
      const text = JSON.stringify(event);
      if (text.length > 65000) continue;
      assert.strictEqual((await shop.hooks.deliver(event, { payload: () => text, header: sign(text, shop.stripe.secret, w.now()) })).status, 200, name);
    }
  }
  await shop.worked();
  const list = shop.list();
  assert.ok(list.length > 200);
  assert.deepStrictEqual(list.filter((e) => e.status !== 'done').map((e) => [e.type, e.error]), []);
  assert.doesNotMatch(shop.server.log, /raised/);
});

withShop(test, 'the end of an account is the end of its subscription, and of a page that could still be paid', {}, async (shop, w) => {
  const [ann, bob] = [await shop.person(), await shop.person('bob@example.org')];
  const { subscription } = await shop.subscribe(ann);
  const session = await shop.checkout(bob);
  shop.stripe.fault({ method: 'DELETE', status: 500, times: 5 });
  for (const who of [ann, bob]) assert.strictEqual((await shop.server.call('DELETE', `/users/${who.id}?machines=delete`)).status, 200);
  await shop.until(() => subscription.status === 'canceled' && session.status === 'expired', 'they are ended');
  await shop.tell();
  assert.ok(shop.list().every((e) => e.status !== 'parked'));
});
