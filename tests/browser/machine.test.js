// What is done to a machine beside its life: another type, volumes; where it is made; and how it gets Claude Code.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Server, launch, open, signIn, until, root } = require('./browser.js');
const { Workplace } = require('./workplace.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

async function start(t, settings = {}, expected = []) {
  const server = await Server.start({ provider: 'mock', policies_dir: path.join(root, 'policies'), ...settings });
  t.after(() => server.stop());
  const page = await open(browser, server, { expected });
  t.after(() => page.context().close());
  await signIn(page);
  return { server, page };
}

async function made(server, body) {
  const r = await server.call('POST', '/instances?wait=20', { user_id: await server.account('ada@example.org'), ...body });
  assert.strictEqual(r.status, 201, r.text);
  return r.body;
}

test('what a machine said of its tabs and ports led the page to do something to another machine', async (t) => {
  const { server, page } = await start(t, { policies_dir: path.join(root, 'tests', 'lib', 'policies') }, [/./]); // nothing answers there
  await made(server, { name: 'atlas' });
  const other = await made(server, { name: 'other' });
  const tab = `../../../instances/${other.id}#`;
  const port = `../../../instances/${other.id}/extend#`;
  const say = (what, list) => page.route(`**/${what}?*`, (r) => r.fulfill({ json: list }));
  await say('sessions', [tab, 7, null, 'work'].map((name) => ({ tab: name, status: 'idle', foreground: null, viewers: 0 })));
  await say('ports', [port, 0, 65536, 1.5, null, '80', 8123].map((n) => ({ port: n, process: null })));
  const asked = [];
  page.on('request', (r) => { if (r.method() !== 'GET' && r.url().includes(other.id)) asked.push(`${r.method()} ${r.url()}`); });

  await page.goto('/dashboard/terminal?machine=atlas&tab=main');
  await page.getByRole('button', { name: 'Close work' }).waitFor();
  for (const button of await page.getByRole('button', { name: `Close ${tab}`, exact: true }).all()) {
    await button.click();
    await page.getByRole('button', { name: 'Close it' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  }
  await page.goto('/dashboard/machines/atlas');
  await page.getByText('What listens on it').click();
  await page.getByRole('button', { name: 'Make a link to port 8123' }).waitFor();
  for (const button of await page.getByRole('button', { name: `Make a link to port ${port}`, exact: true }).all()) {
    const answered = page.waitForResponse((r) => r.request().method() === 'POST');
    await button.click();
    await answered;
  }
  assert.deepStrictEqual(asked, []);
  const now = (await server.call('GET', `/instances/${other.id}`)).body;
  assert.deepStrictEqual([now.status, now.prepaid ?? false], ['RUNNING', false]);
  assert.deepStrictEqual(await page.getByRole('button', { name: /^Make a link/ }).all().then((all) => all.length), 1);
});

test('where a machine is made is chosen among the places that its provider tells', async (t) => {
  const { server, page } = await start(t, { mock: '{places="fsn1 nbg1"}' });
  await page.goto('/dashboard/new');
  const place = page.getByRole('combobox', { name: 'Place' });
  await place.waitFor();
  assert.deepStrictEqual(await place.getByRole('option').allTextContents(), ['Wherever there is room', 'fsn1', 'nbg1']);
  await place.selectOption('nbg1');
  await page.getByLabel('Name').fill('atlas');
  await page.getByRole('button', { name: 'Make this machine' }).click();
  await page.getByRole('heading', { name: 'atlas' }).waitFor();
  const [m] = (await server.call('GET', '/instances')).body;
  assert.strictEqual(m.location, 'nbg1');
  assert.deepStrictEqual(page.faults, []);
});

test('a type that is sold nowhere cannot be chosen, and without known places one types', async (t) => {
  const { page } = await start(t, { mock: '{places=""}' });
  await page.goto('/dashboard/new');
  await page.getByText('not sold now').first().waitFor();
  assert.strictEqual(await page.getByRole('radio', { name: /^small/ }).isDisabled(), true);
  const without = await start(t);
  await without.page.goto('/dashboard/new');
  await without.page.getByRole('textbox', { name: 'Place' }).waitFor();
  assert.deepStrictEqual([...page.faults, ...without.page.faults], []);
});

test('another type: its price beside that of now, and only after a yes', async (t) => {
  const { server, page } = await start(t, {}, [/40[39]|429/]);
  const m = await made(server, { name: 'atlas', type: 'small' });
  await page.goto('/dashboard/machines/atlas');
  const ask = async () => {
    await page.getByRole('button', { name: 'Change its type' }).click();
    const dialog = page.getByRole('dialog', { name: 'Another type for atlas' });
    await dialog.getByRole('radio', { name: /^small.*as it is/ }).waitFor();
    return dialog;
  };
  const type = async () => (await server.call('GET', `/instances/${m.id}`)).body.type;
  let dialog = await ask();
  await dialog.getByRole('radio', { name: /^tiny.*−\$0\.020\/h/ }).check();
  await dialog.getByText('Its disk does not shrink').waitFor();
  await dialog.getByRole('radio', { name: /^medium.*\+\$0\.040\/h/ }).check();
  await dialog.getByText('$0.08 an hour while it runs, instead of $0.04').waitFor();
  await dialog.getByText('It is stopped and started for it').waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.strictEqual(await type(), 'small', 'without a yes nothing happens');
  dialog = await ask();
  await dialog.getByRole('radio', { name: /^medium/ }).check();
  await dialog.getByRole('button', { name: 'Resize' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByText('atlas is of the type medium').waitFor();
  await page.getByText('medium: 2 × CPU').waitFor();
  assert.strictEqual(await type(), 'medium');

  assert.strictEqual((await server.call('POST', `/instances/${m.id}/extend`, { hours: 2 })).status, 200);
  await page.getByRole('button', { name: 'Change its type' }).click();
  dialog = page.getByRole('dialog');
  await dialog.getByRole('radio', { name: /^large/ }).check();
  await dialog.getByRole('button', { name: 'Resize' }).click();
  await dialog.getByText('Its prepaid hours are of the type medium').waitFor(); // and the dialog stays
  await page.keyboard.press('Escape');
  assert.strictEqual(await type(), 'medium');
  assert.deepStrictEqual(page.faults, []);
});

test('volumes of a machine: one is made and attached, refused where another is, detached, and there for the next', async (t) => {
  const { server, page } = await start(t, {}, [/40[09]/]);
  const m = await made(server, { name: 'atlas' });
  await page.goto('/dashboard/machines/atlas');
  const card = page.getByRole('region', { name: 'Volumes' });
  const attach = async (id, where) => {
    await card.getByLabel('Volume').fill(id);
    await card.getByLabel('Where').fill(where);
    await card.getByRole('button', { name: 'Attach' }).click();
  };
  const has = async () => (await server.call('GET', `/instances/${m.id}`)).body.volumes.filter((v) => v.path !== '/claude-data');
  await attach('data', '/data');
  await card.getByRole('button', { name: 'Detach data' }).waitFor();
  assert.deepStrictEqual(await has(), [{ id: 'data', path: '/data' }]);
  await card.getByText('20 GiB').waitFor();
  await attach('more', '/data');
  await card.getByText('the volume data is there').waitFor();
  assert.strictEqual(await card.getByLabel('Where').getAttribute('aria-invalid'), 'true');

  await card.getByRole('button', { name: 'Detach data' }).click();
  const dialog = page.getByRole('dialog', { name: 'Detach data?' });
  await dialog.getByRole('button', { name: 'Detach data' }).click();
  await dialog.waitFor({ state: 'detached' });
  await card.getByRole('button', { name: 'Detach data' }).waitFor({ state: 'detached' });
  assert.deepStrictEqual(await has(), []);
  await until(async () => (await card.locator('datalist option').evaluateAll((o) => o.map((x) => x.value))).includes('data'), 'it is offered again');
  assert.deepStrictEqual(page.faults, []);
});

test('how a machine gets Claude Code stands at an address of its own, to which its page leads', async (t) => {
  const { server, page } = await start(t, {}, [/401/]);
  await made(server, { name: 'atlas' });
  await page.goto('/dashboard/machines/atlas');
  await page.getByRole('link', { name: 'How it gets there' }).click();
  await page.waitForURL('**/help/claude');
  await page.getByRole('heading', { name: 'Claude Code on a machine' }).waitFor();
  assert.strictEqual(await page.title(), 'Claude Code on a machine · cchost');
  await page.getByText('npm install -g --prefix ~/.local @anthropic-ai/claude-code').waitFor();
  await page.context().clearCookies();
  await page.reload(); // also who is not signed in may read it
  await page.getByRole('heading', { name: 'Claude Code on a machine' }).waitFor();
  assert.strictEqual((await server.call('GET', '/help/nothing')).status, 404);
  assert.deepStrictEqual(page.faults, []);
});

const has = ['/usr/bin', '/bin', '/usr/local/bin'].some((d) => fs.existsSync(`${d}/claude`)) && 'this host has claude: its machines see it';

test('on a machine of this host, what the page says works: the chat leads there, its commands put claude where it is found', { skip: has }, async (t) => {
  const w = await Workplace.start(t, browser);
  const { page } = w;
  await page.goto('/dashboard/chat?machine=atlas');
  await page.getByLabel('Message to Claude').fill('hello');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'How it gets there' }).first().click(); // said above, and in the conversation
  await page.getByRole('heading', { name: 'Install it' }).waitFor();
  const [install, more] = await page.getByRole('region', { name: 'Install it' }).locator('.copy code').allTextContents();

  await w.sh(`mkdir -p ~/claude-code && cd ~/claude-code && printf '%s' '{"name":"claude-code","version":"1.0.0","bin":{"claude":"cli"}}' >package.json &&
    printf '%s\\n' '#!/bin/sh' 'echo 1.2.3' >cli`); // in the place of the real one: nothing is asked of the world
  await w.sh(`cd ~ && ${install.replace('@anthropic-ai/claude-code', './claude-code')} --offline`);
  await w.sh(more);
  assert.strictEqual(await w.sh("sh -lc 'claude --version'"), '1.2.3\n');
  const { body } = await w.call('GET', '/auth/status');
  assert.doesNotMatch(String(body.reason), /not on this machine/, 'the agent finds it');
  assert.deepStrictEqual(page.faults, []);
});

test('a machine that fails says so, since when, and why nothing is done about it; and no more once it is well', async (t) => {
  const { server, page } = await start(t, { mock: '{activity={fail=14}}', activity_check_interval: '1s', health_retry_seconds: 1, health_grace_seconds: 0 });
  await made(server, { name: 'atlas' });
  await page.goto('/dashboard/machines/atlas');
  await page.locator('.status', { hasText: 'Failing' }).waitFor();
  await page.getByRole('status').getByText(/^Its agent does not answer since \d\d:\d\d UTC \(\d+ times: .*\); to be restarted at \d\d:\d\d UTC if it goes on/).waitFor();
  await page.getByRole('status').getByRole('link', { name: 'Why?' }).click();
  await page.getByRole('button', { name: /^Why: atlas unhealthy/ }).click();
  await page.getByText(/policies\/health\.lua|health\.lua:\d+/).waitFor();
  await page.goto('/dashboard/machines/atlas');
  await page.locator('.status', { hasText: 'Running' }).waitFor();
  await page.getByText(/^healthy: /).waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('a machine\'s page comes although the list of all of them does not', async (t) => {
  const { server, page } = await start(t, {}, [/503|404/]);
  await made(server, { name: 'atlas' });
  await page.route('**/instances?*', (r) => r.fulfill({ status: 503, json: { error: 'Not now.', code: 'unavailable' } }));
  await page.goto('/dashboard/machines/atlas');
  await page.getByRole('heading', { name: 'atlas' }).waitFor();
  let away = true;
  await page.route('**/instances/nobody', (r) => (away ? r.fulfill({ status: 503, json: { error: 'Not now either.', code: 'unavailable' } }) : r.continue()));
  await page.goto('/dashboard/machines/nobody');
  await page.getByText('Not now either.').waitFor();
  away = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('It may have been deleted, or renamed, meanwhile.').waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('machines are listed although the stream of what happens does not come', async (t) => {
  const { server, page } = await start(t, {}, [/503/]);
  await made(server, { name: 'atlas' });
  await page.route('**/events', (r) => r.fulfill({ status: 503, json: { error: 'Too many.', code: 'unavailable' } }));
  await page.goto('/dashboard');
  await page.getByRole('link', { name: 'atlas', exact: true }).waitFor();
  assert.deepStrictEqual(page.faults, []);
});
