// The agent of a server at Hetzner's double, in full use, is updated by ssh by the host that comes after a kill.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { execFileSync } = require('node:child_process');
const { Server, temp } = require('../lib/cchost.js');
const { Hetzner } = require('../lib/hetzner.js');
const { updated } = require('../lib/in_use.js');

const has = (program) => { try { execFileSync('which', [program]); return true; } catch { return false; } };
const why = process.getuid() !== 0 ? 'it needs root' : ['unshare', 'sshd', 'ssh', 'ssh-keygen', 'curl', 'busybox'].filter((p) => !has(p)).map((p) => `${p} is not here`)[0];
const skip = why && `hetzner: ${why}`;
if (skip && (process.env.BACKENDS || '').split(' ').includes('hetzner')) throw new Error(`this host is meant to have the double of Hetzner: ${why}`);

const options = '{poll_ms=10,retry_ms=20,ssh_every_ms=50,ssh_tries=100,stop_grace_ms=2000}';

let z;
test.before(async () => {
  if (!skip) z = await Hetzner.start({ machines: true, checked: !Hetzner.missing(), limit: 1000000 });
});
test.after(async () => {
  if (!z) return;
  const left = z.world.left();
  await z.stop();
  assert.deepStrictEqual(left, [], 'nothing of ours is left');
});

test('a server that runs when the host starts, in full use, gets its agent: every byte once, its turn, lease, service and port go on', { skip, timeout: 250000 }, async (t) => {
  const dir = temp();
  const start = async (how) => {
    const settings = { provider: 'hetzner', hcloud_endpoint: z.url, hcloud_options: options, terminal_command: 'exec sh', agent_check_seconds: 1 };
    const s = await Server.start(settings, null, { ...how, env: { HCLOUD_TOKEN: z.token } });
    t.after(async () => {
      await s.stop();
      for (const v of [...z.world.volumes.values()]) if (!v.server) z.world.deleteVolume(v);
      fs.rmSync(dir, { recursive: true, force: true });
    });
    return s;
  };
  const make = async (s, env) => {
    const r = await s.call('POST', '/instances', { name: 'box', type: 'cpx11', env });
    assert.strictEqual(r.status, 201, r.text);
    await s.running(r.body.id, 60);
    return r.body;
  };
  await updated(t, start, make, { dir, web: ['busybox', 'httpd', '-f', '-p', '127.0.0.1:8080', '-h', '/etc'], page: '/passwd' });
});
