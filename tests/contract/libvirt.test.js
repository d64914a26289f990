// Virtual machines by a real libvirtd: the contract, and what is this driver's own.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Libvirtd, missing } = require('../lib/libvirtd.js');
const { contract } = require('../lib/contract.js');

const lack = missing();

test('libvirt', { skip: lack }, async (t) => {
  const v = await Libvirtd.start();
  try {
    const virsh = `virsh -q -c '${v.uri}'`;
    await contract(t, 'libvirt', v.settings, {
      image: 'base', memory: 128,
      left: `${virsh} list --all`,
      halt: `${virsh} destroy cc-$SHORT`,
      remove: `${virsh} destroy cc-$SHORT && ${virsh} undefine cc-$SHORT`,
      down: 'uri=qemu+unix:///system?socket=/nobody',
    });
    assert.deepEqual(v.left(), []);
  } finally {
    await v.end();
  }
});
