// Every page, at both sizes, in light and dark: what axe-core says of it, that nothing is wider than the window, and a picture
// (build/screenshots) for who looks.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, launch, open, signIn, violations, covered, shot, root, sizes } = require('./browser.js');

// By the pattern of web/src/pages/routes.ts: where it is looked at, and what says that it is all there; or the test that looks at it,
// on a real machine.
const pages = {
  '/': { name: 'landing', ready: (p) => p.getByRole('heading', { name: 'By the hour' }) },
  '/auth/login': { name: 'login', ready: (p) => p.getByLabel('Email address'), out: true },
  '/help/claude': { name: 'help-claude', ready: (p) => p.getByRole('heading', { name: 'Install it' }), out: true },
  '/docs/api': { name: 'docs-api', ready: (p) => p.getByText('Is it alive?'), out: true },
  '/dashboard': { name: 'overview', ready: (p) => p.getByText('an hour, of your hours').first() },
  '/dashboard/new': { name: 'create', ready: (p) => p.getByRole('button', { name: 'Make this machine' }) },
  '/dashboard/machines/{machine}': { name: 'machine', at: '/dashboard/machines/atlas', ready: (p) => p.getByText('created', { exact: true }) },
  '/dashboard/terminal': { elsewhere: 'terminal' },
  '/dashboard/watch': { elsewhere: 'terminal' },
  '/dashboard/chat': { elsewhere: 'chat' },
  '/dashboard/projects': { elsewhere: 'projects' },
  '/dashboard/files': { elsewhere: 'files' },
  '/dashboard/billing': { name: 'billing', ready: (p) => p.getByRole('row', { name: /^Balance now/ }) },
  '/dashboard/activity': { name: 'activity', ready: (p) => p.getByRole('list', { name: 'Events' }) },
  '/dashboard/settings': { name: 'settings', ready: (p) => p.getByText('this one') },
  '/dashboard/admin': { name: 'fleet', ready: (p) => p.getByRole('list', { name: 'Machines' }) },
  '/dashboard/admin/users': { name: 'users', ready: (p) => p.getByRole('list', { name: 'Accounts' }) },
  '/dashboard/admin/providers': { name: 'providers', ready: (p) => p.getByRole('heading', { name: 'mock' }) },
  '/dashboard/admin/orphans': { name: 'orphans', ready: (p) => p.getByRole('list', { name: 'Orphans' }) },
  '/dashboard/admin/policies': { name: 'policies', ready: (p) => p.getByText('idle.lua', { exact: true }) },
  '/dashboard/admin/policies/{file}': { name: 'policy', at: '/dashboard/admin/policies/idle.lua', ready: (p) => p.getByLabel('Source of idle.lua') },
};

// What one sees on a page only after a click. The page is /dashboard.
const moments = {
  delete: (p) => p.getByRole('button', { name: 'Delete' }).first().click(),
  resize: async (p) => {
    await p.goto('/dashboard/machines/atlas');
    await p.getByRole('button', { name: 'Change its type' }).click();
    await p.getByRole('radio', { name: /^large/ }).check();
    await p.getByText('instead of').waitFor();
  },
  extend: async (p) => {
    await p.getByRole('button', { name: 'Extend' }).first().click();
    await p.getByText('taken from your credit').waitFor();
  },
};

let server;
let browser;

test.before(async () => {
  server = await Server.start({ provider: 'mock', mock: '{orphans=3}', admin_email: 'ada@example.org', sweep_seconds: 1, policies_dir: path.join(root, 'policies') });
  browser = await launch();
  const owner = await server.account('ada@example.org', 'pro');
  const ids = {};
  for (const [name, type] of [['atlas', 'small'], ['build-box', 'large'], ['notes', 'tiny'], ['old-experiment', 'medium']]) {
    ids[name] = (await server.call('POST', '/instances?wait=20', { name, type, user_id: owner })).body.id;
  }
  await server.call('POST', `/instances/${ids.notes}/stop?wait=20`);
  await server.call('POST', '/instances?wait=20', { name: 'broken', image: 'missing', user_id: owner });
});
test.after(async () => {
  await browser.close();
  await server.stop();
});

async function look(page, name) {
  assert.deepStrictEqual(await violations(page), [], name);
  assert.deepStrictEqual(await covered(page), [], name);
  const { wide, room } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth }));
  assert.ok(wide <= room, `${name} is ${wide} wide, in a window of ${room}`);
  await shot(page, name);
}

test('what is wrong with a page is seen', async () => {
  const page = await open(browser, server);
  await page.goto('/');
  await page.evaluate(() => {
    document.querySelector('main').append(document.createElement('button'));
    document.head.append(Object.assign(document.createElement('style'), { textContent: 'a { color: red }' }));
  });
  assert.match((await violations(page)).join(), /button-name/);
  assert.match(page.faults.join(), /Content Security Policy/);
  await page.context().close();
});

test('every tab is in the window of a desktop, also of an admin; on a phone the one of this page is, and the line fades where it goes on', async () => {
  const seen = (p, name) => p.locator(`nav.${name} [aria-current]`).evaluate((e) => {
    const [a, b] = [e.getBoundingClientRect(), e.parentElement.getBoundingClientRect()];
    return a.left >= b.left - 1 && a.right <= b.right + 1 && b.left >= 0 && b.right <= innerWidth;
  });
  const page = await open(browser, server);
  await signIn(page);
  const tabs = page.getByRole('navigation', { name: 'Dashboard' });
  assert.deepStrictEqual((await tabs.getByRole('link').allTextContents()).at(-1), 'Admin');
  assert.ok(await tabs.evaluate((e) => e.scrollWidth <= e.clientWidth));
  await page.context().close();
  const phone = await open(browser, server, { size: 'phone' });
  await signIn(phone);
  const line = phone.getByRole('navigation', { name: 'Dashboard' });
  assert.match(await line.getAttribute('class'), /more-right/);
  for (const [where, name] of [['/dashboard/billing', 'tabs'], ['/dashboard/settings', 'tabs'], ['/dashboard', 'tabs'], ['/dashboard/admin/policies', 'subtabs'], ['/dashboard/admin', 'tabs']]) {
    await phone.goto(where);
    await phone.locator(`nav.${name} [aria-current]`).waitFor();
    assert.ok(await seen(phone, name), `${where} in ${name}`);
  }
  assert.match(await line.getAttribute('class'), /more-left/);
  assert.doesNotMatch(await line.getAttribute('class'), /more-right/);
  await phone.context().close();
});

test('each page of routes.ts is looked at here', () => {
  const text = fs.readFileSync(path.join(root, 'web', 'src', 'pages', 'routes.ts'), 'utf8');
  assert.deepStrictEqual([...text.matchAll(/\{ path: '([^']+)'/g)].map((m) => m[1]), Object.keys(pages));
  for (const { elsewhere } of Object.values(pages)) {
    if (elsewhere) assert.match(fs.readFileSync(path.join(__dirname, `${elsewhere}.test.js`), 'utf8'), /violations\(/);
  }
});

for (const size of Object.keys(sizes)) {
  for (const scheme of ['light', 'dark']) {
    test(`no page has a fault for axe-core, at the size of a ${size}, ${scheme}`, async () => {
      const page = await open(browser, server, { size, scheme, expected: [/404.*\/nowhere/] });
      const see = async (where, name, ready) => {
        await page.goto(where);
        await ready(page).waitFor();
        await look(page, `${name}-${size}-${scheme}`);
      };
      for (const [where, p] of Object.entries(pages)) if (p.out) await see(p.at ?? where, p.name, p.ready);
      await signIn(page);
      for (const [where, p] of Object.entries(pages)) if (!p.out && !p.elsewhere) await see(p.at ?? where, p.name, p.ready);
      for (const [name, act] of Object.entries(moments)) {
        await page.goto('/dashboard');
        await act(page);
        await look(page, `${name}-${size}-${scheme}`);
      }
      await see('/nowhere', 'not-found', (p) => p.getByRole('heading', { name: 'There is no such page' }));
      assert.deepStrictEqual(page.faults, []);
      await page.context().close();
    });
  }
}

test('the server\'s own page of a link, and of one that is no good', async () => {
  const page = await open(browser, server, { expected: [/401/] });
  await page.goto('/auth/login'); // the log has links of who signs in here
  await signIn(page, 'bob@example.org');
  const url = new URL((await server.says(/email=bob@example.org url="?(http[^\s"]+)/))[1]);
  await page.context().clearCookies();
  await page.goto(url.pathname + url.search);
  await look(page, 'verify-desktop-light');
  await page.goto('/auth/verify?token=x');
  await page.getByRole('heading', { name: 'That did not work' }).waitFor();
  await look(page, 'verify-fault-desktop-light');
  assert.deepStrictEqual(page.faults, []);
  await page.context().close();
});
