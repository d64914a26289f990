// The proxy that holds answers to the description finds those that depart: with another description each of these is told, also to
// who does not mind, and a file that fails is one whose exit code is not 0.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const kit = require('../lib/kit.js');
const { binary, temp } = require('../lib/cchost.js');

const paths = ['/healthz', '/plans', '/instances', '/metrics', '/types', '/nowhere'];
const script = `
  const { Server } = require(${JSON.stringify(path.join(__dirname, '../lib/cchost.js'))});
  (async () => {
    const s = await Server.start({ provider: 'mock' }, process.env.DIR);
    try {
      if (process.env.ASK) {
        await s.call('POST', '/instances', { name: 'a' }).catch(() => {});
        for (const p of ${JSON.stringify(paths)}) await s.call('GET', p).then((r) => console.log('GET', p, r.status), (e) => console.log(e.message.split('\\n')[0].slice(0, 60)));
      }
    } finally { await s.stop(); }
  })();`;

test('an answer that departs is told, and one that does not passes', { skip: kit.missing('prism'), timeout: 200000 }, (t) => {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true }));
  const doc = JSON.parse(spawnSync(binary, ['openapi'], { encoding: 'utf8', maxBuffer: 1 << 24 }).stdout);
  const run = (name, ASK = '1') => {
    fs.writeFileSync(path.join(dir, name), JSON.stringify(doc));
    const r = spawnSync(process.execPath, ['--require', path.join(__dirname, 'through.js'), '-e', script],
      { encoding: 'utf8', timeout: 120000, env: { ...process.env, ASK, OPENAPI: path.join(dir, name), DIR: fs.mkdtempSync(path.join(dir, 'data-')) } });
    assert.strictEqual(r.stderr, '');
    return [r.status, r.stdout];
  };
  const answers = (statuses) => paths.map((p, i) => `GET ${p} ${statuses[i]}\n`).join('');

  const [good, said] = run('same.json');
  const [, begin, tally] = /^([^#]*)# answers held to the description: (\d+; of no route in it: 1; departing: 0)\n$/.exec(said) || assert.fail(said);
  assert.deepStrictEqual([good, begin], [0, answers([200, 200, 200, 200, 200, 404])]);
  assert.ok(parseInt(tally, 10) >= 6, tally);

  const get = (p) => doc.paths[p].get;
  doc.components.schemas.Health.required.push('nonsense'); // what is not there
  get('/plans').responses[201] = get('/plans').responses[200]; // a status that is not described
  delete get('/plans').responses[200];
  doc.components.schemas.Machine.properties.desired = { enum: ['ELSEWHERE'] }; // a value, deep within
  get('/metrics').responses[200].content = { 'image/png': {} }; // another type
  delete doc.paths['/types']; // a route
  const [bad, why] = run('other.json');
  for (const line of [/GET \/healthz: 200 [^]*must have required property 'nonsense'/, /GET \/plans: 200 /, /POST \/instances: 201 /, /GET \/instances: 200 [^]*ELSEWHERE/,
    /GET \/metrics: 200 /, /GET \/types: 200 [^]*of a route that is not described/]) {
    assert.match(why, new RegExp(`^not ok - departs from the description: ${line.source}`, 'm'));
  }
  assert.match(why, /^GET \/nowhere 404$/m);
  assert.strictEqual(bad, 1, 'though each was caught');

  assert.deepStrictEqual(run('unasked.json', ''), [1, '# answers held to the description: 0; of no route in it: 0; departing: 0\nnot ok - no answer was held to the description\n']);
});
