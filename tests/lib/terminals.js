// Many terminals at once through the real host and a real agent (of the provider mock): what is typed comes back, byte by byte.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { Server, until, temp, root } = require('./cchost.js');
const { SessionTerminal, Agent } = require('./session.js');

const program = path.join(root, 'build', process.env.V || 'release', 'cchost-agent');

// A host and one machine whose agent runs `shell` in each terminal.
async function world(shell, settings = {}) {
  const dir = temp();
  const agent = await Agent.start(dir, program, ['--shell', shell, '--sessions', '2000']);
  const s = await Server.start({ provider: 'mock', mock: `{endpoint="${agent.sock}"}`, ...settings });
  const m = (await s.call('POST', '/instances?wait=30', { name: 'box', image: 'any' })).body;
  if (m.status !== 'RUNNING') throw new Error(JSON.stringify(m));
  return {
    s, agent, m,
    open: (o) => new SessionTerminal(() => `ws://127.0.0.1:${s.port}/instances/box/terminal`, { headers: { 'X-API-Key': s.key }, pause: 100, ...o }),
    restart: async () => {
      await s.kill();
      s.settings = { ...s.settings, listen_addr: `127.0.0.1:${s.port}` };
      await s.launch();
    },
    stop: async () => {
      await s.stop();
      await agent.stop();
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}

// Types at random in all of them while the host is killed; before, between and after that each gets `each` bytes back.
async function typeOver(w, all, n, kills, each) {
  for (let i = 0; i < n; i += 1) all.push(Object.assign(w.open({ session: `t${i}` }), { typed: [] }));
  for (let i = 0; i < n; i += 50) { // so that shells start before they are typed at
    for (const t of all.slice(i, i + 50)) t.connect();
    await until(() => all.slice(0, i + 50).every((t) => t.ready), 'all are there', 120);
  }
  await until(async () => { const l = (await w.agent.call('GET', '/sessions')).body; return l.length === n && l.every((x) => x.foreground === 'cat'); }, 'all cats run', 120);
  let typing = true;
  const typist = (async () => { // each terminal at a tenth of the rounds
    for (let i = 0; typing; i += 1) {
      for (let k = i % 10; k < n; k += 10) {
        const piece = crypto.randomBytes(1 + ((k * 7 + i) % 60));
        all[k].typed.push(piece);
        all[k].type(piece);
      }
      await new Promise((r) => setTimeout(r, 20));
    }
  })();
  for (let i = 0; i < kills; i += 1) {
    const at = all.map((t) => t.length);
    await until(() => all.every((t, k) => t.length > at[k] + each), 'each has got something', 120);
    await w.restart();
    await until(() => all.every((t) => t.ready), 'all are back', 120);
  }
  const at = all.map((t) => t.length);
  await until(() => all.every((t, k) => t.length > at[k] + each), 'each has got something since', 120);
  typing = false;
  await typist;
  await until(() => all.every((t) => t.pending.length === 0), 'all is taken', 60);
  const out = { bytes: 0, lost: 0, wrong: 0, connections: 0 };
  await until(() => all.every((t) => t.length >= Buffer.concat(t.typed).length), 'all is back', 20).catch(() => {});
  for (const t of all) {
    const want = Buffer.concat(t.typed), got = t.bytes;
    out.bytes += want.length;
    out.connections += t.opened;
    if (!got.equals(want)) { if (got.length < want.length) out.lost += want.length - got.length; else out.wrong += Math.max(1, got.length - want.length); }
  }
  return out;
}

// n terminals type at random while the host is killed `kills` times; before, between and after that each gets `each` bytes back. -> { bytes typed, lost, doubled (or wrong), connections }
async function restarts(n, kills, each) {
  const w = await world('stty raw -echo; exec cat');
  const all = [];
  try {
    return await typeOver(w, all, n, kills, each);
  } finally {
    for (const t of all) { t.again = false; t.ws.terminate(); }
    await w.stop();
  }
}

module.exports = { world, typeOver, restarts };
