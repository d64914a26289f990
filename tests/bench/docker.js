// create -> first shell of a machine on docker, beside what `docker run` itself takes to the same first shell: a container of the
// same image, network, volume and limits; and the same again where that dockerd is reached over TCP by TLS. Interleaved, each of
// them first in turn; ROUNDS (15) of each after one that does not count. One machine is kept, so that the network is there.
'use strict';
require('../lib/netns.js').enter(__filename);
const fs = require('node:fs');
const { spawn } = require('node:child_process');
const { Server, temp } = require('../lib/cchost.js');
const { Dockerd, tls } = require('../lib/dockerd.js');
const { Terminal } = require('../lib/terminal.js');

const rounds = Number(process.env.ROUNDS || 15);
const line = (name, list) => {
  const v = list.slice().sort((a, b) => a - b);
  console.log(`docker.${name}: ${v[v.length >> 1].toFixed(1)} ms (${v[0].toFixed(1)}-${v[v.length - 1].toFixed(1)}, n=${v.length})`);
};

async function ours(s, i) {
  const from = performance.now();
  const { body } = await s.call('POST', '/instances', { name: `m${i}` });
  const tty = await Terminal.open(`${s.url}/instances/${body.id}/terminal`, { 'X-API-Key': s.key });
  tty.type('echo $((6*7))\r');
  await tty.sees(/\r\n42/);
  const ms = performance.now() - from;
  await tty.close();
  await s.call('DELETE', `/instances/${body.id}`);
  return ms;
}

async function raw(d, net, i) {
  const from = performance.now();
  const args = ['-H', d.host, 'run', '--rm', '-i', '--name', `raw${i}`, '--network', net, '-v', `raw${i}:/claude-data`, '--memory', '2g', '--memory-swap', '2g',
    '--cpus', '1', '--pids-limit', '4096', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', 'cc/base:1', 'sh'];
  const child = spawn('docker', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((r) => child.on('exit', r));
  child.stdin.write('echo $((6*7))\n');
  await new Promise((r) => child.stdout.once('data', r));
  const ms = performance.now() - from;
  child.stdin.end();
  await ended;
  return ms;
}

(async () => {
  const dir = temp();
  const { args, url, good } = tls(dir);
  const d = await Dockerd.start({ args });
  try {
    await d.image('cc/base:1');
    const start = (more) => Server.start({ provider: 'docker', docker_image: 'cc/base:1', terminal_command: 'exec sh', stop_grace_seconds: 1, ...more });
    const s = await start({ docker_host: d.host, sweep_seconds: 86400 });
    // two hosts on one dockerd: neither is to sweep meanwhile
    const far = await start({ docker_host: url, docker_cert_path: good, sweep_seconds: 86400 });
    const { body } = await s.call('POST', '/instances', { name: 'kept' });
    await s.running(body.id);
    const net = (await d.api('GET', '/networks')).body.find((n) => /^claude-net/.test(n.Name)).Name;
    const times = { shell: [], run: [], far: [] };
    const ways = [['shell', (i) => ours(s, i)], ['run', (i) => raw(d, net, i)], ['far', (i) => ours(far, i)]];
    for (const [, way] of ways) await way('warm');
    for (let i = 0; i < rounds; i++) {
      for (const [name, way] of ways) times[name].push(await way(i));
      ways.push(ways.shift()); // each of them comes first, second and third
    }
    line('create_to_shell', times.shell);
    line('docker_run', times.run);
    line('overhead', times.shell.map((ms, i) => ms - times.run[i]));
    const middle = (list) => list.slice().sort((a, b) => a - b)[list.length >> 1];
    console.log(`docker.ratio: ${(middle(times.shell) / middle(times.run)).toFixed(2)} of docker run's own time`);
    line('create_to_shell_tls', times.far);
    await far.stop();
    await s.stop();
  } finally {
    await d.end();
    fs.rmSync(dir, { recursive: true, force: true });
  }
})().catch((e) => { console.error(e); process.exit(1); });
