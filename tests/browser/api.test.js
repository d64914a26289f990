// The page that shows the API: all routes, found by their words, and what is said of one, down to the fields of a machine.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Server, launch, open, violations } = require('./browser.js');
const { Description } = require('../lib/openapi.js');

test('every route is there, is found, and opens down to its fields', async (t) => {
  const server = await Server.start({ provider: 'mock' });
  const browser = await launch();
  t.after(async () => { await browser.close(); await server.stop(); });
  const { operations } = Description.read();
  const page = await open(browser, server);
  await page.goto('/docs/api');
  await page.getByText(`${operations.length} routes`).waitFor();
  assert.strictEqual(await page.locator('.operation').count(), operations.length);

  await page.getByLabel('Find a route').fill('post /instances machine');
  const row = page.locator('#postInstances');
  await row.locator('summary').first().click();
  await row.getByRole('heading', { name: 'Answers' }).waitFor();
  await row.getByText('application/json: Machine').waitFor();
  await row.getByText('last_activity_at', { exact: true }).waitFor();
  await row.getByText('Idle', { exact: true }).click();
  await row.getByText('stops_at', { exact: true }).waitFor();
  assert.match(await row.locator('.copy code').textContent(), /^curl -X POST -H "Authorization: Bearer \$TOKEN" -d '\{.*"name":"api".*\}' 'http:\/\/.*\/instances'$/);
  assert.deepStrictEqual(await violations(page), []);

  await page.getByLabel('Find a route').fill('nothing has these words');
  await page.getByText('0 routes').waitFor();
  assert.strictEqual(await page.locator('.operation').count(), 0);
});
