// Volumes live apart from machines and outlive them; network modes; a command beside the agent.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const http = require('node:http');
const { Server, until } = require('../lib/cchost.js');

let s;
test.before(async () => { s = await Server.start(); });
test.after(() => s.stop());

const made = async (body) => {
  const r = await s.call('POST', '/instances', body);
  assert.strictEqual(r.status, 201, r.text);
  await s.running(r.body.id);
  return r.body.id;
};
const sh = async (id, line, timeout) => {
  const r = await s.call('POST', `/instances/${id}/exec`, { cmd: ['sh', '-c', line], timeout });
  assert.strictEqual(r.status, 200, r.text);
  return r.body;
};

test('what is written to a volume is there on the next machine that has it', async () => {
  const volumes = [{ id: 'shared-work', path: '/work' }];
  const a = await made({ volumes });
  assert.strictEqual((await sh(a, 'echo kept > /work/file && id -un')).stdout, 'claude\n');
  assert.strictEqual((await s.call('DELETE', `/instances/${a}`)).body.status, 'DELETED');
  const b = await made({ volumes: [{ id: 'shared-work', path: '/other/place' }] });
  assert.strictEqual((await sh(b, 'cat /other/place/file; echo more >> /other/place/file')).stdout, 'kept\n');
});

test('env and cmd reach the machine', async () => {
  const id = await made({ env: { GREETING: 'hello there' }, cmd: ['sh', '-c', 'echo started > /claude-data/cmd'] });
  assert.strictEqual((await sh(id, 'echo $GREETING')).stdout, 'hello there\n');
  await until(async () => (await sh(id, 'cat /claude-data/cmd')).stdout === 'started\n', 'cmd ran');
});

test('the output of cmd is the machine\'s log', async () => {
  const id = await made({ cmd: ['sh', '-c', 'echo one; echo two >&2; head -c 100000 /dev/zero | tr "\\0" x; echo; echo last'] });
  const logs = () => s.call('GET', `/instances/${id}/logs`);
  const r = await until(async () => { const x = await logs(); return /last\n$/.test(x.text) && x; }, 'the last line');
  assert.deepStrictEqual([r.status, r.headers['content-type'], r.text.length], [200, 'text/plain; charset=utf-8', 65536]);
  const quiet = await made({});
  assert.strictEqual((await s.call('GET', `/instances/${quiet}/logs`)).text, '');
  await s.call('POST', `/instances/${quiet}/stop`);
  assert.strictEqual((await s.call('GET', `/instances/${quiet}/logs`)).status, 409);
});

test('env and size that were changed hold from the next start', async () => {
  const id = await made({ env: { A: 'old' } });
  await s.call('PATCH', `/instances/${id}`, { env: { A: 'new' } });
  assert.strictEqual((await sh(id, 'echo $A')).stdout, 'old\n');
  const r = await s.call('POST', `/instances/${id}/resize`, { type: 'tiny' });
  assert.deepStrictEqual([r.status, r.body.status], [200, 'RUNNING'], r.text);
  assert.strictEqual((await sh(id, 'echo $A')).stdout, 'new\n');
});

test('a machine sees neither the host nor other machines', async () => {
  const id = await made({ network: 'none' });
  const other = await made({});
  const x = await sh(id, `ls ${s.dir} 2>&1; cat /etc/shadow 2>&1; ls /root 2>&1; tail -n +3 /proc/net/dev`);
  assert.match(x.stdout, /No such file|Permission denied|cannot/);
  assert.ok(!/root:[*!$]/.test(x.stdout));
  assert.match(x.stdout.split('\n').slice(-2)[0], /^ *lo:/, 'no interface but lo');
  // a listener on the host's loopback is not reached by either
  const listener = http.createServer((q, r) => r.end('secret of the host'));
  await new Promise((r) => listener.listen(0, '127.0.0.1', r));
  const port = listener.address().port;
  for (const m of [id, other]) {
    const line = `exec 3<>/dev/tcp/127.0.0.1/${port} && echo reached`;
    const { body } = await s.call('POST', `/instances/${m}/exec`, { cmd: ['bash', '-c', line], timeout: 10 });
    assert.ok(body.exit !== 0 && !/reached/.test(body.stdout), JSON.stringify(body));
  }
  await new Promise((r) => listener.close(r));
});

test('memory beyond the type\'s limit ends the process, not the host', {
  skip: process.env.V === 'asan' && 'as in the release run',
}, async (t) => {
  const id = await made({ type: 'tiny' });
  const m = (await s.call('GET', `/instances/${id}`)).body;
  if ((m.unenforced || []).some((u) => u.what === 'memory_mib')) { t.skip('this host cannot limit memory'); return; }
  const r = await sh(id, 'head -c 800000000 /dev/zero | tail -n 1 | wc -c', 60);
  assert.notStrictEqual(r.stdout.trim(), '800000000', 'it held 800 MB in 512 MiB');
  assert.strictEqual((await sh(id, 'echo alive')).stdout, 'alive\n');
});

test("a volume of another user was whoever's knew, or guessed, its name", async () => {
  const as = async (email) => {
    const { token } = (await s.call('POST', '/auth/login', { email }, { 'X-API-Key': undefined })).body;
    return (method, where, body) => s.call(method, where, body, { 'X-API-Key': undefined, Authorization: `Bearer ${token}` });
  };
  const [a, b] = [await as('a@example.org'), await as('b@example.org')];
  const machine = async (call, id, path = '/data') => (await call('POST', '/instances?wait=30', { network: 'none', volumes: [{ id, path }] })).body;
  const run = async (call, m, line) => (await call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line] })).body.stdout;
  const long = `x${'y'.repeat(63)}`;
  for (const id of ['data', long]) {
    const one = await machine(a, id);
    assert.strictEqual(await run(a, one, 'echo secret > /data/x && cat /data/x'), 'secret\n');
    const two = await machine(b, id); // also while the other has it
    assert.strictEqual(two.status, 'RUNNING', JSON.stringify(two));
    assert.strictEqual(await run(b, two, 'cat /data/x 2>/dev/null; echo mine > /data/x'), '');
    assert.strictEqual((await a('DELETE', `/instances/${one.id}?wait=30`)).body.status, 'DELETED');
    const later = await machine(a, id, '/elsewhere');
    assert.strictEqual(await run(a, later, 'cat /elsewhere/x'), 'secret\n', 'his own outlives his machine');
    // a machine's own volume, which is its home, has a name, too
    const thief = await machine(b, `cc-${later.short}`);
    assert.strictEqual(await run(b, thief, 'ls -A /data'), '');
    // attached and detached
    assert.deepStrictEqual((await b('DELETE', `/instances/${two.id}/volumes/${id}?wait=30`)).body.volumes, []);
    const back = await b('POST', `/instances/${two.id}/volumes?wait=30`, { id, path: '/again' });
    assert.deepStrictEqual(back.body.volumes, [{ id, path: '/again' }], back.text);
    assert.strictEqual(await run(b, two, 'cat /again/x'), 'mine\n');
    // what goes wrong calls it as its owner does
    const second = await b('POST', '/instances', { network: 'none', volumes: [{ id, path: '/data' }] });
    assert.strictEqual(second.status, 409, second.text);
    assert.match(second.body.error, new RegExp(`^volume ${id} is attached to the machine ${two.name}`));
  }
});
