// What happens, as the page of activity shows it: by itself, of one machine, and why a policy stopped it.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { temp } = require('../lib/cchost.js');
const { Server, launch, open, signIn, until, violations } = require('./browser.js');

const idle = `local P = { kind = "idle", name = "short", version = 1 }
function P.decide(m, now)
  local unused = now - m.last_activity_at
  if unused >= 4 and m.name == "sleeper" then return "stop", "unused for " .. unused .. " s" end
  return "keep", "in use"
end
function P.lease(r) return math.min(r.ttl, 3600), "an hour" end
return P
`;

let server;
let browser;
let policies;
let owner;
test.before(async () => {
  policies = temp();
  fs.writeFileSync(path.join(policies, 'idle.lua'), idle);
  server = await Server.start({ provider: 'mock', policies_dir: policies, activity_check_interval: 1, quota_instances: 0 });
  browser = await launch();
  owner = await server.account('ada@example.org', 'pro');
});
test.after(async () => {
  await browser.close();
  await server.stop();
  fs.rmSync(policies, { recursive: true });
});

async function look(t, to, options) {
  const page = await open(browser, server, options);
  t.after(() => page.context().close());
  await signIn(page, 'ada@example.org', to);
  return page;
}

test('events come by themselves, on the one stream of the page, and those of others do not', async (t) => {
  const page = await look(t, '/dashboard/activity');
  await page.getByText('Live', { exact: true }).waitFor();
  const streams = [];
  page.on('request', (r) => { if (/\/events/.test(r.url()) && r.headers().accept === 'text/event-stream') streams.push(r.url()); });
  await page.reload();
  await page.getByText('Live', { exact: true }).waitFor();
  await server.call('POST', '/instances?wait=10', { name: 'theirs', user_id: await server.account('bob@example.org', 'pro') });
  const { body: m } = await server.call('POST', '/instances?wait=10', { name: 'atlas', user_id: owner });
  const events = page.getByRole('list', { name: 'Events' }).getByRole('listitem');
  await events.filter({ hasText: 'atlas' }).filter({ hasText: 'running' }).waitFor();
  assert.strictEqual(await events.filter({ hasText: 'theirs' }).count(), 0);
  await page.getByLabel('About').selectOption('The books');
  await events.filter({ hasText: 'ledger' }).first().waitFor();
  await until(async () => await events.filter({ hasText: 'atlas' }).count() === 0, 'only those of the books are left');
  await page.getByLabel('About').selectOption('Everything');
  await server.call('POST', `/instances/${m.id}/stop?wait=10`);
  await events.filter({ hasText: 'atlas' }).filter({ hasText: 'stopped' }).waitFor();
  assert.strictEqual(streams.length, 1, streams.join(' '));
  assert.deepStrictEqual(page.faults, []);
});

// Bug: what happened between the making of the first page and its coming was never shown.
test('what comes while the first page is on its way is shown', async (t) => {
  const page = await look(t, '/dashboard/activity');
  await page.getByText('Live', { exact: true }).waitFor();
  let answer;
  const held = new Promise((r) => { answer = r; });
  await page.route(/\/events\?.*kind=instance/, async (route) => {
    const response = await route.fetch(); // made now
    await held;
    await route.fulfill({ response });
  });
  const asked = page.waitForRequest(/\/events\?.*kind=instance/);
  await page.getByLabel('About').selectOption('Machines');
  await asked;
  await server.call('POST', '/instances?wait=10', { name: 'meanwhile', user_id: owner });
  await page.locator('datalist option[value="meanwhile"]').waitFor({ state: 'attached' }); // by the same events
  answer();
  await page.getByRole('list', { name: 'Events' }).getByRole('listitem').filter({ hasText: 'meanwhile' }).filter({ hasText: 'running' }).waitFor();
});

// Bug: the error of a first page that could not be had stood over the list that came by itself later.
test('a list that was opened while the server was away comes with the stream, and the error goes', async (t) => {
  await server.call('POST', '/instances?wait=10', { name: 'there', user_id: owner });
  const page = await look(t, '/dashboard', { expected: [/net::ERR_FAILED/] });
  await page.getByRole('heading', { name: 'Machines' }).waitFor();
  const away = /\/events(\?|$)/;
  await page.route(away, (route) => route.abort());
  await page.goto('/dashboard/activity');
  const error = page.getByRole('alert').filter({ hasText: 'could not be reached' });
  await error.waitFor();
  await page.unroute(away);
  await page.getByRole('list', { name: 'Events' }).getByRole('listitem').filter({ hasText: 'there' }).first().waitFor();
  await error.waitFor({ state: 'detached' });
  assert.deepStrictEqual(page.faults, []);
});

const hide = (page, is) => page.evaluate((hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}, is);

test('what comes while the page is hidden is there when it is seen, also where it had heard nothing before', async (t) => {
  const quiet = await Server.start({ provider: 'mock' });
  t.after(() => quiet.stop());
  const user = await quiet.account('ada@example.org', 'pro');
  const { body: m } = await quiet.call('POST', '/instances?wait=10', { name: 'atlas', user_id: user });
  const page = await open(browser, quiet);
  t.after(() => page.context().close());
  await signIn(page, 'ada@example.org', '/dashboard/activity');
  const rows = page.getByRole('list', { name: 'Events' }).getByRole('listitem');
  const unseen = async (work) => {
    await rows.first().waitFor();
    await hide(page, true);
    await work();
    await hide(page, false);
  };
  await page.getByText('Live', { exact: true }).waitFor();
  await unseen(() => quiet.call('POST', '/instances?wait=10', { name: 'unseen', user_id: user }));
  await rows.filter({ hasText: 'unseen' }).filter({ hasText: 'running' }).waitFor();
  assert.strictEqual(new Set(await rows.allInnerTexts()).size, await rows.count(), 'each is there once');

  await page.goto('/dashboard/machines/atlas');
  await rows.filter({ hasText: 'running' }).waitFor();
  await unseen(() => quiet.call('POST', `/instances/${m.id}/stop?wait=10`));
  await rows.filter({ hasText: 'stopped' }).waitFor();
  assert.deepStrictEqual(page.faults, []);
});

// Bug: each renewal gave up the one before it, so where they are wanted faster than they are answered none ever came.
test('a list that is wanted anew before its answer is there takes that answer, and asks again after it', async (t) => {
  const quiet = await Server.start({ provider: 'mock' });
  t.after(() => quiet.stop());
  const page = await open(browser, quiet);
  t.after(() => page.context().close());
  await signIn(page);
  let asked = 0;
  const answers = [];
  const held = Array.from({ length: 3 }, () => new Promise((answer) => { answers.push(answer); }));
  await page.route(/\/events\?.*order=newest/, async (route) => {
    const n = ++asked;
    await held[n - 1]; // after the third one at once
    const entry = (seq) => ({ seq, at: '2026-01-01T00:00:00Z', kind: 'volume', id: String(seq), type: `number_${seq}.`, by: 'system', data: null });
    await route.fulfill({ json: Array.from({ length: n }, (_, i) => entry(n - i)) });
  });
  await page.goto('/dashboard/activity');
  const rows = page.getByRole('list', { name: 'Events' }).getByRole('listitem');
  const live = (is) => page.getByText(is ? 'Live' : 'Not live', { exact: true }).waitFor();
  await live(true);
  for (let n = 1; n <= held.length; n++) {
    await until(() => asked >= n, `it is asked, ${n}`);
    await hide(page, true);
    await live(false);
    await hide(page, false);
    await live(true); // it has heard nothing before, so it wants the list anew
    answers[n - 1]();
    await rows.filter({ hasText: `number ${n}.` }).waitFor();
  }
  await rows.filter({ hasText: 'number 4.' }).waitFor();
  assert.strictEqual(asked, 4);
  assert.deepStrictEqual(page.faults, []);
});

test('why it was stopped: the sentence, what would have kept it up, and the line that decided', async (t) => {
  const { body: m } = await server.call('POST', '/instances?wait=10', { name: 'sleeper', user_id: owner });
  await until(async () => (await server.status(m.id)) === 'STOPPED', 'its policy stops it', 60);
  const told = (await server.call('GET', `/instances/${m.id}/decisions?at=stop`)).body;
  for (const size of ['desktop', 'phone']) {
    const page = await look(t, '/dashboard/activity', { size });
    const box = page.getByLabel('Machine');
    await box.fill('sleeper');
    const why = page.getByRole('region', { name: 'Why was sleeper stopped?' });
    await why.getByText(`It ${told.text}.`).waitFor();
    assert.match(await why.innerText(), /Unused for \d+ s\./);
    await why.getByText('idle.lua:4').waitFor();
    await why.getByText('if unused >= 4 and m.name').waitFor();
    await why.getByText('What it was told').click();
    await why.getByRole('row', { name: /^last activity at .* yes$/ }).waitFor();
    assert.strictEqual(new URL(page.url()).search, `?machine=${m.short}`);
    const events = page.getByRole('list', { name: 'Events' }).getByRole('listitem');
    await events.first().waitFor();
    assert.strictEqual(await events.filter({ hasNotText: 'sleeper' }).count(), 0);
    assert.deepStrictEqual(await violations(page), [], size);

    await page.getByRole('button', { name: /^Why: sleeper stopping/ }).click();
    const dialog = page.getByRole('dialog', { name: 'Why: sleeper, stopping' });
    await dialog.getByText(`It ${told.text}.`).waitFor();
    assert.deepStrictEqual(await violations(page), [], `${size}, the dialog`);
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await box.fill('');
    await events.filter({ hasNotText: 'sleeper' }).first().waitFor();
    assert.strictEqual(await why.count(), 0);
    assert.deepStrictEqual(page.faults, []);
  }

  const page = await look(t, `/dashboard/activity?machine=${m.short}`);
  await page.getByRole('region', { name: 'Why was sleeper stopped?' }).getByText(`It ${told.text}.`).waitFor();
  await server.call('POST', `/instances/${m.id}/start?wait=10`);
  await page.getByRole('region', { name: 'Why was sleeper stopped?' }).waitFor({ state: 'detached' });
  assert.deepStrictEqual(page.faults, []);
});
