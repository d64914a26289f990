// A test file that needs a network of its own: require('../lib/netns.js').enter(__filename) as its first line runs it again
// inside a new network namespace, which goes with it, and ends this process with its exit code. Inside it returns.
// With {mounts: true} also in a mount namespace of its own with an empty /run: the namespaces that it names there are its own.
'use strict';
const { spawnSync } = require('node:child_process');

function enter(file, { mounts = false } = {}) {
  if (process.env.CC_NETNS || process.getuid() !== 0) return; // without root: its tests say what they need
  const run = mounts ? 'mount -t tmpfs run /run && ' : '';
  const words = ['--net', ...(mounts ? ['--mount'] : []), 'sh', '-c', `${run}ip link set lo up && exec "$@"`, 'sh'];
  const r = spawnSync('unshare', [...words, process.execPath, ...process.execArgv, file], {
    stdio: 'inherit', env: { ...process.env, CC_NETNS: '1' },
  });
  process.exit(r.status === null ? 1 : r.status);
}

module.exports = { enter, inside: () => !!process.env.CC_NETNS };
