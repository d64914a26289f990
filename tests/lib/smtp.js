// A real mail server on loopback for tests (smtp_server.py, aiosmtpd), and certificates that openssl makes.
'use strict';
const { spawn, spawnSync } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');
const { until } = require('./cchost.js');

const children = new Set();
process.on('exit', () => { for (const c of children) c.kill('SIGKILL'); });

// A certificate for localhost and 127.0.0.1 in `dir`, signed by itself. -> { cert, key }
function certificate(dir, name = 'smtp') {
  const cert = `${dir}/${name}.crt`;
  const key = `${dir}/${name}.key`;
  const r = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj',
    '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert], { encoding: 'utf8' });
  if (r.status !== 0) throw new Error(r.stderr);
  return { cert, key };
}

class Mail {
  // options: { cert, key, user, password, refuse, implicit, stall } as smtp_server.py has them
  static async start(options = {}) {
    const m = new Mail();
    const args = Object.entries(options).map(([k, v]) => (v === true ? `--${k}` : `--${k}=${v}`));
    m.child = spawn('/usr/bin/python3', [path.join(__dirname, 'smtp_server.py'), ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    children.add(m.child);
    m.mails = [];
    m.errors = '';
    m.child.stderr.on('data', (d) => { m.errors += d; });
    m.gone = new Promise((r) => m.child.on('exit', r));
    readline.createInterface({ input: m.child.stdout }).on('line', (line) => {
      const value = JSON.parse(line);
      if (value.port) m.port = value.port; else m.mails.push(value);
    });
    await until(() => {
      if (m.child.exitCode !== null) throw new Error(`the mail server ended: ${m.errors}`);
      return m.port;
    }, 'the mail server listens');
    return m;
  }

  // The next mail that nobody has taken yet.
  async next() {
    await until(() => this.mails.length, 'a mail');
    return this.mails.shift();
  }

  async stop() {
    this.child.stdin.end();
    await this.gone;
    children.delete(this.child);
  }
}

// The text of a mail's quoted-printable body.
const body = (mail) => Buffer.from(mail.data.split(/\r?\n\r?\n/).slice(1).join('\n\n').replace(/=\r?\n/g, '')
  .replace(/=([0-9A-F]{2})/g, (_, h) => String.fromCharCode(parseInt(h, 16))), 'latin1').toString('utf8');

module.exports = { Mail, certificate, body };
