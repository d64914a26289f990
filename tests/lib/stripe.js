// A double of Stripe for the tests, with a memory: its API on loopback, behind the third-party validator (every request is also
// checked by it; one that it refuses fails the test), and webhooks signed as Stripe signs them.
//
//   const stripe = await Stripe.start({ webhook: `${server.url}/billing/webhook` });
//   Server.start({ stripe_api_url: stripe.url, ... }, null, { env: stripe.env })    env: the keys and prices, as settings
//   stripe.world    what there is (stripe/world.js): world.pay(session), .renew(subscription, { fails: true }), .refund(charge),
//                   .dispute(charge), .deleteCustomer(id), .setStatus(subscription, 'unpaid'), world.advance(seconds), world.taken(customer) ...
//   stripe.hooks    how it tells (stripe/hooks.js): hooks.deliver(event, { at, version }), .deliverAll({ twice, shuffle }),
//                   .follow({ random, twice, late }), await hooks.settled()
//   stripe.requests what came: { method, path, params, headers, raw, key, status, replayed }; stripe.asked('POST', '/v1/customers')
//   stripe.fault({ method, path, times: 1, ... })   the next requests that fit go wrong:
//       status, error, headers    answered so, and nothing done       saved: true   and kept under the Idempotency-Key
//       drop: true | 'after'      the connection ends before or after it was done
//       hang: true | 'after'      no answer, before or after          delay: ms     later         body: 'text'   instead of JSON
//   stripe.refused()              what the validator refused so far, and forgets it: for tests that mean to
//   await stripe.stop()           fails when the validator has refused anything
//
// options: key, secret (a text, or a list while one is rolled), prices, version (of events), webhook, checked: false where the
// kit is not needed. Tests say { skip: Stripe.missing() }.
'use strict';
const http = require('node:http');
const kit = require('./kit.js');
const { World, Refusal } = require('./stripe/world.js');
const { Hooks } = require('./stripe/hooks.js');
const { Validator } = require('./stripe/validator.js');
const { perform, parseForm } = require('./stripe/api.js');

const PRICES = { price_starter: { unit_amount: 1900 }, price_pro: { unit_amount: 2900 }, price_usage: { unit_amount: 1, metered: true } };
const VERSION = '2026-10-28.endive';

class Stripe {
  static missing() { return kit.missing('eov', 'npm'); }

  static async start(options = {}) {
    const s = new this();
    s.key = options.key || 'sk_test_51CchostDouble0123456789';
    s.secret = options.secret || 'whsec_double_0123456789abcdef';
    s.world = new World({ version: options.version || VERSION, prices: options.prices || PRICES, clock: options.clock });
    s.hooks = new Hooks(s.world, { webhook: options.webhook, secret: s.secret });
    s.validator = options.checked === false ? null : await Validator.shared();
    Object.assign(s, { requests: [], faults: [], violations: [], kept: new Map(), running: new Set() });
    s.server = http.createServer((req, res) => s.take(req, res).catch((e) => {
      if (!req.destroyed) s.violations.push(`the double itself: ${e.stack}`); // else whoever asked was killed
      res.destroy();
    }));
    await new Promise((r) => s.server.listen(0, '127.0.0.1', r));
    s.port = s.server.address().port;
    s.url = `http://127.0.0.1:${s.port}`;
    s.env = { STRIPE_SECRET_KEY: s.key, STRIPE_API_URL: s.url, STRIPE_WEBHOOK_SECRET: [].concat(s.secret)[0],
      STRIPE_PRICE_STARTER: 'price_starter', STRIPE_PRICE_PRO: 'price_pro' };
    return s;
  }

  fault(f) { this.faults.push({ times: 1, ...f }); }

  asked(method, path) { return this.requests.filter((r) => r.method === method && (path instanceof RegExp ? path.test(r.path) : r.path === path)); }

  refused() {
    const list = this.violations;
    this.violations = [];
    return list;
  }

  // ---- a request

  async take(req, res) {
    const parts = [];
    for await (const d of req) parts.push(d);
    const raw = Buffer.concat(parts).toString();
    if (Buffer.byteLength(raw) !== Number(req.headers['content-length'] || 0)) return void res.destroy(); // cut off: whoever asked was killed
    const [path, query = ''] = req.url.split('?');
    const r = { method: req.method, url: req.url, path, headers: req.headers, raw, params: parseForm(raw || query),
      key: req.headers['idempotency-key'], version: req.headers['stripe-version'] || VERSION };
    this.requests.push(r);
    const refused = await this.check(r);
    const { status, text, headers, after } = refused || await this.answer(r, res);
    r.status = status;
    if (after === 'drop') return void res.destroy();
    if (after === 'hang' || res.destroyed) return;
    res.writeHead(status, { 'Content-Type': 'application/json', 'Request-Id': this.world.id('req'), ...headers });
    res.end(text);
  }

  // The validator's word, and what no document says. -> null or the answer
  async check(r) {
    const own = this.ownRules(r);
    const refused = this.validator && await this.validator.check(r);
    if (own) this.violations.push(`${r.method} ${r.url}: ${own}`);
    if (refused) this.violations.push(`${r.method} ${r.url} ${r.raw} ${JSON.stringify(r.headers)}: ${refused.status} ${refused.text}`);
    if (refused) return refused;
    return own ? this.error(new Refusal(400, { message: own })) : null;
  }

  ownRules(r) {
    if (!/^\d{4}-\d\d-\d\d(\.[a-z]+)?$/.test(r.headers['stripe-version'] || '')) return 'no sound Stripe-Version';
    if (r.method === 'POST' && !(r.key && r.key.length <= 255)) return 'a POST without a sound Idempotency-Key';
    if (r.method === 'GET' && r.path === '/v1/subscriptions' && !r.params.customer) return 'the subscriptions of everybody';
    if (r.method !== 'POST' && r.key) return `an Idempotency-Key on a ${r.method}`;
    return null;
  }

  error(e) { return { status: e.status, text: JSON.stringify({ error: { ...e.error, request_log_url: 'https://dashboard.stripe.com/test/logs/req_double' } }) }; }

  // What the request comes to, its faults included. Two at once with one key: the second is told to wait.
  async answer(r, res) {
    if (r.key && this.running.has(r.key)) {
      return this.error(new Refusal(409, { code: 'idempotency_key_in_use', message: 'There is currently another in-progress request using this Idempotent Key.' }));
    }
    if (!r.key) return this.outcome(r, res);
    this.running.add(r.key);
    try { return await this.outcome(r, res); } finally { this.running.delete(r.key); }
  }

  async outcome(r, res) {
    const f = this.nextFault(r);
    if (f?.delay) await new Promise((ok) => setTimeout(ok, f.delay));
    if (f?.drop === true) return { after: 'drop' };
    if (f?.hang === true) return { after: 'hang' };
    if (f?.body !== undefined) return { status: f.status || 200, text: f.body, headers: f.headers };
    if (f?.status && !f.saved) return { ...this.error(new Refusal(f.status, { type: 'api_error', message: 'a fault on demand', ...f.error })), headers: f.headers };
    const given = this.authorized(r) || (r.key ? this.once(r, f) : this.perform(r));
    return { ...given, after: f?.drop ? 'drop' : f?.hang ? 'hang' : res.destroyed ? 'drop' : undefined };
  }

  nextFault(r) {
    const f = this.faults.find((x) => x.times > 0 && (!x.method || x.method === r.method)
      && (!x.path || (x.path instanceof RegExp ? x.path.test(r.path) : x.path === r.path)));
    if (f) f.times--;
    return f;
  }

  authorized(r) {
    if (r.headers.authorization === `Bearer ${this.key}`) return null;
    const shown = (r.headers.authorization || '').replace(/^Bearer /, '').replace(/^(.{8}).*(.{4})$/, '$1****$2');
    return this.error(new Refusal(401, { message: `Invalid API Key provided: ${shown}` }));
  }

  // The same key: the same answer; another body: refused.
  once(r, f) {
    const id = `${r.key}`;
    const said = `${r.method} ${r.path}\n${r.raw}`;
    const before = this.kept.get(id);
    if (before && before.said !== said) {
      return this.error(new Refusal(400, { type: 'idempotency_error', message: `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${r.key}' if you meant to execute a different request.` }));
    }
    if (before) {
      r.replayed = true;
      return { ...before.answer, headers: { ...before.answer.headers, 'Idempotent-Replayed': 'true' } };
    }
    const answer = f?.saved ? { ...this.error(new Refusal(f.status, { type: 'api_error', message: 'a fault on demand', ...f.error })), headers: f.headers } : this.perform(r);
    this.kept.set(id, { said, answer });
    return answer;
  }

  perform(r) {
    this.world.request = r.key;
    try {
      return { status: 200, text: JSON.stringify(perform(this.world, r)) };
    } catch (e) {
      if (!(e instanceof Refusal)) throw e;
      return this.error(e);
    } finally {
      this.world.request = null;
    }
  }

  async stop() {
    await this.hooks.stop();
    this.server.closeAllConnections();
    await new Promise((r) => this.server.close(r));
    if (this.violations.length) throw new Error(`Stripe's validator refused ${this.violations.length} requests:\n${this.violations.join('\n')}`);
  }
}

module.exports = { Stripe, PRICES, VERSION };
