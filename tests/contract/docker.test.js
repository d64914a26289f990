// The driver docker on a real dockerd: the contract, then what is this driver's own, by the whole host and by hand.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { execFile, execFileSync } = require('node:child_process');
const { promisify } = require('node:util');
const { Server, until, temp, root, binary } = require('../lib/cchost.js');
const { CrashProxy, crashes } = require('../lib/crashproxy.js');
const { contract } = require('../lib/contract.js');
const { same } = require('../lib/image.js');
const { Dockerd, missing, program, tls } = require('../lib/dockerd.js');
const { Prism } = require('../lib/prism.js');
const { person } = require('../access/people.js');
const { Terminal } = require('../lib/terminal.js');

const why = missing('dockerd', 'docker', 'ping', 'bash');
const skip = why && `dockerd: ${why}`;
if (skip && (process.env.BACKENDS || '').split(' ').includes('docker')) throw new Error(`this host is meant to have dockerd: ${why}`);
const image = 'cc/base:1';

let d;
test.before(async () => {
  if (skip) return;
  d = await Dockerd.start();
  await d.image(image);
  await d.image('cc/web:1', { config: ['CMD ["httpd", "-f", "-p", "8080", "-h", "/etc"]', 'USER claude'], fill: (dir) => ['bash', 'ping'].forEach((x) => program(dir, x)) });
  await d.image('cc/checked:1', { config: ['HEALTHCHECK --interval=1s --retries=1 CMD test -e /tmp/well'] });
});
test.after(async () => {
  if (!d) return;
  const left = await d.left();
  await d.end();
  assert.deepStrictEqual(left, [], 'nothing of ours is left');
});

const settings = (more) => ({ provider: 'docker', docker_host: d.host, docker_image: image, stop_grace_seconds: 2, terminal_command: 'exec sh', ...more });

// One server for one test, with its machines and their volumes gone at the end.
async function host(t, more, dir, how) {
  const s = await Server.start(settings(more), dir, how);
  t.after(async () => {
    await s.stop();
    await forgetVolumes();
  });
  return s;
}

async function forgetVolumes() {
  for (const v of (await d.api('GET', '/volumes')).body.Volumes || []) await d.api('DELETE', `/volumes/${v.Name}`);
}

// What has to happen gets so many seconds until it is given up, however busy this machine is.
const LONG = 120;

async function make(s, body) {
  const r = await s.call('POST', '/instances', body);
  assert.strictEqual(r.status, 201, r.text);
  await s.running(r.body.id, LONG);
  return (await s.call('GET', `/instances/${r.body.id}`)).body;
}

const run = async (s, m, line) => {
  const r = await s.call('POST', `/instances/${m.id}/exec`, { cmd: ['sh', '-c', line], timeout: 60 });
  assert.strictEqual(r.status, 200, r.text);
  return r.body;
};

// Asked of a machine, and done: where the answer comes before that is, it tells the operation. who: a server, or a person.
async function done(who, method, where, body) {
  const r = await who.call(method, `${where}?wait=30`, body);
  if (r.status === 202) {
    await until(async () => {
      const op = await who.call('GET', r.headers.location);
      assert.ok(op.status === 200 && !/^(failed|cancelled)$/.test(op.body.state), op.text);
      return op.body.state === 'done';
    }, `${method} ${where} is done`, LONG);
  } else {
    assert.strictEqual(r.status, 200, r.text);
  }
}

// What the contract asks of a dockerd behind the driver's back.
const told = (at) => {
  const cli = `docker -H ${at.host}`;
  return {
    left: `${cli} ps -aq --filter label=cchost.id; ${cli} volume ls -q --filter label=cchost.volume; ${cli} network ls -q --filter label=cchost.net; ${cli} images -q 'claude-disk-*'; ${cli} images -aq --filter label=cchost.short`,
    halt: `${cli} kill claude-$SHORT >/dev/null`, remove: `${cli} rm -f claude-$SHORT >/dev/null; ${cli} volume rm claude-data-$SHORT >/dev/null`,
  };
};

test('the contract', { skip }, async (t) => {
  await contract(t, 'docker', { host: d.host, stop_grace_ms: 2000 }, { image, ...told(d), down: 'host=unix:///nowhere/s' });
});

// ---- over TCP with TLS, as one speaks to a dockerd on another host: none of our files is seen there

async function overTls(t) {
  const dir = temp();
  const { args, url, good, strange } = tls(dir);
  const far = await Dockerd.start({ args });
  const hosts = [];
  t.after(async () => {
    try {
      for (const s of hosts) await s.stop();
    } finally {
      await far.end();
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });
  const start = async (more) => {
    hosts.push(await Server.start(settings({ docker_host: url, docker_cert_path: good, ...more })));
    return hosts[hosts.length - 1];
  };
  return { far, dir, good, strange, url, start };
}

test('the contract, over TCP by TLS; a dockerd whose CA is another is refused', { skip }, async (t) => {
  const { far, dir, good, strange, url } = await overTls(t);
  await far.image(image);
  await contract(t, 'docker', { host: url, cert_path: good, stop_grace_ms: 2000 }, { image, ...told(far), down: 'host=tcp://127.0.0.1:1' });
  const check = (certificates) => {
    try {
      return [0, execFileSync(binary, ['provider', 'check', 'docker', `--docker-host=${url}`, `--docker-cert-path=${certificates}`, `--docker-image=${image}`,
        `--data-dir=${dir}`]).toString()];
    } catch (e) {
      return [e.status, String(e.stdout)];
    }
  };
  const said = check(good);
  assert.strictEqual(said[0], 0, said[1]);
  assert.match(said[1], /^warn +firewall /m, 'what stays different is told');
  const refused_ = check(strange);
  assert.deepStrictEqual([refused_[0], /^bad +dockerd +.*TLS/m.test(refused_[1])], [1, true], refused_[1]);
  assert.deepStrictEqual(await far.left(), []);
});

// Threads of the server that are connections to agents, and sockets that listen for them.
const ways = (s) => {
  const tasks = `/proc/${s.child.pid}/task`;
  const names = fs.readdirSync(tasks).map((x) => { try { return fs.readFileSync(`${tasks}/${x}/comm`, 'utf8').trim(); } catch { return ''; } });
  const sockets = fs.readFileSync('/proc/net/unix', 'utf8').split('\n').filter((l) => / 00010000 .*agent\.sock/.test(l));
  return [names.filter((x) => x === 'docker-line').length, sockets.length];
};

test('over TCP by TLS: a shell on a container, through stop, start and a host that is killed, to nothing left', { skip }, async (t) => {
  const { far, start } = await overTls(t);
  const fill = (at) => { fs.mkdirSync(path.join(at, 'claude-data')); fs.chownSync(path.join(at, 'claude-data'), 1000, 1000); };
  await far.image('cc/user:1', { config: ['USER claude'], fill });
  const s = await start({ docker_image: 'cc/user:1' });
  const auth = { 'X-API-Key': s.key };
  const where = () => `${s.url}/instances/box/terminal`;
  const m = await make(s, { name: 'box', env: { WORD: 'a secret' } });
  let tty = await Terminal.open(where(), auth);
  tty.type('echo $((6*7)) "$WORD"; echo kept >/claude-data/file; echo too >~/file; stty size\r');
  await tty.sees(/\r\n42 a secret\r\n/);
  await tty.sees(/24 80/);
  tty.resize(101, 43);
  tty.type('stty size\r');
  await tty.sees(/43 101/);
  const lots = 'head -c 3000000 /dev/zero | tr "\\0" x | fold -w 100; echo; echo done-$((1+1))\r';
  tty.type(lots);
  await tty.sees(/done-2\r\n/);
  assert.ok(tty.raw > 3000000, `${tty.raw} bytes`);
  const held = await run(s, m, 'cchost-busy hold -r "a build" -t 10m');
  assert.strictEqual(held.exit, 0, held.stderr);
  const stats = (await s.call('GET', '/instances/box/stats')).body;
  assert.deepStrictEqual([stats.leases.map((l) => l.reason), stats.last_input_at > Date.now() - 60000], [['a build'], true], JSON.stringify(stats));

  // what the image's user may not
  const may = await run(s, m, 'id -u; cat /run/cchost/conf/machine.json; ls /run/cchost/agent; echo x >/run/cchost/bin/cchost-agent; mv /run/cchost/bin /run/cchost/x; mv /run/cchost /run/x; rm -f /run/cchost/bin/cchost-busy; ls /run/cchost | tr "\\n" " "');
  assert.strictEqual(may.stdout, '1000\nagent bin busy.sock conf ', may.stderr);
  assert.strictEqual(may.stderr.match(/denied|not permitted/g).length, 6, may.stderr);
  const { body } = await far.api('GET', `/containers/claude-${m.short}/json`);
  assert.ok(!JSON.stringify(body).includes('a secret'), 'the environment is in no label, nor anywhere dockerd would tell it');
  assert.deepStrictEqual([body.HostConfig.Mounts.map((x) => x.Type), body.HostConfig.Binds], [['volume'], null], 'nothing of that host is mounted');

  const slow = await s.call('POST', '/instances/box/exec', { cmd: ['sleep', '600'], timeout: 1 });
  assert.strictEqual(slow.body.exit, 124, slow.text);
  assert.strictEqual((await run(s, m, 'ps | grep -c "[s]leep 600"')).stdout, '0\n', 'nothing is left of it');

  // the host is killed, and reached again what went on meanwhile
  await run(s, m, 'setsid sleep 4711 >/dev/null 2>&1 </dev/null &');
  await s.kill();
  await tty.closed;
  await until(() => !/dial/.test(far.docker('top', `claude-${m.short}`)), 'no way stays open there');
  await s.launch();
  await s.running('box', LONG);
  tty = await Terminal.open(where(), auth);
  tty.type('ps | grep "[s]leep 4711"; cat ~/file\r');
  await tty.sees(/sleep 4711[^]*too\r\n/);

  let x = await s.call('POST', '/instances/box/stop');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'STOPPED'], x.text);
  await tty.closed;
  await s.call('PATCH', '/instances/box', { env: { WORD: 'three' } });
  x = await s.call('POST', '/instances/box/start');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'RUNNING'], x.text);
  assert.strictEqual((await run(s, m, 'cat /claude-data/file ~/file; echo "$WORD"')).stdout, 'kept\ntoo\nthree\n', 'the disk is kept, and the environment is the record\'s');

  const open = await Promise.all(Array.from({ length: 8 }, () => Terminal.open(where(), auth)));
  await Promise.all(open.map(async (one, i) => { one.type(`echo $((${i}+100))-$((6*7))\r`); await one.sees(new RegExp(`\r\n${i + 100}-42`)); }));
  await until(() => `${ways(s)}` === '8,1', () => `a thread for each, and one socket: ${ways(s)}`); // the host asks the agent, too, now and then
  await open[0].close();
  await until(() => ways(s)[0] === 7, 'one ends with its terminal');
  await until(() => far.docker('top', `claude-${m.short}`).match(/dial/g).length === 7, 'there, too');
  x = await s.call('DELETE', '/instances/box');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'DELETED'], x.text);
  await Promise.all(open.map((one) => one.closed));
  await until(() => ways(s).every((n) => n === 0), 'no thread, no socket');
  assert.deepStrictEqual(fs.readdirSync(path.join(s.dir, 'docker/machines')), []);
  assert.deepStrictEqual(await far.left(), [], 'nor anything at dockerd');
});

test('over TCP: root of a container that put links where our files go leads them nowhere, and a machine that cannot start says why', { skip }, async (t) => {
  const { far, start } = await overTls(t);
  await far.image(image);
  const s = await start();
  const m = await make(s, { name: 'evil' });
  await run(s, m, 'cd /run; cp -a cchost real; mkdir /tmp/loot; rm -rf cchost; ln -s /tmp/loot cchost');
  await s.call('POST', '/instances/evil/stop');
  const x = await s.call('POST', '/instances/evil/start');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'RUNNING'], x.text);
  assert.strictEqual((await run(s, m, 'ls /tmp/loot; test -L /run/cchost || ls /run/cchost | tr "\\n" " "')).stdout, 'agent bin busy.sock conf ');
  await s.call('POST', '/instances/evil/stop');
  await far.image('cc/nobody:1', { config: ['USER nobody-knows'] });
  const r = await s.call('POST', '/instances', { name: 'lost', image: 'cc/nobody:1' });
  const op = async () => JSON.stringify((await s.call('GET', `/operations/${r.body.operation}`)).body);
  await until(async () => /ended as soon as it was started: .*user nobody-knows is not in its \/etc\/passwd/.test(await op()), 'its own last words', 30);
});

// Differs: an import forgets its tag, no health checks without systemd, other words for the same errors.
for (const far of [false, true]) {
  test(`the contract, on podman's service${far ? ' over TCP' : ''}`, { skip: skip || missing('podman', 'runc') }, async (t) => {
    const p = await Dockerd.start({ podman: true });
    const way = await CrashProxy.start({ to: { socketPath: p.socket } });
    t.after(async () => {
      await way.stop();
      await p.end();
    });
    await p.image('docker.io/cc/base:1');
    await contract(t, 'docker', { host: far ? `tcp://127.0.0.1:${way.port}` : p.host, stop_grace_ms: 2000 },
      { image: 'docker.io/cc/base:latest', down: 'host=unix:///nowhere/s' });
    assert.deepStrictEqual(await p.left(), []);
  });
}

// ---- by the whole host

test('from an HTTP call to a shell on a container, through stop and start, to nothing left', { skip }, async (t) => {
  const s = await host(t);
  const m = await make(s, { name: 'box', env: { WORD: 'one two' } });
  const auth = { 'X-API-Key': s.key };
  const where = `${s.url}/instances/box/terminal`;
  let tty = await Terminal.open(where, auth);
  tty.type('echo $((6*7)) "$WORD"; echo kept >/claude-data/file; echo too >/root/file; stty size\r');
  await tty.sees(/\r\n42 one two\r\n/);
  await tty.sees(/24 80/);
  await tty.close();
  const stats = await s.call('GET', '/instances/box/stats');
  assert.strictEqual(stats.status, 200, stats.text);
  assert.ok(stats.body.last_input_at > Date.now() - 60000);
  let x = await s.call('POST', '/instances/box/stop');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'STOPPED'], x.text);
  assert.strictEqual((await d.api('GET', `/containers/claude-${m.short}/json`)).body.State.Running, false);
  await s.call('PATCH', '/instances/box', { env: { WORD: 'three' } });
  x = await s.call('POST', '/instances/box/start');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'RUNNING'], x.text);
  const r = await run(s, m, 'cat /claude-data/file /root/file; echo "$WORD"');
  assert.strictEqual(r.stdout, 'kept\ntoo\nthree\n', 'the disk is kept, and the environment is the record\'s');
  tty = await Terminal.open(where, auth);
  tty.type('exit 0\r');
  await tty.closed;
  assert.strictEqual(tty.code, 1000);
  x = await s.call('DELETE', '/instances/box');
  assert.deepStrictEqual([x.status, x.body.status], [200, 'DELETED'], x.text);
  assert.deepStrictEqual(await d.left(), [], 'its data go with a machine that is deleted: they stayed there for ever');
});

// T9 of the earlier implementations
test('a machine is limited, runs its image\'s own command, and is published on loopback alone', { skip }, async (t) => {
  const s = await host(t, { docker_pids: 300 });
  const m = await make(s, { image: 'cc/web:1', ports: [8080] });
  const { body } = await d.api('GET', `/containers/claude-${m.short}/json`);
  const h = body.HostConfig;
  assert.ok(h.Memory > 0 && h.MemorySwap === h.Memory && h.NanoCpus > 0, 'memory without swap, and processors');
  assert.strictEqual(h.PidsLimit, 300);
  assert.deepStrictEqual(h.CapDrop, ['ALL']);
  assert.ok(!h.CapAdd.some((c) => /ADMIN|RAW|MKNOD|PTRACE|MODULE/.test(c)));
  assert.deepStrictEqual([h.Privileged, h.SecurityOpt, h.RestartPolicy.Name], [false, ['no-new-privileges'], 'no']);
  assert.deepStrictEqual(Object.values(body.NetworkSettings.Ports).flat().map((p) => p.HostIp), ['127.0.0.1']);
  assert.deepStrictEqual(m.published, [{ port: 8080, address: '127.0.0.1', at: m.published[0].at }]);
  const web = await until(() => fetch(`http://127.0.0.1:${m.published[0].at}/passwd`).then((r) => r.text()).catch(() => ''), 'its own command serves');
  assert.match(web, /^root:x:0/);
  assert.strictEqual((await run(s, m, 'id -u; echo $HOME; ps -o user,args | grep "[h]ttpd -f"')).stdout.replace(/ +/g, ' '), '1000\n/home/claude\nclaude httpd -f -p 8080 -h /etc\n',
    'as the image\'s user, the command and we');
  assert.strictEqual((await run(s, m, 'grep -E "CapEff|NoNewPrivs" /proc/self/status | tr -d "\\t\\n"')).stdout, 'CapEff:0000000000000000NoNewPrivs:1');
  assert.match((await run(s, m, 'ls -la /run/cchost/agent; cat /run/cchost/agent/agent.sock')).stderr, /denied|can't open/, 'its user has no way to the agent\'s socket');
});

test('what its command says is in the log, also when it has stopped; the machine stays up when it ends', { skip }, async (t) => {
  const s = await host(t);
  const m = await make(s, { cmd: ['sh', '-c', 'echo hello; echo oops >&2; exit 3'] });
  const said = await until(async () => {
    const r = await s.call('GET', `/instances/${m.id}/logs`);
    return /ended with 3/.test(r.text) && r;
  }, 'the log tells of its end');
  assert.match(said.text, /hello\n/);
  assert.match(said.text, /oops\n/);
  assert.strictEqual((await run(s, m, 'echo up')).stdout, 'up\n');
  await s.call('POST', `/instances/${m.id}/stop`);
  assert.match((await s.call('GET', `/instances/${m.id}/logs`)).text, /hello/);
});

test('busy leases work inside, and an image that says it is unhealthy is not in use', { skip }, async (t) => {
  const s = await host(t);
  const m = await make(s, { image: 'cc/checked:1' });
  const lease = await run(s, m, 'touch /tmp/well; cchost-busy hold -r "a build" -t 10m');
  assert.strictEqual(lease.exit, 0, lease.stderr);
  const stats = async () => (await s.call('GET', `/instances/${m.id}/stats`)).body;
  assert.deepStrictEqual((await stats()).leases.map((l) => l.reason), ['a build']);
  await run(s, m, 'rm /tmp/well');
  const ill = await until(async () => { const a = await stats(); return a.unhealthy && a; }, 'it is told to be unhealthy', 30);
  assert.deepStrictEqual([ill.leases, ill.load, ill.turn], [[], 0, false]);
  await run(s, m, 'touch /tmp/well');
  await until(async () => (await stats()).leases.length === 1, 'and well again', 30);
});

test('an image that is nowhere, and local\'s image, are refused in plain words', { skip }, async (t) => {
  const s = await host(t);
  for (const [image_, status, word] of [['no/such:thing', 'ERROR', /is not here, and pulling it failed/], ['host', 'ERROR', /only the provider local has/]]) {
    const r = await s.call('POST', '/instances', { image: image_ });
    const m = await until(async () => { const { body } = await s.call('GET', `/instances/${r.body.id}`); return body.status === status && body; }, `${image_} fails`);
    assert.match(m.error, word);
    await s.call('DELETE', `/instances/${r.body.id}`);
  }
  assert.deepStrictEqual(await d.left(), []);
});

// B9
test('two creates at once of one name make one machine', { skip }, async (t) => {
  const s = await host(t);
  const both = await Promise.all([1, 2].map(() => s.call('POST', '/instances', { name: 'twin' })));
  assert.deepStrictEqual(both.map((r) => r.status).sort(), [201, 409]);
  await s.running('twin', LONG);
  assert.strictEqual((await d.left()).filter((x) => /container/.test(x)).length, 1);
});

test('a machine that is ended behind our back is heard of at once and comes back; a lost stream is taken up again', { skip }, async (t) => {
  const { p, at } = await between('watch', false);
  const s = await host(t, { docker_host: at, sweep_seconds: 86400 });
  t.after(() => p.stop());
  const m = await make(s, {});
  const following = () => p.seen.filter((r) => /\/events/.test(r.url) && r.status === 200).length;
  await until(() => following() > 0, 'the host follows');
  const back = async (what) => {
    const was = (await d.api('GET', `/containers/claude-${m.short}/json`)).body.State.StartedAt;
    await d.api('POST', `/containers/claude-${m.short}/kill`);
    await until(async () => {
      const { State } = (await d.api('GET', `/containers/claude-${m.short}/json`)).body;
      return State.Running && State.StartedAt !== was;
    }, `it comes back ${what}`, 30);
    await s.running(m.id);
  };
  await back('by the stream, as no sweep comes today');
  const before = following();
  p.cut((r) => /\/events/.test(r.url));
  await until(() => following() > before, 'it follows again');
  await back('after the stream was lost');
});

// ---- two tenants. B4

test('of two tenants neither reaches the other\'s agent, terminal, files or machine by any address', { skip }, async (t) => {
  const s = await host(t, { docker_ports_address: '0.0.0.0' }); // also with ports that are published to everybody
  const [ann, bob] = [await person(s, 'a@example.com'), await person(s, 'b@example.com')];
  const [a, b] = [ann.id, bob.id];
  const web = { image: 'cc/web:1', ports: [8080] };
  const one = await make(s, { ...web, name: 'one', user_id: a });
  const two = await make(s, { ...web, name: 'two', user_id: a });
  const other = await make(s, { ...web, name: 'other', user_id: b, volumes: [{ id: 'shared', path: '/data' }] });
  const seen = async (m) => (await d.api('GET', `/containers/claude-${m.short}/json`)).body;
  const [at, their] = [await seen(two), await seen(other)].map((x) => Object.values(x.NetworkSettings.Networks)[0]);
  // not busybox's own wget: a static program cannot look up names
  const ask = async (m, url, seconds = 3) => (await run(s, m, `timeout ${seconds} bash -c 'exec 3<>/dev/tcp/$0/$1 && printf "GET /passwd HTTP/1.0\r\n\r\n" >&3 && cat <&3' ${url.replace(':', ' ')} | grep -o root | head -n 1`)).stdout.trim();
  const pings = async (m, where, seconds = 1) => (await run(s, m, `/usr/bin/ping -c 1 -W ${seconds} ${where}`)).exit === 0;
  const reaches = (url, what) => until(async () => (await ask(one, url, 20)) === 'root', what, LONG);
  await reaches('127.0.0.1:8080', 'it serves itself');

  // what must work, so that what must not is no accident: with time, as a machine that is busy answers late
  await reaches(`${at.IPAddress}:8080`, 'machines of one owner reach each other');
  await reaches('two:8080', 'and by name');
  await until(() => pings(one, at.IPAddress, 20), 'and by ping', LONG);
  await until(() => fetch(`http://${their.IPAddress}:8080/passwd`).then((r) => r.ok, () => false), 'the host reaches the other machine', LONG);
  await until(() => fetch(`http://127.0.0.1:${other.published[0].at}/passwd`).then((r) => r.ok, () => false), 'its port is published', LONG);

  const listener = net.createServer((c) => c.end('HTTP/1.0 200 OK\r\n\r\nroot'));
  await new Promise((r) => listener.listen(0, '0.0.0.0', r));
  t.after(() => listener.close());
  const mine = listener.address().port;
  const gateways = [at.Gateway, their.Gateway, '172.17.0.1'];
  const tries = [`${their.IPAddress}:8080`, 'other:8080', `claude-${other.short}:8080`];
  for (const g of gateways) tries.push(`${g}:${other.published[0].at}`, `${g}:${s.port}`, `${g}:${mine}`);
  for (const url of tries) assert.strictEqual(await ask(one, url), '', `${url} is out of reach`);
  for (const where of [their.IPAddress, at.Gateway, their.Gateway]) assert.ok(!(await pings(one, where)), `${where} is out of reach of ping`);
  assert.strictEqual((await run(s, one, 'cat /proc/net/if_inet6 | grep -vc " lo$"')).stdout, '0\n', 'and there is no IPv6 to try');
  assert.ok(!(await pings(one, '169.254.169.254')));

  // files and sockets: nothing of the host or of others stands inside
  assert.strictEqual((await run(s, one, 'ls /run/cchost/agent /run/cchost/conf | tr "\\n" " "')).stdout, '/run/cchost/agent: agent.sock  /run/cchost/conf: machine.json ');
  assert.notStrictEqual((await run(s, one, 'echo x >/run/cchost/conf/machine.json')).exit, 0);
  assert.notStrictEqual((await run(s, one, 'echo x >/run/cchost/bin/cchost-agent')).exit, 0);

  // by the API: what is one's own is there, what is another's is not
  const [own, theirs] = [`/instances/${one.id}`, `/instances/${other.id}`];
  for (const [method, where, body] of [['GET', ''], ['POST', '/exec', { cmd: ['id'] }], ['GET', '/logs'], ['GET', '/stats']]) {
    let r;
    await until(async () => { r = await ann.call(method, own + where, body); return r.status === 200; }, () => `${method} ${where}: ${r.status} ${r.text}`, LONG);
    assert.strictEqual((await ann.call(method, theirs + where, body)).status, 404, `${method} ${where}`);
  }
  const auth = { Authorization: `Bearer ${ann.token}` };
  const tty = await Terminal.open(`${s.url}${own}/terminal`, auth);
  tty.type('hostname\r');
  await tty.sees(/one\r\n/, LONG);
  await tty.close();
  await assert.rejects(Terminal.open(`${s.url}${theirs}/terminal`, auth), { status: 404 });
  for (const [method, where] of [['POST', '/stop'], ['POST', '/start'], ['DELETE', '']]) assert.strictEqual((await ann.call(method, theirs + where)).status, 404, `${method} ${where}`);

  // a volume that is called like another's is another one
  assert.strictEqual((await run(s, other, 'echo secret >/data/x; cat /data/x')).stdout, 'secret\n');
  await done(ann, 'POST', `${own}/stop`);
  await done(ann, 'POST', `${own}/volumes`, { id: 'shared', path: '/loot' });
  await done(ann, 'POST', `${own}/start`);
  await s.running(one.id, LONG);
  assert.strictEqual((await run(s, one, 'ls -A /loot && echo mine >/loot/x && cat /loot/x')).stdout, 'mine\n');
  const [volume] = (await bob.call('GET', '/volumes')).body;
  assert.strictEqual(volume.name, 'shared');
  assert.strictEqual((await ann.call('GET', `/volumes/${volume.id}`)).status, 404);
  assert.ok(!(await ann.call('GET', '/volumes')).body.some((v) => v.id === volume.id));
});

test('a volume belongs to the image\'s user, wherever it stands, also on his next machine; what is his already stays', { skip }, async (t) => {
  const s = await host(t);
  const web = { image: 'cc/web:1', volumes: [{ id: 'v', path: '/data' }] };
  const one = await make(s, web);
  assert.strictEqual((await run(s, one, 'echo kept >/data/x && echo own >/claude-data/x && stat -c %U /data /claude-data /data/x')).stdout, 'claude\nclaude\nclaude\n');
  for (const act of ['stop', 'start']) await done(s, 'POST', `/instances/${one.id}/${act}`);
  assert.strictEqual((await run(s, one, 'cat /data/x')).stdout, 'kept\n');
  assert.strictEqual((await run(s, one, 'stat -c %U /etc /home /var | sort -u')).stdout, 'root\n');
  assert.strictEqual((await s.call('DELETE', `/instances/${one.id}`)).status, 200);
  const two = await make(s, web);
  assert.strictEqual((await run(s, two, 'cat /data/x; echo more >>/data/x; cat /data/x')).stdout, 'kept\nkept\nmore\n');
});

test('another\'s disk, which is an image to dockerd, is none for machines, by whatever name or id it is asked for', { skip }, async (t) => {
  const s = await host(t);
  const [ann, bob] = [await person(s, 'ann@example.com'), await person(s, 'bob@example.com')];
  const m = await make(s, { name: 'bobs', user_id: bob.id });
  await run(s, m, 'echo secret >/root/secret');
  await done(bob, 'POST', `/instances/${m.id}/stop`);
  await done(bob, 'POST', `/instances/${m.id}/volumes`, { id: 'v', path: '/v' });
  const disk = (await d.api('GET', '/images/json')).body.find((i) => (i.RepoTags || []).some((x) => x.startsWith(`claude-disk-${m.short}:`)));
  const id = disk.Id.replace('sha256:', '');
  const base = (await d.api('GET', `/images/${image}/json`)).body.Id.replace('sha256:', '');
  let n = 0;
  for (const name of [disk.RepoTags[0], `docker.io/library/${disk.RepoTags[0]}`, `library/${disk.RepoTags[0]}`, id, id.slice(0, 12), `sha256:${id}`, base, base.slice(0, 12)]) {
    const r = await ann.call('POST', '/instances', { name: `m${++n}`, image: name });
    if (r.status !== 201) continue;
    await until(async () => (await s.status(r.body.id)) !== 'STARTING', `an end for ${name}`, 60);
    const { status, error } = (await ann.call('GET', `/instances/${r.body.id}`)).body;
    assert.deepStrictEqual([status, /no name of an image|is no image for machines/.test(error)], ['ERROR', true], `${name}: ${error}`);
    await ann.call('DELETE', `/instances/${r.body.id}`);
  }
  await done(bob, 'POST', `/instances/${m.id}/start`);
  await s.running(m.id, LONG);
  assert.strictEqual((await run(s, m, 'cat /root/secret')).stdout, 'secret\n', 'he himself goes on with it');
});

test('a firewall whose chains were emptied keeps nobody out: the check says so, and the next start puts it up again', { skip }, async (t) => {
  const s = await host(t);
  const m = await make(s, { name: 'one' });
  const rules = () => execFileSync('iptables', ['-S']).toString().split('\n').filter((l) => /CCHOST/.test(l)).sort();
  const check = () => execFileSync(binary, ['provider', 'check', 'docker', `--docker-host=${d.host}`, `--docker-image=${image}`, `--data-dir=${s.dir}`]).toString();
  const good = rules();
  assert.match(check(), /^ok +firewall +machines are kept from this host's own services/m);
  for (const chain of ['CCHOST-IN', 'CCHOST-OUT']) {
    execFileSync('iptables', ['-F', chain]);
    assert.match(check(), /^ok +firewall +the rules .* come with/m);
    for (const act of ['stop', 'start']) await done(s, 'POST', `/instances/${m.id}/${act}`);
    assert.deepStrictEqual(rules(), good, 'once, and no way into them twice');
  }
});

test('root of a container that puts a link where its agent\'s socket was leads the host nowhere', { skip }, async (t) => {
  const s = await host(t);
  const [m, victim] = [await make(s, { name: 'evil' }), await make(s, { name: 'victim' })];
  const sock = (x) => path.join(s.dir, 'docker/machines', x.short, 'agent/agent.sock');
  const auth = { 'X-API-Key': s.key };
  for (const to of [sock(victim), d.socket, '/run/cchost/agent/real.sock']) {
    await run(s, m, `cd /run/cchost/agent; mv agent.sock real.sock; ln -s ${to} agent.sock`);
    const tty = await Terminal.open(`${s.url}/instances/evil/terminal`, auth);
    await until(() => tty.code, 'its end', 10);
    assert.deepStrictEqual([tty.code, tty.reason, tty.output], [1011, 'instance agent unavailable', '']);
    const r = await s.call('GET', '/instances/evil/stats');
    assert.strictEqual(r.status, 503, r.text);
    await run(s, m, 'cd /run/cchost/agent; mv real.sock agent.sock');
  }
  const tty = await Terminal.open(`${s.url}/instances/evil/terminal`, auth);
  tty.type('hostname\r');
  await tty.sees(/evil\r\n/);
  await tty.close();
});

test('an owner\'s network is of our own range, is his alone, and goes with his last machine', { skip }, async (t) => {
  await d.api('POST', '/networks/create', { Name: 'someone', IPAM: { Config: [{ Subnet: '10.201.0.0/25' }] } });
  t.after(() => d.api('DELETE', '/networks/someone'));
  const s = await host(t);
  const users = [await s.account('n1@example.com'), await s.account('n2@example.com')];
  const ms = await Promise.all([0, 0, 1].map((i, n) => make(s, { name: `n${n}`, user_id: users[i] })));
  const ours = async () => (await d.api('GET', '/networks')).body.filter((n) => /^claude-net/.test(n.Name)).map((n) => n.IPAM.Config[0].Subnet).sort();
  assert.deepStrictEqual(await ours(), ['10.201.0.128/26', '10.201.0.192/26'], 'the lowest free ones, also when asked for at once');
  await s.call('DELETE', `/instances/${ms[0].id}`);
  assert.strictEqual((await ours()).length, 2);
  await s.call('POST', `/instances/${ms[1].id}/stop`);
  assert.strictEqual((await ours()).length, 2, 'a machine that is stopped keeps it');
  await d.api('DELETE', `/networks/${(await d.api('GET', `/containers/claude-${ms[1].short}/json`)).body.HostConfig.NetworkMode}`);
  const r = await s.call('POST', `/instances/${ms[1].id}/start`);
  assert.deepStrictEqual([r.status, r.body.status], [200, 'RUNNING'], 'one that was pruned is made again');
  await s.call('DELETE', `/instances/${ms[1].id}`);
  await s.call('DELETE', `/instances/${ms[2].id}`);
  assert.deepStrictEqual(await ours(), []);
});

// ---- crash points, and what dockerd's own document says of our requests

// A proxy before dockerd: what a host sets as docker_host to go through it.
async function between(name, far) {
  const socket = path.join(d.dir, `${name}-${process.pid}`);
  const p = await CrashProxy.start({ to: { socketPath: d.socket }, listen: far ? undefined : { path: socket } });
  return { p, at: far ? `tcp://127.0.0.1:${p.port}` : `unix://${socket}` };
}

// `far`: the way to dockerd is TCP.
async function points(t, act, look, far) {
  const { p: proxy, at } = await between('crash', far);
  const left = async () => { await forgetVolumes(); return d.left(); };
  return crashes(t, { proxy, start: (dir) => Server.start(settings({ docker_host: at }), dir), left }, act, look);
}

const containers = async () => (await d.left()).filter((x) => /^container/.test(x)).length;

for (const far of [false, true]) {
  test(`killed at any step of a create${far ? ' over TCP' : ''}, the host comes back to exactly one machine`, { skip }, async (t) => {
    const n = await points(t, async (s, arm) => {
      arm();
      await s.call('POST', '/instances', { name: 'c' });
      await s.running('c', LONG);
    }, async (s, what) => {
      await s.running('c', LONG);
      assert.strictEqual(await containers(), 1, what);
      assert.strictEqual((await d.left()).length, 3, `${what}: a container, its volume, its network`);
      if (far) assert.strictEqual((await run(s, { id: 'c' }, 'echo in')).stdout, 'in\n', what);
    }, far);
    assert.ok(n >= (far ? 14 : 8), `${n} points`);
  });
}

for (const far of [false, true]) {
  test(`killed once a machine runs${far ? ' over TCP' : ''}, the host comes back to that very container`, { skip }, async (t) => {
    const { p, at } = await between('started', far);
    const s = await host(t, { docker_host: at });
    t.after(() => p.stop());
    p.arm(1, 'after', () => s.child.kill('SIGKILL'), (r) => /\/containers\/[^/]+\/start$/.test(r.url));
    s.call('POST', '/instances', { name: 'c' }).catch(() => {});
    await s.exited;
    s.agent.destroy();
    const [{ Id }] = (await d.api('GET', '/containers/json?all=true')).body;
    const seen = async () => (await d.api('GET', `/containers/${Id}/json`)).body.State;
    const { Running, StartedAt } = await seen();
    assert.strictEqual(Running, true);
    await s.launch();
    await s.running('c', LONG);
    const now = await seen();
    assert.deepStrictEqual([now.Running, now.StartedAt], [true, StartedAt], 'the same life');
    assert.strictEqual((await run(s, { id: 'c' }, 'echo in')).stdout, 'in\n');
    assert.strictEqual((await d.left()).length, 3, 'a container, its volume, its network');
  });
}

test('killed at any step of a delete, the host comes back to no machine', { skip }, async (t) => {
  const n = await points(t, async (s, arm) => {
    await make(s, { name: 'c' });
    arm();
    await s.call('DELETE', '/instances/c');
  }, async (s, what) => {
    await until(async () => (await s.call('GET', '/instances')).body.length === 0, `${what}: it is deleted`, 60);
    assert.deepStrictEqual(await d.left(), [], what);
  });
  assert.ok(n >= 6, `${n} points`);
});

// T10
test('killed at any step of giving a machine a volume, its disk and its data are whole', { skip }, async (t) => {
  const n = await points(t, async (s, arm) => {
    const m = await make(s, { name: 'c' });
    await run(s, m, 'echo disk >/root/file; echo data >/claude-data/file');
    await s.call('POST', '/instances/c/stop');
    arm();
    await s.call('POST', '/instances/c/volumes', { id: 'more', path: '/more' });
  }, async (s, what) => {
    await until(async () => {
      const { operation } = (await s.call('GET', '/instances/c')).body;
      return /^(done|failed|cancelled)$/.test((await s.call('GET', `/operations/${operation}`)).body.state);
    }, `${what}: nothing is under way`, 60);
    const r = await s.call('POST', '/instances/c/start');
    assert.strictEqual(r.status, 200, `${what}: ${r.text}`);
    const m = (await s.call('GET', '/instances/c')).body;
    assert.strictEqual((await run(s, m, 'cat /root/file /claude-data/file')).stdout, 'disk\ndata\n', what);
    assert.strictEqual((await run(s, m, 'grep -c " /more " /proc/mounts')).stdout, `${m.volumes.length}\n`, `${what}: as its record says`);
    assert.strictEqual(await containers(), 1, what);
  });
  assert.ok(n >= 10, `${n} points`);
});

// Whoever looks for the machine while it has no container of its name ends the exchange; here both are about to, and a third is quicker.
test('an exchange of containers that somebody else ends is done, and whoever looks meanwhile finds the machine', { skip }, async (t) => {
  const { p, at } = await between('rival', false);
  const pass = p.request.bind(p);
  const held = [];
  const release = () => { p.request = pass; for (const x of held.splice(0)) pass(...x); };
  t.after(release); // first, as the host's end waits for what it has asked
  const s = await host(t, { docker_host: at });
  t.after(() => p.stop());
  const m = await make(s, { name: 'c' });
  await run(s, m, 'echo disk >/root/file');
  await done(s, 'POST', '/instances/c/stop');
  p.request = (req, res) => (/\.new\/(json|rename)/.test(req.url) ? held.push([req, res]) : pass(req, res));
  const going = done(s, 'POST', '/instances/c/volumes', { id: 'more', path: '/more' });
  const waits = (what) => until(() => held.some(([req]) => what.test(req.url)), `${what} waits`, LONG);
  await waits(/rename/);
  const logs = s.call('GET', '/instances/c/logs');
  await waits(/json/);
  assert.strictEqual((await d.api('POST', `/containers/claude-${m.short}.new/rename?name=claude-${m.short}`)).status, 204);
  release();
  await going;
  const refused = p.seen.filter((r) => /\.new\/(json|rename)/.test(r.url) && r.status === 404);
  assert.ok(refused.some((r) => r.method === 'GET') && refused.some((r) => r.method === 'POST'), 'both came too late');
  assert.strictEqual((await logs).status, 200);
  await done(s, 'POST', '/instances/c/start');
  await s.running('c', LONG);
  assert.strictEqual((await run(s, m, 'cat /root/file; grep -c " /more " /proc/mounts')).stdout, 'disk\n1\n');
  assert.strictEqual(await containers(), 1);
});

test('a disk that has lost its name to another goes with its machine, or before', { skip }, async (t) => {
  const s = await host(t);
  const m = await make(s, { name: 'c' });
  await done(s, 'POST', '/instances/c/stop');
  const lost = async () => {
    for (const n of [1, 2]) assert.strictEqual((await d.api('POST', `/commit?container=claude-${m.short}&repo=claude-disk-${m.short}&tag=9&comment=${n}`, {})).status, 201);
    return (await d.left()).filter((x) => /^image/.test(x)).length;
  };
  assert.strictEqual(await lost(), 2);
  await done(s, 'POST', '/instances/c/volumes', { id: 'v', path: '/v' });
  assert.deepStrictEqual((await d.left()).filter((x) => /^image/.test(x)), [`image claude-disk-${m.short}:1`], 'its disk alone');
  assert.strictEqual(await lost(), 3);
  assert.strictEqual((await s.call('DELETE', '/instances/c')).status, 200);
  await forgetVolumes();
  assert.deepStrictEqual(await d.left(), []);
});

// Near and far: the two differ in how the agent comes into a machine, and how it is reached there.
test('every request is one that dockerd\'s own document allows', { skip: skip || Prism.missing() }, async (t) => {
  const v = await Prism.start('docker');
  t.after(() => v.stop());
  await d.image('ccplain:1'); // of a name without a slash: the document's paths have no room for one
  const seen = [];
  for (const far of [false, true]) {
    const { p, at } = await between('seen', far);
    const s = await host(t, { docker_host: at, docker_image: 'ccplain:1' });
    t.after(() => p.stop());
    const m = await make(s, { name: 'v', ports: [8080], env: { A: 'b' }, volumes: [{ id: 'one', path: '/one' }] });
    await run(s, m, 'true');
    const tty = await Terminal.open(`${s.url}/instances/v/terminal`, { 'X-API-Key': s.key });
    await tty.close();
    await s.call('GET', '/instances/v/logs');
    await s.call('POST', '/instances/v/stop');
    await s.call('POST', '/instances/v/volumes', { id: 'two', path: '/two' });
    await s.call('POST', '/instances/v/resize', { type: 'small' });
    await s.call('POST', '/instances/v/start');
    await d.api('POST', `/containers/claude-${m.short}/pause`);
    await s.call('POST', '/instances/v/stop');
    await s.call('POST', '/instances', { name: 'gone', image: 'nosuch:thing' });
    await until(async () => (await s.status('gone')) === 'ERROR', 'it fails');
    await s.call('DELETE', '/instances/v');
    await s.call('DELETE', '/instances/gone');
    await promisify(execFile)(binary, ['provider', 'check', 'docker', `--docker-host=${at}`, `--data-dir=${s.dir}`, '--docker-image=ccplain:1']);
    seen.push(...p.seen);
    await forgetVolumes();
  }
  const json = { 'content-type': 'application/json' };
  const volume = (body) => v.check({ method: 'POST', url: '/v1.41/volumes/create', headers: json, body: JSON.stringify(body) });
  assert.deepStrictEqual([await volume({ Name: 'x' }), !!await volume({ Name: 'x', Nmae: 'y' }), !!await volume({ Name: 1 })], [null, true, true], 'it refuses a wrong one');
  const faults = [];
  const kinds = new Set();
  for (const r of seen) {
    kinds.add(`${r.method} ${r.url.replace(/\?.*/, '').replace(/[0-9a-f]{12,}/g, 'X')}`);
    const fault = await v.check(r);
    if (fault) faults.push(fault.slice(0, 2000));
  }
  assert.deepStrictEqual(faults, []);
  assert.ok(kinds.size >= 21, [...kinds].join('\n'));
  assert.ok(kinds.has('PUT /v1.41/containers/claude-X/archive'), [...kinds].join('\n'));
});

// ---- the image recipe, on a Debian made here beforehand (make deps-docker): inside there is no way to any registry

const base = path.join(root, 'build', 'image-base.tar');
const noBase = skip || (!fs.existsSync(base) && 'no base for an image was made (make deps-docker)');
if (!skip && noBase && (process.env.BACKENDS || '').split(' ').includes('docker')) throw new Error(noBase);

// health: words of the HEALTHCHECK in the place of its own.
let imported;
async function build(name, health) {
  await (imported ||= promisify(execFile)('docker', ['-H', d.host, 'import', base, 'cc/debian:12']));
  const context = temp();
  fs.cpSync(path.join(root, 'providers/image'), context, { recursive: true });
  const recipe = path.join(context, 'Dockerfile');
  if (health) fs.writeFileSync(recipe, fs.readFileSync(recipe, 'utf8').replace(/(?<=^HEALTHCHECK )--.*(?= CMD)/m, health));
  const tar = execFileSync('tar', ['-C', context, '-c', '.']);
  fs.rmSync(context, { recursive: true });
  const args = encodeURIComponent(JSON.stringify({ BASE: 'cc/debian:12', SKIP: 'claude,zellij' }));
  const built = await d.api('POST', `/build?t=${name}&buildargs=${args}`, tar, 'application/x-tar');
  assert.ok(built.status === 200 && /Successfully built/.test(built.text), built.text.slice(-3000));
  return built.text;
}

test('the image claude-instance: built, its session waits, its set-up is safe to run again', { skip: noBase }, async (t) => {
  assert.match(await build('claude-instance'), /skipped, as asked: claude/, 'what is left out is said');
  const s = await host(t, { docker_image: undefined, terminal_command: undefined });
  const m = await make(s, { name: 'dev' });
  assert.strictEqual(m.image, 'claude-instance');
  await until(async () => (await run(s, m, 'claude-session health')).exit === 0, 'the session is there before anybody came');
  assert.strictEqual((await run(s, m, 'id -un; tmux list-panes -t claude | wc -l; touch /claude-data/x && echo writes')).stdout, 'claude\n2\nwrites\n');
  const widths = (await run(s, m, "tmux list-panes -t claude -F '#{pane_width}'")).stdout.split('\n').map(Number);
  assert.ok(Math.abs(widths[0] / (widths[0] + widths[1]) - 0.7) < 0.03, `${widths}: 70 to 30`);
  assert.notStrictEqual((await run(s, m, 'sudo -n true')).exit, 0, 'and no way to root');
  await same(async (line) => (await run(s, m, line)).stdout);
  assert.strictEqual(d.docker('exec', `claude-${m.short}`, 'sh', '-c', 'sh /usr/local/share/cchost/setup.sh --skip claude,zellij 2>&1 | tail -n 1'), 'setup: done');
  assert.strictEqual(d.docker('exec', `claude-${m.short}`, 'claude-session', 'health'), '', 'asked as root, too');
  const tty = await Terminal.open(`${s.url}/instances/dev/terminal`, { 'X-API-Key': s.key });
  await tty.sees(/claude/);
  await tty.close();
  await run(s, m, 'tmux kill-server');
  assert.notStrictEqual((await run(s, m, 'claude-session health')).exit, 0);
});

// "unhealthy" is the agent's: what users do to their session is theirs.
test('the image\'s health is its agent\'s: while it starts it is in use, ill once the agent does not answer, well again after', { skip: noBase }, async (t) => {
  await build('claude-instance');
  await build('claude-instance:quick', '--interval=1s --timeout=5s --retries=3 --start-period=60s');
  const s = await host(t, { docker_image: 'claude-instance:quick', terminal_command: 'exec sh' });
  const at = async (m) => (await d.api('GET', `/containers/claude-${m.short}/json`)).body.State.Health;
  const stats = async (m) => (await s.call('GET', `/instances/${m.id}/stats`)).body;

  const slow = await make(s, { name: 'slow', image: 'claude-instance' }); // is asked for the first time after half a minute
  assert.strictEqual((await run(s, slow, 'cchost-busy hold -r "a build" -t 10m')).exit, 0);
  const early = await stats(slow);
  assert.deepStrictEqual([(await at(slow)).Status, !!early.unhealthy, early.leases.map((l) => l.reason)], ['starting', false, ['a build']]);
  // where the agent does not come up at all, three failures and more are a start that lasts, for its time
  d.docker('run', '-d', '--name', 'no-agent', '--entrypoint', 'sleep', 'claude-instance:quick', '1000');
  t.after(() => d.docker('rm', '-fv', 'no-agent'));
  const alone = async () => (await d.api('GET', '/containers/no-agent/json')).body.State.Health;
  await until(async () => (await alone()).Log.length >= 4, 'it failed four times', 30);
  const { Status, Log } = await alone();
  assert.deepStrictEqual([Status, Log.some((l) => l.ExitCode === 0)], ['starting', false]);

  const m = await make(s, { name: 'dev' });
  await until(async () => (await at(m)).Status === 'healthy', 'it is well', 30);
  assert.strictEqual(JSON.parse((await at(m)).Log.pop().Output).status, 'ok');
  assert.strictEqual((await run(s, m, 'cchost-busy hold -r "a build" -t 10m; tmux kill-server; exit 0')).exit, 0);
  const agents = () => d.docker('exec', `claude-${m.short}`, 'pgrep', '-x', 'cchost-agent').split('\n');
  const [pid] = agents();
  assert.strictEqual(agents().length, 1);
  d.docker('exec', '-u', 'claude', `claude-${m.short}`, 'kill', '-STOP', pid);
  await until(async () => (await at(m)).Status === 'unhealthy', 'the agent does not answer', 60);
  assert.match((await at(m)).Log.pop().Output, /timed out/);
  d.docker('exec', '-u', 'claude', `claude-${m.short}`, 'kill', '-CONT', pid);
  await until(async () => (await at(m)).Status === 'healthy', 'it is well again', 30);
  await until(async () => (await stats(m)).leases.length === 1, 'and in use');
});

test('an operator is told whether it will do', { skip }, async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const check = (host_, more = []) => {
    try {
      return [0, execFileSync(binary, ['provider', 'check', 'docker', `--docker-host=${host_}`, `--data-dir=${dir}`, ...more], { stdio: ['ignore', 'pipe', 'pipe'] }).toString()];
    } catch (e) {
      return [e.status, String(e.stdout)];
    }
  };
  const good = check(d.host, [`--docker-image=${image}`]);
  assert.strictEqual(good[0], 0, good[1]);
  for (const what of ['dockerd', 'limits', 'disk', 'image', 'subnets', 'firewall']) assert.match(good[1], new RegExp(`^(ok|warn) +${what} `, 'm'));
  assert.match(check(d.host, ['--docker-image=not-here'])[1], /^warn +image +not-here is not here/m);
  const down = check('unix:///nowhere/s');
  assert.deepStrictEqual([down[0], /^bad +dockerd +.*No such file/m.test(down[1])], [1, true], down[1]);
  await d.api('POST', '/networks/create', { Name: 'all', IPAM: { Config: [{ Subnet: '10.209.0.0/24' }] } });
  const full = check(d.host, ['--docker-subnets=10.209.0.0/24']);
  await d.api('DELETE', '/networks/all');
  assert.deepStrictEqual([full[0], /^bad +subnets/m.test(full[1])], [1, true], full[1]);
});
