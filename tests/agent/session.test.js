// Terminals that the agent keeps (docs/terminal.md): cut anywhere and resumed, nothing is lost or doubled, of what is written and
// of what is typed; what the ring has no more is said; several viewers; tabs.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const WebSocket = require('ws');
const { until, temp, binary } = require('../lib/cchost.js');
const { SessionTerminal, Cutter, Agent } = require('../lib/session.js');

const program = path.join(path.dirname(fs.realpathSync(binary)), 'cchost-agent');
const agentBinary = fs.existsSync(program) ? program : path.join(__dirname, '../../build', process.env.V || 'release', 'cchost-agent');
const RING = 65536, SESSIONS = 8;
const LONG = process.env.V === 'asan' ? 360000 : 120000;

let dir, agent, names = 0;
const opened = [];
test.before(async () => {
  dir = temp();
  fs.writeFileSync(path.join(dir, 'inputrc'), 'set enable-bracketed-paste off\n');
  agent = await Agent.start(dir, agentBinary, ['--shell', 'exec bash --norc', '--ring', String(RING), '--sessions', String(SESSIONS)], { PS1: '$ ', INPUTRC: path.join(dir, 'inputrc'), PATH: `${dir}/bin:${process.env.PATH}` });
  fs.mkdirSync(path.join(dir, 'bin'));
});
// nothing of a test is left for the next
test.afterEach(async () => {
  for (const t of opened.splice(0)) { t.again = false; t.ws.terminate(); }
  for (const s of (await agent.call('GET', '/sessions')).body) await agent.call('DELETE', `/tabs/${s.tab}`);
  await until(async () => (await agent.call('GET', '/activity')).body.clients === 0, 'no client is left');
  await until(async () => (await agent.call('GET', '/sessions')).body.length === 0, 'no session is left');
  await until(() => children(agent.child.pid).length === 0, 'no shell is left');
});
test.after(async () => {
  await agent.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

const children = (pid) => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
const fresh = () => `s${(names += 1)}`;

async function open(o, url = agent.url) {
  const t = new SessionTerminal(url, o);
  opened.push(t);
  t.connect();
  await t.joined();
  return t;
}

// A shell at its prompt.
async function shell(o = {}, url) {
  const t = await open({ session: fresh(), ...o }, url);
  await t.sees(/\$ $/);
  return t;
}

// Has the shell write bytes to the terminal as they are, once go() was called.
let files = 0;
async function cat(t, bytes) {
  const file = path.join(dir, `f${(files += 1)}`);
  fs.writeFileSync(file, bytes);
  t.type(`stty -opost -echo; until [ -e ${file}.go ]; do sleep 0.01; done; cat ${file}; stty opost echo; echo DO""NE\r`);
  await t.acknowledged();
  return () => fs.writeFileSync(`${file}.go`, '');
}

const letters = ['a', 'zwölf', '€', '\u{1f600}', '\r\n', '\x1b[31m', '\x1b[m', '\x1b]0;title\x07', ' ', 'word '];
function text(n, seed) {
  let s = '', x = seed;
  while (s.length < n) {
    x = (x * 1103515245 + 12345) % 2147483648;
    s += letters[x % letters.length];
  }
  return Buffer.from(s);
}

test('a session outlives its connections: the same shell, its output from the byte where it was', async () => {
  const t = await shell();
  t.type('x=here; echo $$\r');
  await t.sees(/\r\n(\d+)\r\n\$ $/);
  t.cut();
  await until(() => t.opened === 2 && t.ready, 'it is back');
  t.type('echo $x $$\r');
  await t.sees(/here \d+\r\n\$ $/);
  const [, first, second] = /\n(\d+)\r\n[^]*here (\d+)\r\n/.exec(t.output);
  assert.strictEqual(first, second);
  assert.deepStrictEqual(t.told.map((m) => [m.session, m.lost, m.owner, m.view, m.redraw]), [[t.o.session, 0, true, false, undefined], [t.o.session, 0, true, false, undefined]]);
  const whole = await open({ session: t.o.session }); // from its beginning
  await until(() => whole.length >= t.length, 'all of it');
  assert.strictEqual(whole.output, t.output);
});

test('what was written while nobody looked is there', async () => {
  const t = await shell({ pause: 1e9 });
  const bytes = text(20000, 3);
  const go = await cat(t, bytes);
  t.cut();
  await until(async () => (await agent.session(t.o.session)).viewers === 0, 'it has gone');
  go();
  await until(async () => (await agent.session(t.o.session)).bytes > bytes.length, 'all is written');
  t.connect();
  await t.sees(/DONE\r\n/);
  assert.ok(t.bytes.includes(bytes));
});

// A session, and a connection to it through a relay that cuts: those behind byte n, n + lanes, n + 2 * lanes ...
async function lane(n, lanes) {
  const file = path.join(dir, `typed${n}`), sock = path.join(dir, `cut${n}.sock`);
  let limit = {}, sent = Buffer.alloc(0);
  const cutter = await Cutter.start(sock, agent.sock, () => limit);
  const ref = await shell();
  // what is typed comes back, and goes into a file
  ref.type(`stty raw -echo; tee ${file}\r`);
  await until(async () => (await agent.session(ref.o.session)).foreground === 'tee', 'tee runs');
  await until(() => ref.pending.length === 0, 'it is taken');
  const from = ref.length;
  const t = await open({ session: ref.o.session, pause: 0 }, `ws+unix://${sock}:/ws`);
  for (const way of ['down', 'up']) {
    for (let at = n, most = at; at <= most; at += lanes) {
      const piece = text(40 + (at % 60), at);
      const { opened: before } = t, { cuts } = cutter;
      limit = { [way]: at };
      t.cut();
      t.type(piece);
      sent = Buffer.concat([sent, piece]);
      await until(() => cutter.cuts > cuts || (t.opened > before && t.ready && t.pending.length === 0), `${way} ${at}`);
      if (cutter.cuts > cuts) most = at + lanes;
      limit = {};
      await until(() => t.ready, () => `${way} ${at}: ${t.failure} ${JSON.stringify(t.told.at(-1))}`);
    }
  }
  await t.acknowledged();
  await until(() => ref.length - from >= sent.length, () => `${ref.length - from} of ${sent.length}`);
  await until(() => t.at === ref.at, 'both have all');
  assert.deepStrictEqual(ref.bytes.subarray(from), sent);
  assert.deepStrictEqual(t.bytes, ref.bytes);
  assert.deepStrictEqual(fs.readFileSync(file), sent);
  assert.strictEqual(t.lost, 0);
  await cutter.stop();
  return cutter.cuts;
}

test('cut behind every byte of a connection, either way: each byte comes once, and is typed once', { timeout: LONG }, async () => {
  const cuts = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((n) => lane(n, 8)));
  assert.ok(cuts.reduce((a, b) => a + b) > 500, `${cuts} cuts`);
});

test('cut at random, with output and input under way: whole streams are alike', { timeout: LONG }, async () => {
  const sock = path.join(dir, 'random.sock');
  let seed = 7;
  const random = (n) => { seed = (Math.imul(seed, 1103515245) + 12345) >>> 0; return 1 + ((seed >>> 8) % n); };
  let cutting = true;
  // What waits to be typed is sent at once: without an answer a busy agent could be cut off each time before it has read any of it.
  const cutter = await Cutter.start(sock, agent.sock, () => cutting && { down: random(30000), up: 1000 + random(20000), answered: true });
  const ref = await shell();
  const file = path.join(dir, 'random'), out = text(600000, 5), want = crypto.randomBytes(300000);
  fs.writeFileSync(`${file}.out`, out);
  const t = await open({ session: ref.o.session, pause: 0 }, `ws+unix://${sock}:/ws`);
  t.type(`stty raw -echo; { split -b 3000 --filter='cat; sleep 0.001' ${file}.out & } ; echo G""O; head -c ${want.length} >${file}.in; wait; echo E""ND\r`);
  await ref.sees(/GO\n/);
  for (let at = 0; at < want.length; at += 7001) {
    t.type(want.subarray(at, at + 7001));
    await until(() => t.pending.length < 50000, 'it is taken');
  }
  await t.acknowledged();
  cutting = false;
  cutter.cutAll();
  await ref.sees(/END\n/, 60);
  await until(() => t.at === ref.at, () => `both have all: ${t.at} ${ref.at}`);
  assert.ok(cutter.cuts > 30, `${cutter.cuts} cuts`);
  assert.deepStrictEqual(t.bytes, ref.bytes);
  assert.ok(Buffer.from(ref.bytes.toString('latin1').replace('GO\n', ''), 'latin1').includes(out));
  assert.deepStrictEqual(fs.readFileSync(`${file}.in`), want);
  assert.strictEqual(t.lost + ref.lost, 0);
  await cutter.stop();
});

test('beyond the ring: how much is lost is said, what follows begins between two characters, modes are as they were', async () => {
  const t = await shell({ pause: 1e9 });
  t.type("printf '\\033[?1049h\\033[?25l'\r");
  await t.sees(/\x1b\[\?25l\$ $/);
  const go = await cat(t, Buffer.concat([text(3 * RING, 9), Buffer.from('\r\n')]));
  t.cut();
  go();
  await until(async () => (await agent.session(t.o.session)).bytes > 3 * RING, 'all is written', 40); // the shell waits for us a while
  const { at, length } = t;
  t.connect();
  await t.sees(/DONE\r\n/);
  const m = t.told.at(-1);
  assert.strictEqual(m.seq, at + m.lost);
  assert.ok(m.lost > RING);
  const tail = t.bytes.subarray(length);
  assert.ok(tail.length <= RING && tail.length > RING / 2, `${tail.length}`);
  assert.strictEqual(Buffer.from(tail.toString()).compare(tail), 0, 'it is UTF-8, from its first byte on');
  assert.match(m.redraw, new RegExp(`\\[${m.lost} bytes of output were lost here\\]`));
  assert.match(m.redraw, /^\x18\x1b\[!p/);
  assert.ok(m.redraw.endsWith('\x1b[?25l\x1b[?1049h'), JSON.stringify(m.redraw));
  const late = await open({ session: t.o.session }); // has lost nothing, and gets the modes
  await until(() => late.at === t.at, 'it has all');
  assert.deepStrictEqual([late.told[0].lost, late.told[0].redraw], [0, '\x1b[?25l\x1b[?1049h']);
});

test('who has lost something gets a screen that is drawn anew', async () => {
  const t = await shell({ pause: 1e9 });
  const mark = path.join(dir, 'winch'), file = path.join(dir, 'much');
  fs.writeFileSync(file, text(3 * RING, 1));
  t.type(`sh -c 'trap "echo >${mark}" WINCH; read x; cat ${file}; while :; do sleep 0.02; done'\r`);
  await t.acknowledged();
  t.cut();
  const typist = new SessionTerminal(agent.url, { session: t.o.session });
  opened.push(typist);
  typist.connect();
  await typist.joined();
  typist.type('\r');
  await until(async () => (await agent.session(t.o.session)).bytes > 3 * RING, 'all is written', 40);
  assert.ok(!fs.existsSync(mark));
  t.connect();
  await until(() => fs.existsSync(mark), 'SIGWINCH');
});

test('several viewers: the smallest gives the size, or the owner; who only looks on gives none, and types nothing', async () => {
  const a = await shell({ size: { columns: 100, rows: 40 } });
  const size = async () => { const s = await agent.session(a.o.session); return [s.columns, s.rows, s.viewers]; };
  const b = await open({ session: a.o.session, size: { columns: 120, rows: 30 } });
  assert.deepStrictEqual(await size(), [100, 30, 2]);
  const v = await open({ session: a.o.session, view: true, size: { columns: 20, rows: 5 } });
  assert.deepStrictEqual(await size(), [100, 30, 3]);
  assert.deepStrictEqual([a, b, v].map((t) => [t.told.at(-1).owner, t.told.at(-1).view]), [[true, false], [false, false], [false, true]]);
  assert.strictEqual((await agent.call('GET', '/activity')).body.clients, 2, 'who looks on is no client');
  v.send(Buffer.from('echo never\r'));
  v.ws.send('1{"columns":10,"rows":10}');
  b.type('stty size; echo fr""om b\r');
  for (const t of [a, b, v]) await t.sees(/30 100\r\nfrom b/);
  await until(() => v.at === a.at, 'all see the same');
  assert.ok(!/never/.test(a.output));
  assert.strictEqual(v.output, a.output);
  b.resize(90, 50);
  await until(async () => (await size())[0] === 90, 'the new size');
  await b.leave();
  await until(async () => (await size()).join() === '100,40,2', 'it is a alone');
  // the owner's alone
  const o = await shell({ size: { columns: 70, rows: 20 }, resize: 'owner' });
  const p = await open({ session: o.o.session, size: { columns: 50, rows: 10 }, resize: 'owner' });
  const other = async () => { const s = await agent.session(o.o.session); return [s.columns, s.rows]; };
  assert.deepStrictEqual(await other(), [70, 20]);
  o.cut();
  await until(() => p.owner, 'the other one is the owner now');
  await until(() => o.opened === 2 && o.ready && o.owner && !p.owner, 'who comes back is the owner again');
  assert.deepStrictEqual(await other(), [70, 20]);
  await o.leave();
  await until(async () => (await other()).join() === '50,10', 'the size of the one who is left');
});

test('who comes later is told how much was sent to one who can type, and so is answered', async () => {
  const a = await shell();
  assert.strictEqual(a.told[0].heard, 0, 'what the shell asked before anybody came is his to answer');
  const v = await open({ session: a.o.session, view: true });
  a.type('echo $((6*7))\n');
  await a.sees(/\n42\r\n\$ $/);
  const b = await open({ session: a.o.session });
  assert.strictEqual(b.told[0].heard, a.at);
  a.type(`until [ -e ${dir}/go ]; do sleep 0.02; done; echo la''te\n`);
  for (const t of [a, b]) await t.sees(/la''te\r\n/);
  const heard = a.at;
  for (const t of [a, b]) { t.again = false; t.ws.terminate(); }
  await until(async () => (await agent.call('GET', '/sessions')).body[0].viewers === 1, 'who only looks on is alone');
  fs.writeFileSync(path.join(dir, 'go'), '');
  await v.sees(/late\r\n/);
  assert.strictEqual((await open({ session: a.o.session })).told[0].heard, heard, 'he answers nothing');
});

test('a viewer who stands still holds nobody up for ever, and is told what he has lost', { timeout: 60000 }, async () => {
  const a = await shell();
  const slow = await open({ session: a.o.session });
  await until(() => slow.at === a.at, 'both are there');
  slow.ws._socket.pause();
  a.type('head -c 3000000 /dev/zero | tr "\\0" x | fold -w 79; echo E""ND\r');
  await a.sees(/END/, 40);
  slow.ws._socket.resume();
  await slow.sees(/END/);
  assert.ok(slow.lost > 0 && slow.told.at(-1).redraw.includes('lost here'));
  assert.strictEqual(slow.at, a.at);
  assert.strictEqual(a.lost, 0);
});

test('the same client again: its former connection types nothing more', async () => {
  const a = await shell({ client: 'one' });
  const former = a.ws;
  a.connect(); // as if the first were lost, and nobody knew yet
  await until(() => a.opened === 2 && a.ready, 'it is back');
  await until(() => former.readyState === 3, 'the former one is cut');
  assert.strictEqual((await agent.session(a.o.session)).viewers, 1);
});

test('a session ends with its shell; a viewer who was away gets the rest, and its end', async () => {
  const t = await shell({ pause: 1e9 });
  t.type('echo re""ady; read x; echo la""st; exit 3\r');
  await t.sees(/ready\r\n/); // a return that comes while the shell still edits its line ends no line of read's
  const other = await open({ session: t.o.session });
  await until(() => other.at === t.at, 'both are there');
  t.cut();
  other.type('\r');
  await until(() => other.closed, 'it ends');
  assert.deepStrictEqual([other.closed.code, other.exit], [1000, 3]);
  assert.strictEqual(await agent.session(t.o.session), undefined);
  t.connect();
  await until(() => t.closed, 'it ends for him, too');
  assert.deepStrictEqual([t.closed.code, t.exit], [1000, 3]);
  assert.strictEqual(t.output, other.output);
  // who comes without a number has a new one, and who typed for the old one does not type into it
  const again = new SessionTerminal(agent.url, { session: t.o.session, client: t.client });
  opened.push(again);
  Object.assign(again, { at: 5, since: 1, base: 100, pending: Buffer.from('exit\r') });
  again.connect();
  await again.joined();
  await again.sees(/\$ $/);
  assert.deepStrictEqual([again.told[0].seq, again.told[0].typed, again.pending.length], [0, 100, 0]);
});

test('of more sessions that ended than are kept for those who were away, nobody comes back to the rest', async () => {
  const anew = [];
  for (let i = 0; i < 2 * SESSIONS + 2; i += 1) {
    const t = await shell({ pause: 1e9 });
    const other = await open({ session: t.o.session, view: true });
    t.ws._socket.pause(); // his former connection hears of nothing, and is there when he comes back
    t.type('exit\r');
    await until(() => other.closed, 'it ends');
    const back = new WebSocket(`${agent.url}?session=${t.o.session}&client=${t.client}&from=${t.at}&since=${t.since}`, ['tty']);
    back.on('open', () => back.send('{}'));
    const told = await new Promise((r) => { back.on('message', (d) => { if (String(d)[0] === '3') r(JSON.parse(String(d).slice(1))); }); });
    anew.push(told.since !== t.since); // another shell
    back.terminate();
    for (const one of opened.splice(-2)) { one.again = false; one.ws.terminate(); }
    await agent.call('DELETE', `/tabs/${t.o.session}`);
  }
  assert.ok(anew.includes(false), 'some are kept');
  assert.deepStrictEqual(anew.slice(-2), [true, true], 'the last are not');
});

test('what was closed and does not end counts as no session', async () => {
  const shells = [];
  for (let i = 0; i < SESSIONS; i += 1) {
    const t = await shell();
    t.type(`trap '' HUP; (while :; do sleep 0.05; [ -e ${dir}/over ] && exit; done) ; exec sleep 0.1\r`);
    await t.sees(/exec sleep/);
    shells.push(t);
  }
  assert.strictEqual((await agent.call('POST', '/tabs', { name: fresh() })).status, 429);
  await until(() => children(agent.child.pid).length === SESSIONS, 'they run');
  for (const t of shells) assert.strictEqual((await agent.call('DELETE', `/tabs/${t.o.session}`)).status, 200);
  const name = fresh();
  assert.strictEqual((await agent.call('POST', '/tabs', { name })).status, 200);
  assert.strictEqual(children(agent.child.pid).length, SESSIONS + 1, 'the former run on');
  fs.writeFileSync(path.join(dir, 'over'), '');
});

test('a session that is kept for a time ends with a goodbye, or after it', async () => {
  const t = await shell({ keep: 3600 });
  t.cut();
  await until(() => t.opened === 2 && t.ready, 'a loss does not end it');
  await t.leave(1000);
  await until(async () => !(await agent.session(t.o.session)), 'a goodbye does');
  const u = await shell({ keep: 1, pause: 1e9 });
  u.cut();
  await until(async () => !(await agent.session(u.o.session)), 'nobody came back');
  const w = await shell();
  await w.leave(1000);
  assert.strictEqual((await agent.session(w.o.session)).viewers, 0, 'one without a time stays');
});

test('a goodbye while the program writes is one, and no loss', async () => {
  const t = await shell({ keep: 3600, keepOutput: true });
  t.type('while :; do echo x; done\r');
  await t.sees(/x\r\nx\r\nx\r\n/);
  t.o.keepOutput = false;
  await t.leave(1000);
  await until(async () => !(await agent.session(t.o.session)), 'it has ended');
});

test('bounds: sessions, viewers, what is no parameter', async () => {
  const all = [];
  for (let i = 0; i < SESSIONS; i += 1) all.push(await open({ session: fresh() }));
  const more = await open({ session: fresh() });
  assert.deepStrictEqual(more.closed, { code: 1013, reason: `this machine keeps ${SESSIONS} sessions already: end one` });
  assert.strictEqual((await agent.call('POST', '/tabs', { name: fresh() })).status, 429);
  for (let i = 1; i < 16; i += 1) await open({ session: all[0].o.session });
  const one = await open({ session: all[0].o.session });
  assert.deepStrictEqual([one.closed.code, one.closed.reason], [1013, 'this session has as many viewers as it may have']);
  const none = await open({ session: 'none', view: true });
  assert.deepStrictEqual([none.closed.code, none.closed.reason], [1008, 'there is no such session']);
  for (const q of ['session=', 'session=a%20b', 'session=-a', 'session=.a', `session=${'x'.repeat(65)}`, 'session=a/b', 'session=a&from=x', 'session=a&from=-1', 'session=a&from=1234567890123456',
    'session=a&client=%00', 'session=a&typed=', 'session=a&view=2', 'view=1', 'from=1', 'client=x', 'session=a&resize=big']) {
    const r = await agent.call('GET', `/ws?${q}`);
    assert.deepStrictEqual([r.status, r.body.code], [400, 'invalid'], q);
  }
});

test('input that nobody reads is bounded, and counted as far as it was taken', async () => {
  const t = await shell();
  t.type('stty raw -echo; echo re""ady; sleep 1000\r');
  await t.sees(/ready/);
  await t.acknowledged();
  const before = agent.rss();
  const typists = [];
  for (let i = 0; i < 8; i += 1) {
    const v = await open({ session: t.o.session });
    v.acknowledge = (typed) => { v.acked = typed; };
    v.ws.send(Buffer.alloc(200001, '0')); // the kind, then 200,000 bytes
    typists.push(v);
  }
  const count = (v) => v.acked || 0;
  await until(() => typists.every((v) => v.closed || count(v)), 'each is taken whole, or not at all', 30);
  const taken = typists.filter((v) => !v.closed), not = typists.filter((v) => v.closed);
  assert.ok(taken.length >= 4 && taken.length <= 6, `${taken.length} were taken`);
  assert.ok(taken.every((v) => count(v) === 200000));
  assert.ok(not.every((v) => v.closed.code === 1013 && /reads nothing/.test(v.closed.reason)), JSON.stringify(not[0].closed));
  assert.ok(agent.rss() - before < 4096 || process.env.V === 'asan', `${agent.rss() - before} KiB`);
});

test('100 MB of output: memory is bounded by the ring', { timeout: LONG, skip: process.env.V === 'asan' && 'memory is not measured under a sanitizer' }, async () => {
  const t = await open({ session: fresh(), keepOutput: false });
  const before = agent.rss();
  let tail = '';
  t.onOutput = (d) => { tail = (tail + d.subarray(-20).toString('latin1')).slice(-40); };
  t.type('head -c 100000000 /dev/zero | tr "\\0" x; echo E""ND\r');
  await until(() => /END/.test(tail), 'its end', 60);
  assert.ok(t.length > 100000000 && t.lost === 0, `${t.length} ${t.lost}`);
  assert.ok(agent.rss() - before < 2048, `${agent.rss() - before} KiB grown`);
});

test('GET /sessions tells what is kept', async () => {
  const t = await shell();
  t.type(`cd ${dir}/bin; sleep 1000\r`);
  await until(async () => (await agent.session(t.o.session)).foreground === 'sleep', 'sleep runs');
  const s = await agent.session(t.o.session);
  assert.deepStrictEqual([s.project, s.cwd, s.status, s.viewers, s.columns, s.rows], ['bin', `${dir}/bin`, 'working', 1, 80, 24]);
  assert.ok(s.bytes >= t.length && Date.parse(s.since) <= Date.now() && s.idle_ms >= 0);
  assert.strictEqual((await agent.call('GET', '/activity')).body.foreground, 'sleep');
  t.type('\x03');
  await until(async () => (await agent.session(t.o.session)).status === 'idle', 'the shell waits');
});

test('B35: a tab is made, there already, closed by its name; another one is never touched', async () => {
  const attached = await shell();
  let r = await agent.call('POST', '/tabs', { name: 'proj', cwd: `${dir}/bin` });
  assert.deepStrictEqual([r.status, r.body], [200, { status: 'created', tab: 'proj' }]);
  r = await agent.call('POST', '/tabs', { name: 'proj' });
  assert.deepStrictEqual(r.body, { status: 'exists', tab: 'proj' });
  const t = await open({ session: 'proj' });
  t.type('pwd\r');
  await t.sees(/\/bin\r\n/);
  r = await agent.call('DELETE', '/tabs/proj');
  assert.deepStrictEqual([r.status, r.body], [200, { status: 'closed', tab: 'proj' }]);
  await until(() => t.closed, 'its viewer is told');
  assert.strictEqual(t.closed.code, 1000);
  for (const name of ['proj', '', 'a/b', 'x'.repeat(100), '%2e%2e', attached.o.session.toUpperCase()]) {
    r = await agent.call('DELETE', `/tabs/${name}`);
    assert.deepStrictEqual([r.status, r.body.error], [404, 'tab not found'], name);
  }
  attached.type('echo st""ill\r');
  await attached.sees(/still/);
  for (const body of ['', '[]', '{"name":"a","command":"ls"}', '{"name":"a b"}', '{"name":""}', '{"name":"-a"}', '{}', '{"name":1}', '{"name":"a","cwd":"x"}', '{"name":"a","resume":"yes"}',
    '{"name":"a","conversationId":"x"}', '{"name":"a","conversationId":"$(touch /tmp/x)"}', '{"name":"a","conversationId":"12345678-1234-1234-1234-1234567890ab;id"}']) {
    assert.strictEqual((await agent.call('POST', '/tabs', body)).status, 400, body);
  }
  assert.strictEqual((await agent.call('POST', '/tabs', { name: 'a', cwd: '/no/such' })).status, 404);
});

test('B34: a conversation is given to claude in one word, through no shell', async () => {
  const id = '12345678-1234-1234-1234-1234567890ab', said = path.join(dir, 'said');
  assert.strictEqual((await agent.call('POST', '/tabs', { name: 'c', conversationId: id })).status, 404, 'there is no claude');
  fs.writeFileSync(path.join(dir, 'bin', 'claude'), `#!/bin/sh\nprintf '%s\\n' "$#" "$@" "$(pwd)" >${said}.tmp; mv ${said}.tmp ${said}; sleep 1000\n`, { mode: 0o755 });
  for (const [body, want] of [[{ conversationId: id }, `--resume=${id}`], [{ resume: true }, '--continue']]) {
    assert.strictEqual((await agent.call('POST', '/tabs', { name: 'c', cwd: dir, ...body })).body.status, 'created');
    await until(() => fs.existsSync(said), 'claude runs');
    assert.deepStrictEqual(fs.readFileSync(said, 'utf8').split('\n'), ['1', want, dir, '']);
    fs.rmSync(said);
    await agent.call('DELETE', '/tabs/c');
  }
  fs.rmSync(path.join(dir, 'bin', 'claude'));
});
