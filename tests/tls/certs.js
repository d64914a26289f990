'use strict';
// Certificates for the tests, made by openssl.
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const openssl = (dir, ...args) => execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });

const key = { ec: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], ec384: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  rsa: ['rsa:2048'], rsa1024: ['rsa:1024'], ed25519: ['ed25519'] };

// make(dir, 'a', {names: ['a.test'], kind: 'ec', days: 30, ca: 'root', extra: [...]}) writes a.crt and a.key, signed by ca or by itself.
// -> {cert, key} as paths. With a CA the file holds the chain.
function make(dir, name, { names = ['localhost'], kind = 'ec', days = 30, ca = null, extra = [], ip = ['127.0.0.1'] } = {}) {
  const san = [...names.map((n) => `DNS:${n}`), ...ip.map((n) => `IP:${n}`)].join(',');
  const crt = path.join(dir, `${name}.crt`);
  openssl(dir, 'req', '-x509', '-newkey', ...key[kind], '-nodes', '-keyout', `${name}.key`, '-out', `${name}.crt`, '-sha256', '-days', String(days),
    '-subj', `/CN=${names[0] || name}`, ...(san ? ['-addext', `subjectAltName=${san}`] : []),
    ...(ca ? ['-CA', `${ca}.crt`, '-CAkey', `${ca}.key`, '-addext', 'basicConstraints=critical,CA:FALSE'] : []),
    ...extra.flatMap((e) => ['-addext', e]));
  if (ca) fs.appendFileSync(crt, fs.readFileSync(path.join(dir, `${ca}.crt`)));
  return { cert: crt, key: path.join(dir, `${name}.key`) };
}

module.exports = { make, openssl };
