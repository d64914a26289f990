// Customers: each pays at Stripe's double for something, has machines that he makes, stops, starts, extends and deletes, and meets a
// fate that Stripe tells of (a renewal, a refused card, a refund, a dispute, another plan, an end).
'use strict';

const HOURS = 48;
const CREDIT = 60;
const MACHINES = { pro: 26, starter: 0, hours: 0, credit: 8 }; // that he makes himself, at most
const LAST = 3; // he keeps so many
const pause = (ms) => new Promise((r) => setTimeout(r, ms));

const fates = {
  pro: {
    renewed: (w, c) => w.renew(c.paid.subscription),
    refused: (w, c) => w.renew(c.paid.subscription, { fails: true }),
    mended: (w, c) => w.payInvoice(w.renew(c.paid.subscription, { fails: true }).invoice),
    refunded: (w, c) => w.refund(c.paid.charge, 700),
    ending: (w, c) => w.cancelAtEnd(c.paid.subscription),
    cancelled: (w, c) => w.cancel(c.paid.subscription),
  },
  starter: {
    pro: (w, c) => w.changePrice(c.paid.subscription, 'price_pro'),
    cancelled: (w, c) => w.cancel(c.paid.subscription),
    renewed: (w, c) => w.renew(c.paid.subscription),
  },
  hours: {
    left: () => {},
    won: (w, c) => w.closeDispute(w.dispute(c.paid.charge), 'won'),
    refunded: (w, c) => { w.refund(c.paid.charge); c.refunded = true; },
  },
  credit: {
    refunded: (w, c) => w.refund(c.paid.charge, 123),
    won: (w, c) => w.closeDispute(w.dispute(c.paid.charge), 'won'),
    left: () => {},
  },
};

class Customer {
  constructor(run, who, kind, random) {
    Object.assign(this, { run, who, kind, random, fate: random.of(Object.keys(fates[kind])), paid: null, charges: [] });
    this.machines = new Map(); // that he has made: id -> {busy}
    this.gone = new Set();     // whose deletion was acknowledged
    this.most = MACHINES[kind];
    this.made = 0;
  }

  // One request, again and again until there is a server that answers it. What is made twice then has one key.
  async insist(method, path, body, key) {
    const heard = {};
    while (Date.now() < this.run.calm + 60e3) {
      await this.run.up;
      this.run.counts.requests++;
      const r = await this.who.call(method, path, body, key ? { 'Idempotency-Key': key } : {}).catch(() => null);
      if (r && r.status < 500 && r.status !== 429 && r.body?.code !== 'conflict') return r;
      if (r?.status === 500) throw new Error(`${method} ${path}: ${r.text}\n${this.run.shop.server.log.slice(-2000)}`);
      const said = r ? `${r.status} ${r.body?.error}` : 'nothing';
      heard[said] = (heard[said] || 0) + 1;
      this.run.counts.repeated++;
      await pause(20);
    }
    throw new Error(`no answer: ${method} ${path} ${JSON.stringify(body)}, but ${JSON.stringify(heard)}`);
  }

  // What Stripe was asked about him, and what it knows: for the report of a failure.
  async story() {
    const { stripe, world } = this.run.shop;
    const { stripe_customer_id: customer } = await this.run.shop.user(this.who).catch(() => ({}));
    const about = stripe.requests.filter((q) => q.raw.includes(this.who.id) || (customer && `${q.url} ${q.raw}`.includes(customer)));
    const has = [...world.subscriptions.values()].filter((x) => x.customer === customer || x.metadata.user_id === this.who.id).map((x) => [x.id, x.customer, x.status]);
    return [`customer ${customer}, subscriptions ${JSON.stringify(has)}`, ...about.slice(-20).map((q) => `${q.method} ${q.url} ${q.raw} -> ${q.status}`)].join('\n    ');
  }

  // ---- what he pays

  async pay(what) {
    const { world } = this.run.shop;
    const r = await this.insist('POST', '/billing/checkout', what);
    if (r.status !== 200) throw new Error(`${this.who.email}: ${JSON.stringify(what)}: ${r.status} ${r.text}\n${await this.story()}`);
    const session = [...world.sessions.values()].find((s) => s.url === r.body.url);
    if (session.status !== 'open') return null; // another purchase of his took this page
    const paid = world.pay(session);
    this.charges.push(paid.charge);
    return paid;
  }

  async begin() {
    const what = { pro: { plan: 'pro' }, starter: { plan: 'starter' }, hours: { hours: HOURS, type: 'tiny' }, credit: { credit: CREDIT } };
    this.paid = await this.pay(what[this.kind]);
  }

  meet() { return fates[this.kind][this.fate](this.run.shop.world, this); }
  more() { return this.pay({ credit: 5 + this.random.below(20) }); }

  // ---- what he does

  async step(random) {
    const free = [...this.machines].filter(([, m]) => !m.busy);
    const wanted = this.machines.size < this.most;
    const what = random.weighted({
      create: wanted ? 30 : 0, stop: 10, start: 10, extend: this.kind === 'credit' ? 4 : 0, delete: this.machines.size > LAST ? 3 : 0,
    });
    if (what === 'create') return wanted && this.create();
    if (!free.length) return undefined;
    const [id, m] = random.of(free);
    m.busy = true;
    try { return await this[what](id, random); } finally { m.busy = false; }
  }

  async create() {
    const token = `${this.who.id}-${++this.made}`;
    const body = { type: 'tiny', labels: { token }, ...(this.kind === 'credit' ? { hours: HOURS } : {}) };
    const r = await this.insist('POST', '/instances', body, token);
    if (r.status === 201 || r.status === 202) {
      this.machines.set(r.body.id, { busy: false });
      this.run.counts.made++;
    } else if (this.may(r, [402, 409])) await pause(100); // it is not there yet what he has paid for, or it is over
  }

  may(r, allowed) {
    if (!allowed.includes(r.status)) throw new Error(`${this.kind} ${this.who.email} (${this.fate}): ${r.status} ${r.text}`);
    return true;
  }

  async stop(id) { this.may(await this.insist('POST', `/instances/${id}/stop`), [200, 202]); }
  async start(id) { this.may(await this.insist('POST', `/instances/${id}/start`), [200, 202, 402, 403, 409]); }
  async extend(id, random) { this.may(await this.insist('POST', `/instances/${id}/extend`, { hours: random.between(1, 5) }, `x${random.bits()}-${id}`), [200, 202, 402]); }

  async delete(id) {
    this.may(await this.insist('DELETE', `/instances/${id}`), [200, 202]);
    this.machines.delete(id);
    this.gone.add(id);
    this.run.counts.deleted++;
  }
}

module.exports = { Customer, HOURS };
