// How Stripe tells of its events: signed POSTs to an endpoint, until it says 2xx; on demand twice, in any order, late, in the
// shape of another version. The signature's header is made by Stripe's own npm library where the kit has it.
'use strict';
const crypto = require('node:crypto');
const http = require('node:http');
const https = require('node:https');
const kit = require('../kit.js');
const { render } = require('./world.js');
const { until } = require('../cchost.js');

let library;
function stripeLibrary() {
  if (library === undefined) {
    library = null;
    if (!kit.missing('npm')) {
      const Stripe = require(`${kit.modules('npm')}stripe`);
      library = new (Stripe.default || Stripe)('sk_test_signing', { telemetry: false });
    }
  }
  return library;
}

// Stripe-Signature of a body. secrets: while one is rolled Stripe signs with both. at: unix seconds.
function sign(payload, secrets, at) {
  const list = [].concat(secrets);
  const lib = stripeLibrary();
  const headers = list.map((secret) => (lib
    ? lib.webhooks.generateTestHeaderString({ payload, secret, timestamp: at })
    : `t=${at},v1=${crypto.createHmac('sha256', secret).update(`${at}.${payload}`).digest('hex')}`));
  return [`t=${at}`, ...headers.map((h) => h.replace(/^t=\d+,/, ''))].join(',');
}

function post(url, body, headers) {
  return new Promise((resolve) => {
    const u = new URL(url);
    const req = (u.protocol === 'https:' ? https : http).request(u, { method: 'POST', headers: { 'Content-Length': Buffer.byteLength(body), ...headers }, rejectUnauthorized: false, timeout: 30000 }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('end', () => resolve({ status: res.statusCode, text: Buffer.concat(parts).toString() }));
      res.on('error', (e) => resolve({ status: 0, error: e.code }));
    });
    req.on('timeout', () => req.destroy());
    req.on('error', (e) => resolve({ status: 0, error: e.code }));
    req.end(body);
  });
}

class Hooks {
  constructor(world, { webhook, secret }) {
    this.world = world;
    this.url = webhook;
    this.secrets = [].concat(secret);
    this.queue = []; // { event, due } still to be told
    this.told = new Map(); // event id -> how often it was taken
    this.busy = 0;
  }

  // One delivery. how: { version, at: the signature's time, secrets, payload: (text) => text, header, url }
  async deliver(event, how = {}) {
    const text = JSON.stringify(render(event, how.version || event.api_version), null, 2); // as Stripe writes it: not compact
    const header = how.header !== undefined ? how.header : sign(text, how.secrets || this.secrets, how.at ?? this.world.now());
    const body = how.payload ? how.payload(text) : text;
    const r = await post(how.url || this.url, body, { 'Content-Type': 'application/json; charset=utf-8', 'User-Agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
      ...(header === null ? {} : { 'Stripe-Signature': header }) });
    if (r.status >= 200 && r.status < 300) {
      this.told.set(event.id, (this.told.get(event.id) || 0) + 1);
      event.pending_webhooks = 0;
    }
    return r;
  }

  // All events that nobody has taken yet. how: also { shuffle: () => 0..1, reverse, twice }. -> the answers
  async deliverAll(how = {}) {
    let events = this.world.events.filter((e) => !this.told.has(e.id));
    if (how.twice) events = [...events, ...events];
    if (how.reverse) events.reverse();
    if (how.shuffle) {
      for (let i = events.length - 1; i > 0; i--) {
        const j = Math.floor(how.shuffle() * (i + 1));
        [events[i], events[j]] = [events[j], events[i]];
      }
    }
    const answers = [];
    for (const e of events) answers.push(await this.deliver(e, how));
    return answers;
  }

  // From now on every event is told, and again until it is taken. o: { random: () => 0..1, twice: share of events told
  // twice, late: most seconds before the first try, again: seconds between tries, at_once: deliveries at a time }
  follow(o = {}) {
    const { random = Math.random, twice = 0, late = 0, again = 0.05, at_once = 4 } = o;
    const put = (event, seconds) => { this.queue.push({ event, due: Date.now() + seconds * 1000 }); this.pump?.(); };
    const add = (event) => {
      for (let n = random() < twice ? 2 : 1; n > 0; n--) put(event, random() * late);
    };
    const old = this.world.onEvent;
    this.world.onEvent = (e) => { old(e); add(e); };
    this.unfollow = () => { this.world.onEvent = old; this.pump = null; clearTimeout(this.timer); };
    this.pump = () => {
      clearTimeout(this.timer);
      while (this.pump && this.busy < at_once) {
        const ripe = this.queue.filter((q) => q.due <= Date.now());
        if (!ripe.length) break;
        const q = ripe[Math.floor(random() * ripe.length)];
        this.queue.splice(this.queue.indexOf(q), 1);
        this.busy++;
        this.deliver(q.event, o).then((r) => {
          this.busy--;
          if (!(r.status >= 200 && r.status < 300)) put(q.event, again);
          this.pump?.();
        });
      }
      const next = Math.min(...this.queue.map((q) => q.due));
      if (this.pump && this.busy < at_once && next < Infinity) this.timer = setTimeout(this.pump, Math.max(1, next - Date.now()));
    };
  }

  // Until all of what follow() has to tell was taken.
  settled(seconds = 60) {
    return until(() => this.queue.length === 0 && this.busy === 0, () => `webhooks are taken: ${this.queue.length} are not`, seconds);
  }

  async stop() {
    this.queue = [];
    this.unfollow?.();
    await until(() => this.busy === 0, 'deliveries under way', 35);
  }
}

module.exports = { Hooks, sign, stripeLibrary };
