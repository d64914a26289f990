// Stripe's API over a World: what each request does, and how it is refused. Only what cchost asks for is here; the shape of
// requests is the validator's affair, this has the rules that no document says: ids that must exist, amounts, URLs.
'use strict';
const { Refusal, missing, render, idOf } = require('./world.js');

// "a[b][0]=c" -> { a: { b: ['c'] } }; brackets may be escaped.
function parseForm(text) {
  const out = {};
  for (const pair of text.split('&').filter(Boolean)) {
    const [name, value] = pair.split(/=(.*)/s, 2).map((s) => decodeURIComponent((s || '').replace(/\+/g, ' ')));
    const keys = [name.split('[')[0], ...[...name.matchAll(/\[([^\]]*)\]/g)].map((m) => m[1])];
    let at = out;
    keys.forEach((k, i) => {
      const key = k === '' ? Object.keys(at).length : k;
      if (i === keys.length - 1) at[key] = value;
      else at = at[key] ??= {};
    });
  }
  const listed = (v) => {
    if (typeof v !== 'object') return v;
    const keys = Object.keys(v);
    if (keys.length && keys.every((k, i) => k === String(i))) return keys.map((k) => listed(v[k]));
    for (const k of keys) v[k] = listed(v[k]);
    return v;
  };
  return Object.fromEntries(Object.entries(out).map(([k, v]) => [k, listed(v)]));
}

const list = (url, data, more = false) => ({ object: 'list', url, has_more: more, data });

function checkMetadata(metadata = {}, param) {
  const keys = Object.keys(metadata);
  if (keys.length > 50) throw new Refusal(400, { message: 'Metadata can have up to 50 keys', param });
  for (const k of keys) {
    if (k.length > 40) throw new Refusal(400, { message: 'Metadata keys can have up to 40 characters', param: `${param}[${k}]` });
    if (metadata[k].length > 500) throw new Refusal(400, { message: 'Metadata values can have up to 500 characters', param: `${param}[${k}]` });
  }
}

const isUrl = (text) => { try { return /^https?:$/.test(new URL(text).protocol); } catch { return false; } };

function checkSession(w, p) {
  const customer = p.customer && w.customers.get(p.customer);
  if (p.customer && (!customer || customer.deleted)) throw missing('customer', p.customer, 'customer');
  for (const k of ['success_url', 'cancel_url']) {
    if (p[k] !== undefined && !isUrl(p[k])) throw new Refusal(400, { code: 'url_invalid', message: 'Not a valid URL', param: k });
  }
  for (const [k, v] of [['metadata', p.metadata], ['subscription_data[metadata]', p.subscription_data?.metadata],
    ['payment_intent_data[metadata]', p.payment_intent_data?.metadata]]) checkMetadata(v, k);
  if (!p.line_items?.length) throw new Refusal(400, { code: 'parameter_missing', message: 'Missing required param: line_items.', param: 'line_items' });
  p.line_items.forEach((i, n) => checkItem(w, p, i, `line_items[${n}]`));
  if (p.mode === 'payment' && p.subscription_data) throw new Refusal(400, { message: 'You can not pass `subscription_data` in `payment` mode.', param: 'subscription_data' });
  if (p.mode === 'subscription' && p.payment_intent_data) throw new Refusal(400, { message: 'You can not pass `payment_intent_data` in `subscription` mode.', param: 'payment_intent_data' });
  const trial = p.subscription_data?.trial_period_days;
  if (trial !== undefined && Number(trial) < 1) throw new Refusal(400, { message: 'The minimum number of trial period days is 1.', param: 'subscription_data[trial_period_days]' });
}

function checkItem(w, p, i, param) {
  if (i.price_data) {
    if (p.mode === 'subscription') throw new Refusal(400, { message: 'a recurring price expected', param: `${param}[price_data]` });
    if (!/^[a-z]{3}$/.test(i.price_data.currency)) throw new Refusal(400, { message: `Invalid currency: ${i.price_data.currency}`, param: `${param}[price_data][currency]` });
    if (Number(i.price_data.unit_amount) < 50) throw new Refusal(400, { code: 'amount_too_small', message: 'The amount is too small', param });
    return;
  }
  const price = w.prices[i.price];
  if (!price) throw missing('price', i.price, `${param}[price]`);
  if (p.mode !== 'subscription') throw new Refusal(400, { message: 'a one-time price expected', param: `${param}[price]` });
  if (price.metered && i.quantity !== undefined) throw new Refusal(400, { message: 'Quantity should not be specified where usage_type is `metered`', param: `${param}[quantity]` });
  if (!price.metered && i.quantity === undefined) throw new Refusal(400, { message: 'Quantity is required', param: `${param}[quantity]` });
}

const customer = (w, id) => {
  const c = w.customers.get(id);
  if (!c) throw missing('customer', id, 'id', 404);
  return c;
};
const living = (w, id) => {
  const c = customer(w, id);
  if (c.deleted) throw missing('customer', id, 'id', 404);
  return c;
};
const one = (map, what) => (w, id) => {
  const o = w[map].get(id);
  if (!o) throw missing(what, id, 'id', 404);
  return o;
};
const session = one('sessions', 'checkout.session');
const subscription = one('subscriptions', 'subscription');
const invoice = one('invoices', 'invoice');

function events(w, q) {
  const created = typeof q.created === 'object' ? q.created : q.created === undefined ? {} : { gte: q.created, lte: q.created };
  const types = q.types || (q.type ? [q.type] : null);
  if (q.types && q.types.length > 20) throw new Refusal(400, { message: 'at most 20 types', param: 'types' });
  const limit = q.limit === undefined ? 10 : Number(q.limit);
  if (limit < 1 || limit > 100) throw new Refusal(400, { message: 'limit: 1 to 100', param: 'limit' });
  const fits = (t) => !types || types.some((x) => x === t || (x.endsWith('*') && t.startsWith(x.slice(0, -1))));
  let all = w.events.filter((e) => fits(e.type) && !(e.created < Number(created.gte)) && !(e.created <= Number(created.gt))
    && !(e.created >= Number(created.lt)) && !(e.created > Number(created.lte)));
  all = all.map((e, i) => [e, i]).sort(([a, i], [b, j]) => b.created - a.created || j - i).map(([e]) => e);
  let from = 0;
  if (q.starting_after !== undefined) {
    if (!w.events.some((e) => e.id === q.starting_after)) throw missing('event', q.starting_after, 'starting_after');
    from = all.findIndex((e) => e.id === q.starting_after) + 1;
  }
  return list('/v1/events', all.slice(from, from + limit), all.length > from + limit);
}

// [method, path, (world, parameters, the id in the path) -> object]
const routes = [
  ['POST', /^\/v1\/customers$/, (w, p) => { checkMetadata(p.metadata, 'metadata'); return w.createCustomer(p); }],
  ['GET', /^\/v1\/customers\/(\w+)$/, (w, p, id) => { const c = customer(w, id); return c.deleted ? { id: c.id, object: 'customer', deleted: true } : c; }],
  ['POST', /^\/v1\/customers\/(\w+)$/, (w, p, id) => w.updateCustomer(living(w, id), p)],
  ['DELETE', /^\/v1\/customers\/(\w+)$/, (w, p, id) => { w.deleteCustomer(living(w, id)); return { id, object: 'customer', deleted: true }; }],
  ['POST', /^\/v1\/checkout\/sessions$/, (w, p) => { checkSession(w, p); return w.createSession(p); }],
  ['GET', /^\/v1\/checkout\/sessions\/(\w+)$/, (w, p, id) => session(w, id)],
  ['POST', /^\/v1\/checkout\/sessions\/(\w+)\/expire$/, (w, p, id) => {
    const s = session(w, id);
    if (s.status !== 'open') throw new Refusal(400, { message: `Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of ${s.status}.` });
    return w.expire(s);
  }],
  ['GET', /^\/v1\/invoices\/(\w+)\/lines$/, (w, p, id) => {
    const { data } = invoice(w, id).lines;
    return list(`/v1/invoices/${id}/lines`, data.slice(0, Number(p.limit || 10)), data.length > Number(p.limit || 10));
  }],
  ['GET', /^\/v1\/charges\/(\w+)$/, (w, p, id) => one('charges', 'charge')(w, id)],
  ['POST', /^\/v1\/billing_portal\/sessions$/, (w, p) => {
    if (!w.customers.has(p.customer) || w.customers.get(p.customer).deleted) throw missing('customer', p.customer, 'customer');
    if (p.return_url !== undefined && !isUrl(p.return_url)) throw new Refusal(400, { code: 'url_invalid', message: 'Not a valid URL', param: 'return_url' });
    const id = w.id('bps');
    const portal = { id, object: 'billing_portal.session', created: w.now(), customer: p.customer, livemode: false, return_url: p.return_url,
      url: `https://billing.stripe.com/p/session/${id}` };
    w.portals.push(portal);
    return portal;
  }],
  ['GET', /^\/v1\/subscriptions$/, (w, p) => list('/v1/subscriptions', [...w.subscriptions.values()].reverse()
    .filter((s) => (!p.customer || s.customer === p.customer) && (p.status === 'all' || (p.status ? s.status === p.status : s.status !== 'canceled')))
    .slice(0, Number(p.limit || 10)))],
  ['GET', /^\/v1\/subscriptions\/(\w+)$/, (w, p, id) => subscription(w, id)],
  ['POST', /^\/v1\/subscriptions\/(\w+)$/, (w, p, id) => {
    const s = subscription(w, id);
    if (p.cancel_at_period_end !== undefined) w.cancelAtEnd(s, p.cancel_at_period_end === 'true');
    return s;
  }],
  ['DELETE', /^\/v1\/subscriptions\/(\w+)$/, (w, p, id) => {
    const s = subscription(w, id);
    if (s.status === 'canceled') throw missing('subscription', id, 'id', 404);
    return w.cancel(s);
  }],
  ['GET', /^\/v1\/invoices\/(\w+)$/, (w, p, id) => invoice(w, id)],
  ['GET', /^\/v1\/events$/, (w, p) => events(w, p)],
  ['GET', /^\/v1\/events\/(\w+)$/, (w, p, id) => {
    const e = w.events.find((x) => x.id === id);
    if (!e) throw missing('event', id, 'id', 404);
    return e;
  }],
  ['POST', /^\/v1\/billing\/meter_events$/, (w, p) => {
    const at = Number(p.timestamp || w.now());
    if (at > w.now() + 300 || at < w.now() - 35 * 86400) throw new Refusal(400, { code: 'timestamp_too_far', message: 'The timestamp is out of range', param: 'timestamp' });
    if (w.meterEvents.some((e) => e.identifier === p.identifier)) throw new Refusal(400, { message: `An event already exists with identifier ${p.identifier}`, param: 'identifier' });
    const e = { object: 'billing.meter_event', created: w.now(), event_name: p.event_name, identifier: p.identifier || w.id('me'), livemode: false, payload: p.payload, timestamp: at };
    w.meterEvents.push(e);
    return e;
  }],
  ['POST', /^\/v1\/subscription_items\/(\w+)\/usage_records$/, (w, p, id) => {
    const item = [...w.subscriptions.values()].flatMap((s) => s.items.data).find((i) => i.id === id);
    if (!item) throw missing('subscription_item', id, 'id', 404);
    if (item.price.recurring.usage_type !== 'metered') throw new Refusal(400, { message: 'not a metered price' });
    const record = { id: w.id('mbur'), object: 'usage_record', livemode: false, quantity: Number(p.quantity), subscription_item: id, timestamp: Number(p.timestamp || w.now()) };
    w.usageRecords.push(record);
    return record;
  }],
];

// What a request comes to. -> the answer's object; throws a Refusal
function perform(world, { method, path, params, version }) {
  for (const [m, pattern, fn] of routes) {
    const match = m === method && pattern.exec(path);
    if (!match) continue;
    const value = fn(world, params, match[1]);
    // of a list the events stay as they were made
    if (path.startsWith('/v1/events')) return value.object === 'list' ? { ...value, data: value.data.map((e) => render(e, e.api_version)) } : render(value, value.api_version);
    if (value.object === 'list') return { ...value, data: value.data.map((o) => render(o, version)) };
    return render(value, version);
  }
  throw new Refusal(404, { message: `Unrecognized request URL (${method}: ${path}).` });
}

module.exports = { perform, parseForm, idOf };
