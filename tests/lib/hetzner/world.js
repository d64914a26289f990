// What there is at Hetzner: servers, volumes, networks, firewalls, keys, and actions that take their time. No HTTP here.
//
//   const world = new World({ machines, latency })   machines: what runs when a server does (machines.js), or null
//   world.call(method, path, query, body) -> { status, body }     throws Refusal
//   world.images                       system images, and snapshots that were taken     
//   world.servers, .volumes, .networks, .firewalls, .keys, .actions   Maps by id
//   world.soldOut.add('cpx11@fsn1')    create_server there is refused       world.failActions.push({ command, code })   its action ends so
//   world.seed(n)                      n servers of ours with a volume each, that nothing runs in
//   world.left()                       texts: servers, volumes and networks
'use strict';
const crypto = require('node:crypto');

class Refusal extends Error {
  constructor(status, code, message, details) {
    super(message);
    Object.assign(this, { status, code, details });
  }
}
const refuse = (status, code, message) => { throw new Refusal(status, code, message); };

const LOCATIONS = ['fsn1', 'nbg1', 'hel1', 'ash'].map((name, i) => ({ id: i + 1, name, description: `${name} park`, country: i === 3 ? 'US' : 'DE',
  city: name, latitude: 50.5, longitude: 12.4, network_zone: i === 3 ? 'us-east' : 'eu-central' }));

const price = (location) => ({ location, price_hourly: { net: '0.01', gross: '0.0119' }, price_monthly: { net: '5', gross: '5.95' },
  included_traffic: 21990232555520, price_per_tb_traffic: { net: '1', gross: '1.19' } });
const type = (id, name, cores, memory, disk, locations, ended = []) => ({ id, name, description: name.toUpperCase(), cores, memory, disk, deprecated: false,
  deprecation: null, architecture: name.startsWith('cax') ? 'arm' : 'x86', cpu_type: 'shared', storage_type: 'local', prices: locations.map(price),
  locations: locations.map((l) => ({ id: LOCATIONS.find((x) => x.name === l).id, name: l,
    deprecation: ended.includes(l) ? { announced: '2020-01-01T00:00:00Z', unavailable_after: '2020-04-01T00:00:00Z' } : null })) });
const EU = ['fsn1', 'nbg1', 'hel1'];
const TYPES = [type(1, 'cpx11', 2, 2, 40, [...EU, 'ash']), type(2, 'cpx21', 3, 4, 80, [...EU, 'ash']), type(3, 'cpx31', 4, 8, 160, EU),
  type(4, 'cx11', 1, 2, 20, EU, EU), type(5, 'cax11', 2, 4, 40, ['fsn1'])];

const image = (id, name, architecture) => ({ id, name, description: name, type: 'system', status: 'available', architecture, bound_to: null, created: '2024-04-25T00:00:00Z',
  created_from: null, deleted: null, deprecated: null, disk_size: 5, image_size: null, labels: {}, os_flavor: name.split('-')[0], os_version: name.split('-')[1],
  protection: { delete: false }, rapid_deploy: true });
const IMAGES = [image(11, 'ubuntu-24.04', 'x86'), image(12, 'debian-12', 'x86'), image(13, 'ubuntu-24.04', 'arm')];

// "a", "!a", "a=b", "a==b", "a!=b", joined by commas.
function selects(selector, labels) {
  return selector.split(',').every((term) => {
    const [, not, key, op, value] = /^(!?)([^=!]+)(==|=|!=)?(.*)$/.exec(term.trim());
    if (not) return !(key in labels);
    if (!op) return key in labels;
    return op === '!=' ? labels[key] !== value : labels[key] === value;
  });
}

class World {
  constructor({ machines = null, latency = 20 } = {}) {
    Object.assign(this, { machines, latency, next: 1000, soldOut: new Set(), failActions: [], limits: { servers: Infinity } });
    for (const kind of ['servers', 'volumes', 'networks', 'firewalls', 'keys', 'actions']) this[kind] = new Map();
    this.images = new Map(IMAGES.map((i) => [i.id, i]));
    this.timers = new Set();
    this.addresses = 0;
  }

  id() { return ++this.next; }
  now() { return new Date().toISOString().replace(/\.\d+Z/, 'Z'); }

  later(ms, fn) {
    const t = setTimeout(() => { this.timers.delete(t); fn(); }, ms);
    this.timers.add(t);
  }

  async close() {
    for (const t of this.timers) clearTimeout(t);
    await Promise.all([...this.servers.values()].map((s) => this.machines?.stop(s.id)));
  }

  left() {
    return [...[...this.servers.values()].map((s) => `server ${s.name}`), ...[...this.volumes.values()].map((v) => `volume ${v.name}`),
      ...[...this.networks.values()].map((n) => `network ${n.name}`), ...[...this.images.values()].filter((i) => i.type === 'snapshot').map((i) => `snapshot ${i.description}`)];
  }

  // ---- actions

  // An action on `what`: [kind, id] pairs, locked until it has ended; then `done` has its effect.
  begin(command, what, done = () => {}, ms = this.latency) {
    const fails = this.failActions.findIndex((f) => f.command === command);
    const fault = fails >= 0 ? this.failActions.splice(fails, 1)[0] : null;
    const a = { id: this.id(), command, status: 'running', progress: 0, started: this.now(), finished: null, error: null,
      resources: what.map(([t, id]) => ({ id, type: t })) };
    this.actions.set(a.id, a);
    for (const [t, id] of what) if (t === 'server' && this.servers.has(id)) this.servers.get(id).locks.add(a.id);
    this.later(ms, async () => {
      try {
        if (!fault) await done();
      } catch (e) { a.error = { code: 'action_failed', message: String(e.message) }; }
      if (fault) a.error = { code: fault.code, message: 'a fault on demand' };
      Object.assign(a, { status: a.error ? 'error' : 'success', progress: 100, finished: this.now() });
      for (const [t, id] of what) if (t === 'server') this.servers.get(id)?.locks.delete(a.id);
    });
    return a;
  }

  unlockedServer(id) {
    const s = this.get('servers', id);
    this.unlocked(s);
    return s;
  }

  unlocked(s) { if (s.locks.size) refuse(423, 'locked', 'server is locked'); }

  // ---- what is told

  shown(kind, o) {
    if (kind !== 'servers') return o;
    const { locks, userData, ...rest } = o;
    return { ...rest, locked: locks.size > 0 };
  }

  list(kind, key, query) {
    let all = [...(Array.isArray(kind) ? kind : this[kind].values())];
    if (query.name) all = all.filter((o) => o.name === query.name);
    if (query.fingerprint) all = all.filter((o) => o.fingerprint === query.fingerprint);
    if (query.architecture) all = all.filter((o) => o.architecture === query.architecture);
    if (query.type) all = all.filter((o) => o.type === query.type);
    if (query.status) all = all.filter((o) => o.status === query.status);
    if (query.label_selector) all = all.filter((o) => selects(query.label_selector, o.labels));
    const size = Math.min(Number(query.per_page || 25), 50);
    const page = Number(query.page || 1);
    const last = Math.max(1, Math.ceil(all.length / size));
    return { status: 200, body: { [key]: all.slice((page - 1) * size, page * size).map((o) => this.shown(kind, o)), meta: { pagination: { page,
      per_page: size, previous_page: page > 1 ? page - 1 : null, next_page: page < last ? page + 1 : null, last_page: last, total_entries: all.length } } } };
  }

  get(kind, id) { return this[kind].get(Number(id)) || refuse(404, 'not_found', `${kind.slice(0, -1)} with ID '${id}' not found`); }

  unique(kind, name) {
    if ([...this[kind].values()].some((o) => o.name === name)) refuse(409, 'uniqueness_error', 'name is already used');
  }

  // ---- servers

  createServer(b) {
    if (!/^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/.test(b.name)) refuse(422, 'invalid_input', "invalid input in field 'name'");
    this.unique('servers', b.name);
    const t = TYPES.find((x) => x.name === b.server_type || String(x.id) === b.server_type) || refuse(422, 'invalid_input', "invalid input in field 'server_type'");
    const img = [...this.images.values()].find((x) => (x.name === b.image || String(x.id) === b.image) && x.architecture === t.architecture && x.status === 'available') || refuse(422, 'invalid_input', "invalid input in field 'image'");
    if (img.disk_size > t.disk) refuse(422, 'invalid_input', 'image disk is bigger than server type disk');
    const location = LOCATIONS.find((x) => x.name === (b.location || 'fsn1')) || refuse(422, 'invalid_input', "invalid input in field 'location'");
    if (!t.locations.some((l) => l.name === location.name && !l.deprecation)) refuse(422, 'unsupported_location_for_server_type', 'unsupported location for server type');
    if (this.soldOut.has(`${t.name}@${location.name}`)) refuse(412, 'resource_unavailable', 'error during placement');
    if (this.servers.size >= this.limits.servers) refuse(403, 'resource_limit_exceeded', 'server limit exceeded');
    if (Buffer.byteLength(b.user_data || '') > 32 * 1024) refuse(422, 'invalid_input', "invalid input in field 'user_data'");
    const keys = (b.ssh_keys || []).map((k) => [...this.keys.values()].find((x) => x.name === k || String(x.id) === k) || refuse(422, 'invalid_input', "invalid input in field 'ssh_keys'"));
    const firewalls = (b.firewalls || []).map((f) => this.get('firewalls', f.firewall));
    const volumes = (b.volumes || []).map((v) => this.get('volumes', v));
    if (volumes.length > 16) refuse(422, 'invalid_input', 'too many volumes');
    for (const v of volumes) {
      if (v.server) refuse(422, 'volume_already_attached', 'volume already attached');
      if (v.location.name !== location.name) refuse(422, 'invalid_input', 'volume is in another location');
    }
    const id = this.id();
    const s = { id, name: b.name, status: 'initializing', created: this.now(), labels: b.labels || {}, location, server_type: t, image: img, volumes: volumes.map((v) => v.id),
      public_net: { ipv4: { ip: this.address(), blocked: false, dns_ptr: '' }, ipv6: { ip: `2001:db8:${id.toString(16)}::/64`, blocked: false, dns_ptr: [] }, floating_ips: [],
        firewalls: firewalls.map((f) => ({ id: f.id, status: 'applied' })) },
      private_net: [], primary_disk_size: t.disk, included_traffic: 654321, ingoing_traffic: 0, outgoing_traffic: 0, backup_window: null, iso: null, load_balancers: [],
      placement_group: null, protection: { delete: false, rebuild: false }, rescue_enabled: false,
      datacenter: { id: location.id, name: `${location.name}-dc1`, description: '', location, server_types: { available: [1, 2, 3], available_for_migration: [], supported: [1, 2, 3] } },
      locks: new Set(), userData: b.user_data || '', sshKeys: keys.map((k) => k.public_key) };
    this.servers.set(id, s);
    for (const v of volumes) v.server = id;
    const made = this.begin('create_server', [['server', id]], () => { s.status = 'starting'; });
    const started = this.begin('start_server', [['server', id]], () => this.run(s), this.latency * 2);
    return { status: 201, body: { server: this.shown('servers', s), action: made, next_actions: [started], root_password: keys.length ? null : 'x' } };
  }

  address() {
    const n = ++this.addresses;
    return `127.${80 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
  }

  // A snapshot of its disk, which is whole when the action has ended.
  createImage(s, b) {
    if (b.type !== 'snapshot') refuse(422, 'invalid_input', 'backups are not enabled');
    const id = this.id();
    const img = { ...IMAGES[0], id, name: null, type: 'snapshot', status: 'creating', description: b.description, labels: b.labels || {}, architecture: s.server_type.architecture,
      disk_size: s.primary_disk_size, image_size: null, created: new Date().toISOString().replace(/Z/, '+00:00'), created_from: { id: s.id, name: s.name }, rapid_deploy: false };
    this.images.set(id, img);
    const action = this.begin('create_image', [['server', s.id], ['image', id]], () => {
      if (s.status !== 'off') throw new Error('the double takes no snapshot of what runs');
      this.machines?.copyDisk(s, img);
      Object.assign(img, { status: 'available', image_size: 1.5 });
    }, this.latency * 3);
    return { status: 201, body: { image: img, action } };
  }

  deleteImage(img) {
    if (img.type !== 'snapshot') refuse(403, 'forbidden', 'not yours');
    this.images.delete(img.id);
    this.machines?.forgetImage(img);
    return { status: 204 };
  }

  async run(s) {
    if (!this.servers.has(s.id)) return;
    await this.machines?.start(s, s.volumes.map((v) => this.volumes.get(v)));
    s.status = 'running';
  }

  async halt(s) {
    s.status = 'stopping';
    await this.machines?.stop(s.id);
    s.status = 'off';
  }

  deleteServer(s) {
    this.unlocked(s);
    const a = this.begin('delete_server', [['server', s.id]], () => this.machines?.remove(s.id));
    this.servers.delete(s.id); // as at Hetzner: gone at once, the action says when all of it is
    for (const v of this.volumes.values()) if (v.server === s.id) v.server = null;
    for (const n of this.networks.values()) n.servers = n.servers.filter((i) => i !== s.id);
    return { status: 200, body: { action: a } };
  }

  attachNetwork(s, b) {
    const n = this.get('networks', b.network);
    if (s.private_net.some((p) => p.network === n.id)) refuse(422, 'server_already_attached', 'server is already attached to network');
    if ([...this.servers.values()].some((o) => o.private_net.some((p) => p.network === n.id && p.ip === b.ip))) refuse(422, 'ip_not_available', 'IP is not available');
    return this.begin('attach_to_network', [['server', s.id], ['network', n.id]], () => {
      s.private_net.push({ network: n.id, ip: b.ip || '10.0.0.2', alias_ips: [], mac_address: '86:00:ff:2a:7d:e1' });
      n.servers.push(s.id);
    });
  }

  serverAction(s, what, b) {
    this.unlocked(s);
    const on = [['server', s.id]];
    switch (what) {
      case 'shutdown': return this.begin('shutdown_server', on, () => { if (s.status === 'running') this.later(this.latency, () => this.halt(s)); });
      case 'poweroff': return this.begin('stop_server', on, () => this.halt(s));
      case 'poweron': return this.begin('start_server', on, () => this.run(s));
      case 'reboot': case 'reset': return this.begin('reboot_server', on, async () => { await this.halt(s); await this.run(s); });
      case 'attach_to_network': return this.attachNetwork(s, b);
      default: return refuse(404, 'not_found', 'no such action');
    }
  }

  // ---- volumes

  createVolume(b) {
    this.unique('volumes', b.name);
    if (!(b.size >= 10 && b.size <= 10240)) refuse(422, 'invalid_input', "invalid input in field 'size'");
    if (!b.server === !b.location) refuse(422, 'invalid_input', 'exactly one of server and location');
    const location = LOCATIONS.find((l) => l.name === b.location) || refuse(422, 'invalid_input', "invalid input in field 'location'");
    const id = this.id();
    const v = { id, name: b.name, size: b.size, created: this.now(), labels: b.labels || {}, location, server: null, format: b.format || null, status: 'creating',
      linux_device: `/dev/disk/by-id/scsi-0HC_Volume_${id}`, protection: { delete: false } };
    this.volumes.set(id, v);
    const action = this.begin('create_volume', [['volume', id]], () => { v.status = 'available'; });
    return { status: 201, body: { volume: v, action, next_actions: [] } };
  }

  volumeAction(v, what, b) {
    if (what === 'attach') {
      const s = this.get('servers', b.server);
      this.unlocked(s);
      if (v.server) refuse(422, 'volume_already_attached', 'volume already attached');
      v.server = s.id;
      return this.begin('attach_volume', [['server', s.id], ['volume', v.id]], () => { s.volumes.push(v.id); return this.machines?.attach(s, v); });
    }
    if (what !== 'detach') refuse(404, 'not_found', 'no such action');
    const s = this.servers.get(v.server);
    return this.begin('detach_volume', [['volume', v.id]], () => {
      v.server = null;
      if (s) s.volumes = s.volumes.filter((i) => i !== v.id);
    });
  }

  deleteVolume(v) {
    if (v.server) refuse(422, 'resource_in_use', 'volume is still attached');
    this.volumes.delete(v.id);
    this.machines?.forget(v);
    return { status: 204 };
  }

  // ---- the rest

  createKey(b) {
    this.unique('keys', b.name);
    const blob = Buffer.from(b.public_key.split(' ')[1] || '', 'base64');
    const fingerprint = crypto.createHash('md5').update(blob).digest('hex').match(/../g).join(':');
    if ([...this.keys.values()].some((k) => k.fingerprint === fingerprint)) refuse(409, 'uniqueness_error', 'SSH key with the same fingerprint already exists');
    const k = { id: this.id(), name: b.name, fingerprint, public_key: b.public_key, labels: b.labels || {}, created: this.now() };
    this.keys.set(k.id, k);
    return { status: 201, body: { ssh_key: k } };
  }

  createFirewall(b) {
    this.unique('firewalls', b.name);
    const f = { id: this.id(), name: b.name, labels: b.labels || {}, created: this.now(), rules: b.rules || [], applied_to: [] };
    this.firewalls.set(f.id, f);
    return { status: 201, body: { firewall: f, actions: [] } };
  }

  createNetwork(b) {
    this.unique('networks', b.name);
    const n = { id: this.id(), name: b.name, ip_range: b.ip_range, labels: b.labels || {}, created: this.now(), routes: [], servers: [], load_balancers: [],
      subnets: (b.subnets || []).map((s) => ({ gateway: '10.0.0.1', ...s })), protection: { delete: false }, expose_routes_to_vswitch: false };
    this.networks.set(n.id, n);
    return { status: 201, body: { network: n } };
  }

  edit(kind, key, o, b) {
    if (b.name !== undefined && b.name !== o.name) this.unique(kind, b.name);
    Object.assign(o, b);
    return { status: 200, body: { [key]: this.shown(kind, o) } };
  }

  drop(kind, o) { this[kind].delete(o.id); return { status: 204 }; }

  // ---- a request

  actionsOf(query) {
    const ids = [].concat(query.id || []).map(Number);
    return { status: 200, body: { actions: ids.map((i) => this.actions.get(i)).filter(Boolean) } };
  }

  call(method, path, query, body) {
    const [, kind, id, word, what] = path.split('/');
    const route = `${method} ${kind}${id ? '/id' : ''}${word ? '/actions' : ''}`;
    const acted = (action) => ({ status: 201, body: { action } });
    switch (route) {
      case 'GET servers': return this.list('servers', 'servers', query);
      case 'POST servers': return this.createServer(body);
      case 'GET servers/id': return { status: 200, body: { server: this.shown('servers', this.get('servers', id)) } };
      case 'PUT servers/id': return this.edit('servers', 'server', this.get('servers', id), body);
      case 'DELETE servers/id': return this.deleteServer(this.get('servers', id));
      case 'POST servers/id/actions': if (what === 'create_image') return this.createImage(this.unlockedServer(id), body); return acted(this.serverAction(this.get('servers', id), what, body));
      case 'GET volumes': return this.list('volumes', 'volumes', query);
      case 'POST volumes': return this.createVolume(body);
      case 'GET volumes/id': return { status: 200, body: { volume: this.get('volumes', id) } };
      case 'PUT volumes/id': return this.edit('volumes', 'volume', this.get('volumes', id), body);
      case 'DELETE volumes/id': return this.deleteVolume(this.get('volumes', id));
      case 'POST volumes/id/actions': return acted(this.volumeAction(this.get('volumes', id), what, body));
      case 'GET ssh_keys': return this.list('keys', 'ssh_keys', query);
      case 'POST ssh_keys': return this.createKey(body);
      case 'GET ssh_keys/id': return { status: 200, body: { ssh_key: this.get('keys', id) } };
      case 'DELETE ssh_keys/id': return this.drop('keys', this.get('keys', id));
      case 'GET firewalls': return this.list('firewalls', 'firewalls', query);
      case 'POST firewalls': return this.createFirewall(body);
      case 'GET firewalls/id': return { status: 200, body: { firewall: this.get('firewalls', id) } };
      case 'DELETE firewalls/id': return this.drop('firewalls', this.get('firewalls', id));
      case 'POST firewalls/id/actions': {
        const f = this.get('firewalls', id);
        f.rules = body.rules;
        return { status: 201, body: { actions: [this.begin('set_firewall_rules', [['firewall', f.id]])] } };
      }
      case 'GET networks': return this.list('networks', 'networks', query);
      case 'POST networks': return this.createNetwork(body);
      case 'GET networks/id': return { status: 200, body: { network: this.get('networks', id) } };
      case 'DELETE networks/id': return this.drop('networks', this.get('networks', id));
      case 'GET server_types': return this.list(TYPES, 'server_types', query);
      case 'GET locations': return this.list(LOCATIONS, 'locations', query);
      case 'GET images': return this.list('images', 'images', query);
      case 'GET images/id': return { status: 200, body: { image: this.get('images', id) } };
      case 'DELETE images/id': return this.deleteImage(this.get('images', id));
      case 'GET actions': return this.actionsOf(query);
      case 'GET actions/id': return { status: 200, body: { action: this.get('actions', id) } };
      default: return refuse(404, 'not_found', `no route ${method} ${path}`);
    }
  }

  // ---- for benchmarks

  seed(n) {
    for (let i = 0; i < n; i++) {
      const short = (0xabc000000000 + i).toString(16);
      const server = i % 10 !== 0;
      const v = this.createVolume({ name: `cc-${short}`, size: 20, location: 'fsn1', format: 'ext4',
        labels: { cchost: '1', 'cchost-own': short, [`cchost-at-${short}`]: 'm.claude-datae', [`cchost-id-${short}`]: `00000000-0000-4000-8000-${short}` } }).body.volume;
      if (!server) continue;
      const s = this.createServer({ name: `cc-${short}`, server_type: 'cpx11', image: 'ubuntu-24.04', location: 'fsn1', volumes: [v.id],
        labels: { cchost: '1', 'cchost-id': `00000000-0000-4000-8000-${short}`, 'cchost-owner': 'o', 'cchost-host-key': 'SHA256_xe' } }).body.server;
      this.servers.get(s.id).status = 'running';
    }
  }
}

module.exports = { World, Refusal };
