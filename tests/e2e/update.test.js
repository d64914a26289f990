// The agent of a real machine is updated by a host that carries another build: in full use, and when that goes wrong anywhere.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const { Server, until, temp } = require('../lib/cchost.js');
const { SessionTerminal, Cutter } = require('../lib/session.js');
const { bytes, version, slow, ends, hangs, mute, broken, carrying } = require('../lib/builds.js');
const { updated, health, exchange } = require('../lib/in_use.js');

const settings = { terminal_command: 'PS1="$ " TERM=dumb exec bash --norc', agent_check_seconds: 1 };
const folder = (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
};
async function start(t, how) {
  const s = await Server.start(settings, null, how);
  t.after(() => s.stop());
  return s;
}
async function make(s, env, name = 'box') {
  const r = await s.call('POST', '/instances?wait=60', { name, env });
  assert.strictEqual(r.body.status, 'RUNNING', r.text);
  return r.body;
}

test('a machine that runs when the server starts, in full use, gets its agent: every byte once, its turn, lease, service and port go on', { timeout: 200000 }, async (t) => {
  const web = ['python3', '-m', 'http.server', '8080', '--bind', '127.0.0.1'];
  await updated(t, (how) => start(t, how), make, { dir: folder(t), web });
});

// A machine with an old agent and a terminal, and a host that carries `agent` in place of the one that made it; `built`: builds.js.
async function world(t, agent, built = agent, old = version('0.0.9')) {
  const dir = folder(t), s = await start(t, { binary: carrying(dir, old, 'old') }), m = await make(s);
  const tty = new SessionTerminal(() => `ws://127.0.0.1:${s.port}/instances/${m.id}/terminal`, { session: 'a', headers: { 'X-API-Key': s.key }, pause: 50 });
  t.after(() => { tty.again = false; tty.ws.terminate(); });
  tty.connect();
  await tty.sees(/\$ $/);
  tty.type('word=kept\r');
  await tty.acknowledged();
  const w = { s, m, tty, since: tty.since };
  w.stands = async () => (await s.call('GET', `/instances/${m.id}/stats`)).body.agent || {};
  w.is = (how, seconds = 40) => until(async () => { const a = await w.stands(); return a.update === how && a; }, () => `it is ${how}:\n${s.log.slice(-1500)}`, seconds);
  w.answers = (v) => until(async () => (await health(s, m)).version === v, () => `${v} answers:\n${s.log.slice(-1500)}`, 40);
  w.works = async (kept) => { // the terminal, as it was or a new one
    await until(() => tty.ready, 'it is back');
    tty.type('echo "[$word]"\r');
    await tty.sees(kept ? /\[kept\]\r\n/ : /\[\]\r\n/);
    assert.strictEqual(tty.since === w.since, kept);
  };
  w.now = () => exchange(s, agent && carrying(dir, agent, 'next', built));
  return w;
}

// The agent's process, by its name and its machine's socket: the one whose parent is that machine's init.
function agentOf(w) {
  const lock = fs.readFileSync(`${w.s.dir}/local/machines/${w.m.short}/lock`, 'utf8');
  const init = lock.split(/\s/)[0];
  const children = fs.readFileSync(`/proc/${init}/task/${init}/children`, 'utf8').split(' ').filter(Boolean);
  return children.map(Number).find((p) => { try { return fs.readFileSync(`/proc/${p}/comm`, 'utf8') === 'cchost-agent\n'; } catch { return false; } });
}

test('an agent that crashes after its update is begun from the disk, and gets it again', { timeout: 120000 }, async (t) => {
  const w = await world(t);
  await w.now();
  await w.is('current');
  await w.works(true);
  w.s.log = '';
  process.kill(agentOf(w), 'SIGKILL');
  await w.s.says(/an agent was updated.* from=0\.0\.9/);
  await w.answers('0.1.0');
  await w.works(false);
});

test('a build that is no whole program is refused: the agent goes on, which the log and the machine say', { timeout: 120000 }, async (t) => {
  const w = await world(t, broken());
  await w.now();
  const { version: v, why } = await w.is('refused');
  assert.deepStrictEqual([v, why], ['0.0.9', 'it answered 422']);
  await w.s.says(/an agent does not take another build; it goes on as it is/);
  await w.works(true);
});

test('a host whose own copy of the agent is damaged gives it to nobody, and says so', { timeout: 120000 }, async (t) => {
  const w = await world(t, broken('file'), bytes);
  await w.now();
  const { version: v, why } = await w.is('held');
  assert.deepStrictEqual([v, why], ['0.0.9', 'what this server carries is damaged']);
  await w.s.says(/the agent in this server's program is damaged/);
  const r = await w.s.call('GET', `/agent/${os.machine()}`);
  assert.deepStrictEqual([r.status, r.body.code], [500, 'corrupt'], r.text);
  await w.works(true);
});

test('a build that ends as soon as it is to go on: the machine has its old agent at once, and gets that build no third time', { timeout: 120000 }, async (t) => {
  const w = await world(t, ends());
  await w.now();
  const { why } = await until(async () => { const a = await w.stands(); return a.update === 'failed' && / twice/.test(a.why) && a; }, () => `it failed twice:\n${w.s.log.slice(-1500)}`, 40);
  assert.match(why, /until its machine starts anew/);
  const pid = await until(() => agentOf(w), 'it is begun again');
  await w.answers('0.0.9');
  await w.works(false);
  await until(async () => (await health(w.s, w.m)).uptime_ms > 3000, 'three times it was looked at');
  assert.strictEqual(agentOf(w), pid);
  await w.s.says(/(does not answer as the build[^]*){2}/);
  assert.strictEqual(w.s.log.match(/does not answer as the build/g).length, 2);
});

test('a build that hangs when it is to go on is ended, and the machine has its old agent', { timeout: 120000 }, async (t) => {
  const w = await world(t, hangs());
  await w.now();
  await w.is('failed', 60);
  await w.answers('0.0.9');
  await w.works(false);
  await exchange(w.s); // whose build works
  await w.is('current');
});

test('a build that goes on, and answers nobody, is ended too, and the machine has its old agent', { timeout: 120000 }, async (t) => {
  const w = await world(t, mute());
  await w.now();
  await w.is('failed', 60);
  await w.answers('0.0.9');
  await w.works(false);
});

test('an agent that is killed between its check of the build and its exec is begun anew, and gets it then', { timeout: 120000 }, async (t) => {
  const w = await world(t, undefined, undefined, slow('0.0.9')), before = agentOf(w);
  const watch = (async () => {
    await until(async () => (await health(w.s, w.m)).error === 'the agent is being updated', 'it takes no more, as it has found the build good', 60);
    assert.ok(!fs.readlinkSync(`/proc/${before}/exe`).includes('memfd:'), 'it is the old one still');
    process.kill(before, 'SIGKILL');
  })();
  await w.now();
  await watch;
  assert.strictEqual((await health(w.s, w.m)).version === '0.1.0', false);
  await w.is('current');
  assert.notStrictEqual(agentOf(w), before);
  await w.works(false);
});

test('a host that is killed while it gives its build leaves the agent as it was, and the next one gives it', { timeout: 120000 }, async (t) => {
  const w = await world(t), before = agentOf(w);
  // of each part of a build that it holds how much that is of the whole
  const parts = () => fs.readdirSync(`/proc/${before}/fd`).map((n) => `/proc/${before}/fd/${n}`)
    .filter((f) => { try { return /memfd:cchost-agent/.test(fs.readlinkSync(f)); } catch { return false; } }).map((f) => fs.statSync(f).size / bytes.length);
  assert.deepStrictEqual(parts(), []);
  // Between the two one half of the build comes through, and no more of it: however slow or fast they are, the other half is not there.
  const at = `${w.s.dir}/local/machines/${w.m.short}`, socket = `${at}/agent.sock`, real = `${at}/real.sock`;
  fs.renameSync(socket, real);
  const between = await Cutter.start(socket, real, () => ({ up: bytes.length >> 1, hold: true }));
  t.after(() => between.stop());
  await w.now();
  await until(() => parts().some((p) => p > 0), () => `the build is on its way:\n${w.s.log.slice(-1500)}`, 60);
  assert.ok(parts().length === 1 && parts()[0] < 1, `a part of it: ${parts()}`);
  await w.s.kill();
  await until(() => parts().length === 0, 'what came is forgotten');
  await between.stop(); // takes its socket away
  fs.renameSync(real, socket);
  assert.strictEqual((await health(w.s, w.m)).version, '0.0.9');
  await w.s.launch();
  await w.is('current');
  await w.works(true);
});

test('where three machines of an owner did not come back as the build that they were given, no fourth gets it', { timeout: 180000 }, async (t) => {
  const w = await world(t, ends()), all = [w.m];
  for (let i = 0; i < 3; i += 1) all.push(await make(w.s, undefined, `other-${i}`));
  await w.now();
  await w.s.says(/no other agent of this owner gets this build until the server starts again/);
  const { failed, held } = await until(async () => {
    const { agents } = (await w.s.call('GET', '/healthz?verbose')).body;
    return agents && agents.held && !agents.waiting && agents;
  }, 'the others are held', 60);
  assert.ok(failed >= 1 && failed + held === 4, JSON.stringify({ failed, held }));
  for (const m of all) assert.strictEqual((await health(w.s, m)).version, '0.0.9');
});
