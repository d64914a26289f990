// A small server in the place of a machine's agent, on a unix socket, for the provider mock ({endpoint=PATH}): it keeps what
// it is asked, and answers what a test tells it to. What a port's tunnel leads to is a server of the test's, by its port.
'use strict';
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { WebSocketServer } = require('ws');

class Agent {
  static async start(dir) {
    const a = new Agent();
    a.path = path.join(dir, 'agent.sock');
    a.asked = []; // {method, url, headers}
    a.answer = (req, res) => { res.setHeader('Content-Type', 'application/json'); res.end(JSON.stringify({ url: req.url })); };
    a.sockets = new Set();
    a.websockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => (offered.has('tty') ? 'tty' : false) });
    a.socket = (ws) => ws.on('message', (d, binary) => ws.send(d, { binary }));
    a.server = http.createServer((req, res) => a.request(req, res));
    a.server.on('upgrade', (req, socket, head) => a.upgrade(req, socket, head));
    a.server.on('connection', (c) => { a.sockets.add(c); c.on('error', () => {}); c.on('close', () => a.sockets.delete(c)); });
    await a.listen();
    return a;
  }

  listen() { return new Promise((r) => this.server.listen(this.path, r)); }

  note(req) {
    this.last = { method: req.method, url: req.url, headers: req.headers };
    if (req.url !== '/healthz') this.asked.push(this.last);
  }

  request(req, res) {
    this.note(req);
    if (req.url === '/healthz') res.end(this.health || '{"status":"ok"}');
    else this.answer(req, res);
  }

  upgrade(req, socket, head) {
    this.note(req);
    socket.on('error', () => {});
    if (req.headers.upgrade === 'tcp') return this.tunnel(Number(req.url.slice('/ports/'.length)), socket);
    if (this.refuse) return socket.end(`HTTP/1.1 ${this.refuse} No\r\nContent-Length: 0\r\n\r\n`);
    return this.websockets.handleUpgrade(req, socket, head, (ws) => this.socket(ws, req));
  }

  tunnel(port, socket) {
    const to = net.connect(port, '127.0.0.1');
    to.on('connect', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
      socket.pipe(to).pipe(socket);
    });
    to.on('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n'));
    socket.on('close', () => to.destroy());
  }

  // Nobody is there any more.
  stop() {
    for (const c of this.sockets) c.destroy();
    return new Promise((r) => this.server.close(r));
  }
}

module.exports = { Agent };
