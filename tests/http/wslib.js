'use strict';
// A raw WebSocket client: frames as bytes, so that what no library would send can be sent.
const crypto = require('node:crypto');
const net = require('node:net');

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

function upgrade(path, extra = '') {
  return `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n${extra}\r\n`;
}

// frame(opcode, payload, {fin, mask, rsv, len}): len forces a length form: 7, 16 or 64 bits
function frame(op, payload = '', { fin = true, mask = true, rsv = 0, form = 0, claim } = {}) {
  const data = Buffer.isBuffer(payload) ? payload : Buffer.from(payload);
  const n = claim === undefined ? data.length : claim;
  const bits = form || (n < 126 ? 7 : n < 65536 ? 16 : 64);
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | op];
  const m = mask ? 0x80 : 0;
  if (bits === 7) head.push(m | n);
  else if (bits === 16) head.push(m | 126, n >> 8, n & 255);
  else { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); head.push(m | 127, ...b); }
  if (!mask) return Buffer.concat([Buffer.from(head), data]);
  const key = crypto.randomBytes(4);
  const masked = Buffer.from(data);
  for (let i = 0; i < masked.length; i++) masked[i] ^= key[i & 3];
  return Buffer.concat([Buffer.from(head), key, masked]);
}

const closeFrame = (code, reason = '') => {
  const b = Buffer.alloc(2);
  b.writeUInt16BE(code);
  return frame(8, Buffer.concat([b, Buffer.from(reason)]));
};

// Reads unmasked frames -> {frames: [{op, fin, data, code}], rest}
function frames(bytes) {
  const list = [];
  let at = 0;
  while (bytes.length - at >= 2) {
    let n = bytes[at + 1] & 127;
    let h = 2;
    if (bytes[at + 1] & 0x80) throw new Error('a masked frame from the server');
    if (n === 126) { if (bytes.length - at < 4) break; n = bytes.readUInt16BE(at + 2); h = 4; }
    else if (n === 127) { if (bytes.length - at < 10) break; n = Number(bytes.readBigUInt64BE(at + 2)); h = 10; }
    if (bytes.length - at < h + n) break;
    const f = { op: bytes[at] & 15, fin: !!(bytes[at] & 0x80), rsv: bytes[at] >> 4 & 7, data: bytes.subarray(at + h, at + h + n) };
    if (f.op === 8) { f.code = n >= 2 ? f.data.readUInt16BE(0) : 1005; f.reason = f.data.subarray(2).toString(); }
    list.push(f);
    at += h + n;
  }
  return { frames: list, rest: bytes.subarray(at) };
}

class Client {
  // connect(where, path): resolves once the head of the answer is there
  static connect(where, path, { extra = '', early = null, half = true } = {}) {
    const c = new Client();
    c.bytes = Buffer.alloc(0);
    c.frames = [];
    c.waiters = [];
    c.sock = net.connect(typeof where === 'string' ? { path: where, allowHalfOpen: half } : { port: where, host: '127.0.0.1', allowHalfOpen: half });
    return new Promise((resolve, reject) => {
      c.sock.on('error', (e) => { c.error = e; c.poke(); });
      c.sock.on('end', () => { c.ended = true; c.poke(); });
      c.sock.on('close', () => { c.gone = true; c.poke(); reject(new Error('closed before an answer')); });
      c.sock.write(Buffer.concat([Buffer.from(upgrade(path, extra)), early || Buffer.alloc(0)]));
      c.sock.on('data', (d) => {
        c.bytes = c.bytes.length ? Buffer.concat([c.bytes, d]) : d;
        if (!c.head) {
          const end = c.bytes.indexOf('\r\n\r\n');
          if (end < 0) return;
          c.head = c.bytes.toString('latin1', 0, end);
          c.status = Number(c.head.slice(9, 12));
          c.bytes = c.bytes.subarray(end + 4);
          resolve(c);
        }
        if (c.status !== 101) return;
        const r = frames(c.bytes);
        c.frames.push(...r.frames);
        c.bytes = r.rest;
        c.poke();
      });
    });
  }

  poke() { for (const w of this.waiters.splice(0)) w(); }
  send(...list) { this.sock.write(Buffer.concat(list)); }

  async next(ms = 5000) {
    const stop = Date.now() + ms;
    while (!this.frames.length) {
      if (this.ended || this.gone) return { op: 'end' };
      if (Date.now() > stop) throw new Error('no frame came');
      await new Promise((r) => { this.waiters.push(r); setTimeout(r, 100); });
    }
    return this.frames.shift();
  }

  // the close frame that ends it, skipping others
  async close(ms = 5000) {
    for (;;) {
      const f = await this.next(ms);
      if (f.op === 8 || f.op === 'end') return f;
    }
  }

  end() { this.sock.destroy(); }
}

module.exports = { Client, frame, closeFrame, frames, upgrade, KEY, ACCEPT };
