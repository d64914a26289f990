// What a page weighs: every file that is loaded on the way through all pages, compressed as it was sent, before a terminal is
// opened; and that files which are not needed yet are not loaded.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const zlib = require('node:zlib');
const { Server, launch, open, signIn } = require('./browser.js');

const MOST = 150 * 1024;

test('all pages together weigh no more than 150 KiB, compressed, and a second visit nothing', async (t) => {
  const server = await Server.start({ provider: 'mock' });
  const browser = await launch();
  t.after(async () => { await browser.close(); await server.stop(); });
  const page = await open(browser, server, { expected: [/WebSocket|\/instances\//] }); // a mock's machine has no agent
  const sizes = new Map();
  const answers = [];
  const bodies = []; // while they can be had: the next page's beginning is their end
  page.on('response', (r) => {
    if (!/^\/($|assets\/|dashboard|auth\/login)/.test(new URL(r.url()).pathname)) return;
    answers.push(r);
    bodies.push(r.body().catch((e) => e));
  });

  await page.goto('/');
  await page.getByRole('heading', { name: 'By the hour' }).waitFor();
  assert.ok(!answers.some((r) => /settings|overview|xterm/.test(r.url())), 'the landing page loads its own files');
  await signIn(page);
  const made = await server.call('POST', '/instances?wait=20', { name: 'one', user_id: await server.account('ada@example.org') });
  await page.getByRole('link', { name: 'one', exact: true }).click();
  await page.getByRole('heading', { name: 'What happened' }).waitFor();
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('heading', { name: 'Sessions' }).waitFor();
  for (const name of ['Chat', 'Projects', 'Files']) {
    await page.getByRole('link', { name, exact: true }).click();
    await page.getByRole('heading', { name, exact: true }).waitFor();
  }
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('link', { name: 'New machine' }).click();
  await page.getByRole('button', { name: 'Make this machine' }).waitFor();
  assert.strictEqual(made.status, 201);

  for (const [i, r] of answers.entries()) {
    if (r.request().method() !== 'GET' || r.status() !== 200) continue;
    const how = (await r.allHeaders())['content-encoding'];
    const body = await bodies[i];
    if (body instanceof Error) throw body;
    assert.ok(how === 'gzip' || how === 'br' || body.length < 400, `${r.url()} is sent as ${how}`);
    sizes.set(new URL(r.url()).pathname, zlib.gzipSync(body, { level: 9 }).length);
  }
  const files = [...sizes.keys()];
  for (const part of ['app-', 'style-', 'landing-', 'login-', 'overview-', 'machine-', 'settings-', 'create-', 'chat-', 'projects-', 'files-']) {
    assert.ok(files.some((f) => f.startsWith(`/assets/${part}`)), `${part} is among ${files}`);
  }
  const sum = [...sizes.values()].reduce((a, b) => a + b, 0);
  t.diagnostic(`${files.length} files, ${sum} bytes by gzip`);
  assert.ok(sum > 15000 && sum <= MOST, `${sum} bytes`);

  await page.goto('/dashboard');
  await page.getByRole('link', { name: 'one', exact: true }).waitFor();
  const again = await page.evaluate(() => performance.getEntriesByType('resource').filter((e) => e.name.includes('/assets/')).map((e) => [e.name, e.transferSize]));
  assert.ok(again.length > 5, `${again.length} files`);
  assert.deepStrictEqual(again.filter(([, bytes]) => bytes > 0), [], 'they come from the browser\'s own store');
  assert.deepStrictEqual(page.faults, []);
});
