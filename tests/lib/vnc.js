// A client of VNC (RFB 3.8, RFC 6143) in a WebSocket, as noVNC is one: what it takes to log in and to see the screen's size.
//
//   const v = await Vnc.open(url [, headers])       the server greeted us; url: ws://...
//   await v.login(password)                         throws, with the server's reason, when it is refused
//   v.width, v.height, v.name                       afterwards          v.key(0x61)    presses and releases a key
//   await v.close()                                 v.code, v.reason    how it was closed
'use strict';
const crypto = require('node:crypto');
const WebSocket = require('ws');
const { until } = require('./cchost.js');

// VNC's own use of DES: the password's 8 bytes are the key, each with its bits in reverse. Three times the same key is DES.
function answer(challenge, password) {
  const key = Buffer.alloc(8);
  Buffer.from(password, 'latin1').copy(key, 0, 0, 8);
  for (let i = 0; i < 8; i++) key[i] = parseInt(key[i].toString(2).padStart(8, '0').split('').reverse().join(''), 2);
  const des = crypto.createCipheriv('des-ede3-ecb', Buffer.concat([key, key, key]), null).setAutoPadding(false);
  return Buffer.concat([des.update(challenge), des.final()]);
}

class Vnc {
  static async open(url, headers = {}, protocols = ['binary']) {
    const v = new this();
    v.in = Buffer.alloc(0);
    v.ws = new WebSocket(url, protocols, { headers, perMessageDeflate: false });
    v.closed = new Promise((r) => v.ws.on('close', (code, reason) => { v.code = code; v.reason = String(reason); r(); }));
    v.ws.on('message', (d) => { v.in = Buffer.concat([v.in, d]); });
    await new Promise((resolve, reject) => {
      v.ws.on('open', resolve);
      v.ws.on('error', reject);
      v.ws.on('unexpected-response', (_, res) => {
        let text = '';
        res.on('data', (d) => { text += d; });
        res.on('end', () => reject(Object.assign(new Error(text), { status: res.statusCode })));
      });
    });
    v.version = String(await v.take(12));
    return v;
  }

  async take(n) {
    await until(() => this.in.length >= n || this.code !== undefined, `${n} bytes of the console`, 20);
    if (this.in.length < n) throw new Error(`the console was closed: ${this.code} ${this.reason}`);
    const d = this.in.subarray(0, n);
    this.in = this.in.subarray(n);
    return d;
  }

  async login(password) {
    this.ws.send(Buffer.from('RFB 003.008\n'));
    const kinds = await this.take((await this.take(1))[0]);
    if (!kinds.includes(2)) throw new Error(`the console asks for no password: ${[...kinds]}`);
    this.ws.send(Buffer.from([2]));
    this.ws.send(answer(await this.take(16), password));
    if ((await this.take(4)).readUInt32BE() !== 0) throw new Error(String(await this.take((await this.take(4)).readUInt32BE())));
    this.ws.send(Buffer.from([1])); // others may look, too
    const init = await this.take(24);
    this.width = init.readUInt16BE(0);
    this.height = init.readUInt16BE(2);
    this.name = String(await this.take(init.readUInt32BE(20)));
  }

  key(code) {
    for (const down of [1, 0]) this.ws.send(Buffer.from([4, down, 0, 0, 0, 0, code >> 8, code & 255]));
  }

  async close() {
    this.ws.close();
    await this.closed;
  }
}

module.exports = { Vnc };
