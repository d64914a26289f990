// The agent's socket for everybody in the machine, busy leases, cchost-busy, and the signals of use that the host reads.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { until, temp, binary } = require('../lib/cchost.js');

const program = path.join(path.dirname(fs.realpathSync(binary)), 'cchost-agent');
const agentBinary = fs.existsSync(program) ? program : path.join(__dirname, '../../build', process.env.V || 'release', 'cchost-agent');

let dir, sock, busySock, tool, agent;
const left = new Set(); // children that a failed test left

test.before(async () => {
  dir = temp();
  fs.chmodSync(dir, 0o755);
  sock = path.join(dir, 'a.sock');
  busySock = path.join(dir, 'busy.sock');
  tool = path.join(dir, 'cchost-busy');
  fs.copyFileSync(agentBinary, tool);
  agent = await start(['--listen', sock, '--busy', busySock]);
});
// nothing is held when a test has ended
test.afterEach(async () => {
  for (const child of left) child.kill('SIGKILL');
  for (const l of (await call('GET', '/leases')).body.leases) await call('DELETE', `/lease/${l.id}`);
});
test.after(async () => {
  await stop(agent);
  fs.rmSync(dir, { recursive: true, force: true });
});

async function start(args, at = sock) {
  const child = spawn(agentBinary, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  await until(() => fs.existsSync(at) && request(at, 'GET', '/healthz').catch(() => false), 'the agent listens');
  return child;
}

async function stop(child) {
  child.kill();
  await new Promise((r) => child.on('exit', r));
}

function request(socketPath, method, where, body) {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const req = http.request({ socketPath, method, path: where, agent: false }, (res) => {
      let answer = '';
      res.on('data', (d) => { answer += d; });
      res.on('end', () => resolve({ status: res.statusCode, body: JSON.parse(answer) }));
    });
    req.on('error', reject);
    req.end(text);
  });
}
const call = (method, where, body) => request(busySock, method, where, body);
const activity = async () => (await request(sock, 'GET', '/activity')).body;
const hold = (body) => call('POST', '/lease', { reason: 'because', ttl: 60, ...body });

// cchost-busy to its end: {code, signal, out, err}. The promise has its `child`, and what came so far in `r`.
function busy(args, { env = {}, ...options } = {}) {
  const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, CCHOST_BUSY_SOCKET: busySock, ...env }, ...options });
  const r = { out: '', err: '' };
  left.add(child);
  child.stdout.on('data', (d) => { r.out += d; });
  child.stderr.on('data', (d) => { r.err += d; });
  const done = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => { left.delete(child); resolve({ ...r, code, signal }); });
  });
  return Object.assign(done, { child, r });
}

test('a lease is held, renewed, listed and given back', async () => {
  const before = Date.now();
  const made = await hold({ id: 'build', reason: 'ein Grund: ✓ "quoted"' });
  assert.deepStrictEqual([made.status, made.body.id], [200, 'build']);
  assert.ok(made.body.until_ms >= before + 60000 && made.body.until_ms <= Date.now() + 60000);
  const [first] = (await activity()).leases;
  assert.deepStrictEqual([first.id, first.reason, first.until_ms], ['build', 'ein Grund: ✓ "quoted"', made.body.until_ms]);
  assert.ok(first.since_ms >= before && first.since_ms <= Date.now());
  await hold({ id: 'build', reason: 'another', ttl: 86400 });
  const own = await hold();
  assert.match(own.body.id, /^[0-9a-f]{16}$/);
  const { leases } = await activity();
  assert.deepStrictEqual(leases.map((l) => [l.id, l.reason]), [['build', 'another'], [own.body.id, 'because']]);
  assert.strictEqual(leases[0].since_ms, first.since_ms, 'a renewed one is held since its first time');
  assert.ok(leases[0].until_ms > first.until_ms);
  assert.deepStrictEqual((await call('GET', '/leases')).body.leases, leases);
  assert.strictEqual((await call('DELETE', '/lease/build')).status, 200);
  assert.strictEqual((await call('DELETE', '/lease/build')).status, 404);
  assert.deepStrictEqual((await activity()).leases.map((l) => l.id), [own.body.id]);
});

test('the lease "claude-turn" is a turn', async () => {
  assert.strictEqual((await activity()).turn, false);
  await hold({ id: 'claude-turn' });
  assert.strictEqual((await activity()).turn, true);
  await call('DELETE', '/lease/claude-turn');
  assert.strictEqual((await activity()).turn, false);
});

test('a lease ends in its time, neither before nor much later', async () => {
  await hold({ id: 'long' });
  const { body } = await hold({ id: 'short', ttl: 1 });
  let seen = 0;
  await until(async () => {
    const at = Date.now();
    if (!(await activity()).leases.some((l) => l.id === 'short')) return true;
    seen = at;
    return false;
  }, 'it is over');
  assert.ok(Date.now() >= body.until_ms - 5, `gone ${body.until_ms - Date.now()} ms too early`);
  assert.ok(seen <= body.until_ms + 5, `seen ${seen - body.until_ms} ms after its end`);
  assert.deepStrictEqual((await activity()).leases.map((l) => l.id), ['long']);
});

test('what is no wish for a lease is refused and changes nothing', async () => {
  const good = { reason: 'r', ttl: 1 };
  const bad = [
    '', '{', '[]', 'null', '"x"', '{}', { ttl: 1 }, { reason: 'r' }, { ...good, more: 1 }, '{"reason":"r","reason":"s","ttl":1}',
    ...[0, -1, 86401, 1.5, '60', null, true, 1e300].map((ttl) => ({ ...good, ttl })),
    ...['', 5, null, ['r'], 'a\nb', 'a\u001b[2J', 'a\u0085', 'a\u202eb', 'a\u200bb', 'x'.repeat(201), 'é'.repeat(101)].map((reason) => ({ ...good, reason })),
    ...['', 5, null, '.x', 'a/b', 'a b', 'é', '../../exec', 'x'.repeat(65)].map((id) => ({ ...good, id })),
    Buffer.from('{"reason":"\xff","ttl":1}', 'latin1'), '{"reason":"a\\u0000b","ttl":1}',
  ];
  for (const body of bad) assert.strictEqual((await call('POST', '/lease', body)).status, 400, JSON.stringify(body));
  assert.strictEqual((await call('POST', '/lease', { ...good, reason: 'x'.repeat(5000) })).status, 413);
  assert.deepStrictEqual((await activity()).leases, []);
  for (const body of [{ ...good, reason: 'é'.repeat(100) }, { ...good, id: 'x'.repeat(64), ttl: 86400 }]) assert.strictEqual((await call('POST', '/lease', body)).status, 200);
});

test('nothing else can be done through the socket, and it is not the host\'s', async () => {
  for (const [method, where] of [['GET', '/healthz'], ['GET', '/activity'], ['POST', '/exec'], ['GET', '/ws'], ['GET', '/'], ['POST', '/leases'],
    ['DELETE', '/leases'], ['DELETE', '/lease'], ['DELETE', '/lease/'], ['DELETE', '/lease/../exec'], ['PUT', '/lease'], ['GET', '/lease/x']]) {
    assert.strictEqual((await call(method, where)).status, 404, `${method} ${where}`);
  }
  assert.strictEqual(fs.statSync(busySock).mode & 0o777, 0o666);
  assert.strictEqual(fs.statSync(sock).mode & 0o777, 0o600);
  for (const [method, where] of [['POST', '/lease'], ['GET', '/leases'], ['DELETE', '/lease/x']]) {
    assert.strictEqual((await request(sock, method, where, method === 'POST' ? {} : undefined)).status, 404);
  }
});

test('64 leases are held and no more; a renewal still is', async () => {
  for (let i = 0; i < 64; i++) assert.strictEqual((await hold({ id: `l${i}` })).status, 200);
  const r = await hold({ id: 'l64' });
  assert.deepStrictEqual([r.status, r.body.code], [429, 'limit']);
  assert.strictEqual((await hold({ id: 'l63', reason: 'renewed' })).status, 200);
  await call('DELETE', '/lease/l0');
  assert.strictEqual((await hold({ id: 'l64' })).status, 200);
  assert.strictEqual((await activity()).leases.length, 64);
});

test('who floods the socket keeps neither the host nor, for long, others from theirs', async () => {
  const silent = Array.from({ length: 300 }, () => {
    const c = net.connect(busySock);
    c.on('error', () => {});
    c.on('data', () => {});
    return c;
  });
  let going = true, asked = 0;
  const pushing = Array.from({ length: 20 }, async (_, i) => {
    while (going) {
      await hold({ id: `flood-${i}-${asked++}`, reason: 'x'.repeat(200) }).catch(() => {});
      await new Promise((r) => setImmediate(r));
    }
  });
  for (let i = 0; i < 50; i++) {
    const at = Date.now();
    const { leases } = await activity();
    assert.ok(leases.length <= 64);
    assert.ok(Date.now() - at < 1000, `${Date.now() - at} ms for the host's question`);
  }
  going = false;
  await Promise.all(pushing);
  await until(async () => (await call('GET', '/leases').catch(() => ({}))).status === 200, 'others are heard, though the silent ones stay');
  for (const c of silent) c.destroy();
  await until(() => fs.readdirSync(`/proc/${agent.pid}/fd`).length < 30, 'nothing of it is left open');
});

test('a lease is kept while a command runs, and renewed', async () => {
  const go = path.join(dir, 'go');
  const done = busy(['-t', '1s', '--', 'sh', '-c', `while [ ! -e ${go} ]; do sleep 0.02; done; exit 7`]);
  const first = await until(async () => (await activity()).leases[0], 'the lease');
  assert.strictEqual(first.reason, `sh -c while [ ! -e ${go} ]; do sleep 0.02; done; exit 7`);
  await until(async () => (await activity()).leases[0].until_ms > first.until_ms + 1000, 'it lasts beyond its first time');
  assert.deepStrictEqual((await activity()).leases.map((l) => [l.id, l.since_ms]), [[first.id, first.since_ms]]);
  fs.writeFileSync(go, '');
  assert.deepStrictEqual(await done, { out: '', err: '', code: 7, signal: null });
  assert.deepStrictEqual((await activity()).leases, []);
});

test('exit codes are the command\'s', async () => {
  const code = async (...args) => (await busy(['--', ...args])).code;
  assert.strictEqual(await code('true'), 0);
  assert.strictEqual(await code('sh', '-c', 'exit 255'), 255);
  assert.strictEqual(await code('sh', '-c', 'kill -9 $$'), 137);
  assert.strictEqual(await code('/no/such'), 127);
  assert.strictEqual(await code('/etc/passwd'), 126);
  assert.deepStrictEqual((await activity()).leases, []);
});

test('signals are passed on, and the lease goes', async () => {
  const ready = path.join(dir, 'ready');
  const done = busy(['-r', 'waits', '--', 'sh', '-c', `trap 'echo got; exit 9' TERM; touch ${ready}; while :; do sleep 0.01; done`]);
  await until(() => fs.existsSync(ready), 'it runs');
  assert.deepStrictEqual((await activity()).leases.map((l) => l.reason), ['waits']);
  done.child.kill('SIGTERM');
  assert.deepStrictEqual(await done, { out: 'got\n', err: '', code: 9, signal: null });
  assert.deepStrictEqual((await activity()).leases, []);
});

test('who was killed holds on for his time at the most', async () => {
  const done = busy(['-t', '1', '--', 'sh', '-c', 'echo $$; exec sleep 1000']);
  await until(async () => (await activity()).leases.length === 1, 'the lease');
  const inner = Number(await until(() => /^\d+\n/.test(done.r.out) && done.r.out, 'the command runs'));
  done.child.kill('SIGKILL');
  await until(async () => (await activity()).leases.length === 0, 'it is over');
  process.kill(inner, 'SIGKILL');
  assert.strictEqual((await done).signal, 'SIGKILL');
});

test('without an agent a command runs all the same, and the rest says so', async () => {
  const env = { CCHOST_BUSY_SOCKET: path.join(dir, 'none.sock') };
  let r = await busy(['--', 'sh', '-c', 'echo out; exit 3'], { env });
  assert.deepStrictEqual([r.code, r.out], [3, 'out\n']);
  assert.match(r.err, /^cchost-busy: no agent here: .*none\.sock: No such file or directory; the command runs without a lease\n$/);
  for (const args of [['hold'], ['release', 'x'], ['list']]) {
    r = await busy(args, { env });
    assert.deepStrictEqual([r.code, r.out], [1, '']);
    assert.match(r.err, /^cchost-busy: no agent here: /);
  }
});

test('an agent that comes later hears of it', async () => {
  const later = path.join(dir, 'later');
  const env = { CCHOST_BUSY_SOCKET: `${later}-busy` };
  const done = busy(['-t', '1', '-r', 'early', '--', 'sleep', '1000'], { env });
  await until(() => done.child.pid && fs.readFileSync(`/proc/${done.child.pid}/task/${done.child.pid}/children`, 'utf8'), 'the command runs');
  const second = await start(['--listen', later, '--busy', `${later}-busy`], later);
  await until(async () => (await request(later, 'GET', '/activity')).body.leases[0]?.reason === 'early', 'its lease');
  done.child.kill('SIGTERM');
  assert.strictEqual((await done).code, 143);
  await stop(second);
});

test('hold, list and release', async () => {
  let r = await busy(['hold', '-r', 'reads a book', '-t', '2h', '--id', 'book']);
  assert.deepStrictEqual([r.code, r.out], [0, 'book\n']);
  const [lease] = (await activity()).leases;
  assert.ok(Math.abs(lease.until_ms - lease.since_ms - 7200000) < 1000);
  r = await busy(['hold']);
  assert.match(r.out, /^[0-9a-f]{16}\n$/);
  const own = r.out.trim();
  r = await busy(['list']);
  const lines = r.out.trim().split('\n').map((l) => l.split('\t'));
  assert.deepStrictEqual(lines.map((l) => [l[0], l[2]]), [['book', 'reads a book'], [own, 'held by hand']]);
  assert.strictEqual(lines[0][1], new Date(lease.until_ms).toISOString().replace(/\.\d+/, ''));
  assert.strictEqual((await busy(['release', own])).code, 0);
  r = await busy(['release', own]);
  assert.deepStrictEqual([r.code, r.err], [1, 'cchost-busy: the agent refused: no such lease\n']);
});

test('wrong usage is 2 and says what is wrong; --help helps', async () => {
  for (const args of [[], ['-r', 'x'], ['--'], ['make'], ['-r', 'x', 'make'], ['-t', '0', '--', 'true'], ['-t', '25h', '--', 'true'], ['-t', '5x', '--', 'true'],
    ['-r', '', '--', 'true'], ['-r', 'a\nb', '--', 'true'], ['--id', 'x', '--', 'true'], ['--nothing'], ['hold', 'more'], ['hold', '--id', 'a/b'],
    ['release'], ['release', 'a/b'], ['release', 'a', 'b'], ['list', 'all']]) {
    const r = await busy(args);
    assert.deepStrictEqual([r.code, r.out], [2, ''], args.join(' '));
    assert.match(r.err, /^cchost-busy: /, args.join(' '));
  }
  for (const args of [['--help'], ['-h'], ['hold', '--help']]) {
    const r = await busy(args);
    assert.deepStrictEqual([r.code, r.err], [0, '']);
    assert.match(r.out, /^usage: cchost-busy /);
  }
  const long = await busy(['--', 'sh', '-c', 'exit 0', 'x'.repeat(300), 'a\u001bb\n']);
  assert.strictEqual(long.code, 0, 'a long command line is cut, not refused');
});

test('the agent tells its terminals and commands where the socket is, and is cchost-busy by another word', async () => {
  const r = await request(sock, 'POST', '/exec', { cmd: ['sh', '-c', `echo $CCHOST_BUSY_SOCKET; ${agentBinary} busy hold --id by-exec`] });
  assert.strictEqual(Buffer.from(r.body.stdout, 'base64').toString(), `${busySock}\nby-exec\n`);
  assert.deepStrictEqual((await activity()).leases.map((l) => l.id), ['by-exec']);
});

test('another user of the machine may hold a lease', { skip: process.getuid() !== 0 && 'not root' }, async () => {
  const r = await busy(['hold', '--id', 'nobodys'], { uid: 65534, gid: 65534, cwd: '/' });
  assert.deepStrictEqual([r.code, r.out, r.err], [0, 'nobodys\n', '']);
});

test('logins over ssh are those of sshd that have a terminal', async () => {
  const sshd = path.join(dir, 'sshd');
  fs.copyFileSync('/bin/sleep', sshd);
  fs.chmodSync(sshd, 0o755);
  const before = (await activity()).ssh_sessions; // this host's own
  const as = (title, file = sshd) => {
    const child = spawn(file, ['1000'], { argv0: title, stdio: 'ignore' });
    left.add(child);
    return child;
  };
  const sessions = async () => (await activity()).ssh_sessions - before;
  const all = [as('sshd: ann@pts/7'), as('sshd: ann [priv]'), as('sshd: ann@notty'), as('sshd: /usr/sbin/sshd -D [listener]'), as('sshd: ann@pts/8', '/bin/sleep')];
  await until(async () => (await sessions()) === 1, 'one login');
  all.push(as('sshd-session: bob@pts/9'));
  await until(async () => (await sessions()) === 2, 'two logins');
  for (const child of all) { child.kill('SIGKILL'); left.delete(child); }
  await until(async () => (await sessions()) === 0, 'none');
});

test('a restarted agent takes the socket of the one that was killed', async () => {
  await hold({ id: 'lost' });
  agent.kill('SIGKILL');
  await new Promise((r) => agent.on('exit', r));
  agent = await start(['--listen', sock, '--busy', busySock]);
  assert.deepStrictEqual((await activity()).leases, []);
  assert.strictEqual((await hold({ id: 'again' })).status, 200);
});
