// Other builds of the agent, and hosts that carry them: this one's programs with other words of the same length in them.
'use strict';
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { binary } = require('./cchost.js');

const beside = path.join(path.dirname(fs.realpathSync(binary)), 'cchost-agent');
const program = fs.existsSync(beside) ? beside : path.join(__dirname, '../../build', process.env.V || 'release', 'cchost-agent');
const bytes = fs.readFileSync(program);

const sha = (b) => crypto.createHash('sha256').update(b).digest('hex');

// The agent with `to` for `from` in it, or another build with that. Texts of C: with their NUL; a sanitizer's build may have one of
// them more than once.
function patched(from, to, build = bytes) {
  const out = Buffer.from(build);
  assert.ok(out.includes(from) && Buffer.byteLength(from) === Buffer.byteLength(to), from);
  for (let at = out.indexOf(from); at >= 0; at = out.indexOf(from, at + 1)) out.write(to, at);
  return out;
}

const version = (v) => patched('0.1.0\0', `${v}\0`);
// One that waits for four seconds between its check of another build and its exec, where ours waits for 50 ms.
const slow = (v) => patched('local PAUSE = 0.05', 'local PAUSE = 4.00', version(v));

// One that `check` finds good, and that ends as soon as it is to go on; one that hangs then.
const ends = () => patched('--resume\0', '--rexume\0');
const begin = 'xpcall(services.begin, debug.traceback, machine.saved and json.decode(machine.saved).services)'; // of `local ok, why =`
const hangs = () => patched(begin, 'task.sleep(0) while machine.saved do end services.begin()'.padEnd(begin.length));
// One that goes on, and then answers nobody.
const mute = () => patched(begin, 'true if machine.saved then update.leave(true) end services.begin()'.padEnd(begin.length));

// Its second half in zeros, as a download that broke off leaves it in a file of its size; of what is loaded, or of the file, which
// under the sanitizers holds more than that behind it.
function broken(of = 'loaded') {
  const out = Buffer.from(bytes), parts = Array.from({ length: out.readUInt16LE(56) }, (_, i) => Number(out.readBigUInt64LE(32)) + i * out.readUInt16LE(54));
  const loaded = Math.max(...parts.filter((at) => out.readUInt32LE(at) === 1).map((at) => Number(out.readBigUInt64LE(at + 8) + out.readBigUInt64LE(at + 32))));
  return out.fill(0, (of === 'file' ? out.length : loaded) >> 1);
}

// A host in `dir` that carries `agent`, and takes its sum to be that of `built`. -> its path
function carrying(dir, agent, name = 'cchost-other', built = agent) {
  const out = fs.readFileSync(fs.realpathSync(binary)), at = out.indexOf(bytes), sum = out.indexOf(`${sha(bytes)}\n`);
  assert.ok(at > 0 && sum > 0 && agent.length === bytes.length);
  agent.copy(out, at);
  out.write(sha(built), sum);
  const to = path.join(dir, name);
  fs.writeFileSync(to, out, { mode: 0o755 });
  return to;
}

module.exports = { program, bytes, sha, patched, version, slow, ends, hangs, mute, broken, carrying };
