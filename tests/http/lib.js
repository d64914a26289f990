'use strict';
// What the tests of tests/http share: the server process, raw sockets, replies read from bytes.
const { spawn } = require('node:child_process');
const net = require('node:net');
const path = require('node:path');

const bin = process.env.CCHOST || path.join(__dirname, '../../cchost');

// start({head_seconds: 1}) -> {port, socket, child, quit()}; quit() fails unless nothing was left open.
async function start(limits = {}) {
  const [cert, key] = (process.env.CCHOST_TEST_TLS || '').split(','); // see tests/tls/over.js
  const all = cert ? { ...limits, cert, key } : limits;
  const args = [path.join(__dirname, 'server.lua'), ...Object.entries(all).map(([k, v]) => `${k}=${v}`)];
  const child = spawn(bin, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const server = { child, errors: '' };
  child.stderr.on('data', (d) => { server.errors += d; });
  const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve(signal || code)));
  server.ended = ended;
  await new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (d) => {
      text += d;
      const m = /listening (\d+) (\S+)\n/.exec(text);
      if (m) { server.port = Number(m[1]); server.socket = m[2]; resolve(); }
    });
    ended.then((code) => reject(new Error(`server ended with ${code}: ${server.errors}`)));
  });
  server.quit = async () => {
    if (child.exitCode === null) await exchange({ path: server.socket }, 'GET /quit HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n').catch(() => {});
    const timer = setTimeout(() => child.kill('SIGKILL'), 15000);
    const code = await ended;
    clearTimeout(timer);
    if (code !== 0 || /left open|Sanitizer|runtime error/.test(server.errors)) {
      throw new Error(`the server ended with ${code}: ${server.errors}`);
    }
  };
  return server;
}

// Splits what came into replies: [{status, headers, body}], and the rest that is none. `heads`: no bodies follow.
function parse(bytes, heads = false) {
  const replies = [];
  let at = 0;
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n', at, 'latin1');
    if (end < 0) break;
    const lines = bytes.toString('latin1', at, end).split('\r\n');
    const m = /^HTTP\/1\.1 (\d{3}) /.exec(lines[0]);
    if (!m) break;
    const r = { status: Number(m[1]), headers: {}, lines: lines.slice(1), body: Buffer.alloc(0) };
    for (const l of r.lines) r.headers[l.slice(0, l.indexOf(':')).toLowerCase()] = l.slice(l.indexOf(':') + 2);
    at = end + 4;
    if (!heads && r.headers['transfer-encoding'] === 'chunked') {
      for (;;) {
        const nl = bytes.indexOf('\r\n', at);
        if (nl < 0) break;
        const n = parseInt(bytes.toString('latin1', at, nl), 16);
        if (!(n >= 0)) throw new Error('no chunk: ' + bytes.toString('latin1', at, at + 40));
        r.body = Buffer.concat([r.body, bytes.subarray(nl + 2, nl + 2 + n)]);
        at = nl + 2 + n + 2;
        if (n === 0) { r.complete = true; break; }
      }
    } else if (!heads && r.status >= 200) {
      const n = Number(r.headers['content-length'] || 0);
      r.body = bytes.subarray(at, at + n);
      at += n;
    }
    replies.push(r);
  }
  return { replies, rest: bytes.subarray(at) };
}

// Sends bytes (a string is latin1; a list is sent piece by piece) and reads until the peer closes, or until
// `until(replies)` is true. -> {replies, closed, rest, bytes}
function exchange(where, data, { until, ms = 5000, heads = false, end = false, pause = 15 } = {}) {
  return new Promise((resolve, reject) => {
    const s = net.connect(typeof where === 'object' ? where : typeof where === 'string' ? { path: where } : { port: where, host: '127.0.0.1' });
    const chunks = [];
    let done = false;
    const finish = (closed) => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      s.destroy();
      const bytes = Buffer.concat(chunks);
      resolve({ ...parse(bytes, heads), closed, bytes });
    };
    const timer = setTimeout(() => finish(false), ms);
    s.on('connect', async () => {
      for (const piece of Array.isArray(data) ? data : [data]) {
        if (done || s.destroyed) return;
        s.write(Buffer.isBuffer(piece) ? piece : Buffer.from(piece, 'latin1'));
        if (Array.isArray(data)) await new Promise((r) => setTimeout(r, pause));
      }
      if (end) s.end();
    });
    s.on('data', (d) => {
      chunks.push(d);
      if (until && until(parse(Buffer.concat(chunks), heads).replies)) finish(false);
    });
    s.on('end', () => finish('end'));
    s.on('error', (e) => { if (e.code === 'ECONNREFUSED') reject(e); else finish('reset'); });
    s.on('close', () => finish('close'));
  });
}

const count = (n) => (replies) => replies.length >= n && replies[n - 1].status >= 200;

async function until(fn, ms = 30000) {
  const stop = Date.now() + ms;
  for (;;) {
    const v = await fn();
    if (v) return v;
    if (Date.now() > stop) throw new Error('it never became true: ' + fn);
    await new Promise((r) => setTimeout(r, 10));
  }
}

async function json(server, where) {
  const r = await exchange(server.port, `GET ${where} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  return JSON.parse(r.replies[0].body.toString());
}

module.exports = { start, exchange, parse, count, until, json };
