// Terminals in the page, on a real machine of this host.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Server, launch, open, root, shot, signIn, violations } = require('./browser.js');
const { Workplace, rows, sees, until } = require('./workplace.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

const lost = [/ERR_|WebSocket|Failed to load|network|409/i];
const line = (page) => page.locator('.socket-line');

async function terminal(t, how = {}) {
  const w = await Workplace.start(t, browser, { expected: lost, ...how });
  await w.page.goto('/dashboard/terminal?machine=atlas&tab=work');
  await sees(w.page, /\$ /);
  return w;
}

async function type(page, text) {
  await page.keyboard.type(text);
  await page.keyboard.press('Enter');
}

// Every line that a terminal keeps, from the top: page by page, each of which begins with some of the one before.
async function everything(page) {
  const seen = [];
  for (let at = null; ;) {
    const now = (await rows(page)).map((r) => r.trimEnd());
    if (at !== null && now.join('\n') === at) return seen;
    seen.unshift(now);
    at = now.join('\n');
    await page.keyboard.press('Shift+PageUp');
    await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
  }
}

// A folder of policies that lets nobody wake a machine.
function denying(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-policies-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  fs.cpSync(path.join(root, 'tests', 'lib', 'policies'), dir, { recursive: true });
  fs.writeFileSync(path.join(dir, 'access.lua'), fs.readFileSync(path.join(root, 'policies', 'access.lua'), 'utf8')
    .replace('function P.wake(r)', 'function P.wake(r)\n  if r.owner ~= "u" then return "deny", "closed on Sundays" end'));
  return dir;
}

test('what is typed is answered; tabs are terminals of their own, and stay', async (t) => {
  const { page } = await terminal(t);
  await type(page, 'x=7; echo $((6*x))');
  await sees(page, /\n42\n/);
  assert.strictEqual(await page.title(), 'Terminal · atlas · cchost');
  const sizes = await page.evaluate(() => [document.documentElement.scrollHeight, innerHeight]);
  assert.ok(sizes[0] <= sizes[1], `the page does not scroll: ${sizes}`);

  await page.getByRole('link', { name: 'New terminal' }).click();
  await page.waitForURL('**tab=shell-2');
  await sees(page, /\$ /);
  await type(page, 'echo "[$x]"');
  await sees(page, /\n\[\]\n/);
  await page.getByRole('link', { name: 'work', exact: true }).click();
  await sees(page, /\n42\n/);
  await page.locator('.xterm-screen').click();
  await type(page, 'echo "again $x"');
  await sees(page, /\nagain 7\n/);

  await page.reload();
  await sees(page, /42\n[^]*again 7\n/);
  await page.getByRole('button', { name: 'Close shell-2' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Close it' }).click();
  await page.getByRole('link', { name: 'shell-2' }).waitFor({ state: 'detached' });
  assert.deepStrictEqual(page.faults, []);
});

test('what a program asks of its terminal is answered once: not by a second page, nor again by one that is opened later', async (t) => {
  const w = await terminal(t);
  const { page } = w;
  await w.home('ask', 'stty raw -echo min 1 time 5\nprintf "\\033[>c"\ndd bs=1000 count=1 of=/tmp/got 2>/dev/null\nstty sane\necho asked\ncat > /tmp/rest\necho over\n');
  const other = await page.context().newPage();
  await other.goto('/dashboard/terminal?machine=atlas&tab=work');
  await sees(other, /\$ /);
  await page.bringToFront();
  await type(page, 'sh ~/ask');
  for (const p of [page, other]) await sees(p, /\nasked/);
  for (const p of [other, page]) {
    await p.reload();
    await sees(p, /\nasked/);
  }
  await page.bringToFront();
  await page.locator('.xterm-screen').click();
  await page.keyboard.type('the rest\n');
  await page.keyboard.press('Control+d');
  await sees(page, /\nover\n/);
  assert.match(await w.sh('cat /tmp/got'), /^\x1b\[>\d+;\d+;\d+c$/);
  assert.strictEqual(await w.sh('cat /tmp/rest'), 'the rest\n');
});

test('the server is killed while a program writes and somebody types: each line is there once, and what was typed', async (t) => {
  const w = await terminal(t);
  const { page } = w;
  await type(page, 'clear; for i in $(seq 1 400); do echo "line $i."; sleep 0.02; done; read a; echo "said $a."');
  await sees(page, /line 40\.\n/);
  await w.kill();
  await line(page).getByText('Reconnecting…').waitFor();
  await page.keyboard.type('while it was away');
  await w.launch();
  await line(page).waitFor({ state: 'detached' });
  await sees(page, /line 400\.\n/);
  await page.keyboard.press('Enter');
  await sees(page, /said while it was away\.\n/);
  const numbers = new Set();
  for (const now of await everything(page)) {
    const found = now.map((l) => /line (\d+)\.$/.exec(l)) // what is typed is echoed before one of them
      .filter(Boolean).map((m) => Number(m[1]));
    for (const [i, n] of found.entries()) {
      if (i) assert.strictEqual(n, found[i - 1] + 1, 'each line is there once');
      numbers.add(n);
    }
  }
  assert.strictEqual(numbers.size, 400);
  assert.deepStrictEqual(page.faults, []);
});

test('a machine that is stopped ends it, and is not started again by a page that waits; opening one wakes it and tells how it goes', async (t) => {
  const w = await terminal(t);
  const { page, server } = w;
  await server.call('POST', w.at('/stop'));
  await line(page).getByText('The machine is paused').waitFor();
  assert.strictEqual(await server.status(w.id), 'STOPPED');
  await page.evaluate(() => dispatchEvent(new Event('online')));
  assert.strictEqual(await server.status(w.id), 'STOPPED');
  const told = [];
  await page.exposeFunction('told', (text) => told.push(text));
  await page.addInitScript(() => addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
    const now = document.querySelector('.socket-line');
    if (now) window.told(now.textContent);
  }).observe(document.body, { childList: true, subtree: true, characterData: true })));
  await page.goto('/dashboard/terminal?machine=atlas');
  await sees(page, /\$ /, 60);
  assert.strictEqual(await server.status(w.id), 'RUNNING');
  assert.ok(told.some((text) => /starting|its agent is awaited/.test(text)), told.join('\n'));
  await type(page, 'echo $((6*7))');
  await sees(page, /\n42\s*\n/);
  assert.deepStrictEqual(page.faults, []);
});

test('a machine that may not be woken says why, in each of its terminals', async (t) => {
  const w = await terminal(t, { expected: [...lost, /40[39]/], settings: { policies_dir: denying(t) } });
  const { page } = w;
  await w.call('POST', '/stop?wait=30');
  for (const tab of ['main', 'work']) {
    await page.goto(`/dashboard/terminal?machine=atlas&tab=${tab}`);
    await line(page).getByText(/closed on Sundays/i).waitFor();
  }
  await line(page).getByRole('button', { name: 'Wake it' }).click();
  await line(page).getByText(/It was not woken. Closed on Sundays/).waitFor();
  assert.strictEqual(await w.server.status(w.id), 'STOPPED');
});

test('no size of the window cuts the last line', async (t) => {
  const { page } = await terminal(t);
  for (let height = 500; height < 520; height += 3) {
    await page.setViewportSize({ width: 900, height });
    await until(() => page.evaluate(() => {
      const screen = document.querySelector('.terminal-screen').getBoundingClientRect();
      const all = document.querySelectorAll('.xterm-rows > div');
      const room = screen.bottom - all[all.length - 1].getBoundingClientRect().bottom;
      return room >= 0 && room < 2 * all[0].getBoundingClientRect().height;
    }), `the last line of a window of ${height}`);
  }
});

test('a shell that ends says so, and another one begins', async (t) => {
  const { page } = await terminal(t);
  await type(page, 'exit 3');
  await line(page).getByText('The shell has ended, with 3.').waitFor();
  await line(page).getByRole('button', { name: 'New shell' }).click();
  await line(page).waitFor({ state: 'detached' });
  await page.locator('.xterm-screen').click();
  await type(page, 'echo "new $((6*7))"');
  await sees(page, /\nnew 42\n/);
  assert.deepStrictEqual(page.faults, []);
});

test('copy and paste, finding, sizes, and the way out by the keyboard', async (t) => {
  const { page } = await terminal(t);
  await page.evaluate(() => navigator.clipboard.writeText('echo pasted $((6*7))\n'));
  await page.keyboard.press('Control+Shift+V');
  await sees(page, /\npasted 42\n|pasted \$/);
  if (!/\npasted 42\n/.test((await rows(page)).join('\n'))) await page.keyboard.press('Enter'); // a shell that knows what is pasted waits
  await sees(page, /\npasted 42\n/);

  const row = page.locator('.xterm-rows > div').filter({ hasText: /^pasted 42/ });
  const box = await row.boundingBox();
  await page.mouse.dblclick(box.x + 12, box.y + box.height / 2);
  await page.mouse.click(box.x + 12, box.y + box.height / 2, { button: 'right' });
  await until(() => page.evaluate(async () => await navigator.clipboard.readText() === 'pasted'), 'a right click copies what is selected');

  await page.keyboard.press('Control+Shift+F');
  await page.getByLabel('Find in the terminal').fill('pasted');
  await page.getByRole('search').getByText(/\d of \d/).waitFor();
  await page.keyboard.press('Escape');
  await until(() => page.evaluate(() => document.activeElement.classList.contains('xterm-helper-textarea')), 'the terminal has the focus again');

  let asked = 0; // what an earlier question was answered may still be seen
  const columns = async () => {
    const mark = `cols${++asked}=`;
    await type(page, `echo "${mark}$(tput cols)"`);
    const answer = new RegExp(`\\n${mark}(\\d+)\\n`);
    await until(async () => answer.test((await rows(page)).join('\n')), 'its width');
    return Number(answer.exec((await rows(page)).join('\n'))[1]);
  };
  const before = await columns();
  for (let i = 0; i < 6; i++) await page.getByRole('button', { name: 'Larger letters' }).click();
  await page.locator('.xterm-screen').click();
  await until(async () => await columns() < before, `less than ${before} columns`);

  await page.getByText('Keys', { exact: true }).click();
  await page.getByLabel('Font of this computer').fill('Comic "Mono');
  await page.keyboard.press('Enter');
  const family = () => page.locator('.xterm-rows').evaluate((e) => getComputedStyle(e).fontFamily);
  await until(async () => /^"Comic Mono", ui-monospace/.test(await family()), 'the font is taken, and another one where it is not there');
  await page.keyboard.press('Escape');
  await page.locator('.xterm-screen').click();
  await page.keyboard.press('Control+Shift+ArrowUp');
  assert.strictEqual(await page.evaluate(() => document.activeElement.textContent), 'work');
  assert.deepStrictEqual(page.faults, []);
});

// Something to see, and a link to look on for an hour. -> its address
async function share(page) {
  await type(page, 'echo "before $((6*7))"');
  await sees(page, /\nbefore 42\n/);
  await page.getByText('Share', { exact: true }).click();
  await page.getByRole('button', { name: 'Make a link for an hour' }).click();
  return page.getByLabel('the link to look on', { exact: true }).textContent();
}

test('a link to look on: who has it sees what is written, types nothing, and is cut off when it is revoked', async (t) => {
  const { page, server } = await terminal(t);
  const url = await share(page);
  assert.deepStrictEqual(await violations(page), []);
  const other = await open(browser, server, { expected: lost });
  await other.goto(url);
  await sees(other, /\nbefore 42\n/);
  await other.locator('.xterm-screen').click();
  await type(other, 'echo typed');
  await page.locator('.xterm-screen').click();
  await type(page, 'echo "later $((6*7))"');
  await sees(other, /\nlater 42\n/);
  assert.ok(!/typed/.test((await rows(page)).join('\n')));
  assert.deepStrictEqual(await violations(other), []);
  await shot(other, 'watch-desktop');
  const revoke = page.getByRole('button', { name: 'Revoke' });
  assert.strictEqual(await revoke.isVisible(), false, 'a click elsewhere has closed it');
  await page.getByText('Share', { exact: true }).click();
  await revoke.waitFor();
  await page.keyboard.press('Escape');
  await revoke.waitFor({ state: 'hidden' });
  assert.strictEqual(await page.evaluate(() => document.activeElement.textContent), 'Share');
  await page.keyboard.press('Enter');
  await revoke.click();
  await line(other).getByRole('button', { name: 'Connect again' }).waitFor();
  await other.goto('/dashboard/watch#x');
  await other.reload();
  await other.getByRole('heading', { name: 'This link is not whole' }).waitFor();
  assert.deepStrictEqual([...page.faults, ...other.faults], []);
  await other.context().close();
});

test('another machine in the same page: neither the terminals nor the projects of the first are shown as its own', async (t) => {
  const server = await Server.start({ provider: 'mock' });
  t.after(() => server.stop());
  const owner = await server.account('ada@example.org', 'pro');
  const made = [];
  for (const name of ['atlas', 'notes']) made.push((await server.call('POST', '/instances?wait=20', { name, user_id: owner })).body);
  const page = await open(browser, server, { expected: [...lost, /50\d|40\d/] });
  t.after(() => page.context().close());
  let end;
  const ended = new Promise((r) => { end = r; });
  const first = (what) => async (route) => {
    if (!route.request().url().includes(made[0].id)) await ended; // the other one's are still on their way
    await route.fulfill({ json: what });
  };
  await page.route('**/sessions?*', first([{ tab: 'work', status: 'idle', foreground: null, viewers: 1 }]));
  await page.route('**/projects?*', first([{ name: 'site', path: '/claude-data/site', remoteUrl: null }]));
  const other = async (title) => {
    await page.getByLabel('Machine', { exact: true }).selectOption({ label: 'notes' });
    await until(async () => await page.title() === `${title} · notes · cchost`, 'the other one is shown');
  };
  await signIn(page, 'ada@example.org', '/dashboard/terminal?machine=atlas');
  const tabs = page.locator('.terminal-tabs a:not(.button)');
  await tabs.first().waitFor();
  await page.evaluate(() => dispatchEvent(new Event('focus')));
  await until(async () => (await tabs.allTextContents()).join() === 'work,main', 'the tabs of the first');
  await other('Terminal');
  assert.deepStrictEqual(await tabs.allTextContents(), ['main']);

  await page.goto('/dashboard/chat?machine=atlas');
  const projects = page.getByLabel('Project', { exact: true }).locator('option');
  await projects.filter({ hasText: 'site' }).waitFor({ state: 'attached' });
  await other('Chat');
  assert.deepStrictEqual(await projects.allTextContents(), ['All files']);
  end();
  assert.deepStrictEqual(page.faults, []);
});

test('a terminal to look on is left by Tab and Shift+Tab, and the way to the content keeps its address', async (t) => {
  const { page, server } = await terminal(t);
  const url = await share(page);
  const other = await open(browser, server, { expected: lost });
  t.after(() => other.context().close());
  await other.goto(url);
  await sees(other, /\nbefore 42\n/);
  const inside = () => other.evaluate(() => Boolean(document.activeElement.closest('.xterm')));
  for (const key of ['Tab', 'Shift+Tab']) {
    await other.locator('.xterm-helper-textarea').focus();
    assert.strictEqual(await inside(), true);
    await other.keyboard.press(key);
    assert.strictEqual(await inside(), false, `${key} leads out`);
  }
  await other.locator('.skip').focus();
  await other.keyboard.press('Enter');
  assert.strictEqual(await other.evaluate(() => document.activeElement.id), 'main');
  await sees(other, /\nbefore 42\n/);
  assert.strictEqual(other.url(), url);
  assert.deepStrictEqual([...page.faults, ...other.faults], []);
});

for (const size of ['desktop', 'phone']) {
  test(`axe-core finds nothing, at the size of a ${size}`, async (t) => {
    const { page } = await terminal(t, { size });
    await type(page, 'ls --color=always / | head -5; echo "see https://example.org/x"');
    await sees(page, /example/);
    assert.deepStrictEqual(await violations(page), []);
    await shot(page, `terminal-${size}`);
    await page.getByText('Keys', { exact: true }).click();
    assert.deepStrictEqual(await violations(page), []);
    await shot(page, `terminal-keys-${size}`);
    assert.deepStrictEqual(page.faults, []);
  });
}
