// With `node --require ./tests/lib/ends.js` (tests/run does so): a file of tests ends with its last test. A test that fails leaves
// open what it would have ended, a server or a socket of its own, and Node would wait for that until tests/run's time is over: here it
// is told what there is, and the process ends with 1. So it does where all tests passed and something stayed open.
'use strict';
const { beforeEach, afterEach } = require('node:test');
const fs = require('node:fs');

const GRACE_SECONDS = Number(process.env.GRACE_SECONDS || 120); // in which what was asked to end may do so, and what the file does after its tests

let depth = 0; // of tests that run: those within others count too
let timer;

function give_up() {
  const kinds = {};
  for (const kind of process.getActiveResourcesInfo()) kinds[kind] = (kinds[kind] || 0) + 1;
  const { state } = require('./waits.js');
  fs.writeSync(1, `# ${GRACE_SECONDS} s after the last test there is still open: ${JSON.stringify(kinds)}\n${state().replace(/^/gm, '# ')}\n`);
  process.exit(1);
}

beforeEach(() => {
  depth += 1;
  clearTimeout(timer);
});
afterEach(() => {
  depth -= 1;
  if (depth === 0) timer = setTimeout(give_up, GRACE_SECONDS * 1000).unref();
});
process.once('beforeExit', () => clearTimeout(timer)); // what runs after all tests takes its time
