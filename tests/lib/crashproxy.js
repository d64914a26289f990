// Between the host and a vendor's HTTP API: it notes what is asked, and ends somebody right before or right after a step.
//
//   const p = await CrashProxy.start({ to: {socketPath} or {host, port} [, listen: {path} or nothing: a port] })
//   p.seen      every request: {method, url, headers, body (text), status}, oldest first; also what is under way (no status)
//   p.arm(n, when, kill [, of])   the n-th changing request (all but GET and HEAD; of those that pass of(request), where it is
//               given) from now: when 'before', kill() and it is not passed on; when 'after', kill() once the vendor has
//               answered it, and the answer is not delivered
//   p.fired     whether it came so far      p.disarm()      p.cut(test)   ends connections whose request passes test(request)
//   await p.stop()
//
//   const points = await crashes(t, how, act, look)    a host that is ended at every such step of what act(server, arm) asks for
//               once it has called arm(), and started again: look(server, what) says whether what came of it is right.
//               how: {proxy, start(dir) -> a Server whose vendor is behind the proxy, left() -> what is there of ours, a list}
//
// Answers are passed on as they come, requests when they are whole; a request that becomes a stream (101) is one connection to the other.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const { temp } = require('./cchost.js');

class CrashProxy {
  static async start(how) {
    const p = new this();
    p.to = how.to;
    p.seen = [];
    p.open = new Set();
    p.server = http.createServer((req, res) => p.request(req, res));
    p.server.on('upgrade', (req, socket, head) => p.upgrade(req, socket, head));
    p.server.on('connection', (s) => { p.open.add(s); s.on('error', () => {}); s.on('close', () => p.open.delete(s)); });
    p.server.keepAliveTimeout = 0;
    await new Promise((resolve, reject) => {
      p.server.on('error', reject);
      p.server.listen(how.listen ? how.listen : { host: '127.0.0.1', port: 0 }, resolve);
    });
    p.port = p.server.address().port;
    return p;
  }

  arm(n, when, kill, of = () => true) { this.trap = { left: n, when, kill, of }; this.fired = false; }
  disarm() { this.trap = null; }

  cut(test) { for (const s of this.open) if (s.asked && test(s.asked)) s.destroy(); }

  // Notes it. -> 'before' or 'after' when this is the one, else undefined
  note(req) {
    const asked = { method: req.method, url: req.url, headers: req.headers, body: '' };
    this.seen.push(asked);
    req.socket.asked = asked;
    if (!this.trap || req.method === 'GET' || req.method === 'HEAD' || !this.trap.of(asked) || --this.trap.left > 0) return [asked];
    const { when, kill } = this.trap;
    this.trap = null;
    this.fired = true;
    return [asked, when, kill];
  }

  request(req, res) {
    const [asked, when, kill] = this.note(req);
    if (when === 'before') {
      kill();
      req.socket.destroy();
      return;
    }
    const on = http.request({ ...this.to, method: req.method, path: req.url, headers: req.headers, agent: false }, (answer) => {
      asked.status = answer.statusCode;
      if (when === 'after') {
        answer.resume();
        answer.on('end', () => { kill(); req.socket.destroy(); });
        return;
      }
      res.writeHead(answer.statusCode, answer.headers);
      res.flushHeaders();
      answer.pipe(res);
    });
    on.on('error', () => { if (!res.writableFinished) req.socket.destroy(); });
    res.on('close', () => { if (!res.writableFinished) on.destroy(); });
    // whole, in one piece with its head: what is written behind a head may meet a peer that has answered already
    const parts = [];
    req.on('data', (part) => parts.push(part));
    req.on('end', () => {
      const body = Buffer.concat(parts);
      asked.body = body.toString('latin1');
      on.end(body);
    });
  }

  upgrade(req, socket, head) {
    const [asked, when, kill] = this.note(req);
    if (when === 'before') {
      kill();
      socket.destroy();
      return;
    }
    // node gives us no body of a request that upgrades: it is in `head`, and what follows in the stream
    const on = http.request({ ...this.to, method: req.method, path: req.url, headers: req.headers, agent: false });
    const length = Number(req.headers['content-length'] || 0);
    let body = head;
    let upgraded = false;
    const send = () => {
      if (upgraded || body.length < length) return;
      upgraded = true;
      socket.pause();
      asked.body = body.subarray(0, length).toString('latin1');
      on.end(body.subarray(0, length));
    };
    const gather = (d) => { body = Buffer.concat([body, d]); send(); };
    on.on('error', () => socket.destroy());
    on.on('response', (answer) => {
      asked.status = answer.statusCode;
      socket.write(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n`);
      answer.pipe(socket);
    });
    on.on('upgrade', (answer, far, farHead) => {
      asked.status = 101;
      if (when === 'after') {
        kill();
        socket.destroy();
        far.destroy();
        return;
      }
      socket.removeListener('data', gather);
      socket.write(`HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`);
      if (farHead.length) socket.write(farHead);
      far.on('error', () => socket.destroy());
      socket.on('close', () => far.destroy());
      if (body.length > length) far.write(body.subarray(length));
      far.pipe(socket);
      socket.pipe(far);
    });
    socket.on('data', gather);
    send();
  }

  async stop() {
    for (const s of this.open) s.destroy();
    await new Promise((r) => this.server.close(r));
  }
}

// One life: the host is ended `when` ("before", "after") the n-th changing request. -> whether there was one
async function crash(t, { proxy, start, left }, act, look, n, when) {
  const dir = temp();
  const s = await start(dir);
  t.after(() => s.child.kill('SIGKILL')); // of a test that failed
  const went = act(s, () => proxy.arm(n, when, () => s.child.kill('SIGKILL')));
  await Promise.race([went, s.exited]).catch((e) => { if (!proxy.fired) throw e; });
  if (proxy.fired) await s.exited;
  went.catch(() => {});
  const { fired } = proxy;
  proxy.disarm();
  if (fired) {
    s.agent.destroy();
    await s.launch();
  }
  await look(s, `step ${n}, killed ${when} it`);
  await s.deleteAll();
  await s.stop();
  assert.deepStrictEqual(await left(), [], `nothing is left of step ${n}, ${when}`);
  fs.rmSync(dir, { recursive: true, force: true });
  return fired;
}

async function crashes(t, how, act, look) {
  t.after(() => how.proxy.stop());
  let points = 0;
  for (let n = 1; ; n++) {
    for (const when of ['before', 'after']) {
      if (!await crash(t, how, act, look, n, when)) return points;
      points++;
    }
  }
}

module.exports = { CrashProxy, crashes };
