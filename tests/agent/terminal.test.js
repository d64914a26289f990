// The agent alone, over its unix socket: ttyd's protocol (specs/ttyd), exec and activity.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const WebSocket = require('ws');
const { until, temp, binary } = require('../lib/cchost.js');

const program = path.join(path.dirname(fs.realpathSync(binary)), 'cchost-agent');
const agentBinary = fs.existsSync(program) ? program : path.join(__dirname, '../../build', process.env.V || 'release', 'cchost-agent');

let dir, sock, child;
const opened = [];

test.before(async () => {
  dir = temp();
  sock = path.join(dir, 'a.sock');
  child = spawn(agentBinary, ['--listen', sock, '--busy', path.join(dir, 'busy.sock'), '--shell', 'exec bash --norc'], { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, PS1: '$ ' } });
  await until(() => fs.existsSync(sock), 'the socket');
});
// every connection of a test is closed by it
test.afterEach(() => {
  for (const ws of opened.splice(0)) ws.terminate(); // of a test that failed half-way
  return until(async () => (await call('GET', '/activity')).body.clients === 0, 'no client is left');
});
test.after(async () => {
  child.kill();
  await new Promise((r) => child.on('exit', r));
  fs.rmSync(dir, { recursive: true, force: true });
});

function call(method, where, body) {
  return new Promise((resolve, reject) => {
    const req = http.request({ socketPath: sock, method, path: where, agent: false }, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; });
      res.on('end', () => resolve({ status: res.statusCode, body: JSON.parse(text) }));
    });
    req.on('error', reject);
    req.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
  });
}

// -> {ws, out(), sent: [all messages], closed: promise of the code}
function connect(hello = '{"AuthToken":"","columns":80,"rows":24}') {
  const ws = new WebSocket(`ws+unix://${sock}:/ws`, ['tty'], { perMessageDeflate: false });
  opened.push(ws);
  const c = { ws, messages: [], text: '', bytes: 0 };
  ws.on('message', (d) => {
    c.messages.push(String.fromCharCode(d[0]));
    if (d[0] === 0x30) { c.bytes += d.length - 1; c.text = (c.text + d.subarray(1)).slice(-100000); }
    if (d[0] === 0x31) c.title = d.subarray(1).toString();
    if (d[0] === 0x32) c.preferences = JSON.parse(d.subarray(1));
  });
  c.closed = new Promise((r) => ws.on('close', r));
  ws.on('error', () => {});
  c.ready = new Promise((r) => ws.on('open', () => { if (hello !== null) ws.send(hello); r(); }));
  c.sees = (re, s) => until(() => re.test(c.text), () => `${re} in ${JSON.stringify(c.text.slice(-200))}`, s);
  return c;
}

test('health', async () => {
  const r = await call('GET', '/healthz');
  assert.deepStrictEqual([r.status, r.body.status], [200, 'ok']);
  assert.strictEqual((await call('GET', '/nothing')).status, 404);
});

test('title and preferences come first, then output; input, resize and a clean end', async () => {
  const c = connect();
  await c.ready;
  await c.sees(/\$ /);
  assert.deepStrictEqual(c.messages.slice(0, 2), ['1', '2']);
  assert.match(c.title, /bash/);
  assert.deepStrictEqual(c.preferences, {});
  c.ws.send('0echo $((6*7)); stty size\r');
  await c.sees(/\r42\r\n24 80\r\n/);
  c.ws.send('1{"columns":132,"rows":43}');
  c.ws.send(Buffer.from('0stty size\r'));
  await c.sees(/43 132/);
  c.ws.send('0exit 0\r');
  assert.strictEqual(await c.closed, 1000);
});

test('a shell that fails ends the connection abnormally', async () => {
  const c = connect();
  await c.ready;
  c.ws.send('0exit 3\r');
  assert.strictEqual(await c.closed, 1006);
});

test('nothing happens before the hello, and anything else ends the connection', async () => {
  for (const first of ['0ls\r', '1{"columns":1,"rows":1}', '2', 'x', '', '{', '{"columns":', '[]']) {
    const c = connect(null);
    await c.ready;
    c.ws.send(first);
    assert.strictEqual(await c.closed, 1008, first);
    assert.strictEqual(c.text, '');
  }
});

test('a second hello, bad sizes and unknown kinds are ignored', async () => {
  const c = connect('{}');
  await c.ready;
  await c.sees(/\$ /);
  for (const m of ['{"columns":10,"rows":10}', '1{"columns":0,"rows":5}', '1{"columns":"x"}', '1', '1[]', '9zzz', '']) c.ws.send(m);
  c.ws.send('0stty size; echo al""ive\r');
  await c.sees(/24 80\r\nalive/);
  c.ws.close();
  await c.closed;
});

test('fragmented input is put together', async () => {
  const c = connect();
  await c.ready;
  await c.sees(/\$ /);
  c.ws.send('0echo frag', { fin: false, binary: true });
  c.ws.send('ment""ed', { fin: false });
  c.ws.send('\r', { fin: true });
  await c.sees(/\rfragmented\r\n/);
  c.ws.close();
  await c.closed;
});

test('pause stops the output, resume lets all of it come', async () => {
  const c = connect();
  await c.ready;
  await c.sees(/\$ /);
  c.ws.send('2');
  c.ws.send('0seq 1 100000; echo E""ND\r');
  // activity answers after the pause was read: both run on the one loop
  await call('GET', '/activity');
  const at = c.bytes;
  await call('GET', '/activity');
  assert.ok(c.bytes - at < 100000, `${c.bytes - at} bytes came while paused`);
  assert.ok(!/END/.test(c.text));
  c.ws.send('3');
  await c.sees(/100000\r\nEND/);
  c.ws.close();
  await c.closed;
});

// the sanitizer keeps freed memory for a while, so that its process grows whatever we do
const skip = process.env.V === 'asan' && 'memory is not measured under a sanitizer';

test('a reader that stands still costs a bounded amount of memory', { skip }, async () => {
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${child.pid}/status`))[1]);
  const c = connect();
  await c.ready;
  await c.sees(/\$ /);
  const before = rss();
  c.ws._socket.pause();
  c.ws.send('0head -c 200000000 /dev/zero | tr "\\0" x; echo; echo E""ND\r');
  for (let i = 0; i < 50; i++) await call('GET', '/activity');
  assert.ok(rss() - before < 4096, `${rss() - before} KiB grown`);
  c.ws._socket.resume();
  await c.sees(/END/, 60);
  assert.ok(c.bytes > 200000000);
  assert.ok(rss() - before < 4096, `${rss() - before} KiB grown`);
  c.ws.close();
  await c.closed;
});

test('a large paste reaches a slow program whole', async () => {
  const c = connect();
  await c.ready;
  await c.sees(/\$ /);
  c.ws.send('0stty -echo raw; echo re""ady; head -c 1000000 | md5sum; stty echo -raw\r');
  await c.sees(/ready/); // before that the line discipline would drop what is more than a line
  const chunk = Buffer.alloc(50001, 'a');
  chunk[0] = 0x30;
  for (let i = 0; i < 20; i++) c.ws.send(chunk);
  const want = require('node:crypto').createHash('md5').update('a'.repeat(1000000)).digest('hex');
  await c.sees(new RegExp(want), 30);
  c.ws.close();
  await c.closed;
});

test('the end of the connection is a hang-up for the shell', async () => {
  const c = connect();
  await c.ready;
  await c.sees(/\$ /);
  const mark = path.join(dir, 'hup');
  c.ws.send(`0sh -c 'trap "echo hup > ${mark}; exit" HUP; echo read""y; while :; do sleep 0.01; done'\r`);
  await c.sees(/ready/);
  c.ws.terminate();
  await until(() => fs.existsSync(mark), 'SIGHUP');
  await until(async () => (await call('GET', '/activity')).body.clients === 0, 'no client');
});

test('activity tells who is there and what runs', async () => {
  const c = connect();
  await c.ready;
  await c.sees(/\$ /);
  const before = Date.now();
  c.ws.send('0sleep 1000\r');
  await until(async () => (await call('GET', '/activity')).body.foreground === 'sleep', 'sleep in the foreground');
  const { body } = await call('GET', '/activity');
  assert.strictEqual(body.clients, 1);
  assert.ok(body.last_input_ms >= before && body.last_input_ms <= Date.now());
  c.ws.close();
  await c.closed;
});

// Bug: what was typed before the clock was set back was brought to now at each look, so that the host saw new input each time.
test('a time of input that is ahead of the clock is told as it is, the same each time', async () => {
  const c = connect();
  await c.ready;
  const day = 86400, ahead = Math.floor(Date.now() / 1000) + day;
  c.ws.send(`0touch -a -d @${ahead} $(tty) && echo touch""ed\r`);
  await c.sees(/touched/);
  const last = async () => (await call('GET', '/activity')).body.last_input_ms;
  assert.deepStrictEqual([await last(), await last()], [ahead * 1000, ahead * 1000]);
  c.ws.close();
  await c.closed;
  await until(async () => await last() < Date.now() + 1000, 'it goes with its terminal');
});

test('a program whose name is no UTF-8 ended the agent', async () => {
  const c = connect();
  await c.ready;
  await c.sees(/\$ /);
  c.ws.send(`0cp /bin/sleep ${dir}/$'a\\xffb'; ${dir}/$'a\\xffb' 1000\r`);
  await until(async () => (await call('GET', '/activity')).body.foreground === 'a?b', 'it is in the foreground');
  c.ws.close();
  await c.closed;
});

const b64 = (s) => Buffer.from(s).toString('base64');
const text = (s) => Buffer.from(s, 'base64').toString();

test('exec: streams, exit codes, timeout, a program that is not there', async () => {
  let r = await call('POST', '/exec', { cmd: ['sh', '-c', 'cat; echo e >&2; exit 3'], stdin: b64('in') });
  assert.deepStrictEqual([r.status, r.body.exit, text(r.body.stdout), text(r.body.stderr)], [200, 3, 'in', 'e\n']);
  r = await call('POST', '/exec', { cmd: ['sh', '-c', 'kill -9 $$'] });
  assert.strictEqual(r.body.exit, 137);
  r = await call('POST', '/exec', { cmd: ['sh', '-c', 'sleep 1000'], timeout_ms: 30 });
  assert.strictEqual(r.body.exit, 124);
  r = await call('POST', '/exec', { cmd: ['/no/such'] });
  assert.deepStrictEqual([r.status, r.body.code], [404, 'not_found']);
  r = await call('POST', '/exec', { cmd: ['sh', '-c', 'sleep 1000 & echo $!'] });
  assert.strictEqual(r.body.exit, 0, 'what it left behind is not waited for');
  process.kill(Number(text(r.body.stdout)), 'SIGKILL');
});

test('exec: of a program that cannot be run the answer says which', async () => {
  for (const [program, error] of [['/no/such', 'there is no program /no/such'], ['no-such', 'there is no program no-such'],
    [dir, `cannot run ${dir}: permission denied`], [`/${'ü'.repeat(300)}`, /^cannot run \/ü{49}: name too long$/], ['no\nsuch', 'there is no program no?such']]) {
    const { status, body } = await call('POST', '/exec', { cmd: [program] });
    assert.deepStrictEqual([status, body.code], program.length > 200 ? [500, 'io'] : [404, 'not_found']);
    if (error instanceof RegExp) assert.match(body.error, error);
    else assert.strictEqual(body.error, error);
  }
});

test('exec: output beyond 1 MiB is cut and said', async () => {
  const r = await call('POST', '/exec', { cmd: ['head', '-c', '3000000', '/dev/zero'] });
  assert.deepStrictEqual([r.body.exit, r.body.truncated, Buffer.from(r.body.stdout, 'base64').length], [0, true, 1048576]);
});

test('exec: what is no request is refused', async () => {
  for (const body of ['', '{', '[]', '{"cmd":[]}', '{"cmd":"ls"}', '{"cmd":[1]}', '{"cmd":["ls"],"stdin":"%%%"}', '{"cmd":["ls"],"stdin":5}']) {
    assert.strictEqual((await call('POST', '/exec', body)).status, 400, body);
  }
});
