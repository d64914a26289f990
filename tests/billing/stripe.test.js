// The client of Stripe against what others say Stripe is: each request before the third-party validator and beside the one that
// Stripe's own npm library makes; signatures by that library; faults, retries and their keys; and the key told nowhere.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const kit = require('../lib/kit.js');
const { Stripe, VERSION } = require('../lib/stripe.js');
const { sign, stripeLibrary } = require('../lib/stripe/hooks.js');
const { Validator } = require('../lib/stripe/validator.js');
const { binary, temp } = require('../lib/cchost.js');

const skip = Stripe.missing();
const FAST = { first_pause: 0.01, longest_pause: 0.02 };

// Runs calls in a process of its own. -> [{ value, more } or { code, ... }]; how: { setup, at_once, env }
function calls(env, list, how = {}) {
  const dir = temp();
  const file = path.join(dir, 'calls.json');
  fs.writeFileSync(file, JSON.stringify({ calls: list, setup: how.setup, at_once: how.at_once }));
  const child = spawn(binary, [path.join(__dirname, 'calls.lua'), file], { cwd: dir, env: { ...process.env, LOG_LEVEL: 'debug', ...env, ...how.env } });
  let out = '';
  let log = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { log += d; });
  return new Promise((resolve, reject) => child.on('exit', (code) => {
    fs.rmSync(dir, { recursive: true });
    try {
      assert.strictEqual(code, 0, `ended with ${code}: ${log}`);
      assert.doesNotMatch(log, /left open|Sanitizer|runtime error/);
      if (env.STRIPE_SECRET_KEY) assert.ok(!(out + log).includes(env.STRIPE_SECRET_KEY.slice(8)), `the key was written: ${out}${log}`);
      const answers = out.trim().split('\n').map((l) => JSON.parse(l));
      answers.log = log;
      resolve(answers);
    } catch (e) { reject(e); }
  }));
}

// A test with a double of its own, which at the end must have refused nothing.
function withStripe(name, options, fn) {
  test(name, { skip }, async () => {
    const stripe = await Stripe.start(options);
    let ok = false;
    try {
      await fn(stripe, async (verb, ...args) => (await calls(stripe.env, [[verb, ...args]], { setup: FAST }))[0]);
      ok = true;
    } finally {
      await stripe.stop().catch((e) => { if (ok) throw e; });
    }
  });
}

const USER = '0d4ce7cd-1d2f-4a0b-9c59-5a6a1f3c2b10';
const pages = { success_url: 'https://cc.example.org/dashboard?checkout=success&a=ü', cancel_url: 'https://cc.example.org/dashboard?checkout=cancel' };
const subscribe = (customer, more) => ['checkout_subscription', { customer, price: 'price_pro', user_id: USER, plan: 'pro', ...pages, ...more }];
const block = (customer, more) => ['checkout_payment', { customer, currency: 'eur', amount: 1234, name: '24 h of cpx21 & more', user_id: USER,
  metadata: { block: 'b-1', hours: '24' }, ...pages, ...more }];

withStripe('every verb is a request that Stripe\'s document allows, and gets what it asked for', {}, async (stripe, ask) => {
  const customer = (await ask('create_customer', { user_id: USER, email: 'jörg+x@example.org', name: 'Jörg & "Co" = 100%' })).value;
  assert.deepStrictEqual([customer.email, customer.name, customer.metadata], ['jörg+x@example.org', 'Jörg & "Co" = 100%', { user_id: USER }]);
  assert.strictEqual((await ask('update_customer', customer.id, { name: 'J' })).value.name, 'J');
  assert.strictEqual((await ask('customer', customer.id)).value.id, customer.id);

  const session = (await ask(...subscribe(customer.id, { trial_days: 14, usage_price: 'price_usage' }))).value;
  assert.deepStrictEqual([session.mode, session.customer, session.client_reference_id, session.metadata, session.status, session.success_url],
    ['subscription', customer.id, USER, { user_id: USER, plan: 'pro' }, 'open', pages.success_url]);
  assert.match(session.url, /^https:\/\/checkout\.stripe\.com\//);
  const paid = stripe.world.pay(session.id);
  assert.strictEqual((await ask('checkout_session', session.id)).value.payment_status, 'no_payment_required');
  const sub = (await ask('subscription', paid.subscription.id)).value;
  assert.deepStrictEqual([sub.status, sub.metadata, sub.items.data.map((i) => [i.price.id, i.quantity])],
    ['trialing', { user_id: USER, plan: 'pro' }, [['price_pro', 1], ['price_usage', undefined]]]);
  assert.strictEqual(sub.current_period_end, undefined); // today's version has it on the items
  assert.strictEqual(sub.items.data[0].current_period_end, sub.trial_end);

  const once = (await ask(...block(customer.id))).value;
  assert.deepStrictEqual([once.mode, once.amount_total, once.currency, once.metadata], ['payment', 1234, 'eur', { user_id: USER, block: 'b-1', hours: '24' }]);
  const { charge } = stripe.world.pay(once.id);
  assert.deepStrictEqual([charge.amount, charge.metadata.block], [1234, 'b-1']); // so the event of a refund knows
  assert.match((await ask('portal_session', { customer: customer.id, return_url: 'https://cc.example.org/dashboard' })).value.url, /^https:\/\/billing\.stripe\.com\//);

  const now = stripe.world.now();
  const metered = (await ask('report_usage', { id: 'u-1', customer: customer.id, quantity: 90, at: now })).value;
  assert.deepStrictEqual([metered.identifier, metered.payload], ['u-1', { stripe_customer_id: customer.id, value: '90' }]);
  const usage = { id: 'u-2', customer: customer.id, item: paid.subscription.items.data[1].id, quantity: 7, at: now };
  const [record] = await calls(stripe.env, [['report_usage', usage]], { env: { STRIPE_USAGE: 'records', STRIPE_API_VERSION: '2023-08-16' } });
  assert.deepStrictEqual([record.value.quantity, record.value.timestamp], [7, now]);
  assert.strictEqual(stripe.requests.at(-1).headers['stripe-version'], '2023-08-16');

  stripe.world.deleteCustomer(customer.id);
  assert.deepStrictEqual((await ask('customer', customer.id)).value, { id: customer.id, object: 'customer', deleted: true });
  assert.strictEqual((await ask('subscription', paid.subscription.id)).value.status, 'canceled');
  assert.strictEqual(stripe.world.taken(customer), 1234);
  for (const r of stripe.requests) {
    assert.strictEqual(r.headers.authorization, `Bearer ${stripe.key}`);
    assert.strictEqual(!!r.key, r.method === 'POST');
  }
});

// The same requests by Stripe's own library, to a server that only looks.
test('our requests are those that Stripe\'s own npm library makes', { skip }, async () => {
  const seen = [];
  const server = http.createServer(async (req, res) => {
    let raw = '';
    for await (const d of req) raw += d;
    const [where, query] = req.url.split('?');
    const said = [...new URLSearchParams(raw || query || '')].sort().map((p) => p.join('='));
    seen.push({ line: `${req.method} ${where}`, said, type: req.headers['content-type'], version: req.headers['stripe-version'] });
    res.end(JSON.stringify({ id: 'cus_1', object: 'list', data: [], has_more: false }));
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  try {
    const { port } = server.address();
    const env = { STRIPE_SECRET_KEY: 'sk_test_onlylooking', STRIPE_API_URL: `http://127.0.0.1:${port}` };
    const at = 1795196520;
    await calls(env, [['create_customer', { user_id: USER, email: 'a+b@example.org', name: "O'Neill (x) *!~" }], subscribe('cus_1', { trial_days: 3, usage_price: 'price_usage' }),
      block('cus_1'), ['checkout_session', 'cs_1'], ['portal_session', { customer: 'cus_1', return_url: 'https://x/' }], ['subscription', 'sub_1'], ['customer', 'cus_1'],
      ['events', { since: at, types: ['invoice.paid', 'customer.deleted'] }], ['meter_event', { id: 'u1', customer: 'cus_1', quantity: 3, at }]]);
    const ours = seen.splice(0);
    const Library = require(`${kit.modules('npm')}stripe`);
    const s = new (Library.default || Library)(env.STRIPE_SECRET_KEY, { host: '127.0.0.1', port, protocol: 'http', telemetry: false, maxNetworkRetries: 0 });
    const metadata = { user_id: USER, plan: 'pro' };
    const paid = { user_id: USER, block: 'b-1', hours: '24' };
    await s.customers.create({ metadata: { user_id: USER } });
    await s.customers.update('cus_1', { email: 'a+b@example.org', name: "O'Neill (x) *!~" });
    await s.checkout.sessions.create({ mode: 'subscription', customer: 'cus_1', client_reference_id: USER, line_items: [{ price: 'price_pro', quantity: 1 }, { price: 'price_usage' }],
      metadata, subscription_data: { metadata, trial_period_days: 3 }, ...pages });
    await s.checkout.sessions.create({ mode: 'payment', customer: 'cus_1', client_reference_id: USER, metadata: paid, payment_intent_data: { metadata: paid }, ...pages,
      line_items: [{ price_data: { currency: 'eur', unit_amount: 1234, product_data: { name: '24 h of cpx21 & more' } }, quantity: 1 }] });
    await s.checkout.sessions.retrieve('cs_1');
    await s.billingPortal.sessions.create({ customer: 'cus_1', return_url: 'https://x/' });
    await s.subscriptions.retrieve('sub_1');
    await s.customers.retrieve('cus_1');
    await s.events.list({ created: { gte: at }, types: ['invoice.paid', 'customer.deleted'], limit: 50 });
    await s.billing.meterEvents.create({ event_name: 'cchost_usage', identifier: 'u1', payload: { stripe_customer_id: 'cus_1', value: '3' }, timestamp: at });
    assert.strictEqual(seen.length, ours.length);
    for (const [i, theirs] of seen.entries()) {
      const { type, ...rest } = theirs;
      assert.deepStrictEqual({ line: ours[i].line, said: ours[i].said, version: ours[i].version }, rest);
      if (theirs.line.startsWith('POST')) assert.strictEqual(ours[i].type, type);
    }
  } finally {
    await new Promise((r) => { server.closeAllConnections(); server.close(r); });
  }
});

test('the validator refuses what is wrong, the double more than that, and stop tells of it', { skip }, async () => {
  const wrong = [['POST', '/v1/checkout/sessions', { success_url: 'https://x', modee: 'payment' }], ['POST', '/v1/checkout/sessions', { mode: 'subs', success_url: 'https://x' }],
    ['POST', '/v1/checkout/sessions', { success_url: 'https://x', line_items: [{ prce: 'x' }] }], ['POST', '/v1/customers', { metadata: 3 }], ['GET', '/v1/events', { types: 'x', limit: 'three' }],
    ['GET', '/v1/events', { typs: ['x'] }], ['POST', '/v1/nothing', {}], ['POST', '/v1/billing_portal/sessions', {}],
    ['POST', '/v1/billing/meter_events', { event_name: 'x' }], ['POST', '/v1/billing/meter_events', { event_name: 'x', payload: { a: 'b' }, timestamp: 'soon' }],
    ['POST', '/v1/billing/meter_events', { event_name: 'x', payload: 'y' }], ['POST', '/v1/billing/meter_events', { event_name: 'x', payload: { a: 'b' }, what: 1 }]];
  const stripe = await Stripe.start();
  const answers = await calls(stripe.env, wrong.map((w) => ['request', ...w]), { setup: FAST });
  answers.forEach((a, i) => assert.ok(['failed', 'not_found'].includes(a.code), `${JSON.stringify(wrong[i])}: ${JSON.stringify(a)}`));
  await assert.rejects(stripe.stop(), new RegExp(`refused ${wrong.length} requests`));
});

withStripe('two checkouts at once make one customer, as do tries of days with another address', {}, async (stripe) => {
  const who = (email) => ['create_customer', { user_id: USER, email }];
  stripe.fault({ method: 'POST', path: '/v1/customers', delay: 150 }); // so that they really meet
  const made = await calls(stripe.env, Array.from({ length: 8 }, () => who('a@example.org')), { at_once: true, setup: { first_pause: 0.1 } });
  const [later] = await calls(stripe.env, [who('b@example.org')], { setup: FAST });
  assert.deepStrictEqual(new Set([...made, later].map((m) => m.value?.id)).size, 1, JSON.stringify(made));
  assert.strictEqual(stripe.world.customers.size, 1);
  assert.strictEqual(later.value.email, 'b@example.org');
  assert.ok(stripe.requests.some((r) => r.status === 409), 'some met');
});

withStripe('a customer that was deleted, or an answer that was kept and is a fault, is not for ever', {}, async (stripe, ask) => {
  stripe.fault({ path: '/v1/customers', status: 500, saved: true, headers: { 'Stripe-Should-Retry': 'false' } });
  const first = await ask('create_customer', { user_id: USER, email: 'a@example.org' });
  assert.deepStrictEqual([first.code, first.stripe.status, first.retryable], ['failed', 500, false]); // it is not known whether it was done
  const second = await ask('create_customer', { user_id: USER, email: 'a@example.org' });
  assert.ok(second.value.id, JSON.stringify(second));
  stripe.world.deleteCustomer(second.value.id);
  const third = await ask('create_customer', { user_id: USER, email: 'a@example.org' });
  assert.ok(third.value.id && third.value.id !== second.value.id, JSON.stringify(third));
});

// [the fault, whether it was done the first time]
const faults = [[{ status: 429 }, false], [{ status: 409, error: { code: 'lock_timeout' } }, false], [{ status: 500 }, false], [{ status: 503 }, false],
  [{ drop: true }, false], [{ drop: 'after' }, true], [{ status: 502, body: '<html>Bad gateway</html>' }, false], [{ body: '{"id":"cus_' }, false],
  [{ status: 400, headers: { 'Stripe-Should-Retry': 'true' } }, false], [{ hang: 'after' }, true]];
for (const [fault, done] of faults) {
  withStripe(`sent again with its key: ${JSON.stringify(fault)}`, {}, async (stripe) => {
    stripe.fault({ method: 'POST', ...fault, times: 2 });
    const customer = stripe.world.createCustomer({ email: 'a@example.org' });
    const answers = await calls(stripe.env, [block(customer.id)], { setup: { ...FAST, try_seconds: 0.5 } });
    assert.ok(answers[0].value?.id, JSON.stringify(answers));
    assert.match(answers.log, /level=debug module=stripe msg="asked again".*try=2/); // so what a log says is seen here, and no key in it
    const came = stripe.asked('POST', '/v1/checkout/sessions');
    assert.strictEqual(came.length, 3);
    assert.strictEqual(new Set(came.map((r) => r.key)).size, 1);
    assert.strictEqual(new Set(came.map((r) => r.raw)).size, 1);
    assert.strictEqual(stripe.world.sessions.size, 1, 'done once');
    assert.strictEqual(!!came[2].replayed, done);
  });
}

withStripe('a key of the caller\'s outlives him; with another body it is refused, not done', {}, async (stripe, ask) => {
  const customer = stripe.world.createCustomer({ email: 'a@example.org' });
  const first = await ask(...block(customer.id), { idempotency: 'checkout-17' });
  const again = await ask(...block(customer.id), { idempotency: 'checkout-17' });
  assert.strictEqual(again.value.id, first.value.id);
  const other = await ask(...block(customer.id, { amount: 9999 }), { idempotency: 'checkout-17' });
  assert.deepStrictEqual([other.code, other.stripe.type, other.stripe.status, other.retryable], ['failed', 'idempotency_error', 400, false]);
  assert.strictEqual(stripe.world.sessions.size, 1);
});

withStripe('what Stripe refuses is told as what it is', {}, async (stripe, ask) => {
  const id = stripe.world.createCustomer({ email: 'a@example.org' }).id;
  const said = async (...call) => { const a = await ask(...call); return [a.code, a.retryable, a.stripe?.status, a.stripe?.code, a.stripe?.param]; };
  assert.deepStrictEqual(await said(...subscribe('cus_none')), ['failed', false, 400, 'resource_missing', 'customer']);
  assert.deepStrictEqual(await said(...subscribe(id, { price: 'price_none' })), ['failed', false, 400, 'resource_missing', 'line_items[0][price]']);
  assert.deepStrictEqual(await said(...subscribe(id, { success_url: '/dashboard' })), ['failed', false, 400, 'url_invalid', 'success_url']);
  assert.deepStrictEqual(await said(...block(id, { amount: 1 })), ['failed', false, 400, 'amount_too_small', 'line_items[0]']);
  assert.deepStrictEqual(await said('subscription', 'sub_none'), ['not_found', false, 404, 'resource_missing', 'id']);
  const limited = stripe.fault({ path: '/v1/customers/cus_1', status: 429, headers: { 'Retry-After': '120' } }) || await ask('customer', 'cus_1');
  assert.deepStrictEqual([limited.code, limited.retryable, limited.retry_after], ['unavailable', true, 120]);
  const [key] = await calls({ ...stripe.env, STRIPE_SECRET_KEY: 'sk_test_51SomebodyElse0123456789' }, [['customer', id]]);
  assert.deepStrictEqual([key.code, key.stripe.status, key.message], ['failed', 401, 'Stripe: Invalid API Key provided: (a key)']);
  assert.strictEqual(key.http_status, undefined); // of our own answer it would make a 401
});

test('without Stripe nothing is asked, and with nobody there it is told', { skip }, async () => {
  const [none] = await calls({}, [['customer', 'cus_1']]);
  assert.deepStrictEqual([none.code, none.retryable], ['unavailable', false]);
  const [away] = await calls({ STRIPE_SECRET_KEY: 'sk_test_51Nobody0123', STRIPE_API_URL: 'http://127.0.0.1:1' }, [['customer', 'cus_1']], { setup: FAST });
  assert.deepStrictEqual([away.code, away.retryable], ['unavailable', true]);
  assert.match(away.message, /^Stripe cannot be reached/);
});

withStripe('events since a time: all pages, oldest first, of the types asked for', {}, async (stripe, ask) => {
  const w = stripe.world;
  const customer = w.createCustomer({ email: 'a@example.org' });
  w.advance(10);
  const since = w.now();
  for (let i = 0; i < 130; i++) { if (i % 10 === 0) w.advance(1); w.updateCustomer(customer, { name: `n${i}` }); }
  w.deleteCustomer(customer);
  const all = w.events.filter((e) => e.created >= since).map((e) => e.id);
  const got = await ask('events', { since });
  assert.deepStrictEqual(got.value.map((e) => e.id), all);
  assert.strictEqual(got.more, false);
  assert.deepStrictEqual((await ask('events', { since, types: ['customer.deleted'] })).value.map((e) => e.type), ['customer.deleted']);
  const some = await ask('events', { since, most: 60 });
  assert.deepStrictEqual([some.value.map((e) => e.id), some.more], [all.slice(0, 60), true]);
  // from the last one on, and none is missed
  const rest = await ask('events', { since: some.value.at(-1).created });
  assert.deepStrictEqual([...new Set([...some.value, ...rest.value].map((e) => e.id))], all);
  assert.deepStrictEqual((await ask('events', { since: w.now() + 1 })).value, []);
});

// ---- signatures

const b64 = (text) => Buffer.from(text).toString('base64');
const SECRET = 'whsec_double_0123456789abcdef';

test('signatures by Stripe\'s own library are taken, and refused when body, time or key differ', { skip }, async () => {
  assert.ok(stripeLibrary(), 'the library signs');
  const now = Math.floor(Date.now() / 1000);
  const body = JSON.stringify({ id: 'evt_1', object: 'event', type: 'invoice.paid', data: { object: { name: 'Jörg 😀' } } }, null, 2);
  const good = sign(body, SECRET, now);
  const flipped = good.replace(/.$/, (c) => (c === '0' ? '1' : '0'));
  const verify = (header, text = body, secrets = [SECRET], at = now) => ['verify', header, b64(text), secrets, at];
  const cases = [
    [verify(good), true], [verify(sign(body, SECRET, now - 299)), true], [verify(sign(body, SECRET, now + 299)), true],
    [verify(sign(body, [SECRET, 'whsec_new'], now), body, ['whsec_new']), true], [verify(sign(body, 'whsec_old', now), body, [SECRET, 'whsec_old']), true],
    [verify(sign('', SECRET, now), ''), true], [verify(sign('x'.repeat(300000), SECRET, now), 'x'.repeat(300000)), true],
    [verify(good, `${body} `), 'no signature is right'], [verify(good, JSON.stringify(JSON.parse(body))), 'no signature is right'],
    [verify(flipped), 'no signature is right'], [verify(good, body, ['whsec_other']), 'no signature is right'],
    [verify(sign(body, SECRET, now - 301)), 'too long ago'], [verify(sign(body, SECRET, now + 301)), 'in the future'],
    [verify(good.replace(`t=${now}`, `t=${now + 1}`)), 'no signature is right'], [verify(null), 'no signature'], [verify('t=,v1='), 'malformed'],
  ];
  const answers = await calls({}, cases.map(([c]) => c));
  answers.forEach((a, i) => {
    if (cases[i][1] === true) assert.strictEqual(a.value, true, `${i}: ${JSON.stringify(a)}`);
    else assert.match(a.message, new RegExp(cases[i][1]), `${i}: ${JSON.stringify(a)}`);
  });
});

test('the fixture events of Stripe\'s document are signed and taken as they are', { skip }, async () => {
  const { resources } = JSON.parse(fs.readFileSync(path.join(kit.specs, 'stripe/fixtures3.json')));
  const now = Math.floor(Date.now() / 1000);
  const bodies = Object.values(resources).map((object) => JSON.stringify({ ...resources.event, data: { object } }));
  const answers = await calls({}, bodies.map((b) => ['verify', sign(b, SECRET, now), b64(b), [SECRET], now]));
  assert.ok(answers.length > 100 && answers.every((a) => a.value === true));
});

// ---- the double itself, on which other tests stand

withStripe('the double tells its events: signed, twice, in any order, late, in an older shape, until they are taken', {}, async (stripe) => {
  const got = [];
  let refuse = 2;
  const endpoint = http.createServer(async (req, res) => {
    let raw = '';
    for await (const d of req) raw += d;
    const event = stripeLibrary().webhooks.constructEvent(raw, req.headers['stripe-signature'], stripe.secret, 10 ** 9);
    const taken = refuse-- <= 0;
    if (taken) got.push(event);
    res.writeHead(taken ? 200 : 500).end();
  });
  await new Promise((r) => endpoint.listen(0, '127.0.0.1', r));
  stripe.hooks.url = `http://127.0.0.1:${endpoint.address().port}/billing/webhook`;
  const w = stripe.world;
  stripe.hooks.follow({ twice: 0.5, late: 0.05 });
  const customer = w.createCustomer({ email: 'a@example.org' });
  const session = w.createSession({ mode: 'subscription', customer: customer.id, line_items: [{ price: 'price_pro', quantity: '1' }], success_url: 'https://x/' });
  const { subscription, charge } = w.pay(session.id);
  const bad = w.renew(subscription, { fails: true });
  w.payInvoice(bad.invoice);
  w.refund(charge, 900);
  w.closeDispute(w.dispute(charge));
  w.cancel(subscription);
  await stripe.hooks.settled();
  assert.deepStrictEqual(new Set(got.map((e) => e.id)), new Set(w.events.map((e) => e.id)));
  for (const type of ['customer.created', 'customer.subscription.created', 'checkout.session.completed', 'invoice.paid', 'invoice.payment_failed', 'charge.refunded',
    'charge.dispute.created', 'charge.dispute.closed', 'customer.subscription.deleted']) assert.ok(got.some((e) => e.type === type), type);
  stripe.hooks.unfollow();
  const paid = w.events.find((e) => e.type === 'invoice.paid');
  assert.strictEqual((await stripe.hooks.deliver(paid)).status, 200);
  assert.strictEqual(got.at(-1).data.object.parent.subscription_details.subscription, subscription.id);
  assert.strictEqual(got.at(-1).data.object.subscription, undefined);
  await stripe.hooks.deliver(paid, { version: '2023-08-16', at: w.now() - 3 * 86400 });
  assert.deepStrictEqual([got.at(-1).api_version, got.at(-1).data.object.subscription, got.at(-1).data.object.parent], ['2023-08-16', subscription.id, undefined]);
  const before = got.length;
  w.createCustomer({}); w.createCustomer({});
  assert.deepStrictEqual((await stripe.hooks.deliverAll({ twice: true, shuffle: Math.random })).map((r) => r.status), [200, 200, 200, 200]);
  assert.strictEqual(got.length - before, 4);
  endpoint.closeAllConnections();
  await new Promise((r) => endpoint.close(r));
});

test('the validator is the kit\'s: its own list of wrong requests is refused through it', { skip }, async () => {
  const { execFileSync } = require('node:child_process');
  const v = await Validator.start();
  try {
    assert.match(execFileSync(path.join(kit.dir, 'bad-stripe'), [String(v.port)], { encoding: 'utf8' }), /^0 wrong$/m);
    const headers = { authorization: 'Bearer sk_test_1', 'stripe-version': VERSION };
    for (const [url, refused] of [['/v1/charges/ch_1', false], ['/v1/charges/ch_1?limit=1', true], ['/v1/charges', true], ['/v1/invoices/in_1/lines?limit=100', false],
      ['/v1/invoices/in_1/lines?limit=many', true], ['/v1/invoices/in_1/lines?customer=cus_1', true]]) {
      assert.strictEqual(await v.check({ method: 'GET', url, headers, raw: '', params: {} }) !== null, refused, url);
    }
  } finally {
    await v.stop();
  }
  assert.match(VERSION, /^\d{4}/);
});
