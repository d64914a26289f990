// Somebody who is sent events: an HTTP server that answers as it is told and keeps what came, and an implementation of
// Standard Webhooks' signatures that is not ours.
'use strict';
const crypto = require('node:crypto');
const http = require('node:http');
const https = require('node:https');

// Whether this is signed by that secret, as the specification says it.
function verify(secret, headers, body) {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const wanted = crypto.createHmac('sha256', key).update(signed).digest();
  return headers['webhook-signature'].split(' ').some((s) => {
    const [version, text] = s.split(',');
    const given = Buffer.from(text, 'base64');
    return version === 'v1' && given.length === wanted.length && crypto.timingSafeEqual(given, wanted);
  });
}

class Receiver {
  // answer(res, got): absent: 204. tls: {cert, key}.
  static async start(answer, tls, host = '127.0.0.1') {
    const r = new this();
    r.got = [];
    r.open = 0;
    r.answer = answer || ((res) => res.writeHead(204).end());
    const on = (req, res) => {
      r.open++;
      res.on('close', () => { r.open--; });
      const parts = [];
      req.on('data', (d) => parts.push(d));
      req.on('end', () => {
        const text = Buffer.concat(parts).toString();
        const got = { id: req.headers['webhook-id'], headers: req.headers, text, body: JSON.parse(text), path: req.url, method: req.method, at: Date.now() };
        r.got.push(got);
        r.answer(res, got);
      });
    };
    r.server = tls ? https.createServer(tls, on) : http.createServer(on);
    await new Promise((done) => r.server.listen(0, host, done));
    r.port = r.server.address().port;
    r.url = `${tls ? 'https' : 'http'}://${host === '::1' ? '[::1]' : host}:${r.port}/hook`;
    return r;
  }

  get seqs() { return this.got.map((g) => g.body.seq); }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
}

module.exports = { Receiver, verify };
