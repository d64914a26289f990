// Projects and ports in the page: cloned from a git server on the machine itself, which listens there.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { launch, shot, violations } = require('./browser.js');
const { Workplace, sees, until } = require('./workplace.js');

let browser;
test.before(async () => { browser = await launch(); });
test.after(() => browser.close());

// git's own server program, as a web server runs it.
const SERVER = `
const http = require('node:http'); const { spawn } = require('node:child_process');
http.createServer((req, res) => {
  const [where, query = ''] = req.url.split('?');
  if (where === '/') { res.end('hello from the machine'); return; }
  const cgi = spawn('git', ['http-backend'], { env: { ...process.env, GIT_PROJECT_ROOT: process.env.HOME + '/repos', GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: where, QUERY_STRING: query,
    REQUEST_METHOD: req.method, CONTENT_TYPE: req.headers['content-type'] || '', HTTP_GIT_PROTOCOL: req.headers['git-protocol'] || '', HTTP_CONTENT_ENCODING: req.headers['content-encoding'] || '' } });
  req.pipe(cgi.stdin);
  let head = Buffer.alloc(0);
  cgi.stdout.on('data', (d) => {
    if (head === null) { res.write(d); return; }
    head = Buffer.concat([head, d]);
    const end = head.indexOf('\\r\\n\\r\\n');
    if (end < 0) return;
    for (const line of head.subarray(0, end).toString().split('\\r\\n')) {
      const [, name, value] = /^([^:]+): (.*)$/.exec(line);
      if (name === 'Status') res.statusCode = parseInt(value, 10); else res.setHeader(name, value);
    }
    res.write(head.subarray(end + 4));
    head = null;
  });
  cgi.on('close', () => res.end());
}).listen(8123, '127.0.0.1');`;

async function work(t, how = {}) {
  const w = await Workplace.start(t, browser, { expected: [/400|409|404|502|Failed to load/], ...how });
  await w.home('server.js', SERVER);
  await w.sh(`cd; git init -q -b main work; cd work; git config user.email a@a; git config user.name a; for i in $(seq 200); do seq $i 2000 > f$i; done; git add .; git commit -qm one;
    git checkout -qb other; echo x > other; git add .; git commit -qm two; git checkout -q main; mkdir -p ~/repos; git clone -q --bare ~/work ~/repos/hello.git; setsid node ~/server.js >/dev/null 2>&1 </dev/null &`);
  await until(async () => (await w.call('GET', '/ports')).body.some((p) => p.port === 8123), 'it listens');
  return w;
}

test('a project is cloned, told how far it is, and opened as files, in a chat and in a terminal', async (t) => {
  const w = await work(t);
  const { page } = w;
  await page.goto('/dashboard/projects?machine=atlas');
  await page.getByRole('heading', { name: 'No project yet' }).waitFor();
  const told = [];
  await page.exposeFunction('told', (text) => told.push(text));
  await page.evaluate(() => new MutationObserver(() => {
    const now = document.querySelector('.clone-now');
    if (now) window.told(now.textContent);
  }).observe(document.querySelector('main'), { childList: true, subtree: true, characterData: true }));
  await page.getByLabel('Repository').fill('http://127.0.0.1:8123/hello.git');
  await page.getByRole('button', { name: 'Clone' }).click();
  await page.getByText('hello is there.').waitFor();
  assert.ok(told.some((text) => /\d+ %/.test(text)), told.join('\n'));

  await page.getByLabel('Repository').fill('http://127.0.0.1:8123/hello.git');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText(/exists already/).waitFor();
  await page.getByLabel('Repository').fill('file:///etc');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText(/expected/).waitFor();

  const hello = page.getByRole('group', { name: 'Open hello' });
  await hello.getByRole('link', { name: 'Files' }).click();
  await page.getByRole('link', { name: 'f1', exact: true }).waitFor();
  await page.goBack();
  await hello.getByRole('link', { name: 'Terminal' }).click();
  await page.waitForURL('**/dashboard/terminal?machine=*&cwd=/claude-data/hello');
  await page.locator('.terminal-tabs [aria-current=page]', { hasText: /^hello$/ }).waitFor();
  await sees(page, /\$ /);
  await page.keyboard.type('git log --oneline | cat; pwd');
  await page.keyboard.press('Enter');
  await sees(page, /one\n[^]*\/claude-data\/hello\n/);
  await page.goto('/dashboard/projects?machine=atlas');
  await hello.getByRole('link', { name: 'Chat' }).click();
  await page.waitForURL('**cwd=/claude-data/hello');
  assert.strictEqual(await page.getByLabel('Project').inputValue(), '/claude-data/hello');
  assert.deepStrictEqual(page.faults, []);
});

test('what listens is told on the machine\'s page: opened, given to others by a link, and taken back', async (t) => {
  const { page, server } = await work(t);
  await page.goto('/dashboard/machines/atlas');
  await page.getByText('What listens on it').click();
  const href = await page.getByRole('link', { name: 'Open port 8123' }).getAttribute('href');
  assert.strictEqual(await page.evaluate(async (at) => (await fetch(at)).text(), href), 'hello from the machine');
  await page.getByRole('button', { name: 'Make a link to port 8123' }).click();
  const url = await page.getByLabel('the link to port 8123', { exact: true }).textContent();
  const anybody = () => server.call('GET', new URL(url).pathname, undefined, { 'X-API-Key': undefined });
  assert.strictEqual((await anybody()).text, 'hello from the machine');
  assert.deepStrictEqual(await violations(page), []);
  await shot(page, 'machine-ports');
  await page.getByRole('button', { name: 'Revoke the link to port 8123' }).click();
  await page.getByText('The link leads nowhere any more.').waitFor();
  assert.strictEqual((await anybody()).status, 404);
  assert.deepStrictEqual(page.faults, []);
});

for (const size of ['desktop', 'phone']) {
  test(`axe-core finds nothing, at the size of a ${size}`, async (t) => {
    const w = await work(t, { size });
    const { page } = w;
    await w.sh('cd /claude-data; git clone -q ~/repos/hello.git; git init -q another-project');
    await page.goto('/dashboard/projects?machine=atlas');
    await page.getByText('another-project', { exact: true }).waitFor();
    assert.deepStrictEqual(await violations(page), []);
    const { wide, room } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth }));
    assert.ok(wide <= room, `${wide} wide in ${room}`);
    await shot(page, `projects-${size}`);
    assert.deepStrictEqual(page.faults, []);
  });
}
