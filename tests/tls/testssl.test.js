'use strict';
// What testssl.sh finds: nothing above "low", but for what is accepted here by name. TESTSSL=full runs all of its checks
// (make testssl), else those that a mistake of ours could change.
const test = require('node:test');
const assert = require('node:assert');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const { Server, complaints, temp } = require('../lib/cchost.js');
const { make } = require('./certs.js');

const accepted = {
  engine_problem: 'about the openssl that testssl.sh itself uses: no GOST engine',
  scanProblem: 'about testssl.sh itself, never about the server',
  cert_revocation: 'the certificate of the test names no CRL and no OCSP responder; revocation is its issuer\'s',
  cert_chain_of_trust: 'testssl.sh checks against the stores that it carries before the CA of the test',
  DNS_CAArecord: 'localhost has no record in the DNS',
};
const chosen = ['-p', '-s', '-P', '-S', '-f', '-h', '-R', '-H', '-I', '-T'];

test('testssl.sh finds nothing above low that is not accepted by name', { timeout: 600000 }, async () => {
  const dir = temp();
  make(dir, 'root', { names: ['the tests'], ip: [] });
  const pairs = [make(dir, 'ec', { ca: 'root', days: 90 }), make(dir, 'rsa', { ca: 'root', days: 90, kind: 'rsa' })];
  const s = await Server.start({ provider: 'mock', base_url: 'https://localhost', tls_cert: pairs.map((p) => p.cert).join(','),
    tls_key: pairs.map((p) => p.key).join(',') }, null, { ca: fs.readFileSync(`${dir}/root.crt`) });
  const out = `${dir}/out.json`;
  const c = spawn('testssl', ['--quiet', '--color', '0', '--warnings', 'batch', '--nodns', 'none', '--ip', '127.0.0.1', '--add-ca', `${dir}/root.crt`,
    '--jsonfile', out, ...(process.env.TESTSSL === 'full' ? [] : chosen), `https://localhost:${s.port}`], { stdio: ['ignore', 'pipe', 'pipe'], cwd: dir });
  let text = '';
  c.stdout.on('data', (d) => { text += d; });
  c.stderr.on('data', (d) => { text += d; });
  await new Promise((r) => c.on('close', r));
  const findings = JSON.parse(fs.readFileSync(out, 'utf8'));
  await s.stop();
  fs.rmSync(dir, { recursive: true, force: true });
  const ids = new Map(findings.map((f) => [f.id, f]));
  // It has looked at what it was asked to: an empty list would be no proof.
  for (const [id, want] of Object.entries({ TLS1: /not offered/, TLS1_1: /not offered/, TLS1_2: /offered/, SSLv3: /not offered/, PFS: /offered/,
    cipher_order: /server/, secure_renego: /supported/, secure_client_renego: /not vulnerable/, heartbleed: /not vulnerable/, HSTS_time: /days/ })) {
    assert.match(ids.get(id) ? ids.get(id).finding : 'no such finding', want, `${id}:\n${text}`);
  }
  const bad = findings.filter((f) => !['OK', 'INFO', 'LOW'].includes(f.severity) && !accepted[f.id.split(' ')[0]]);
  assert.deepStrictEqual(bad.map((f) => `${f.severity} ${f.id}: ${f.finding}`), []);
  const low = findings.filter((f) => f.severity === 'LOW').map((f) => f.id);
  console.log(`# ${findings.length} findings, low: ${low.join(', ') || 'none'}`);
  assert.deepStrictEqual(complaints(s.log), [], s.log);
});
