// A double of Netbird's management API for the tests, with a memory: groups, setup keys, policies, routes and peers on loopback, with
// the refusals of the real one; every request is also checked by the vendor's document (tests/lib/prism.js; one that it refuses
// fails the test).
//
//   const nb = await Netbird.start()       Server.start({ ... }, null, { env: nb.env })
//   nb.groups, nb.keys, nb.policies, nb.routes, nb.peers      what there is: Map of id -> thing
//   nb.register(key, hostname)             what `netbird up --setup-key` does: the peer, or an Error
//   nb.sso(name, groups)                   a peer that somebody's login made
//   nb.onPeers = (hostname) => {}          called before peers of a name are told: the machine may have joined by then
//   nb.requests                            what came: { method, path, query, body, status, at }
//   nb.fault({ method, path, times: 1, status, message, headers, drop: true | 'after', delay: ms })    the next that fit go wrong
//   nb.left()                              names of all that is there, but for what is in a fresh account
//   nb.refused()                           what the document's judge refused so far, and forgets it: for tests that mean to
//   await nb.stop()                        fails when anything was refused that was not asked for
//
// options: checked: false where the kit is not needed; absent404: a group's name that there is none of is a 404; role, modules:
// of the token's user; extra: of the account's settings.
'use strict';
const crypto = require('node:crypto');
const http = require('node:http');
const { Prism } = require('./prism.js');

class Refusal extends Error {
  constructor(status, message) { super(message); this.status = status; }
}
const refuse = (status, message) => { throw new Refusal(status, message); };
const need = (ok, message) => ok || refuse(422, message);
const isList = Array.isArray;
const DAY = 86400e3;

let shared;
const judge = () => {
  shared ??= Prism.start('netbird').then((v) => {
    for (const h of [v.child, v.child.stdout, v.child.stderr]) h.unref();
    return v;
  });
  return shared;
};

class Netbird {
  static missing() { return Prism.missing(); }

  static async start(options = {}) {
    const n = new this();
    Object.assign(n, { options, token: 'nbp_double0123456789abcdefghijklmnopqrst', violations: [], requests: [], faults: [], serial: 0, clear: new Map(), turn: Promise.resolve() });
    for (const kind of ['groups', 'keys', 'policies', 'routes', 'peers']) n[kind] = new Map();
    n.all = n.add('groups', { name: 'All', issued: 'api' });
    n.judge = options.checked === false ? null : await judge();
    n.server = http.createServer((req, res) => n.take(req, res).catch((e) => {
      n.violations.push(`the double itself: ${e.stack}`);
      res.destroy();
    }));
    await new Promise((r) => n.server.listen(0, '127.0.0.1', r));
    n.port = n.server.address().port;
    n.url = `http://127.0.0.1:${n.port}`;
    n.env = { NETBIRD_API_URL: n.url, NETBIRD_API_TOKEN: n.token, NETBIRD_REQUESTS_PER_MINUTE: '100000' };
    return n;
  }

  fault(f) { this.faults.push({ times: 1, ...f }); }

  refused() { return this.violations.splice(0); }

  add(kind, thing) {
    const id = `${kind[0]}${String(++this.serial).padStart(19, '0')}`;
    this[kind].set(id, { id, ...thing });
    return this[kind].get(id);
  }

  group(name) { return [...this.groups.values()].find((g) => g.name === name); }
  named(kind, name) { return [...this[kind].values()].filter((x) => (x.network_id ?? x.name) === name); }
  members(group) { return [...this.peers.values()].filter((p) => p.groups.includes(group.id)); }
  left() {
    return ['groups', 'keys', 'policies', 'routes', 'peers'].flatMap((kind) => [...this[kind].values()].map((x) => `${kind} ${x.network_id ?? x.name}`)).filter((x) => x !== 'groups All').sort();
  }

  // ---- devices

  register(key, hostname) {
    const k = [...this.keys.values()].find((x) => this.clear.get(x.id) === key);
    if (!k || this.state(k) !== 'valid') throw new Error(`setup key is ${k ? this.state(k) : 'unknown'}`);
    k.used_times++;
    k.last_used = new Date().toISOString();
    return this.peer(hostname, [...k.auto_groups], '');
  }

  sso(name, groups) { return this.peer(name, groups.map((g) => this.group(g).id), 'google-oauth2|1'); }

  peer(hostname, groups, user_id) {
    const n = ++this.serial;
    return this.add('peers', { name: hostname, hostname, groups: [this.all.id, ...groups], user_id, connected: true, ip: `100.90.${n >> 8}.${n & 255}`, created_at: new Date(Date.now() + n).toISOString() });
  }

  // ---- a request

  async take(req, res) {
    const parts = [];
    for await (const d of req) parts.push(d);
    const raw = Buffer.concat(parts).toString();
    const [path, query = ''] = req.url.split('?');
    const r = { method: req.method, url: req.url, path, query: new URLSearchParams(query), headers: req.headers, raw, at: Date.now() };
    this.requests.push(r);
    const before = this.turn;
    let done;
    this.turn = new Promise((ok) => { done = ok; });
    await before;
    try { await this.judged(r); } finally { done(); }
    const f = this.faults.find((x) => x.times > 0 && (!x.method || x.method === r.method) && (!x.path || (x.path instanceof RegExp ? x.path.test(r.url) : x.path === r.path)));
    if (f) f.times--;
    if (f?.delay) await new Promise((ok) => setTimeout(ok, f.delay));
    if (f?.drop === true) return void res.destroy();
    let status = 200;
    let body;
    try {
      if (f?.status) refuse(f.status, f.message || 'a fault on demand');
      body = this.answer(r);
    } catch (e) {
      if (!(e instanceof Refusal)) throw e;
      status = e.status;
      body = { message: e.message, code: e.status };
    }
    r.status = status;
    if (f?.drop === 'after') return void res.destroy();
    res.writeHead(status, { 'Content-Type': 'application/json', ...f?.headers });
    res.end(JSON.stringify(body));
  }

  async judged(r) {
    if (!this.judge) return;
    const why = await this.judge.check({ method: r.method, url: r.url, headers: r.headers, body: r.raw });
    if (why) this.violations.push(why);
  }

  answer(r) {
    if (r.headers.authorization !== `Token ${this.token}`) refuse(401, 'token invalid');
    if (r.raw) {
      try { r.body = JSON.parse(r.raw); } catch { refuse(400, 'couldn\'t parse JSON request'); }
    }
    const [, , what, id] = r.path.split('/');
    if (r.path === '/api/users/current') return this.user();
    if (r.path === '/api/accounts') return [{ id: 'a1', settings: { extra: { peer_approval_enabled: false, ...this.options.extra } } }];
    const kind = { groups: 'groups', 'setup-keys': 'keys', policies: 'policies', routes: 'routes', peers: 'peers' }[what];
    if (!kind) refuse(404, 'page not found');
    if (id === undefined && r.method === 'GET') return this.list(kind, r.query);
    if (id === undefined && r.method === 'POST' && kind !== 'peers') return this.shown(kind, this.make(kind, r.body || {}), true);
    const thing = id !== undefined && this[kind].get(id);
    if (!thing) refuse(404, `${what} ${id} not found`);
    if (r.method === 'GET') return this.shown(kind, thing);
    if (r.method === 'PUT') return this.shown(kind, Object.assign(thing, this.checked(kind, r.body || {}, thing)));
    if (r.method !== 'DELETE') refuse(405, 'method not allowed');
    this.mayGo(kind, thing);
    this[kind].delete(id);
    return {};
  }

  user() {
    return { id: 'u1', email: '', name: 'cchost', role: this.options.role || 'admin', auto_groups: [], status: 'active', is_service_user: true, is_blocked: false, pending_approval: false,
      ...(this.options.modules && { permissions: { is_restricted: false, modules: this.options.modules } }) };
  }

  list(kind, query) {
    const name = query.get('name');
    if (kind === 'peers' && name && this.onPeers) this.onPeers(name);
    let all = [...this[kind].values()];
    if (kind === 'peers' && name) all = all.filter((p) => p.name.includes(name)); // not to the letter
    if (kind === 'groups' && name) {
      all = all.filter((g) => g.name === name);
      if (!all.length && this.options.absent404) refuse(404, `group ${name} not found`);
    }
    return all.map((x) => this.shown(kind, x));
  }

  // ---- what may be made

  make(kind, b) {
    const thing = this.add(kind, this.checked(kind, b));
    if (kind === 'keys') this.clear.set(thing.id, crypto.randomUUID().toUpperCase());
    return thing;
  }

  known(ids) { return ids.every((id) => this.groups.has(id)); }

  checked(kind, b, was) {
    return { groups: () => this.checkedGroup(b, was), keys: () => (was ? this.checkedUpdate(b) : this.checkedKey(b)), policies: () => this.checkedPolicy(b), routes: () => this.checkedRoute(b), peers: () => ({}) }[kind]();
  }

  checkedGroup(b, was) {
    need(b.name, 'group name shouldn\'t be empty');
    const other = this.group(b.name);
    if (other && other !== was) refuse(409, `group with name ${b.name} already exists`);
    return { name: b.name, issued: 'api' };
  }

  checkedKey(b) {
    need(b.name, 'setup key name shouldn\'t be empty');
    need(['one-off', 'reusable'].includes(b.type), 'unknown setup key type');
    need(Number.isInteger(b.expires_in) && b.expires_in >= 86400, 'expiresIn should be at least a day');
    need(b.type !== 'one-off' || b.usage_limit <= 1, 'usage limit of a one-off key is 1');
    need(isList(b.auto_groups), 'AutoGroups field is invalid');
    if (!this.known(b.auto_groups)) refuse(404, 'group not found');
    need(!b.auto_groups.includes(this.all.id), 'can\'t add All group to the setup key');
    return { name: b.name, type: b.type, expires: new Date(Date.now() + b.expires_in * 1000).toISOString(), auto_groups: b.auto_groups, usage_limit: b.usage_limit, ephemeral: !!b.ephemeral,
      revoked: false, used_times: 0, last_used: '0001-01-01T00:00:00Z', updated_at: new Date().toISOString() };
  }

  checkedUpdate(b) {
    need(typeof b.revoked === 'boolean', 'Revoked field is invalid');
    need(isList(b.auto_groups), 'AutoGroups field is invalid');
    return { revoked: b.revoked, auto_groups: b.auto_groups };
  }

  checkedPolicy(b) {
    need(b.name, 'policy name shouldn\'t be empty');
    need(isList(b.rules) && b.rules.length, 'policy rules shouldn\'t be empty');
    return { name: b.name, description: b.description || '', enabled: b.enabled, rules: b.rules.map((rule) => this.checkedRule(rule)) };
  }

  checkedRule(rule) {
    need(['accept', 'drop'].includes(rule.action), 'unknown action type');
    need(['all', 'tcp', 'udp', 'icmp'].includes(rule.protocol), 'unknown protocol type');
    const ports = rule.ports?.length || rule.port_ranges?.length;
    need(!(rule.ports?.length && rule.port_ranges?.length), 'specify either individual ports or port ranges, not both');
    if (['all', 'icmp'].includes(rule.protocol)) {
      need(!ports, 'for ALL or ICMP protocol ports is not allowed');
      need(rule.bidirectional, 'for ALL or ICMP protocol type flow can be only bi-directional');
    } else need(rule.bidirectional || ports, 'for a flow of one direction ports are needed');
    const there = (ids = []) => ids.filter((id) => this.groups.has(id)); // silently, as it does
    return { name: rule.name, enabled: rule.enabled, action: rule.action, bidirectional: rule.bidirectional, protocol: rule.protocol, ports: rule.ports, sources: there(rule.sources), destinations: there(rule.destinations) };
  }

  checkedRoute(b) {
    need(b.network_id && b.network_id.length <= 40, 'identifier should be between 1 and 40 characters');
    need(!b.peer !== !b.peer_groups, 'only one of peer or peer_groups should be provided');
    need(!b.network !== !b.domains, 'only one of network or domains should be provided');
    need(isList(b.groups) && b.groups.length, 'groups shouldn\'t be empty');
    need(b.metric >= 1 && b.metric <= 9999, 'metric should be between 1 and 9999');
    need(typeof b.keep_route === 'boolean', 'keep_route is missing');
    if (b.peer && !this.peers.has(b.peer)) refuse(404, `peer ${b.peer} not found`);
    if (!this.known(b.groups)) refuse(404, 'group not found');
    return { ...b };
  }

  // A group that something refers to stays.
  mayGo(kind, thing) {
    if (kind !== 'groups') return;
    if (thing === this.all) refuse(400, 'deleting group ALL is not allowed');
    const has = (ids) => ids?.includes(thing.id);
    const linked = [
      ...[...this.policies.values()].filter((p) => p.rules.some((x) => has(x.sources) || has(x.destinations))).map((p) => `policy: ${p.name}`),
      ...[...this.routes.values()].filter((x) => has(x.groups) || has(x.peer_groups) || has(x.access_control_groups)).map((x) => `route: ${x.network_id}`),
      ...[...this.keys.values()].filter((k) => has(k.auto_groups)).map((k) => `setup key: ${k.name}`),
      ...(thing.dns ? ['name server groups: dns'] : []),
    ];
    if (linked.length) refuse(400, `group has been linked to ${linked[0]}`);
  }

  // ---- what is shown

  state(k) {
    if (k.revoked) return 'revoked';
    if (Date.parse(k.expires) < Date.now()) return 'expired';
    return k.usage_limit && k.used_times >= k.usage_limit ? 'overused' : 'valid';
  }

  expire(key) { key.expires = new Date(Date.now() - DAY).toISOString(); }

  shown(kind, x, fresh) {
    const small = (id) => ({ id, name: this.groups.get(id).name, peers_count: 0, resources_count: 0, issued: 'api' });
    if (kind === 'groups') return { ...x, peers: this.members(x).map((p) => ({ id: p.id, name: p.name })), peers_count: this.members(x).length, resources_count: 0, resources: [] };
    if (kind === 'keys') {
      const key = this.clear.get(x.id);
      return { ...x, state: this.state(x), valid: this.state(x) === 'valid', key: fresh ? key : `${key.slice(0, 5)}****` };
    }
    if (kind === 'policies') return { ...x, rules: x.rules.map((rule) => ({ ...rule, sources: rule.sources.map(small), destinations: rule.destinations.map(small) })) };
    if (kind === 'routes') return { ...x, network_type: 'IPv4' };
    return { ...x, groups: x.groups.filter((id) => this.groups.has(id)).map(small) };
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((r) => this.server.close(r));
    if (this.violations.length) throw new Error(`Netbird's document refuses ${this.violations.length} requests:\n${this.violations.join('\n')}`);
  }
}

module.exports = { Netbird };
