// With `node --require ./tests/openapi/through.js`: every request of a test goes through a third-party proxy (the kit's prism) that
// holds the answer to the description of the API. An answer that departs from it fails the test that asked, and the whole file where
// that does not mind.
//
// One prism serves all servers of a test file: behind it a relay takes each request to the server that it is for. What is wrong in a
// request is no matter here: tests send wrong ones on purpose. What does not ask by Server.call goes straight: WebSockets and streams,
// programs of ours that a test runs, and the clients of e2e/upgrade, which are about connections that outlive their server.
// OPENAPI names another description.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const kit = require('../lib/kit.js');
const { Server, binary, until, temp } = require('../lib/cchost.js');

const TO = 'x-relay-port';
const SENT = 'x-relay-text'; // what the server itself said, as prism writes JSON anew
const agent = new http.Agent({ keepAlive: false, maxSockets: 200 }); // a kept one may end just as it is asked again

const listening = (server) => new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(server.address().port)); });

async function freePort() {
  const s = net.createServer();
  const port = await listening(s);
  await new Promise((r) => { s.close(r); });
  return port;
}

const answers = new Map(); // of the servers themselves, until who asked has them
let count = 0;

// What a server says goes on as it came; of one that ends before it has said all nothing does.
function relay(req, res) {
  const { [TO]: port, [SENT]: id, ...headers } = req.headers;
  const cut = (e) => {
    answers.set(id, { cut: e.message });
    res.destroy();
  };
  const up = http.request({ host: '127.0.0.1', port, method: req.method, path: req.url, headers, agent }, (from) => {
    const parts = [];
    from.on('data', (d) => parts.push(d));
    from.on('error', cut);
    from.on('end', () => {
      const body = Buffer.concat(parts);
      answers.set(id, { status: from.statusCode, headers: from.headers, body });
      const { 'transfer-encoding': _, connection: __, 'keep-alive': ___, ...rest } = from.headers;
      if (from.statusCode === 204) delete rest['content-type']; // prism announces the two bytes of "" with one, which do not come
      res.writeHead(from.statusCode, { ...rest, ...(req.method !== 'HEAD' && from.statusCode !== 304 && from.statusCode !== 204 && { 'content-length': body.length }) });
      res.end(body);
    });
  });
  up.on('error', cut);
  req.pipe(up);
}

let started;

async function start() {
  const back = http.createServer(relay);
  back.unref();
  back.keepAliveTimeout = 0; // prism keeps its own
  const upstream = await listening(back);
  const port = await freePort();
  const dir = temp();
  const file = process.env.OPENAPI || path.join(dir, 'openapi.json');
  if (!process.env.OPENAPI) fs.writeFileSync(file, spawnSync(binary, ['openapi'], { maxBuffer: 1 << 24 }).stdout);
  const cli = path.join(kit.modules('prism'), '@stoplight', 'prism-cli', 'dist', 'index.js');
  const child = spawn(process.execPath, [cli, 'proxy', file, `http://127.0.0.1:${upstream}`, '--host', '127.0.0.1', '--port', String(port), '--validateRequest=false'],
    { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const out of [child.stdout, child.stderr]) { out.on('data', (d) => { log += d; }); out.unref(); }
  child.unref();
  process.on('exit', () => { child.kill('SIGKILL'); fs.rmSync(dir, { recursive: true, force: true }); });
  await until(() => {
    if (child.exitCode !== null) throw new Error(`prism ended:\n${log}`);
    return /listening/i.test(log);
  }, () => `prism listens:\n${log}`, 60);
  return port;
}

const straight = Server.prototype.call;
const tally = { judged: 0, unknown: 0, departed: 0 };

// Told at once, for a test may well catch what it is thrown, and at the end by the exit code.
function departs(what) {
  tally.departed += 1;
  process.stdout.write(`not ok - departs from the description: ${what.replaceAll('\n', '\n# ')}\n`);
  return new Error(what);
}

process.on('exit', () => {
  process.stdout.write(`# answers held to the description: ${tally.judged}; of no route in it: ${tally.unknown}; departing: ${tally.departed}\n`);
  if (tally.judged === 0) process.stdout.write('not ok - no answer was held to the description\n');
  if (tally.judged === 0 || tally.departed > 0) process.exitCode = 1;
});

Server.prototype.call = async function through(method, where, body, headers = {}) {
  if (this.scheme !== 'http') return straight.call(this, method, where, body, headers);
  started ??= start();
  const port = await started;
  const id = `${process.pid}-${++count}`;
  const proxied = Object.assign(Object.create(Object.getPrototypeOf(this)), { key: this.key, scheme: 'http', port, agent });
  const r = await straight.call(proxied, method, where, body, { ...headers, [TO]: this.port, [SENT]: id });
  const own = answers.get(id);
  answers.delete(id);
  const what = `${method} ${where}`;
  if (own?.cut) throw new Error(`${what}: ${own.cut}`); // as without a proxy
  if (!own) throw departs(`${what}: the proxy did not ask: ${r.status} ${r.text.slice(0, 500)}`);
  const text = own.body.toString();
  const line = `${what}: ${own.status} ${text.slice(0, 500)}`;
  const said = JSON.parse(r.headers['sl-violations'] || '[]');
  const wrong = said.filter((v) => v.location[0] === 'response');
  if (said.some((v) => v.message === 'Selected route not found')) { // not judged then: the server must not know it either
    tally.unknown += 1;
    if (own.status !== 404 && own.status !== 405) throw departs(`${line}\nof a route that is not described`);
  } else {
    tally.judged += 1;
    if (wrong.length) throw departs(`${line}\n${JSON.stringify(wrong, null, 1)}`);
    if (r.status !== own.status) throw departs(`${line}\nthe proxy could not judge it: ${r.status} ${r.text.slice(0, 500)}`);
  }
  let parsed;
  try { parsed = JSON.parse(text); } catch { parsed = undefined; }
  return { status: own.status, headers: own.headers, text, body: parsed };
};
