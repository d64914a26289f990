// What one has used, what it costs and how it is paid, as the page about money shows it.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Stripe } = require('../lib/stripe.js');
const { temp } = require('../lib/cchost.js');
const { Server, launch, open, signIn, until, violations, root } = require('./browser.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

async function start(t, settings = {}, how = {}) {
  const server = await Server.start({ provider: 'mock', policies_dir: path.join(root, 'policies'), ...settings }, null, how);
  t.after(() => server.stop());
  const page = await open(browser, server);
  t.after(() => page.context().close());
  return { server, page };
}

// Prices at which a second is some cents.
function dear(t) {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true }));
  fs.writeFileSync(path.join(dir, 'plans.lua'), `return { kind = "plans", default = "free", currency = "USD", plans = { free = { machines = 1, overage = true } },
    price = { { from = "2026-01-01", hour = { tiny = 123456789, small = 123456789, medium = 123456789, large = 123456789 }, storage = 100 } } }`);
  return dir;
}

const dollars = (text) => Number(text.replace(/[^\d.]/g, ''));

test('usage rises while a machine runs; the chart, its table, the invoice and the books tell it', async (t) => {
  const { server, page } = await start(t, { policies_dir: dear(t) });
  const owner = await server.account('ada@example.org');
  const { body: m } = await server.call('POST', '/instances?wait=20', { name: 'atlas', type: 'small', user_id: owner });
  await page.clock.install();
  await signIn(page, 'ada@example.org', '/dashboard/billing');
  await page.getByRole('heading', { name: 'Plan: free' }).waitFor();
  const usage = page.getByRole('region', { name: /^Used in/ });
  await usage.getByLabel('What is shown').selectOption('Cost');
  await usage.getByText('As a table').click();
  const total = async () => dollars(await usage.getByRole('row', { name: /^In all/ }).locator('td').innerText());
  const first = await total();
  const cost = async () => Number((await server.call('GET', `/billing/usage?user=${owner}`)).body.cost);
  await until(async () => await cost() > first + 0.05, 'it has cost more');
  await page.clock.runFor(61000); // for the page a minute; the server's time is the true one
  await until(async () => await total() > first, 'the table says more');
  assert.ok(await usage.locator('svg rect').evaluateAll((list) => list.some((r) => Number(r.getAttribute('height')) > 1)), 'a bar is there');

  await server.call('POST', `/instances/${m.id}/stop?wait=20`);
  await page.getByRole('list', { name: 'Entries of the books' }).getByText('usage, atlas, small').first().waitFor();
  await page.reload();
  const invoice = page.getByRole('region', { name: 'The invoice' });
  await invoice.getByText(/atlas, small, .* at 123\.456789 an hour/).first().waitFor();
  const billed = (await server.call('GET', `/billing/invoices/preview?user=${owner}`)).body;
  const shown = dollars(await invoice.getByRole('row', { name: /^Total/ }).locator('td').innerText());
  assert.ok(Math.abs(shown - Number(billed.total)) < 0.01, `${shown} is ${billed.total}`);

  const saved = page.waitForEvent('download');
  await page.getByRole('button', { name: /^Save the signed receipt/ }).click();
  const receipt = fs.readFileSync(await (await saved).path(), 'utf8');
  assert.strictEqual(JSON.parse(Buffer.from(receipt.split('.')[1], 'base64url')).account, owner);
  await page.getByText('Nobody pays on this server').waitFor();
  assert.deepStrictEqual(await violations(page), []);
  assert.deepStrictEqual(page.faults, []);
});

test('the page asks once a minute while something runs and it is seen, and not at all when it is hidden', async (t) => {
  const { server, page } = await start(t);
  const owner = await server.account('ada@example.org', 'pro');
  await server.call('POST', '/instances?wait=20', { name: 'atlas', type: 'small', user_id: owner });
  await page.clock.install();
  let asked = 0;
  page.on('request', (r) => { if (new URL(r.url()).pathname === '/billing/usage') asked += 1; });
  await signIn(page, 'ada@example.org', '/dashboard/billing');
  await page.getByRole('heading', { name: 'Plan: pro' }).waitFor();
  const hide = (is) => page.evaluate((hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }, is);
  await page.clock.runFor(10000); // what events have caused is over
  const first = asked;
  await page.clock.runFor(61000);
  await until(() => asked > first, 'it asks again');
  await hide(true);
  const before = asked;
  for (let i = 0; i < 5; i++) await page.clock.runFor(61000);
  assert.strictEqual(asked, before, 'hidden, it asks for nothing');
  await hide(false);
  await page.clock.runFor(61000);
  await until(() => asked > before, 'seen again, it asks again');
  assert.deepStrictEqual(page.faults, []);
});

test('Stripe sends back to the dashboard of one who is signed out: he is told after he has signed in', async (t) => {
  const { page, server } = await start(t);
  await page.goto('/dashboard?checkout=success');
  await page.waitForURL('**/auth/login');
  await page.getByLabel('Email address').fill('ada@example.org');
  await page.getByRole('button', { name: 'Send me a link' }).click();
  await page.getByText('Paid: thank you.').waitFor();
  assert.strictEqual(page.url(), `${server.url}/dashboard/billing`);
  await page.goto('/dashboard?checkout=%3Cb%3E');
  await page.getByRole('heading', { name: 'Billing' }).waitFor();
  await page.waitForURL(`${server.url}/dashboard/billing`);
  assert.strictEqual(await page.locator('main').getByText('<b>').count(), 0);
  assert.deepStrictEqual(page.faults.filter((f) => !/401 .*\/auth\/me$/.test(f)), []);
});

test('the month is chosen, and what it would have come to under another plan', async (t) => {
  const { server, page } = await start(t);
  const owner = await server.account('ada@example.org', 'pro');
  await server.call('POST', '/instances?wait=20', { name: 'atlas', type: 'small', user_id: owner });
  await signIn(page, 'ada@example.org', '/dashboard/billing');
  const invoice = page.getByRole('region', { name: /^Invoice/ });
  await invoice.getByLabel('Under which plan').selectOption('starter');
  await invoice.getByText('What the same use would have come to under starter.').waitFor();
  await invoice.getByText(/plan starter/).waitFor();
  const months = await page.getByLabel('Month').locator('option').evaluateAll((l) => l.map((o) => o.value));
  assert.deepStrictEqual(months, [new Date().toISOString().slice(0, 7)], 'none before the account was made');
  assert.deepStrictEqual(page.faults, []);
});

test('an invoice of a former choice is not shown as that of this one, neither while it is waited for nor when it comes late', async (t) => {
  const { server, page } = await start(t);
  const owner = await server.account('ada@example.org', 'pro');
  await server.call('POST', '/instances?wait=20', { name: 'atlas', type: 'small', user_id: owner });
  const held = {};
  const hold = (plan) => new Promise((give) => { held[plan] = give; });
  await page.route('**/billing/invoices/preview?*', async (route) => {
    const response = await route.fetch();
    await waiting[new URL(route.request().url()).searchParams.get('plan') ?? ''];
    await route.fulfill({ response });
  });
  const waiting = { starter: hold('starter') };
  await signIn(page, 'ada@example.org', '/dashboard/billing');
  const card = page.getByRole('region', { name: /^Invoice/ });
  const choice = card.getByLabel('Under which plan');
  const shown = card.getByRole('region', { name: 'The invoice' });
  await shown.getByText(/plan pro/).waitFor();
  await choice.selectOption('starter');
  await card.getByText('What the same use would have come to under starter.').waitFor();
  assert.strictEqual(await shown.count(), 0, 'the invoice of now does not stand under that plan');
  held.starter();
  await shown.getByText(/plan starter/).waitFor();

  waiting[''] = hold('');
  const asked = page.waitForRequest((r) => /preview\?month=[\d-]+$/.test(r.url()));
  await choice.selectOption('');
  const late = await asked;
  await choice.selectOption('starter');
  await shown.getByText(/plan starter/).waitFor();
  held['']();
  await (await late.response()).finished();
  await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
  assert.match(await shown.innerText(), /plan starter/);
  assert.doesNotMatch(await shown.innerText(), /plan pro/);
  assert.deepStrictEqual(page.faults, []);
});

test('of a burst of entries in the books none is left out', async (t) => {
  const { server, page } = await start(t);
  const owner = await server.account('ada@example.org', 'pro');
  const { body: m } = await server.call('POST', '/instances?wait=20', { name: 'atlas', type: 'small', user_id: owner });
  let newest = 30;
  const entry = (seq) => ({ seq, id: String(seq), type: 'adjustment', at: '2026-01-01T00:00:00Z', by: 'operator', reason: `number ${seq}.`, postings: [] });
  await page.route('**/billing/ledger?*', (r) => {
    const query = new URL(r.request().url()).searchParams;
    const limit = Number(query.get('limit'));
    const from = Number(query.get('after') ?? newest + 1) - 1;
    const end = Math.max(0, from - limit);
    return r.fulfill({
      json: Array.from({ length: from - end }, (_, i) => entry(from - i)),
      headers: end ? { Link: `</billing/ledger?limit=${limit}&after=${end + 1}>; rel="next"` } : {},
    });
  });
  await signIn(page, 'ada@example.org', '/dashboard/billing');
  const rows = page.getByRole('list', { name: 'Entries of the books' }).getByRole('listitem');
  await rows.filter({ hasText: 'number 30.' }).waitFor();
  newest = 300;
  await server.call('POST', `/instances/${m.id}/stop?wait=20`); // an entry of its use
  await rows.filter({ hasText: 'number 300.' }).waitFor();
  const last = rows.filter({ hasText: 'number 1.' });
  await until(async () => {
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    return await last.count();
  }, 'the first one of all');
  assert.strictEqual(await last.getAttribute('aria-setsize'), '300');
  newest = 310;
  await server.call('POST', `/instances/${m.id}/start?wait=20`);
  await server.call('POST', `/instances/${m.id}/stop?wait=20`);
  await until(async () => await rows.first().getAttribute('aria-setsize') === '310', 'those that follow are put before them');
  assert.deepStrictEqual(page.faults, []);
});

test('Stripe: a plan is taken, credit is bought, and the portal is opened, each on its page', { skip: Stripe.missing() }, async (t) => {
  const stripe = await Stripe.start();
  const { server, page } = await start(t, {}, { env: stripe.env });
  t.after(() => stripe.stop());
  stripe.hooks.url = `${server.url}/billing/webhook`;
  await page.context().route(/^https:\/\/[a-z]+\.stripe\.com\//, (r) => r.fulfill({ contentType: 'text/html', body: '<title>Stripe</title>' }));
  await signIn(page, 'ada@example.org', '/dashboard/billing');
  await page.getByRole('button', { name: 'Invoices and payment at Stripe' }).click();
  await page.getByText('There is nothing at Stripe yet: you have not paid here.').waitFor();
  assert.deepStrictEqual(page.faults.splice(0).filter((f) => !/400.*billing\/portal/.test(f)), []);

  const field = page.getByLabel('Buy credit (USD)');
  await field.fill('a lot');
  await page.getByRole('button', { name: 'Pay at Stripe' }).click();
  await page.locator('.wrong').waitFor();
  assert.strictEqual(await field.getAttribute('aria-invalid'), 'true');
  assert.deepStrictEqual(page.faults.splice(0).filter((f) => !/400.*billing\/checkout/.test(f)), []);
  await field.fill('12.50');
  await page.getByRole('button', { name: 'Pay at Stripe' }).click();
  await page.waitForURL(/^https:\/\/checkout\.stripe\.com\//);
  const credit = [...stripe.world.sessions.values()].at(-1);
  assert.deepStrictEqual([credit.mode, credit.amount_total], ['payment', 1250]);

  await page.goto('/dashboard/billing');
  await page.getByRole('button', { name: 'Change to starter' }).click();
  await page.waitForURL(/^https:\/\/checkout\.stripe\.com\//);
  const session = [...stripe.world.sessions.values()].at(-1);
  await page.goto(session.cancel_url);
  await page.getByText('Cancelled: you left Stripe’s page before you paid').waitFor();
  await page.getByRole('heading', { name: 'Plan: free' }).waitFor();
  assert.strictEqual(page.url(), `${server.url}/dashboard/billing`, 'the address is clean');
  await page.goto(session.success_url);
  await page.getByText('Paid: thank you.').waitFor();
  assert.strictEqual(page.url(), `${server.url}/dashboard/billing`);
  stripe.world.pay(session);
  await stripe.hooks.deliverAll();
  await until(async () => (await server.call('GET', '/users/ada@example.org')).body.plan === 'starter', 'the plan is his');
  await page.getByRole('heading', { name: 'Plan: starter' }).waitFor(); // by events: nothing is loaded again

  await page.reload();
  await page.getByRole('heading', { name: 'Plan: starter' }).waitFor();
  assert.strictEqual(await page.getByText('Paid: thank you.').count(), 0, 'it is said once');
  await page.getByText('subscription active').waitFor();
  assert.strictEqual(await page.getByRole('button', { name: /^Change to/ }).count(), 0, 'who has a subscription changes it at Stripe');
  assert.deepStrictEqual(await violations(page), []);
  await page.getByRole('button', { name: 'Invoices and payment at Stripe' }).click();
  await page.waitForURL(/^https:\/\/billing\.stripe\.com\//);
  assert.deepStrictEqual(page.faults.filter((f) => !/^asks https:\/\/[a-z]+\.stripe\.com\//.test(f)), []);
});
