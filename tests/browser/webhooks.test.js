// The card of webhooks in the settings, with a receiver that is there and one that fails.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Server, launch, open, signIn, violations, until, sizes } = require('./browser.js');
const { Receiver, verify } = require('../lib/receiver.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

async function start(t, answer, size) {
  const receiver = await Receiver.start(answer);
  t.after(() => receiver.stop());
  const server = await Server.start({ provider: 'mock' });
  t.after(() => server.stop());
  const page = await open(browser, server, { size, expected: [/status of 400/] });
  t.after(() => page.context().close());
  await signIn(page);
  await page.goto('/dashboard/settings');
  const card = page.getByRole('region', { name: 'Webhooks', exact: true });
  await card.getByRole('button', { name: 'Add a webhook' }).waitFor();
  return { receiver, server, page, card };
}

async function add(card, url, events = '') {
  await card.getByLabel('URL').fill(url);
  await card.getByLabel('Events', { exact: true }).fill(events);
  await card.getByRole('button', { name: 'Add a webhook' }).click();
}

test('one is made, tested, given a new secret, disabled, and removed', async (t) => {
  const { receiver, page, card } = await start(t);
  await add(card, 'http://example.org/');
  await card.locator('.wrong').filter({ hasText: 'https expected' }).waitFor();
  await add(card, receiver.url, 'instance, user.changed');
  const secret = await card.getByLabel('the secret', { exact: true }).textContent();
  const line = card.getByRole('listitem').filter({ hasText: receiver.url }).first();
  await line.getByText('instance, user.changed; on').waitFor();
  await line.getByRole('button', { name: /^Deliveries/ }).click();
  await line.getByText('Nothing was sent yet.').waitFor();
  await line.getByRole('button', { name: /^Send a test/ }).click();
  await line.getByText(/answered 204, \d+ ms/).waitFor();
  assert.ok(verify(secret, receiver.got[0].headers, receiver.got[0].text));

  await line.getByRole('button', { name: /^New secret/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Make it' }).click();
  await until(async () => (await card.getByLabel('the secret', { exact: true }).textContent()) !== secret, 'another secret');
  await line.getByRole('button', { name: /^Disable/ }).click();
  await line.getByText('instance, user.changed; off').waitFor();
  await line.getByRole('button', { name: /^Enable/ }).click();
  await line.getByText('instance, user.changed; on').waitFor();
  await line.getByRole('button', { name: /^Remove/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await card.getByText(receiver.url, { exact: true }).waitFor({ state: 'detached' });
  assert.deepStrictEqual(page.faults, []);
});

for (const size of Object.keys(sizes)) {
  test(`axe-core finds nothing, and nothing is wider than the window, at the size of a ${size}`, async (t) => {
    const { receiver, page, card } = await start(t, (res) => res.writeHead(410).end('no more'), size);
    await add(card, `${receiver.url}?${'long'.repeat(60)}`);
    await until(() => receiver.got.length > 0, 'it was asked');
    await until(async () => {
      await page.reload();
      await card.getByRole('button', { name: 'Add a webhook' }).waitFor();
      return (await card.getByText(/off: the receiver answered 410/).count()) > 0;
    }, 'it is told why it is off');
    await card.getByRole('button', { name: /^Deliveries/ }).click();
    await card.getByText(/it answered 410, \d+ ms/).waitFor();
    assert.deepStrictEqual(await violations(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the window');
  });
}
