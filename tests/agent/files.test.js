// Files beneath one folder, by the agent's routes: what they do, and that nothing else is ever reached.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const { Agent, until } = require('../lib/real_agent.js');

let a;
const q = (p) => encodeURIComponent(p);
const write = (name, text = '') => { fs.mkdirSync(path.dirname(a.at(name)), { recursive: true }); fs.writeFileSync(a.at(name), text); };
const names = () => fs.readdirSync(a.root).sort();

test.before(async () => { a = await Agent.start(); });
test.after(() => a.stop());
test.afterEach(() => { // each test has the folder for itself, and what is beside it is never touched
  assert.deepStrictEqual(fs.readdirSync(a.outside), ['secret']);
  assert.strictEqual(fs.readFileSync(path.join(a.outside, 'secret'), 'utf8'), 'not for you');
  execFileSync('find', [a.root, '-mindepth', '1', '-delete']);
});
test.beforeEach(() => fs.writeFileSync(path.join(a.outside, 'secret'), 'not for you'));

test('a folder is listed with what the first clients read, sorted, with what links lead to', async () => {
  write('b.txt', 'hello');
  write('a/x');
  fs.symlinkSync('a', a.at('to-folder'));
  fs.symlinkSync('b.txt', a.at('to-file'));
  fs.symlinkSync('nowhere', a.at('to-nothing'));
  fs.symlinkSync(path.join(a.outside, 'secret'), a.at('to-outside'));
  const { status, body } = await a.get(`/files?path=${q(a.root)}`);
  assert.strictEqual(status, 200);
  const { mtimeMs } = fs.statSync(a.at('b.txt'));
  assert.deepStrictEqual(body.map((e) => [e.name, e.type, e.path, !!e.link, !!e.special]), [
    ['a', 'directory', a.at('a'), false, false],
    ['b.txt', 'file', a.at('b.txt'), false, false],
    ['to-file', 'file', a.at('to-file'), true, false],
    ['to-folder', 'directory', a.at('to-folder'), true, false],
    ['to-nothing', 'file', a.at('to-nothing'), true, true],
    ['to-outside', 'file', a.at('to-outside'), true, true],
  ]);
  assert.strictEqual(body[1].size, 5);
  assert.strictEqual(body[1].modified, Math.floor(mtimeMs));
  assert.deepStrictEqual((await a.get('/files')).body, body); // the root is what is meant where no path is said
  assert.deepStrictEqual((await a.get('/files?path=to-folder')).body.map((e) => e.path), [a.at('to-folder/x')]);
  assert.deepStrictEqual((await a.get('/files?path=a%2F..%2Fa')).body.length, 1);
  fs.mkdirSync(a.at('empty'));
  assert.deepStrictEqual((await a.get('/files?path=empty')).body, []);
});

test('pages follow each other by Link, each name once', async () => {
  const all = Array.from({ length: 257 }, (_, i) => `f${(i * 7919) % 1000}-${i}`).sort();
  for (const n of all) write(n);
  const got = [];
  let where = '?limit=50';
  for (let pages = 0; where; pages++) {
    assert.ok(pages < 10);
    const { headers, body } = await a.get(`/files${where}`);
    assert.ok(body.length <= 50);
    got.push(...body.map((e) => e.name));
    where = headers.link && /<(\?[^>]*)>; rel="next"/.exec(headers.link)[1];
  }
  assert.deepStrictEqual(got, all);
  for (const bad of ['0', '-1', '10001', '1.5', 'x']) assert.strictEqual((await a.get(`/files?limit=${bad}`)).status, 400);
});

test('a name that is no UTF-8 is shown, and reached by its encoded path', async () => {
  fs.writeFileSync(Buffer.concat([Buffer.from(`${a.root}/caf`), Buffer.from([0xe9])]), 'latin');
  const [e] = (await a.get('/files')).body;
  assert.strictEqual(e.name, 'caf\ufffd');
  assert.strictEqual(e.encoded, 'caf%E9');
  assert.strictEqual((await a.get(`/files/read?path=${e.encoded}`)).body.content, 'latin');
});

test('text is read, cut at a whole character, and what is no text is said to be binary', async () => {
  const MiB = 1048576;
  const euros = Buffer.from('€'.repeat(MiB / 3 + 10)); // 3 bytes each: 1 MiB is in the middle of one
  for (const [name, bytes, want] of [
    ['empty', Buffer.alloc(0), { content: '', truncated: false, binary: false, size: 0 }],
    ['text', Buffer.from('grüße\n'), { content: 'grüße\n', truncated: false, binary: false }],
    ['exactly', Buffer.alloc(MiB, 'x'), { content: 'x'.repeat(MiB), truncated: false, binary: false }],
    ['one-more', Buffer.alloc(MiB + 1, 'x'), { content: 'x'.repeat(MiB), truncated: true, binary: false }],
    ['euros', euros, { content: '€'.repeat(Math.floor(MiB / 3)), truncated: true, binary: false }],
    ['nul', Buffer.from('a\0b'), { content: null, truncated: false, binary: true }],
    ['latin', Buffer.from([0x63, 0xe9, 0x64]), { content: null, truncated: false, binary: true }],
    ['half', Buffer.from([0x63, 0xe2, 0x82]), { content: null, truncated: false, binary: true }],
    ['noise', Buffer.alloc(2 * MiB, 0x80), { content: null, truncated: true, binary: true }],
  ]) {
    write(name, bytes);
    const { status, body } = await a.get(`/files/read?path=${q(a.at(name))}`);
    assert.strictEqual(status, 200, name);
    assert.deepStrictEqual({ ...body, modified: 0 }, { size: bytes.length, ...want, path: a.at(name), modified: 0 }, name);
  }
});

test('a huge file is neither held in memory nor waited for', async () => {
  fs.closeSync(fs.openSync(a.at('huge'), 'w'));
  fs.truncateSync(a.at('huge'), 2 ** 40);
  const before = a.rss();
  const { body } = await a.get('/files/read?path=huge');
  assert.deepStrictEqual([body.size, body.truncated, body.binary], [2 ** 40, true, true]);
  fs.truncateSync(a.at('huge'), 300e6);
  const res = await a.request('GET', '/files/download?path=huge');
  assert.strictEqual(res.headers['content-length'], '300000000');
  let n = 0;
  for await (const piece of res) n += piece.length;
  assert.strictEqual(n, 300e6);
  assert.ok(a.rss() - before < 24e6, `grew by ${a.rss() - before}`);
});

test('what is neither file nor folder answers at once', async () => {
  execFileSync('mkfifo', [a.at('fifo')]);
  for (const where of ['/files/read?path=fifo', '/files/download?path=fifo']) {
    const { status, body } = await a.get(where);
    assert.deepStrictEqual([status, body.error], [400, 'is no file']);
  }
  assert.strictEqual((await a.call('PUT', '/files?path=fifo', { body: 'x' })).status, 409);
  assert.deepStrictEqual((await a.get('/files')).body.map((e) => [e.name, e.type, e.special]), [['fifo', 'file', true]]);
});

// Every route, asked for `p`.
const asks = (p) => [
  ['GET', `/files?path=${p}`], ['GET', `/files/read?path=${p}`], ['GET', `/files/download?path=${p}`],
  ['PUT', `/files?path=${p}`, 'mine'], ['POST', `/files/upload?path=${p}`, 'mine'], ['DELETE', `/files?path=${p}&recursive=true`],
];
const json = (p) => [
  ['POST', '/files/folder', { path: p }], ['POST', '/files/rename', { from: p, to: 'moved' }], ['POST', '/files/rename', { from: 'inside', to: p }],
];

test('no path leads out: B32', async () => {
  write('inside', 'mine');
  fs.mkdirSync(a.at('folder'));
  fs.symlinkSync('../claude-data-other', a.at('link'));
  fs.symlinkSync(a.outside, a.at('absolute'));
  fs.symlinkSync('/proc/self/root', a.at('magic'));
  fs.symlinkSync('loop', a.at('loop'));
  const deep = `${'d/'.repeat(2100)}d`;
  for (const [what, p] of [
    ['dots', '../claude-data-other/secret'], ['dots behind a name', 'folder/../../claude-data-other/secret'], ['dots alone', '../x'],
    ['another folder that begins so', `${a.outside}/secret`], ['an absolute path', '/etc/passwd'], ['the root with dots', `${a.root}/../claude-data-other/secret`],
    ['a link', 'link/secret'], ['an absolute link', 'absolute/secret'], ['a magic link', 'magic/etc/passwd'], ['a loop', 'loop/x'],
    ['NUL', 'inside\0.txt'], ['NUL before dots', '\0../secret'], ['too long', deep], ['too long a name', 'n'.repeat(256)],
  ]) {
    const before = names();
    for (const [method, where, body] of [...asks(q(p)), ...json(p)]) {
      const r = await a.call(method, where, { body });
      const told = `${what}: ${method} ${where.slice(0, 60)}: ${r.status} ${r.bytes.subarray(0, 100)}`;
      assert.strictEqual(r.status, 400, told);
      assert.match(r.body.error, where.includes('%00') ? /^malformed request$/ : /^invalid path$/, told); // the first is HTTP's own refusal
    }
    assert.deepStrictEqual(names(), before, what);
  }
  // A link itself is no way out: it is removed and renamed as what it is, and read as what it leads to.
  for (const name of ['link', 'absolute']) {
    for (const [method, where, body] of asks(name).slice(0, 5)) assert.strictEqual((await a.call(method, where, { body })).status, 400, where);
    assert.strictEqual((await a.call('POST', '/files/rename', { body: { from: name, to: 'renamed' } })).status, 200);
    assert.strictEqual((await a.call('DELETE', '/files?path=renamed&recursive=true')).status, 200);
  }
});

test('what is not there is 404, and what makes no sense 400', async () => {
  for (const [method, where, body] of [...asks('no/where'), ['POST', '/files/rename', { from: 'none', to: 'x' }]]) {
    const r = await a.call(method, where, { body });
    assert.deepStrictEqual([r.status, r.body], [404, { error: 'not found', code: 'not_found' }], `${method} ${where}`);
  }
  for (const [method, where, body] of [
    ['GET', '/files/read'], ['PUT', '/files', 'x'], ['DELETE', '/files'], ['GET', '/files/read?path='], ['PUT', '/files?path=', 'x'], ['DELETE', `/files?path=${q(a.root)}&recursive=true`],
    ['DELETE', '/files?path=.&recursive=true'], ['POST', '/files/folder', '[]'], ['POST', '/files/folder', 'no json'], ['POST', '/files/folder', {}], ['POST', '/files/folder', { path: 1 }],
    ['POST', '/files/folder', { path: 'x', mode: 1 }], ['POST', '/files/rename', { from: 'x' }], ['POST', '/files/rename', { from: '', to: 'x' }],
  ]) {
    const r = await a.call(method, where, { body });
    assert.deepStrictEqual([r.status, r.body.code], [400, 'invalid'], `${method} ${where} ${JSON.stringify(body)}`);
  }
  assert.strictEqual((await a.get('/nothing')).status, 404);
  const r = await a.call('POST', '/files');
  assert.deepStrictEqual([r.status, r.headers.allow], [405, 'DELETE, GET, PUT']);
});

test('a loop of renames never leads out', { timeout: 120000 }, async () => {
  write('real/secret', 'mine');
  fs.mkdirSync(a.at('real/sub'));
  fs.symlinkSync(a.outside, a.at('evil'));
  fs.symlinkSync('../claude-data-other', a.at('evil2'));
  fs.renameSync(a.at('real'), a.at('swap'));
  const loop = `import ctypes, os, sys
os.chdir(sys.argv[1])
rename = ctypes.CDLL(None).renameat2
print('on', flush=True)
while True:
    for link in (b'evil', b'evil2'):
        for _ in (1, 2): rename(-100, b'swap', -100, link, 2)`; // RENAME_EXCHANGE: there is always one of them
  const child = spawn('python3', ['-c', loop, a.root], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((r) => { child.stdout.once('data', r); });
  let read = 0, refused = 0, wrote = 0;
  const one = async (i) => {
    const r = await a.get('/files/read?path=swap/secret');
    assert.ok(!r.bytes.includes('not for you'));
    if (r.status === 200) read++; else { refused++; assert.ok([400, 404].includes(r.status), `${r.status} ${r.bytes}`); }
    const w = await a.call('PUT', `/files?path=swap/new${i % 20}`, { body: 'mine' });
    if (w.status === 200) wrote++; else assert.ok([400, 404].includes(w.status), `${w.status} ${w.bytes}`);
    for (const [method, where, body] of [['GET', '/files?path=swap'], ['GET', '/files?path=swap/sub/..'], ['POST', '/files/folder', { path: `swap/f${i}` }],
      ['DELETE', `/files?path=swap/f${i}`], ['POST', '/files/rename', { from: 'swap/new0', to: 'swap/moved' }], ['DELETE', '/files?path=swap/moved']]) {
      const o = await a.call(method, where, { body });
      assert.ok([200, 201, 400, 404, 409].includes(o.status), `${method} ${where} ${o.status} ${o.bytes}`);
    }
  };
  const end = Date.now() + 60000;
  let i = 0;
  while (!(i >= 400 && read > 50 && refused > 50 && wrote > 50) && Date.now() < end) await Promise.all(Array.from({ length: 8 }, () => one(i++)));
  child.kill();
  await new Promise((r) => { child.on('exit', r); });
  assert.ok(read > 50 && refused > 50 && wrote > 50, `read ${read}, refused ${refused}, wrote ${wrote}`);
  assert.deepStrictEqual(fs.readdirSync(a.outside), ['secret']);
});

test('a file is downloaded with its length, in ranges, and not if it has changed', async () => {
  const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => i % 251));
  write('dir/Größe 1.bin', bytes);
  const where = `/files/download?path=${q('dir/Größe 1.bin')}`;
  const whole = await a.get(where);
  assert.strictEqual(whole.status, 200);
  assert.deepStrictEqual(whole.bytes, bytes);
  assert.strictEqual(whole.headers['content-length'], '1000');
  assert.strictEqual(whole.headers['content-disposition'], 'attachment; filename="Gr____e 1.bin"; filename*=UTF-8\'\'Gr%C3%B6%C3%9Fe%201.bin');
  const head = await a.call('HEAD', where);
  assert.deepStrictEqual([head.status, head.headers['content-length'], head.bytes.length], [200, '1000', 0]);
  for (const [range, status, from, to] of [
    ['bytes=0-0', 206, 0, 1], ['bytes=990-', 206, 990, 1000], ['bytes=-10', 206, 990, 1000], ['bytes=-5000', 206, 0, 1000], ['bytes=10-5000', 206, 10, 1000],
    ['bytes=5-4', 200, 0, 1000], ['bytes=0-1,3-4', 200, 0, 1000], ['lines=1-2', 200, 0, 1000], ['bytes=-', 200, 0, 1000],
  ]) {
    const r = await a.get(where, { headers: { range } });
    assert.strictEqual(r.status, status, range);
    assert.deepStrictEqual(r.bytes, bytes.subarray(from, to), range);
    if (status === 206) assert.strictEqual(r.headers['content-range'], `bytes ${from}-${to - 1}/1000`);
  }
  for (const range of ['bytes=1000-', 'bytes=-0']) {
    const r = await a.get(where, { headers: { range } });
    assert.deepStrictEqual([r.status, r.headers['content-range']], [416, 'bytes */1000']);
  }
  const ranged = { range: 'bytes=1-2', 'if-range': whole.headers.etag };
  assert.strictEqual((await a.get(where, { headers: ranged })).status, 206);
  write('dir/Größe 1.bin', 'changed');
  assert.strictEqual((await a.get(where, { headers: ranged })).bytes.toString(), 'changed');
});

test('a file that shrinks while it is downloaded breaks off instead of lying', async () => {
  write('shrinks', Buffer.alloc(64e6, 1));
  const res = await a.request('GET', '/files/download?path=shrinks');
  assert.strictEqual(res.headers['content-length'], '64000000');
  fs.truncateSync(a.at('shrinks'), 10);
  await assert.rejects(res.toArray());
});

test('a folder is downloaded as a tar that has everything, and goes back in', async () => {
  const long = `${'long-name-'.repeat(15)}/${'x'.repeat(200)}`;
  write('p/src/main.c', 'int main;');
  write(`p/${long}`, 'long');
  write('p/größe €.txt', 'utf8');
  write('p/big', Buffer.alloc(3e6, 7));
  fs.writeFileSync(Buffer.concat([Buffer.from(`${a.root}/p/caf`), Buffer.from([0xe9])]), 'latin');
  fs.mkdirSync(a.at('p/empty'));
  fs.symlinkSync('src/main.c', a.at('p/link'));
  fs.symlinkSync(path.join(a.outside, 'secret'), a.at('p/out'));
  fs.chmodSync(a.at('p/src/main.c'), 0o754);
  execFileSync('mkfifo', [a.at('p/fifo')]);
  const tar = await a.get('/files/download?path=p');
  assert.strictEqual(tar.status, 200);
  assert.match(tar.headers['content-disposition'], /filename="p\.tar"/);
  assert.ok(!tar.bytes.includes('not for you'));
  fs.rmSync(a.at('p/fifo')); // the one thing that does not go along
  fs.mkdirSync(a.at('by-tar'));
  execFileSync('tar', ['-C', a.at('by-tar'), '-xf', '-'], { input: tar.bytes });
  execFileSync('diff', ['-r', '--no-dereference', a.at('p'), a.at('by-tar/p')]);
  assert.strictEqual(fs.statSync(a.at('by-tar/p/src/main.c')).mode & 0o777, 0o754);
  fs.mkdirSync(a.at('back'));
  const r = await a.call('POST', '/files/upload?path=back', { body: tar.bytes });
  assert.deepStrictEqual([r.status, r.body], [200, { path: a.at('back'), files: 5, folders: 4, links: 2, skipped: 0 }]);
  execFileSync('diff', ['-r', '--no-dereference', a.at('p'), a.at('back/p')]);
  assert.strictEqual(fs.statSync(a.at('back/p/src/main.c')).mode & 0o777, 0o754);
  // as other programs write tars, too
  for (const format of ['ustar', 'pax', 'gnu']) {
    if (format === 'ustar') fs.rmSync(a.at('p', long.split('/')[0]), { recursive: true }); // which has no place for such names
    fs.rmSync(a.at('back'), { recursive: true });
    fs.mkdirSync(a.at('back'));
    const made = execFileSync('tar', ['-C', a.root, `--format=${format}`, '-cf', '-', 'p'], { maxBuffer: 64e6 });
    assert.strictEqual((await a.call('POST', '/files/upload?path=back', { body: made })).status, 200, format);
    execFileSync('diff', ['-r', '--no-dereference', a.at('p'), a.at('back/p')]);
  }
});

// A tar of members as nobody's program would write it: {name, type, to, text}.
function tarOf(...members) {
  const blocks = members.map(({ name, type = '0', to = '', text = '' }) => {
    const h = Buffer.alloc(512);
    h.write(name, 0); h.write('0000644\0', 100); h.write('0000000\0', 108); h.write('0000000\0', 116);
    h.write(`${text.length.toString(8).padStart(11, '0')}\0`, 124); h.write('00000000000\0', 136); h.write(' '.repeat(8), 148);
    h.write(type, 156); h.write(to, 157); h.write('ustar\x0000', 257);
    h.write(`${h.reduce((s, b) => s + b, 0).toString(8).padStart(6, '0')}\0 `, 148);
    return Buffer.concat([h, Buffer.from(text), Buffer.alloc((512 - (text.length % 512)) % 512)]);
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

test('no member of a tar leaves its folder', async () => {
  fs.mkdirSync(a.at('into'));
  write('beside', 'mine');
  const out = path.join(a.outside, 'x');
  for (const [what, members] of [
    ['dots', [{ name: '../beside', text: 'evil' }]],
    ['dots behind a name', [{ name: 'd/', type: '5' }, { name: 'd/../../beside', text: 'evil' }]],
    ['through its own link', [{ name: 'l', type: '2', to: a.outside }, { name: 'l/x', text: 'evil' }]],
    ['through a relative link', [{ name: 'l2', type: '2', to: '../../claude-data-other' }, { name: 'l2/x', text: 'evil' }]],
    ['a folder through a link', [{ name: 'l3', type: '2', to: '../../claude-data-other' }, { name: 'l3/sub/', type: '5' }]],
    ['a second name of a file outside', [{ name: 'h', type: '1', to: '../../claude-data-other/secret' }]],
    ['a second name of a file beside', [{ name: 'h2', type: '1', to: '../beside' }]],
    ['the folder itself', [{ name: '.', text: 'evil' }]],
  ]) {
    const r = await a.call('POST', '/files/upload?path=into', { body: tarOf(...members) });
    assert.deepStrictEqual([r.status, r.body.code], [400, 'invalid'], `${what}: ${r.bytes}`);
    assert.strictEqual(fs.readFileSync(a.at('beside'), 'utf8'), 'mine', what);
    assert.ok(!fs.existsSync(out), what);
  }
  // A link in a tar replaces the file, and a file the link: neither is written through.
  fs.symlinkSync('../beside', a.at('into/was-link'));
  const r = await a.call('POST', '/files/upload?path=into', { body: tarOf({ name: 'was-link', text: 'new' }, { name: '/absolute', text: 'inside' },
    { name: 'a/b/c', text: 'folders come along' }, { name: 'dev', type: '3' }, { name: 'second', type: '1', to: 'absolute' }) });
  assert.deepStrictEqual([r.status, r.body], [200, { path: a.at('into'), files: 3, folders: 0, links: 1, skipped: 1 }], `${r.bytes}`);
  assert.strictEqual(fs.readFileSync(a.at('into/was-link'), 'utf8'), 'new');
  assert.strictEqual(fs.readFileSync(a.at('beside'), 'utf8'), 'mine');
  assert.strictEqual(fs.readFileSync(a.at('into/second'), 'utf8'), 'inside');
  assert.strictEqual(fs.readFileSync(a.at('into/a/b/c'), 'utf8'), 'folders come along');
  for (const body of [Buffer.from('this is no tar at all'.repeat(100)), tarOf({ name: 'cut', text: 'x'.repeat(5000) }).subarray(0, 2000)]) {
    const bad = await a.call('POST', '/files/upload?path=into', { body });
    assert.deepStrictEqual([bad.status, bad.body.code], [400, 'invalid']);
  }
});

// Bug: the file was removed for its second name, which was the same one: `tar cf x a a` of a file with two names makes such a tar.
test('a tar with a link of a file to itself, or to another name of it, leaves the file', async () => {
  write('into/a', 'mine');
  fs.linkSync(a.at('into/a'), a.at('into/b'));
  const made = execFileSync('tar', ['-C', a.at('into'), '-cf', '-', 'a', 'a', 'b', './b']);
  for (const body of [made, tarOf({ name: 'a', type: '1', to: 'a' }, { name: 'b', type: '1', to: './a' }), tarOf({ name: 'a', type: '1', to: 'b' })]) {
    const r = await a.call('POST', '/files/upload?path=into', { body });
    assert.strictEqual(r.status, 200, `${r.bytes}`);
    assert.deepStrictEqual(fs.readdirSync(a.at('into')).sort(), ['a', 'b']);
    for (const name of ['a', 'b']) assert.strictEqual(fs.readFileSync(a.at('into', name), 'utf8'), 'mine');
    assert.strictEqual(fs.statSync(a.at('into/a')).ino, fs.statSync(a.at('into/b')).ino);
  }
  // Of what is not there nothing is a second name, and a folder is not replaced: both are said.
  for (const member of [{ name: 'c', type: '1', to: 'nowhere' }, { name: 'folder', type: '1', to: 'a' }]) {
    fs.mkdirSync(a.at('into/folder'), { recursive: true });
    const r = await a.call('POST', '/files/upload?path=into', { body: tarOf(member) });
    assert.notStrictEqual(r.status, 200, `${member.name}: ${r.bytes}`);
    assert.deepStrictEqual(fs.readdirSync(a.at('into')).sort(), ['a', 'b', 'folder']);
  }
});

test('a file is put whole or not at all', async () => {
  assert.deepStrictEqual((await a.call('PUT', '/files?path=new', { body: 'one' })).body, { path: a.at('new') });
  assert.strictEqual(fs.readFileSync(a.at('new'), 'utf8'), 'one');
  assert.strictEqual(fs.statSync(a.at('new')).mode & 0o777, 0o644);
  fs.chmodSync(a.at('new'), 0o700);
  fs.symlinkSync('new', a.at('link'));
  fs.mkdirSync(a.at('folder'));
  fs.symlinkSync('../new', a.at('folder/link'));
  assert.strictEqual((await a.call('PUT', '/files?path=folder/link', { body: 'two' })).status, 200);
  assert.strictEqual((await a.call('PUT', '/files?path=link', { body: '' })).status, 200);
  assert.strictEqual(fs.readFileSync(a.at('new'), 'utf8'), '');
  assert.strictEqual(fs.statSync(a.at('new')).mode & 0o777, 0o700);
  assert.ok(fs.lstatSync(a.at('link')).isSymbolicLink());
  const r = await a.call('PUT', '/files?path=folder', { body: 'x' });
  assert.deepStrictEqual([r.status, r.body.error], [409, 'is a directory']);

  const big = Buffer.alloc(50e6, 'y');
  const before = a.rss();
  assert.strictEqual((await a.call('PUT', '/files?path=big', { body: big })).status, 200);
  assert.ok(fs.readFileSync(a.at('big')).equals(big));
  assert.ok(a.rss() - before < 24e6, `grew by ${a.rss() - before}`);

  const listed = names();
  for (const where of ['/files?path=big', '/files/upload?path=folder']) { // broken off in the middle
    const req = http.request({ socketPath: a.sock, method: where.includes('upload') ? 'POST' : 'PUT', path: where, agent: false, headers: { 'content-length': 1e6 } });
    req.on('error', () => {});
    req.write(Buffer.alloc(5e5));
    await until(() => a.open().some((f) => /#\d+ \(deleted\)|\.upload-/.test(f)), 'a draft');
    req.destroy();
    await until(() => a.open().length === 0, 'the draft is given up');
  }
  assert.ok(fs.readFileSync(a.at('big')).equals(big));
  assert.deepStrictEqual(names(), listed);
  assert.deepStrictEqual(fs.readdirSync(a.at('folder')), ['link']);
});

test('a file is put only over what was read, or only where nothing is, when that is asked', async () => {
  fs.writeFileSync(path.join(a.root, 'shared.txt'), 'one');
  const { etag } = (await a.call('GET', '/files/read?path=shared.txt')).headers;
  const put = (body, headers) => a.call('PUT', '/files?path=shared.txt', { body, headers });
  const first = await put('two', { 'If-Match': etag });
  assert.strictEqual(first.status, 200);
  const second = await put('three', { 'If-Match': etag });
  assert.deepStrictEqual([second.status, second.body.code], [412, 'precondition']);
  assert.strictEqual((await put('four', { 'If-Match': first.headers.etag })).status, 200);
  assert.strictEqual((await put('five', { 'If-None-Match': '*' })).status, 412);
  assert.strictEqual(fs.readFileSync(path.join(a.root, 'shared.txt'), 'utf8'), 'four');
  fs.unlinkSync(path.join(a.root, 'shared.txt'));
  assert.strictEqual((await put('six', { 'If-Match': etag })).status, 412);
  assert.strictEqual(fs.existsSync(path.join(a.root, 'shared.txt')), false);
  assert.strictEqual((await put('seven', { 'If-None-Match': '*' })).status, 200);
  assert.strictEqual(fs.readFileSync(path.join(a.root, 'shared.txt'), 'utf8'), 'seven');
});

test('PUT a.txt/: a path that ends in / is a folder\'s, whatever is done with it', async () => {
  write('a.txt', 'one');
  fs.mkdirSync(a.at('folder'));
  const rename = (from, to) => a.call('POST', '/files/rename', { body: { from, to } });
  for (const p of ['a.txt/', 'new.txt/', 'a.txt//', 'folder/', `${a.at('a.txt')}/`]) {
    const r = await a.call('PUT', `/files?path=${q(p)}`, { body: 'two' });
    assert.deepStrictEqual([r.status, r.body], [400, { error: 'a path that ends in / is no file\'s', code: 'invalid' }], p);
  }
  for (const r of [await rename('a.txt', 'b.txt/'), await rename('a.txt/', 'b.txt'), await a.call('DELETE', '/files?path=a.txt/'), await a.get('/files/read?path=a.txt/'),
    await a.get('/files/download?path=a.txt/'), await a.call('POST', '/files/folder', { body: { path: 'a.txt/' } }), await a.call('POST', '/files/upload?path=a.txt/', { body: Buffer.alloc(1024) })]) {
    assert.deepStrictEqual([r.status, r.body.error], [400, 'not a directory']);
  }
  assert.deepStrictEqual([names(), fs.readFileSync(a.at('a.txt'), 'utf8')], [['a.txt', 'folder'], 'one']);
  assert.strictEqual((await a.call('POST', '/files/folder', { body: { path: 'made/' } })).status, 201);
  assert.strictEqual((await rename('made/', 'moved/')).status, 200);
  assert.strictEqual((await a.call('DELETE', '/files?path=moved/')).status, 200);
  assert.deepStrictEqual(names(), ['a.txt', 'folder']);
});

test('folders are made, things renamed and removed', async () => {
  const folder = (p) => a.call('POST', '/files/folder', { body: { path: p } });
  assert.deepStrictEqual([(await folder('a/b/c')).status, (await folder(a.at('a/b/c'))).status], [201, 409]);
  assert.ok(fs.statSync(a.at('a/b/c')).isDirectory());
  write('file', 'text');
  assert.deepStrictEqual([(await folder('file/x')).status, (await folder('file')).status], [400, 409]);
  const rename = async (from, to) => (await a.call('POST', '/files/rename', { body: { from, to } }));
  assert.deepStrictEqual((await rename('file', 'a/moved')).body, { path: a.at('a/moved') });
  write('other', 'stays');
  const r = await rename('a/moved', 'other');
  assert.deepStrictEqual([r.status, r.body.code], [409, 'exists']);
  assert.strictEqual(fs.readFileSync(a.at('other'), 'utf8'), 'stays');
  assert.strictEqual((await rename('a', 'a/b/inside-itself')).status, 400);
  const remove = async (p, more = '') => (await a.call('DELETE', `/files?path=${p}${more}`));
  const full = await remove('a');
  assert.deepStrictEqual([full.status, full.body], [409, { error: 'the folder is not empty', code: 'state' }]);
  assert.strictEqual((await remove('a', '&recursive=1')).status, 409);
  assert.strictEqual((await remove('a/b/c')).status, 200);
  fs.symlinkSync('../other', a.at('a/link'));
  fs.symlinkSync(a.outside, a.at('a/out'));
  assert.strictEqual((await remove('a', '&recursive=true')).status, 200);
  assert.deepStrictEqual(names(), ['other']);
  assert.strictEqual((await remove('other')).status, 200);
});

test('a tree is removed however deep it is', async () => {
  const from = process.cwd();
  process.chdir(a.root);
  for (let i = 0; i < 3000; i++) { fs.mkdirSync('deeper'); fs.writeFileSync('file', ''); process.chdir('deeper'); }
  process.chdir(from);
  assert.strictEqual((await a.call('DELETE', '/files?path=deeper&recursive=true')).status, 200);
  assert.deepStrictEqual(names(), ['file']);
});

// Bug: the agent aborted, and with it went every terminal and service.
test('where no thread can be made a request for files is refused, and terminals go on', { skip: spawnSync('prlimit', ['--version']).status !== 0 && 'no prlimit is here' }, async () => {
  const uid = process.getuid() === 0 ? 231072 : undefined; // a limit on processes does not hold root
  const full = await Agent.start(['--shell', 'exec cat'], { uid, env: { HOME: '/' } });
  const limit = (most) => execFileSync('prlimit', ['--pid', String(full.child.pid), `--nproc=${most}:`], { uid, gid: uid });
  const most = /^Max processes +\S+ +(\S+)/m.exec(fs.readFileSync(`/proc/${full.child.pid}/limits`, 'utf8'))[1];
  const task = `/proc/${full.child.pid}/task`;
  const threads = () => fs.readdirSync(task).filter((n) => { try { return fs.readFileSync(`${task}/${n}/comm`, 'utf8') === 'general\n'; } catch { return false; } }).length;
  const shells = () => fs.readFileSync(`${task}/${full.child.pid}/children`, 'utf8');
  for (const name of ['one', 'two']) assert.strictEqual((await full.call('POST', '/tabs', { body: { name } })).status, 200);
  assert.strictEqual((await full.get('/files')).status, 200);
  await until(() => threads() === 0, 'its threads have ended, as they do after a while', 60);
  const before = shells();
  assert.strictEqual(before.split(' ').filter(Boolean).length, 2);
  limit(0);
  const r = await full.get('/files');
  assert.deepStrictEqual([r.status, r.body.code], [503, 'unavailable'], `${r.bytes}`);
  assert.strictEqual((await full.get('/healthz')).status, 200);
  assert.strictEqual(shells(), before);
  limit(most);
  assert.strictEqual((await full.get('/files')).status, 200);
  assert.strictEqual(shells(), before);
  await full.stop();
});

test('a million entries in a folder: paged and removed while others are served', { timeout: 280000 }, async (t) => {
  const many = await Agent.start([], { base: fs.existsSync('/dev/shm') ? '/dev/shm' : undefined }); // made in seconds there
  t.after(() => many.stop());
  fs.mkdirSync(many.at('many'));
  execFileSync('python3', ['-c', 'import os,sys\nos.chdir(sys.argv[1])\nfor i in range(1000000): os.close(os.open("f%06d" % i, os.O_CREAT))', many.at('many')]);
  await many.get('/files?path=many&limit=10');
  const before = many.rss();
  let worst = 0, looking = true;
  const watch = (async () => { // the loop is never held up
    while (looking) {
      const begun = performance.now();
      assert.strictEqual((await many.get('/healthz')).status, 200);
      worst = Math.max(worst, performance.now() - begun);
    }
  })();
  const first = await many.get('/files?path=many');
  assert.deepStrictEqual([first.body.length, first.body[0].name, first.body[999].name], [1000, 'f000000', 'f000999']);
  const far = await many.get('/files?path=many&after=f899999&limit=10000');
  assert.deepStrictEqual([far.body.length, far.body[0].name, far.body[9999].name], [10000, 'f900000', 'f909999']);
  const last = await many.get('/files?path=many&after=f999998');
  assert.deepStrictEqual([last.body.map((e) => e.name), last.headers.link], [['f999999'], undefined]);
  const grown = many.rss() - before;
  assert.strictEqual((await many.call('DELETE', '/files?path=many&recursive=true')).status, 200);
  looking = false;
  await watch;
  t.diagnostic(`memory grew by ${(grown / 1e6).toFixed(1)} MB; longest wait of another ${worst.toFixed(0)} ms`);
  assert.ok(grown < 40e6, `grew by ${grown}`);
  assert.ok(worst < 1000, `another waited ${worst} ms`);
  assert.deepStrictEqual(fs.readdirSync(many.root), []);
});
