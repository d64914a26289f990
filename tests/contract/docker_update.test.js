// The agent of a container in full use is updated by the host that comes after a kill, near and over TCP.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, temp } = require('../lib/cchost.js');
const { CrashProxy } = require('../lib/crashproxy.js');
const { Dockerd, missing, program } = require('../lib/dockerd.js');
const { updated } = require('../lib/in_use.js');

const why = missing('dockerd', 'docker', 'node');
const skip = why && `dockerd: ${why}`;
if (skip && (process.env.BACKENDS || '').split(' ').includes('docker')) throw new Error(`this host is meant to have dockerd: ${why}`);

let d, way;
test.before(async () => {
  if (skip) return;
  d = await Dockerd.start();
  way = await CrashProxy.start({ to: { socketPath: d.socket } });
  await d.image('cc/node:1', {
    config: ['USER claude'],
    fill: (dir) => {
      program(dir, 'node');
      fs.symlinkSync('../../bin/busybox', path.join(dir, 'usr/bin/env'));
      for (const name of ['acorn', 'acorn-walk', 'cjs-module-lexer', 'undici']) { // Debian's node has some of its own modules there
        const at = `/usr/share/nodejs/${name}`;
        if (fs.existsSync(at)) fs.cpSync(at, path.join(dir, at), { recursive: true, dereference: true });
      }
    },
  });
});
test.after(async () => {
  if (!d) return;
  const left = await d.left();
  await way.stop();
  await d.end();
  assert.deepStrictEqual(left, [], 'nothing of ours is left');
});

for (const far of [false, true]) {
  test(`a container that runs when the server starts, in full use${far ? ', over TCP' : ''}, gets its agent: every byte once, its turn, lease, service and port go on`, { skip, timeout: 250000 }, async (t) => {
    const dir = temp();
    const start = async (how) => {
      const settings = { provider: 'docker', docker_host: far ? `tcp://127.0.0.1:${way.port}` : d.host, docker_image: 'cc/node:1', stop_grace_seconds: 2, terminal_command: 'exec sh', agent_check_seconds: 1 };
      const s = await Server.start(settings, null, how);
      t.after(async () => {
        await s.stop();
        for (const v of (await d.api('GET', '/volumes')).body.Volumes || []) await d.api('DELETE', `/volumes/${v.Name}`);
        fs.rmSync(dir, { recursive: true, force: true });
      });
      return s;
    };
    const make = async (s, env) => {
      const r = await s.call('POST', '/instances', { name: 'box', env });
      assert.strictEqual(r.status, 201, r.text);
      await s.running(r.body.id, 60);
      return r.body;
    };
    await updated(t, start, make, { dir, web: ['httpd', '-f', '-p', '127.0.0.1:8080', '-h', '/etc'], page: '/passwd' });
  });
}
