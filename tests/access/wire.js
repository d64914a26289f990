// Requests and WebSockets that show all of what comes back, each over a connection of its own.
'use strict';
const http = require('node:http');
const WebSocket = require('ws');

// -> {status, headers, text, body: of JSON, else undefined}
function raw(s, method, where, headers = {}, body) {
  return new Promise((resolve, reject) => {
    const req = http.request({ host: '127.0.0.1', port: s.port, method, path: where, headers, agent: false }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('error', reject);
      res.on('end', () => {
        const text = Buffer.concat(parts).toString();
        let json;
        try { json = JSON.parse(text); } catch { json = undefined; }
        resolve({ status: res.statusCode, headers: res.headers, text, body: json });
      });
    });
    req.on('error', reject);
    req.end(body);
  });
}

// -> {ws, messages, closed: a promise of {code, reason}} once it is open; rejects with {status} when it is none.
async function socket(s, where, headers = {}, protocols = []) {
  const ws = new WebSocket(`ws://127.0.0.1:${s.port}${where}`, protocols, { headers, perMessageDeflate: false });
  const c = { ws, messages: [], closed: null };
  c.closed = new Promise((r) => { ws.on('close', (code, reason) => r({ code, reason: String(reason) })); });
  ws.on('message', (d) => c.messages.push(String(d)));
  await new Promise((resolve, reject) => {
    ws.on('open', resolve);
    ws.on('error', reject);
    ws.on('unexpected-response', (_, res) => { res.resume(); reject(Object.assign(new Error(`status ${res.statusCode}`), { status: res.statusCode })); });
  });
  return c;
}

module.exports = { raw, socket };
