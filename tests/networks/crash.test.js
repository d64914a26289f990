// kill -9 of the host right before and right after each command that it gives to Open vSwitch, for what makes and ends networks:
// afterwards everything is as it was asked for, once, and nothing is left when it has ended.
'use strict';
require('../lib/netns.js').enter(__filename, { mounts: true });
const test = require('node:test');
const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Server, temp, until } = require('../lib/cchost.js');
const { Ovs, missing } = require('../lib/ovs.js');
const { account, remove } = require('./owners.js');

const lack = missing();
if (lack && (process.env.BACKENDS || '').split(' ').includes('ovs')) throw new Error(`this host is meant to have Open vSwitch: ${lack}`);

// In the place of the switch's tools: the n-th command ends the host that gives it, before or after its effect.
class Shim {
  constructor() {
    this.dir = temp();
    for (const tool of ['ovs-vsctl', 'ovs-ofctl', 'nft']) {
      const real = execFileSync('sh', ['-c', `command -v ${tool}`]).toString().trim();
      fs.writeFileSync(path.join(this.dir, tool), `#!/bin/sh
cd ${this.dir}
[ -e armed ] || exec ${real} "$@"
exec 9>lock && flock 9
echo "${tool} $*" >>calls
if [ "$(wc -l <calls)" = "$(cat armed 2>/dev/null)" ]; then
  [ "$(cat when)" = before ] || ${real} "$@" 9>&-
  touch fired
  rm armed
  kill -9 $PPID
  exit 1
fi
exec 9>&-
exec ${real} "$@"
`, { mode: 0o755 });
    }
  }

  file(name) { return path.join(this.dir, name); }
  arm(n, when) {
    for (const name of ['calls', 'fired']) fs.rmSync(this.file(name), { force: true });
    fs.writeFileSync(this.file('when'), when);
    fs.writeFileSync(this.file('armed'), `${n}`);
  }

  // From now on it ends nobody. -> whether it has
  disarm() {
    execFileSync('flock', [this.file('lock'), 'rm', '-f', this.file('armed')]);
    return fs.existsSync(this.file('fired'));
  }
}

test('kill -9 at each command of making and ending a network, its parts and a machine in it', { skip: lack }, async (t) => {
  const v = await Ovs.start();
  const shim = new Shim();
  const dir = temp();
  const s = await Server.start({ provider: 'mock', mock: `{vpc=true,state="${dir}/world"}`, network_backend: 'ovs', ovs_rundir: v.dir, ovs_datapath: 'netdev',
    sweep_seconds: 3600, drain_seconds: 1 }, dir, { env: { PATH: `${shim.dir}:${process.env.PATH}` } });
  const ann = await account(s, 'ann@example.org');
  const flows = () => v.left().map((b) => v.run('ovs-ofctl', '-O', 'OpenFlow14', 'dump-flows', `unix:${v.dir}/${b}.mgmt`)).join('\n');
  const one = async (where) => (await ann.call('GET', where)).body[0];
  const vpc = () => one('/vpcs');
  const quiet = () => until(async () => {
    const rec = await vpc();
    const op = rec && (await ann.call('GET', `/operations/${rec.operation}`)).body;
    return !rec || (['done', 'failed', 'superseded'].includes(op.state) && rec.queue.length === 0);
  }, () => `nothing is under way\n${s.log.slice(-3000)}`, 60);

  // What is asked for; what must be there when that is over; and what it stands on. Each may be asked for again.
  const ask = {
    vpc: () => ann.call('POST', '/vpcs?wait=30', { name: 'net' }),
    subnet: () => ann.call('POST', '/subnets?wait=30', { vpc_id: 'net', name: 'a', cidr_block: '10.0.0.0/24' }),
    group: () => ann.call('POST', '/security-groups?wait=30', { vpc_id: 'net', name: 'g', rules: [{ direction: 'ingress', protocol: 'tcp', port_min: 80 }] }),
    machine: async () => ann.call('POST', '/instances?wait=30', { name: 'one', subnet_id: (await one('/subnets')).id, security_groups: [(await one('/security-groups')).id] }),
    'no machine': () => ann.call('DELETE', '/instances/one?wait=30'),
    'no group': async () => ann.call('DELETE', `/security-groups/${(await one('/security-groups')).id}?wait=30`),
    'no subnet': async () => ann.call('DELETE', `/subnets/${(await one('/subnets')).id}?wait=30`),
    'no vpc': () => ann.call('DELETE', '/vpcs/net?wait=30'),
  };
  const is = {
    vpc: async () => assert.deepStrictEqual([(await vpc()).status, v.left()], ['AVAILABLE', [(await vpc()).bridge]]),
    subnet: async () => assert.match(flows(), /arp_tpa=10\.0\.0\.1/),
    group: async () => assert.match(flows(), /tp_dst=80/),
    machine: async () => { await s.running((await one('/instances')).id); assert.strictEqual((await one('/instances')).address, '10.0.0.2/24'); },
    'no machine': () => until(async () => !(await one('/instances')), 'it is gone'),
    'no group': async () => assert.doesNotMatch(flows(), /tp_dst=80/),
    'no subnet': async () => assert.doesNotMatch(flows(), /arp_tpa=10\.0\.0\.1/),
    'no vpc': async () => assert.deepStrictEqual([await vpc(), v.left()], [undefined, []]),
  };
  // One step with a kill at its n-th command. -> whether there was one
  async function survive(step, n, when) {
    shim.arm(n, when);
    await ask[step]().catch(() => null); // its connection may end with the host
    await Promise.race([s.exited, quiet().catch(() => null)]);
    const died = shim.disarm();
    if (died) {
      await s.exited;
      s.agent.destroy();
      await s.launch();
    }
    await quiet();
    await is[step]();
    return died;
  }

  const levels = ['vpc', 'subnet', 'group', 'machine'];
  const kills = {};
  try {
    for (const level of levels) {
      const steps = [level, `no ${level}`];
      let on = true;
      for (let n = 1; on; n++) {
        on = false;
        for (const when of ['before', 'after']) {
          for (const step of steps) {
            const died = await survive(step, n, when);
            kills[step] = (kills[step] || 0) + died;
            on ||= died;
          }
        }
      }
      for (const step of steps) assert.ok(kills[step] >= 6, `${step}: killed ${kills[step]} times`);
      await ask[level]();
      await quiet();
    }
    t.diagnostic(`killed ${JSON.stringify(kills)}`);
    await remove(ann);
    assert.deepStrictEqual(v.left(), []);
    assert.strictEqual(v.run('ovs-vsctl', `--db=unix:${v.dir}/db.sock`, '--bare', '--columns=name', 'list', 'Interface'), '');
    assert.strictEqual(execFileSync('nft', ['list', 'ruleset']).toString(), '');
    await s.stop();
    const out = path.join(dir, 'export');
    execFileSync(process.env.CCHOST || path.join(__dirname, '../../cchost'), ['export', `--data-dir=${dir}`, out], { stdio: 'pipe' });
    assert.doesNotMatch(fs.readFileSync(out, 'utf8'), /^\{"kind":"(address|address_pool|vpc|vpc_held|subnet|security_group|security_group_use)"/m, 'nothing is in the store either');
  } finally {
    if (s.child.exitCode === null) s.child.kill('SIGKILL');
    await s.exited;
    await v.end();
    fs.rmSync(dir, { recursive: true, force: true });
    fs.rmSync(shim.dir, { recursive: true, force: true });
  }
});
