// Without PREVIEW_URL what a machine serves is shown on our own origin: that a browser keeps it in its sandbox there, with somebody signed in.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const { Agent } = require('../lib/agent.js');
const { temp } = require('../lib/cchost.js');
const { Server, launch, open, signIn, until } = require('./browser.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

// Tries all that would be a way out, and writes down what came of it.
const HOSTILE = `<!doctype html><title>hostile</title><pre id="out"></pre><script>
const out = {};
const tries = {
  cookie: () => document.cookie,
  'set a cookie': () => { document.cookie = 'session=stolen; path=/'; return 'set'; },
  storage: () => localStorage.length,
  read: async () => (await fetch('/auth/me', { credentials: 'include' })).text(),
  change: async () => (await fetch('/instances', { method: 'POST', credentials: 'include', body: '{}', headers: { 'Content-Type': 'application/json' } })).text(),
  'change, simply': async () => { const r = await fetch('/instances', { method: 'POST', credentials: 'include', mode: 'no-cors', body: '{"name":"theirs"}', headers: { 'Content-Type': 'text/plain' } }); return r.type === 'opaque' ? Promise.reject(new Error('opaque')) : r.text(); },
  worker: async () => String(await navigator.serviceWorker.register('sw.js')),
  socket: () => new Promise((yes, no) => { const w = new WebSocket(location.href.replace(/^http/, 'ws').replace(/[/](preview|instances)[/].*/, '/instances/INSTANCE/terminal'), 'tty'); w.onopen = () => yes('open'); w.onerror = () => no(new Error('refused')); }),
  database: () => new Promise((yes, no) => { const r = indexedDB.open('x'); r.onsuccess = () => yes('open'); r.onerror = () => no(r.error); }),
};
(async () => {
  out.origin = self.origin;
  for (const [name, fn] of Object.entries(tries)) {
    try { out[name] = 'came: ' + await fn(); } catch (e) { out[name] = 'refused'; }
  }
  await fetch('seen', { method: 'POST', credentials: 'include' }).catch(() => {});
  document.getElementById('out').textContent = JSON.stringify(out);
})();
document.addEventListener('click', () => { window.popup = window.open('/dashboard'); });
</script>`;

test('a hostile page of a machine reads, changes and registers nothing of ours, at any status, and neither do the windows that it opens', async (t) => {
  const dir = temp();
  const agent = await Agent.start(dir);
  const server = await Server.start({ provider: 'mock', mock: `{endpoint="${agent.path}"}` });
  let instance;
  const asked = [];
  let renewed = 0;
  const app = http.createServer((req, res) => {
    asked.push({ url: req.url, method: req.method, cookie: req.headers.cookie });
    if (req.headers['if-none-match'] && req.url === '/cached') { // a renewal would change what a browser has kept
      renewed += 1;
      res.writeHead(304, { ETag: '"1"', 'Content-Security-Policy': 'sandbox allow-same-origin allow-scripts', 'Set-Cookie': 'session=stolen; Path=/' }).end();
      return;
    }
    res.writeHead(req.url === '/missing' ? 404 : 200, {
      'Content-Type': req.url === '/sw.js' ? 'text/javascript' : 'text/html', ETag: '"1"', 'Cache-Control': 'no-cache', 'Service-Worker-Allowed': '/',
      'Set-Cookie': ['session=stolen; Path=/', 'session=stolen; Path=/; Domain=127.0.0.1', '__Host-session=stolen; Path=/; Secure'],
      'Content-Security-Policy': 'sandbox allow-same-origin allow-scripts allow-popups allow-popups-to-escape-sandbox allow-top-navigation',
    }).end(req.url === '/sw.js' ? '' : HOSTILE.replace('INSTANCE', instance));
  });
  await new Promise((r) => { app.listen(0, '127.0.0.1', r); });
  const page = await open(browser, server, { expected: [/./] }); // what it tries is said in the console
  t.after(async () => {
    await page.context().close();
    app.closeAllConnections();
    await new Promise((r) => app.close(r));
    await server.stop();
    await agent.stop();
    fs.rmSync(dir, { recursive: true });
  });
  const owner = await server.account('ada@example.org');
  instance = (await server.call('POST', '/instances?wait=30', { name: 'atlas', user_id: owner })).body.id;
  await signIn(page);
  const { port } = app.address();
  const own = `/instances/${instance}/ports/${port}`;
  const link = new URL((await server.call('POST', `${own}/link`, {})).body.url).pathname.replace(/\/$/, '');
  const cookies = async () => (await page.context().cookies()).map((c) => [c.name, c.path, c.value]);
  const before = await cookies();
  assert.deepStrictEqual(before.map((c) => c[0]), ['session']);

  for (const prefix of [own, link]) {
    for (const path of ['/', '/missing', '/cached', '/cached']) { // the last one by a 304
      await page.goto(`${prefix}${path}`);
      const out = await until(async () => {
        const text = await page.locator('#out').textContent();
        return text && JSON.parse(text);
      }, 'it has tried all');
      const { origin, ...tried } = out;
      assert.strictEqual(origin, 'null', `${prefix}${path}`);
      for (const [what, how] of Object.entries(tried)) assert.strictEqual(how, 'refused', `${what} at ${prefix}${path}`);
    }
    await page.goto(`${prefix}/`);
    const opened = page.context().waitForEvent('page');
    await page.locator('body').click();
    const popup = await opened;
    await popup.waitForLoadState();
    assert.strictEqual(await popup.evaluate(() => self.origin), 'null', 'what it opens is in the sandbox, too');
    await popup.close();
  }
  assert.strictEqual(renewed, 2, 'one answer of each way was a 304');
  assert.ok(asked.every((a) => !/session/.test(a.cookie || '')), 'no cookie of ours came there');
  assert.ok(!asked.some((a) => a.url === '/sw.js'), 'no script of a service worker was asked for there');
  assert.deepStrictEqual((await cookies()).filter((c) => c[0] === 'session'), before, 'and ours is as it was');
  assert.deepStrictEqual((await server.call('GET', '/instances')).body.map((m) => m.name), ['atlas']);
  await page.goto('/dashboard');
  await page.getByText('atlas').first().waitFor();
  assert.strictEqual(await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length), 0);
});
