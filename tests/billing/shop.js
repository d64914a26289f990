// A server that sells, before a double of Stripe: what the tests of checkout and of webhooks share.
'use strict';
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, until, temp, root, binary } = require('../lib/cchost.js');
const { Stripe } = require('../lib/stripe.js');
const { person } = require('../access/people.js');

class Shop {
  // settings and env: of the server; stripe: of the double
  static async open({ settings = {}, env = {}, stripe = {}, follow } = {}) {
    const s = new this();
    s.stripe = await Stripe.start(stripe);
    s.world = s.stripe.world;
    s.hooks = s.stripe.hooks;
    s.env = { ...s.stripe.env, STRIPE_PRICE_USAGE: 'price_usage', ...env };
    s.dir = temp();
    s.server = await Server.start({ provider: 'mock', drain_seconds: 1, policies_dir: path.join(root, 'policies'), frontend_url: 'https://app.example.org', ...settings },
      s.dir, { env: s.env });
    s.hooks.url = `${s.server.url}/billing/webhook`;
    if (follow) s.hooks.follow(follow);
    return s;
  }

  async person(email = 'ann@example.org') { return person(this.server, email); }
  user(who) { return this.server.call('GET', `/users/${who.id}`).then((r) => r.body); }
  async checkout(who, body = {}) {
    const r = await who.call('POST', '/billing/checkout', body);
    if (r.status !== 200) throw new Error(`checkout: ${r.status} ${r.text}\n${this.server.log}`);
    return [...this.world.sessions.values()].find((s) => s.url === r.body.url);
  }

  // He takes a plan and pays; all events are told. -> what world.pay gives
  async subscribe(who, plan = 'starter') {
    const session = await this.checkout(who, { plan });
    const paid = this.world.pay(session);
    await this.tell();
    return paid;
  }

  async tell(how = {}) {
    const answers = await this.hooks.deliverAll(how);
    const bad = answers.filter((r) => r.status !== 200);
    if (bad.length) throw new Error(`webhooks: ${JSON.stringify(bad)}`);
    await this.worked();
  }

  // Until nothing is pending of events (and orders).
  worked(kinds = ['event'], seconds = 30) {
    return until(() => { const left = this.list(kinds); return left.every((l) => l.status !== 'pending'); }, () => `all is worked on: ${JSON.stringify(this.list(kinds))}\n${this.server.log}`, seconds);
  }

  script(file, ...args) {
    const r = spawnSync(binary, [file, ...args], { encoding: 'utf8', maxBuffer: 2 ** 30, env: { ...process.env, ...this.env, DATA_DIR: this.dir, PROVIDER: 'mock' } });
    if (r.status !== 0) throw new Error(`${file}: ${r.status} ${r.stdout} ${r.stderr}`);
    return r.stdout;
  }

  // What is queued: [{kind, id, status, note, ...}]
  list(kinds) {
    return JSON.parse(this.script(path.join(__dirname, 'books.lua'), 'queues')).filter((x) => !kinds || kinds.includes(x.kind.replace('stripe_', '')));
  }

  // The books: { accounts: {owner: {balances, plan, managed, reported}}, entries: {owner: [..]}, faults }
  books() { return JSON.parse(this.script(path.join(__dirname, 'books.lua'), 'books')); }
  async machines(who) { return (await who.call('GET', '/instances')).body; }
  becomes(who, status) { return until(async () => (await this.user(who)).subscription_status === status, () => `the subscription is ${status}\n${this.server.log}`); }
  until(fn, what) { return until(fn, () => `${what}\n${this.server.log}\n${JSON.stringify(this.list(), null, 1)}`); }

  async close() {
    await this.hooks.stop();
    await this.server.deleteAll();
    await this.server.stop();
    require('node:fs').rmSync(this.dir, { recursive: true, force: true });
    await this.stripe.stop();
  }
}

// test(name, { skip, ... }, fn(shop, world, t)): with a shop that is closed at the end, whatever happens.
function withShop(test, name, options, fn) {
  test(name, { skip: Stripe.missing() }, async (t) => {
    const shop = await Shop.open(options);
    let ok = false;
    try {
      await fn(shop, shop.world, t);
      ok = true;
    } finally {
      await shop.close().catch((e) => { shop.server.child.kill('SIGKILL'); if (ok) throw e; });
    }
  });
}

module.exports = { Shop, withShop };
