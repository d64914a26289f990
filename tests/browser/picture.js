// Makes the picture of the dashboard that README.md shows: `make picture`, or `node tests/browser/picture.js FILE`. Real machines of
// this host, the shipped policies.
'use strict';
const path = require('node:path');
const { Server, launch, open, signIn, root } = require('./browser.js');

const file = process.argv[2] || path.join(root, 'docs', 'dashboard.png');

async function main() {
  const server = await Server.start({ provider: 'local', policies_dir: path.join(root, 'policies') });
  const browser = await launch();
  try {
    const owner = await server.account('ada@example.org', 'pro');
    for (const [name, type] of [['notes', 'tiny'], ['build-box', 'medium'], ['atlas', 'small']]) {
      const made = await server.call('POST', '/instances?wait=60', { name, type, user_id: owner });
      if (made.status !== 201) throw new Error(made.text);
      await server.running(made.body.id);
      if (name === 'notes') await server.call('POST', `/instances/${made.body.id}/stop?wait=60`);
    }
    const page = await open(browser, server);
    await signIn(page);
    await page.getByText('an hour, of your hours').first().waitFor();
    await page.setViewportSize({ width: 1120, height: 670 });
    await page.screenshot({ path: file });
    if (page.faults.length) throw new Error(page.faults.join('\n'));
    for (const m of (await server.call('GET', '/instances')).body) await server.call('DELETE', `/instances/${m.id}?wait=60`);
  } finally {
    await browser.close();
    await server.stop();
  }
}

main().catch((e) => { console.error(e); process.exitCode = 1; });
