// What is done on machines that stay: commands, files, terminals, chats, ports.
'use strict';
const assert = require('node:assert');
const crypto = require('node:crypto');
const WebSocket = require('ws');
const { until } = require('../lib/cchost.js');
const { SessionTerminal } = require('../lib/session.js');

const q = encodeURIComponent;

async function exec(w, rng) {
  const it = rng.of(w.stay);
  const n = rng.between(1, 200000);
  const r = await w.body(it.who, 'POST', `${it.at}/exec`, { body: { cmd: ['sh', '-c', `head -c ${n} /dev/zero | tr '\\0' x; echo to stderr >&2; exit 3`] } });
  assert.deepStrictEqual([r.exit, r.stdout.length, r.stderr], [3, n, 'to stderr\n']);
}

async function files(w, rng) {
  const it = rng.of(w.stay);
  const folder = `/claude-data/files/${w.name('f')}`, file = `${folder}/a b.bin`;
  const bytes = crypto.randomBytes(rng.between(0, rng.chance(0.1) ? 8000000 : 100000));
  await w.ask(it.who, 'POST', `${it.at}/files/folder`, { body: { path: folder } });
  await w.ask(it.who, 'PUT', `${it.at}/files?path=${q(file)}`, { body: bytes });
  const down = await w.ask(it.who, 'GET', `${it.at}/files/download?path=${q(file)}`);
  assert.ok(down.bytes.equals(bytes), 'the file is what it was');
  await w.ask(it.who, 'POST', `${it.at}/files/rename`, { body: { from: file, to: `${folder}/c` } });
  assert.deepStrictEqual((await w.body(it.who, 'GET', `${it.at}/files?path=${q(folder)}`)).map((e) => [e.name, e.size]), [['c', bytes.length]]);
  const tar = await w.ask(it.who, 'GET', `${it.at}/files/download?path=${q(folder)}`);
  const to = `${folder}-2`;
  await w.ask(it.who, 'POST', `${it.at}/files/folder`, { body: { path: to } });
  await w.ask(it.who, 'POST', `${it.at}/files/upload?path=${q(to)}`, { body: tar.bytes });
  for (const f of [folder, to]) await w.ask(it.who, 'DELETE', `${it.at}/files?path=${q(f)}&recursive=true`);
}

// What is typed comes back, over connections that are cut.
async function terminal(w, rng) {
  const it = rng.of(w.stay), session = w.name('t');
  const t = new SessionTerminal(() => `ws://127.0.0.1:${w.s.port}${it.at}/terminal`, { session, headers: it.who.headers, pause: 50 });
  let typed = '';
  const type = (n) => { const text = crypto.randomBytes(n).toString('hex'); typed += text; t.type(text); };
  try {
    t.connect();
    await t.joined();
    await until(async () => (await w.body(it.who, 'GET', `${it.at}/sessions`)).some((x) => x.tab === session && x.foreground === 'cat'), 'the terminal echoes', 30);
    for (let i = rng.between(1, 4); i > 0; i -= 1) {
      type(rng.between(1, 4000));
      if (rng.chance(0.7)) t.cut();
      type(rng.between(1, 4000));
      await until(() => t.ready && t.length >= typed.length, () => `${t.length} of ${typed.length} bytes are back (${t.failure || ''} ${JSON.stringify(t.closed || '')})`, 30);
    }
    assert.ok(t.output === typed && t.lost === 0, `${session}: ${t.lost} bytes lost, ${t.length} of ${typed.length} came`);
    await w.ask(it.who, 'DELETE', `${it.at}/tabs/${session}`);
  } finally {
    t.again = false;
    t.ws.terminate();
  }
}

// Somebody looks on by a link.
async function share(w, rng) {
  const it = rng.of(w.stay), session = w.name('s');
  const t = await SessionTerminal.open(`ws://127.0.0.1:${w.s.port}${it.at}/terminal`, { session, headers: it.who.headers });
  let seen;
  try {
    const { url, id } = await w.body(it.who, 'POST', `${it.at}/terminal/share`, { body: { session, minutes: 5 } });
    seen = new SessionTerminal(`ws://127.0.0.1:${w.s.port}${new URL(url).pathname}`, { view: true });
    seen.connect();
    await seen.joined();
    await w.ask(it.who, 'DELETE', `${it.at}/terminal/share?session=${session}&id=${id}`);
    await until(() => seen.closed || !seen.ready, 'a revoked link ends it');
    await w.ask(it.who, 'DELETE', `${it.at}/tabs/${session}`);
  } finally {
    for (const x of [t, seen].filter(Boolean)) { x.again = false; x.ws.terminate(); }
  }
}

// -> { ws, got: messages, closed: how it was closed }
async function connect(w, it, cwd) {
  const ws = new WebSocket(`ws://127.0.0.1:${w.s.port}${it.at}/chat?cwd=${q(cwd)}`, { headers: it.who.headers, perMessageDeflate: false });
  const c = { ws, got: [] };
  ws.on('message', (d) => c.got.push(JSON.parse(d)));
  ws.on('error', (e) => { c.failed = e; });
  ws.on('close', (code) => { c.closed = code; });
  await until(() => c.got.some((m) => m.type === 'state') || c.closed, () => `a chat (${c.failed || ''})`, 30);
  c.newest = c.got.find((m) => m.type === 'state')?.turn;
  return c;
}

async function chat(w, rng) {
  const it = rng.of(w.stay);
  await w.alone(`chat ${it.id}`, async () => {
    const cwd = `/claude-data/p${Math.floor(it.turns / 6)}`; // a folder for some turns, so that no conversation grows for ever
    if (it.turns % 6 === 0) await w.sh(it, `mkdir -p ${cwd}`);
    it.turns += 1;
    let c = await connect(w, it, cwd);
    try {
      for (const content of [w.name('word'), 'tool', 'slow']) {
        const known = c.newest || 0, from = c.got.length;
        const mine = () => c.got.filter((m, i) => m.turn > known || i >= from && m.turn === undefined); // who joins is told of the turn before, too
        const ended = () => mine().find((m) => m.type === 'done' || m.type === 'error');
        c.ws.send(JSON.stringify({ type: 'message', content, cwd }));
        if (content === 'slow') {
          await until(() => c.closed || mine().some((m) => m.content === 'I begin'), () => `it begins: ${JSON.stringify(c.got).slice(-500)}`, 30);
          if (!c.closed) c.ws.send('{"type":"abort"}');
        }
        await until(() => c.closed || ended(), () => `the turn ends: ${JSON.stringify(c.got).slice(-500)}`, 30);
        if (ended()?.type === 'error') throw new Error(JSON.stringify(ended()));
        c.newest = ended()?.turn;
        if (!c.closed) continue;
        assert.ok([1001, 1012].includes(c.closed), `a chat was closed with ${c.closed}`); // this server goes, another comes
        w.count('chats that came again');
        c = await connect(w, it, cwd);
        if (c.got.some((m) => m.type === 'state' && m.working)) {
          c.ws.send('{"type":"abort"}');
          await until(() => c.closed || c.got.some((m) => m.turn === c.newest && (m.type === 'done' || m.type === 'error')), () => `the turn ends here: ${JSON.stringify(c.got).slice(-500)}`, 30);
        }
        break;
      }
    } finally {
      c.ws.terminate();
    }
    await w.ask(it.who, 'GET', `${it.at}/auth/status`);
  });
}

async function ports(w, rng) {
  const it = rng.of(w.stay), at = `${it.at}/ports/8080`;
  const page = await w.ask(it.who, 'GET', `${at}/page.txt`);
  assert.strictEqual(page.bytes.length, 7000);
  await w.ask(it.who, 'GET', `${it.at}/ports`);
  await w.ask(it.who, 'GET', `${at}/nothing`, { want: [404] });
  const { url, id } = await w.body(it.who, 'POST', `${at}/link`, { body: { hours: 1 } });
  const to = `${new URL(url).pathname}page.txt`;
  assert.strictEqual((await w.ask(undefined, 'GET', to, { headers: {} })).bytes.length, 7000);
  await w.ask(it.who, 'DELETE', `${at}/link?id=${id}`);
  await w.ask(undefined, 'GET', to, { headers: {}, want: [404] });
}

async function services(w, rng) {
  const it = rng.of(w.stay);
  await w.ask(it.who, 'GET', `${it.at}/services`);
  await w.ask(it.who, 'GET', `${it.at}/services/web/log`);
  await w.ask(it.who, 'GET', `${it.at}/projects`);
}

// Without an upgrade to HTTP's other half: what has no right to be there is refused.
async function refused(w, rng) {
  const it = rng.of(w.stay);
  await w.ask(it.who, 'GET', `${it.at}/terminal`, { want: [426] });
  await w.ask(w.people[7], 'GET', `${it.at}/files`, { want: [404] });
  await w.ask(undefined, 'GET', `${it.at}/files`, { headers: {}, want: [401] });
}

const actions = {
  exec: [4, exec], files: [4, files], terminal: [5, terminal], share: [2, share], chat: [3, chat], ports: [5, ports], services: [2, services], refused: [2, refused],
};

module.exports = { actions };
