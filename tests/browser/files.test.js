// Files of a machine in the page, on a real machine of this host.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const { launch, shot, violations, covered } = require('./browser.js');
const { Workplace, until } = require('./workplace.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

const start = (t, how = {}) => Workplace.start(t, browser, { expected: [/409|412|Failed to load/], ...how });
const row = (page, name) => page.getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) });
const dialog = (page) => page.getByRole('dialog');

test('folders and files are made, uploaded, renamed, downloaded and deleted', async (t) => {
  const w = await start(t);
  const { page } = w;
  await page.goto('/dashboard/files?machine=atlas');
  await page.getByText('Nothing is in this folder').waitFor();
  await page.getByRole('button', { name: 'New folder' }).click();
  await dialog(page).getByLabel('Name').fill('notes & plans');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'notes & plans/' }).click();
  await page.getByText('Nothing is in this folder').waitFor();

  const big = Buffer.alloc(3 << 20, 'x');
  await page.getByLabel('Files to upload').setInputFiles([{ name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('zwölf\n') }, { name: 'big.bin', mimeType: 'application/octet-stream', buffer: big }]);
  await page.getByRole('link', { name: 'big.bin', exact: true }).waitFor();
  await page.getByRole('link', { name: 'a.txt', exact: true }).waitFor();
  assert.strictEqual(await w.sh('cat "/claude-data/notes & plans/a.txt"; stat -c %s "/claude-data/notes & plans/big.bin"'), `zwölf\n${big.length}\n`);

  const data = await page.evaluateHandle(() => {
    const d = new DataTransfer();
    d.items.add(new File(['dropped'], 'drop.txt'));
    return d;
  });
  await page.locator('.files').dispatchEvent('drop', { dataTransfer: data });
  await page.getByRole('link', { name: 'drop.txt', exact: true }).waitFor();
  assert.strictEqual(await w.sh('cat "/claude-data/notes & plans/drop.txt"'), 'dropped');

  const [got] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download a.txt' }).click()]);
  assert.strictEqual(got.suggestedFilename(), 'a.txt');
  assert.strictEqual(fs.readFileSync(await got.path(), 'utf8'), 'zwölf\n');
  const [tar] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download all' }).click()]);
  assert.match(tar.suggestedFilename(), /^notes . plans\.tar$/);
  assert.ok(fs.readFileSync(await tar.path()).includes('dropped'));

  await page.getByRole('button', { name: 'Rename a.txt' }).click();
  await dialog(page).getByLabel('Name').fill('drop.txt');
  await page.keyboard.press('Enter');
  await dialog(page).getByText(/exists/).waitFor();
  await dialog(page).getByLabel('Name').fill('b.txt');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'b.txt', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Delete b.txt' }).click();
  await dialog(page).getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('link', { name: 'b.txt', exact: true }).waitFor({ state: 'detached' });
  await page.getByRole('link', { name: 'claude-data' }).click();
  await page.getByRole('button', { name: 'Delete notes & plans' }).click();
  await dialog(page).getByRole('button', { name: 'Delete' }).click();
  await page.getByText('Nothing is in this folder').waitFor();
  assert.strictEqual(await w.sh('ls /claude-data'), '');
  assert.deepStrictEqual(page.faults, []);
});

test('a text is changed and saved; not over what somebody else has changed meanwhile; what is no text is told', async (t) => {
  const w = await start(t);
  const { page } = w;
  await w.sh('cd /claude-data; echo one > a.txt; head -c 5000 /dev/zero > zero; seq 300000 > long.txt; ln -s /etc/passwd out');
  await page.goto('/dashboard/files?machine=atlas');
  await page.getByRole('link', { name: 'a.txt', exact: true }).click();
  const text = page.getByLabel('Text of /claude-data/a.txt');
  assert.strictEqual(await text.inputValue(), 'one\n');
  assert.deepStrictEqual(await covered(page), []);
  const [box, save] = [await text.boundingBox(), await page.getByRole('button', { name: 'Save' }).boundingBox()];
  assert.ok(save.y >= box.y + box.height, 'the button stands below the text');
  await text.fill('two\n');
  await page.keyboard.press('Control+s');
  await page.getByText('Saved.').waitFor();
  assert.strictEqual(await w.sh('cat /claude-data/a.txt'), 'two\n');
  await text.fill('three\n');
  await page.getByRole('button', { name: 'Save' }).click();
  await until(async () => await w.sh('cat /claude-data/a.txt') === 'three\n', 'once more');

  await text.fill('mine\n');
  await page.getByRole('link', { name: 'claude-data' }).click();
  await page.getByRole('link', { name: 'a.txt', exact: true }).click();
  assert.strictEqual(await text.inputValue(), 'mine\n', 'what was not saved is still there');
  await w.sh('echo theirs > /claude-data/a.txt');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Somebody else has changed this file').waitFor();
  assert.strictEqual(await w.sh('cat /claude-data/a.txt'), 'theirs\n');
  await page.getByRole('button', { name: 'Save over it' }).click();
  await until(async () => await w.sh('cat /claude-data/a.txt') === 'mine\n', 'over it');
  await page.getByText('Somebody else has changed this file').waitFor({ state: 'detached' });

  await page.goto('/dashboard/files?machine=atlas&path=/claude-data/zero&file=1');
  await page.getByText(/Not a text: 5/).waitFor();
  await page.goto('/dashboard/files?machine=atlas&path=/claude-data/long.txt&file=1');
  await page.getByText(/its beginning/).waitFor();
  await page.goto('/dashboard/files?machine=atlas');
  await row(page, 'out').waitFor();
  assert.strictEqual(await page.getByRole('link', { name: 'out', exact: true }).count(), 0, 'what leads out is no link');
  await page.getByRole('button', { name: 'New file' }).click();
  await dialog(page).getByLabel('Name').fill('a.txt');
  await page.keyboard.press('Enter');
  await dialog(page).getByText(/there already/).waitFor();
  assert.strictEqual(await w.sh('cat /claude-data/a.txt'), 'mine\n');
  assert.deepStrictEqual(page.faults, []);
});

test('of many small files only as many were uploaded as one may ask in a minute: they wait their turn, and are listed once', async (t) => {
  const w = await start(t, { expected: [/429/] });
  const { page } = w;
  await page.goto('/dashboard/files?machine=atlas');
  await page.getByText('Nothing is in this folder').waitFor();
  let listings = 0;
  const refused = new Set();
  await page.route('**/files?*', (r) => {
    const at = r.request().url();
    if (r.request().method() === 'GET') listings += 1;
    if (r.request().method() !== 'PUT' || !/f10[0-4]$/.test(at) || refused.has(at)) return r.continue();
    refused.add(at);
    return r.fulfill({ status: 429, headers: { 'Retry-After': '1' }, json: { error: 'rate limit exceeded', code: 'too_many' } });
  });
  const send = (from, n) => page.getByLabel('Files to upload').setInputFiles(Array.from({ length: n }, (_, i) => ({ name: `f${from + i}`, mimeType: 'text/plain', buffer: Buffer.from(`${from + i} `) })));
  const names = (n) => Array.from({ length: n }, (_, i) => `${100 + i} `).join('');
  await send(100, 10); // the first five are told to wait
  await page.getByRole('link', { name: 'f109', exact: true }).waitFor();
  assert.deepStrictEqual([refused.size, listings, await page.getByRole('alert').count()], [5, 1, 0]);
  assert.strictEqual(await w.sh('cat /claude-data/f*'), names(10));
  // With no need to wait it is listed now and then.
  const began = performance.now();
  await send(110, 30);
  await until(async () => await w.sh('cat /claude-data/f*') === names(40), 'all have come');
  await page.getByRole('list', { name: 'Uploads' }).waitFor({ state: 'detached' });
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await page.getByRole('link', { name: 'f139', exact: true }).waitFor();
  const most = 2 + Math.floor((performance.now() - began) / 5000);
  assert.ok(listings <= most, `${listings} listings, ${most} at most`);
  assert.deepStrictEqual(page.faults, []);
});

test('a file whose lines end in CRLF was saved with LF; one of several ends is only shown', async (t) => {
  const w = await start(t);
  const { page } = w;
  await w.sh(`cd /claude-data; printf 'one\\r\\ntwo\\r\\n\\r\\nend' > crlf; printf 'one\\r\\ntwo\\n' > mixed; printf 'one\\rtwo\\r\\n' > lone; printf 'one\\r\\r\\n' > twice`);
  const bytes = (name) => w.sh(`od -An -c /claude-data/${name} | tr -d ' \\n'`);
  const open = (name) => page.goto(`/dashboard/files?machine=atlas&path=/claude-data/${name}&file=1`);
  await open('crlf');
  const text = page.getByLabel('Text of /claude-data/crlf');
  assert.strictEqual(await text.inputValue(), 'one\ntwo\n\nend');
  await page.getByText('15 byte').waitFor();
  await text.press('End');
  await page.keyboard.type(' and');
  await page.keyboard.press('Enter');
  await page.keyboard.type('half');
  // What is not saved is there again, with its ends.
  await page.getByRole('link', { name: 'claude-data' }).click();
  await page.getByRole('link', { name: 'crlf', exact: true }).click();
  assert.strictEqual((await text.inputValue()).replace(/ and\nhalf/, ''), 'one\ntwo\n\nend');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();
  const written = (await text.inputValue()).replace(/\n/g, '\\r\\n').replace(/ /g, '');
  assert.match(written, /and\\r\\nhalf/);
  assert.strictEqual(await bytes('crlf'), written);
  for (const name of ['mixed', 'lone', 'twice']) {
    await open(name);
    await page.getByText('Its lines do not all end in the same way').waitFor();
    assert.strictEqual(await page.getByRole('textbox').count(), 0, name);
  }
  assert.deepStrictEqual(await violations(page), []);
  assert.deepStrictEqual(page.faults, []);
});

test('a file that could not be read once could not be read by "Try again" either', async (t) => {
  const w = await start(t, { expected: [/502/] });
  const { page } = w;
  await w.sh('echo one > /claude-data/a.txt');
  await page.route('**/files/read*', (r) => r.fulfill({ status: 502, json: { error: 'instance agent unavailable', code: 'unavailable' } }), { times: 1 });
  await page.goto('/dashboard/files?machine=atlas&path=/claude-data/a.txt&file=1');
  await page.getByText('Instance agent unavailable.').waitFor();
  await page.getByRole('button', { name: 'Try again' }).click();
  const text = page.getByLabel('Text of /claude-data/a.txt');
  await text.waitFor();
  assert.strictEqual(await text.inputValue(), 'one\n');
  assert.strictEqual(await page.getByRole('alert').count(), 0);
  assert.deepStrictEqual(page.faults, []);
});

test('a folder of 3,000 files is read in pages, and only what is seen is in the page', async (t) => {
  const w = await start(t);
  const { page } = w;
  await w.sh('mkdir /claude-data/many; cd /claude-data/many; for i in $(seq 1000 3999); do : > f$i; done');
  await page.goto('/dashboard/files?machine=atlas&path=/claude-data/many');
  await page.getByRole('link', { name: 'f1000', exact: true }).waitFor();
  assert.ok(await page.getByRole('listitem').count() < 80);
  await until(async () => {
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    return page.getByRole('link', { name: 'f3999', exact: true }).isVisible();
  }, 'the last one');
  assert.ok(await page.getByRole('listitem').count() < 80);
  assert.deepStrictEqual(page.faults, []);
});

for (const size of ['desktop', 'phone']) {
  test(`axe-core finds nothing, at the size of a ${size}`, async (t) => {
    const w = await start(t, { size });
    const { page } = w;
    await w.sh('cd /claude-data; mkdir src docs; echo "int main(void) { return 0; }" > main.c; seq 9000 > numbers.txt; echo "# hello" > README.md');
    await page.goto('/dashboard/files?machine=atlas');
    await page.getByRole('link', { name: 'main.c', exact: true }).waitFor();
    const look = async (name) => {
      assert.deepStrictEqual(await violations(page), []);
      const { wide, room } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth }));
      assert.ok(wide <= room, `${wide} wide in ${room}`);
      await shot(page, `${name}-${size}`);
    };
    await look('files');
    await page.getByRole('link', { name: 'main.c', exact: true }).click();
    await page.getByLabel('Text of /claude-data/main.c').waitFor();
    await look('file');
    assert.deepStrictEqual(page.faults, []);
  });
}
