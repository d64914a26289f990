// A terminal client: ttyd's protocol over a third-party WebSocket client (ws).
'use strict';
const WebSocket = require('ws');
const { until } = require('./cchost.js');

class Terminal {
  // url: http://... or https://... of the terminal; headers for the upgrade; ca: who signed the server's certificate.
  static async open(url, headers = {}, size = { columns: 80, rows: 24 }, ca = undefined) {
    const t = new Terminal();
    t.output = '';
    t.raw = 0;
    t.ws = new WebSocket(url.replace(/^http/, 'ws'), ['tty'], { headers, ca, perMessageDeflate: false });
    t.closed = new Promise((r) => t.ws.on('close', (code, reason) => { t.code = code; t.reason = String(reason); r(); }));
    t.ws.on('message', (d) => t.take(d));
    await new Promise((resolve, reject) => {
      t.ws.on('open', resolve);
      t.ws.on('error', reject);
      t.ws.on('unexpected-response', (_, res) => reject(Object.assign(new Error(`status ${res.statusCode}`), { status: res.statusCode })));
    });
    t.ws.send(JSON.stringify({ AuthToken: '', ...size }));
    return t;
  }

  take(d) {
    const kind = String.fromCharCode(d[0]);
    if (kind === '0') { this.output += d.subarray(1).toString('latin1'); this.raw += d.length - 1; }
    if (kind === '1') this.title = d.subarray(1).toString();
    if (kind === '2') this.preferences = JSON.parse(d.subarray(1).toString());
  }

  type(text) { this.ws.send(Buffer.concat([Buffer.from('0'), Buffer.from(text)])); }
  resize(columns, rows) { this.ws.send(Buffer.from('1' + JSON.stringify({ columns, rows }))); }
  sees(pattern, seconds) { return until(() => pattern.test(this.output), () => `${pattern} in ${JSON.stringify(this.output.slice(-300))}`, seconds); }

  async close() {
    this.ws.close();
    await this.closed;
  }
}

module.exports = { Terminal };
