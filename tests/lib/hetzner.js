// A double of Hetzner's API for the tests, with a memory: on loopback, behind the third-party validator (every request is also checked
// by it; one that it refuses fails the test), with servers that are sshd's in namespaces of their own.
//
//   const hetzner = await Hetzner.start({ machines: true, latency: 20, limit: 3600, checked: true })
//   hetzner.url, .token      the setting endpoint, and token
//   hetzner.world            what there is (hetzner/world.js)      hetzner.machines   what runs in it (hetzner/machines.js)
//   hetzner.requests         what came: { method, path, query, body, status }      hetzner.asked('POST', /servers$/)
//   hetzner.fault({ method, path, times: 1, ... })   the next requests that fit go wrong:
//       status, code, headers   answered so, and nothing done       after: true   but it was done
//       drop: true | 'after'    the connection ends before or after it was done     hang: true    no answer      delay: ms
//   hetzner.spend(n)         so many requests of the hour's are gone
//   hetzner.refused()        what the validator refused so far, and forgets it: for tests that mean to
//   await hetzner.stop()     fails when the validator has refused anything
// GET /left, POST /halt?short=S, /remove?short=S beside /v1: for commands of the contract suite.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const { temp } = require('./cchost.js');
const { World, Refusal } = require('./hetzner/world.js');
const { Machines } = require('./hetzner/machines.js');
const { Prism } = require('./prism.js');

class Hetzner {
  static missing() { return Prism.missing(); }

  static async start(options = {}) {
    const z = new this();
    z.token = 'k'.repeat(64);
    z.dir = temp();
    z.machines = options.machines ? new Machines(z.dir) : null;
    z.world = new World({ machines: z.machines, latency: options.latency ?? 20 });
    z.rate = { limit: options.limit || 3600, left: options.limit || 3600, at: Date.now() };
    Object.assign(z, { requests: [], faults: [], violations: [] });
    z.validator = options.checked === false ? null : await Prism.start('hetzner');
    z.server = http.createServer((req, res) => z.take(req, res).catch((e) => {
      if (!req.destroyed) z.violations.push(`the double itself: ${e.stack}`);
      res.destroy();
    }));
    z.server.keepAliveTimeout = 60000;
    await new Promise((r) => z.server.listen(options.port || 0, '127.0.0.1', r));
    z.port = z.server.address().port;
    z.base = `http://127.0.0.1:${z.port}`;
    z.url = `${z.base}/v1`;
    return z;
  }

  fault(f) { this.faults.push({ times: 1, ...f }); }
  asked(method, what) { return this.requests.filter((r) => r.method === method && (what instanceof RegExp ? what.test(r.path) : r.path === what)); }
  spend(n) { this.refill(); this.rate.left = Math.max(0, this.rate.left - n); }

  refused() {
    const list = this.violations;
    this.violations = [];
    return list;
  }

  refill() {
    const now = Date.now();
    this.rate.left = Math.min(this.rate.limit, this.rate.left + (now - this.rate.at) * this.rate.limit / 3600000);
    this.rate.at = now;
  }

  headers() {
    const fill = (this.rate.limit - this.rate.left) * 3600 / this.rate.limit;
    return { 'Content-Type': 'application/json', 'RateLimit-Limit': String(this.rate.limit), 'RateLimit-Remaining': String(Math.floor(this.rate.left)),
      'RateLimit-Reset': String(Math.ceil(Date.now() / 1000 + fill)) };
  }

  nextFault(r) {
    const i = this.faults.findIndex((f) => (!f.method || f.method === r.method) && (!f.path || (f.path instanceof RegExp ? f.path.test(r.path) : r.path === f.path)));
    if (i < 0) return null;
    const f = this.faults[i];
    if (--f.times <= 0) this.faults.splice(i, 1);
    return f;
  }

  async take(req, res) {
    const parts = [];
    for await (const d of req) parts.push(d);
    const raw = Buffer.concat(parts).toString();
    const u = new URL(req.url, this.base);
    if (!u.pathname.startsWith('/v1/')) return this.beside(req, res, u);
    const query = {};
    for (const [k, v] of u.searchParams) query[k] = k in query ? [].concat(query[k], v) : v;
    const r = { method: req.method, url: req.url, path: u.pathname.slice(3), query, raw, headers: req.headers };
    this.requests.push(r);
    const why = this.validator && await (this.turn = (this.turn || Promise.resolve()).then(() => this.validator.check({ ...r, body: raw })));
    if (why) this.violations.push(why);
    r.body = raw ? JSON.parse(raw) : undefined;
    const f = this.nextFault(r);
    if (f?.delay) await new Promise((ok) => setTimeout(ok, f.delay));
    if (f?.drop === true) return void res.destroy();
    if (f?.hang) return;
    const answer = f?.status && !f.after ? null : this.outcome(r);
    if (f?.drop === 'after') return void res.destroy();
    const { status, body } = f?.status ? this.error(f.status, f.code || 'unknown_error', 'a fault on demand') : answer;
    r.status = status;
    const headers = { ...this.headers(), ...f?.headers };
    if (status === 204) delete headers['Content-Type'];
    res.writeHead(status, headers);
    res.end(status === 204 ? undefined : JSON.stringify(body));
  }

  error(status, code, message) { return { status, body: { error: { code, message, details: null } } }; }

  outcome(r) {
    this.refill();
    if (r.headers.authorization !== `Bearer ${this.token}`) return this.error(401, 'unauthorized', 'unable to authenticate');
    if (this.rate.left < 1) return this.error(429, 'rate_limit_exceeded', 'limit of requests per hour reached');
    this.rate.left -= 1;
    try {
      return this.world.call(r.method, r.path, r.query, r.body);
    } catch (e) {
      if (!(e instanceof Refusal)) throw e;
      return this.error(e.status, e.code, e.message);
    }
  }

  // ---- what an operator does in the console

  named(short) { return [...this.world.servers.values()].find((s) => s.name === `cc-${short}`); }

  async remove(short) {
    const s = this.named(short);
    if (s) {
      await this.machines?.stop(s.id);
      s.locks.clear();
      this.world.deleteServer(s);
    }
    for (const v of this.world.volumes.values()) if (v.labels['cchost-own'] === short) this.world.deleteVolume(v);
  }

  async beside(req, res, u) {
    const short = u.searchParams.get('short');
    let text = '';
    if (u.pathname === '/left') text = this.world.left().map((l) => `${l}\n`).join('');
    else if (u.pathname === '/halt') await this.world.halt(this.named(short));
    else if (u.pathname === '/remove') await this.remove(short);
    else { res.writeHead(404); return void res.end(); }
    res.writeHead(200);
    res.end(text);
  }

  async stop() {
    await this.world.close();
    this.server.closeAllConnections();
    await new Promise((r) => this.server.close(r));
    if (this.validator) await this.validator.stop();
    fs.rmSync(this.dir, { recursive: true, force: true });
    if (this.violations.length) throw new Error(`requests that Hetzner's document does not allow:\n${this.violations.join('\n')}`);
  }
}

module.exports = { Hetzner };
