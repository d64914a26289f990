// Bug: damage to the structure of the store's file ended its verification without a word.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { spawnSync } = require('node:child_process');
const { Server, temp, binary } = require('../lib/cchost.js');

test('a flipped byte in the head of a page is told, whatever it does to who reads it', async (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const s = await Server.start({ provider: 'mock' }, dir);
  for (let n = 0; n < 30; n++) assert.strictEqual((await s.call('POST', '/instances?wait=30', {})).status, 201);
  await s.stop();
  const file = `${dir}/store/data.mdb`;
  const whole = fs.readFileSync(file);
  const verify = () => spawnSync(binary, ['log', '--verify', `--data-dir=${dir}`], { encoding: 'utf8' });
  let ended = 0;
  for (let page = 2; page * 4096 < whole.length; page++) {
    for (const at of [10, 12, 14, 16]) {
      const bytes = Buffer.from(whole);
      bytes[page * 4096 + at] ^= 0x80;
      fs.writeFileSync(file, bytes);
      const r = verify();
      assert.ok(r.signal === null && [0, 1].includes(r.status), `page ${page}, byte ${at}: ${r.signal ?? r.status} ${r.stderr}`);
      if (r.status === 1) assert.match(r.stderr, /^(cchost|error): \S.{20}/m, `page ${page}, byte ${at}`);
      ended += /damaged in its structure/.test(r.stderr) ? 1 : 0;
    }
  }
  assert.ok(ended > 0, 'some of them end the reader');
  fs.writeFileSync(file, whole);
  assert.match(verify().stdout, /^the log is whole/);
});
