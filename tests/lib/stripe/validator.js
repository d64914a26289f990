// Whether a request is one that Stripe's own documents allow: the kit's validator (express-openapi-validator over the vendor's
// document, with all that we ask for: document.js), in a process of its own; and for what that document of 2023 does not know yet, the declarations of the vendor's
// npm library.
//
//   const v = await Validator.shared();                    one for all tests of this process, which ends with it
//   const v = await Validator.start(); ... await v.stop();  one of its own
//   await v.check(request) -> null | { status, text }     request: { method, url, headers, raw, params }
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { spawn } = require('node:child_process');
const kit = require('../kit.js');
const { document } = require('./document.js');
const { until } = require('../cchost.js');

const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

const freePort = () => new Promise((resolve, reject) => {
  const s = net.createServer();
  s.on('error', reject);
  s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); });
});

// "POST /v1/..." -> where its parameters are declared
const beyond = { 'POST /v1/billing/meter_events': ['Billing/MeterEvents.d.ts', 'MeterEventCreateParams'] };

// The members of an interface in a declaration file: { name: { optional, type } }. Comments and what is nested are left out.
function members(file, name) {
  const text = fs.readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const start = text.indexOf(`interface ${name} {`);
  if (start < 0) throw new Error(`${file} declares no ${name}`);
  const out = {};
  let depth = 0;
  let line = '';
  for (const c of text.slice(text.indexOf('{', start))) {
    if (c === '}' && --depth === 0) return out;
    if (c === ';' && depth === 1) {
      const m = /^\s*(\w+)(\?)?:\s*([\s\S]+)$/.exec(line);
      if (m) out[m[1]] = { optional: !!m[2], type: m[3].replace(/\s+/g, ' ').trim() };
      line = '';
    } else if (!(c === '{' && depth === 0)) line += c;
    if (c === '{') depth++;
  }
  throw new Error(`${file}: ${name} does not end`);
}

const isText = (v) => typeof v === 'string';
const kinds = {
  string: isText,
  number: (v) => isText(v) && /^-?\d+$/.test(v),
  'Array<string>': (v) => Array.isArray(v) && v.every(isText),
  '{ [key: string]: string; }': (v) => v && typeof v === 'object' && !Array.isArray(v) && Object.values(v).every(isText),
};

// What is wrong with the parameters of a request that only the library declares. -> sentence or null
function undeclared(file, name, params) {
  const declared = members(path.join(`${kit.modules('npm')}stripe/cjs/resources`, file), name);
  for (const [k, v] of Object.entries(params)) {
    if (!declared[k]) return `${k}: no such parameter`;
    const kind = kinds[declared[k].type];
    if (!kind) throw new Error(`${name}: what is a ${declared[k].type}?`);
    if (!kind(v)) return `${k}: a ${declared[k].type} expected`;
  }
  const absent = Object.keys(declared).find((k) => !declared[k].optional && params[k] === undefined);
  return absent ? `${absent}: missing` : null;
}

let shared;

class Validator {
  static shared() {
    shared ??= this.start().then((v) => {
      for (const h of [v.child, v.child.stdout, v.child.stderr]) h.unref();
      return v;
    });
    return shared;
  }

  static async start() {
    const v = new this();
    v.port = await freePort();
    v.log = '';
    v.child = spawn(process.execPath, [path.join(kit.dir, 'stripe-validator.js'), String(v.port), document()], { stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(v.child);
    v.exited = new Promise((r) => v.child.on('exit', () => { children.delete(v.child); r(); }));
    for (const s of [v.child.stdout, v.child.stderr]) s.on('data', (d) => { v.log = (v.log + d).slice(-20000); });
    v.agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
    await until(() => {
      if (v.child.exitCode !== null) throw new Error(`the validator ended: ${v.log}`);
      return v.log.includes('listening on');
    }, 'the validator listens', 60);
    return v;
  }

  async check(request) {
    const elsewhere = beyond[`${request.method} ${request.url.split('?')[0]}`];
    if (elsewhere) {
      const why = undeclared(...elsewhere, request.params);
      return why && { status: 400, text: JSON.stringify({ error: { type: 'invalid_request_error', message: why } }) };
    }
    const { status, text } = await this.ask(request);
    return status >= 400 ? { status, text } : null;
  }

  ask({ method, url, headers, raw }) {
    return new Promise((resolve, reject) => {
      const pass = { ...headers, host: `127.0.0.1:${this.port}` };
      delete pass.connection;
      const req = http.request({ host: '127.0.0.1', port: this.port, method, path: url, headers: pass, agent: this.agent }, (res) => {
        const parts = [];
        res.on('data', (d) => parts.push(d));
        res.on('error', reject);
        res.on('end', () => resolve({ status: res.statusCode, text: Buffer.concat(parts).toString() }));
      });
      req.on('error', reject);
      req.end(raw);
    });
  }

  async stop() {
    this.agent.destroy();
    this.child.kill('SIGTERM');
    await this.exited;
  }
}

module.exports = { Validator };
