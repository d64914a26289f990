// A server whose machines, the mock's, join the double of Netbird with the key that they were told: what the tests here share.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { Server, until, temp, root } = require('../lib/cchost.js');
const { Netbird } = require('../lib/netbird.js');
const { person } = require('../access/people.js');

// The shipped policies, with Netbird for these providers, and no limits.
function policies(dir, providers, edit = (text) => text) {
  fs.mkdirSync(dir);
  for (const name of fs.readdirSync(path.join(root, 'tests/lib/policies'))) fs.copyFileSync(path.join(root, 'tests/lib/policies', name), path.join(dir, name));
  const text = fs.readFileSync(path.join(root, 'policies/netbird.lua'), 'utf8');
  const ours = text.replace('providers = { "hetzner" }', `providers = { ${providers.map((p) => `"${p}"`).join(', ')} }`);
  if (!ours.includes(`providers = { "${providers[0]}"`)) throw new Error('policies/netbird.lua has no line for its providers');
  fs.writeFileSync(path.join(dir, 'netbird.lua'), edit(ours));
  return dir;
}

class Mesh {
  // mock: settings of it as Lua text; netbird: options of the double; through(netbird) -> another URL for it
  static async open({ mock = '', settings = {}, netbird = {}, env = {}, providers = ['mock'], edit, through } = {}) {
    const m = new this();
    m.dir = temp();
    m.netbird = await Netbird.start(netbird);
    m.netbird.onPeers = (name) => m.boot(name);
    m.ledger = path.join(m.dir, 'ledger');
    const url = through ? await through(m.netbird) : m.netbird.url;
    m.data = path.join(m.dir, 'data');
    fs.mkdirSync(m.data);
    m.server = await Server.start({ provider: 'mock', mock: `{state="${m.dir}/world",ledger="${m.ledger}",user_data=true,${mock}}`, drain_seconds: 1, policies_dir: policies(path.join(m.dir, 'policies'), providers, edit), ...settings },
      m.data, { env: { ...m.netbird.env, NETBIRD_API_URL: url, ...env } });
    return m;
  }

  // What the mock was asked, oldest first.
  asked() { return fs.existsSync(this.ledger) ? fs.readFileSync(this.ledger, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l)) : []; }

  // Of a machine: what it was last made with.
  told(short) { return this.asked().filter((l) => l.short === short && l.changed && l.op !== 'stop').pop(); }

  key(short) { return /\nkey='([^']*)'\n/.exec(this.told(short)?.user_data || '')?.[1]; }

  // The machine boots, if it is there: it joins with its key, unless that is used up.
  boot(name) {
    const short = name.replace(/^cc-/, '');
    const key = this.paused ? null : this.key(short);
    if (key && this.told(short).op !== 'destroy') try { this.netbird.register(key, name); } catch (e) { this.why = e.message; }
  }

  async machine(who, body = {}) {
    const r = await who.call('POST', '/instances?wait=30', body);
    if (r.status !== 201) throw new Error(`${r.status} ${r.text}`);
    return r.body;
  }

  person(email = 'ann@example.org') { return person(this.server, email); }
  operation(r) { return until(async () => { const op = (await this.server.call('GET', r.headers.location)).body; return ['done', 'failed', 'cancelled', 'superseded'].includes(op.state) && op; }, () => `an end\n${this.server.log}`, 60); }

  async close() {
    await this.server.deleteAll();
    await this.server.stop();
    fs.rmSync(this.dir, { recursive: true, force: true });
    await this.netbird.stop();
  }
}

function withMesh(test, name, options, fn) {
  test(name, { skip: Netbird.missing() }, async () => {
    const m = await Mesh.open(options);
    let ok = false;
    try {
      await fn(m, m.netbird);
      ok = true;
    } finally {
      await m.close().catch((e) => { m.server.child.kill('SIGKILL'); if (ok) throw e; });
    }
  });
}

module.exports = { Mesh, withMesh, until };
