// setup.sh and hetzner/server-setup.sh on a Debian of their own (build/image-base.tar: make deps-docker), as root, in namespaces: run
// twice the second changes nothing, not so much as a time; what the user changed stays; and the unit of the agent is the shared one,
// and runs it. Where one downloads, stand-ins give what would come, and keep what they were asked.
'use strict';
require('../lib/netns.js').enter(__filename, { mounts: true });
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync, spawnSync } = require('node:child_process');
const { temp, root } = require('../lib/cchost.js');
const { parts, same, carried } = require('../lib/image.js');

const base = path.join(root, 'build/image-base.tar');
const skip = (process.getuid() !== 0 && 'only root has namespaces') || (!fs.existsSync(base) && 'no base for an image was made (make deps-docker)');
if (skip && (process.env.BACKENDS || '').split(' ').includes('docker')) throw new Error(skip);

const agent = path.join(root, 'build', process.env.V || 'release', 'cchost-agent');
const dir = temp();
const pristine = path.join(dir, 'base');
test.before(() => {
  if (skip) return;
  fs.mkdirSync(pristine);
  execFileSync('tar', ['-xf', base, '-C', pristine]);
});
test.after(() => fs.rmSync(dir, { recursive: true, force: true }));

// Lines that are run there before each script: mounts in its own namespaces, which go with it.
const enter = `set -eu
mount -t tmpfs none "$1/run"; mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount -t tmpfs none "$1/tmp"
cd "$1"; exec chroot . /bin/sh -c "$2"`;

// A system on a disk of its own, over the one that all share.
class System {
  constructor(t, name) {
    this.dir = path.join(dir, name);
    this.root = path.join(this.dir, 'root');
    for (const d of ['root', 'upper', 'work']) fs.mkdirSync(path.join(this.dir, d), { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'none', this.dir]); // an overlay of an overlay is refused
    for (const d of ['root', 'upper', 'work']) fs.mkdirSync(path.join(this.dir, d), { recursive: true });
    t.after(() => execFileSync('umount', ['-l', this.dir]));
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${pristine},upperdir=${this.dir}/upper,workdir=${this.dir}/work`, this.root]);
    this.share = path.join(this.root, 'usr/local/share/cchost');
    fs.mkdirSync(this.share, { recursive: true });
    carried(this.share);
    fs.rmSync(path.join(this.share, 'data'), { recursive: true, force: true });
  }

  run(script) {
    const r = spawnSync('unshare', ['--mount', '--pid', '--fork', '--kill-child=KILL', '--uts', 'sh', '-c', enter, 'sh', this.root, script], { encoding: 'utf8', timeout: 60000, maxBuffer: 1 << 26 });
    assert.strictEqual(r.status, 0, `${script.slice(0, 200)}\n${r.stdout}${r.stderr}`);
    return r.stdout;
  }

  setup(...args) { return this.run(`exec sh /usr/local/share/cchost/setup.sh ${args.join(' ')} 2>&1`); }

  put(at, text, mode = 0o755) {
    fs.mkdirSync(path.dirname(path.join(this.root, at)), { recursive: true });
    fs.writeFileSync(path.join(this.root, at), text, { mode });
  }

  // What can be told of each file there is: type, mode, owner, size, both times, content.
  state() {
    const list = execFileSync('find', ['.', '-xdev', '-printf', '%p %y %m %U:%G %s %T@ %C@ %l\n'], { cwd: this.root, encoding: 'utf8', maxBuffer: 1 << 26 });
    const sums = execFileSync('sh', ['-c', 'find . -xdev -type f -newer ./etc/debian_version -print0 | sort -z | xargs -0 sha256sum'], { cwd: this.root, encoding: 'utf8', maxBuffer: 1 << 26 });
    return `${list.split('\n').sort().join('\n')}\n${sums}`;
  }
}

function standIns(system) {
  system.put('/stand-in/zellij', '#!/bin/sh\n');
  system.put('/usr/local/bin/npm', '#!/bin/sh\necho "npm $*" >>/asked\nprintf "#!/bin/sh\\n" >/usr/local/bin/claude && chmod 755 /usr/local/bin/claude\n');
  system.put('/usr/local/bin/curl', '#!/bin/sh\necho "curl $*" >>/asked\nwhile [ "$1" != -o ]; do shift; done\ntar -czf "$2" -C /stand-in zellij\n');
}

test('run twice, the second changes nothing; what the user has changed stays, and what is ours is mended', { skip }, async (t) => {
  const m = new System(t, 'twice');
  standIns(m);
  const first = m.state();
  assert.match(m.setup(), /setup: done/);
  const asked = fs.readFileSync(path.join(m.root, 'asked'), 'utf8');
  assert.deepStrictEqual(asked.match(/^(npm install|curl)/gm), ['npm install', 'curl'], 'each tool is got once');
  await same((line) => m.run(line));
  const once = m.state();
  assert.notStrictEqual(once, first, 'the listing tells what a run changes');
  assert.match(m.setup(), /setup: done/);
  assert.strictEqual(m.state(), once);
  assert.strictEqual(fs.readFileSync(path.join(m.root, 'asked'), 'utf8'), asked, 'and nothing is asked of anybody');

  m.run('chmod -x /usr/local/bin/claude-pane');
  assert.notStrictEqual(m.state(), once, 'a mode alone is seen');
  m.run(`echo '// mine' >>/home/claude/.config/zellij/layouts/claude.kdl; echo more >>/usr/local/bin/claude-session; rm /home/claude/.config/zellij/config.kdl`);
  m.setup();
  const layout = fs.readFileSync(path.join(m.root, 'home/claude/.config/zellij/layouts/claude.kdl'), 'utf8');
  assert.strictEqual(layout, `${parts()['layout.kdl']}// mine\n`);
  fs.writeFileSync(path.join(m.root, 'home/claude/.config/zellij/layouts/claude.kdl'), parts()['layout.kdl']);
  await same((line) => m.run(line));
  assert.strictEqual(m.run('test -x /usr/local/bin/claude-pane && stat -c %U:%a /home/claude/.config /home/claude/.config/zellij/config.kdl').trim(), 'claude:755\nclaude:644');
});

test('a link of the user\'s in its way is not followed by root', { skip }, (t) => {
  const m = new System(t, 'link');
  standIns(m);
  m.setup('--only', 'user');
  m.run('su claude -c "mkdir -p ~/.config/zellij && ln -s /etc/profile.d ~/.config/zellij/layouts && ln -s /etc/cron.d/x ~/.config/zellij/config.kdl"');
  const before = m.run('ls -la /etc/profile.d /etc/cron.d');
  assert.match(m.setup('--only', 'layout,session'), /setup: not put into place: \.config\/zellij\/layouts\/claude\.kdl[^]*setup: done/);
  assert.strictEqual(m.run('ls -la /etc/profile.d /etc/cron.d'), before);
  m.run('test -x /usr/local/bin/claude-pane && test -x /usr/local/bin/claude-session');
});

test('without its parts it says so, and changes nothing', { skip }, (t) => {
  const m = new System(t, 'alone');
  fs.rmSync(path.join(m.share, 'parts'), { recursive: true });
  const before = m.state();
  assert.match(m.run('sh /usr/local/share/cchost/setup.sh 2>&1 && exit 1; :'), /setup: its parts are not beside it/);
  assert.strictEqual(m.state(), before);
});

// What systemd makes of the unit, as far as the unit says it, and no more.
const systemctl = `#!/bin/sh
unit=/etc/systemd/system/cchost-agent.service
value() { sed -n "s/^$1=//p" $unit; }
case "$*" in
  daemon-reload) : ;;
  'enable --quiet cchost-agent') grep -qx "WantedBy=multi-user.target" $unit ;;
  'restart cchost-agent')
    [ -e "$(value ConditionPathExists)" ] || exit 1
    for d in $(value RuntimeDirectory); do mkdir -p /run/$d && chown "$(value User)": /run/$d; done
    setsid runuser -u "$(value User)" -- $(value ExecStart) >/dev/null 2>&1 </dev/null & ;;
  *) exit 5 ;;
esac
`;

test('a server of hetzner\'s with systemd has the shared unit, which runs the agent, and the shared texts; also twice', { skip }, async (t) => {
  const m = new System(t, 'server');
  m.put('/usr/local/bin/systemctl', systemctl);
  m.put('/usr/local/lib/cchost/cchost-agent', fs.readFileSync(agent));
  m.put('/server-setup.sh', fs.readFileSync(path.join(root, 'providers/hetzner/server-setup.sh')));
  const words = "mkdir -p /run/systemd/system; set --; ENV_TEXT='export A=b\n'; ID_TEXT=0123456789ab; export ENV_TEXT ID_TEXT;";
  const ask = `${words} sh /server-setup.sh && /usr/local/lib/cchost/cchost-agent health /run/cchost/agent/agent.sock`;
  for (const time of ['first', 'second']) {
    assert.match(m.run(ask), /"status":"ok"/, time);
    assert.deepStrictEqual(fs.readFileSync(path.join(m.root, 'etc/systemd/system/cchost-agent.service')), parts()['cchost-agent.service']);
    await same((line) => m.run(line));
  }
});

test('a server of hetzner\'s gets the tools that it has not, where that is asked for', { skip }, (t) => {
  const m = new System(t, 'tools');
  standIns(m);
  m.put('/usr/local/bin/systemctl', systemctl);
  m.put('/usr/local/lib/cchost/cchost-agent', fs.readFileSync(agent));
  m.put('/server-setup.sh', fs.readFileSync(path.join(root, 'providers/hetzner/server-setup.sh')));
  const words = 'mkdir -p /run/systemd/system; set --; export ID_TEXT=0123456789ab;';
  m.run(`${words} sh /server-setup.sh`);
  assert.deepStrictEqual(['asked', 'var/log/cchost-setup.log', 'usr/local/bin/claude'].filter((f) => fs.existsSync(path.join(m.root, f))), [], 'nothing unasked');
  const done = 'n=0; until grep -qx "setup: done" /var/log/cchost-setup.log; do n=$((n + 1)); [ $n -lt 300 ] || { cat /var/log/cchost-setup.log; exit 1; }; sleep 0.1; done';
  m.run(`${words} export INSTALL=y; sh /server-setup.sh; ${done}; su claude -c "claude && zellij"`);
});
