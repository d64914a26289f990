// Every command that README.md, docs/operations.md, docs/ccc.md and other pages show is run, in the order it stands there.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { Server, root, temp, until, binary } = require('../lib/cchost.js');
const { shown } = require('../lib/shown.js');

const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');
const readme = shown('README.md');

function sh(lines, env) {
  const r = spawnSync('bash', ['-euc', lines.join('\n')], { cwd: root, encoding: 'utf8', env: { ...process.env, ...env }, timeout: 120e3 });
  assert.strictEqual(r.status, 0, r.stdout + r.stderr);
  return r.stdout;
}

test('the first screen shows the two commands, and make knows them', () => {
  assert.deepStrictEqual(readme.take(0).map((l) => l.split('#')[0].trim()), ['make run', 'make test']);
  sh(['make -n test >/dev/null']);
});

test('make run serves; the commands of the first minute and the scripts work on it', async () => {
  const dir = temp();
  // under a sanitizer build the same rule runs that build
  const command = process.env.V === 'asan' ? [binary, 'serve'] : ['make', 'run'];
  const child = spawn(command[0], command.slice(1), {
    cwd: root, detached: true, stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DATA_DIR: dir, LISTEN_ADDR: '127.0.0.1:0' },
  });
  let log = '';
  child.stdout.on('data', (d) => { log += d; });
  child.stderr.on('data', (d) => { log += d; });
  const exited = new Promise((r) => child.on('exit', r));
  try {
    await until(() => /msg=ready.*\n/.test(log) || (child.exitCode !== null && assert.fail(log)), 'ready', 300);
    const url = /url=(http:\/\/[^ \n]+)/.exec(log)[1];
    const here = (lines) => lines.map((l) => l.replace('data/api_key', `${dir}/api_key`).replaceAll('http://127.0.0.1:8080', url).replace('./cchost', binary));
    const lines = here(readme.take(1));
    assert.ok(/STARTING/.test(sh(lines.slice(0, 2))));
    assert.strictEqual(JSON.parse(sh([lines[0], lines[2]])).stdout, '42\n');
    assert.strictEqual(JSON.parse(sh([lines[0], lines[3]])).status, 'STOPPED');
    assert.strictEqual(JSON.parse(sh([lines[0], lines[4]])).status, 'RUNNING');
    const signing = here(readme.take(2));
    assert.strictEqual(JSON.parse(sh(signing.slice(0, 2))).email, 'ann@example.org');
    const hers = JSON.parse(sh([signing[0], signing[2]]));
    assert.match(hers.owner, /^[0-9a-f-]{36}$/);
    assert.strictEqual(signing.length, 3);
    sh([lines[0], `curl -sf -H "X-API-Key: $KEY" -X DELETE ${url}/instances/${hers.id}`]);
    const scripts = here(readme.take(3));
    const env = { DATA_DIR: dir };
    assert.match(sh([scripts[0]], env), /Linux/);
    assert.match(sh([scripts[1]], env), /first +RUNNING/);
    assert.match(sh([scripts[2]], env), /0 of 1 machines would be stopped/);
    assert.strictEqual(JSON.parse(sh([lines[0], lines[5]])).status, 'DELETED');
    assert.strictEqual(lines.length, 6);
    assert.strictEqual(scripts.length, 3);
    const policies = readme.take(4).map((l) => l.replace('./cchost', binary));
    assert.match(sh(policies, env), /policies: good: \d+ tests/);
    readme.done();
  } finally {
    process.kill(-child.pid, 'SIGINT');
    await exited;
    fs.rmSync(dir, { recursive: true, force: true });
  }
});

test('the commands of the operator\'s page work beside a server', async () => {
  const s = await Server.start({ provider: 'mock', policies_dir: undefined }); // the shipped ones
  const here = temp();
  try {
    await s.running((await s.call('POST', '/instances', { name: 'first' })).body.id);
    const page = shown('docs/operations.md');
    const said = (await page.run({ cwd: here, env: { DATA_DIR: s.dir, POLICIES_DIR: path.join(s.dir, 'policies') } })).join('');
    page.done();
    for (const sign of [/ RUNNING +mock +small +operator +first\n/, /the log is whole: /, / created /, /cchost.backup: \d+ bytes/,
      /restored: restored, /, /lines imported: \d+/, /machines imported: 1/, /"provider":"foreign"/,
      /generation 2 is staged, and asked beside generation 1/, /generation 2 decides for 10% of the users\n/, /generation 3 is in force\n/, /statuses: sound/]) {
      assert.match(said, sign);
    }
    for (const file of ['out.json', 'all.jsonl', 'statuses.dot']) assert.ok(fs.statSync(path.join(here, file)).size > 0, file);
  } finally {
    await s.stop();
    fs.rmSync(here, { recursive: true, force: true });
  }
});

test('the commands of the page about ccc work, on a store and at a server', async () => {
  const here = temp();
  fs.symlinkSync(binary, path.join(here, 'ccc'));
  const page = shown('docs/ccc.md');
  const s = await Server.start({ provider: 'mock', mock: `{state="${here}/world"}` });
  const change = (text) => text.replaceAll('http://127.0.0.1:8080', s.url).replaceAll('data/api_key', `${s.dir}/api_key`);
  const run = async (n, env) => (await page.run({ cwd: here, env, change }, n))[0];
  try {
    for (const env of [{ DATA_DIR: path.join(here, 'data'), PROVIDER: 'mock', MOCK: `{state="${here}/own"}` }, { CCHOST_URL: s.url, API_KEY: s.key }]) {
      const said = await run(0, env);
      fs.rmSync(path.join(here, 'id_ann'));
      for (const sign of [/cpx31 {2}4 vCPU/, /Instance provisioned successfully!\n/, /SSH command: ssh claude@/, /Remaining: {3}59m\n/, / by 24 hours\n/, / by 2 hours\n/,
        /"serverType":"cpx31"/, /\nDone\n$/]) assert.match(said, sign);
    }
    assert.match(await run(1, {}), /^[0-9a-f]{12}\t192\.0\.2\.\d+\tbob@example\.org\t/);
    page.done();
  } finally {
    await s.stop();
    fs.rmSync(here, { recursive: true, force: true });
  }
});

test('the commands of the page about the service work, and its files are those of the package', async () => {
  const here = temp();
  try {
    const text = read('docs/service.md');
    const page = shown('docs/service.md');
    const [said] = await page.run({ cwd: here });
    page.done();
    assert.match(fs.readFileSync(path.join(here, '_cchost'), 'utf8'), /^#compdef cchost ccc\n/);
    for (const name of ['cchost.1', 'cchost.lua.5']) assert.match(fs.readFileSync(path.join(here, name), 'utf8'), /^\.TH /);
    assert.match(said, /^cchost-policies\.7$/m);
    sh(['make -n deb >/dev/null', 'make -n package >/dev/null']);
    const units = fs.readdirSync(path.join(root, 'host', 'service')).filter((f) => /\.(service|socket|slice)$/.test(f));
    for (const unit of units) assert.ok(text.includes(unit.replace(/@\.service$/, '@').replace(/^cchost\.service$/, 'systemctl status cchost').replace('cchost-spawner.socket', 'cchost-spawner.sock')), unit);
  } finally {
    fs.rmSync(here, { recursive: true, force: true });
  }
});

test('every file that the documents name is there', () => {
  const pages = ['README.md', 'policies/README.md', 'providers/README.md', ...fs.readdirSync(path.join(root, 'docs')).filter((n) => n.endsWith('.md')).map((n) => `docs/${n}`)];
  for (const page of pages) {
    for (const [, file] of read(page).matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)) assert.ok(fs.existsSync(path.join(root, path.dirname(page), file)), `${page}: ${file}`);
  }
});
