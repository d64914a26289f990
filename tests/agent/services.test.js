// Services: programs that the agent keeps running (docs/agent.md). When one begins again is decided in tests/lua/test_supervise.lua,
// by a clock that is driven; here they are real.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Agent, until } = require('../lib/real_agent.js');
const { temp } = require('../lib/cchost.js');

let home, list, dir;
test.before(() => {
  home = temp();
  dir = temp();
  list = path.join(home, '.config/cchost/services.json');
  fs.mkdirSync(path.dirname(list), { recursive: true });
});
test.after(() => { for (const d of [home, dir]) fs.rmSync(d, { recursive: true, force: true }); });

const sh = (name, script, more) => ({ name, command: ['sh', '-c', script], ...more });
const write = (services) => fs.writeFileSync(list, JSON.stringify({ services }));
const start = (services, more) => {
  write(services);
  return Agent.start([], { env: { HOME: home, CCHOST_SERVICES: path.join(dir, 'services.json'), DIR: dir, ...more } });
};
const children = (pid) => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
const lines = (name) => { try { return fs.readFileSync(path.join(dir, name), 'utf8').split('\n').filter(Boolean); } catch { return []; } };
const of = async (a, name) => (await a.get('/services')).body.services.find((s) => s.name === name);
const json = async (a, where) => JSON.parse((await a.get(where)).bytes);
const failing = async (a) => (await json(a, '/healthz')).failing;
const alive = (pid) => fs.existsSync(`/proc/${pid}`);

test('services run, are told with what they said, and one that crashes begins again while another is left alone', async () => {
  const a = await start([sh('web', 'echo "$GREETING from $PWD"; exec sleep 1000', { cwd: dir, env: { GREETING: 'hello' } }), sh('bad', 'echo x >>$DIR/bad; exit 3')]);
  await until(async () => /hello from/.test(String((await a.get('/services/web/log')).bytes)), 'it says hello');
  assert.strictEqual(String((await a.get('/services/web/log')).bytes), `hello from ${fs.realpathSync(dir)}\n`);
  const web = await of(a, 'web');
  assert.deepStrictEqual([web.state, web.restarts, web.failing, web.exit], ['running', 0, false, null]);
  await until(() => lines('bad').length >= 3, 'it began again twice');
  await until(async () => (await failing(a)).length === 1, 'its failure is told');
  assert.deepStrictEqual(await failing(a), ['bad']);
  const bad = await of(a, 'bad');
  assert.strictEqual(bad.exit, 3);
  assert.strictEqual(bad.failing, true);
  const now = await of(a, 'web');
  assert.deepStrictEqual([now.pid, now.restarts], [web.pid, 0]);
  assert.deepStrictEqual(await json(a, '/sessions'), []); // they are no terminals of anybody's
  assert.strictEqual((await a.call('DELETE', '/tabs/web')).status, 404);
  assert.strictEqual((await json(a, '/activity')).foreground, null);
  await a.stop();
  assert.ok(!alive(web.pid));
});

// Bug: the owner's name was asked of the system's libraries (NSS), which the agent, a static program, cannot load: it crashed, at
// its start, where they are asked about whoever is not in /etc/passwd (libnss-systemd).
test('a file of somebody who has no name ends no agent', { skip: process.getuid() !== 0 && 'it needs root' }, async () => {
  const a = await start([sh('web', 'exec sleep 1000')]);
  fs.chownSync(list, 231072, 231072);
  const r = await a.call('POST', '/services');
  assert.deepStrictEqual([r.status, r.body.services.map((x) => x.state), r.body.faults], [200, ['running'], []]);
  await a.stop();
});

test('all of a service ends before it begins again, and no zombie is left', async () => {
  const a = await start([sh('tree', 'sleep 1000 & echo $! >>$DIR/tree; wait')]);
  await until(() => lines('tree').length === 1, 'it runs');
  const { pid } = await of(a, 'tree');
  process.kill(pid, 'SIGKILL');
  await until(() => lines('tree').length === 2, 'it runs again');
  const [first] = lines('tree');
  await until(() => !alive(first) || /^State:\s+Z/m.test(fs.readFileSync(`/proc/${first}/status`, 'utf8')), 'what it had left has ended');
  assert.strictEqual(children(a.child.pid).length, 1);
  assert.ok(!alive(pid));
  const r = await a.call('POST', '/services/tree/restart');
  assert.strictEqual(r.status, 200);
  await until(() => lines('tree').length === 3, 'it was begun anew');
  await until(() => children(a.child.pid).length === 1, 'one child');
  assert.strictEqual((await a.call('POST', '/services/nobody/restart')).status, 404);
  assert.strictEqual((await a.get('/services/nobody/log')).status, 404);
  await a.stop();
});

test('a TERM ends the last first, each with its own time; who does not listen is killed', async () => {
  const says = (name, ear) => sh(name, `trap '${ear}' TERM; echo ${name} up >>$DIR/order; while :; do sleep 0.02; done`, { grace: 0.3 });
  const a = await start([says('db', 'echo db down >>$DIR/order; exit'), says('deaf', 'echo deaf hears >>$DIR/order'), says('web', 'echo web down >>$DIR/order; exit')]);
  await until(() => lines('order').length === 3, 'they run');
  const pids = (await a.get('/services')).body.services.map((s) => s.pid);
  await a.stop();
  assert.deepStrictEqual(lines('order').slice(3), ['web down', 'deaf hears', 'db down']);
  for (const pid of pids) assert.ok(!alive(pid));
});

test('an agent that is killed leaves none running: their terminals hang up', async () => {
  const a = await start([sh('web', 'exec sleep 1000')]);
  await until(async () => (await of(a, 'web'))?.pid, 'it runs');
  const { pid } = await of(a, 'web');
  a.child.kill('SIGKILL');
  await until(() => !alive(pid) || /^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8')), 'it has ended');
  fs.rmSync(a.dir, { recursive: true });
});

test('the list is read anew when that is asked for; one with a fault changes nothing, and the fault is told', async () => {
  const a = await start([sh('one', 'exec sleep 1000'), sh('two', 'exec sleep 1000')]);
  await until(async () => (await of(a, 'two'))?.pid, 'they run');
  const before = await of(a, 'one');
  const faults = { '{"services": [': /:/, '{"services": 3}': /expected/, '{"services": [{"name": "-x", "command": ["a"]}]}': /name:/, '{"services": [{"name": "x", "command": "a"}]}': /command:/,
    '{"services": [{"name": "x", "command": ["a"], "user": "root"}]}': /user/, '{"services": [{"name": "x", "command": ["a"], "cwd": "rel"}]}': /cwd:/,
    '{"services": [{"name": "x", "command": ["a"], "env": {"A=B": "c"}}]}': /env:/, '{"services": [{"name": "x", "command": ["a"], "restart": "no"}]}': /restart:/,
    '{"services": [{"name": "x", "command": ["a"], "grace": 1000}]}': /grace:/, '{"services": [{"name": "x", "command": ["a"]}, {"name": "x", "command": ["a"]}]}': /twice/ };
  for (const [text, why] of Object.entries(faults)) {
    fs.writeFileSync(list, text);
    const r = (await a.call('POST', '/services')).body;
    assert.match(r.faults.join(), why, text);
    assert.deepStrictEqual(r.services.map((s) => s.name), ['one', 'two']);
  }
  fs.writeFileSync(path.join(dir, 'services.json'), JSON.stringify({ services: [sh('zero', 'exec sleep 1000'), sh('two', 'exit 1')] }));
  write([sh('one', 'exec sleep 1000'), sh('two', 'exec sleep 2000')]);
  const r = (await a.call('POST', '/services')).body;
  assert.deepStrictEqual([r.faults, r.services.map((s) => s.name)], [[], ['zero', 'two', 'one']]);
  await until(async () => (await of(a, 'two')).state === 'running', 'the user\'s own has taken the place');
  assert.strictEqual((await of(a, 'one')).pid, before.pid);
  fs.rmSync(list);
  fs.rmSync(path.join(dir, 'services.json'));
  await a.call('POST', '/services');
  await until(async () => (await a.get('/services')).body.services.length === 0, 'none is left');
  assert.deepStrictEqual(children(a.child.pid), []);
  await a.stop();
});

test('a service that is told to end as soon as it begins ends alone: the agent is not told by its signal', async () => {
  const a = await start([]);
  for (let i = 0; i < 100; i++) {
    write(i % 2 ? [] : [sh('one', 'exec sleep 1000'), sh('two', 'exec sleep 1000')]);
    assert.strictEqual((await a.call('POST', '/services')).status, 200);
  }
  await until(async () => (await a.get('/services')).body.services.length === 0, 'none is left', 4); // within their grace: nobody was killed
  assert.deepStrictEqual(children(a.child.pid), []);
  await a.stop();
});

test('what cannot be started says why, and a service that says much fills no memory', async () => {
  const a = await start([{ name: 'none', command: ['no-such-program'] }, sh('loud', 'while :; do echo 0123456789012345678901234567890123456789; done')]);
  await until(async () => /no-such-program: No such file/.test(String((await a.get('/services/none/log')).bytes)), 'why');
  await until(async () => (await of(a, 'none')).exit === 127, 'its end is told'); // a moment after its last words
  await until(async () => (await a.get('/services/loud/log')).bytes.length === 65536, 'its log is full');
  await a.stop();
});
