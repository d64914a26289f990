// Requests that are counted; what is answered unexpectedly is kept with what was asked.
'use strict';
const http = require('node:http');

const hide = (headers) => Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, /^(authorization|x-api-key|cookie)$/i.test(k) ? '...' : v]));
const show = (bytes) => (bytes === undefined ? undefined : bytes.subarray(0, 2000).toString('latin1'));
const json = (bytes) => { try { return JSON.parse(bytes); } catch { return undefined; } };

class Client {
  // server: with `port` and `key`, also later ones; keep(record): of what was unexpected
  constructor(server, keep) {
    Object.assign(this, { server, keep, requests: 0, again: 0, slowest: { ms: 0 }, slow: 0 });
    // A kept connection is given up by us before the server does it.
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 200, timeout: 8000 });
  }

  once(method, where, headers, body) {
    return new Promise((resolve, reject) => {
      const req = http.request({ host: '127.0.0.1', port: this.server.port, method, path: where, headers, agent: this.agent }, (res) => {
        const parts = [];
        res.on('data', (d) => parts.push(d));
        res.on('error', reject);
        res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, bytes: Buffer.concat(parts) }));
      });
      req.on('error', (e) => reject(Object.assign(e, { reused: req.reusedSocket && e.code === 'ECONNRESET' })));
      req.end(body);
    });
  }

  // Of a kept connection that the other side ended meanwhile nobody knows before he asks: then it is asked again, once.
  async try(...request) {
    try {
      return await this.once(...request);
    } catch (e) {
      if (!e.reused) throw e;
      this.again += 1;
      return this.once(...request);
    }
  }

  // how: { body: bytes, or what goes as JSON; headers; want: statuses, absent: any below 400 }. headers undefined: the operator's.
  // -> { status, headers, bytes, body }; raises after it has kept what was unexpected
  async ask(method, where, how = {}) {
    const bytes = how.body === undefined ? undefined : Buffer.isBuffer(how.body) ? how.body : Buffer.from(JSON.stringify(how.body));
    const headers = { ...(how.headers || { 'X-API-Key': this.server.key }), ...how.more, ...(bytes && { 'Content-Length': bytes.length }) };
    const start = Date.now();
    this.requests += 1;
    let r, error;
    try { r = await this.try(method, where, headers, bytes); } catch (e) { error = e; }
    const ms = Date.now() - start;
    if (ms > this.slowest.ms) this.slowest = { ms, method, where };
    if (ms > 1000 && !/wait=|exec/.test(where)) this.slow += 1;
    const good = r && (how.want ? how.want.includes(r.status) : r.status < 400);
    if (!good) {
      const what = r ? `${r.status} ${show(r.bytes)}` : `${error.code || ''} ${error.message}`;
      this.keep({ method, where, headers: hide(headers), body: show(bytes), ms, status: r?.status, answer: r ? show(r.bytes) : what, id: r?.headers['x-request-id'] });
      throw Object.assign(new Error(`${method} ${where}: ${what}`), { kept: true });
    }
    return { ...r, body: /json/.test(r.headers['content-type'] || '') ? json(r.bytes) : undefined };
  }
}

module.exports = { Client };
