// Ports of machines through us: for their owner, and by links; what comes from there is foreign, and is kept from our origin.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const WebSocket = require('ws');
const { Agent } = require('../lib/agent.js');
const { until, temp, Server } = require('../lib/cchost.js');
const { start, person, apiToken, as, bearer } = require('./people.js');
const { raw, socket } = require('./wire.js');

// What a user serves on his machine: it answers what it was asked.
async function app(t, answer) {
  const server = http.createServer(answer || ((req, res) => {
    let body = '';
    req.on('data', (d) => { body += d; });
    req.on('end', () => { res.setHeader('Content-Type', 'application/json'); res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body })); });
  }));
  const sockets = new WebSocket.WebSocketServer({ server });
  sockets.on('connection', (ws, req) => { ws.send(req.url); ws.on('message', (d, binary) => ws.send(d, { binary })); });
  await new Promise((r) => { server.listen(0, '127.0.0.1', r); });
  t.after(() => { server.closeAllConnections(); for (const c of sockets.clients) c.terminate(); server.close(); });
  server.sockets = sockets;
  return server;
}

async function world(t, settings = {}, answer = undefined, mock = '') {
  const dir = temp();
  const agent = await Agent.start(dir);
  const s = await start({ mock: `{endpoint="${agent.path}"${mock}}`, ...settings });
  t.after(async () => {
    await s.stop();
    await agent.stop();
    fs.rmSync(dir, { recursive: true });
  });
  const p = await person(s, 'p@example.org');
  const m = (await p.call('POST', '/instances?wait=30', {})).body;
  const server = await app(t, answer);
  const { port } = server.address();
  return { s, p, m, agent, server, port, where: `/instances/${m.id}/ports/${port}` };
}

test('a request is there as it was asked here, without what is ours', async (t) => {
  const { s, p, m, port, where } = await world(t);
  const r = await raw(s, 'PATCH', `${where}/a%2Fb//c/?x=1&token=its&wake=true&y=%20`, {
    ...bearer(p.token), Cookie: `a=1; session=${p.token}; b=2`, 'X-API-Key': s.key, 'If-Match': 'W/"x"', Origin: s.url, 'X-Forwarded-For': '6.6.6.6',
  }, 'body');
  assert.strictEqual(r.status, 200, r.text);
  const { method, url, headers, body } = r.body;
  assert.deepStrictEqual([method, url, body], ['PATCH', '/a%2Fb//c/?x=1&token=its&y=%20', 'body']);
  assert.deepStrictEqual([headers.host, headers.cookie, headers.authorization, headers['x-api-key'], headers['if-match'], headers.origin],
    [`localhost:${port}`, 'a=1; b=2', undefined, undefined, 'W/"x"', `http://localhost:${port}`]);
  assert.deepStrictEqual([headers['x-forwarded-for'], headers['x-forwarded-proto'], headers['x-forwarded-host'], headers['x-forwarded-prefix']],
    ['127.0.0.1', 'http', `127.0.0.1:${s.port}`, where]);
  for (const method2 of ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD']) {
    const one = await raw(s, method2, `${where}/m`, bearer(p.token));
    assert.strictEqual(one.status, 200, method2);
    if (method2 !== 'HEAD') assert.strictEqual(one.body.method, method2);
  }
  const bare = await raw(s, 'GET', `${where}?x=1`, bearer(p.token));
  assert.deepStrictEqual([bare.status, bare.headers.location], [308, `${where}/?x=1`]);
  for (const bad of ['0', '65536', 'x', '080']) assert.strictEqual((await raw(s, 'GET', `/instances/${m.id}/ports/${bad}/`, bearer(p.token))).status, 400, bad);
});

test('whose it is not sees nothing of it', async (t) => {
  const { s, where } = await world(t);
  const other = await person(s, 'other@example.org');
  assert.strictEqual((await raw(s, 'GET', `${where}/`, bearer(other.token))).status, 404);
  assert.strictEqual((await raw(s, 'GET', `${where}/`)).status, 401);
  await assert.rejects(socket(s, `${where}/`, bearer(other.token)), { status: 404 });
  for (const method of ['GET', 'POST', 'DELETE']) assert.strictEqual((await other.call(method, `${where}/link`, method === 'POST' ? {} : undefined)).status, 404);
});

test('an answer is kept from our origin: no session, no page of ours, no word for all of it', async (t) => {
  const { s, p, port, where } = await world(t, {}, (req, res) => {
    if (req.url.startsWith('/to?')) return res.writeHead(302, { Location: decodeURIComponent(req.url.slice(4)) }).end();
    return res.writeHead(200, {
      'Set-Cookie': ['session=stolen; Path=/', 'own=1; Path=/x'], 'Clear-Site-Data': '"*"', 'Strict-Transport-Security': 'max-age=1', 'Service-Worker-Allowed': '/',
      'Alt-Svc': 'h2="evil:1"', 'Report-To': '{}', NEL: '{}', 'Content-Security-Policy': "default-src 'self'", 'Content-Type': 'text/html', 'X-Own': '1',
    }).end('<script>1</script>');
  });
  const r = await raw(s, 'GET', `${where}/`, bearer(p.token));
  assert.deepStrictEqual(r.headers['set-cookie'], [`own=1; Path=${where}/x`]);
  for (const name of ['clear-site-data', 'strict-transport-security', 'service-worker-allowed', 'alt-svc', 'report-to', 'nel']) assert.strictEqual(r.headers[name], undefined, name);
  const csp = r.headers['content-security-policy']; // both: a browser heeds each
  assert.match(csp, /default-src 'self'/);
  assert.match(csp, /sandbox [a-z -]*allow-scripts/);
  assert.ok(!csp.includes('allow-same-origin') && !csp.includes('allow-top-navigation'));
  assert.strictEqual(r.headers['x-own'], '1');
  const to = async (l) => (await raw(s, 'GET', `${where}/to?${encodeURIComponent(l)}`, bearer(p.token))).headers.location;
  for (const [l, want] of [['/login', `${where}/login`], [`${where}/x`, `${where}/x`], ['next', 'next'], [`http://localhost:${port}/a?b`, `${where}/a?b`],
    [`https://127.0.0.1:${port}`, `${where}/`], ['http://localhost:1/', 'http://localhost:1/'], ['https://example.org/', 'https://example.org/'], ['//evil/x', '//evil/x']]) {
    assert.strictEqual(await to(l), want, l);
  }
});

// What a browser shows, keeps or renews of an answer: there is none of a machine that it would take for a page of ours.
test('every answer of a port is in the sandbox, whatever its status, its method and its own policy', async (t) => {
  const own = ['sandbox allow-same-origin allow-scripts allow-top-navigation', 'sandbox'];
  const { s, p, where } = await world(t, {}, (req, res) => {
    const status = Number(req.url.slice(1)) || 200;
    res.writeHead(status, { 'Content-Type': 'text/html', 'Content-Security-Policy': own, ETag: '"1"', 'Set-Login': 'logged-in', 'Sec-Session-Registration': '(ES256)',
      'Secure-Session-Registration': '(ES256)', 'Use-As-Dictionary': 'match="/*"', 'Set-Cookie': 'session=stolen', ...(status === 302 ? { Location: '/dashboard' } : {}) });
    res.end(status === 204 || status === 304 || req.method === 'HEAD' ? undefined : '<script>1</script>');
  });
  const at = new URL((await p.call('POST', `${where}/link`, {})).body.url).pathname.slice(0, -1);
  for (const [prefix, headers] of [[where, bearer(p.token)], [at, {}]]) {
    for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
      for (const status of [200, 201, 204, 206, 302, 304, 400, 401, 404, 500, 503]) {
        const r = await raw(s, method, `${prefix}/${status}`, { ...headers, 'If-None-Match': '"1"' });
        const what = `${method} ${prefix}/${status}`;
        assert.strictEqual(r.status, status, what);
        assert.match(r.headers['content-security-policy'], /^sandbox allow-same-origin allow-scripts allow-top-navigation, sandbox, sandbox allow-downloads allow-forms allow-modals allow-pointer-lock allow-popups allow-scripts$/, what);
        for (const name of ['set-cookie', 'set-login', 'sec-session-registration', 'secure-session-registration', 'use-as-dictionary']) assert.strictEqual(r.headers[name], undefined, `${name}: ${what}`);
      }
    }
    // what is ours there is no page, or one without scripts
    for (const [r, status] of [[await raw(s, 'GET', `${prefix}/sw.js`, { ...headers, 'Service-Worker': 'script' }), 403], [await raw(s, 'GET', `${prefix.replace(/\d+$/, '1').replace(/^\/preview.*/, '/preview/x')}/`, { ...headers, Accept: 'text/html' }), prefix === at ? 404 : 502]]) {
      assert.deepStrictEqual([r.status, r.headers['x-content-type-options'], /script-src|unsafe-inline/.test(r.headers['content-security-policy'] || '')], [status, 'nosniff', false], r.text);
      assert.match(r.headers['content-type'], /^application\/json/);
    }
  }
});

// A cookie of another's machine at our origin could sign its reader in as somebody else, or be so large that nothing is answered.
test('a cookie that a port sets is for that port alone: its path, its host, and never ours', async (t) => {
  const set = ['=session=stolen', 'session=stolen', ' session =stolen', 'session', '', 'a=1; path=/; PATH=/x; Secure', 'b=2; Domain=example.org; HttpOnly', 'c=3', 'd=4; Path=relative', 'e="x=;'];
  let more = [];
  const { s, p, where } = await world(t, {}, (req, res) => res.writeHead(200, { 'Set-Cookie': [...set, ...more] }).end());
  const cookies = async (at, headers) => (await raw(s, 'GET', at, headers)).headers['set-cookie'];
  const kept = (prefix) => [`a=1; Secure; Path=${prefix}/x`, 'b=2; HttpOnly', 'c=3', 'd=4', 'e="x='];
  assert.deepStrictEqual(await cookies(`${where}/`, bearer(p.token)), kept(where));
  const at = new URL((await p.call('POST', `${where}/link`, {})).body.url).pathname.slice(0, -1);
  more = [`f=5; Path=${at}/y`, `g=6; Path=${at}y`, `h=7; Path=${at}`];
  assert.deepStrictEqual(await cookies(`${at}/`), [...kept(at), `f=5; Path=${at}/y`, `g=6; Path=${at}${at}y`, `h=7; Path=${at}`]);
});

test('a WebSocket goes through, and what passes is no typing', async (t) => {
  const { s, p, where } = await world(t);
  const c = await socket(s, `${where}/hmr?token=its`, bearer(p.token));
  c.ws.send('0typed');
  await until(() => c.messages.length === 2, 'an answer');
  assert.deepStrictEqual(c.messages, ['/hmr?token=its', '0typed']);
  c.ws.close(4000, 'bye');
  assert.strictEqual((await c.closed).code, 4000);
});

test('nothing listens: 502 with a sentence, and 1011', async (t) => {
  const { s, p, m } = await world(t);
  const r = await raw(s, 'GET', `/instances/${m.id}/ports/1/`, bearer(p.token));
  assert.deepStrictEqual([r.status, r.body], [502, { error: 'nothing answers at port 1 of the machine', code: 'unavailable' }]);
  assert.deepStrictEqual(await (await socket(s, `/instances/${m.id}/ports/1/`, bearer(p.token))).closed,
    { code: 1011, reason: 'nothing answers at port 1 of the machine' });
});

test('a server that says as many headers as it may is answered, one that says more, or nonsense, is told of', async (t) => {
  const { s, p, m } = await world(t);
  let head = '';
  const server = net.createServer((c) => { c.on('error', () => {}); c.once('data', () => c.end(`${head}\r\n\r\nhi`)); });
  await new Promise((r) => { server.listen(0, '127.0.0.1', r); });
  t.after(() => server.close());
  const where = `/instances/${m.id}/ports/${server.address().port}`;
  const at = new URL((await p.call('POST', `${where}/link`, {})).body.url).pathname;
  const many = (n) => ['HTTP/1.1 200 OK', ...Array.from({ length: n }, (_, i) => `X-${i}: y`)].join('\r\n');
  head = many(100);
  for (const r of [await raw(s, 'GET', `${where}/`, bearer(p.token)), await raw(s, 'GET', at)]) assert.deepStrictEqual([r.status, r.text, r.headers['x-99'], /sandbox/.test(r.headers['content-security-policy'])], [200, 'hi', 'y', true]);
  for (head of [many(101), 'hello']) {
    const r = await raw(s, 'GET', at);
    assert.deepStrictEqual([r.status, r.body.error], [502, "the machine's answer is malformed"]);
  }
});

test('a link gives that port of that machine, to whoever has it, until it is revoked', async (t) => {
  const { s, p, m, port, where, agent } = await world(t);
  const made = await p.call('POST', `${where}/link`, { hours: 1 });
  assert.strictEqual(made.status, 201, made.text);
  const left = Date.parse(made.body.expires_at) - Date.now();
  assert.ok(left > 3590e3 && left <= 3600e3, made.body.expires_at);
  assert.deepStrictEqual((await p.call('GET', `${where}/link`)).body, [made.body]);
  const at = new URL(made.body.url).pathname;
  assert.match(at, /^\/preview\/[0-9a-f]{56}\/$/);
  const r = await raw(s, 'GET', `${at}a?token=its`, { Cookie: `session=${p.token}; own=1`, Authorization: 'Basic its' });
  assert.strictEqual(r.status, 200, r.text);
  assert.deepStrictEqual([r.body.url, r.body.headers.cookie, r.body.headers['x-forwarded-prefix']], ['/a?token=its', 'own=1', at.slice(0, -1)]);
  assert.ok(!r.text.includes(p.token));
  assert.match(r.headers['content-security-policy'], /sandbox/);
  assert.strictEqual((await raw(s, 'GET', at.slice(0, -1))).headers.location, at);
  assert.strictEqual((await raw(s, 'POST', `${at}x`, { Origin: 'https://elsewhere.example' }, 'b')).body.headers.origin, 'https://elsewhere.example');
  // what its page fetches: without an origin all is another's, so it is let
  assert.strictEqual(r.headers['access-control-allow-origin'], '*');
  const first = await raw(s, 'OPTIONS', `${at}x`, { Origin: 'null', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' });
  assert.deepStrictEqual([first.status, first.headers['access-control-allow-origin'], first.headers['access-control-allow-headers']], [204, '*', 'content-type']);
  assert.strictEqual((await raw(s, 'GET', `${where}/`, bearer(p.token))).headers['access-control-allow-origin'], undefined);
  // nothing else: another digit, another link's sign, another place beneath it
  const other = (await p.call('POST', `/instances/${m.id}/ports/1/link`, {})).body;
  const token = at.split('/')[2];
  const foreign = token.slice(0, 16) + new URL(other.url).pathname.split('/')[2].slice(16);
  for (const bad of [token.slice(0, -1) + (token.endsWith('0') ? '1' : '0'), foreign, token.slice(0, 16), `${token}0`, 'x'.repeat(56)]) {
    const no = await raw(s, 'GET', `/preview/${bad}/`);
    assert.deepStrictEqual([no.status, no.body.code], [404, 'not_found'], bad);
  }
  assert.strictEqual((await raw(s, 'GET', `/preview/${token.toUpperCase()}/`)).status, 200); // hosts have no case
  // revoked: at once, and what is open by it ends
  const c = await socket(s, `${at}ws`);
  assert.strictEqual((await p.call('DELETE', `${where}/link?id=${made.body.id}`)).status, 204);
  assert.deepStrictEqual(await c.closed, { code: 1008, reason: 'the link was revoked' });
  assert.strictEqual((await raw(s, 'GET', at)).status, 404);
  assert.deepStrictEqual((await p.call('GET', `${where}/link`)).body, []);
  assert.strictEqual((await p.call('DELETE', `${where}/link?id=${made.body.id}`)).status, 404);
  assert.ok(agent.asked.some((a) => a.url === `/ports/${port}`));
  const log = (await p.call('GET', '/auth/export')).text || '';
  assert.ok(!log.includes(token.slice(16)));
});

test('a link ends with its time, its machine and its maker', async (t) => {
  const { s, p, m, where } = await world(t);
  const link = async () => new URL((await p.call('POST', `${where}/link`, {})).body.url).pathname;
  const one = await link();
  assert.strictEqual((await raw(s, 'GET', one)).status, 200);
  assert.strictEqual((await s.call('POST', `/users/${p.id}/suspend`)).status, 200);
  assert.strictEqual((await raw(s, 'GET', one)).status, 404);
  assert.strictEqual((await s.call('POST', `/users/${p.id}/resume`)).status, 200);
  assert.strictEqual((await raw(s, 'GET', one)).status, 200);
  assert.strictEqual((await s.call('DELETE', `/instances/${m.id}?wait=30`)).status, 200);
  assert.strictEqual((await raw(s, 'GET', one)).status, 404);
  for (const hours of [0, 721, 'x']) assert.strictEqual((await p.call('POST', `${where}/link`, { hours })).status === 201, false, hours);
});

test('a link wakes its machine only when its maker said so; a browser sees a page meanwhile', async (t) => {
  const { s, p, m, where } = await world(t, {}, undefined, ',start={latency_ms=500}');
  const url = async (body) => new URL((await p.call('POST', `${where}/link`, body)).body.url).pathname;
  const plain = await url({});
  const waking = await url({ wake: true });
  const scoped = await apiToken(p, ['instances:connect']);
  assert.strictEqual((await as(s, bearer(scoped.token), 'POST', `${where}/link`, { wake: true })).status, 403);
  assert.strictEqual((await p.call('POST', `/instances/${m.id}/pause?wait=30`)).status, 200);
  const no = await raw(s, 'GET', plain, { Accept: 'text/html' });
  assert.deepStrictEqual([no.status, no.body.code], [409, 'state']);
  // a page elsewhere that leads a signed-in reader here starts nothing
  const lured = await raw(s, 'GET', `${where}/`, { Cookie: `session=${p.token}`, Accept: 'text/html', 'Sec-Fetch-Site': 'cross-site' });
  assert.strictEqual(lured.status, 409);
  assert.strictEqual((await p.call('GET', `/instances/${m.id}`)).body.status, 'STOPPED');
  const page = await raw(s, 'GET', waking, { Accept: 'text/html,*/*' });
  assert.deepStrictEqual([page.status, page.headers.refresh, page.headers['retry-after']], [503, '2', '2']);
  assert.match(page.text, /The machine is starting/);
  assert.strictEqual((await raw(s, 'GET', waking)).status, 200); // held
  assert.strictEqual((await raw(s, 'GET', plain)).status, 200);
});

test('PREVIEW_URL: each link is a host, with nothing of ours and without a sandbox', async (t) => {
  const { s, p, where, server } = await world(t, { preview_url: 'http://previews.example:8443' });
  const { url } = (await p.call('POST', `${where}/link`, {})).body;
  const { host } = new URL(url);
  assert.match(host, /^[0-9a-f]{56}\.previews\.example:8443$/);
  const r = await raw(s, 'GET', '/instances?x=1', { Host: host, ...bearer('its-own') });
  assert.deepStrictEqual([r.status, r.body.url, r.body.headers['x-forwarded-prefix'], r.headers['content-security-policy']], [200, '/instances?x=1', undefined, undefined]);
  assert.strictEqual(r.body.headers['x-forwarded-host'], host);
  server.prependListener('request', (_, res) => { res.setHeader('Set-Cookie', ['a=1; Domain=previews.example; Path=/x', '=session=stolen']); });
  assert.deepStrictEqual((await raw(s, 'GET', '/', { Host: host })).headers['set-cookie'], ['a=1; Path=/x'], 'at no other link\'s host');
  const token = host.split('.')[0];
  assert.strictEqual((await raw(s, 'GET', `/preview/${token}/`, bearer(p.token))).status, 404);
  assert.strictEqual((await raw(s, 'GET', '/healthz', { Host: `${'0'.repeat(56)}.previews.example:8443` })).status, 404);
  assert.strictEqual((await raw(s, 'GET', '/healthz', { Host: 'previews.example:8443' })).status, 200);
  const ws = await socket(s, '/ws', { Host: host, Origin: `http://${host}` });
  ws.ws.close();
  await ws.closed;
});

test('a real machine: what listens on it is listed, and reached by HTTP and WebSocket; a refused port is told', { timeout: 60000 }, async (t) => {
  const s = await Server.start({ terminal_command: 'exec sh' });
  t.after(() => s.stop());
  const p = await person(s, 'p@example.org');
  const m = (await p.call('POST', '/instances?wait=30', { network: 'none' })).body;
  assert.strictEqual(m.status, 'RUNNING', JSON.stringify(m));
  const at = `/instances/${m.id}/ports`;
  assert.deepStrictEqual((await p.call('GET', at)).body, []);
  for (const [listen, port] of [['127.0.0.1', 8001], ['::1', 8002]]) {
    const code = `import http.server,socket,os
class S(http.server.ThreadingHTTPServer):
  address_family=socket.${listen === '::1' ? 'AF_INET6' : 'AF_INET'}
class H(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    self.send_response(200); self.end_headers(); self.wfile.write(('here is '+self.path).encode())
if os.fork()==0:
  os.setsid()
  for fd in (0,1,2): os.dup2(os.open('/dev/null',os.O_RDWR),fd)
  S(('${listen}',${port}),H).serve_forever()`;
    const r = await p.call('POST', `/instances/${m.id}/exec`, { cmd: ['python3', '-c', code] });
    assert.deepStrictEqual([r.status, r.body.exit], [200, 0], r.text);
  }
  await until(async () => (await p.call('GET', at)).body.length === 2, 'both listen');
  const list = (await p.call('GET', at)).body;
  assert.deepStrictEqual(list.map((l) => [l.port, l.loopback, /^python/.test(l.process)]), [[8001, true, true], [8002, true, true]]);
  for (const port of [8001, 8002]) assert.strictEqual((await raw(s, 'GET', `${at}/${port}/x?y`, bearer(p.token))).text, 'here is /x?y');
  assert.strictEqual((await raw(s, 'GET', `${at}/8003/`, bearer(p.token))).status, 502);
});
