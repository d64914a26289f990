// cchost-agent init and run, as a machine that is a container has them (host/agent/init.c, run.c): here in namespaces of their own,
// whose root is nobody outside, so that a limit on processes holds him as it does in a machine.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const { spawn, spawnSync, execFileSync } = require('node:child_process');
const { program, until } = require('../lib/real_agent.js');

const UID = 231072; // nobody's; who is root inside
const why = process.getuid() !== 0 ? 'it needs root' : spawnSync('unshare', ['--user', 'true']).status !== 0 && 'no user namespaces can be made here';
const skip = why || false;
const children = (pid) => { try { return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number); } catch { return []; } };
const comm = (pid) => { try { return fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim(); } catch { return ''; } };

// A user namespace, whose root is UID outside. -> its file, as long as the test goes on
async function users(t) {
  const child = spawn('unshare', ['--user', 'sh', '-c', 'echo in; read word'], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.stdin.end());
  await new Promise((resolve) => { child.stdout.once('data', resolve); });
  for (const kind of ['uid', 'gid']) fs.writeFileSync(`/proc/${child.pid}/${kind}_map`, `0 ${UID} 65536\n`);
  return `/proc/${child.pid}/ns/user`;
}

// A machine: `line` is run as its root and becomes its process 1, and nothing of it is left.
class Machine {
  static async start(t, line, conf = {}) {
    const m = new Machine(), from = fs.openSync(program, 'r');
    m.log = '';
    const make = `mount -t tmpfs run /run; cd /; mkdir -p /run/cchost/conf /run/cchost/bin /run/cchost/agent
      cat <&3 >/run/cchost/bin/cchost-agent; exec 3<&-; chmod 755 /run/cchost/bin/cchost-agent
      echo '${JSON.stringify(conf)}' >/run/cchost/conf/machine.json
      ${line}`;
    m.child = spawn('nsenter', [`--user=${await users(t)}`, 'unshare', '--pid', '--mount', '--propagation', 'private', '--fork', '--kill-child=KILL', 'sh', '-ec', make], { stdio: ['ignore', 'pipe', 'pipe', from] });
    fs.closeSync(from);
    m.child.on('exit', (code, signal) => { m.ended = code ?? signal; });
    for (const stream of [m.child.stdout, m.child.stderr]) stream.on('data', (d) => { m.log += d; });
    t.after(async () => {
      m.child.kill('SIGKILL');
      await until(() => m.ended !== undefined, 'it ends');
    });
    return m;
  }

  // -> once its process 1 is the agent's init
  async begun() {
    const is = () => { [this.init] = children(this.child.pid); return comm(this.init) === 'cchost-init'; };
    await until(is, () => `it is there: ${this.log}`);
  }

  // Its process 1 begins none any more, or as many as it may.
  full(yes) {
    const most = yes ? 0 : /^Max processes +\S+ +(\S+)/m.exec(fs.readFileSync(`/proc/${this.init}/limits`, 'utf8'))[1];
    execFileSync('prlimit', ['--pid', String(this.init), `--nproc=${most}:`]);
  }

  says(text) { return until(() => text.test(this.log), () => `it says ${text}: ${this.log}`, 30); }

  agent() { return children(this.init).find((p) => comm(p) === 'cchost-agent'); }

  ask(method, path, body) {
    return new Promise((resolve) => {
      const req = http.request({ socketPath: `/proc/${this.init}/root/run/cchost/agent/agent.sock`, method, path, agent: false, timeout: 5000 }, async (res) => {
        resolve({ status: res.statusCode, body: Buffer.concat(await res.toArray().catch(() => [])).toString() });
      });
      req.on('timeout', () => req.destroy());
      req.on('error', () => resolve({ status: 0 }));
      req.end(body && JSON.stringify(body));
    });
  }

  answers() { return until(async () => (await this.ask('GET', '/healthz')).status === 200, () => `it answers: ${this.log}`, 30); }
}

const init = 'exec /run/cchost/bin/cchost-agent init --listen /run/cchost/agent/agent.sock';

// Bug: pid 1 tried it once, and then waited for a child that it did not have.
test('an agent that ended when there was no process for another is begun again once there is one', { skip, timeout: 120000 }, async (t) => {
  const m = await Machine.start(t, init);
  await m.begun();
  await m.answers();
  const before = m.agent();
  m.full(true);
  process.kill(before, 'SIGKILL');
  await m.says(/(no process for the agent; again in [^]*){2}/); // and not only once
  assert.strictEqual(m.agent(), undefined);
  m.full(false);
  await m.answers();
  assert.notStrictEqual(m.agent(), before);
});

// Bug: a command that was never begun was waited for, and whoever was left in the machine was not asked to end before the grace was over.
test('a command for which there was no process is said, and holds up no end', { skip, timeout: 120000 }, async (t) => {
  const m = await Machine.start(t, `prlimit --pid $$ --nproc=0:; ${init}`, { cmd: ['sleep', '1000'], grace_ms: 3600000 });
  await m.begun();
  await m.says(/the command was not begun: Resource temporarily unavailable/);
  m.full(false);
  await m.answers();
  // one that is nobody's, and ends when it is asked to
  const r = await m.ask('POST', '/exec', { cmd: ['sh', '-c', 'setsid sh -c \'trap "echo asked >/run/asked; exit" TERM; : >/run/there; while :; do sleep 1000 & wait; done\' >/dev/null 2>&1 &'], timeout_ms: 60000 });
  assert.strictEqual(r.status, 200, r.body);
  await until(() => fs.existsSync(`/proc/${m.init}/root/run/there`), 'it is there');
  const run = fs.openSync(`/proc/${m.init}/root/run`, 'r'); // outlives the machine
  t.after(() => fs.closeSync(run));
  process.kill(m.init, 'SIGTERM');
  await until(() => m.ended !== undefined, () => `it ends: ${m.log}`, 30);
  assert.strictEqual(fs.readFileSync(`/proc/self/fd/${run}/asked`, 'utf8'), 'asked\n');
});

// Bug: it waited for a child that it did not have, and at its timeout for ever.
test('a command that is to be run ends with 126 where there is no process for it', { skip, timeout: 60000 }, async (t) => {
  const run = '/run/cchost/bin/cchost-agent run --timeout 1000 -- sh -c "exit 7"';
  const m = await Machine.start(t, `export ASAN_OPTIONS=detect_leaks=0 # which wants a process more
    ${run} || echo "exit $?"; prlimit --pid $$ --nproc=0:; exec ${run}`);
  await until(() => m.ended !== undefined, () => `it ends: ${m.log}`, 30);
  assert.strictEqual(m.ended, 126, m.log);
  assert.match(m.log, /exit 7\n[^]*cchost-agent: beginning sh: Resource temporarily unavailable\n/);
});
