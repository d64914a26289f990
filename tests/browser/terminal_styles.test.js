// xterm.js under the page's policy: its sizes and colours arrive, and nothing is refused.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { Server, launch, open, root } = require('./browser.js');

// The module that terminals are opened with, as a file of the server's.
async function bundle() {
  const { build } = await import(pathToFileURL(require.resolve('esbuild', { paths: [path.join(root, 'web')] })));
  const { strictStyles } = await import(pathToFileURL(path.join(root, 'web', 'strict-styles.mjs')));
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-test-'));
  const out = path.join(dir, 'x.js');
  await build({ entryPoints: [path.join(root, 'web/src/terminal/xterm.ts')], bundle: true, format: 'esm', outfile: out, plugins: [strictStyles], logLevel: 'error' });
  const text = fs.readFileSync(out, 'utf8');
  fs.rmSync(dir, { recursive: true });
  return text;
}

test('xterm.js draws under a policy that allows no inline styles', async (t) => {
  const server = await Server.start({ provider: 'mock' });
  const browser = await launch();
  t.after(async () => { await browser.close(); await server.stop(); });
  const page = await open(browser, server);
  const body = await bundle();
  await page.route('**/assets/x.js', (r) => r.fulfill({ body, contentType: 'text/javascript' }));
  await page.goto('/');
  const seen = await page.evaluate(async () => {
    const { openScreen } = await import('/assets/x.js');
    const element = document.createElement('div');
    element.style.cssText = 'width: 640px; height: 240px';
    document.querySelector('main').append(element);
    const { term } = openScreen(element, { fontSize: 14, theme: { background: '#102030', foreground: '#ddeeff' }, allowTransparency: false });
    await new Promise((r) => term.write('plain \x1b[38;2;1;2;3mtrue colour\x1b[0m \x1b[31mred\x1b[0m', r));
    await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
    const at = (text) => [...element.querySelectorAll('.xterm-rows span')].find((s) => s.textContent.includes(text));
    const styles = (e) => { const s = getComputedStyle(e); return { colour: s.color, height: s.height }; };
    const out = {
      cols: term.cols, exact: styles(at('true colour')).colour, red: styles(at('red')).colour,
      rows: getComputedStyle(element.querySelector('.xterm-rows')).color, row: element.querySelector('.xterm-rows > div').getBoundingClientRect().height,
      adopted: document.adoptedStyleSheets.length,
    };
    term.dispose();
    return { ...out, left: document.adoptedStyleSheets.length };
  });
  assert.strictEqual(seen.exact, 'rgb(1, 2, 3)', 'a style attribute of its own');
  assert.strictEqual(seen.red, 'rgb(204, 0, 0)', 'a class of the theme');
  assert.strictEqual(seen.rows, 'rgb(221, 238, 255)', 'the theme');
  assert.ok(seen.cols > 40 && seen.row >= 12, JSON.stringify(seen));
  assert.ok(seen.adopted >= 2 && seen.left === 0, `sheets: ${seen.adopted}, afterwards ${seen.left}`);
  assert.deepStrictEqual(page.faults, []);
});
