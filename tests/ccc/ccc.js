// What the tests of ccc share: the tool itself, as a link called ccc, at a server or on a store.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');

const bin = temp();
const ccc = path.join(bin, 'ccc');
fs.symlinkSync(binary, ccc);
process.on('exit', () => fs.rmSync(bin, { recursive: true, force: true }));

const bare = { PATH: process.env.PATH, HOME: '/nonexistent', ASAN_OPTIONS: process.env.ASAN_OPTIONS, UBSAN_OPTIONS: process.env.UBSAN_OPTIONS };

// Keys as ssh-keygen makes them: key('ed25519'), key('rsa', 4096) -> {file, text}; each kind is made once.
const keys = {};
function key(type = 'ed25519', bits = 0, name = 'id') {
  const at = path.join(bin, `${name}.${type}.${bits}`);
  if (!keys[at]) {
    const r = spawnSync('ssh-keygen', ['-q', '-t', type, ...(bits ? ['-b', String(bits)] : []), '-N', '', '-C', 'ann@laptop', '-f', at], { encoding: 'utf8' });
    assert.strictEqual(r.status, 0, r.stderr);
    keys[at] = { file: `${at}.pub`, identity: at, text: fs.readFileSync(`${at}.pub`, 'utf8').trim() };
  }
  return keys[at];
}

// A place where machines are: run(...arguments) -> {code, out, err}.
class Place {
  constructor(env, cwd) {
    this.env = { ...bare, ...env };
    this.cwd = cwd;
  }

  run(...args) {
    const r = spawnSync(ccc, args, { cwd: this.cwd, encoding: 'utf8', env: this.env, timeout: 60e3 });
    assert.doesNotMatch(r.stderr, /traceback|left open|Sanitizer/, args.join(' '));
    return { code: r.status, out: r.stdout, err: r.stderr };
  }

  ok(...args) {
    const r = this.run(...args);
    assert.strictEqual(r.code, 0, `${args.join(' ')}: ${r.out}${r.err}`);
    assert.strictEqual(r.err, '', args.join(' '));
    return r.out;
  }

  json(...args) { return JSON.parse(this.ok(...args, '--json')); }

  refused(pattern, ...args) {
    const r = this.run(...args);
    assert.strictEqual(r.code, 1, `${args.join(' ')}: ${r.out}${r.err}`);
    assert.match(r.err, pattern);
    return r;
  }

  // Begins a command. -> {child, text(), ended}
  begin(...args) {
    const child = spawn(ccc, args, { cwd: this.cwd, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const s of [child.stdout, child.stderr]) s.on('data', (d) => { text += d; });
    return { child, text: () => text, ended: new Promise((r) => child.on('exit', (code) => r(code))) };
  }

  provision(...args) { return this.json('provision', 'ann@example.org', key().text, ...args).instanceId; }
}

const mock = (settings) => `{state="${settings.dir}/world",ledger="${settings.dir}/ledger"${settings.more ? `,${settings.more}` : ''}}`;

// At a server, whose files ccc does not see.
async function atServer(more = '', settings = {}) {
  const dir = temp();
  const s = await Server.start({ provider: 'mock', mock: mock({ dir, more }), policies_dir: undefined, ...settings }, dir);
  const place = new Place({ CCHOST_URL: s.url, API_KEY: s.key, DATA_DIR: '/nonexistent' }, bin);
  place.server = s;
  place.dir = dir;
  place.end = async () => {
    await s.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  };
  return place;
}

// On a store that nobody serves; ends with what the test has left in it.
function onStore(more = '', settings = {}) {
  const dir = temp();
  const env = { DATA_DIR: dir, PROVIDER: 'mock', MOCK: mock({ dir, more }), ...settings };
  const place = new Place(env, bin);
  place.dir = dir;
  place.end = async () => fs.rmSync(dir, { recursive: true, force: true });
  return place;
}

module.exports = { Place, atServer, onStore, key, mock, bin, ccc, until };
