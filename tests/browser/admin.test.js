// What an admin sees and does: the fleet, accounts, providers, orphans, policies. Before a real server, with machines of mock.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { temp, binary } = require('../lib/cchost.js');
const { Server, launch, open, signIn, until, violations, root } = require('./browser.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

// A server whose admin is root@example.org, and his window. past: machines that were there for a week in June.
async function start(t, settings = {}, { to = '/dashboard/admin', past = 0, ...options } = {}) {
  const policies = temp();
  fs.cpSync(path.join(root, 'policies'), policies, { recursive: true, filter: (f) => !/tests$/.test(f) }); // those are the shipped policies' own
  const dir = temp();
  if (past) {
    const made = spawnSync(binary, [path.join(root, 'tests', 'bench', 'fill_traces.lua'), dir, String(past), '7'], { encoding: 'utf8' });
    assert.strictEqual(made.status, 0, made.stderr);
  }
  const server = await Server.start({ provider: 'mock', policies_dir: policies, admin_email: 'root@example.org', quota_instances: 0, ...settings }, dir);
  t.after(async () => {
    await server.stop();
    for (const d of [policies, dir]) fs.rmSync(d, { recursive: true });
  });
  const page = await open(browser, server, options);
  t.after(() => page.context().close());
  await signIn(page, 'root@example.org', to);
  return { server, page, policies };
}

const rows = (page, name) => page.getByRole('list', { name }).getByRole('listitem');

test('the fleet has everybody\'s machines, found by status, provider and user; ten thousand rows cost what twenty do', async (t) => {
  const { server, page } = await start(t);
  for (const [email, name] of [['ada@example.org', 'atlas'], ['bob@example.org', 'notes']]) {
    await server.call('POST', '/instances?wait=20', { name, user_id: await server.account(email, 'pro') });
  }
  const { body: [model] } = await server.call('GET', '/instances?limit=1');
  await server.call('POST', `/instances/${(await server.call('GET', '/instances')).body.find((m) => m.name === 'notes').id}/stop?wait=20`);
  await page.reload();
  await rows(page, 'Machines').filter({ hasText: 'atlas' }).getByText('ada@example.org').waitFor();
  await page.getByLabel('Status').selectOption('STOPPED');
  await page.getByText('1 of 2 machines').waitFor();
  assert.match(await rows(page, 'Machines').first().innerText(), /^notes/);
  await page.getByLabel('Status').selectOption('');
  await page.getByLabel('User or machine').fill('bob@');
  await page.getByText('1 of 2 machines').waitFor();
  await page.getByLabel('User or machine').fill('');
  await rows(page, 'Machines').filter({ hasText: 'atlas' }).getByRole('button', { name: 'Pause' }).click();
  await rows(page, 'Machines').filter({ hasText: 'atlas' }).getByRole('button', { name: 'Wake' }).waitFor();
  assert.deepStrictEqual(await violations(page), []);

  const N = 10000;
  const all = Array.from({ length: N }, (_, i) => ({ ...model, id: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`, short: String(i).padStart(12, '0'),
    name: `machine-${i}`, status: i % 4 ? 'STOPPED' : 'RUNNING', provider: i % 2 ? 'mock' : 'local', created_at: new Date(1.7e12 + i * 1000).toISOString(), idle: undefined }));
  await page.route('**/instances?*', (r) => {
    const query = new URL(r.request().url()).searchParams;
    const from = Number(query.get('after') ?? 0);
    const limit = Number(query.get('limit'));
    return r.fulfill({ json: all.slice(from, from + limit), headers: from + limit < N ? { Link: `</instances?limit=${limit}&after=${from + limit}>; rel="next"` } : {} });
  });
  await page.reload();
  await page.getByText(`${N} of ${N} machines`).waitFor();
  assert.ok(await rows(page, 'Machines').count() < 60);
  await page.getByLabel('Provider').selectOption('local');
  await page.getByText(`5000 of ${N} machines`).waitFor();
  await page.getByLabel('Status').selectOption('RUNNING');
  await page.getByText(`2500 of ${N} machines`).waitFor();
  await page.getByLabel('User or machine').fill('machine-9996');
  await page.getByText(`1 of ${N} machines`).waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('who is no admin has no such page', async (t) => {
  const { server, page } = await start(t);
  await page.getByRole('link', { name: 'Admin' }).waitFor();
  const other = await open(browser, server);
  await signIn(other, 'ada@example.org');
  await other.getByRole('link', { name: 'Settings' }).waitFor();
  assert.strictEqual(await other.getByRole('link', { name: 'Admin' }).count(), 0);
  for (const where of ['', '/users', '/providers', '/orphans', '/policies', '/policies/idle.lua']) {
    await other.goto(`/dashboard/admin${where}`);
    await other.getByRole('heading', { name: 'There is no such page' }).waitFor();
  }
  await other.context().close();
});

test('accounts are found, given a plan, suspended, resumed and deleted with their machines', async (t) => {
  const { server, page } = await start(t, {}, { to: '/dashboard/admin/users' });
  const ada = await server.account('ada@example.org', 'free');
  await server.account('bob@example.org', 'free');
  await server.call('POST', '/instances?wait=20', { name: 'atlas', user_id: ada });
  const row = rows(page, 'Accounts').filter({ hasText: 'ada@example.org' });
  await row.waitFor(); // by its event
  await page.getByLabel('Find').fill('bob');
  await page.getByText('1 of 3 accounts').waitFor();
  await page.getByLabel('Find').fill('');

  await row.getByRole('button', { name: 'Plan' }).click();
  const dialog = page.getByRole('dialog', { name: 'Give ada@example.org a plan' });
  await dialog.getByLabel('Plan').selectOption('pro');
  await dialog.getByLabel('Reason').fill('writes our docs');
  assert.deepStrictEqual(await violations(page), []);
  await dialog.getByRole('button', { name: 'Give the plan' }).click();
  await row.getByText('pro, given').waitFor();
  const { body: user } = await server.call('GET', `/users/${ada}`);
  assert.deepStrictEqual([user.plan, user.granted.reason], ['pro', 'writes our docs']);

  await row.getByRole('button', { name: 'Suspend' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
  await row.getByRole('button', { name: 'Resume' }).click();
  await row.getByRole('button', { name: 'Suspend' }).waitFor();
  assert.strictEqual((await server.call('GET', `/users/${ada}`)).body.status, 'active');

  await row.getByRole('button', { name: 'Delete' }).click();
  await page.keyboard.press('Escape');
  assert.strictEqual((await server.call('GET', `/users/${ada}`)).body.status, 'active', 'Escape deletes nobody');
  await row.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Delete the account' }).click();
  await row.waitFor({ state: 'detached' });
  assert.strictEqual((await server.call('GET', `/users/${ada}`)).body.status, 'deleted');
  await until(async () => (await server.call('GET', '/instances')).body.length === 0, 'his machine is gone');
  const own = rows(page, 'Accounts').filter({ hasText: 'root@example.org' });
  assert.strictEqual(await own.getByRole('button', { name: 'Delete' }).count(), 0);
  assert.deepStrictEqual(await violations(page), []);
  assert.deepStrictEqual(page.faults, []);
});

test('providers are checked in plain words; orphans are shown, and one is destroyed', async (t) => {
  const { server, page } = await start(t, { mock: '{orphans=2}', sweep_seconds: 1 }, { to: '/dashboard/admin/providers' });
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('the provider mock needs nothing of this host').waitFor();
  assert.deepStrictEqual(await violations(page), []);
  await page.getByRole('link', { name: '2 machines there that no record knows' }).click();
  const list = rows(page, 'Orphans');
  await list.nth(1).waitFor();
  assert.deepStrictEqual(await violations(page), []);
  const short = (await list.first().innerText()).match(/cc-([0-9a-f]{12})/)[1];
  await page.getByRole('button', { name: `Destroy cc-${short}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Destroy' }).click();
  await page.getByText(`cc-${short} is being destroyed.`).waitFor();
  await page.getByRole('button', { name: `Destroy cc-${short}` }).waitFor({ state: 'detached' });
  assert.strictEqual(await list.count(), 1);
  const left = (await server.call('GET', '/providers')).body.providers[0].orphans;
  assert.deepStrictEqual([Object.keys(left).length, left[short]], [1, undefined]);
  assert.strictEqual((await server.call('DELETE', `/providers/mock/orphans/${short}`)).status, 404);
  assert.deepStrictEqual(page.faults, []);
});

const source = (page) => page.getByLabel('Source of idle.lua');

test('a policy is edited, compared, tried on the past with its chart, and only then put in force', async (t) => {
  const { server, page, policies } = await start(t, { log_days: 3650 }, { to: '/dashboard/admin/policies', past: 12 });
  const shipped = fs.readFileSync(path.join(policies, 'idle.lua'), 'utf8');
  await page.getByText(/^Generation 1, in force since/).waitFor();
  await page.getByRole('link', { name: 'idle.lua' }).click();
  await source(page).waitFor();
  assert.strictEqual(await source(page).inputValue(), shipped);
  const fly = fs.readFileSync(path.join(root, 'examples', 'policies', 'fly.lua'), 'utf8');
  await source(page).fill(fly);
  const difference = page.getByRole('region', { name: 'The difference in idle.lua' });
  await difference.waitFor();
  assert.ok(await difference.locator('.added').count() > 3 && await difference.locator('.removed').count() > 3);

  // Its past is in June: the page's choices are counted from now.
  await page.route('**/whatif', (r) => r.continue({ postData: JSON.stringify({ ...r.request().postDataJSON(), since: '2026-06-01' }) }));
  await page.getByRole('button', { name: 'Try it on the past' }).click();
  const card = page.getByRole('region', { name: 'What if it had been in force?' });
  await card.getByText(/^12 machines, /).waitFor();
  const told = await card.getByRole('row', { name: /^… of a running agent/ }).locator('td').allInnerTexts();
  assert.ok(Number(told[1]) > Number(told[0]) && told[2] === `+${told[1] - told[0]}`, told.join(' '));
  assert.ok(await card.locator('svg rect.bar-was').count() > 7 && await card.locator('svg rect.bar-is').count() > 7);
  await card.getByText('As a table').click();
  await card.getByRole('row', { name: /^1 Jun/ }).waitFor();
  await card.getByRole('row', { name: /^In all/ }).last().waitFor();
  assert.deepStrictEqual(await violations(page), []);
  assert.strictEqual(fs.readFileSync(path.join(policies, 'idle.lua'), 'utf8'), shipped, 'nothing is saved yet');

  await page.getByLabel('Why (a note in the log)').fill('as others do it');
  await page.getByRole('button', { name: 'Save and put in force' }).click();
  await page.getByText('Generation 2 is in force.').waitFor();
  assert.strictEqual(fs.readFileSync(path.join(policies, 'idle.lua'), 'utf8'), fly);
  const live = (await server.call('GET', '/policies')).body;
  assert.deepStrictEqual([live.generation, live.author, live.note], [2, 'root@example.org', 'as others do it']);
  await difference.waitFor({ state: 'detached' });
  assert.deepStrictEqual(page.faults, []);
});

test('what is wrong with an edit is told by its line; a what-if is cancelled; an edit on disk meanwhile takes nothing away', async (t) => {
  const { server, page, policies } = await start(t, { log_days: 3650 }, { to: '/dashboard/admin/policies/idle.lua', past: 12, expected: [/40[09].*\/policies\/idle/] });
  const shipped = await source(page).inputValue();
  await source(page).fill(`${shipped}\nreturn {\n`);
  await page.getByRole('button', { name: 'Save and put in force' }).click();
  await page.getByRole('heading', { name: 'It would be refused, so it is not saved' }).waitFor();
  const [line] = (await page.getByRole('list', { name: 'Faults' }).innerText()).match(/idle\.lua:(\d+)/).slice(1);
  assert.strictEqual(await page.locator('.bad-line').innerText(), `${line}\n`);
  assert.deepStrictEqual(await violations(page), []);

  const slow = shipped.replace(/function P\.decide\(([^)]*)\)/, 'function P.decide($1)\n  for i = 1, 3000 do local x = i end');
  await source(page).fill(slow);
  await page.route('**/whatif', (r) => r.continue({ postData: JSON.stringify({ ...r.request().postDataJSON(), since: '2026-06-01' }) }));
  await page.getByRole('button', { name: 'Try it on the past' }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'Try it on the past' }).waitFor();
  await until(async () => (await server.call('POST', '/policies/idle.lua/whatif', { source: shipped, since: '1h' })).status === 200, 'the server\'s work has ended, too');

  const mine = `${shipped}\n-- mine\n`;
  await source(page).fill(mine);
  fs.writeFileSync(path.join(policies, 'idle.lua'), `${shipped}\n-- theirs\n`);
  await page.getByText('was changed by somebody else meanwhile').waitFor(); // by its event
  assert.strictEqual(await source(page).inputValue(), mine);
  await page.getByRole('button', { name: 'Save and put in force' }).click();
  await page.getByText('It was changed meanwhile', { exact: false }).or(page.getByText('Something else was asked meanwhile', { exact: false })).waitFor();
  assert.strictEqual(fs.readFileSync(path.join(policies, 'idle.lua'), 'utf8'), `${shipped}\n-- theirs\n`);
  await page.getByRole('button', { name: 'Take the new one' }).click();
  assert.strictEqual(await source(page).inputValue(), `${shipped}\n-- theirs\n`);
  assert.deepStrictEqual(page.faults, []);
});

// The server has done what the next save asks, and the page is not told before answer(). -> { saved: a promise of that, answer }
async function holdSave(page) {
  let sent;
  let answer;
  const saved = new Promise((r) => { sent = r; });
  const held = new Promise((r) => { answer = r; });
  await page.route('**/policies/idle.lua', async (route) => {
    if (route.request().method() !== 'PUT') return route.continue();
    const response = await route.fetch();
    sent();
    await held;
    return route.fulfill({ response });
  });
  return { saved, answer };
}

test('a policy is saved while one types on: that is nobody else\'s, and what is typed stays, also over another page', async (t) => {
  const { page, policies } = await start(t, {}, { to: '/dashboard/admin/policies/idle.lua' });
  const shipped = await source(page).inputValue();
  const text = (words) => `${shipped}\n-- ${words}\n`;
  const { saved, answer } = await holdSave(page);
  const told = page.waitForResponse((r) => /\/policies\/idle\.lua$/.test(r.url()) && r.request().method() === 'GET'); // by its event
  await source(page).fill(text('one'));
  await page.getByRole('button', { name: 'Save and put in force' }).click();
  await saved;
  await (await told).finished();
  await source(page).fill(text('two'));
  const alarm = page.getByText('was changed by somebody else meanwhile');
  assert.strictEqual(await alarm.count(), 0, 'while it is being saved');
  answer();
  await page.getByText('Generation 2 is in force.').waitFor();
  await page.getByRole('button', { name: 'Save and put in force' }).waitFor();
  assert.strictEqual(await alarm.count(), 0, 'when it is saved');
  assert.strictEqual(await source(page).inputValue(), text('two'));
  await page.getByRole('button', { name: 'Save and put in force' }).click();
  await page.getByText('Generation 3 is in force.').waitFor();
  assert.strictEqual(fs.readFileSync(path.join(policies, 'idle.lua'), 'utf8'), text('two'));

  await source(page).fill(text('three'));
  await page.getByRole('link', { name: 'Users' }).click();
  await page.getByRole('heading', { name: 'Users' }).waitFor();
  await page.goBack();
  await source(page).waitFor();
  assert.strictEqual(await source(page).inputValue(), text('three'));
  await page.getByRole('link', { name: 'Users' }).click();
  await page.getByRole('heading', { name: 'Users' }).waitFor();
  fs.writeFileSync(path.join(policies, 'idle.lua'), text('theirs'));
  await page.goBack();
  await alarm.waitFor();
  await page.getByRole('button', { name: 'Take the new one' }).click();
  assert.strictEqual(await source(page).inputValue(), text('theirs'));
  assert.deepStrictEqual(page.faults, []);
});

// Bug: who came back before the answer was told that somebody else had changed what he himself had saved.
test('a policy is being saved while one goes to another page and comes back: that is nobody else\'s', async (t) => {
  const { page, policies } = await start(t, {}, { to: '/dashboard/admin/policies/idle.lua' });
  const shipped = await source(page).inputValue();
  const text = (words) => `${shipped}\n-- ${words}\n`;
  const { saved, answer } = await holdSave(page);
  const save = page.getByRole('button', { name: 'Save and put in force' });
  const elsewhere = async () => {
    await page.getByRole('link', { name: 'Users' }).click();
    await page.getByRole('heading', { name: 'Users' }).waitFor();
    await page.goBack();
    await source(page).waitFor();
  };
  await source(page).fill(text('one'));
  await save.click();
  await saved;
  await elsewhere();
  await until(async () => await save.getAttribute('aria-disabled') === 'true', 'what is in force is what was written');
  const alarm = page.getByText('was changed by somebody else meanwhile');
  assert.strictEqual(await alarm.count(), 0);
  assert.strictEqual(await source(page).inputValue(), text('one'));
  await source(page).fill(text('two'));
  answer();
  await page.getByText('Generation 2 is in force.').waitFor();
  assert.strictEqual(await alarm.count(), 0);
  await save.click();
  await page.getByText('Generation 3 is in force.').waitFor();
  assert.strictEqual(fs.readFileSync(path.join(policies, 'idle.lua'), 'utf8'), text('two'));
  await elsewhere();
  assert.strictEqual(await source(page).inputValue(), text('two'));
  assert.strictEqual(await alarm.count(), 0);
  assert.deepStrictEqual(page.faults, []);
});
