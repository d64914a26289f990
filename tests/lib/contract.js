// The contract suite (tests/contract/contract.h) as tests of node's: each case one, under its own name.
//
//   await cases(t, text)      what the program said, in TAP, wherever it ran -> how many
// CONTRACT_ONLY='*snapshot*': those cases alone.
//   await contract(t, 'docker', { docker_host: ... }, { image: 'base', left: 'COMMAND', ... }, { seconds: 600 })
'use strict';
const { spawn } = require('node:child_process');
const path = require('node:path');
const { root } = require('./cchost.js');

const program = path.join(root, 'build', process.env.V || 'release', 'contract');

// -> lines of TAP, and what else was said before each
function run(driver, settings, facts, seconds) {
  if (process.env.CONTRACT_ONLY) facts = { ...facts, only: process.env.CONTRACT_ONLY };
  const words = [...Object.entries(settings).map(([k, v]) => `${k}=${v}`), ...Object.entries(facts).map(([k, v]) => `@${k}=${v}`)];
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...driver.split(' '), ...words], { env: { ...process.env, CMOCKA_MESSAGE_OUTPUT: 'TAP' }, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    let text = '';
    for (const out of [child.stdout, child.stderr]) out.on('data', (d) => { text += d; });
    child.on('error', reject);
    child.on('close', (code, signal) => { clearTimeout(timer); resolve({ code, signal, text }); });
  });
}

async function cases(t, text) {
  let said = '';
  let needs = '';
  let n = 0;
  for (const line of text.split('\n')) {
    const m = line.match(/^(not )?ok \d+ (- )?(# SKIP )?(\w+)(.*)/);
    if (!m) {
      if (line.startsWith('# needs ')) needs = line.slice(2);
      said += `${line}\n`;
      continue;
    }
    n++;
    const failed = said + m[5];
    await t.test(m[4].replace(/^test_/, '').replace(/_/g, ' '), m[3] ? { skip: needs || 'skipped' } : {}, () => {
      if (m[1] && !m[3]) throw new Error(failed);
    });
    said = needs = '';
  }
  return n;
}

async function contract(t, driver, settings, facts, { seconds = 1500 } = {}) {
  const { code, signal, text } = await run(driver, settings, facts, seconds);
  const n = await cases(t, text);
  if (signal) throw new Error(`the suite was ended by ${signal}, after:\n${text.slice(-2000)}`);
  if (n === 0) throw new Error(`the suite ran nothing (${code}):\n${text}`);
  if (code !== 0 && !/^not ok \d+ (- )?(?!.*# SKIP)/m.test(text)) throw new Error(`no case failed, and yet it ended with ${code}:\n${text.slice(-2000)}`);
}

module.exports = { contract, cases, program };
