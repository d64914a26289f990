// A third-party mail server for the tests: Debian's aiosmtpd, on loopback (smtp_server.py says what it can be told to do).
//
//   const mail = await MailServer.start({ user: 'u', password: 'p' });
//   mail.port, mail.ca                 the authority that signed it (mail.host is what it is signed for)
//   const m = await mail.next();       the next message: { from, to, data: Buffer, tls, user }
//   await mail.says('stalled');        waits for an event; -> its line
//   mail.lines                         every command that came
//   await mail.stop();                 fails when a connection is still open
'use strict';
const { spawn, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { until, temp } = require('./cchost.js');

// A certificate for localhost and 127.0.0.1, its own authority. -> { cert, key }
function certificate(dir) {
  const cert = path.join(dir, 'cert.pem');
  const key = path.join(dir, 'key.pem');
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { cert, key };
}

const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

class MailServer {
  static async start(options = {}) {
    const s = new this();
    s.dir = temp();
    s.events = [];
    s.taken = 0;
    s.errors = '';
    s.host = 'localhost';
    const files = options.tls === 'none' ? {} : certificate(s.dir);
    s.ca = files.cert;
    s.child = spawn('/usr/bin/python3', [path.join(__dirname, 'smtp_server.py'), JSON.stringify({ ...files, ...options })], { stdio: ['pipe', 'pipe', 'pipe'] });
    children.add(s.child);
    s.exited = new Promise((r) => s.child.on('exit', (code, signal) => { children.delete(s.child); s.code = code ?? signal; r(); }));
    s.child.stderr.on('data', (d) => { s.errors += d; });
    let rest = '';
    s.child.stdout.on('data', (d) => {
      const lines = (rest + d).split('\n');
      rest = lines.pop();
      for (const l of lines) s.events.push(JSON.parse(l));
    });
    s.port = (await s.says('listening')).port;
    return s;
  }

  async says(event, n = 1) {
    return until(() => {
      if (this.code !== undefined) throw new Error(`the mail server ended with ${this.code}: ${this.errors}`);
      return this.events.filter((e) => e.event === event)[n - 1];
    }, () => `the mail server says ${event}: ${JSON.stringify(this.events)}`);
  }

  async next() {
    const m = await this.says('message', ++this.taken);
    return { ...m, data: Buffer.from(m.data, 'base64') };
  }

  get messages() { return this.events.filter((e) => e.event === 'message').length; }
  get lines() { return this.events.filter((e) => e.event === 'line').map((e) => e.text); }

  async stop() {
    const open = () => { const last = this.events.filter((e) => e.event === 'closed').pop(); return last ? last.open : 0; };
    try {
      await until(() => open() === 0, 'connections to the mail server to be closed');
    } finally {
      this.child.stdin.end();
      await this.exited;
      fs.rmSync(this.dir, { recursive: true, force: true });
    }
    if (this.code !== 0) throw new Error(`the mail server ended with ${this.code}: ${this.errors}`);
  }
}

module.exports = { MailServer, certificate };
