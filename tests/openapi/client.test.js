// What others' tools make of the description: spectral finds no error in it; openapi-typescript makes types of it, with which a client
// on openapi-fetch (client.ts) is right, and works on a real server.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { spawnSync } = require('node:child_process');
const { Server, binary } = require('../lib/cchost.js');

const bin = (name) => path.join(__dirname, 'node_modules', '.bin', name);
const run = (command, ...args) => {
  const r = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 24, cwd: __dirname });
  assert.strictEqual(r.status, 0, `${path.basename(command)} ${args.join(' ')}\n${r.stdout}${r.stderr}`);
  return r.stdout;
};

let dir;

test('set up', () => {
  fs.mkdirSync(path.join(__dirname, '../../build'), { recursive: true });
  dir = fs.mkdtempSync(path.join(__dirname, '../../build', 'openapi-'));
  fs.writeFileSync(path.join(dir, 'openapi.json'), run(binary, 'openapi'));
  fs.writeFileSync(path.join(dir, 'package.json'), '{"type": "module"}');
  fs.symlinkSync(path.join(__dirname, 'node_modules'), path.join(dir, 'node_modules'));
});

test('spectral finds no error and no warning in it, and would', { timeout: 120000 }, () => {
  const lint = (file) => spawnSync(bin('spectral'), ['lint', file, '--ruleset', path.join(__dirname, '.spectral.yaml'), '--fail-severity=warn'], { encoding: 'utf8' });
  const good = lint(path.join(dir, 'openapi.json'));
  assert.strictEqual(good.status, 0, good.stdout + good.stderr);
  const doc = JSON.parse(fs.readFileSync(path.join(dir, 'openapi.json')));
  doc.paths['/users'].get.operationId = doc.paths['/users'].post.operationId;
  fs.writeFileSync(path.join(dir, 'wrong.json'), JSON.stringify(doc));
  const bad = lint(path.join(dir, 'wrong.json'));
  assert.match(bad.stdout, /operation-operationId-unique/);
  assert.notStrictEqual(bad.status, 0);
});

test('a client that is made of it has types that fit, and works', { timeout: 120000 }, async (t) => {
  run(bin('openapi-typescript'), path.join(dir, 'openapi.json'), '-o', path.join(dir, 'api.d.ts'));
  fs.copyFileSync(path.join(__dirname, 'client.ts'), path.join(dir, 'client.ts'));
  run(bin('tsc'), '--strict', '--noUncheckedIndexedAccess', '--target', 'es2022', '--lib', 'es2022,dom,dom.iterable', '--module', 'nodenext', path.join(dir, 'client.ts'));
  const s = await Server.start({ provider: 'mock' });
  t.after(() => s.stop());
  const { use } = await import(pathToFileURL(path.join(dir, 'client.js')));
  assert.deepStrictEqual(await use(s.url, s.key), ['RUNNING', 'typed', '0', 'not_found', 'DELETED']);
});

test('nothing is left', () => fs.rmSync(dir, { recursive: true }));
