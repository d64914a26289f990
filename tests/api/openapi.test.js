// The description of the API is true: every route that it tells of is asked with the example of its description, on a real server
// with a real agent, and what comes back is as described, to the last field. What cannot be shown so says what comes instead.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { binary, root, until, temp } = require('../lib/cchost.js');
const { Description } = require('../lib/openapi.js');
const { Agent } = require('../lib/real_agent.js');
const { Stripe } = require('../lib/stripe.js');
const { sign } = require('../lib/stripe/hooks.js');
const { start, person, as } = require('../access/people.js');
const { makers } = require('../access/objects.js');

const command = (...args) => {
  const r = spawnSync(binary, args, { encoding: 'utf8', maxBuffer: 1 << 24 });
  assert.strictEqual(r.status, 0, r.stderr);
  return r.stdout;
};
const routes = new Map(command('routes', '--json').trim().split('\n').map((l) => JSON.parse(l))
  .map((r) => [`${r.method} ${r.path.replace(/\*$/, '{path}')}`, r]));
const d = Description.read();
const key = (op) => `${op.method} ${op.path}`;

test('every route is described, and nothing else', () => {
  assert.deepStrictEqual(d.operations.map(key).sort(), [...routes.keys()].sort());
});

test('docs/api.md has every route as it is described', () => {
  const text = fs.readFileSync(path.join(root, 'docs', 'api.md'), 'utf8');
  const [, tables] = /<!-- made by: cchost openapi --markdown -->\n([^]*?)<!-- end -->/.exec(text);
  assert.strictEqual(tables.trim(), command('openapi', '--markdown').trim());
});

test('examples of bodies and parameters are as described', () => {
  for (const op of d.operations) {
    const json = op.requestBody?.content?.['application/json'];
    if (json?.example !== undefined) assert.strictEqual(d.bodyFault(op, json.example), null, key(op));
    for (const p of [...d.parameters(op, 'query'), ...d.parameters(op, 'path')]) {
      if (p.example !== undefined) assert.ok(d.validator(p.schema)(p.example), `${key(op)} ${p.name}`);
    }
  }
});

let s;
let agent;
let stripe;
let folder;
let owner;
let make;
const home = { api: 0 };

test('set up', async () => {
  agent = await Agent.start();
  fs.mkdirSync(path.join(agent.root, 'kept', '.git'), { recursive: true });
  stripe = await Stripe.start({ checked: false });
  folder = temp();
  for (const from of ['policies', 'tests/lib/policies', 'tests/access/policies']) fs.cpSync(path.join(root, from), folder, { recursive: true });
  fs.rmSync(path.join(folder, 'tests'), { recursive: true });
  s = await start({ quota_instances: 0, quota_vpcs: 0, network_backend: 'mock', mock: `{endpoint="${agent.sock}",orphans=1}`, policies_dir: folder, stripe_api_url: stripe.url },
    undefined, { env: stripe.env });
  owner = await person(s, 'owner@example.org');
  make = makers(s, () => owner);
});

const call = async (...args) => {
  const r = await owner.call(...args);
  assert.ok(r.status < 400, `${args[0]} ${args[1]}: ${r.status} ${r.text}`);
  return r.body;
};
const once = {};
const only = (name, fn) => { once[name] ??= fn(); return once[name]; };
const backend = async () => { assert.strictEqual((await owner.call('GET', '/vpcs/backend')).status, 200, 'POST /vpcs was shown before'); };

// What an operation needs before it can be shown: values for its path, its body where no example will do.
const before = {
  'POST /subnets': backend,
  'POST /security-groups': backend,
  'POST /instances/{id}/wake': async ({ id }) => { await call('POST', `/instances/${id}/stop`); },
  'POST /instances/{id}/resume': async ({ id }) => { await call('POST', `/instances/${id}/suspend`); },
  'DELETE /instances/{id}/leases/{lease}': async ({ id }) => ({ lease: (await call('POST', `/instances/${id}/lease`, { reason: 'a', ttl: 60 })).id }),
  'DELETE /instances/{id}/volumes/{volume}': async ({ id }) => ({ volume: make.volumeOf[id] }),
  'DELETE /instances/{id}/snapshots/{snapshot}': async ({ id }) => ({ snapshot: (await call('POST', `/instances/${id}/snapshots`, { name: 's1' })).name }),
  'POST /instances/{id}/snapshots/{snapshot}/restore': async ({ id }) => ({ snapshot: (await call('POST', `/instances/${id}/snapshots`, { name: 's1' })).name }),
  'DELETE /volumes/{id}/snapshots/{snapshot}': async ({ id }) => { await call('POST', `/volumes/${id}/snapshots`, { name: 'monday' }); return { snapshot: 'monday' }; },
  'POST /volumes/{id}/restore': async ({ id }) => { await call('POST', `/volumes/${id}/snapshots`, { name: 'monday' }); },
  'POST /volumes/{id}/clone': async ({ id }) => { await call('POST', `/volumes/${id}/snapshots`, { name: 'monday' }); },
  'POST /volumes/{id}/detach': async ({ id }) => { await call('POST', `/volumes/${id}/attach`, { machine: await make.instance(), path: '/other' }); },
  'DELETE /security-groups/{id}/rules/{rule}': async ({ id }) => ({ rule: (await call('POST', `/security-groups/${id}/rules`, { direction: 'egress' })).id }),
  'PUT /instances/{id}/files': () => ({ body: 'text', query: { path: 'notes.txt' } }),
  'GET /instances/{id}/files/read': () => { fs.writeFileSync(path.join(agent.root, 'notes.txt'), 'x'); },
  'GET /instances/{id}/files/download': () => { fs.writeFileSync(path.join(agent.root, 'notes.txt'), 'x'); },
  'DELETE /instances/{id}/files': () => { fs.writeFileSync(path.join(agent.root, 'notes.txt'), 'x'); },
  'POST /instances/{id}/files/upload': () => ({ body: Buffer.alloc(1024).toString('latin1') }),
  'POST /instances/{id}/files/rename': () => { fs.mkdirSync(path.join(agent.root, 'a', 'b'), { recursive: true }); },
  'POST /instances/{id}/projects/clone': () => ({ body: { url: 'http://127.0.0.1:1/project.git' } }), // nothing beyond this host
  'DELETE /instances/{id}/tabs/{name}': async ({ id }) => ({ name: (await call('POST', `/instances/${id}/tabs`, { name: 'gone' })).tab }),
  'GET /instances/{id}/sessions/{project}/conversations': () => ({ project: 'kept' }),
  'DELETE /instances/{id}/ports/{port}/link': async ({ id }) => { await call('POST', `/instances/${id}/ports/${home.port}/link`, {}); },
  'GET /instances/{id}/ports/{port}/link': async ({ id }) => { await call('POST', `/instances/${id}/ports/${home.port}/link`, {}); },
  'GET /instances/{id}/terminal/share': async ({ id }) => { await call('POST', `/instances/${id}/terminal/share`, { session: 'main' }); },
  'PUT /policies/{id}': async () => ({ body: { source: fs.readFileSync(path.join(folder, 'idle.lua'), 'utf8').replace(/^/, '-- A try.\n'), version: (await s.call('GET', '/policies/idle.lua')).body.version } }),
  'POST /policies/{id}/whatif': () => ({ body: { source: fs.readFileSync(path.join(folder, 'idle.lua'), 'utf8'), since: '1d' } }),
  'GET /policies/staged': () => {
    const tried = temp();
    fs.cpSync(folder, tried, { recursive: true });
    fs.appendFileSync(path.join(tried, 'idle.lua'), '\n-- tried\n');
    command('policy', 'stage', tried, `--data-dir=${s.dir}`, `--policies-dir=${folder}`);
    fs.rmSync(tried, { recursive: true });
    return until(async () => (await s.call('GET', '/policies/staged')).status === 200, 'it is staged').then(() => ({}));
  },
  'DELETE /providers/{id}/orphans/{orphan}': async () => ({ orphan: Object.keys((await until(async () => {
    const [p] = (await s.call('GET', '/providers')).body.providers;
    return Object.keys(p.orphans).length && p;
  }, 'the orphan is seen')).orphans)[0] }),
  'GET /auth/verify': async () => {
    const links = () => [...s.log.matchAll(/verify\?token=([^\s"]+)/g)];
    const before = links().length;
    await as(s, {}, 'POST', '/auth/login', { email: 'ann@example.org' });
    const all = await until(() => links().length > before && links(), 'the link is in the log');
    return { query: { token: all.at(-1)[1] }, headers: { Accept: 'application/json' } };
  },
  'POST /auth/verify': async () => ({ body: { token: (await before['GET /auth/verify']()).query.token } }),
  'POST /billing/webhook': () => {
    const body = JSON.stringify({ id: 'evt_1', object: 'event', type: 'ping', created: Math.floor(Date.now() / 1000), livemode: false, api_version: '2026-10-28.endive', data: { object: { id: 'x', object: 'x' } } });
    return { body, headers: { 'Stripe-Signature': sign(body, stripe.secret, Math.floor(Date.now() / 1000)) } };
  },
  'POST /webhooks/{id}/deliveries/{number}/redeliver': async ({ id }) => { // nobody listens there, so its first try is known soon
    await call('PATCH', `/webhooks/${id}`, { enabled: true });
    const [first] = await until(async () => { const l = await call('GET', `/webhooks/${id}/deliveries`); return l.length && l; }, 'it was tried');
    await call('PATCH', `/webhooks/${id}`, { enabled: false });
    return { number: first.number };
  },
  'GET /webhooks/{id}/deliveries': async ({ id }) => { await call('POST', `/webhooks/${id}/test`); },
  'GET /agent/{arch}': () => ({ arch: process.arch === 'x64' ? 'x86_64' : 'aarch64' }),
  'GET /assets/{file}': async () => ({ file: /\/assets\/([\w.-]+)/.exec((await as(s, {}, 'GET', '/', undefined)).text)[1] }),
};
for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
  before[`${method} /preview/{token}/{path}`] = () => only('link', async () => {
    const { url } = await call('POST', `/instances/${await make.instance()}/ports/${home.port}/link`, {});
    return { token: /preview\/(\w+)/.exec(url)[1], path: 'a/b' };
  });
}
before['GET /preview/{token}'] = before['GET /preview/{token}/{path}'];

// What cannot be shown here, and what comes instead.
const otherwise = {
  'GET /instances/{id}/console': 400, 'GET /instances/{id}/screenshot': 400, // the mock has no screen: tests of libvirt
  'GET /instances/{id}/logs': 400, // nor a log: e2e
  'GET /instances/{id}/terminal': 426, 'GET /instances/{id}/chat': 426, // WebSockets: tests/access/streams.test.js
  'GET /shared/{token}': 404,
  'POST /operations/{id}/cancel': 409, // it is over: tests/api/operations.test.js
  'POST /instances/{id}/projects/clone': 502, // no network here: tests/agent/projects.test.js
  'POST /instances/{id}/services/{name}/restart': 404, 'GET /instances/{id}/services/{name}/log': 404, // none: tests/agent/services.test.js
};

const first = ['POST /instances', 'POST /vpcs', 'POST /volumes', 'POST /billing/checkout'];
const rank = (op) => (first.indexOf(key(op)) + 1 || first.length + 1);

// Asks for one operation by its description. -> { answer, where }
async function show(op, more = {}) {
  const route = routes.get(key(op));
  const values = {};
  for (const p of d.parameters(op, 'path')) {
    if (p.name === 'id' && route.object) values.id = await make[route.object]();
    else values[p.name] = p.name === 'port' ? home.port : 'x';
  }
  const need = { ...await before[key(op)]?.(values), ...more };
  const query = new URLSearchParams(need.query);
  for (const p of d.parameters(op, 'query')) {
    if (p.required && !query.has(p.name)) query.set(p.name, p.example);
  }
  const where = op.path.replace(/\{(\w+)\}/g, (_, name) => encodeURI(need[name] ?? values[name])) + (query.size ? `?${query}` : '');
  const json = op.requestBody?.content?.['application/json'];
  const body = need.body ?? (json && (json.example ?? {}));
  const caller = route.admin ? s : route.open ? { call: (...a) => as(s, a[3], ...a.slice(0, 3)) } : owner;
  return { where, answer: await caller.call(op.method, where, op.method === 'GET' ? undefined : body, need.headers || {}) };
}

// A program that listens on the machine, whatever is asked of it.
let listener;

test('each operation gives what its description says', { timeout: 240000 }, async () => {
  listener = http.createServer((req, res) => { req.resume(); res.setHeader('Content-Type', 'text/plain'); res.end('ok'); });
  await new Promise((r) => { listener.listen(0, '127.0.0.1', r); });
  home.port = listener.address().port;
  const faults = [];
  for (const op of [...d.operations].sort((a, b) => rank(a) - rank(b))) {
    const { where, answer } = await show(op);
    const line = `${op.method} ${where}: ${answer.status} ${answer.text.slice(0, 300)}`;
    const fault = d.fault(op, answer);
    if (fault) faults.push(`${line}\n    ${fault}`);
    const want = otherwise[key(op)];
    if (want ? answer.status !== want : answer.status >= 400) faults.push(`${line}\n    ${want ?? 'what it gives'} expected`);
    if (key(op) === 'POST /auth/logout' || (op.path === '/auth/sessions' && op.method === 'DELETE')) {
      owner = await person(s, owner.email);
    }
  }
  assert.strictEqual(faults.join('\n'), '');
});

const beside = { 'GET /billing/usage': { start: '1d ago' } }; // what makes it the list that takes them

test('each parameter of a query may be asked for as its example says', { timeout: 120000 }, async () => {
  const faults = [];
  let n = 0;
  for (const op of d.operations.filter((o) => o.method === 'GET' && !otherwise[key(o)])) {
    for (const p of d.parameters(op, 'query').filter((q) => !q.required && q.example !== undefined)) {
      const { where, answer } = await show(op, { query: { ...beside[key(op)], [p.name]: p.example } });
      const fault = d.fault(op, answer);
      n += 1;
      if (fault || answer.status >= 400) faults.push(`${where}: ${answer.status} ${answer.text.slice(0, 300)}\n    ${fault}`);
    }
  }
  assert.ok(n > 20, `${n} are shown`);
  assert.strictEqual(faults.join('\n'), '');
});

// Pages, to which links of others may add what they like, and what is passed on to machines.
const takesAny = /^\/(dashboard|assets|help|docs|auth\/(login|verify)|billing\/webhook|shared|preview|$)|\{id\}\/(auth|chat|files|ports\/\{port\}$|ports\/\{port\}\/\{path\}|ports$|projects|services|sessions|tabs|terminal$)/;

test('a parameter that is not described is refused by its name', async () => {
  let n = 0;
  for (const op of d.operations) {
    const route = routes.get(key(op));
    const caller = route.admin ? s : owner;
    const r = await caller.call(op.method, `${op.path.replace(/\{\w+\}/g, 'x')}?nonsense=1`, op.method === 'GET' ? undefined : {});
    const refused = r.status === 400 && /^nonsense: no such parameter/.test(r.body?.error);
    assert.strictEqual(refused, !takesAny.test(op.path) || key(op) === 'POST /auth/login', `${key(op)}: ${r.status} ${r.text.slice(0, 200)}`);
    n += refused;
  }
  assert.ok(n > 90, `${n} refuse`);
});

test('GET /openapi.json is that document, open to all, and kept by who has it', async () => {
  const r = await as(s, {}, 'GET', '/openapi.json', undefined);
  assert.deepStrictEqual([r.status, r.headers['content-type']], [200, 'application/json; charset=utf-8']);
  assert.deepStrictEqual(r.body, d.doc);
  const again = await s.call('GET', '/openapi.json', undefined, { 'X-API-Key': undefined, 'If-None-Match': r.headers.etag });
  assert.deepStrictEqual([again.status, again.text, again.headers.etag], [304, '', r.headers.etag]);
});

test('nothing is left', async () => {
  await new Promise((r) => { listener.close(r); listener.closeAllConnections(); });
  await s.stop();
  await stripe.stop();
  await agent.stop();
  fs.rmSync(folder, { recursive: true });
});
