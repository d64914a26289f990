// Terminals that survive: the host is killed in mid-output and started again, and every line comes once; links to look on.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { Server, until, binary } = require('../lib/cchost.js');
const { SessionTerminal } = require('../lib/session.js');
const { Pty } = require('../lib/pty.js');
const { restarts, world: terminals } = require('../lib/terminals.js');

const command = 'PS1="ready> " TERM=dumb exec bash --norc';
async function world(t) {
  const s = await Server.start({ terminal_command: command });
  t.after(() => s.stop());
  const m = (await s.call('POST', '/instances?wait=60', { name: 'box' })).body;
  assert.strictEqual(m.status, 'RUNNING', JSON.stringify(m));
  return { s, m };
}
const open = async (t, s, o) => {
  const c = new SessionTerminal(() => `ws://127.0.0.1:${s.port}/instances/box/terminal`, { headers: { 'X-API-Key': s.key }, ...o });
  t.after(() => { c.again = false; c.ws.terminate(); });
  c.connect();
  await c.joined();
  return c;
};
async function again(s) {
  const { port } = s;
  await s.kill();
  s.settings = { ...s.settings, listen_addr: `127.0.0.1:${port}` };
  await s.launch();
  assert.strictEqual(s.port, port);
}
const numbers = (text) => text.match(/^line \d+(?=\r$)/gm).map((l) => Number(l.slice(5)));
const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);

test('the host is killed in mid-output and started again: every line comes once, and what was typed meanwhile is done', { timeout: 120000 }, async (t) => {
  const { s } = await world(t);
  const c = await open(t, s, { session: 'main' });
  await c.sees(/ready> $/);
  c.type('for i in $(seq 1 3000); do echo line $i; [ $((i % 10)) = 0 ] && sleep 0.005; done; echo al""l\r');
  for (const at of [200, 1200]) {
    await c.sees(new RegExp(`line ${at}\r\n`));
    const { opened } = c;
    const killed = again(s);
    await until(() => !c.ready, 'the connection is lost');
    c.type(`echo typed $((${at} + 7))\r`);
    await killed;
    await until(() => c.opened > opened && c.ready, 'it is back');
  }
  await c.sees(/typed 207\r\n[^]*typed 1207\r\n/, 60);
  assert.deepStrictEqual(numbers(c.output), upTo(3000));
  assert.strictEqual(c.output.match(/^typed \d+\r$/gm).length, 2);
  assert.strictEqual(c.lost, 0);
  const whole = await open(t, s, { session: 'main' });
  await until(() => whole.at === c.at, 'all of it');
  assert.strictEqual(c.output, whole.output);
  const list = (await s.call('GET', '/instances/box/sessions')).body;
  assert.deepStrictEqual(list.map((x) => [x.tab, x.viewers]), [['main', 2]]);
});

// What the agent is started with: beyond the ring bytes are lost, beyond the number no terminal opens.
test('TERMINAL_RING and TERMINAL_SESSIONS are in force from a machine\'s start on', async (t) => {
  const s = await Server.start({ terminal_command: command, terminal_ring: 8192, terminal_sessions: 2 });
  t.after(() => s.stop());
  const m = (await s.call('POST', '/instances?wait=60', { name: 'box' })).body;
  assert.strictEqual(m.status, 'RUNNING', JSON.stringify(m));
  const typist = await open(t, s, { session: 'main' });
  await typist.sees(/ready> $/);
  const missed = async (bytes) => {
    const c = await open(t, s, { session: 'main', view: true, pause: 3600000 }); // holds no program up
    const { length } = typist;
    await until(() => c.at === typist.at, 'it has seen what there is');
    c.ws.terminate();
    await until(() => !c.ready, 'it is away');
    typist.type(`head -c ${bytes} /dev/zero | tr '\\0' x; echo\r`);
    await until(() => typist.length >= length + bytes, 'all of it is written');
    c.connect();
    await c.joined();
    return c.lost;
  };
  assert.strictEqual(await missed(2000), 0);
  const lost = await missed(40000);
  assert.ok(lost >= 40000 - 8192 && lost < 45000, `${lost} lost`);
  const tab = async (name) => (await s.call('POST', '/instances/box/tabs', { name })).status;
  assert.deepStrictEqual([await tab('second'), await tab('third')], [200, 429]);
  // other settings are in force from the next start on, and not before
  s.settings = { ...s.settings, terminal_ring: 1048576, terminal_sessions: 3 };
  await again(s);
  assert.strictEqual(await tab('third'), 429);
  assert.strictEqual((await s.call('POST', '/instances/box/stop?wait=30')).status, 200);
  assert.strictEqual((await s.call('POST', '/instances/box/start?wait=30')).status, 200);
  await s.running('box');
  await typist.joined();
  assert.strictEqual(await missed(40000), 0);
  assert.deepStrictEqual([await tab('second'), await tab('third'), await tab('fourth')], [200, 200, 429]);
});

// By hand and for docs/figures.md there are 1,000 of them: tests/bench/terminals.js.
test('100 terminals type while the host is killed twice: no byte is lost or doubled', { timeout: 120000 }, async () => {
  const r = await restarts(100, 2, 60);
  assert.deepStrictEqual([r.lost, r.wrong], [0, 0]);
  assert.ok(r.bytes > 100 * 60 * 3 && r.connections >= 300, JSON.stringify(r));
});

// The peak, not where it ends.
const peak = (pid) => Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
const now = (pid) => {
  fs.writeFileSync(`/proc/${pid}/clear_refs`, '5');
  return peak(pid);
};

test('100 MB of output with viewers who take nothing: neither the agent nor the host grows beyond the ring and its queues', { timeout: 120000, skip: process.env.V === 'asan' && 'memory is not measured under a sanitizer' }, async (t) => {
  const w = await terminals('exec bash --norc');
  const at = (o) => w.open({ session: 'loud', keepOutput: false, ...o });
  const fast = at(), slow = [at(), at({ view: true }), at({ view: true })], all = [fast, ...slow];
  t.after(async () => {
    for (const c of all) { c.again = false; c.ws.terminate(); }
    await w.stop();
  });
  for (const c of all) {
    c.connect();
    await c.joined();
  }
  let tail = '';
  const lines = (bytes) => `head -c ${bytes} /dev/zero | tr "\\0" x | fold -w 100; echo E""ND\r`;
  fast.onOutput = (d) => { tail = (tail + d.subarray(-300).toString('latin1')).slice(-300); };
  const loud = async (bytes) => {
    tail = '';
    fast.type(lines(bytes));
    await until(() => /END\r\n/.test(tail), 'its end', 90);
  };
  await loud(3000000); // the ring is full, and what is made once is made: so is what asks agents for their build
  await until(async () => (await w.s.call('GET', '/healthz?verbose')).body.agents.current === 1, 'it was looked at');
  for (const c of slow) c.ws._socket.pause();
  const pids = { agent: w.agent.child.pid, host: w.s.child.pid };
  const before = Object.fromEntries(Object.entries(pids).map(([k, pid]) => [k, now(pid)])), had = fast.length;
  await loud(100000000);
  assert.ok(fast.length - had > 100000000 && fast.lost === 0, `${fast.length - had} bytes, ${fast.lost} lost`);
  for (const [k, pid] of Object.entries(pids)) assert.ok(peak(pid) - before[k] < 2048, `the ${k} grew by ${peak(pid) - before[k]} KiB`);
  for (const c of slow) c.ws._socket.resume();
  await until(() => slow.every((c) => c.at === fast.at), 'they have caught up', 30);
  for (const c of slow) assert.ok(c.lost > 50000000 && c.told.at(-1).redraw.includes('lost here'), `${c.lost} lost`);
});

test('cchost attach comes back by itself when the host was killed, and says so', { timeout: 120000 }, async (t) => {
  const { s } = await world(t);
  const env = { ...process.env, DATA_DIR: s.dir, CCHOST_URL: s.url, CCHOST_TOKEN: undefined, API_KEY: undefined };
  const p = await Pty.run([binary, 'attach', 'box'], { env });
  t.after(() => p.close());
  await p.sees(/ready> /);
  p.type('for i in $(seq 1 2000); do echo line $i; [ $((i % 10)) = 0 ] && sleep 0.005; done; echo al""l; exit 0\r');
  await p.sees(/line 300\r\n/);
  await again(s);
  await p.sees(/all\r\n/);
  assert.deepStrictEqual(await p.ended, { exit: 0, signal: null }, p.output.slice(-300));
  assert.match(p.output, /cchost: the connection was lost; coming back\r\n/);
  const seen = p.output.replace(/\r\ncchost: the connection was lost; coming back\r\n/, ''); // where it stands it cuts a line, perhaps
  assert.deepStrictEqual(numbers(seen), upTo(2000));
  assert.match(p.output, /the shell has ended\r\n$/);
  await until(async () => (await s.call('GET', '/instances/box/sessions')).body.length === 0, 'the session has ended');
});

test('a terminal that is left ends, unless it has a name', async (t) => {
  const { s } = await world(t);
  const env = { ...process.env, DATA_DIR: s.dir, CCHOST_URL: s.url, CCHOST_TOKEN: undefined, API_KEY: undefined };
  const tabs = async () => (await s.call('GET', '/instances/box/sessions')).body.map((x) => x.tab);
  for (const [args, left] of [[[], []], [['--session=work'], ['work']]]) {
    const p = await Pty.run([binary, 'attach', 'box', ...args], { env });
    t.after(() => p.close());
    await p.sees(/ready> /);
    p.type('\r~.');
    assert.strictEqual((await p.ended).exit, 0);
    await until(async () => (await tabs()).join() === left.join(), () => `${left} is left`);
  }
  const p = await Pty.run([binary, 'attach', 'box', '--session=work'], { env });
  t.after(() => p.close());
  await p.sees(/ready> /);
  p.type('exit 0\r');
  assert.strictEqual((await p.ended).exit, 0);
});

test('a link shows that terminal to whoever has it, until it is revoked; he types nothing and is no use of the machine', async (t) => {
  const { s, m } = await world(t);
  const c = await open(t, s, { session: 'main' });
  await c.sees(/ready> $/);
  const where = '/instances/box/terminal/share';
  for (const body of [{}, { session: 'a b' }, { session: '' }, { session: 'main', minutes: 0 }]) assert.strictEqual((await s.call('POST', where, body)).status, 400, JSON.stringify(body));
  const made = await s.call('POST', where, { session: 'main', minutes: 5 });
  assert.strictEqual(made.status, 201, made.text);
  assert.ok(Math.abs(Date.parse(made.body.expires_at) - Date.now() - 300000) < 10000);
  assert.ok(made.body.url.startsWith(`ws://127.0.0.1:${s.port}/shared/`), made.body.url);
  assert.deepStrictEqual((await s.call('GET', `${where}?session=main`)).body, [made.body]);
  const look = async (url, o = {}) => {
    const v = new SessionTerminal(url, { view: true, ...o });
    t.after(() => { v.again = false; v.ws.terminate(); });
    v.again = false;
    v.connect();
    await v.joined();
    return v;
  };
  // whatever he asks for, it is this session, and without typing
  const v = await look(made.body.url, { session: 'other', view: undefined, query: { client: c.client, keep: 1, resize: 'owner' } });
  assert.deepStrictEqual([v.told[0].session, v.told[0].view, v.told[0].owner], ['main', true, false]);
  c.again = false;
  v.ws.send(Buffer.from('0echo nev""er\r'));
  v.ws.send(Buffer.from('1{"columns":10,"rows":5}'));
  c.type('stty size; echo sh""own\r');
  await v.sees(/24 80\r\nshown\r\n/);
  assert.ok(!/never/.test(c.output));
  assert.strictEqual((await s.call('GET', '/instances/box/stats')).body.clients, 1);
  await c.leave(1000);
  await until(async () => (await s.call('GET', '/instances/box/stats')).body.clients === 0, 'nobody uses it');
  // nothing else: a digit less, another place
  const token = made.body.url.split('/').pop();
  const refused = async (url) => { const x = await look(url); return x.closed && !x.ready; };
  assert.ok(await refused(made.body.url.slice(0, -1)));
  assert.ok(await refused(`ws://127.0.0.1:${s.port}/instances/${m.id}/terminal?session=main&token=${token}#`.replace('#', '')));
  assert.strictEqual((await s.call('GET', `/preview/${token}/`, undefined, { 'X-API-Key': undefined })).status, 404);
  const second = await s.call('POST', where, { session: 'main' });
  assert.strictEqual((await s.call('DELETE', `${where}?session=main&id=${made.body.id}`)).status, 204);
  await until(() => v.closed, 'it ends');
  assert.deepStrictEqual([v.closed.code, v.closed.reason], [1008, 'the link was revoked']);
  assert.ok(await refused(made.body.url));
  assert.ok((await look(second.body.url)).ready);
  assert.strictEqual((await s.call('DELETE', `${where}?session=main`)).status, 204);
  assert.ok(await refused(second.body.url));
  assert.deepStrictEqual((await s.call('GET', `${where}?session=main`)).body, []);
});

test('what of the query goes to the agent is checked', async (t) => {
  const { s } = await world(t);
  for (const q of ['session=', 'session=a/b', 'session=a%20b', 'session=-a', 'view=1', 'from=1', 'session=a&from=x', 'session=a&view=yes', 'session=a&resize=all', 'session=a&client=%0d%0a', 'session=a&keep=-1']) {
    const r = await s.call('GET', `/instances/box/terminal?${q}`);
    assert.deepStrictEqual([r.status, r.body.code], [400, 'invalid'], `${q}: ${r.text}`);
  }
  const c = await open(t, s, { session: 'main', query: { unknown: 'x', arg: 'y' } });
  await c.sees(/ready> $/);
  await c.leave();
});
