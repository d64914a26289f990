// The whole walk of seed 003's "Verification", on machines of `local` and with a real ssh client: provision, ssh, claude --version,
// status, list, extend, deprovision; and what ssh on such machines promises. Host keys are always checked, against the
// record's.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { Place, key, bin } = require('./ccc.js');
const { Server, until, temp } = require('../lib/cchost.js');

const nat = (() => { // as `local` decides it
  try {
    fs.accessSync('/dev/net/tun', fs.constants.R_OK | fs.constants.W_OK);
    return ['/usr/bin/pasta', '/usr/local/bin/pasta'].some((p) => fs.existsSync(p));
  } catch { return false; }
})();
const skip = nat ? false : 'this host has no nat';

// ssh as somebody would use it who has the record of the machine: e = {host, port, user, host_key}
function command(e, how = {}) {
  const known = path.join(bin, `known.${e.port}.${how.known || 'right'}`);
  fs.writeFileSync(known, `[${e.host}]:${e.port} ${how.host_key || e.host_key}\n`);
  return ['ssh', ['-F', 'none', '-i', how.identity || key().identity, '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=yes',
    '-o', `UserKnownHostsFile=${known}`, '-o', 'GlobalKnownHostsFile=none', '-p', String(e.port), ...(how.options || []), `${how.user || e.user}@${e.host}`]];
}
function ssh(e, line, how) {
  const [program, args] = command(e, how);
  const r = spawnSync(program, [...args, ...(line ? [line] : [])], { encoding: 'utf8', input: how?.input, timeout: 30e3 });
  return { code: r.status, out: r.stdout, err: r.stderr };
}
function says(e, line, expected, how) {
  const r = ssh(e, line, how);
  assert.deepStrictEqual([r.code, r.out], [0, expected], `${line}: ${r.err}`);
}

const as = (status) => ({ host: status.serverIp, port: status.sshPort, user: 'claude', host_key: status.hostKey });
const listens = (port) => new Promise((r) => {
  const s = net.connect(port, '127.0.0.1', () => { s.destroy(); r(true); }).on('error', () => r(false));
});

async function places() {
  const dir = temp();
  const s = await Server.start({ provider: 'local' }, dir);
  const far = new Place({ CCHOST_URL: s.url, API_KEY: s.key, DATA_DIR: '/nonexistent' }, bin);
  far.end = async () => {
    await s.deleteAll();
    await s.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  };
  const alone = temp();
  const near = new Place({ DATA_DIR: alone }, bin);
  near.end = async () => {
    for (const e of near.json('list')) near.run('deprovision', e.instanceId);
    fs.rmSync(alone, { recursive: true, force: true });
  };
  return [['at a server', far], ['on a store', near]];
}

test('the walk of the verification', { skip }, async (t) => {
  for (const [where, p] of await places()) {
    await t.test(where, async () => {
      try {
        const out = p.ok('provision', 'test@example.com', key().text, '1', 'cpx11');
        const [, id, port, print] = /Instance provisioned successfully!\n=+\nInstance ID: ([0-9a-f]{12})\nSSH command: ssh claude@127\.0\.0\.1 -p (\d+)\nHost key: {4}(SHA256:\S+)\nExpires: {5}\S+Z\n$/.exec(out);
        // C11: the fingerprint that was told is that of the server which answers there.
        const scan = spawnSync('ssh-keyscan', ['-p', port, '127.0.0.1'], { encoding: 'utf8' }).stdout;
        const seen = spawnSync('ssh-keygen', ['-l', '-f', '-'], { encoding: 'utf8', input: scan }).stdout;
        assert.ok(seen.includes(` ${print} `), `${seen} is not ${print}`);
        const status = p.json('status', id);
        assert.deepStrictEqual([status.hostKeyFingerprint, status.status, status.sshCommand], [print, 'running', `ssh claude@127.0.0.1 -p ${port}`]);
        const e = as(status);
        says(e, 'id -un; hostname; pwd', `claude\ncc-${id}\n/home/claude\n`);
        // What stands in for Claude Code, which is not on this host: put there over ssh, as anybody would.
        says(e, 'mkdir -p .local/bin && cat >.local/bin/claude && chmod +x .local/bin/claude', '', { input: '#!/bin/sh\necho "2.0.0 (Claude Code)"\n' });
        says(e, 'claude --version', '2.0.0 (Claude Code)\n');
        assert.match(p.ok('status', id), new RegExp(`SSH command: ssh claude@127\\.0\\.0\\.1 -p ${port}\nHost key: {4}${print.replace(/[+/]/g, '\\$&')}\n`));
        assert.match(p.ok('list'), new RegExp(`^${id}\t127\\.0\\.0\\.1\ttest@example\\.com\t\\S+Z\n$`));
        const later = p.json('extend', id, '2').expiresAt;
        assert.strictEqual(Date.parse(later) - Date.parse(status.expiresAt), 2 * 3600e3);
        says(e, 'claude --version', '2.0.0 (Claude Code)\n');
        assert.match(p.ok('deprovision', id), /^Deprovisioning instance .*\nServer deleted\nInstance removed from state\nDone\n$/);
        assert.strictEqual(await listens(Number(port)), false, 'nobody answers there any more');
        assert.strictEqual(p.ok('list'), '');
      } finally {
        await p.end();
      }
    });
  }
});

test('ssh on local machines', { skip }, async (t) => {
  const dir = temp();
  let s = await Server.start({ provider: 'local', activity_check_interval: 1 }, dir);
  const get = async (id) => (await s.call('GET', `/instances/${id}`)).body;
  t.after(async () => {
    await s.deleteAll();
    await s.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  const make = async (more) => {
    const { body } = await s.call('POST', '/instances?wait=60', { ssh_keys: [key().text], ...more });
    assert.strictEqual(body.status, 'RUNNING', JSON.stringify(body));
    return body;
  };
  const m = await make({ env: { GREETING: 'it\'s "so" \\ #1' } });

  await t.test('the record says where, and by which key it is known', () => {
    assert.deepStrictEqual({ ...m.ssh, port: 0, host_key: '', fingerprint: '' }, { host: '127.0.0.1', port: 0, user: 'claude', host_key: '', fingerprint: '' });
    const seen = spawnSync('ssh-keygen', ['-l', '-f', '-'], { encoding: 'utf8', input: `${m.ssh.host_key}\n` }).stdout;
    assert.ok(seen.includes(` ${m.ssh.fingerprint} `), seen);
  });

  await t.test('another host key is refused by the client', () => {
    const r = ssh(m.ssh, 'id', { known: 'wrong', host_key: `ssh-ed25519 ${key().text.split(' ')[1]}` });
    assert.strictEqual(r.code, 255);
    assert.match(r.err, /Host key verification failed|REMOTE HOST IDENTIFICATION/);
  });

  await t.test('its keys alone let in, and only as claude', () => {
    const other = key('ed25519', 0, 'other');
    for (const how of [{ identity: other.identity }, { user: 'root' }, { user: 'nobody' },
      { identity: '/nonexistent', options: ['-o', 'PreferredAuthentications=password,keyboard-interactive,hostbased,none'] }]) {
      const r = ssh(m.ssh, 'id', how);
      assert.deepStrictEqual([r.code, r.out], [255, ''], JSON.stringify(how));
      assert.match(r.err, /Permission denied \(publickey\)/);
    }
    // Nor does what somebody inside writes into his own files.
    says(m.ssh, `mkdir -p .ssh && chmod 700 .ssh && echo '${other.text}' >.ssh/authorized_keys && chmod 600 .ssh/authorized_keys`, '');
    assert.match(ssh(m.ssh, 'id', { identity: other.identity }).err, /Permission denied \(publickey\)/);
    says(m.ssh, 'echo x 2>/dev/null >/run/ssh/authorized_keys || echo no; rm -f /run/ssh/host_key 2>/dev/null || echo no', 'no\nno\n');
  });

  await t.test('a session has the machine\'s environment, a terminal, and the user\'s rights', () => {
    says(m.ssh, 'echo "$GREETING"; echo $CCHOST_BUSY_SOCKET; cchost-busy list', 'it\'s "so" \\ #1\n/run/cchost/busy.sock\n');
    says(m.ssh, 'test -t 0 && stat -c %U:%a $(tty)', 'claude:620\r\n', { options: ['-tt'] });
    says(m.ssh, 'grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status | cut -f2 | tr "\\n" " "', '0000000000000000 1 2 ');
    says(m.ssh, 'tar -x -C /tmp -f - && cat /tmp/a', 'hello', { input: spawnSync('bash', ['-c', 'cd $(mktemp -d) && printf hello >a && tar -c a']).stdout });
  });

  await t.test('a login keeps the machine awake, and counts when it ends', async () => {
    const [program, args] = command(m.ssh, { options: ['-tt'] });
    const login = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'] });
    await until(async () => (await s.call('GET', `/instances/${m.id}/stats`)).body.ssh_sessions === 1, 'the agent sees it');
    const seen = (await s.call('GET', `/instances/${m.id}/stats`)).body;
    assert.strictEqual(seen.ssh_sessions, 1);
    // Each look at the machine puts its stop off, though nobody types.
    const stops = async () => Date.parse((await get(m.id)).idle.stops_at);
    const first = await stops();
    await until(async () => (await stops()) >= first + 3000, 'its stop is put off');
    login.stdin.end('exit\n');
    await new Promise((r) => login.on('exit', r));
    await until(async () => (await s.call('GET', `/instances/${m.id}/stats`)).body.ssh_sessions === 0, 'it is over');
    assert.ok((await stops()) > Date.now() + 3600e3, 'it is not stopped at once');
  });

  await t.test('port and host key stay: over stop and start, and when the host ends, is killed, and comes back', async () => {
    await s.call('POST', `/instances/${m.id}/stop`);
    assert.strictEqual(await listens(m.ssh.port), false);
    assert.deepStrictEqual((await s.call('POST', `/instances/${m.id}/start`)).body.ssh, m.ssh);
    says(m.ssh, 'echo "$GREETING"', 'it\'s "so" \\ #1\n');
    await s.kill();
    says(m.ssh, 'echo without a host', 'without a host\n');
    s = await Server.start({ provider: 'local', activity_check_interval: 1 }, dir);
    assert.deepStrictEqual((await get(m.id)).ssh, m.ssh);
    await s.call('POST', `/instances/${m.id}/stop`);
    assert.deepStrictEqual((await s.call('POST', `/instances/${m.id}/start`)).body.ssh, m.ssh);
    says(m.ssh, 'hostname', `${m.name}\n`);
  });

  await t.test('no two have one port, and one that somebody took is given up for another', async () => {
    const all = await Promise.all([make(), make(), make()]);
    assert.strictEqual(new Set([m, ...all].map((x) => x.ssh.port)).size, 4);
    assert.strictEqual(new Set([m, ...all].map((x) => x.ssh.fingerprint)).size, 4);
    for (const x of all) says(x.ssh, 'hostname', `${x.name}\n`);
    await s.call('POST', `/instances/${all[0].id}/stop`);
    const thief = net.createServer();
    await new Promise((r) => thief.listen(all[0].ssh.port, '127.0.0.1', r));
    const { ssh: moved } = (await s.call('POST', `/instances/${all[0].id}/start`)).body;
    thief.close();
    assert.deepStrictEqual({ ...moved, port: 0 }, { ...all[0].ssh, port: 0 });
    assert.notStrictEqual(moved.port, all[0].ssh.port);
    says(moved, 'hostname', `${all[0].name}\n`);
    for (const x of all) await s.call('DELETE', `/instances/${x.id}`);
    assert.strictEqual(fs.readdirSync(path.join(dir, 'local/ports')).length, 1, 'what was deleted has no port any more');
  });

  await t.test('who gives no keys has no sshd; who has no network is told', async () => {
    const { body: plain } = await s.call('POST', '/instances?wait=60', {});
    assert.strictEqual(plain.ssh, null);
    const lone = await make({ network: 'none' });
    assert.deepStrictEqual(lone.ssh, { why: 'it has no network' });
    assert.deepStrictEqual(lone.unenforced.filter((u) => u.what === 'ssh'), [{ what: 'ssh', why: 'it has no network' }]);
  });
});

test('a host without sshd: the machine starts, and its record and ccc say why there is no ssh', { skip }, async (t) => {
  if (process.getuid() !== 0) return t.skip('needs root to hide sshd');
  const dir = temp();
  // In a mount namespace of its own, where /usr/sbin/sshd is no program.
  const s = await Server.start({ provider: 'local' }, dir, { wrap: ['unshare', '-m', 'sh', '-c', 'mount --bind /dev/null /usr/sbin/sshd && exec "$0" "$@"'] });
  const why = 'this host has no sshd (package openssh-server)';
  try {
    const { body } = await s.call('POST', '/instances?wait=60', { ssh_keys: [key().text] });
    assert.deepStrictEqual([body.status, body.ssh], ['RUNNING', { why }]);
    const p = new Place({ CCHOST_URL: s.url, API_KEY: s.key, DATA_DIR: '/nonexistent' }, bin);
    assert.match(p.ok('status', body.short), new RegExp(`\nSSH: {9}not offered: ${why.replace(/[()]/g, '\\$&')}\n`));
    p.refused(/^Error: Provisioning failed: no ssh: this host has no sshd .*\n {2}Instance [0-9a-f]{12} was removed\.\n$/, 'provision', 'a@example.org', key().text);
    assert.strictEqual(p.json('list').length, 1);
  } finally {
    await s.deleteAll();
    await s.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  }
});
