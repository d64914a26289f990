// What a machine runs to join its network (lua/scripts/netbird-join.sh), under each shell: the key by a file that is gone afterwards.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { root, temp } = require('../lib/cchost.js');
const { shells, run, stubs } = require('./shells.js');

const dir = temp();
test.after(() => fs.rmSync(dir, { recursive: true, force: true }));

const text = fs.readFileSync(path.join(root, 'lua/scripts/netbird-join.sh'), 'utf8');
const script = (values = {}) => {
  const all = { key: 'A1B2-KEY', manager: '', name: 'cc-23456789abcd', ...values };
  const file = path.join(fs.mkdtempSync(path.join(dir, 's-')), 'join');
  fs.writeFileSync(file, Object.entries(all).reduce((t, [k, v]) => t.replace(`\n${k}=''\n`, `\n${k}='${v}'\n`), text));
  return file;
};
const up = 'case $1 in status) exit 0;; esac; for a in "$@"; do case $last in --setup-key-file) ls -l "$a" | cut -c1-10; cat "$a";; esac; last=$a; done';

for (const name of shells) {
  test(`joined with the key in a file of its own, under ${name}`, async () => {
    for (const manager of ['', 'https://netbird.example.org']) {
      const stub = stubs(['netbird'], { netbird: `last=''; ${up}` });
      const r = await run(name, script({ manager }), { before: [stub.dir] });
      assert.deepStrictEqual([r.code, r.out], [0, '-rw-------\nA1B2-KEY\n'], r.err);
      const call = stub.calls().find((c) => c[1] === 'up');
      assert.deepStrictEqual(call.slice(0, -1), ['netbird', 'up', ...(manager ? ['--management-url', manager] : []), '--hostname', 'cc-23456789abcd', '--setup-key-file']);
      assert.ok(!fs.existsSync(path.dirname(call.at(-1))), 'the key is gone');
      assert.ok(!stub.calls().flat().includes('A1B2-KEY'), 'and was no argument');
    }
  });

  test(`what cannot be is said, under ${name}`, async () => {
    let stub = stubs(['netbird'], { netbird: 'case $1 in up) exit 1;; esac' });
    let r = await run(name, script(), { before: [stub.dir] });
    assert.deepStrictEqual([r.code, r.err], [1, 'the network was not joined: netbird up failed\n']);
    stub = stubs(['curl'], { curl: 'echo exit 1' });
    r = await run(name, script(), { before: [stub.dir] });
    assert.deepStrictEqual([r.code, r.err], [1, 'the network was not joined: netbird could not be installed\n']);
  });

  test(`a part of it does nothing, under ${name}`, async () => {
    const stub = stubs(['netbird', 'curl']);
    const whole = fs.readFileSync(script(), 'utf8');
    for (let n = 100; n < whole.length - 10; n += 97) {
      const file = path.join(dir, 'part');
      fs.writeFileSync(file, whole.slice(0, n));
      await run(name, file, { before: [stub.dir] });
    }
    assert.deepStrictEqual(stub.calls(), []);
  });
}
