// A headless Chromium before a real server. What a page says in the console as an error, what its policy refuses and what it
// asks of another host are faults of the test that looks at it.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');
const { Server, root, until, within } = require('../lib/cchost.js');

const shots = path.join(root, 'build', 'screenshots');
const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

// What has no time limit of playwright's own gets one.
function bounded(object, ...names) {
  for (const name of names) {
    const plain = object[name].bind(object);
    object[name] = (...a) => within(plain(...a), `the browser's ${name} of ${object.url ? object.url() : 'a window'}`);
  }
  return object;
}

const launch = async () => bounded(await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium-headless-shell',
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking', '--no-proxy-server'],
}), 'newContext', 'close');

// A window of its own, with nobody signed in. expected: patterns of what it may say in the console.
async function open(browser, server, { size = 'desktop', scheme = 'light', expected = [] } = {}) {
  const context = bounded(await browser.newContext({
    viewport: sizes[size], baseURL: server.url, colorScheme: scheme, isMobile: size === 'phone', hasTouch: size === 'phone',
    locale: 'en-GB', timezoneId: 'UTC', permissions: ['clipboard-read', 'clipboard-write'],
  }), 'newPage', 'close');
  const page = bounded(await context.newPage(), 'evaluate');
  const faults = [];
  page.on('console', (m) => {
    const text = `${m.text()} ${m.location().url}`;
    if (m.type() === 'error' && !expected.some((e) => e.test(text))) faults.push(text);
  });
  page.on('pageerror', (e) => faults.push(String(e.stack)));
  page.on('request', (r) => { if (!r.url().startsWith(server.url) && !/^(data|blob|about):/.test(r.url())) faults.push(`asks ${r.url()}`); });
  page.faults = faults;
  return page;
}

// Signed in as that address, by the development server's short cut.
async function signIn(page, email = 'ada@example.org', to = '/dashboard') {
  await page.goto('/auth/login');
  await page.getByLabel('Email address').fill(email);
  await page.getByRole('button', { name: 'Send me a link' }).click();
  await page.waitForURL('**/dashboard');
  if (to !== '/dashboard') await page.goto(to);
}

// -> what axe-core finds on the page as it is, a line each
async function violations(page) {
  // As a script of the page's own world it would be refused, like any other that is not a file of ours.
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: axe });
  const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
    expression: 'axe.run(document, { resultTypes: ["violations"] })', awaitPromise: true, returnByValue: true,
  });
  await session.detach();
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description);
  return result.value.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(' ')}: ${n.failureSummary}`));
}

// -> the controls in the window that lie beneath something else, which a click would reach
const covered = (page) => page.evaluate(() => {
  const dialog = document.querySelector('dialog[open]');
  const clipped = (e, x, y) => { // moved out of sight, in a box that can be scrolled
    for (let b = e.parentElement; b && b !== document.documentElement; b = b.parentElement) {
      const r = b.getBoundingClientRect();
      if (/auto|scroll|hidden/.test(getComputedStyle(b).overflow) && (x < r.left || x > r.right || y < r.top || y > r.bottom)) return true;
    }
    return false;
  };
  return [...(dialog ?? document).querySelectorAll('a[href], button, input, select, textarea, summary')].flatMap((e) => {
    const r = e.getBoundingClientRect();
    const [x, y] = [r.left + r.width / 2, r.top + r.height / 2];
    if (!e.checkVisibility() || r.width < 2 || e.closest('.xterm') || x < 0 || y < 0 || x >= innerWidth || y >= innerHeight || clipped(e, x, y)) return [];
    const top = document.elementFromPoint(x, y);
    if (!top || e.contains(top) || top.contains(e) && !top.matches('main, body, html') || top.closest('header, .toasts, .composer')) return [];
    return [`${e.outerHTML.slice(0, 80)} is beneath ${top.outerHTML.slice(0, 80)}`];
  });
});

async function shot(page, name) {
  fs.mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
}

module.exports = { Server, launch, open, signIn, violations, covered, shot, sizes, until, root };
