// A vendor's own document as judge of our requests: the kit's prism (tests/lib/kit.js), in a process of its own.
//
//   const v = await Prism.start('docker')      v.check({ method, url, headers, body }) -> null | what it said
//   await v.stop()
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { spawn } = require('node:child_process');
const kit = require('./kit.js');
const { until } = require('./cchost.js');

const freePort = () => new Promise((resolve, reject) => {
  const s = net.createServer();
  s.on('error', reject);
  s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); });
});

const wrong = /Violation: request|REJECTED|NO_PATH|NO_METHOD|UNAUTHORIZED|INVALID_CONTENT/;
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

class Prism {
  static missing() { return kit.missing('prism'); }

  static async start(vendor) {
    const v = new this();
    v.port = await freePort();
    v.log = '';
    v.child = spawn(path.join(kit.dir, 'start-prism'), [vendor, String(v.port)], { stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(v.child);
    v.exited = new Promise((r) => v.child.on('exit', () => { children.delete(v.child); r(); }));
    for (const out of [v.child.stdout, v.child.stderr]) out.on('data', (d) => { v.log += d; });
    await until(() => {
      if (v.child.exitCode !== null) throw new Error(`prism ended:\n${v.log}`);
      return /listening/i.test(v.log);
    }, () => `prism listens:\n${v.log}`, 60);
    return v;
  }

  // One at a time: what its log says meanwhile is of this request.
  async check(r) {
    const from = this.log.length;
    const status = await new Promise((resolve, reject) => {
      const headers = {};
      for (const k of ['content-type', 'authorization']) if (r.headers && r.headers[k]) headers[k] = r.headers[k];
      if (r.body) headers['content-length'] = Buffer.byteLength(r.body, 'latin1');
      const req = http.request({ host: '127.0.0.1', port: this.port, method: r.method, path: r.url, headers, agent: false }, (res) => {
        res.on('end', () => resolve(res.statusCode));
        res.resume();
      });
      req.on('error', reject);
      req.end(r.body ? Buffer.from(r.body, 'latin1') : undefined);
    });
    const said = this.log.slice(from);
    return wrong.test(said) || [400, 404, 405, 415, 422].includes(status) ? `${r.method} ${r.url} ${r.body || ''}\n${status} ${said}` : null;
  }

  async stop() {
    this.child.kill();
    await this.exited;
  }
}

module.exports = { Prism };
