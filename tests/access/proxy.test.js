// What is passed on to machines: for whom, without what is ours, in bounded memory, and what becomes of failures.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const WebSocket = require('ws');
const { Agent } = require('../lib/agent.js');
const { until, temp } = require('../lib/cchost.js');
const { start, person, apiToken, as, bearer } = require('./people.js');
const { raw, socket } = require('./wire.js');

// A server whose machines' agent is the test's own.
async function world(t, settings = {}, mock = '', own = {}) {
  const dir = temp();
  const agent = await Agent.start(dir);
  const s = await start({ mock: `{endpoint="${agent.path}"${mock}}`, ...settings }, undefined, own);
  t.after(async () => {
    await s.stop();
    if (agent.server.listening) await agent.stop();
    fs.rmSync(dir, { recursive: true });
  });
  const p = await person(s, 'p@example.org');
  const m = (await p.call('POST', '/instances?wait=30', {})).body;
  assert.strictEqual(m.status, 'RUNNING', JSON.stringify(m));
  return { s, p, m, agent, where: `/instances/${m.id}` };
}

const memory = (s) => Number(/RssAnon:\s+(\d+)/.exec(fs.readFileSync(`/proc/${s.child.pid}/status`, 'utf8'))[1]) / 1024; // MiB of its own: its program and its store are files

test('what proves who asks stays here, and so does what is about the connection; the secret is added', async (t) => {
  const { s, p, m, agent, where } = await world(t);
  const r = await raw(s, 'GET', `${where}/files?path=%2Fa%20b&token=x&wake=true`, {
    ...bearer(p.token), Cookie: `session=${p.token}; other=1`, 'X-API-Key': s.key, TE: 'trailers', Connection: 'keep-alive, X-Hop', 'X-Hop': '1',
    'X-Own': 'stays', 'Proxy-Authorization': 'x', Origin: s.url,
  });
  assert.strictEqual(r.status, 200, r.text);
  assert.deepStrictEqual(JSON.parse(r.text), { url: '/files?path=%2Fa%20b' });
  const { headers } = agent.asked.at(-1);
  assert.match(headers.authorization, /^Bearer \S{32,}$/);
  assert.ok(!headers.authorization.includes(p.token));
  for (const name of ['cookie', 'x-api-key', 'te', 'x-hop', 'proxy-authorization', 'origin']) assert.strictEqual(headers[name], undefined, name);
  assert.strictEqual(headers['x-own'], 'stays');
  // and of the answer, what would speak for our origin
  agent.answer = (_, res) => {
    res.writeHead(200, { 'Set-Cookie': 'session=stolen', 'Clear-Site-Data': '"*"', 'Content-Type': 'text/html', 'X-Frame-Options': 'ALLOW' });
    res.end('<script>1</script>');
  };
  const page = await raw(s, 'GET', `${where}/files/download?path=x`, bearer(p.token));
  assert.deepStrictEqual([page.status, page.headers['set-cookie'], page.headers['clear-site-data'], page.headers['x-frame-options']], [200, undefined, undefined, 'DENY']);
  assert.strictEqual(page.headers['content-security-policy'], "default-src 'none'; sandbox");
  // a link leads to the next page of a list, and nowhere else
  for (const [link, comes] of [['<?path=a%20b&after=c>; rel="next"', true], ['<https://example.org/>; rel="preload"', false], ['<?x>; rel="next", <https://example.org/>; rel="preload"', false], ['<//example.org/?x>; rel="next"', false]]) {
    agent.answer = (_, res) => { res.writeHead(200, { Link: link }); res.end('[]'); };
    assert.strictEqual((await raw(s, 'GET', `${where}/files`, bearer(p.token))).headers.link, comes ? link : undefined, link);
  }
  // that the agent does not take our secret is no matter of the caller's sign-in
  agent.answer = (_, res) => { res.writeHead(401); res.end('{}'); };
  const refused = await p.call('GET', `${where}/projects`);
  assert.deepStrictEqual([refused.status, refused.body], [502, { error: "the machine's agent does not take this server's secret: stop the machine and start it", code: 'unavailable' }]);
  agent.refuse = 401;
  const c = await socket(s, `${where}/chat`, bearer(p.token));
  assert.deepStrictEqual(await c.closed, { code: 1011, reason: refused.body.error });
  agent.refuse = 404; // an agent that is older than the route
  const d = await socket(s, `${where}/chat`, bearer(p.token));
  assert.deepStrictEqual(await d.closed, { code: 1011, reason: 'the machine refused the connection (status 404)' });
  assert.strictEqual(m.status, 'RUNNING');
});

test('every route goes to its own place, with its method and its body', async (t) => {
  const { s, p, agent, where } = await world(t);
  agent.answer = (req, res) => {
    let n = 0;
    req.on('data', (d) => { n += d.length; });
    req.on('end', () => { res.statusCode = 207; res.end(`${req.method} ${req.url} ${n}`); });
  };
  const routes = [['GET', '/files?path=a'], ['GET', '/files/read?path=a'], ['GET', '/files/download?path=a'], ['PUT', '/files?path=a'], ['DELETE', '/files?path=a'],
    ['POST', '/files/upload?path=a'], ['POST', '/files/folder'], ['POST', '/files/rename'], ['GET', '/projects'], ['POST', '/projects/clone'], ['GET', '/sessions'],
    ['GET', '/sessions/a%2Fb/conversations'], ['POST', '/tabs'], ['DELETE', '/tabs/x%20y'], ['GET', '/auth/status'], ['GET', '/ports'],
    ['GET', '/services'], ['POST', '/services'], ['POST', '/services/a%2Eb/restart'], ['GET', '/services/a/log']];
  for (const [method, to] of routes) {
    const body = method === 'POST' || method === 'PUT' ? 'twelve bytes' : undefined;
    const r = await raw(s, method, where + to, { ...bearer(p.token), 'If-Match': 'W/"x"', 'Idempotency-Key': 'k' }, body);
    assert.deepStrictEqual([r.status, r.text], [207, `${method} ${to} ${body ? 12 : 0}`]);
  }
  const head = await raw(s, 'HEAD', `${where}/files?path=a`, bearer(p.token));
  assert.deepStrictEqual([head.status, head.text], [207, '']);
});

test('B18: a ticket opens a chat, a token in the URL does not, and neither comes to the machine; a foreign page is refused', async (t) => {
  const { s, p, m, agent, where } = await world(t);
  const ticket = (await p.call('POST', `/instances/${m.id}/ticket`)).body.ticket;
  const c = await socket(s, `${where}/chat?token=${ticket}&cwd=x`, { Origin: s.url });
  c.ws.send('{"type":"message"}');
  await until(() => c.messages[0] === '{"type":"message"}', 'an answer');
  const { url, headers } = agent.asked.at(-1);
  assert.strictEqual(url, '/chat?cwd=x');
  assert.ok(!JSON.stringify(headers).includes(ticket));
  c.ws.close(4321, 'bye');
  assert.strictEqual((await c.closed).code, 4321);
  await assert.rejects(socket(s, `${where}/chat?token=${p.token}`), { status: 401 });
  const cookie = { Cookie: `session=${p.token}` };
  for (const to of ['/chat', '/terminal', '/ports/80/']) {
    await assert.rejects(socket(s, where + to, { ...cookie, Origin: 'https://evil.example' }), { status: 403 }, to);
    await assert.rejects(socket(s, where + to, cookie), { status: 403 }, to);
  }
  for (const to of ['/files?path=a', '/tabs/x']) {
    assert.strictEqual((await raw(s, 'DELETE', where + to, { ...cookie, Origin: 'https://evil.example' })).status, 403);
  }
});

test('nobody is there: 502 for HTTP, 1011 for a WebSocket, each with a reason', async (t) => {
  const { s, p, agent, where } = await world(t);
  await agent.stop();
  const r = await p.call('GET', `${where}/files?path=a`);
  assert.deepStrictEqual([r.status, r.body], [502, { error: 'instance agent unavailable', code: 'unavailable' }]);
  const c = await socket(s, `${where}/chat`, bearer(p.token));
  assert.deepStrictEqual(await c.closed, { code: 1011, reason: 'instance agent unavailable' });
  fs.rmSync(agent.path, { force: true });
  await agent.listen();
  agent.answer = (req) => req.socket.destroy();
  assert.strictEqual((await p.call('GET', `${where}/files?path=a`)).status, 502);
  agent.answer = (req, res) => { res.socket.end('HTTP/1.1 200 OK\nbare line ends\n\n'); };
  assert.strictEqual((await p.call('GET', `${where}/files?path=a`)).status, 502);
  // cut in the middle, the client's is cut, too: nobody takes a part for the whole
  agent.answer = (req, res) => { res.writeHead(200, { 'Content-Length': 100 }); res.write('half', () => res.socket.destroy()); };
  await assert.rejects(raw(s, 'GET', `${where}/files/download?path=a`, bearer(p.token)));
});

// Each moves what is behind it: a machine that says nothing else would have the host do nothing else.
test('what a machine says before its answer is skipped, but not for ever', async (t) => {
  const { s, p, agent, where } = await world(t);
  const hint = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
  agent.answer = (req, res) => res.socket.end(`${hint.repeat(16)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi`);
  const r = await raw(s, 'GET', `${where}/files?path=a`, bearer(p.token));
  assert.deepStrictEqual([r.status, r.text], [200, 'hi']);
  let ended = false;
  agent.answer = (req, { socket }) => {
    const more = () => { while (!socket.destroyed && socket.write(hint.repeat(1000))); };
    socket.on('drain', more).on('close', () => { ended = true; });
    more();
  };
  assert.strictEqual((await p.call('GET', `${where}/files?path=a`)).status, 502);
  await until(() => ended, 'its connection is closed');
});

// Each byte in a chunk of its own, either way: the host would do nothing else but write them.
test('chunks of one byte that came together go on together', async (t) => {
  const { s, p, agent, where } = await world(t);
  const most = 200, n = 100000, bytes = '1\r\na\r\n'.repeat(n), content = Buffer.alloc(n, 'a').toString();
  const parts = [];
  agent.answer = (req, res) => {
    req.socket.prependListener('data', (d) => parts.push(d)); // as it came, but for what came with the head
    req.resume().on('end', () => res.socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${bytes}0\r\n\r\n`));
  };
  const c = net.connect(s.port, '127.0.0.1');
  let got = '';
  c.on('data', (d) => { got += d.toString('latin1'); });
  c.write(`PUT ${where}/files?path=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${p.token}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${bytes}0\r\n\r\n`);
  await new Promise((r) => { c.on('close', r); });
  const pieces = (text) => { // of a body in chunks
    const out = [];
    for (let at = 0; ;) {
      const end = text.indexOf('\r\n', at), size = parseInt(text.slice(at, end), 16);
      if (!size) return out;
      out.push(text.slice(end + 2, end + 2 + size));
      at = end + 4 + size;
    }
  };
  const there = pieces(got.slice(got.indexOf('\r\n\r\n') + 4));
  assert.match(got, /^HTTP\/1\.1 200 /);
  assert.ok(there.join('') === content && there.length < most, `back: ${there.length} pieces`);
  assert.ok(Buffer.concat(parts).length < 2 * n, `there: ${Buffer.concat(parts).length} bytes`);
});

test('who does not answer in time is given up, and so is a body beyond its bound', async (t) => {
  const { s, p, agent, where } = await world(t, { proxy_idle_seconds: 1, proxy_body_bytes: 1000 });
  agent.answer = () => {};
  const r = await p.call('GET', `${where}/files?path=a`);
  assert.deepStrictEqual([r.status, r.body.code], [504, 'timeout']);
  agent.answer = (req, res) => { req.resume(); req.on('end', () => res.end('ok')); };
  for (const [n, status] of [[1000, 200], [1001, 413]]) {
    for (const headers of [{ 'Content-Length': n }, { 'Transfer-Encoding': 'chunked' }]) {
      assert.strictEqual((await raw(s, 'PUT', `${where}/files?path=a`, { ...bearer(p.token), ...headers }, Buffer.alloc(n))).status, status);
    }
  }
});

// What drips from a machine a byte at a time, for as long as somebody listens.
function drip(socket, first, again) {
  socket.write(first);
  const timer = setInterval(() => socket.write(again), 50);
  socket.on('error', () => {});
  socket.on('close', () => clearInterval(timer));
}

test('an answer whose head drips is given up in the time of a head, and one whose framing drips in that of silence', async (t) => {
  const { s, p, agent, where } = await world(t, { proxy_idle_seconds: 2, http_head_seconds: 1 });
  let open = 0;
  const asked = (first, again) => {
    agent.answer = (req) => {
      open += 1;
      req.socket.on('close', () => { open -= 1; });
      drip(req.socket, first, again);
    };
    return Date.now();
  };
  const heads = { 'a head': ['HTTP/1.1 200 OK\r\nX: ', 'x'], 'the first byte alone': ['H', ''], 'a head behind another': ['HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX: ', 'x'] };
  for (const [what, [first, again]] of Object.entries(heads)) {
    const began = asked(first, again);
    const r = await p.call('GET', `${where}/files?path=a`);
    assert.deepStrictEqual([r.status, r.body.code], [504, 'timeout'], `${what}: ${r.text}`);
    assert.ok(Date.now() - began < 2500, `${what}: ${Date.now() - began} ms`); // before two looks for silence could be over
  }
  for (const [what, first, again] of [['a size', '', '0'], ['a trailer', '1\r\nx\r\n0\r\nX: ', 'x']]) {
    asked(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${first}`, again);
    await assert.rejects(raw(s, 'GET', `${where}/files/read?path=a`, bearer(p.token)), undefined, `${what}: the client's connection is cut`);
  }
  await until(() => open === 0, 'no connection to the machine is left');
  // a body may come as slowly as it likes
  const began = Date.now();
  agent.answer = (_, res) => {
    let n = 0;
    const timer = setInterval(() => { res.write(`${n}`); if (++n === 8) { clearInterval(timer); res.end(); } }, 500);
  };
  assert.strictEqual((await raw(s, 'GET', `${where}/files/read?path=a`, bearer(p.token))).text, '01234567');
  assert.ok(Date.now() - began > 3000);
});

const GIB = 2 ** 30;
const PIECE = Buffer.alloc(1 << 20, 'x');

// Writes `n` bytes as the other side takes them.
async function pour(out, n) {
  for (let left = n; left > 0; left -= PIECE.length) {
    if (!out.write(left < PIECE.length ? PIECE.subarray(0, left) : PIECE)) await new Promise((r) => { out.once('drain', r); });
  }
  out.end();
}

test('a GiB up and a GiB down take no memory, with a length and in chunks', { timeout: 240000 }, async (t) => {
  const { s, p, agent, where } = await world(t);
  let took = 0;
  agent.answer = async (req, res) => {
    if (req.method === 'PUT') {
      req.on('data', (d) => { took += d.length; });
      req.on('end', () => res.end('taken'));
    } else {
      if (req.url.endsWith('sized')) res.writeHead(200, { 'Content-Length': GIB });
      await pour(res, GIB);
    }
  };
  const before = memory(s);
  let most = before;
  const watch = setInterval(() => { most = Math.max(most, memory(s)); }, 50);
  for (const headers of [{ 'Content-Length': GIB }, { 'Transfer-Encoding': 'chunked' }]) {
    took = 0;
    const answer = new Promise((resolve, reject) => {
      const req = http.request({ host: '127.0.0.1', port: s.port, method: 'PUT', path: `${where}/files?path=a`, headers: { ...bearer(p.token), ...headers }, agent: false },
        (res) => { res.resume(); res.on('end', () => resolve(res.statusCode)); });
      req.on('error', reject);
      pour(req, GIB);
    });
    assert.deepStrictEqual([await answer, took], [200, GIB]);
  }
  for (const kind of ['sized', 'chunked']) {
    let got = 0;
    const length = await new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: s.port, path: `${where}/files/download?path=${kind}`, headers: bearer(p.token), agent: false }, (res) => {
        res.on('data', (d) => { got += d.length; });
        res.on('error', reject);
        res.on('end', () => resolve(res.headers['content-length']));
      }).on('error', reject);
    });
    assert.deepStrictEqual([got, length], [GIB, kind === 'sized' ? String(GIB) : undefined]);
  }
  clearInterval(watch);
  t.diagnostic(`MiB before ${before.toFixed(1)}, at most ${most.toFixed(1)}`);
  assert.ok(process.env.V === 'asan' || most - before < 16, `${before} -> ${most} MiB`); // what is freed stays, there
});

test('a reader that does not read, and a machine that does not take, stop the other side', async (t) => {
  const { s, p, agent, where } = await world(t, { proxy_idle_seconds: 3 });
  let wrote = 0;
  agent.answer = (req, res) => {
    const more = () => { while (res.write(PIECE)) wrote += PIECE.length; wrote += PIECE.length; };
    res.on('drain', more);
    more();
  };
  const before = memory(s);
  const c = net.connect(s.port, '127.0.0.1');
  c.on('error', () => {});
  c.write(`GET ${where}/files/download?path=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${p.token}\r\n\r\n`);
  c.pause();
  let seen = -1;
  await until(async () => { // it has stopped: nothing more within some turns
    const now = wrote;
    await p.call('GET', '/auth/me');
    const still = now === seen && now > 0;
    seen = now;
    return still;
  }, 'the machine is held up');
  assert.ok(process.env.V === 'asan' || memory(s) - before < 4, `${before} -> ${memory(s)}`);
  c.destroy();
  await until(() => agent.sockets.size === 0, 'the machine hears that he has gone');
  // and the other way: the body is not read further than the machine takes it
  agent.answer = (req) => req.pause();
  const up = http.request({ host: '127.0.0.1', port: s.port, method: 'PUT', path: `${where}/files?path=a`, headers: { ...bearer(p.token), 'Content-Length': GIB }, agent: false });
  const gaveUp = new Promise((r) => { up.on('response', (res) => r(res.resume().statusCode)); });
  up.on('error', () => {});
  let sent = 0;
  const more = () => { while (up.write(PIECE)) sent += PIECE.length; };
  up.on('drain', more);
  more();
  seen = -1;
  await until(async () => {
    const now = sent;
    await p.call('GET', '/auth/me');
    const still = now === seen;
    seen = now;
    return still;
  }, 'the client is held up');
  assert.ok(sent < 64 << 20, `${sent}`);
  assert.ok(process.env.V === 'asan' || memory(s) - before < 4, `${before} -> ${memory(s)}`);
  assert.strictEqual(await gaveUp, 504); // the machine takes nothing
  up.destroy();
});

test('what is passed on ends with the credential, and with the machine', async (t) => {
  const { s, p, m, agent, where } = await world(t);
  agent.answer = (req, res) => { res.writeHead(200, { 'Content-Type': 'text/event-stream' }); res.write('data: 1\n\n'); };
  const stream = () => new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port: s.port, path: `${where}/projects`, headers: bearer(p.token), agent: false }, (res) => {
      res.once('data', () => resolve(new Promise((ended) => { res.on('error', () => ended('cut')); res.on('end', () => ended('end')); })));
      res.on('error', () => {});
    }).on('error', reject);
  });
  // in an object: a promise would be waited for
  const first = { ends: null };
  await new Promise((ready) => { stream().then((r) => { first.ends = r; }); until(() => agent.asked.length === 1, 'it is asked').then(ready); });
  assert.strictEqual((await p.call('POST', '/auth/logout')).status, 204);
  await until(() => agent.sockets.size === 0, 'the stream is cut');
  const again = await person(s, 'p@example.org');
  p.token = again.token;
  stream();
  await until(() => agent.sockets.size > 0, 'it is asked');
  assert.strictEqual((await again.call('POST', `/instances/${m.id}/stop?wait=30`)).status, 200);
  await until(() => agent.sockets.size === 0, 'the stream is cut');
});

test('WebSockets are pinged both ways, and a dead peer ends', async (t) => {
  const { s, p, agent, where } = await world(t, { proxy_ping_seconds: 1 });
  let pings = 0;
  let ended = 0;
  agent.socket = (ws) => { ws.on('ping', () => { pings++; }); ws.on('close', () => { ended++; }); };
  const c = await socket(s, `${where}/chat`, bearer(p.token));
  let pinged = 0;
  c.ws.on('ping', () => { pinged++; });
  await until(() => pings >= 5 && pinged >= 5, 'pings; they are answered, so it lives');
  assert.strictEqual(c.ws.readyState, WebSocket.OPEN);
  c.ws._socket.pause(); // the laptop sleeps: its kernel answers, its browser does not
  await until(() => ended === 1, 'the machine hears of its end');
  c.ws.terminate();
});

// ---- waking

const starts = (ledger) => fs.readFileSync(ledger, 'utf8').trim().split('\n').map((l) => JSON.parse(l)).filter((l) => l.op === 'start').length;

test('64 connections to a machine that is stopped start it once, are held, and see how it goes', { timeout: 120000 }, async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const ledger = path.join(dir, 'ledger');
  const { s, p, m, where } = await world(t, {}, `,ledger="${ledger}",start={latency_ms=1500}`);
  assert.strictEqual((await p.call('POST', `/instances/${m.id}/pause?wait=30`)).status, 200);
  const declined = await p.call('GET', `${where}/files?path=a&wake=false`);
  assert.deepStrictEqual([declined.status, declined.body.code, declined.body.status], [409, 'state', 'STOPPED']);
  await assert.rejects(socket(s, `${where}/terminal?wake=false`, bearer(p.token), ['tty']), { status: 409 });
  assert.strictEqual(starts(ledger), 0);
  const one = async (i) => {
    if (i % 2) {
      const r = await raw(s, 'GET', `${where}/files?path=${i}`, bearer(p.token));
      return assert.strictEqual(r.status, 200, r.text);
    }
    const c = await socket(s, `${where}/terminal`, bearer(p.token), ['tty']);
    assert.strictEqual(c.ws.protocol, 'tty');
    c.ws.send(`{"columns":80,"n":${i}}`); // before there is a machine; it is not lost
    await until(() => c.messages.includes(`{"columns":80,"n":${i}}`), 'the machine answers', 60);
    assert.match(c.messages.join(''), /0\r\x1b\[2Kthe machine is starting \(\d+ s\)/);
    c.ws.close();
    return c.closed;
  };
  await Promise.all(Array.from({ length: 64 }, (_, i) => one(i)));
  assert.strictEqual(starts(ledger), 1);
});

test('whoever may not wake it is told why: as a status, and as the end of a WebSocket', async (t) => {
  const { s, p, m, where } = await world(t, { policies_dir: path.join(__dirname, 'policies', '..', '..', 'lib', 'policies') });
  const reader = await apiToken(p, ['instances:connect', 'account:read']);
  assert.strictEqual((await p.call('POST', `/instances/${m.id}/pause?wait=30`)).status, 200);
  const r = await as(s, bearer(reader.token), 'GET', `${where}/files?path=a`);
  assert.deepStrictEqual([r.status, r.body.code], [403, 'denied']);
  const c = await socket(s, `${where}/terminal`, bearer(reader.token), ['tty']);
  const end = await c.closed;
  assert.strictEqual(end.code, 1008);
  assert.match(end.reason, /lacks the scope 'instances:write'/);
  assert.match(c.messages.join(''), /lacks the scope/);
  const ticket = (await as(s, bearer(reader.token), 'POST', `/instances/${m.id}/ticket`)).body.ticket;
  assert.strictEqual((await (await socket(s, `${where}/chat?token=${ticket}`)).closed).code, 1008);
  assert.strictEqual((await p.call('GET', where)).body.status, 'STOPPED');
});

test('the plan forbids it: the sentence of the policy, the same as POST /wake has', async (t) => {
  const policies = temp();
  t.after(() => fs.rmSync(policies, { recursive: true }));
  fs.cpSync(path.join(__dirname, '..', 'lib', 'policies'), policies, { recursive: true });
  fs.writeFileSync(path.join(policies, 'access.lua'), `
    local P = { kind = "access", name = "none", version = 1 }
    function P.signup() return "allow", "yes" end
    function P.create() return "allow", "yes" end
    function P.wake() return "deny", "your hours of this month are used up" end
    function P.volume() return "allow", "yes" end
    function P.limit() return 0, 0, "no limit" end
    function P.mails() return 0, "no limit" end
    return P`);
  const { s, p, m, where } = await world(t, { policies_dir: policies });
  assert.strictEqual((await p.call('POST', `/instances/${m.id}/pause?wait=30`)).status, 200);
  const woken = await p.call('POST', `/instances/${m.id}/wake`);
  const r = await p.call('GET', `${where}/files?path=a`);
  assert.deepStrictEqual([r.status, r.body.error], [403, 'your hours of this month are used up']);
  assert.deepStrictEqual([woken.status, woken.body.error], [r.status, r.body.error]);
  const c = await socket(s, `${where}/terminal`, bearer(p.token), ['tty']);
  assert.deepStrictEqual(await c.closed, { code: 1008, reason: 'your hours of this month are used up' });
  const page = await raw(s, 'GET', `${where}/ports/80/`, { ...bearer(p.token), Accept: 'text/html' });
  assert.deepStrictEqual([page.status, /used up/.test(page.text)], [403, true]);
});

test('an agent that never answers is waited for only so long; a failed start is told', async (t) => {
  const { p, m, where } = await world(t, { wake_seconds: 2 }, ',start={fail=100,code="invalid"}');
  assert.strictEqual((await p.call('POST', `/instances/${m.id}/pause?wait=30`)).status, 200);
  const r = await p.call('GET', `${where}/files?path=a`);
  assert.deepStrictEqual([r.status, r.body.code], [502, 'failed'], r.text);
  const other = await world(t, { wake_seconds: 1 });
  assert.strictEqual((await other.p.call('POST', `/instances/${other.m.id}/pause?wait=30`)).status, 200);
  other.agent.health = `{"status":"ok","more":"${'x'.repeat(1e6)}"}`; // no answer of an agent
  const long = await other.p.call('GET', `${other.where}/files?path=a`);
  assert.deepStrictEqual([long.status, long.body.code, long.body.status], [504, 'timeout', 'RUNNING'], long.text);
  assert.strictEqual((await other.p.call('POST', `/instances/${other.m.id}/pause?wait=30`)).status, 200);
  await other.agent.stop();
  const late = await other.p.call('GET', `${other.where}/files?path=a`);
  assert.deepStrictEqual([late.status, late.body.code, late.body.status], [504, 'timeout', 'RUNNING'], late.text);
});
