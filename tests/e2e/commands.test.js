// The commands of an operator, on a store that is being served and on one that is not.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { Server, until, temp, binary } = require('../lib/cchost.js');

const bare = { ...process.env, DATA_DIR: undefined, CCHOST_CONFIG: undefined };

// -> {code, out, err}
function run(dir, ...args) {
  const r = spawnSync(binary, args, { cwd: dir, encoding: 'utf8', env: { ...bare, DATA_DIR: dir }, timeout: 60e3 });
  assert.doesNotMatch(r.stderr, /traceback|left open|Sanitizer/, args.join(' '));
  return { code: r.status, out: r.stdout, err: r.stderr };
}

function ok(dir, ...args) {
  const r = run(dir, ...args);
  assert.strictEqual(r.code, 0, `${args.join(' ')}: ${r.err}`);
  return r.out;
}

function refused(code, pattern, dir, ...args) {
  const r = run(dir, ...args);
  assert.strictEqual(r.code, code, `${args.join(' ')}: ${r.out}${r.err}`);
  assert.match(r.err, pattern);
}

const lines = (text) => text.split('\n').filter(Boolean);
const objects = (text) => lines(text).map((l) => JSON.parse(l));

// A machine without what is told beside its record: what it is doing, and when it was last used as of now.
const recorded = (m) => ({ ...m, idle: undefined, last_activity_at: undefined, health: undefined });

const folders = [];
const folder = () => { const dir = temp(); folders.push(dir); return dir; };

let s;
const ids = {};
let beforeAll;
let afterMaking;

// A time that nothing happened at, later than all that has and earlier than all that will.
async function moment() {
  const now = Date.now();
  await until(() => Date.now() > now + 2, 'the clock to move');
  return new Date(now + 1).toISOString();
}

test.before(async () => {
  s = await Server.start({ provider: 'mock' });
  beforeAll = await moment();
  for (const name of ['a', 'b', 'c']) {
    ids[name] = (await s.call('POST', '/instances', { name })).body.id;
    await s.running(ids[name]);
  }
  afterMaking = await moment();
  await s.call('POST', '/instances/b/stop');
  await s.call('DELETE', '/instances/c');
});
test.after(async () => {
  await s.stop();
  for (const dir of folders) fs.rmSync(dir, { recursive: true, force: true });
});

test('every command has its help, and refuses what it cannot understand', () => {
  const usage = ok(s.dir, '--help');
  const names = [...usage.matchAll(/^ {2}cchost ([a-z]+)/gm)].map((m) => m[1]);
  assert.deepStrictEqual(names, fs.readdirSync(path.join(__dirname, '../../lua/commands')).map((f) => f.replace('.lua', ''))
    .sort((x, y) => names.indexOf(x) - names.indexOf(y)), 'the list names every command, and only those');
  for (const name of names) { // ccc has the words of what it takes the place of
    assert.match(ok(s.dir, name, '--help'), name === 'ccc' ? /^Claude Code Cloud CLI\n\nUsage: ccc / : new RegExp(`^usage: cchost ${name}`));
  }
  for (const args of [['log', '--bad'], ['log', '--limit=0'], ['log', '--limit'], ['log', '--follow=1'], ['log', '--since=yesterday'],
    ['log', '--after=x'], ['log', '--after=1', '--since=1h'], ['log', '--verify', '--limit=1'], ['log', 'more'], ['at'], ['at', 'now'],
    ['at', 'then', 'instances'], ['at', 'now', 'instance'], ['at', 'now', 'instances', 'x'], ['backup'], ['backup', 'a', 'b'], ['restore'],
    ['import'], ['export', 'a', 'b'], ['instances', 'a', 'b'], ['operations', 'a', 'b'], ['nothing'], ['check', 'x']]) {
    refused(2, /cchost: /, s.dir, ...args);
  }
  const none = path.join(folder(), 'none');
  for (const args of [['log'], ['instances'], ['operations'], ['at', 'now', 'instances'], ['backup', 'f'], ['export']]) {
    refused(1, /there is no store in /, s.dir, ...args, `--data-dir=${none}`);
  }
  assert.ok(!fs.existsSync(none), 'what only reads makes nothing');
});

test('an option with a slip in it was told to be no setting, and not which one was meant', () => {
  refused(2, /^cchost: unknown option --jsn; did you mean --json\?$/m, s.dir, 'instances', '--jsn');
  refused(2, /^cchost: unknown option --sinc; did you mean --since\?$/m, s.dir, 'log', '--sinc=1h');
  refused(2, /^cchost: unknown option --writ; did you mean --write\?$/m, s.dir, 'repl', '--writ');
  refused(2, /--help lists those, cchost config the settings/, s.dir, 'health', '--verbose');
  refused(2, /^cchost: unknown setting --data-dri; did you mean --data-dir\?/m, s.dir, 'log', '--data-dri=x');
});

test('log prints, filters and counts', async () => {
  const log = (await s.call('GET', '/events?limit=1000')).body;
  assert.deepStrictEqual(objects(ok(s.dir, 'log', '--json')), log);
  const plain = lines(ok(s.dir, 'log'));
  assert.strictEqual(plain.length, log.length);
  plain.forEach((l, i) => assert.ok(l.includes(` ${log[i].at} ${log[i].kind} `) && l.includes(log[i].id) && l.includes(` ${log[i].type}`), l));
  assert.match(plain.find((l) => l.includes(' stopping ')), /RUNNING -> STOPPING/);

  const seqs = (...args) => objects(ok(s.dir, 'log', '--json', ...args)).map((e) => e.seq);
  const all = log.map((e) => e.seq);
  const of = (fn) => log.filter(fn).map((e) => e.seq);
  assert.deepStrictEqual(seqs('--type=running'), of((e) => e.type === 'running'));
  assert.deepStrictEqual(seqs('--kind=ledger', '--type=dispute'), []);
  refused(2, /^cchost: --kind: there is no kind of events 'nothing'; one of instance, /, s.dir, 'log', '--kind=nothing');
  refused(2, /^cchost: --type: there is no type of events 'faild'; did you mean 'failed'\?$/m, s.dir, 'log', '--type=faild');
  refused(2, /^cchost: --type: there is no type 'trial' of the kind instance; /, s.dir, 'log', '--instance=b', '--type=trial');
  for (const key of [ids.b, ids.b.slice(-12), 'b']) assert.deepStrictEqual(seqs(`--instance=${key}`), of((e) => e.id === ids.b));
  assert.deepStrictEqual(seqs(`--instance=${ids.c}`), of((e) => e.id === ids.c), 'a deleted machine, too');
  refused(1, /no such machine/, s.dir, 'log', '--instance=nobody');
  assert.deepStrictEqual(log[0].type, 'policies_changed');
  assert.deepStrictEqual(seqs('--after=3'), all.slice(3));
  assert.deepStrictEqual(seqs('--after=3', '--limit=2'), all.slice(3, 5));
  assert.deepStrictEqual(seqs('--limit=2'), all.slice(-2));
  assert.deepStrictEqual(seqs('--limit=1', '--type=created'), of((e) => e.type === 'created').slice(-1));
  assert.deepStrictEqual(seqs('--limit=1000'), all);
  assert.deepStrictEqual(seqs(`--since=${afterMaking}`), of((e) => e.at >= afterMaking));
  assert.deepStrictEqual(seqs(`--since=${beforeAll}`), of((e) => e.at >= beforeAll));
  assert.deepStrictEqual(seqs('--since=1h', '--limit=3'), all.slice(0, 3));
  assert.deepStrictEqual(seqs('--since=2100-01-01'), []);
});

test('output that cannot be written is an error, output that nobody reads is none', () => {
  const sh = (line) => spawnSync('bash', ['-c', line], { encoding: 'utf8', env: { ...bare, DATA_DIR: s.dir, B: binary } });
  const full = sh('"$B" log >/dev/full');
  assert.strictEqual(full.status, 1);
  assert.match(full.stderr, /cannot write to standard output: No space left/);
  const head = sh('"$B" log | head -n 1; echo "${PIPESTATUS[0]}"');
  assert.match(head.stdout, /policies_changed[^\n]*\n0\n$/);
  assert.strictEqual(head.stderr, '');
});

test('log --follow goes on with what another process writes, and ends when nobody reads', async () => {
  const child = spawn(binary, ['log', '--follow', '--json', '--type=changed'], { env: { ...bare, DATA_DIR: s.dir }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { errors += d; });
  const exited = new Promise((r) => child.on('exit', (code, signal) => r(signal || code)));
  let n = 0;
  const patch = () => s.call('PATCH', '/instances/a', { labels: { n: String(n++) } });
  // it begins now, whenever that is: so something changes until it has said so
  await until(async () => { await patch(); return out !== ''; }, () => `an entry; ${errors}`);
  const first = objects(out)[0].seq;
  await patch();
  const expected = (await s.call('GET', `/events?limit=1000&type=changed&after=${first - 1}`)).body;
  await until(() => lines(out).length >= expected.length, 'all entries');
  assert.deepStrictEqual(objects(out), expected);
  child.stdout.destroy();
  await until(async () => { await patch(); return child.exitCode !== null; }, 'its end');
  assert.strictEqual(await exited, 0, errors);
});

test('at: machines as they were', async () => {
  const then = lines(ok(s.dir, 'at', afterMaking, 'instances'));
  assert.deepStrictEqual(then.map((l) => l.split(/ +/)[1]), ['RUNNING', 'RUNNING', 'RUNNING']);
  assert.deepStrictEqual(new Set(then.map((l) => l.split(/ +/)[0])), new Set(Object.values(ids)));
  const now = objects(ok(s.dir, 'at', 'now', 'instances', '--json'));
  assert.deepStrictEqual(now.map((m) => [m.name, m.status]).sort(), [['a', 'RUNNING'], ['b', 'STOPPED']]);
  assert.strictEqual(ok(s.dir, 'at', beforeAll, 'instances'), '');
  for (const key of [ids.c, ids.c.slice(-12), 'c']) {
    assert.strictEqual(JSON.parse(ok(s.dir, 'at', afterMaking, 'instance', key)).status, 'RUNNING', key);
  }
  for (const id of Object.values(ids)) {
    const now = recorded((await s.call('GET', `/instances/${id}`)).body);
    assert.deepStrictEqual(recorded(JSON.parse(ok(s.dir, 'at', 'now', 'instance', id))), now, 'the log alone gives back the record');
    assert.deepStrictEqual(recorded((await s.call('GET', `/instances/${id}?at=now`)).body), now);
  }
  assert.strictEqual(JSON.parse(ok(s.dir, 'at', 'now', 'instance', ids.c)).status, 'DELETED');
  refused(1, /did not exist/, s.dir, 'at', beforeAll, 'instance', ids.a);
  refused(1, /there was no machine x/, s.dir, 'at', 'now', 'instance', 'x');
});

test('instances and operations list what there is', async () => {
  assert.deepStrictEqual(lines(ok(s.dir, 'instances')).map((l) => l.split(/ +/).slice(1)).sort(),
    [['RUNNING', 'mock', 'small', 'operator', 'a'], ['STOPPED', 'mock', 'small', 'operator', 'b']]);
  assert.deepStrictEqual(objects(ok(s.dir, 'instances', '--json')).map(recorded), (await s.call('GET', '/instances')).body.map(recorded));
  assert.strictEqual(JSON.parse(ok(s.dir, 'instances', ids.c)).status, 'DELETED');
  refused(1, /no such machine/, s.dir, 'instances', 'nobody');
  assert.strictEqual(ok(s.dir, 'operations'), '');
  const all = objects(ok(s.dir, 'operations', '--all', '--json'));
  assert.deepStrictEqual(all.map((o) => o.kind).sort(), ['create', 'create', 'create', 'delete', 'stop']);
  assert.deepStrictEqual(JSON.parse(ok(s.dir, 'operations', all[0].id)), all[0]);
  assert.strictEqual(lines(ok(s.dir, 'operations', '--all')).length, 5);
  refused(1, /there is no operation/, s.dir, 'operations', ids.a);
});

test('backup while serving, restore elsewhere: the same records and the same log', async () => {
  const dir = folder();
  const file = path.join(dir, 'copy');
  assert.match(ok(s.dir, 'backup', file), /entries of 5 objects/);
  assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600);
  refused(1, /exists/, s.dir, 'backup', file);
  refused(1, /serve is running/, s.dir, 'restore', file);
  refused(1, /serve is running/, s.dir, 'restore', file, '--force');
  const there = path.join(dir, 'data');
  ok(there.replace('/data', ''), 'restore', file, `--data-dir=${there}`);
  for (const args of [['log', '--json'], ['instances', '--json'], ['operations', '--all', '--json']]) {
    assert.strictEqual(ok(there, ...args), ok(s.dir, ...args), args.join(' '));
  }
  assert.match(ok(there, 'log', '--verify'), /^the log is whole: \d+ entries of 5 objects\n$/);
  refused(1, /exists/, there, 'restore', file);
  ok(there, 'restore', file, '--force');
  assert.ok(fs.readdirSync(there).some((n) => /^store\.replaced-\d+$/.test(n)), 'the old store is kept');
  refused(1, /error: /, there, 'restore', path.join(dir, 'none'), '--force');
  assert.ok(lines(ok(there, 'log')).length > 0, 'a restore that failed leaves what was there');
});

test('log --verify finds a flipped byte and names the entry', async () => {
  const mark = 'flipped-here-8271';
  await s.call('PATCH', '/instances/a', { labels: { mark } });
  const entry = (await s.call('GET', '/instances/a/events?order=newest&limit=1')).body[0];
  const dir = folder();
  ok(s.dir, 'backup', path.join(dir, 'copy'));
  ok(dir, 'restore', path.join(dir, 'copy'));
  const file = path.join(dir, 'store', 'data.mdb');
  const bytes = fs.readFileSync(file);
  let found = 0;
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1), found++) bytes[at] ^= 1;
  assert.ok(found > 0);
  fs.writeFileSync(file, bytes);
  refused(1, new RegExp(`the log is not whole: log entry ${entry.seq}: `), dir, 'log', '--verify');

  const copy = path.join(dir, 'broken'); // found by review: there was no way to a copy, and export left its folder
  refused(1, new RegExp(`log entry ${entry.seq}: `), dir, 'backup', copy);
  refused(1, new RegExp(`log entry ${entry.seq}: `), dir, 'export');
  assert.deepStrictEqual(fs.readdirSync(dir).filter((n) => /export|broken/.test(n)), []);
  assert.match(ok(dir, 'backup', copy, '--even-broken'), new RegExp(`the store is broken.*log entry ${entry.seq}: `));
  refused(1, new RegExp(`log entry ${entry.seq}: `), dir, 'restore', copy, '--force');
  const there = path.join(dir, 'data');
  const all = path.join(dir, 'all.jsonl');
  const told = run(dir, 'export', '--even-broken', all);
  assert.strictEqual(told.code, 0, told.err);
  assert.match(told.err, new RegExp(`the store is broken: log entry ${entry.seq}: `));
  ok(dir, 'import', all, `--data-dir=${there}`);
  assert.strictEqual(ok(there, 'instances', '--json'), ok(dir, 'instances', '--json'));
  assert.deepStrictEqual(fs.readdirSync(dir).filter((n) => /export/.test(n)), []);
});

test('export while serving, import into an empty store: the same machines, and a server that goes on', async () => {
  const dir = folder();
  const file = path.join(dir, 'all.jsonl');
  ok(s.dir, 'export', file);
  assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600);
  refused(1, /is there already/, s.dir, 'export', file);
  assert.deepStrictEqual(lines(ok(s.dir, 'export')).slice(1), lines(fs.readFileSync(file, 'utf8')).slice(1));
  assert.deepStrictEqual(fs.readdirSync(s.dir).filter((n) => /export|part/.test(n)), []);

  const there = path.join(dir, 'data');
  assert.match(ok(dir, 'import', file, `--data-dir=${there}`), /lines imported: /);
  assert.strictEqual(ok(there, 'instances', '--json'), ok(s.dir, 'instances', '--json'));
  refused(1, /line 2: .* is in the store already; nothing was imported/, there, 'import', file);
  const other = await Server.start({ provider: 'mock' }, there);
  assert.strictEqual((await other.call('GET', `/instances/${ids.b}`)).body.name, 'b');
  await other.stop();
  const broken = path.join(dir, 'broken.jsonl');
  const text = lines(fs.readFileSync(file, 'utf8'));
  fs.writeFileSync(broken, text.slice(0, -3).join('\n'));
  const empty = path.join(dir, 'empty');
  refused(1, new RegExp(`broken.jsonl: line ${text.length - 2}: the end is missing`), dir, 'import', broken, `--data-dir=${empty}`);
  assert.strictEqual(ok(empty, 'instances'), '');
  refused(1, /there is no file/, there, 'import', path.join(dir, 'none'));
  refused(1, /Is a directory/, there, 'import', dir);
});

test('instances.json comes in, and goes out', () => {
  const dir = folder();
  const file = path.join(dir, 'instances.json');
  const entry = {
    instanceId: 'a1b2c3d4e5f6', email: 'ann@example.org', serverName: 'cc-a1b2c3d4e5f6', serverIp: '192.0.2.7', serverType: 'cpx21',
    createdAt: '2026-01-02T03:04:05+01:00', expiresAt: '2026-02-02T03:04:05Z', status: 'running',
  };
  fs.writeFileSync(file, JSON.stringify({ instances: { a1b2c3d4e5f6: { ...entry, expiresAt: 'soon' } } }));
  refused(1, /instances\.a1b2c3d4e5f6\.expiresAt: a time like .*\n.*nothing was imported/, dir, 'import', '--instances-json', file);
  fs.writeFileSync(file, JSON.stringify({ instances: { a1b2c3d4e5f6: entry } }));
  assert.strictEqual(ok(dir, 'import', '--instances-json', file), 'machines imported: 1\n');
  assert.match(ok(dir, 'instances'), / RUNNING +foreign +cpx21 +ann@example\.org +cc-a1b2c3d4e5f6\n$/);
  assert.deepStrictEqual(JSON.parse(ok(dir, 'export', '--instances-json')).instances.a1b2c3d4e5f6,
    { ...entry, createdAt: '2026-01-02T02:04:05.000Z', expiresAt: '2026-02-02T03:04:05.000Z' });
  const out = path.join(dir, 'out.json');
  ok(dir, 'export', '--instances-json', out);
  refused(1, /there is such a machine already/, dir, 'import', '--instances-json', out);
});

test('check prints the graph of statuses, and refuses what would not hold', () => {
  const dir = folder();
  const text = ok(dir, 'check');
  for (const name of ['STARTING', 'RUNNING', 'STOPPING', 'STOPPED', 'ERROR', 'DELETING', 'DELETED']) assert.match(text, new RegExp(`^${name} `, 'm'));
  assert.match(text, /^STARTING +\d+ s at most, then ERROR; done: RUNNING$/m);
  const dot = ok(dir, 'check', '--dot');
  assert.match(dot, /^digraph statuses \{\n[\s\S]* {2}STOPPED -> STARTING \[label="start"\]\n[\s\S]*\}\n$/);
  refused(1, /--status-seconds \(command line\): statuses that pass expected/, dir, 'check', '--status-seconds={NOWHERE=3}');
  refused(1, /--log-level \(command line\): one of/, dir, 'check', '--log-level=loud');
  assert.match(text, /^policies: sound \(\d+ tests\)$/m);
  const policies = folder();
  fs.writeFileSync(path.join(policies, 'idle.lua'), 'return {\n  decide = strng.x,\n}\n');
  refused(1, /idle\.lua:2: undefined name 'strng'; did you mean 'string'\?/, dir, 'check', `--policies-dir=${policies}`);
  assert.ok(!fs.existsSync(path.join(dir, 'data')), 'it opens nothing');
});
