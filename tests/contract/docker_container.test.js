// cchost in a container of its own, on a real dockerd, by the commands that docs/service.md shows: built of what is here, run with
// nothing that it does not need, restarted, exchanged for another version, ended; with machines that are nobody's, and with docker's.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync, spawn } = require('node:child_process');
const { temp, until, root } = require('../lib/cchost.js');
const { Dockerd, missing } = require('../lib/dockerd.js');
const { bash, fences } = require('../lib/shown.js');

const base = path.join(root, 'build', 'container-base.tar');
const why = missing('dockerd', 'docker', 'curl', 'dpkg-shlibdeps') || (!fs.existsSync(base) && 'no base for the container was made (make deps-docker)');
const skip = why && `dockerd: ${why}`;
if (skip && (process.env.BACKENDS || '').split(' ').includes('docker')) throw new Error(`this host is meant to have dockerd: ${why}`);

const PORT = 8080;
const url = `http://127.0.0.1:${PORT}`;
const page = fences('docs/service.md').filter((b) => b.by && __filename.endsWith(b.by)).map((b) => b.text);
const [building, running, exchanging, onDocker] = page;

let d, here;
const env = () => ({ DOCKER_HOST: d.host, BASE: 'cc/debian:12', MAKEFLAGS: '', MAKELEVEL: '' });

// A block of the page, as it can be run here: quick to say how it is.
async function shown(text, change = (x) => x) {
  const quick = text.replaceAll('docker run -d', 'docker run -d --health-interval 1s');
  const r = await bash(change(quick), { cwd: here, env: env(), seconds: 200 });
  assert.strictEqual(r.status, 0, `${text}\n${r.out}${r.err}`);
  return r.out.trim();
}

test.before(async () => {
  if (skip) return;
  assert.strictEqual(page.length, 4, 'what the page shows');
  here = temp();
  d = await Dockerd.start();
  d.docker('import', base, 'cc/debian:12');
  await d.image('cc/base:1', { config: ['USER claude'] });
  // what it comes to once all is built: other suites run from this tree meanwhile
  assert.match(building, /^make container /);
  const said = execFileSync('make', ['-n', 'container'], { cwd: root, env: { ...process.env, ...env() } }).toString();
  const lines = said.trim().split('\n').filter((l) => /^host\/service\/container\/context\.sh |^docker build /.test(l));
  assert.strictEqual(lines.length, 2, said);
  const r = await bash(lines.join('\n'), { cwd: root, env: env(), seconds: 300 });
  assert.strictEqual(r.status, 0, r.out + r.err);
  await shown(running.replace(/^(sh|docker) .*$/gm, '')); // its files
});
test.after(async () => {
  if (!d) return;
  const left = await d.left();
  const names = d.docker('ps', '-a', '--format', '{{.Names}}');
  await d.end();
  fs.rmSync(here, { recursive: true, force: true });
  assert.deepStrictEqual([left, names], [[], ''], 'nothing of ours is left');
});

const inside = (...words) => d.docker('exec', 'cchost', ...words);
const state = async () => (await d.api('GET', '/containers/cchost/json')).body.State;
const well = () => until(async () => (await state()).Health.Status === 'healthy', () => `it is well:\n${d.docker('logs', 'cchost')}`, 60);

// By curl, as people do. -> the body; what is no 2xx fails
function api(key, method, where, body) {
  const words = ['-sS', '--fail-with-body', '--max-time', '60', '-X', method, '-H', `X-API-Key: ${key}`];
  if (body) words.push('-H', 'Content-Type: application/json', '-d', JSON.stringify(body));
  const text = execFileSync('curl', [...words, `${url}${where}`]).toString();
  return text && JSON.parse(text);
}

// Its end: within its time, by itself, with 0.
async function stop() {
  const begun = Date.now();
  d.docker('stop', 'cchost');
  const took = (Date.now() - begun) / 1000;
  const { ExitCode, OOMKilled } = await state();
  assert.deepStrictEqual([ExitCode, OOMKilled], [0, false], d.docker('logs', 'cchost'));
  return took;
}

test('the image holds what is needed and nothing that gives rights', { skip }, async (t) => {
  const { Config } = (await d.api('GET', '/images/cchost/json')).body;
  assert.deepStrictEqual([Config.User, Config.StopSignal, Object.keys(Config.Volumes), Object.keys(Config.ExposedPorts), Config.Entrypoint, Config.Cmd],
    ['10001:10001', 'SIGTERM', ['/var/lib/cchost'], ['8080/tcp'], ['/usr/bin/cchost'], ['serve']]);
  const run = (...words) => d.docker('run', '--rm', '--read-only', '--cap-drop', 'ALL', '--entrypoint', words[0], 'cchost', ...words.slice(1));
  assert.strictEqual(d.docker('run', '--rm', '--user', '0', '--entrypoint', 'find', 'cchost', '/', '-xdev', '-perm', '/6000', '-type', 'f'), '', 'no program gives its user\'s rights to others');
  assert.strictEqual(run('sh', '-c', 'ldd /usr/bin/cchost | grep "not found" || id -un'), 'cchost');
  assert.match(run('cchost', '--version'), /^cchost \d/);
  assert.match(run('cchost', 'config'), /^LISTEN_ADDR +0\.0\.0\.0:8080/m);
  assert.strictEqual(run('sh', '-c', 'ls /lib/systemd/system/cchost* /usr/lib/cchost /cchost.deb 2>/dev/null | wc -l'), '0');
});

test('it runs with nothing, keeps what it was given, gives its place to another version and ends in time', { skip }, async (t) => {
  t.after(() => bash('docker rm -fv cchost; docker volume rm cchost-data', { env: env() }));
  await shown(/^sh .*$/m.exec(running)[0]);
  await well();
  const key = await shown(/^docker exec.*$/m.exec(running)[0]);
  assert.match(key, /^\S{32,}$/);
  assert.match((await state()).Health.Log.pop().Output, /^ready/);

  const status = inside('cat', '/proc/1/status');
  for (const sign of [/^Uid:\t10001\t10001/m, /^CapEff:\t0+$/m, /^CapBnd:\t0+$/m, /^NoNewPrivs:\t1$/m, /^Seccomp:\t2$/m]) assert.match(status, sign);
  assert.throws(() => inside('touch', '/etc/cchost/x', '/tmp/x', '/x'), /Read-only/);
  const diff = (await d.api('GET', '/containers/cchost/changes')).body;
  assert.ok(!diff || diff.length === 0, `it writes to its volume alone: ${JSON.stringify(diff)}`);

  const made = api(key, 'POST', '/instances?wait=30', { name: 'first' });
  assert.strictEqual(made.status, 'RUNNING');
  assert.match(inside('cchost', 'instances'), new RegExp(`^${made.id} +RUNNING`, 'm'));

  d.docker('exec', '-d', 'cchost', 'sh', '-c', 'sleep 0.1 & sleep 0.1 & exit 0');
  const states = () => inside('sh', '-c', 'cat /proc/[0-9]*/stat 2>/dev/null | sed "s/^[0-9]* (\\(.*\\)) \\(.\\) .*/\\1 \\2/"').split('\n');
  await until(() => !states().some((x) => /^sleep/.test(x)), () => `orphans are reaped: ${states()}`);
  assert.ok(!states().some((x) => / Z$/.test(x)), `${states()}`);

  d.docker('restart', 'cchost');
  await well();
  assert.strictEqual(api(key, 'GET', '/instances/first').status, 'RUNNING', 'it is what it was');

  // another version, which is told by its label here
  fs.writeFileSync(path.join(here, 'Dockerfile'), 'FROM cchost\nLABEL version=2\n');
  await bash('docker tag cchost cchost:1 && docker build -q -t cchost .', { cwd: here, env: env() });
  const events = spawn('curl', ['-sN', '-H', `X-API-Key: ${key}`, '-H', 'Accept: text/event-stream', `${url}/events`], { stdio: 'ignore' });
  const cut = new Promise((r) => events.on('close', r));
  const begun = Date.now();
  await shown(exchanging);
  assert.ok(Date.now() - begun < 20000, 'an open stream holds up nothing');
  await cut;
  await well();
  assert.strictEqual((await d.api('GET', '/containers/cchost/json')).body.Config.Labels.version, '2');
  assert.strictEqual(api(key, 'GET', `/instances/${made.id}`).status, 'RUNNING', 'with the same key, on the same store');
  api(key, 'POST', '/instances/first/stop?wait=30');
  api(key, 'DELETE', '/instances/first?wait=30');
  assert.match(inside('cchost', 'log', '--verify'), /\d/);

  const took = await stop();
  assert.ok(took < 10, `${took} s`);
  assert.match((await bash('docker logs cchost 2>&1', { env: env() })).out, /msg="ending/);
});

test('settings in a folder, and a proxy in front that is believed', { skip }, async (t) => {
  t.after(() => bash('docker rm -fv cchost; docker volume rm cchost-data', { env: env() }));
  const etc = path.join(here, 'etc');
  fs.mkdirSync(etc);
  const gateway = await shown('docker run -d --rm --name probe cc/base:1 sleep 100 >/dev/null; docker inspect probe -f "{{.NetworkSettings.Networks.bridge.Gateway}}"; docker rm -f probe >/dev/null');
  fs.writeFileSync(path.join(etc, 'cchost.lua'), `return { LISTEN_ADDR = "0.0.0.0:8080", DATA_DIR = "/var/lib/cchost", DEV_LOGIN = "off",
    BASE_URL = "https://cloud.example.org", TRUSTED_PROXIES = "${gateway}", LOG_FORMAT = "json" }`);
  fs.writeFileSync(path.join(here, 'cchost.env'), 'PROVIDER=mock\n');
  await shown('sh run-cchost -v "$PWD/etc:/etc/cchost:ro"');
  await well();
  execFileSync('curl', ['-sS', '-H', 'X-Forwarded-For: 203.0.113.7', '-H', 'X-Forwarded-Proto: https', `${url}/healthz`], { stdio: 'ignore' });
  await until(async () => /"remote":"203\.0\.113\.7"/.test((await bash('docker logs cchost 2>&1', { env: env() })).out), 'whom the proxy names is who asked');
  await stop();
});

test('with docker\'s socket it makes machines beside itself, and finds them again', { skip }, async (t) => {
  const data = temp();
  t.after(async () => {
    await bash('docker rm -fv cchost; docker volume rm cchost-data', { env: env() });
    fs.rmSync(data, { recursive: true, force: true });
  });
  await shown(onDocker, (x) => x.replaceAll('/srv/cchost', data).replaceAll('/var/run/docker.sock:', `${d.socket}:`).replaceAll('%g /var/run/docker.sock', `%g ${d.socket}`)
    .replace('sh run-cchost', 'sh run-cchost -e DOCKER_IMAGE=cc/base:1 -e STOP_GRACE_SECONDS=2'));
  await well();
  const key = inside('cat', `${data}/api_key`);
  const made = api(key, 'POST', '/instances?wait=60', { name: 'box' });
  assert.strictEqual(made.status, 'RUNNING', JSON.stringify(made));
  const run = (line) => api(key, 'POST', '/instances/box/exec', { cmd: ['sh', '-c', line] });
  assert.deepStrictEqual([run('echo kept > /home/claude/x; hostname').exit], [0]);
  assert.notStrictEqual(run('rm -f /run/cchost/agent/agent.sock').exit, 0, 'the image\'s user cannot put another in the agent\'s place');
  assert.strictEqual((await d.api('GET', `/containers/claude-${made.short}/json`)).body.State.Running, true);
  d.docker('restart', 'cchost');
  await well();
  assert.strictEqual(api(key, 'GET', '/instances/box').status, 'RUNNING');
  assert.strictEqual(run('cat /home/claude/x').stdout, 'kept\n');
  assert.ok(api(key, 'GET', '/instances/box/stats').load !== undefined, 'its agent is reached');
  api(key, 'DELETE', '/instances/box?wait=60');
  await until(async () => (await d.api('GET', `/containers/claude-${made.short}/json`)).status === 404, 'its container is gone');
  const took = await stop();
  assert.ok(took < 10, `${took} s`);
  for (const v of (await d.api('GET', '/volumes')).body.Volumes || []) if (/^claude-data-/.test(v.Name)) await d.api('DELETE', `/volumes/${v.Name}`);
});
