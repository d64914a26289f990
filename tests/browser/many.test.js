// Lists of 10,000: what is in the page stays small, scrolling and searching stay quick, and a burst of events asks little.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Server, launch, open, signIn, until, violations } = require('./browser.js');

const N = 10000;
const at = (i) => new Date(Date.UTC(2026, 0, 1) + i * 60000).toISOString();

// A machine's record as the API has it, of one that was really made.
const like = (model, i) => ({
  ...model, id: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`, short: String(i).padStart(12, '0'), name: `machine-${i}`,
  created_at: at(i), status: i % 3 ? 'STOPPED' : 'RUNNING', idle: undefined, version: 1,
});

test('10,000 machines, 10,000 events', async (t) => {
  const server = await Server.start({ provider: 'mock' });
  const browser = await launch();
  t.after(async () => { await browser.close(); await server.stop(); });
  const { body: model } = await server.call('POST', '/instances?wait=20', { name: 'model', user_id: await server.account('ada@example.org') });
  const page = await open(browser, server);
  await signIn(page);
  await page.getByRole('link', { name: 'model', exact: true }).waitFor();

  // Its pages as the server cuts them: to make so many in truth would take minutes.
  const all = Array.from({ length: N }, (_, i) => like(model, i));
  await page.route('**/instances?*', (r) => {
    const query = new URL(r.request().url()).searchParams;
    const from = Number(query.get('after') ?? 0);
    const limit = Number(query.get('limit'));
    const more = from + limit < N ? { Link: `</instances?limit=${limit}&after=${from + limit}>; rel="next"` } : {};
    return r.fulfill({ json: all.slice(from, from + limit), headers: more });
  });
  const [first] = all;
  const events = Array.from({ length: N }, (_, i) => ({ seq: N - i, at: at(N - i), kind: 'instance', id: first.id, type: 'stopped', by: 'system', data: null }));
  await page.route(`**/instances/${first.id}/events?*`, (r) => {
    const query = new URL(r.request().url()).searchParams;
    const from = Number(query.get('after') ?? 0);
    const more = from + 100 < N ? { Link: `</instances/${first.id}/events?limit=100&after=${from + 100}&order=newest>; rel="next"` } : {};
    return r.fulfill({ json: events.slice(from, from + 100), headers: more });
  });

  const begun = Date.now();
  await page.reload();
  await page.getByRole('link', { name: `machine-${N - 1}`, exact: true }).waitFor();
  t.diagnostic(`10,000 machines shown ${Date.now() - begun} ms after the page was asked for`);
  const rows = page.getByRole('list', { name: 'Machines' }).getByRole('listitem');
  assert.ok(await rows.count() < 60, `${await rows.count()} rows in the page`);
  assert.strictEqual(await rows.first().getAttribute('aria-setsize'), String(N));
  assert.deepStrictEqual(await violations(page), []);

  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await page.getByRole('link', { name: 'machine-0', exact: true }).waitFor();
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight / 2));
  await page.getByRole('link', { name: `machine-${N / 2}`, exact: true }).waitFor();
  assert.ok(await rows.count() < 60);
  const seconds = await page.evaluate(async () => { // a run through the whole list, frame by frame
    const t0 = performance.now();
    for (let i = 0; i <= 60; i++) {
      scrollTo(0, document.documentElement.scrollHeight * i / 60);
      await new Promise(requestAnimationFrame);
    }
    return (performance.now() - t0) / 1000;
  });
  t.diagnostic(`61 frames over the whole list in ${seconds.toFixed(2)} s`);

  await page.evaluate(() => scrollTo(0, 0));
  await page.getByLabel('Find').fill('machine-77');
  await page.getByText(`111 of ${N}`).waitFor();
  await page.getByLabel('Find').fill('machine-7777');
  await page.getByText(`1 of ${N}`).waitFor();
  assert.strictEqual(await rows.count(), 1);

  await page.goto(`/dashboard/machines/${first.short}`);
  const entries = page.getByRole('list', { name: 'Events' }).getByRole('listitem');
  await entries.first().waitFor();
  let last = 0;
  for (let i = 0; i < 3; i++) { // the next pages come as the end comes into view
    await page.waitForFunction((n) => Number(document.querySelector('[aria-label="Events"] [aria-setsize]').getAttribute('aria-setsize')) > n, last);
    last = Number(await entries.first().getAttribute('aria-setsize'));
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  }
  assert.ok(last >= 300, `${last} entries`);
  assert.ok(await entries.count() < 60);
  assert.deepStrictEqual(page.faults, []);
});

test('a burst of changes asks little, however many there are', async (t) => {
  const server = await Server.start({ provider: 'mock', rate_limit_api: 60, quota_instances: 100 });
  const browser = await launch();
  t.after(async () => { await browser.close(); await server.stop(); });
  const owner = await server.account('ada@example.org');
  const page = await open(browser, server);
  await signIn(page);
  await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
  const asked = [];
  page.on('request', (r) => { if (/\/(instances|billing)/.test(r.url())) asked.push(r.url()); });
  const names = Array.from({ length: 40 }, (_, i) => `burst-${i}`);
  for (const name of names) assert.strictEqual((await server.call('POST', '/instances', { name, user_id: owner })).status, 201, 'by the operator');
  const made = names.length;
  await page.getByText(`${made} machines`).waitFor();
  await page.getByRole('list', { name: 'Machines' }).getByText('Running', { exact: true }).nth(made - 1).waitFor();
  await until(() => asked.some((u) => /instances/.test(u)), 'what events leave open is asked');
  t.diagnostic(`${made} machines made and running: ${asked.length} requests`);
  assert.ok(asked.length <= 4, asked.join(' '));
  assert.deepStrictEqual(page.faults, []);
});
