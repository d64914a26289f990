// Chat in the page, with a double of Claude Code (tests/lib/claude.js) on a real machine of this host.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { launch, open, shot, signIn, violations, root } = require('./browser.js');
const { Workplace, until } = require('./workplace.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

const lost = [/ERR_|WebSocket|Failed to load|network|409/i];

async function chat(t, { claude = true, ...how } = {}) {
  const w = await Workplace.start(t, browser, { expected: lost, machine: { env: { ANTHROPIC_API_KEY: 'sk-ant-test' } }, ...how });
  if (claude) {
    await w.home('claude.js', fs.readFileSync(path.join(root, 'tests', 'lib', 'claude.js')));
    await w.home('.local/bin/claude', '#!/bin/sh\nCLAUDE_DOUBLE_LOG=/tmp/claude.log exec node /home/claude/claude.js "$@"\n', '755');
  }
  await w.sh('mkdir -p /claude-data/hello && cd /claude-data/hello && git init -q .');
  await w.page.goto('/dashboard/chat?machine=atlas');
  return w;
}

const input = (page) => page.getByLabel('Message to Claude');
async function say(page, text) {
  await input(page).fill(text);
  await until(async () => await page.getByRole('button', { name: 'Send' }).getAttribute('aria-disabled') !== 'true', 'it can be sent');
  if (page.viewportSize().width > 500) await input(page).press('Enter');
  else await page.getByRole('button', { name: 'Send' }).click(); // Enter begins a line on a phone
}
const idle = (page) => page.getByRole('button', { name: 'Send' }).waitFor();
const texts = (page) => page.locator('.said').allTextContents();

test('a conversation goes on, over a page that is loaded again and a server that is killed; another device has it, too', async (t) => {
  const w = await chat(t);
  const { page } = w;
  await page.getByLabel('Project').selectOption('hello');
  await page.waitForURL('**cwd=/claude-data/hello');
  await say(page, 'first');
  await page.getByText('You said "first"; before: nothing.').waitFor();
  await idle(page);
  await say(page, 'second');
  await page.getByText('You said "second"; before: first.').waitFor();
  await idle(page);
  const all = ['You:first', 'Claude:You said "first"; before: nothing.', 'You:second', 'Claude:You said "second"; before: first.'];
  assert.deepStrictEqual(await texts(page), all);
  const kept = async () => {
    const [c] = (await page.evaluate(async () => (await fetch('/conversations/list')).json())).filter((o) => o.project_path === '/claude-data/hello');
    return page.evaluate(async (id) => (await (await fetch(`/conversations/${id}/messages`)).json()).length, c.id);
  };
  await until(async () => await kept() === 4, 'both turns are kept');

  await page.reload();
  await page.getByText('before: first.').waitFor();
  assert.deepStrictEqual(await texts(page), all);

  await w.kill();
  await page.locator('.socket-line').getByText('Reconnecting…').waitFor();
  await w.launch();
  await page.locator('.socket-line').waitFor({ state: 'detached' });
  assert.deepStrictEqual(await texts(page), all, 'nothing came twice');
  await say(page, 'third');
  await page.getByText('You said "third"; before: first, second.').waitFor();

  const other = await open(browser, w.server, { size: 'phone', expected: lost });
  await signIn(other);
  await other.goto(page.url());
  await other.getByText('before: first, second.').waitFor();
  assert.strictEqual((await texts(other)).length, 6);
  await say(page, 'fourth'); // and he sees at once what is asked here
  await other.getByText('You said "fourth"').waitFor();
  await other.context().close();

  await page.getByText('Conversations', { exact: true }).click();
  await page.getByRole('button', { name: /first/ }).waitFor(); // its title, of Claude's own list
  await page.getByRole('button', { name: 'New conversation' }).click();
  await idle(page);
  await say(page, 'anew');
  await page.getByText('You said "anew"; before: nothing.').waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('tools are folded, and show what went in and what came out', async (t) => {
  const { page } = await chat(t);
  await say(page, 'tool');
  await page.getByText('Two files.').waitFor();
  const tool = page.locator('details.tool');
  assert.match(await tool.locator('summary').textContent(), /Bash ls/);
  await tool.locator('summary').click();
  assert.match(await page.getByLabel('Input').textContent(), /"command": "ls"/);
  assert.strictEqual(await page.getByLabel('Output').textContent(), 'a\nb');
  await idle(page);
  assert.deepStrictEqual(await violations(page), []);
  await page.reload();
  await page.getByText('Two files.').waitFor();
  await page.locator('details.tool summary').click();
  assert.strictEqual(await page.getByLabel('Output').textContent(), 'a\nb');
  assert.deepStrictEqual(page.faults, []);
});

test('Escape stops a turn; what fails says what helps', async (t) => {
  const { page } = await chat(t);
  await say(page, 'slow');
  await page.getByText('I begin').waitFor();
  await page.keyboard.press('Escape');
  await page.getByText('Stopped.').waitFor();
  await idle(page);
  await say(page, 'login');
  await page.locator('.error-box').getByRole('link', { name: 'Settings' }).waitFor();
  assert.match(await page.locator('.error-box').textContent(), /not signed in/i);
  await say(page, 'crash');
  await page.getByText('out of cheese').waitFor();
  await say(page, 'are you there');
  await page.getByText('You said "are you there"').waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('without Claude Code it says how to get it', async (t) => {
  const { page } = await chat(t, { claude: false });
  await page.locator('.socket-line').getByText('Claude Code is not on this machine').waitFor();
  await say(page, 'hello');
  const box = page.locator('.error-box');
  assert.match(await box.getByLabel('the command that installs Claude Code', { exact: true }).textContent(), /^npm install .*@anthropic-ai\/claude-code$/);
  await box.getByRole('link', { name: 'Open a terminal' }).click();
  await page.waitForURL('**/dashboard/terminal**');
  await page.locator('.xterm-rows').waitFor();
  assert.deepStrictEqual(page.faults, []);
});

test('5,000 pieces of an answer stay quick, and opening the page wakes the machine', async (t) => {
  const w = await chat(t);
  const { page } = w;
  await page.getByText('Ask Claude something').waitFor();
  await w.server.call('POST', w.at('/stop'));
  await page.locator('.socket-line').getByText('The machine is paused').waitFor();
  await page.getByRole('button', { name: 'Wake it' }).click();
  await page.locator('.socket-line').waitFor({ state: 'detached', timeout: 60000 });
  await w.server.running(w.id);
  await say(page, 'burst');
  await page.getByText('4999').waitFor({ timeout: 60000 });
  await idle(page);
  assert.ok(await page.locator('.said').count() < 5, 'pieces of one answer are one');
  const ms = await page.evaluate(async () => {
    const began = performance.now();
    const box = document.querySelector('.transcript');
    box.scrollTop = 0;
    await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
    return performance.now() - began;
  });
  t.diagnostic(`to the top of 5,000 pieces, two frames: ${ms.toFixed(0)} ms`);
  assert.deepStrictEqual(page.faults, []);
});

const RICH = `# What I did

I changed **two** files, see \`src/main.c\` and [the manual](https://example.org/manual):

1. first
2. second
   - nested *item*

| file | lines |
|---|---|
| a.c | 12 |

\`\`\`c
int main(void) { return 0; } // <b>no markup</b>
\`\`\`

> a quote with <img src=x onerror=alert(1)> and [bad](javascript:alert(1))`;

for (const size of ['desktop', 'phone']) {
  test(`axe-core finds nothing, and what a text says is no markup, at the size of a ${size}`, async (t) => {
    const w = await chat(t, { size });
    const { page } = w;
    await page.getByText('Ask Claude something').waitFor();
    const { id } = await page.evaluate(async () => (await fetch('/conversations?project=/claude-data')).json());
    await page.evaluate(async ([where, text]) => {
      const post = (body) => fetch(where, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
      await post({ role: 'user', content: 'What did you do?', tool_events: '[]' });
      await post({ role: 'assistant', content: text, tool_events: '[]' });
    }, [`/conversations/${id}/messages`, RICH]);
    await page.reload();
    await page.getByText('What I did').waitFor();
    assert.strictEqual(await page.locator('.markdown img, .markdown b').count(), 0);
    assert.deepStrictEqual(await page.locator('.markdown a').evaluateAll((l) => l.map((a) => [a.textContent, a.href, a.rel])), [['the manual', 'https://example.org/manual', 'noopener noreferrer nofollow']]);
    assert.strictEqual(await page.locator('.markdown pre').textContent(), 'int main(void) { return 0; } // <b>no markup</b>');
    assert.strictEqual(await page.locator('.markdown ol > li').count(), 2);
    assert.strictEqual(await page.locator('.markdown ol li li').textContent(), 'nested item');
    await say(page, 'tool');
    await page.getByText('Two files.').waitFor();
    await idle(page);
    assert.deepStrictEqual(await violations(page), []);
    const { wide, room } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth }));
    assert.ok(wide <= room, `${wide} wide in ${room}`);
    await shot(page, `chat-${size}`);
    await page.getByText('Conversations', { exact: true }).click();
    await page.getByText('Of this project').waitFor();
    assert.deepStrictEqual(await violations(page), []);
    assert.deepStrictEqual(page.faults, []);
  });
}
