// The package under a real systemd: it starts within its sandbox, works, is upgraded under load, survives what systemd does to it,
// and goes.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Booted, build, lack, temp } = require('./booted.js');
const { root, until } = require('../../lib/cchost.js');

const dir = lack ? null : temp();
let system;

const deb = (version) => `/packages/cchost_${version}.deb`;
const KEY = 'K="X-API-Key: $(cat /var/lib/cchost/api_key)"; U=http://127.0.0.1:8080';
const mainPid = () => Number(system.ask('systemctl show -P MainPID cchost'));
const state = () => system.ask('systemctl show -P ActiveState cchost').trim();
const health = () => system.ask(`${KEY}; curl -sf $U/healthz`);

test.before(async () => {
  if (lack) return;
  for (const version of ['0.1.0', '0.1.1']) build(path.join(dir, `cchost_${version}.deb`), version);
  system = new Booted(dir);
  await system.start();
});
test.after(async () => {
  if (lack) return;
  await system.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

test('an installation starts the service, inside of all that the unit forbids', { skip: lack }, () => {
  system.ask(`dpkg -i ${deb('0.1.0')}`);
  assert.strictEqual(state(), 'active');
  assert.match(system.ask('systemctl show -P StatusText cchost'), /serves at http:\/\/127\.0\.0\.1:8080/);
  const is = system.ask(`cat /proc/${mainPid()}/status`);
  for (const sign of [/^CapEff:\t0+$/m, /^CapBnd:\t0+$/m, /^NoNewPrivs:\t1$/m, /^Seccomp:\t2$/m]) assert.match(is, sign);
  assert.match(is, new RegExp(`^Uid:\\t${system.ask('id -u cchost').trim()}\\t`, 'm'));
  const inside = `nsenter -t ${mainPid()} -m -- sh -c`;
  assert.match(system.ask(`${inside} 'touch /etc/x /usr/x /var/x' || true`), /(.*Read-only file system\n){3}/);
  assert.strictEqual(system.ask(`${inside} 'ls /home /root /dev/kvm /dev/sda 2>/dev/null' || true`).trim().replace(/\/(home|root):?\s*/g, ''), '');
  assert.doesNotMatch(system.ask('journalctl -u cchost -p err --no-pager -o cat'), /level=error/);
});

test('a machine of this host is a unit of its own: without the service\'s fetters, and alive when that dies', { skip: lack }, async () => {
  const exec = (script) => JSON.parse(system.ask(`${KEY}; curl -sf -H "$K" -d '${JSON.stringify({ cmd: ['sh', '-c', script] })}' $U/instances/near/exec`)).stdout;
  const units = () => system.ask('systemctl list-units --plain --no-legend "cchost-spawner@*" | cut -d" " -f1').trim().split('\n').filter(Boolean);
  system.ask(`${KEY}; curl -sf -H "$K" -d '{"name":"near","network":"none"}' $U/instances`);
  await until(() => {
    const is = system.ask(`${KEY}; curl -sf -H "$K" $U/instances/near`);
    assert.doesNotMatch(is, /"status":"ERROR"/);
    return /"status":"RUNNING"/.test(is);
  }, 'near runs');
  await until(() => units().length === 1, () => `the machine's unit: ${units()}`);
  const [unit] = units();
  assert.match(system.ask(`systemctl show -P ControlGroup ${unit}`), /^\/cchost\.slice\/cchost-machines\.slice\/cchost-spawner@/);
  // its spawner, beside the service: no filter, no no_new_privs; what the machine has itself is the launcher's doing
  const of = (pid) => system.ask(`cat /proc/${pid}/status`);
  const spawner = system.ask(`systemctl show -P MainPID ${unit}`).trim();
  assert.match(of(spawner), /^NoNewPrivs:\t0\nSeccomp:\t0$/m);
  assert.match(of(mainPid()), /^NoNewPrivs:\t1\nSeccomp:\t2$/m);
  const filters = (text) => Number(/^Seccomp_filters:\t(\d+)$/m.exec(text)[1]);
  assert.strictEqual(filters(exec('cat /proc/self/status')), 1); // the machine's own
  assert.ok(filters(of(mainPid())) > 1);
  assert.strictEqual(exec('id -un'), 'claude\n');
  // a terminal, by way of the server
  assert.match(system.ask('cd /etc/cchost && printf "echo seen-\\$((6*7))\\nexit\\n" | runuser -u cchost -- cchost attach near'), /seen-42/);
  // the service ends, in the worst of ways, and comes again: it is the same machine
  exec('echo kept >/tmp/kept; sleep 600 >/dev/null 2>&1 &');
  const pid = mainPid();
  system.ask(`kill -KILL ${pid}`);
  await until(() => mainPid() !== pid && state() === 'active', 'the service came again', 60);
  assert.strictEqual(exec('cat /tmp/kept; pgrep -c sleep'), 'kept\n1\n');
  system.ask('systemctl restart cchost');
  assert.strictEqual(exec('cat /tmp/kept'), 'kept\n');
  assert.deepStrictEqual(units(), [unit]);
  // nobody else is served
  assert.match(system.ask('runuser -u nobody -- python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.connect(\'/run/cchost-spawner.sock\')" || true'), /Permission denied/);
  assert.strictEqual(system.ask('python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.connect(\'/run/cchost-spawner.sock\'); print(len(s.recv(100)))"').trim(), '0');
  system.ask(`${KEY}; curl -sf -H "$K" -X DELETE $U/instances/near`);
  await until(() => units().length === 0, () => `no unit is left: ${units()}`);
});

test('terminals of a machine lose no byte while dpkg upgrades, and goes back, and the machine is the same', { skip: lack }, async () => {
  system.ask(`sed -i 's/PROVIDER = "local",/PROVIDER = "local", TERMINAL_COMMAND = "stty raw -echo; printf \\x27cat runs\\x27; exec cat",/' /etc/cchost/cchost.lua && systemctl restart cchost`);
  system.ask(`${KEY}; curl -sf -H "$K" -d '{"name":"near","network":"none"}' $U/instances`);
  const unit = () => system.ask('systemctl list-units --plain --no-legend "cchost-spawner@*" | cut -d" " -f1');
  let typist, said = '';
  try {
    await until(() => /"status":"RUNNING"/.test(system.ask(`${KEY}; curl -sf -H "$K" $U/instances/near`)), 'near runs');
    const was = unit();
    for (const what of ['lib', 'service/package/typist.js']) {
      fs.cpSync(path.join(root, 'tests', what), path.join(`/proc/${system.pid}/root/tmp/tests`, what), { recursive: true });
    }
    typist = system.begin('env', 'NODE_PATH=/usr/share/nodejs', 'node', '/tmp/tests/service/package/typist.js', '8');
    for (const out of [typist.stdout, typist.stderr]) out.on('data', (d) => { said += d; });
    const ended = new Promise((r) => typist.on('close', r));
    const hears = (what) => until(() => what.exec(said) || (assert.strictEqual(typist.exitCode, null, said), null), () => `${what} in ${said}`, 90);
    const [, inside] = await hears(/"typing":(\d+)/);
    const goOn = async () => {
      said = '';
      system.ask(`kill -USR1 ${inside}`);
      await hears(/"more"/);
    };
    await goOn();
    for (const version of ['0.1.1', '0.1.0']) {
      const out = system.ask(`timeout 200 dpkg -i --force-downgrade ${deb(version)}`);
      assert.match(out, /serves in the place of pid/, out);
      await goOn();
    }
    said = '';
    system.ask(`kill -USR2 ${inside}`);
    await ended;
    const told = JSON.parse(said);
    console.log(`# ${told.bytes} bytes typed, ${told.lost} lost, over ${told.connections} connections of 8 terminals`);
    assert.deepStrictEqual([told.lost, told.wrong], [0, 0], said);
    assert.ok(told.bytes > 5000 && told.connections >= 24, said); // each came again after each
    assert.strictEqual(unit(), was);
  } finally {
    if (typist) typist.kill('SIGKILL');
    system.ask(`${KEY}; curl -sf -H "$K" -X DELETE $U/instances/near`);
    await until(() => unit() === '', () => unit());
  }
});

test('it works there: machines, scripts, policies by file and by HTTP, HUP, and its user\'s commands', { skip: lack }, async () => {
  system.ask(`sed -i 's/PROVIDER = "local"/PROVIDER = "mock", RATE_LIMIT_API = 0/' /etc/cchost/cchost.lua && systemctl restart cchost`);
  system.ask(`${KEY}; curl -sf -H "$K" -d '{"name":"first"}' $U/instances`);
  await until(() => /"status":"RUNNING"/.test(system.ask(`${KEY}; curl -sf -H "$K" $U/instances/first`)), 'first runs');
  const ctl = (words) => system.ask(`cd /etc/cchost && runuser -u cchost -- cchost ${words}`);
  assert.match(ctl('instances'), / RUNNING +mock .* first\n/);
  assert.match(ctl('log --verify'), /the log is whole/);
  system.ask('cp /usr/share/cchost/policies/idle.lua /etc/cchost/policies/ && echo "-- mine" >>/etc/cchost/policies/idle.lua');
  await until(() => /generation +2|generation 2/.test(ctl('policy status')), 'the edit is in force');
  const pid = mainPid();
  system.ask('systemctl reload cchost');
  assert.strictEqual(mainPid(), pid);
  health();
});

test('an upgrade by dpkg drops no request, and is the same service afterwards', { skip: lack }, async () => {
  const pid = mainPid();
  const load = system.begin('node', '-e', `
    const http = require('node:http'), fs = require('node:fs');
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
    const key = fs.readFileSync('/var/lib/cchost/api_key', 'utf8').trim();
    let n = 0, bad = [], stop = false;
    const one = () => new Promise((done) => http.get({ port: 8080, path: '/instances/first', agent, headers: { 'X-API-Key': key } }, (res) => {
      res.resume().on('end', () => { n++; if (res.statusCode !== 200) bad.push(res.statusCode); done(); });
    }).on('error', (e) => { bad.push(e.code); done(); }));
    const loop = async () => { while (!stop) await one(); };
    process.on('SIGTERM', () => { stop = true; });
    fs.writeFileSync('/tmp/load', '');
    Promise.all(Array.from({ length: 8 }, loop)).then(() => { console.log(JSON.stringify({ n, bad })); process.exit(); });
    console.log('{"pid":' + process.pid + '}');`);
  let said = '';
  for (const out of [load.stdout, load.stderr]) out.on('data', (d) => { said += d; });
  const ended = new Promise((r) => load.on('close', r));
  await until(() => /"pid"/.test(said), () => said);
  const out = system.ask(`timeout 200 dpkg -i ${deb('0.1.1')}`);
  assert.match(out, /serves in the place of pid/, out + system.ask('journalctl -u cchost --no-pager -o cat | grep -v module=access | tail -n 30'));
  assert.notStrictEqual(mainPid(), pid);
  system.ask(`kill ${/"pid":(\d+)/.exec(said)[1]}`);
  await ended;
  const { n, bad } = JSON.parse(said.trim().split('\n').pop());
  assert.deepStrictEqual(bad, []);
  assert.ok(n > 100, said);
  console.log(`# ${n} requests, ${bad.length} failed, while dpkg upgraded`);
  assert.strictEqual(state(), 'active');
  assert.strictEqual(system.ask('systemctl show -P NRestarts cchost').trim(), '0');
  await until(() => { try { process.kill(pid, 0); } catch { return true; } return !system.ask(`ls -d /proc/${pid} 2>/dev/null || true`).trim(); }, 'the old process has ended', 60);
  assert.match(system.ask(`cd /etc/cchost && runuser -u cchost -- cchost log --type=upgraded --json`), /"upgraded"/);
});

test('a version that cannot take over is started instead, and dpkg\'s words say so', { skip: lack }, async () => {
  const pid = mainPid();
  // what it is asked to take over from does not answer, as a process that was stopped
  const out = system.ask(`runuser -u cchost -- sh -c 'rm /var/lib/cchost/serve.lock && : >/var/lib/cchost/serve.lock' && dpkg -i ${deb('0.1.0')}`);
  assert.match(out, /could not hand over to this version .* it is restarted/);
  assert.notStrictEqual(mainPid(), pid);
  assert.strictEqual(state(), 'active');
  health();
});

test('a version that would not start is not started: the server of before serves on, and dpkg\'s words say so', { skip: lack }, () => {
  const pid = mainPid();
  const out = system.ask(`cp /etc/cchost/cchost.lua /root/good.lua && sed -i 's/127.0.0.1:8080/nowhere/' /etc/cchost/cchost.lua && dpkg -i ${deb('0.1.1')}`);
  assert.match(out, /LISTEN_ADDR/);
  assert.match(out, /does not run with the settings and policies that are here[^]*serves on/);
  assert.strictEqual(mainPid(), pid);
  health();
  assert.match(system.ask(`cat /root/good.lua >/etc/cchost/cchost.lua && cd /etc/cchost && runuser -u cchost -- cchost upgrade`), /serves in the place of pid/);
  health();
});

test('a loop that hangs is ended by the watchdog, and the service comes again', { skip: lack }, async () => {
  system.ask('mkdir -p /run/systemd/system/cchost.service.d && printf "[Service]\\nWatchdogSec=2\\nTimeoutAbortSec=1\\nRestartSec=0\\n" >/run/systemd/system/cchost.service.d/test.conf && systemctl daemon-reload && systemctl restart cchost');
  const pid = mainPid();
  system.ask(`kill -STOP ${pid}`);
  await until(() => mainPid() !== pid && state() === 'active', 'it was started again', 60);
  assert.match(system.ask('journalctl -u cchost --no-pager -o cat -g Watchdog'), /Watchdog timeout/);
  health();
  system.ask('rm -r /run/systemd/system/cchost.service.d && systemctl daemon-reload && systemctl restart cchost');
});

test('with its socket systemd binds the address, and starts the service when somebody comes', { skip: lack }, async () => {
  system.ask('systemctl stop cchost && systemctl start cchost.socket');
  assert.strictEqual(state(), 'inactive');
  health();
  assert.strictEqual(state(), 'active');
  system.ask('systemctl stop cchost.socket cchost && systemctl start cchost');
  health();
});

test('a removal stops it, a purge leaves nothing', { skip: lack }, async () => {
  system.ask(`${KEY}; curl -sf -H "$K" -X DELETE $U/instances/first`);
  await until(() => !/first/.test(system.ask('cd /etc/cchost && runuser -u cchost -- cchost instances')), 'first is gone');
  assert.doesNotMatch(system.ask('dpkg --remove cchost'), /these machines stay/);
  assert.notStrictEqual(system.ask('systemctl show -P ActiveState cchost').trim(), 'active');
  const out = system.ask('dpkg --purge cchost');
  for (const what of ['/etc/cchost', '/var/lib/cchost', 'the user cchost']) assert.ok(out.includes(`cchost: removed ${what}\n`), out);
  assert.strictEqual(system.ask('ls -d /etc/cchost /var/lib/cchost /run/cchost /etc/systemd/system/*/cchost* /usr/share/cchost 2>/dev/null || true'), '');
  assert.strictEqual(system.ask('getent passwd cchost || true; getent group cchost || true; pgrep -u cchost 2>/dev/null || true; systemctl list-units --all --no-legend "cchost*" || true').trim(), '');
});
