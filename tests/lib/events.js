// A client of server-sent events, as the WHATWG describes one: fields by line, a blank line dispatches, comments are
// nothing. It does not reconnect by itself.
'use strict';
const http = require('node:http');
const https = require('node:https');
const { until } = require('./cchost.js');

class Stream {
  // Resolves when the answer's head is there. -> Stream with status, headers, events: [{id, type, data}], comments
  // ca: over TLS, with a certificate signed by that.
  static open(port, path, headers = {}, ca = null) {
    return new Promise((resolve, reject) => {
      const s = new Stream();
      Object.assign(s, { events: [], comments: 0, retry: null, ended: false, broken: false, text: '', rest: '' });
      s.req = (ca ? https : http).request({ host: '127.0.0.1', port, path, ca, agent: false, headers: { Accept: 'text/event-stream', ...headers } });
      s.req.on('error', (e) => { s.broken = true; reject(e); });
      s.req.on('response', (res) => {
        Object.assign(s, { res, status: res.statusCode, headers: res.headers, field: {} });
        res.setEncoding('utf8');
        res.on('data', (d) => s.take(d));
        res.on('end', () => { s.ended = true; });
        res.on('error', () => { s.broken = true; });
        s.closed = new Promise((r) => res.on('close', r));
        resolve(s);
      });
      s.req.end();
    });
  }

  take(text) {
    if (this.status !== 200) { this.text += text; return; }
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop();
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === '') {
      if (this.field.data !== undefined) this.events.push({ id: this.field.id, type: this.field.event, data: JSON.parse(this.field.data) });
      this.field = {};
    } else if (line.startsWith(':')) {
      this.comments++;
    } else {
      const [, name, value] = /^([^:]*): ?(.*)$/.exec(line);
      if (name === 'retry') this.retry = Number(value); else this.field[name] = value;
    }
  }

  get seqs() { return this.events.map((e) => e.data.seq); }
  get last() { return this.events.length ? this.events[this.events.length - 1].id : undefined; }
  has(n, seconds) { return until(() => this.events.length >= n, () => `${n} events, ${this.events.length} came`, seconds); }
  close() { this.req.destroy(); return this.closed; }
}

module.exports = { Stream };
