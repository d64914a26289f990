// Machines of image nixos-anywhere: NixOS put onto a server of theirs, phase by phase, with a real ssh server on loopback as target.
'use strict';
require('../lib/netns.js').enter(__filename);
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { until } = require('../lib/cchost.js');
const { World, skip } = require('./world.js');

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxbq6JLXbQOyaUAG2QU5fUugEgSMPf6QEiNX8miEDgK a@b';

test('a machine becomes NixOS in four phases, each once, and is what was asked for', { skip }, async (t) => {
  const w = await World.start(t, process.env.UNCHECKED ? { checked: false } : {});
  const s = await w.host();
  const m = await w.make(s, { name: 'box', image: 'nixos-anywhere', env: { WORD: 'one two' }, ssh_keys: [KEY] });
  assert.strictEqual(w.phases(), 'kexec disko install reboot');
  assert.strictEqual(m.image, 'nixos-anywhere');
  const said = await w.run(s, m, 'test -e /etc/NIXOS && cat /etc/cloud-instance/id && hostname && id -un && echo "$WORD" && mountpoint -q /claude-data && stat -c %U /claude-data');
  assert.strictEqual(said.stdout, `${m.short}\ncc-${m.short}\nclaude\none two\nclaude\n`, said.stderr);
});
