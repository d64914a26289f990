// The package in a copy of this system that forgets everything (an overlay in a mount namespace of its own): what is there after
// each of dpkg's steps, and that nothing is left in the end. No systemd runs in it; with one: systemd.test.js.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { build, noPackage: skip, run, temp } = require('./booted.js');
const { root } = require('../../lib/cchost.js');

const dir = temp();
const deb = (version) => path.join(dir, `cchost_${version}.deb`);

// Runs a bash script with this system's files as they are, whose changes go nowhere; /deb are the packages. It has
//   here     every file, apart from what dpkg keeps for itself. Others use this system meanwhile: what vanishes under it is no fault.
//   changed BEFORE AFTER    two such lists: "ours: > PATH" is what was done in the copy, "theirs: < PATH" what others did (ours.py)
//   others   has somebody outside of the copy write, make and remove files, in the folder `beside`
const HERE = 'find / -ignore_readdir_race -xdev \\( -path /proc -o -path /deb -o -path /tmp -o -path /var/cache -o -path /var/log -o -path /var/lib/dpkg -o -path /root \\) -prune -o ! -type d -printf "%m %u %g %s %p\\n" -o -type d -printf "%m %u %g - %p/\\n" 2>/tmp/errors || ! grep -v ": No such file or directory$" /tmp/errors';
const beside = fs.mkdtempSync('/var/tmp/cchost-test-');
function inCopy(script) {
  const outer = `
    set -e
    mount -t tmpfs tmpfs ${dir}/mnt
    mkdir ${dir}/mnt/upper ${dir}/mnt/work ${dir}/mnt/root
    mount -t overlay -o lowerdir=/,upperdir=${dir}/mnt/upper,workdir=${dir}/mnt/work overlay ${dir}/mnt/root
    cd ${dir}/mnt/root
    mount -t proc proc proc
    mount -t tmpfs tmpfs run
    mount -t tmpfs tmpfs tmp
    mount --rbind /dev dev
    mkdir deb tmp/upper
    mount --bind ${dir} deb
    mount --bind ${dir}/mnt/upper tmp/upper
    mkfifo tmp/now tmp/done
    echo >${beside}/grows; echo >${beside}/goes; rm -f ${beside}/comes
    { read -r _ <tmp/now; echo more >>${beside}/grows; rm ${beside}/goes; echo >${beside}/comes; echo >tmp/done; } &
    exec chroot . bash -euo pipefail -c 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
      here() { { ${HERE}; } | sort; }
      changed() { { diff "$1" "$2" || [ $? = 1 ]; } | python3 -I /deb/ours.py /tmp/upper; }
      others() { echo >/tmp/now; read -r _ </tmp/done; }
      '"$0"`;
  fs.mkdirSync(path.join(dir, 'mnt'), { recursive: true });
  fs.copyFileSync(path.join(__dirname, 'ours.py'), path.join(dir, 'ours.py'));
  return run('unshare', ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private', 'bash', '-c', outer, script]);
}
const said = (text, whose) => text.split('\n').filter((line) => line.startsWith(`${whose}: `)).map((line) => line.slice(whose.length + 2)).sort();
const written = [`< ${beside}/goes`, `< ${beside}/grows`, `> ${beside}/comes`, `> ${beside}/grows`];

test.before(() => {
  if (skip) return;
  build(deb('0.1.0'));
  build(deb('0.1.1'), '0.1.1');
});
test.after(() => {
  fs.rmSync(dir, { recursive: true, force: true });
  fs.rmSync(beside, { recursive: true });
});

test('lintian finds nothing but that the maintainer has no address yet', { skip }, () => {
  const said = run('lintian', ['--allow-root', '--fail-on=error,warning', '--suppress-tags=bogus-mail-host,bogus-mail-host-in-debian-changelog', deb('0.1.0')]);
  assert.doesNotMatch(said, /^[EW]:/m);
});

test('it is the same, byte by byte, when it is made again', { skip }, () => {
  build(deb('again'));
  assert.ok(fs.readFileSync(deb('again')).equals(fs.readFileSync(deb('0.1.0'))));
});

test('it depends on what its program is linked to, and opens, and on nothing else of libraries', { skip }, () => {
  const depends = run('dpkg-deb', ['-f', deb('0.1.0'), 'Depends']).split(/[,|]/).map((d) => d.trim().split(' ')[0]);
  const libraries = [...run('ldd', [path.join(root, 'cchost')]).matchAll(/=> (\S+)/g)].map((m) => m[1]);
  const owners = new Set(['libcurl4']);
  for (const file of libraries) {
    const real = fs.realpathSync(file);
    const r = spawnSync('dpkg-query', ['-S', real, file, real.replace(/^\/usr/, '')], { encoding: 'utf8' });
    owners.add(r.stdout.split(':')[0]);
  }
  owners.delete('');
  for (const owner of owners) assert.ok(depends.includes(owner), `${owner} is not among ${depends}`);
  const tools = ['init-system-helpers', 'systemd', 'systemd-sysusers', 'systemd-tmpfiles', 'libluajit2-5.1-2'];
  assert.deepStrictEqual(depends.filter((d) => !owners.has(d) && !tools.includes(d)), []);
});

test('installed, upgraded, removed, installed again, purged: every step leaves what it should, the last one nothing', { skip }, () => {
  const text = inCopy(`
    here >/tmp/before
    dpkg -i /deb/cchost_0.1.0.deb >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }
    echo "user: $(getent passwd cchost | cut -d: -f6,7)"
    stat -c "%n %U %a" /var/lib/cchost /etc/cchost /etc/cchost/policies /etc/cchost/cchost.lua
    echo "enabled: $(ls /etc/systemd/system/multi-user.target.wants | grep -x cchost.service)"
    echo "$(dpkg --verify cchost)" >/tmp/verified; grep -v " c " /tmp/verified | grep . && exit 1 || true
    cd /etc/cchost
    runuser -u cchost -- cchost config | grep -E "^(DATA_DIR|PROVIDER) "
    runuser -u cchost -- cchost check >/dev/null
    man -w cchost ccc claude-cloud cchost.lua cchost-policies | wc -l
    (. /usr/share/bash-completion/completions/cchost && complete -p ccc)
    echo "-- mine" >>cchost.lua
    dpkg -i /deb/cchost_0.1.1.deb >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }
    echo "version: $(dpkg-query -W -f '\${Version} \${Status}' cchost), $(tail -n 1 cchost.lua)"
    dpkg --remove cchost >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }
    cd /
    echo "removed: $(ls -d /etc/cchost/cchost.lua /var/lib/cchost; ls -d /usr/bin/cchost /usr/bin/ccc /lib/systemd/system/cchost* 2>/dev/null || true)"
    dpkg -i /deb/cchost_0.1.1.deb >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }
    others
    dpkg --purge cchost 2>&1 | sed "s/^/purge: /"
    here >/tmp/after
    changed /tmp/before /tmp/after
  `);
  const flat = text.replaceAll('\n', ' ');
  for (const sign of ['user: /var/lib/cchost:/usr/sbin/nologin ', '/var/lib/cchost cchost 700 /etc/cchost root 755 /etc/cchost/policies cchost 755 /etc/cchost/cchost.lua root 640 ',
    'enabled: cchost.service ', / DATA_DIR +\/var\/lib\/cchost +DATA_DIR \(cchost\.lua:\d+\) /, / PROVIDER +local /, ' 5 complete -o default -F _cchost ccc ',
    'version: 0.1.1 install ok installed, -- mine ', 'removed: /etc/cchost/cchost.lua /var/lib/cchost ', 'purge: cchost: removed /etc/cchost ', 'purge: cchost: removed /var/lib/cchost ',
    'purge: cchost: removed the user cchost ']) assert.match(flat, sign instanceof RegExp ? sign : new RegExp(sign.replace(/[/.()]/g, '\\$&')));
  // what systemd-sysusers and useradd keep of the time before
  const kept = /^[<>] \/etc\/(|\.pwd\.lock|(passwd|group|shadow|gshadow|subuid|subgid)-?)$/;
  assert.deepStrictEqual(said(text, 'ours').filter((line) => !kept.test(line)), [], text);
  assert.deepStrictEqual(written.filter((line) => !said(text, 'theirs').includes(line)), [], 'others wrote meanwhile');
});

test('what a package would leave is told, and what others do meanwhile is not taken for it', { skip }, () => {
  const text = inCopy(`
    mkdir /opt/old && echo 1 >/opt/old/file && rm -r /opt/old
    here >/tmp/before
    mkdir -p "/opt/left over" && echo >"/opt/left over/file"
    chmod 700 /usr/share/doc/bash
    rm /usr/share/doc/dash/copyright
    rm -r /usr/share/doc/sed
    rm -r /usr/share/doc/grep && mkdir /usr/share/doc/grep
    echo >>/etc/hostname
    others
    here >/tmp/after
    changed /tmp/before /tmp/after
  `);
  const ours = said(text, 'ours'), doc = '/usr/share/doc';
  const inside = (at) => fs.readdirSync(at, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? [`< ${at}/${e.name}/`, ...inside(`${at}/${e.name}`)] : `< ${at}/${e.name}`));
  const expected = ['> /opt/left over/', '> /opt/left over/file', `< ${doc}/bash/`, `> ${doc}/bash/`, `< ${doc}/dash/copyright`, `< ${doc}/sed/`,
    ...inside(`${doc}/sed`), ...inside(`${doc}/grep`), '< /etc/hostname', '> /etc/hostname'];
  assert.deepStrictEqual(ours, expected.sort(), text);
  assert.deepStrictEqual(written.filter((line) => !said(text, 'theirs').includes(line)), []);
});

test('a purge keeps the data while there are machines that nothing else knows of, and says so', { skip }, () => {
  const said = inCopy(`
    dpkg -i /deb/cchost_0.1.0.deb >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }
    cd /etc/cchost
    sed -i 's/PROVIDER = "local"/PROVIDER = "mock"/' cchost.lua
    ip link set lo up 2>/dev/null || true
    runuser -u cchost -- env LISTEN_ADDR=unix:/tmp/sock cchost serve 2>/tmp/log &
    until [ -S /tmp/sock ] && grep -q msg=ready /tmp/log; do kill -0 $! || { cat /tmp/log; exit 1; }; done
    key="X-API-Key: $(cat /var/lib/cchost/api_key)"
    curl -sf --unix-socket /tmp/sock -H "$key" -d '{"name":"first"}' http://x/instances >/dev/null
    kill $!; wait $! || true
    cd /
    dpkg --remove cchost 2>&1 | sed "s/^/remove: /"
    dpkg --purge cchost 2>&1 | sed "s/^/purge: /"
    ls -d /var/lib/cchost/store; getent passwd cchost | cut -d: -f1; ls -d /etc/cchost 2>&1 || true
    dpkg -i /deb/cchost_0.1.0.deb >/tmp/out 2>&1 || { cat /tmp/out; exit 1; }
    cd /etc/cchost
    runuser -u cchost -- cchost instances | sed "s/^/again: /"
    rm -r /var/lib/cchost/store
    cd /
    dpkg --purge cchost 2>&1 | sed "s/^/last: /"
    ls -d /var/lib/cchost 2>&1 || true
  `);
  assert.match(said, /remove: cchost: these machines stay.*\nremove: \S{36} \S+ +mock .* first\n/);
  assert.match(said, /purge: cchost: NOT removed: \/var\/lib\/cchost and the user cchost/);
  assert.match(said, /\/var\/lib\/cchost\/store\ncchost\nls: .*\/etc\/cchost/);
  assert.match(said, /again: \S{36} .* first\n/);
  assert.match(said, /last: cchost: removed \/var\/lib\/cchost\n[^]*last: cchost: removed the user cchost\n[^]*ls: .*\/var\/lib\/cchost/);
});
