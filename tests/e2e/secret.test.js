// The secret of a machine's agent, and its owner's Claude credentials, from the API down to the machine and back to nothing.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');
const { Terminal } = require('../lib/terminal.js');
const { person, start } = require('../access/people.js');

// A server at a folder that ends with the test, with its machines, whatever becomes of that.
const worlds = new Map();
async function begin(dir, settings = {}) {
  const s = await start({ provider: 'local', terminal_command: 'exec sh', ...settings }, dir);
  worlds.set(dir, s);
  return s;
}
function folder(t) {
  const dir = temp();
  t.after(async () => {
    let s = worlds.get(dir);
    if (s.child.exitCode !== null || s.child.signalCode) s = await begin(dir);
    await s.deleteAll();
    await s.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

// What the agent of a machine answers to who has only its socket.
const ask = (s, m, headers, where = '/activity', method = 'GET') => new Promise((resolve, reject) => {
  const socketPath = path.join(s.dir, 'local/machines', m.short, 'agent.sock');
  const req = http.request({ socketPath, method, path: where, headers, agent: false }, (res) => {
    res.resume();
    res.on('end', () => resolve(res.statusCode));
  });
  req.on('error', reject);
  req.end();
});

const make = async (who, body = {}) => {
  const r = await who.call('POST', '/instances?wait=60', { network: 'none', ...body });
  assert.strictEqual(r.status, 201, r.text);
  assert.strictEqual(r.body.status, 'RUNNING', r.text);
  return r.body;
};
const sh = async (who, m, line) => {
  const r = await who.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line], timeout: 30 });
  assert.strictEqual(r.status, 200, r.text);
  return r.body.stdout;
};
const move = async (who, m, verb) => {
  const r = await who.call('POST', `/instances/${m.id}/${verb}`);
  assert.strictEqual(r.status, 200, r.text);
};
const secretOf = (dir, m) => {
  const r = spawnSync(binary, [path.join(__dirname, 'secret.lua'), dir, m.id], { encoding: 'utf8' });
  assert.strictEqual(r.status, 0, r.stderr);
  return r.stdout.trim();
};
const files = (dir) => fs.readdirSync(dir, { withFileTypes: true }).flatMap((e) => {
  const full = path.join(dir, e.name);
  return e.isDirectory() ? files(full) : e.isFile() ? [full] : [];
});

test('B38: an agent answers this host alone, over restarts of each of them, and no file or answer has the secret', async (t) => {
  const dir = folder(t);
  let s = await begin(dir, { log_level: 'debug' });
  const m = await make(s);
  const holds = async () => {
    assert.strictEqual(await ask(s, m, {}, '/healthz'), 200);
    for (const headers of [{}, { Authorization: 'Bearer wrong' }]) {
      assert.strictEqual(await ask(s, m, headers), 401);
      assert.strictEqual(await ask(s, m, headers, '/exec', 'POST'), 401);
    }
    assert.strictEqual(await sh(s, m, 'echo in'), 'in\n');
    assert.strictEqual((await s.call('GET', `/instances/${m.id}/stats`)).status, 200);
    const tty = await Terminal.open(`${s.url}/instances/${m.id}/terminal`, { 'X-API-Key': s.key });
    tty.type('echo ty""ped\r');
    await tty.sees(/typed/);
    await tty.close();
  };
  const agents = "for p in /proc/[0-9]*; do [ \"$(tr '\\0' ' ' <$p/cmdline | cut -d' ' -f1)\" = cchost-agent ] && echo ${p#/proc/}; done";
  await holds();
  const first = await sh(s, m, agents);
  assert.match(first, /^\d+\n$/);
  await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', `kill -9 ${first}`], timeout: 10 });
  await until(async () => /^\d+$/.test((await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', agents] })).body.stdout?.trim()), 'another agent');
  assert.notStrictEqual(await sh(s, m, agents), first);
  await holds();
  await s.kill();
  s = await begin(dir, { log_level: 'debug' });
  await holds();
  await s.stop();
  const secret = secretOf(dir, m);
  assert.match(secret, /^[0-9a-f]{64}$/);

  s = await begin(dir, { log_level: 'debug' });
  assert.strictEqual(await ask(s, m, { Authorization: `Bearer ${secret}` }), 200);
  const key = crypto.createHash('sha256').update(secret).digest('hex');
  assert.strictEqual(await ask(s, m, { Authorization: `Bearer ${key}` }), 401);
  const seen = await sh(s, m, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'");
  assert.ok(seen.includes(key) && !seen.includes(secret));
  const answers = [(await s.call('GET', `/instances/${m.id}`)).text, (await s.call('GET', '/events?limit=1000')).text, s.log];
  const run = (...args) => { const r = spawnSync(binary, [...args, `--data-dir=${dir}`], { encoding: 'utf8' }); return r.stdout + r.stderr; };
  answers.push(run('log', '--json'), run('export', `${dir}/out.jsonl`), run('backup', `${dir}/out.backup`));
  for (const [where, text] of [...answers.entries(), ...files(dir).map((f) => [f, fs.readFileSync(f)])]) {
    for (const form of [secret, Buffer.from(secret).toString('base64').replace(/=+$/, ''), Buffer.from(secret, 'hex')]) {
      assert.ok(!Buffer.from(text).includes(form), `the secret is in ${where}`);
    }
  }

  await move(s, m, 'stop'); // the secret ends with the run
  await move(s, m, 'start');
  await holds();
  assert.strictEqual(await ask(s, m, { Authorization: `Bearer ${secret}` }), 401);
  assert.strictEqual((await s.call('DELETE', `/instances/${m.id}`)).status, 200);
  await s.stop();
  assert.strictEqual(secretOf(dir, m), 'none');
});

test('a secret that is lost ends no machine: its stop and start bring another', async (t) => {
  const dir = folder(t);
  let s = await begin(dir);
  const m = await make(s);
  await s.stop();
  fs.writeFileSync(`${dir}/master_key`, crypto.randomBytes(32).toString('hex'), { mode: 0o600 }); // and the old one is gone
  s = await begin(dir);
  const r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['true'] });
  assert.notStrictEqual(r.status, 200, r.text);
  assert.match(r.text, /stop the machine and start it/);
  await move(s, m, 'stop');
  await move(s, m, 'start');
  assert.strictEqual(await sh(s, m, 'echo in'), 'in\n');
  assert.strictEqual(await ask(s, m, {}), 401);
  await s.call('DELETE', `/instances/${m.id}`);
  await s.stop();
});

const api = 'sk-ant-api03-of-the-owner-0123456789', oauth = 'sk-ant-oat01-of-the-owner-0123456789';
const saved = 'cat ~/.config/cchost/claude.json 2>/dev/null || echo none';

test("B7: an owner's Claude credentials are on his machines and nobody else's, follow each change, and go when he takes them away", async (t) => {
  const dir = folder(t);
  let s = await begin(dir);
  let [p, q] = [await person(s, 'p@example.org'), await person(s, 'q@example.org')];
  const put = async (values) => assert.strictEqual((await p.call('PUT', '/auth/settings', values)).status, 200);
  const before = await make(p, { name: 'before' }), other = await make(q);
  assert.strictEqual(await sh(p, before, saved), 'none\n');
  await put({ anthropic_api_key: api });
  const has = (m, word) => until(async () => (await sh(p, m, saved)).includes(word), `${m.name} has ${word}`);
  await has(before, api); // while it runs
  const after = await make(p, { name: 'after' });
  assert.ok((await sh(p, after, saved)).includes(api)); // once it runs, it has them
  assert.strictEqual(await sh(p, after, 'stat -c %a ~/.config/cchost/claude.json; env | grep -c sk-an[t]; cat /proc/[0-9]*/cmdline | grep -c sk-an[t]'), '600\n0\n0\n');
  const tty = await Terminal.open(`${s.url}/instances/${after.id}/terminal`, { Authorization: `Bearer ${p.token}` });
  tty.type('echo "<$ANTHROPIC_API_KEY>"\r');
  await tty.sees(new RegExp(`<${api}>`));
  await tty.close();

  // changed while the machine is stopped, and while this host is not there
  await move(p, before, 'stop');
  await put({ anthropic_api_key: '', claude_oauth_token: oauth });
  await has(after, oauth);
  await move(p, before, 'start');
  assert.ok(!(await sh(p, before, saved)).includes(api) && (await sh(p, before, `${saved}; cat ~/.claude/.credentials.json`)).includes(oauth));
  await put({ claude_oauth_token: '' });
  await s.kill(); // at once: before or after it was told
  s = await begin(dir);
  const again = async (email) => person(s, email);
  [p, q] = [await again('p@example.org'), await again('q@example.org')];
  for (const m of [before, after]) {
    await until(async () => await sh(p, m, saved) === 'none\n', `${m.name} has none`);
    assert.strictEqual(await sh(p, m, 'ls -A ~/.config/cchost; ls ~/.claude/.credentials.json 2>&1 | grep -c No'), '1\n');
  }
  assert.strictEqual(await sh(q, other, saved), 'none\n');
  assert.ok(!s.log.includes('sk-ant'));
  await s.deleteAll();
  await s.stop();
});

test('killed at any moment of a create, the machine is one with a secret, and has its credentials', async (t) => {
  const dir = folder(t);
  let s = await begin(dir);
  let p = await person(s, 'p@example.org');
  assert.strictEqual((await p.call('PUT', '/auth/settings', { claude_oauth_token: oauth })).status, 200);
  const made = [];
  for (const moment of [() => true, (m) => fs.existsSync(path.join(dir, 'local/machines', m.short)),
    (m) => fs.existsSync(path.join(dir, 'local/machines', m.short, 'agent.sock')), async (m) => (await s.status(m.id)) === 'RUNNING']) {
    const r = await p.call('POST', '/instances?wait=0', { network: 'none' });
    assert.ok([201, 202].includes(r.status), r.text);
    const m = r.body.id ? r.body : r.body.instance;
    made.push(m);
    await until(() => moment(m), 'the moment');
    await s.kill();
    s = await begin(dir);
    p = await person(s, 'p@example.org');
    await s.running(m.id, 60);
    assert.strictEqual(await ask(s, m, {}), 401);
    await until(async () => (await sh(p, m, saved)).includes(oauth), 'its credentials');
  }
  await s.deleteAll();
  await s.stop();
  for (const m of made) assert.strictEqual(secretOf(dir, m), 'none');
});
