// What Stripe knows: customers, sessions, subscriptions, invoices, charges, disputes and events, made out of the vendor's own
// fixtures; and what happens to them (a customer pays, a card fails, ...), each with the events that Stripe makes of it.
//
// Objects hold what every version of the API has; render() leaves out what one version has not.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const kit = require('../kit.js');

const DAY = 86400;
const copy = (v) => JSON.parse(JSON.stringify(v));
const idOf = (x) => (typeof x === 'string' ? x : x.id);

let fixtures;
function fixture(name) {
  if (!fixtures) {
    const file = path.join(kit.specs, 'stripe', 'fixtures3.json');
    fixtures = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file)).resources : {};
  }
  return { ...copy(fixtures[name] || {}), object: name };
}

// ---- versions: 2025-03-31 (basil) moved a subscription's period to its items, and what an invoice is for to its parent

const isNew = (version) => version >= '2025-03-31';

const renderers = {
  subscription(s, fresh) {
    if (fresh) { delete s.current_period_start; delete s.current_period_end; return; }
    for (const item of s.items.data) { delete item.current_period_start; delete item.current_period_end; }
  },
  invoice(i, fresh) {
    if (!fresh) { delete i.parent; return; }
    for (const k of ['subscription', 'subscription_details', 'charge', 'payment_intent', 'paid']) delete i[k];
  },
  charge(c, fresh) { if (fresh) delete c.invoice; },
};

// An object, or an event with what it is about, as a version of the API has it.
function render(object, version) {
  const out = copy(object);
  if (out.object === 'event') {
    out.api_version = version;
    renderers[out.data.object.object]?.(out.data.object, isNew(version));
  } else {
    renderers[out.object]?.(out, isNew(version));
  }
  return out;
}

// What Stripe answers instead. `saved` ones stay under the Idempotency-Key.
class Refusal extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.error = { type: 'invalid_request_error', ...error };
  }
}
const missing = (what, id, param, status = 400) => new Refusal(status, { code: 'resource_missing', message: `No such ${what}: '${id}'`, param });

class World {
  constructor({ version, prices, clock = Date.now }) {
    this.version = version;
    this.clock = clock;
    this.ahead = 0;
    this.made = 0;
    this.tag = crypto.randomBytes(3).toString('hex');
    this.prices = prices;
    this.events = [];
    this.meterEvents = [];
    this.usageRecords = [];
    this.portals = [];
    this.onEvent = () => {};
    for (const k of ['customers', 'sessions', 'subscriptions', 'invoices', 'charges', 'disputes']) this[k] = new Map();
  }

  now() { return Math.floor(this.clock() / 1000) + this.ahead; }
  advance(seconds) { this.ahead += seconds; }
  id(prefix) { return `${prefix}_${this.tag}${String(++this.made).padStart(8, '0')}`; }

  add(map, prefix, name, fields) {
    const o = { ...fixture(name), id: this.id(prefix), created: this.now(), livemode: false, ...fields };
    map.set(o.id, o);
    return o;
  }

  find(map, x, what = 'object') {
    const o = map.get(idOf(x));
    if (!o) throw new Error(`no such ${what}: ${idOf(x)}`);
    return o;
  }

  emit(type, object, previous) {
    const event = {
      id: this.id('evt'), object: 'event', api_version: this.version, created: this.now(), type, livemode: false, pending_webhooks: 1,
      data: { object: copy(object), ...(previous ? { previous_attributes: copy(previous) } : {}) },
      request: { id: null, idempotency_key: this.request || null },
    };
    this.events.push(event);
    this.onEvent(event);
    return event;
  }

  // Changes an object and tells of it, with what it was before.
  change(type, o, fields) {
    const previous = {};
    for (const [k, v] of Object.entries(fields)) if (JSON.stringify(o[k]) !== JSON.stringify(v)) previous[k] = o[k];
    Object.assign(o, fields);
    return this.emit(type, o, previous);
  }

  // ---- customers

  createCustomer(p) {
    const c = this.add(this.customers, 'cus', 'customer', { email: p.email ?? null, name: p.name ?? null, metadata: p.metadata || {} });
    this.emit('customer.created', c);
    return c;
  }

  updateCustomer(c, p) {
    const fields = {};
    for (const k of ['email', 'name']) if (p[k] !== undefined) fields[k] = p[k] || null;
    if (p.metadata) fields.metadata = { ...c.metadata, ...p.metadata };
    this.change('customer.updated', c, fields);
    return c;
  }

  deleteCustomer(x) {
    const c = this.find(this.customers, x, 'customer');
    for (const s of this.subscriptions.values()) if (s.customer === c.id && s.status !== 'canceled') this.cancel(s);
    c.deleted = true;
    this.emit('customer.deleted', c);
    return c;
  }

  // ---- checkout

  createSession(p) {
    const items = p.line_items.map((i) => this.lineItem(i));
    const total = items.reduce((sum, i) => sum + i.amount, 0);
    const id = this.id('cs_test');
    const s = {
      ...fixture('checkout.session'), id, created: this.now(), mode: p.mode, customer: p.customer ?? null, metadata: p.metadata || {},
      client_reference_id: p.client_reference_id ?? null, success_url: p.success_url, cancel_url: p.cancel_url ?? null,
      expires_at: this.now() + DAY, url: `https://checkout.stripe.com/c/pay/${id}`, status: 'open', payment_status: 'unpaid',
      amount_subtotal: total, amount_total: total, currency: items[0].currency, payment_intent: null, subscription: null, invoice: null,
    };
    this.sessions.set(id, s);
    // what the session remembers and does not show
    Object.defineProperty(s, 'hidden', { value: { items, trial: Number(p.subscription_data?.trial_period_days || 0),
      subscription: p.subscription_data?.metadata || {}, payment: p.payment_intent_data?.metadata || {} } });
    return s;
  }

  lineItem(i) {
    if (i.price_data) {
      return { price: null, currency: i.price_data.currency, amount: Number(i.price_data.unit_amount) * Number(i.quantity || 1), metered: false };
    }
    const price = this.prices[i.price];
    return { price: i.price, currency: price.currency || 'usd', quantity: Number(i.quantity || 1), metered: !!price.metered,
      amount: price.metered ? 0 : price.unit_amount * Number(i.quantity || 1) };
  }

  // The customer pays on Stripe's page. later: by a way that takes days, so nothing is paid yet.
  pay(x, { later = false } = {}) {
    const s = this.find(this.sessions, x, 'session');
    if (s.status !== 'open') throw new Error(`the session ${s.id} is ${s.status}`);
    s.status = 'complete';
    const out = { session: s };
    if (s.mode === 'subscription') this.subscribe(s, later, out);
    else this.payOnce(s, later, out);
    this.emit('checkout.session.completed', s);
    return out;
  }

  payOnce(s, later, out) {
    s.payment_intent = this.id('pi');
    s.payment_status = later ? 'unpaid' : 'paid';
    if (!later) out.charge = this.charge(s, { payment_intent: s.payment_intent, metadata: s.hidden.payment });
  }

  subscribe(s, later, out) {
    const trial = s.hidden.trial;
    const start = this.now();
    const end = start + (trial || 30) * DAY;
    const sub = this.add(this.subscriptions, 'sub', 'subscription', {
      customer: s.customer, metadata: s.hidden.subscription, status: trial ? 'trialing' : later ? 'incomplete' : 'active',
      current_period_start: start, current_period_end: end, start_date: start, billing_cycle_anchor: end, cancel_at: null, canceled_at: null,
      ended_at: null, cancel_at_period_end: false, trial_start: trial ? start : null, trial_end: trial ? end : null,
    });
    const base = fixture('subscription_item');
    sub.items = { object: 'list', has_more: false, url: `/v1/subscription_items?subscription=${sub.id}`, data: s.hidden.items.map((i) => ({
      ...copy(base), id: this.id('si'), created: start, subscription: sub.id, current_period_start: start, current_period_end: end,
      quantity: i.metered ? undefined : i.quantity, price: this.price(i.price, base.price),
    })) };
    s.subscription = sub.id;
    s.payment_status = trial ? 'no_payment_required' : later ? 'unpaid' : 'paid';
    out.subscription = sub;
    this.emit('customer.subscription.created', sub);
    out.invoice = this.invoice(sub, 'subscription_create');
    s.invoice = out.invoice.id;
    if (!later) out.charge = this.settle(out.invoice);
  }

  price(id, base = {}) {
    const p = this.prices[id];
    return { ...copy(base), id, unit_amount: p.unit_amount, currency: p.currency || 'usd',
      recurring: { ...(base.recurring || {}), interval: 'month', interval_count: 1, usage_type: p.metered ? 'metered' : 'licensed' } };
  }

  // What a way of payment that takes days came to.
  asyncSucceeds(x) {
    const s = this.find(this.sessions, x, 'session');
    const out = { session: s };
    s.payment_status = 'paid';
    if (s.subscription) {
      const sub = this.subscriptions.get(s.subscription);
      out.charge = this.settle(this.invoices.get(s.invoice));
      if (sub.status === 'incomplete') this.change('customer.subscription.updated', sub, { status: 'active' });
    } else {
      out.charge = this.charge(s, { payment_intent: s.payment_intent, metadata: s.hidden.payment });
    }
    this.emit('checkout.session.async_payment_succeeded', s);
    return out;
  }

  asyncFails(x) {
    const s = this.find(this.sessions, x, 'session');
    if (s.subscription) this.change('customer.subscription.updated', this.subscriptions.get(s.subscription), { status: 'incomplete_expired' });
    this.emit('checkout.session.async_payment_failed', s);
    return s;
  }

  expire(x) {
    const s = this.find(this.sessions, x, 'session');
    s.status = 'expired';
    s.url = null;
    this.emit('checkout.session.expired', s);
    return s;
  }

  // ---- subscriptions, invoices

  setStatus(x, status, fields = {}) {
    const sub = this.find(this.subscriptions, x, 'subscription');
    return this.change('customer.subscription.updated', sub, { status, ...fields });
  }

  // The customer takes another plan in the portal.
  changePrice(x, price) {
    const sub = this.find(this.subscriptions, x, 'subscription');
    const items = copy(sub.items);
    items.data[0].price = this.price(price, items.data[0].price);
    return this.change('customer.subscription.updated', sub, { items });
  }

  cancelAtEnd(x, yes = true) {
    const sub = this.find(this.subscriptions, x, 'subscription');
    return this.change('customer.subscription.updated', sub, { cancel_at_period_end: yes, cancel_at: yes ? sub.current_period_end : null });
  }

  cancel(x) {
    const sub = this.find(this.subscriptions, x, 'subscription');
    Object.assign(sub, { status: 'canceled', canceled_at: this.now(), ended_at: this.now() });
    this.emit('customer.subscription.deleted', sub);
    return sub;
  }

  pause(x) {
    const sub = this.find(this.subscriptions, x, 'subscription');
    sub.status = 'paused';
    return this.emit('customer.subscription.paused', sub);
  }

  resume(x) {
    const sub = this.find(this.subscriptions, x, 'subscription');
    sub.status = 'active';
    return this.emit('customer.subscription.resumed', sub);
  }

  trialWillEnd(x) { return this.emit('customer.subscription.trial_will_end', this.find(this.subscriptions, x, 'subscription')); }

  invoice(sub, reason) {
    const amount = sub.status === 'trialing' ? 0 : sub.items.data.reduce((sum, i) => sum + (i.quantity ? i.price.unit_amount * i.quantity : 0), 0);
    const i = this.add(this.invoices, 'in', 'invoice', {
      customer: sub.customer, subscription: sub.id, subscription_details: { metadata: sub.metadata }, billing_reason: reason, status: 'open',
      parent: { type: 'subscription_details', quote_details: null, subscription_details: { subscription: sub.id, metadata: sub.metadata } },
      amount_due: amount, amount_paid: 0, amount_remaining: amount, subtotal: amount, total: amount, paid: false, attempt_count: 0,
      period_start: sub.current_period_start, period_end: sub.current_period_end,
    });
    sub.latest_invoice = i.id;
    this.emit('invoice.finalized', i);
    return i;
  }

  // An invoice is paid. -> its charge, or null of nothing
  settle(i) {
    const amount = i.amount_due;
    Object.assign(i, { status: 'paid', paid: true, amount_paid: amount, amount_remaining: 0, attempted: true, attempt_count: i.attempt_count + 1 });
    const charge = amount > 0 ? this.charge({ ...i, amount_total: amount }, { invoice: i.id, payment_intent: this.id('pi') }) : null;
    i.charge = charge && charge.id;
    this.emit('invoice.paid', i);
    return charge;
  }

  payInvoice(x) {
    const i = this.find(this.invoices, x, 'invoice');
    const charge = this.settle(i);
    const sub = this.subscriptions.get(i.subscription);
    if (sub.status !== 'active') this.change('customer.subscription.updated', sub, { status: 'active' });
    return { invoice: i, charge, subscription: sub };
  }

  // The next period begins. fails: the card is refused.
  renew(x, { fails = false } = {}) {
    const sub = this.find(this.subscriptions, x, 'subscription');
    const start = sub.current_period_end;
    const end = start + 30 * DAY;
    const items = copy(sub.items);
    for (const item of items.data) Object.assign(item, { current_period_start: start, current_period_end: end });
    const status = sub.status === 'trialing' ? 'active' : sub.status;
    this.change('customer.subscription.updated', sub, { current_period_start: start, current_period_end: end, items, status });
    const invoice = this.invoice(sub, 'subscription_cycle');
    if (fails) return { invoice, ...this.failInvoice(invoice) };
    return { invoice, charge: this.settle(invoice), subscription: sub };
  }

  failInvoice(x) {
    const i = this.find(this.invoices, x, 'invoice');
    const sub = this.subscriptions.get(i.subscription);
    Object.assign(i, { attempted: true, attempt_count: i.attempt_count + 1, next_payment_attempt: this.now() + 3 * DAY });
    this.emit('invoice.payment_failed', i);
    if (sub.status !== 'past_due') this.change('customer.subscription.updated', sub, { status: 'past_due' });
    return { invoice: i, subscription: sub };
  }

  // ---- money

  charge(from, fields) {
    const c = this.add(this.charges, 'ch', 'charge', {
      amount: from.amount_total, amount_captured: from.amount_total, amount_refunded: 0, currency: from.currency, customer: from.customer,
      captured: true, paid: true, refunded: false, disputed: false, status: 'succeeded', invoice: null, metadata: {}, ...fields,
    });
    delete c.refunds; // not in an answer unless asked for, since 2022
    this.emit('charge.succeeded', c);
    return c;
  }

  refund(x, amount) {
    const c = this.find(this.charges, x, 'charge');
    const refunded = Math.min(c.amount, c.amount_refunded + (amount ?? c.amount));
    this.change('charge.refunded', c, { amount_refunded: refunded, refunded: refunded === c.amount });
    return c;
  }

  dispute(x, fields = {}) {
    const c = this.find(this.charges, x, 'charge');
    const d = this.add(this.disputes, 'dp', 'dispute', {
      charge: c.id, payment_intent: c.payment_intent, amount: c.amount, currency: c.currency, reason: 'fraudulent', status: 'needs_response', ...fields,
    });
    c.disputed = true;
    this.emit('charge.dispute.created', d);
    return d;
  }

  closeDispute(x, status = 'lost') {
    const d = this.find(this.disputes, x, 'dispute');
    this.change('charge.dispute.closed', d, { status });
    return d;
  }

  // What a customer has paid and not got back, in the smallest unit.
  taken(customer) {
    let sum = 0;
    for (const c of this.charges.values()) {
      const lost = [...this.disputes.values()].some((d) => d.charge === c.id && d.status === 'lost');
      if (c.customer === idOf(customer) && !lost) sum += c.amount - c.amount_refunded;
    }
    return sum;
  }
}

module.exports = { World, Refusal, missing, render, copy, idOf };
