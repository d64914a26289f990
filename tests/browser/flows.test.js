// What people do, from the mail to the last machine: before a real server, with machines of the provider mock.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const http = require('node:http');
const path = require('node:path');
const { MailServer } = require('../lib/smtp.js');
const { Server, launch, open, signIn, until, root } = require('./browser.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

// A server with shipped policies, where signing in is by mail.
async function posting(t) {
  const mail = await MailServer.start({ tls: 'none' });
  const server = await Server.start({
    provider: 'mock', dev_login: 'off', smtp_host: '127.0.0.1', smtp_port: mail.port, smtp_from: 'cchost@example.org', smtp_tls: 'none',
    policies_dir: path.join(root, 'policies'),
  });
  t.after(async () => { await server.stop(); await mail.stop(); });
  return { mail, server };
}

async function start(t, settings = {}, expected = []) {
  const server = await Server.start({ provider: 'mock', ...settings });
  t.after(() => server.stop());
  const page = await open(browser, server, { expected });
  t.after(() => page.context().close());
  return { server, page };
}

const row = (page, name) => page.getByRole('listitem').filter({ has: page.getByRole('link', { name, exact: true }) });

// What the page has asked, and has no answer to yet; but for the stream of what happens, which has no end.
function underWay(page) {
  const all = new Set();
  page.on('request', (r) => { if (!/\/events$/.test(r.url())) all.add(r); });
  for (const end of ['requestfinished', 'requestfailed']) page.on(end, (r) => all.delete(r));
  return all;
}

// Every session of who is signed in on the page ends, as from elsewhere: it is not told.
async function endSession(server, page) {
  const { value } = (await page.context().cookies()).find((c) => c.name === 'session');
  const r = await server.call('DELETE', '/auth/sessions', undefined, { 'X-API-Key': undefined, Authorization: `Bearer ${value}` });
  assert.strictEqual(r.status, 204, r.text);
}

function signal() {
  let give;
  const given = new Promise((r) => { give = r; });
  return { given, give };
}

// The link in a mail, whose lines are wrapped as quoted-printable.
const linkOf = (m) => /https?:\/\/\S+\/auth\/verify\?token=[\w.-]+/.exec(m.data.toString().replace(/=\r?\n/g, '').replace(/=3D/g, '='))[0];

test('sign in by the mailed link, back to where one wanted to go, and out again', async (t) => {
  const { mail, server } = await posting(t);
  const page = await open(browser, server, { expected: [/401/] });
  await page.goto('/dashboard/settings?from=here');
  await page.waitForURL('**/auth/login');
  await page.getByLabel('Email address').fill('ada@example.org');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Check your email' }).waitFor();
  const tab = await page.context().newPage(); // a mail program opens another one
  const url = new URL(linkOf(await mail.next()));
  await tab.goto(url.pathname + url.search);
  await tab.getByText('ada@example.org').waitFor();
  await tab.getByRole('button', { name: 'Sign in' }).click();
  await tab.waitForURL('**/dashboard/settings?from=here');
  await tab.getByRole('heading', { name: 'Settings' }).waitFor();
  assert.strictEqual(await tab.title(), 'Settings · cchost');

  await tab.getByRole('button', { name: 'Sign out' }).click();
  await tab.waitForURL('**/auth/login');
  const cookies = await page.context().cookies();
  assert.deepStrictEqual(cookies.filter((c) => c.name === 'session' && c.value), []);
  await tab.goto(url.pathname + url.search);
  await tab.getByText('invalid or expired').waitFor();
  await tab.getByRole('link', { name: 'new link' }).click();
  await tab.getByLabel('Email address').waitFor();
  assert.deepStrictEqual(page.faults, []);
  await page.context().close();
});

test('no address can say where a sign-in leads', async (t) => {
  const { page } = await start(t, {}, [/401/]);
  for (const said of ['//evil.example/', 'https://evil.example/', '/dashboardx', '/\\evil.example', 'javascript:alert(1)']) {
    await page.goto('/auth/login?next=' + encodeURIComponent(said));
    await page.evaluate((where) => localStorage.setItem('cchost.wanted', JSON.stringify({ path: where, at: Date.now() })), said);
    await page.getByLabel('Email address').fill('ada@example.org');
    await page.getByRole('button', { name: 'Send me a link' }).click();
    await page.getByRole('heading', { name: 'Machines' }).waitFor();
    assert.strictEqual(new URL(page.url()).pathname, '/dashboard', said);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL('**/auth/login');
  }
});

test('make a machine with its price before one\'s eyes, pause, wake and delete it: by keyboard alone', async (t) => {
  const { server, page } = await start(t, { policies_dir: path.join(root, 'policies') });
  await signIn(page);
  const press = async (name, role = 'button') => {
    const target = page.getByRole(role, { name }).first();
    await target.focus();
    await page.keyboard.press('Enter');
  };
  await press('Make your first machine', 'link');
  await page.getByLabel('Name').focus();
  await page.keyboard.type('atlas');
  await page.getByRole('radio', { name: /^small/ }).focus();
  await page.getByText('$0.04 an hour while it runs').waitFor();
  await page.keyboard.press('ArrowDown');
  await page.getByText('$0.08 an hour while it runs').waitFor();
  await page.getByLabel('Name').focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'atlas' }).waitFor();
  await page.getByText('In use; if nothing else happens it stops at').waitFor();
  const [made] = (await server.call('GET', '/instances')).body;
  assert.deepStrictEqual([made.name, made.type, made.status], ['atlas', 'medium', 'RUNNING']);

  // The button is gone once it has done its work; the focus is where it was.
  const near = () => page.waitForFunction(() => document.activeElement.getAttribute('aria-label') === 'Actions of atlas');
  await press('Pause');
  await page.getByText('Paused just now').waitFor();
  await near();
  assert.strictEqual(await server.status(made.id), 'STOPPED');
  await press('Wake');
  await page.getByText('In use; if nothing else happens').waitFor();
  await near();
  assert.strictEqual(await server.status(made.id), 'RUNNING');

  await press('Delete');
  const dialog = page.getByRole('dialog', { name: 'Delete atlas?' });
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.waitForFunction(() => document.activeElement.textContent === 'Delete'); // the focus is where it was
  assert.strictEqual(await server.status(made.id), 'RUNNING', 'Escape deletes nothing');
  await press('Delete');
  await dialog.waitFor();
  for (let i = 0; i < 5; i++) { // the focus stays inside
    await page.keyboard.press('Tab');
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.querySelector('dialog').contains(document.activeElement)));
  }
  await dialog.getByRole('button', { name: 'Delete atlas' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
  await until(async () => (await server.status(made.id)) === 'DELETED', 'it is deleted');
  assert.deepStrictEqual(page.faults, []);
});

test('a row that goes takes no focus with it: it is in the list, and Tab goes on from there', async (t) => {
  const { server, page } = await start(t);
  const owner = await server.account('ada@example.org');
  const made = [];
  for (const name of ['one', 'two']) made.push((await server.call('POST', '/instances?wait=20', { name, user_id: owner })).body);
  await signIn(page);
  await row(page, 'two').getByRole('button', { name: 'Delete' }).press('Enter');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete two' }).press('Enter');
  await row(page, 'two').waitFor({ state: 'detached' });
  await page.waitForFunction(() => document.activeElement.matches('[role=list]'));
  await page.keyboard.press('Tab');
  assert.strictEqual(await page.evaluate(() => document.activeElement.textContent), 'one');
  // What was left by a click beside it is not brought back.
  await row(page, 'one').getByRole('button', { name: 'Pause' }).focus();
  await page.locator('main').click({ position: { x: 2, y: 2 } });
  await server.call('DELETE', `/instances/${made[0].id}?wait=20`);
  await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
  assert.doesNotMatch(await page.evaluate(() => document.activeElement.outerHTML.slice(0, 60)), /role="list/);
});

test('while an answer takes its time the button says what it does, and is pressed once', async (t) => {
  const { server, page } = await start(t);
  await server.call('POST', '/instances?wait=20', { name: 'atlas', user_id: await server.account('ada@example.org') });
  await signIn(page);
  let go;
  let asked = 0;
  const held = new Promise((r) => { go = r; });
  await page.route('**/stop', async (r) => { asked++; await held; await r.continue(); });
  await row(page, 'atlas').getByRole('button', { name: 'Pause' }).click();
  const busy = row(page, 'atlas').getByRole('button', { name: 'Pausing…' });
  await busy.click({ force: true });
  assert.strictEqual(await busy.getAttribute('aria-disabled'), 'true');
  assert.strictEqual(asked, 1);
  go();
  await row(page, 'atlas').getByRole('button', { name: 'Wake' }).waitFor();
  assert.deepStrictEqual(page.faults, []);
});

// Done, but its answer is lost: once.
async function lose(page, where) {
  let lost = false;
  await page.route(where, async (r) => {
    if (lost || r.request().method() !== 'POST') return r.fallback();
    lost = true;
    await r.fetch();
    return r.abort();
  });
}

test('what was asked again after a lost answer was done twice: a machine is made once, and hours are bought once', async (t) => {
  const { server, page } = await start(t, {}, [/ERR_FAILED/]);
  await signIn(page, 'ada@example.org', '/dashboard/new');
  const make = page.getByRole('button', { name: 'Make this machine' });
  await make.waitFor();
  await lose(page, '**/instances');
  await make.click();
  await page.getByText('The server could not be reached.').waitFor();
  await make.click();
  await page.getByRole('button', { name: 'Extend' }).waitFor();
  const all = (await server.call('GET', '/instances')).body;
  assert.strictEqual(all.length, 1);
  const [{ id, short }] = all;
  assert.strictEqual(new URL(page.url()).pathname, `/dashboard/machines/${short}`);

  // Each wish is one of its own: another name is another machine.
  await page.goto('/dashboard/new');
  await page.getByLabel('Name').fill('one');
  await lose(page, '**/instances');
  await make.click();
  await page.getByText('The server could not be reached.').waitFor();
  await page.getByLabel('Name').fill('two');
  await make.click();
  await page.getByRole('heading', { name: 'two' }).waitFor();
  assert.deepStrictEqual((await server.call('GET', '/instances')).body.map((m) => m.name).filter((n) => n === 'one' || n === 'two').sort(), ['one', 'two']);

  await server.running(id);
  await page.goto(`/dashboard/machines/${short}`);
  await page.getByRole('button', { name: 'Extend' }).click();
  const dialog = page.getByRole('dialog');
  await lose(page, '**/extend');
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await dialog.getByText('The server could not be reached.').waitFor();
  const until8 = (await server.call('GET', `/instances/${id}`)).body.expires_at;
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.deepStrictEqual([typeof until8, (await server.call('GET', `/instances/${id}`)).body.expires_at], ['string', until8]);
  // Asked once more, in another dialog, it is another eight hours.
  await page.getByRole('button', { name: 'Extend' }).click();
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.strictEqual(Date.parse((await server.call('GET', `/instances/${id}`)).body.expires_at) - Date.parse(until8), 8 * 3600e3);
  assert.deepStrictEqual(page.faults, []);
});

test('a session that ends in the midst of it says so, and leads back', async (t) => {
  const { server, page } = await start(t, {}, [/401/]);
  const open_ = underWay(page);
  await signIn(page, 'ada@example.org', '/dashboard/settings');
  await page.getByText('this one').waitFor();
  // Not before the form was sent: whatever else the page asks leads away from it, too, once it is told that the session is over.
  await page.route('**/auth/me', async (route) => {
    if (route.request().method() === 'PATCH') await endSession(server, page);
    await route.continue();
  });
  await page.getByLabel('Name').first().fill('Ada');
  await page.getByRole('button', { name: 'Save' }).first().click();
  await page.getByText('Your session has ended.').waitFor();
  await until(() => open_.size === 0, () => `all that the session asked is answered: ${[...open_].map((r) => r.url())}`);
  await page.getByLabel('Email address').fill('ada@example.org');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/dashboard/settings');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Email address').waitFor();
  assert.strictEqual(await page.getByText('Your session has ended.').count(), 0, 'who signs out knows');
});

// Before the server, as its clients see it: the answer of a path that `hold` names is kept back until it is let go. The server
// and the browser have all that they would have; by route() the answer's cookies would come before it.
async function holding(t, server) {
  const p = { held: new Map() };
  const front = http.createServer((req, res) => {
    const wait = p.held.get(req.url.split('?')[0]);
    p.held.delete(req.url.split('?')[0]);
    const on = async () => {
      await wait?.begin();
      const way = http.request(server.url, { path: req.url, method: req.method, headers: req.headers }, async (answer) => {
        await wait?.answered(answer.statusCode);
        res.writeHead(answer.statusCode, answer.rawHeaders);
        answer.pipe(res);
      });
      way.on('error', () => res.destroy());
      res.on('close', () => way.destroy());
      req.pipe(way);
    };
    void on();
  });
  await new Promise((r) => { front.listen(0, '127.0.0.1', r); });
  t.after(async () => {
    front.closeAllConnections();
    await new Promise((r) => front.close(r));
  });
  p.url = `http://127.0.0.1:${front.address().port}`;
  return p;
}

test('a late 401 ended the session that had been begun meanwhile, and took its cookie away', async (t) => {
  const server = await Server.start({ provider: 'mock' });
  t.after(() => server.stop());
  const front = await holding(t, server);
  const page = await open(browser, front, { expected: [/401/] });
  t.after(() => page.context().close());
  await signIn(page);
  const [late, free] = [signal(), signal()];
  front.held.set('/auth/sessions', {
    begin: () => endSession(server, page),
    answered: async (status) => { late.give(status); await free.given; },
  });
  const answered = page.waitForResponse((r) => /\/auth\/sessions/.test(r.url()) && r.status() === 401);
  await page.getByRole('link', { name: 'Settings' }).click();
  assert.strictEqual(await late.given, 401);
  await page.getByText('Your session has ended.').waitFor(); // the stream of events has told it
  await page.getByLabel('Email address').fill('ada@example.org');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/dashboard/settings');
  await page.getByRole('heading', { name: 'Settings' }).waitFor(); // its sessions are read when the answer before has come
  const session = async () => (await page.context().cookies()).find((c) => c.name === 'session')?.value;
  const before = await session();
  const left = page.waitForURL('**/auth/login').then(() => 'left', () => 'stayed');
  const asks = page.waitForResponse((r) => /\/auth\/me$/.test(r.url())); // who is signed in, as it has to
  free.give();
  await (await answered).finished();
  const said = await Promise.race([left, asks.then((r) => r.status())]);
  assert.deepStrictEqual([said, await session()], [200, before]);
  await page.getByText('this one').waitFor();
  assert.strictEqual(new URL(page.url()).pathname, '/dashboard/settings');
  assert.deepStrictEqual(page.faults, []);
});

test('who signs out is not told that the session has ended, when another request hears of it before the sign-out is answered', async (t) => {
  const { page } = await start(t, {}, [/401/]);
  await signIn(page);
  const [out, other] = [signal(), signal()];
  await page.route('**/auth/sessions*', async (route) => { await out.given; await route.continue(); });
  await page.route('**/auth/logout', async (route) => {
    const response = await route.fetch();
    out.give();
    await other.given;
    await route.fulfill({ response });
  });
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
  const answered = page.waitForResponse('**/auth/logout');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Email address').waitFor(); // led there by the other one
  const said = page.getByText('Your session has ended.');
  assert.strictEqual(await said.count(), 0, 'who signs out knows');
  other.give();
  await (await answered).finished();
  await page.getByLabel('Email address').waitFor();
  assert.strictEqual(await said.count(), 0);
});

test('who signs out of a session that has ended already is signed out, and told nothing else', async (t) => {
  const { server, page } = await start(t, {}, [/401/]);
  await signIn(page, 'ada@example.org', '/dashboard/settings');
  await page.getByText('this one').waitFor();
  await page.route('**/auth/logout', async (route) => { await endSession(server, page); await route.continue(); });
  const answered = page.waitForResponse('**/auth/logout');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await (await answered).finished();
  await page.getByLabel('Email address').waitFor();
  assert.strictEqual(await page.locator('.toast').count(), 0);
  assert.strictEqual(await page.getByText('Your session has ended.').count(), 0);
  assert.deepStrictEqual(page.faults, []);
});

test('who could not be signed out is signed in: a session that ends after that says so', async (t) => {
  const { server, page } = await start(t, {}, [/401/, /ERR_FAILED/]);
  await signIn(page);
  await page.route('**/auth/logout', (route) => route.abort());
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('The server could not be reached.').waitFor();
  await page.route('**/auth/sessions*', async (route) => { await endSession(server, page); await route.continue(); });
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByText('Your session has ended.').waitFor();
});

test('another account in another tab: the hidden one does not go on under the old name', async (t) => {
  const { page } = await start(t, {}, [/401/]);
  const who = (name) => page.locator('.who', { hasText: `${name}@example.org` }).waitFor();
  await signIn(page);
  await who('ada');
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  const other = await page.context().newPage();
  await other.goto('/dashboard/settings');
  await other.evaluate(() => fetch('/auth/login', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"email":"bob@example.org"}' }));
  await other.reload(); // as the mailed link of another account does: nobody has signed out
  await who('bob');
  await other.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Email address').waitFor();
  await other.getByLabel('Email address').fill('eve@example.org');
  await other.getByRole('button', { name: 'Send me a link' }).click();
  await who('eve');
  assert.deepStrictEqual(page.faults, []);
});

// The question whether atlas is given more hours, on its page.
async function askHours(t, expected) {
  const { server, page } = await start(t, {}, [expected]);
  await server.call('POST', '/instances?wait=20', { name: 'atlas', user_id: await server.account('ada@example.org') });
  await signIn(page, 'ada@example.org', '/dashboard/machines/atlas');
  await page.getByRole('button', { name: 'Extend' }).click();
  return { server, page, dialog: page.getByRole('dialog') };
}

test('a question goes with its page: what a link in it leads to can be used', async (t) => {
  const { page, dialog } = await askHours(t, /402/);
  await page.route('**/extend', (r) => r.fulfill({ status: 402, json: { error: 'Your credit is not enough.', code: 'payment' } }));
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await dialog.getByRole('link', { name: 'Plans' }).click();
  await page.getByRole('heading', { name: 'Billing' }).waitFor();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.waitForURL('**/dashboard/settings');
  assert.deepStrictEqual(page.faults, []);
});

test('a question goes with the session: the login beneath it can be used', async (t) => {
  const { server, page, dialog } = await askHours(t, /401/);
  await page.route('**/extend', async (r) => { await endSession(server, page); await r.continue(); });
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await page.getByText('Your session has ended.').waitFor();
  await dialog.waitFor({ state: 'detached' });
  await page.getByLabel('Email address').click();
  await page.keyboard.type('ada@example.org');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/dashboard/machines/atlas');
  assert.deepStrictEqual(page.faults, []);
});

test('what fails after its question was closed is told', async (t) => {
  const { page, dialog } = await askHours(t, /409/);
  const [asked, closed] = [signal(), signal()];
  await page.route('**/extend', async (r) => {
    asked.give();
    await closed.given;
    await r.fulfill({ status: 409, json: { error: 'Something else is under way.', code: 'state' } });
  });
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await asked.given;
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  closed.give();
  await page.getByRole('log', { name: 'Messages' }).getByText('Something else is under way.').waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('a page that is opened while the server is away takes nothing from what is open, and comes when it is back', async (t) => {
  const { server, page } = await start(t, {}, [/ERR_|Failed to load|network/i]);
  await signIn(page);
  await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
  const { port } = server;
  await server.kill();
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByText('This page could not be loaded.').waitFor();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('The server could not be reached.').waitFor();
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
  await page.getByRole('link', { name: 'Settings' }).click();
  server.settings.listen_addr = `127.0.0.1:${port}`;
  await server.launch();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
});

test('who asks too often for a moment waits, and sees no error', async (t) => {
  const { page } = await start(t, { rate_limit_api: 30 }, [/429/]);
  await signIn(page);
  let refused = 0;
  page.on('response', (r) => { if (r.status() === 429) refused++; });
  for (let i = 0; i < 40 && refused < 2; i++) {
    await page.goto('/dashboard');
    await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
    assert.strictEqual(await page.getByRole('alert').count(), 0);
  }
  assert.ok(refused >= 2, 'the limit was reached');
  assert.deepStrictEqual(page.faults, []);
});

test('a real machine: made, paused, woken and deleted, on this host', async (t) => {
  const { server, page } = await start(t, { provider: 'local' });
  await signIn(page);
  await page.getByRole('link', { name: 'New machine' }).click();
  await page.getByLabel('Name').fill('real');
  await page.getByRole('button', { name: 'Make this machine' }).click();
  await page.locator('.status.running').waitFor();
  await page.getByText('running', { exact: true }).waitFor(); // in what happened
  const [{ id }] = (await server.call('GET', '/instances')).body;
  const exec = () => server.call('POST', `/instances/${id}/exec`, { cmd: ['sh', '-c', 'echo $((6*7))'] });
  assert.strictEqual((await exec()).body.stdout, '42\n');
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.locator('.status.stopped').waitFor();
  assert.strictEqual((await exec()).status, 409);
  await page.getByRole('button', { name: 'Wake' }).click();
  await page.locator('.status.running').waitFor();
  assert.strictEqual((await exec()).body.stdout, '42\n');
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete real' }).click();
  await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
  await until(async () => (await server.status(id)) === 'DELETED', 'it is deleted');
  assert.deepStrictEqual(page.faults, []);
});

test('what happens elsewhere is seen by itself, also when the server was away', async (t) => {
  const { server, page } = await start(t, {}, [/ERR_|Failed to load|network/i]);
  await signIn(page);
  const owner = await server.account('ada@example.org');
  await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
  let asked = 0;
  page.on('request', (r) => { if (!/assets|events/.test(r.url())) asked++; });
  const { body } = await server.call('POST', '/instances?wait=20', { name: 'elsewhere', user_id: owner });
  await row(page, 'elsewhere').getByText('Running', { exact: true }).waitFor();
  await server.call('POST', `/instances/${body.id}/stop?wait=20`);
  await row(page, 'elsewhere').getByText('Paused', { exact: true }).waitFor();
  assert.ok(asked <= 4, `${asked} requests for two changes`);

  const { port } = server;
  await server.kill();
  await page.getByText('The connection to the server is gone').waitFor();
  server.settings.listen_addr = `127.0.0.1:${port}`;
  await server.launch();
  await server.call('POST', `/instances/${body.id}/start?wait=20`);
  await page.getByText('The connection to the server is gone').waitFor({ state: 'detached', timeout: 40000 });
  await row(page, 'elsewhere').getByText('Running', { exact: true }).waitFor();
  await server.call('DELETE', `/instances/${body.id}?wait=20`);
  await page.getByRole('heading', { name: 'No machine yet' }).waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('an error says what to do, and at which field', async (t) => {
  const { page } = await start(t, { policies_dir: path.join(root, 'policies') }, [/status of (4\d\d)/]);
  await signIn(page);
  const make = async (name) => {
    await page.goto('/dashboard/new');
    await page.getByLabel('Name').fill(name);
    await page.getByRole('button', { name: 'Make this machine' }).click();
  };
  await make('Not A Name!');
  const field = page.getByLabel('Name');
  await page.locator('.wrong').waitFor();
  assert.strictEqual(await field.getAttribute('aria-invalid'), 'true');
  const about = (await field.getAttribute('aria-describedby')).split(' ').pop();
  assert.match(await page.locator(`[id="${about}"]`).textContent(), /^Letters, digits/);
  assert.ok(await field.evaluate((e) => e === document.activeElement), 'one is led to it');
  await make('first');
  await page.getByRole('heading', { name: 'first' }).waitFor();
  await make('second'); // a free account has one
  await page.getByRole('alert').filter({ hasText: /Delete a machine that you no longer need/ }).waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('settings: a name, keys for ssh, tokens, sessions and credentials', async (t) => {
  const { server, page } = await start(t, {}, [/status of (400|401)/]);
  await signIn(page);
  await page.getByRole('link', { name: 'Settings' }).click();
  const card = (name) => page.getByRole('region', { name, exact: true });
  const me = async () => (await server.call('GET', '/users/ada@example.org')).body;

  await card('Profile').getByLabel('Name').fill('Ada L.');
  await card('Profile').getByRole('button', { name: 'Save' }).click();
  await page.getByText('Your name is changed.').waitFor();
  assert.strictEqual((await me()).name, 'Ada L.');

  await card('SSH keys').getByLabel('A new key').fill('ssh-rsa AAAA');
  await card('SSH keys').getByRole('button', { name: 'Add' }).click();
  await card('SSH keys').locator('.wrong').waitFor();
  await card('SSH keys').getByLabel('A new key').fill('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada@laptop');
  await card('SSH keys').getByRole('button', { name: 'Add' }).click();
  await card('SSH keys').getByText('ada@laptop').waitFor();
  await card('SSH keys').getByRole('button', { name: /Remove/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await card('SSH keys').getByText('ada@laptop').waitFor({ state: 'detached' });

  const tokens = card('API tokens');
  await tokens.getByLabel('Name').fill('for CI');
  await tokens.getByLabel('make, change and delete machines').check();
  await tokens.getByRole('button', { name: 'Make a token' }).click();
  const secret = await tokens.getByLabel('the new token', { exact: true }).textContent();
  const by = () => server.call('GET', '/instances', undefined, { 'X-API-Key': undefined, Authorization: `Bearer ${secret}` });
  assert.strictEqual((await by()).status, 200);
  await tokens.getByRole('button', { name: 'Copy the new token' }).click();
  assert.strictEqual(await page.evaluate(() => navigator.clipboard.readText()), secret);
  await tokens.getByRole('button', { name: 'Revoke for CI' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await tokens.getByText('for CI').waitFor({ state: 'detached' });
  assert.strictEqual((await by()).status, 401);

  const claude = card('Claude');
  await claude.getByLabel('API key').fill('sk-ant-0123456789abcdef');
  await claude.getByRole('button', { name: 'Save' }).last().click();
  await claude.getByText('There is one:').waitFor();
  assert.doesNotMatch(await page.content(), /0123456789abcdef/);

  const other = await open(browser, server, { expected: [/401/] });
  await signIn(other);
  await page.reload();
  await card('Sessions').getByRole('button', { name: 'Sign out everywhere else' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Sign out elsewhere' }).click();
  await other.waitForURL('**/auth/login'); // by itself: its stream of events ended
  await other.context().close();
  assert.deepStrictEqual(page.faults, []);
});

test('dark and light: as the system has it, or as was said', async (t) => {
  const { page } = await start(t);
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.goto('/');
  const light = await ground();
  await page.emulateMedia({ colorScheme: 'dark' });
  const dark = await ground();
  assert.notStrictEqual(light, dark);
  await page.getByRole('button', { name: /^Colours/ }).click();
  assert.strictEqual(await ground(), light, 'light, in a dark system');
  await page.reload();
  await page.getByRole('button', { name: /^Colours: Light/ }).click();
  await page.emulateMedia({ colorScheme: 'light' });
  assert.strictEqual(await ground(), dark, 'dark, in a light one');
  await page.getByRole('button', { name: /^Colours: Dark/ }).click();
  assert.strictEqual(await ground(), light);
});
