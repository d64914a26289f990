// A real dockerd, in the network namespace of this test (netns.js): nothing of the host's Docker, networks or firewall is
// touched.
//
//   const d = await Dockerd.start();      d.host ("unix://...")
//   await d.api('GET', '/containers/json')   -> {status, body}       d.docker('ps', '-a')   the docker client, its output
//   await d.image('cc/base:1', { config })   an image of busybox      await d.end()         all of it ends; says what is left
//
// start({podman: true}): podman's service instead. start({args: tls(dir).args}): on TCP by TLS, too. Needs root; missing() says what there is not.
'use strict';
const { spawn, execFileSync } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const netns = require('./netns.js');
const { until } = require('./cchost.js');
const certs = require('../tls/certs.js');

const has = (program) => (process.env.PATH || '').split(':').concat('/usr/sbin', '/sbin').some((d) => fs.existsSync(path.join(d, program)));

// Why it cannot be here, or false.
function missing(...programs) {
  if (process.getuid() !== 0) return 'needs root';
  const absent = ['ip', 'unshare', 'iptables', 'busybox', ...programs].filter((p) => !has(p));
  return absent.length ? `not installed: ${absent.join(', ')}` : false;
}

// What a machine's image must have: a shell with the usual tools, root and a user called claude.
function busybox(dir) {
  for (const d of ['bin', 'etc', 'root', 'home/claude', 'tmp', 'usr/bin', 'var', 'run', 'proc', 'sys', 'dev']) fs.mkdirSync(path.join(dir, d), { recursive: true });
  fs.copyFileSync('/bin/busybox', path.join(dir, 'bin/busybox'));
  fs.chmodSync(path.join(dir, 'bin/busybox'), 0o755);
  for (const name of execFileSync('/bin/busybox', ['--list']).toString().split('\n')) {
    if (name && name !== 'busybox') fs.symlinkSync('busybox', path.join(dir, 'bin', name));
  }
  fs.writeFileSync(path.join(dir, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nclaude:x:1000:1000::/home/claude:/bin/sh\n');
  fs.writeFileSync(path.join(dir, 'etc/group'), 'root:x:0:\nclaude:x:1000:\n');
  fs.chownSync(path.join(dir, 'home/claude'), 1000, 1000);
  fs.chmodSync(path.join(dir, 'tmp'), 0o1777);
}

// A program of this host, with the libraries that it needs, in the image's tree.
function program(root, name) {
  const found = execFileSync('sh', ['-c', `command -v ${name}`]).toString().trim();
  const libraries = execFileSync('ldd', [found]).toString().match(/\/\S+(?= \()/g) || [];
  for (const file of [found, ...libraries]) {
    const to = path.join(root, file === found ? `usr/bin/${name}` : file);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    fs.copyFileSync(fs.realpathSync(file), to);
    fs.chmodSync(to, 0o755);
  }
}

// For a dockerd that listens on TCP, too: args of start, where it is, and folders as DOCKER_CERT_PATH names them, with a
// certificate that it takes (good), and one of another CA (strange).
function tls(dir) {
  const make = (ca, who) => {
    const [signer, mine] = [certs.make(dir, ca, { names: [ca] }), certs.make(dir, who, { names: [who], ca, extra: ['extendedKeyUsage=clientAuth'] })];
    const at = path.join(dir, `${who}-certs`);
    fs.mkdirSync(at);
    for (const [file, from] of [['ca.pem', signer.cert], ['cert.pem', mine.cert], ['key.pem', mine.key]]) fs.copyFileSync(from, path.join(at, file));
    return at;
  };
  const [good, strange] = [make('ca', 'client'), make('other', 'stranger')];
  const server = certs.make(dir, 'server', { ca: 'ca' });
  return { args: ['-H', 'tcp://127.0.0.1:2376', '--tlsverify', '--tlscacert', path.join(good, 'ca.pem'), '--tlscert', server.cert, '--tlskey', server.key],
    url: 'tcp://127.0.0.1:2376', good, strange };
}

class Dockerd {
  static async start(how = {}) {
    const d = new this();
    d.how = how;
    d.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cc-dockerd-'));
    if (!netns.inside()) throw new Error('only in a network namespace of its own: netns.js');
    d.socket = path.join(d.dir, 's');
    d.host = `unix://${d.socket}`;
    try {
      await d.launch();
    } catch (e) {
      await d.end();
      throw e;
    }
    return d;
  }

  async launch() {
    const { dir } = this;
    const dockerd = ['dockerd', '-H', this.host, '--data-root', `${dir}/data`, '--exec-root', `${dir}/run`, '--pidfile', `${dir}/pid`,
      '--oom-score-adjust', '0', '--storage-driver=overlay2', ...(this.how.args || [])];
    const podman = ['podman', '--root', `${dir}/data`, '--runroot', `${dir}/run`, '--cgroup-manager=cgroupfs', '--events-backend=file', '--runtime', 'runc',
      '--storage-driver=overlay', ...(this.how.args || []), 'system', 'service', '--time=0', this.host];
    // podman would raise what it may not on a host whose hard limits are lower; its crun cannot do with both kinds of control
    // groups on one host
    fs.writeFileSync(`${dir}/containers.conf`, `[containers]\ndefault_ulimits = ["nofile=16000:16000", "nproc=16000:16000"]\n`);
    const log = fs.openSync(`${dir}/log`, 'a');
    const command = ['unshare', '-m', '--propagation', 'private', ...(this.how.podman ? podman : dockerd)];
    // podman leaves a file called "oom" where it is, when a container has ended for want of memory
    this.child = spawn(command[0], command.slice(1), { cwd: dir, stdio: ['ignore', log, log], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, CONTAINERS_CONF: `${dir}/containers.conf` } });
    fs.closeSync(log);
    this.exited = new Promise((r) => this.child.on('exit', r));
    await until(async () => {
      if (this.child.exitCode !== null) throw new Error(`dockerd ended:\n${this.log()}`);
      return (await this.api('GET', '/_ping').catch(() => ({}))).status === 200;
    }, () => `dockerd answers:\n${this.log()}`, 60);
  }

  log() { return fs.readFileSync(`${this.dir}/log`, 'utf8').split('\n').slice(-30).join('\n'); }

  // -> {status, headers, body, text}. A stream or a buffer as body goes as it is.
  api(method, where, body, type = 'application/json') {
    return new Promise((resolve, reject) => {
      const raw = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body);
      const req = http.request({ socketPath: this.socket, method, path: `${where === '/_ping' ? '' : '/v1.41'}${where}`, agent: false,
        headers: raw === undefined ? {} : { 'Content-Type': type, 'Content-Length': Buffer.byteLength(raw) } }, (res) => {
        const parts = [];
        res.on('data', (p) => parts.push(p));
        res.on('error', reject);
        res.on('end', () => {
          const text = Buffer.concat(parts).toString();
          let parsed;
          try { parsed = JSON.parse(text); } catch { parsed = undefined; }
          resolve({ status: res.statusCode, headers: res.headers, text, body: parsed });
        });
      });
      req.on('error', reject);
      req.end(raw);
    });
  }

  docker(...args) { return execFileSync('docker', ['-H', this.host, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim(); }

  // config: lines of a Dockerfile, as docker import takes them. fill(dir): more files.
  async image(name, { config = [], fill } = {}) {
    const root = fs.mkdtempSync(path.join(this.dir, 'root-'));
    busybox(root);
    if (fill) fill(root);
    const tar = execFileSync('tar', ['-C', root, '-c', '.'], { maxBuffer: 1 << 30 });
    fs.rmSync(root, { recursive: true });
    await this.import(name, tar, config);
  }

  async import(name, tar, config = []) {
    const [repo, tag] = name.split(':');
    const changes = config.map((c) => `&changes=${encodeURIComponent(c)}`).join('');
    const r = await this.api('POST', `/images/create?fromSrc=-&repo=${repo}&tag=${tag}${changes}`, tar, 'application/x-tar');
    if (r.status !== 200 || /"error"/.test(r.text)) throw new Error(`importing ${name}: ${r.text}`);
  }

  // What of ours there is: containers, volumes, networks, images of disks, also those that have lost their names. [] is clean.
  async left() {
    const out = [];
    const all = (o) => encodeURIComponent(JSON.stringify(o));
    for (const c of (await this.api('GET', `/containers/json?all=true&filters=${all({ label: ['cchost.id'] })}`)).body) out.push(`container ${c.Names[0]}`);
    for (const v of (await this.api('GET', '/volumes')).body.Volumes || []) out.push(`volume ${v.Name}`);
    for (const n of (await this.api('GET', '/networks')).body) if (/^claude-/.test(n.Name)) out.push(`network ${n.Name}`);
    for (const i of (await this.api('GET', '/images/json')).body) for (const t of i.RepoTags || []) if (/claude-disk/.test(t)) out.push(`image ${t}`);
    const disks = (await this.api('GET', `/images/json?all=1&filters=${all({ label: ['cchost.short'] })}`)).body;
    for (const i of disks) if (!(i.RepoTags || []).some((t) => /claude-disk/.test(t))) out.push(`image ${i.Id}`);
    return out;
  }

  async end() {
    try {
      for (const c of (await this.api('GET', '/containers/json?all=true').catch(() => ({ body: [] }))).body || []) {
        await this.api('DELETE', `/containers/${c.Id}?force=true&v=true`);
      }
    } finally {
      if (this.child && this.child.exitCode === null) {
        this.child.kill('SIGTERM');
        await this.exited;
      }
      for (const line of fs.readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
        const at = line.split(' ')[1];
        if (at && at.startsWith(this.dir)) execFileSync('umount', ['-l', at]);
      }
      fs.rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
    }
  }
}

module.exports = { Dockerd, missing, program, has, tls };
