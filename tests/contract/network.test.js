// Private networks by a real Open vSwitch, isolation shown by traffic between namespaces: the same cases with connections
// tracked, and without, as a switch would have it that cannot.
'use strict';
require('../lib/netns.js').enter(__filename, { mounts: true });
const test = require('node:test');
const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const { Ovs, missing } = require('../lib/ovs.js');
const { contract } = require('../lib/contract.js');

const lack = missing();
if (lack && (process.env.BACKENDS || '').split(' ').includes('ovs')) throw new Error(`this host is meant to have Open vSwitch: ${lack}`);

for (const state of ['auto', 'reflexive']) {
  test(`ovs, state ${state}`, { skip: lack }, async (t) => {
    const v = await Ovs.start();
    try {
      await contract(t, 'network ovs', { rundir: v.dir, datapath: 'netdev', state }, {
        halt: v.restart,
        down: 'rundir=/nobody',
        left: `ovs-vsctl --db=unix:${v.dir}/db.sock list-br`,
      });
      assert.deepEqual(v.left(), []);
      assert.deepEqual(fs.existsSync('/run/netns') ? fs.readdirSync('/run/netns') : [], []);
      assert.equal(execFileSync('nft', ['list', 'ruleset']).toString(), '');
      assert.doesNotMatch(execFileSync('ip', ['-o', 'link']).toString(), /: (cc|t\d+-)/); // bridges, taps, the host's ports
    } finally {
      await v.end();
    }
  });
}
