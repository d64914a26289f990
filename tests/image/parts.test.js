// The parts of machines are written once: what the program carries is what is in the tree, and no other file says it again. That each
// provider's machines have them is shown where there are machines: contract/docker, contract/hetzner, contract/libvirt, contract/docker_setup,
// and nixos/files.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { temp, root } = require('../lib/cchost.js');
const { parts, places, carried, folder } = require('../lib/image.js');

const dir = temp();
test.after(() => fs.rmSync(dir, { recursive: true, force: true }));

test('what is sent to machines is what is in the tree: setup.sh and its parts, and nothing else', () => {
  const at = path.join(dir, 'sent');
  fs.mkdirSync(at);
  carried(at);
  const files = fs.readdirSync(at, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => path.relative(at, path.join(e.parentPath || e.path, e.name))).sort();
  assert.deepStrictEqual(files, [...Object.keys(parts()).map((name) => `parts/${name}`), 'setup.sh'].sort());
  for (const [name, text] of Object.entries(parts())) assert.deepStrictEqual(fs.readFileSync(path.join(at, 'parts', name)), text);
  assert.deepStrictEqual(fs.readFileSync(path.join(at, 'setup.sh')), fs.readFileSync(path.join(root, 'providers/image/setup.sh')));
});

test('each part is put somewhere: by setup.sh, or it is the unit', () => {
  assert.deepStrictEqual(Object.keys(parts()).sort(), ['cchost-agent.service', ...Object.keys(places)].sort());
});

// Bug: systemd gave the agent up after five starts in ten seconds, which a machine without a free process has in five.
test('the agent\'s unit is begun again however often it fails', () => {
  const unit = parts()['cchost-agent.service'].toString().split(/^(?=\[)/m);
  assert.match(unit.find((x) => x.startsWith('[Unit]')), /^StartLimitIntervalSec=0$/m);
  assert.match(unit.find((x) => x.startsWith('[Service]')), /^Restart=always$/m);
});

// A line that could stand anywhere tells nothing; of those that cannot, one elsewhere is a second copy.
const telling = (text) => text.toString().split('\n').map((l) => l.trim()).filter((l) => l.length >= 16 && !/^#!/.test(l) && !/^(WantedBy=|KillMode=|After=network.target$)/.test(l));

// -> "FILE: LINE" of each line of a part that some other of these files has.
function copies(files) {
  const lines = new Map(Object.entries(parts()).flatMap(([name, text]) => telling(text).map((l) => [l, name])));
  return files.flatMap((file) => fs.readFileSync(file, 'utf8').split('\n').map((l) => l.trim()).filter((l) => lines.has(l)).map((l) => `${path.relative(root, file)}: ${l}`));
}

test('no other file says what a part says', () => {
  for (const [name, text] of Object.entries(parts())) assert.ok(telling(text).length > 0, `${name} has a line to be known by`);
  const tracked = execFileSync('git', ['-C', root, 'ls-files', '-z', 'providers', 'lua', 'host', 'policies', 'examples', 'web', 'Makefile', '.ci'], { encoding: 'utf8' }).split('\0');
  const files = tracked.filter(Boolean).map((f) => path.join(root, f)).filter((f) => path.dirname(f) !== folder && fs.existsSync(f));
  assert.ok(files.length > 300 && files.includes(path.join(root, 'providers/hetzner/server-setup.sh')), `${files.length} files were read`);
  assert.deepStrictEqual(copies(files), []);
  for (const [name, text] of Object.entries(parts())) {
    const second = path.join(dir, `second-${name}.sh`);
    fs.writeFileSync(second, `cat >/there <<'END'\n${text.toString().replace(/^/gm, '  ')}END\n`);
    assert.notDeepStrictEqual(copies([second]), [], `a second copy of ${name} is found`);
  }
});
