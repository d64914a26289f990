// Lists: pages, filters, sorting and parts, of every list that there is, as the description of the API names them.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { Description } = require('../lib/openapi.js');
const { start, person, apiToken } = require('../access/people.js');
const { makers } = require('../access/objects.js');

const d = Description.read();
const key = (op) => `${op.method} ${op.path}`;
const has = (op, name) => d.parameters(op, 'query').find((p) => p.name === name);
const lists = d.operations.filter((op) => op.method === 'GET' && has(op, 'fields'));
const sorted = lists.filter((op) => has(op, 'sort'));

let s;
let owner;
let make;
let of;

test('set up', async () => {
  s = await start({ quota_instances: 0, quota_vpcs: 0, quota_webhooks: 0, network_backend: 'mock' });
  owner = await person(s, 'owner@example.org');
  make = makers(s, () => owner);
  const machine = await make.instance();
  const vpc = await make.vpc();
  of = { instance: machine, history: machine, volume: await make.volume(), conversation: await make.conversation(), webhook: await make.webhook(), port: 80 };
  const call = async (...args) => {
    const r = await owner.call(...args);
    assert.ok(r.status < 300, `${args}: ${r.status} ${r.text}`);
  };
  for (let i = 1; i <= 4; i++) {
    await call('POST', '/instances?wait=30', { name: `m${5 - i}`, labels: { team: i % 2 ? 'red' : 'blue', n: String(i) }, type: i > 2 ? 'tiny' : 'small' });
    await call('POST', `/instances/${machine}/snapshots`, { name: `s${5 - i}` });
    await call('POST', `/instances/${machine}/lease`, { id: `l${i}`, reason: 'a', ttl: 60 * i });
    await call('POST', `/instances/${machine}/ports/80/link`, { hours: i });
    await call('POST', `/instances/${machine}/terminal/share`, { session: 'main', minutes: i });
    await call('POST', '/volumes?wait=30', { name: `vol${5 - i}`, size_gib: i });
    await call('POST', `/volumes/${of.volume}/snapshots`, { name: `s${5 - i}` });
    await call('POST', '/subnets', { vpc_id: vpc, name: `sub${5 - i}`, cidr_block: `10.0.${i}.0/24` });
    await call('POST', '/security-groups', { vpc_id: vpc, name: `g${5 - i}` });
    await call('POST', `/conversations/${of.conversation}/messages`, { role: 'user', content: `${i}` });
    await make.conversation();
    await make.ssh_key();
    await make.session();
    await make.user();
    await apiToken(owner, ['billing'], { name: `t${5 - i}` });
    await make.vpc();
    await make.webhook();
    await call('POST', `/webhooks/${of.webhook}/test`);
  }
});

const where = (op) => op.path.replace(/\{(\w+)\}/g, (_, name) => (name !== 'id' ? of[name] : of[/^\/volumes/.test(op.path) ? 'volume' : /^\/conv/.test(op.path) ? 'conversation' : /^\/webhooks/.test(op.path) ? 'webhook' : 'instance']));
const caller = (op) => (/^\/(users|providers)/.test(op.path) ? s : owner);
// What it needs beside: the month is what makes usage a list.
const needs = (op) => ({ ...(op.path === '/billing/usage' && { start: '1d ago' }), ...(/share$/.test(op.path) && { session: 'main' }) });
const ask = (op, query = {}) => caller(op).call('GET', `${where(op)}?${new URLSearchParams({ ...needs(op), ...query })}`);
const next = (r) => /^<([^>]+)>; rel="next"$/.exec(r.headers.link || '')?.[1];

// All pages, one after the other.
async function walk(op, query) {
  const all = [];
  for (let r = await ask(op, query); ; r = await caller(op).call('GET', next(r))) {
    assert.strictEqual(r.status, 200, r.text);
    all.push(...r.body);
    assert.ok(all.length < 1000, `${key(op)} goes on for ever`);
    if (!next(r)) return all;
  }
}
const same = (a, b, what) => assert.deepStrictEqual(a, b, what);
const name = (item) => (item.start_time ? `${item.resource_id} ${item.start_time}` : item.id) ?? item.name ?? item.seq ?? item.day;

test('a list has all that lists have', () => {
  const arrays = d.operations.filter((op) => op.method === 'GET' && op.responses[200]?.content?.['application/json']?.schema.type === 'array');
  const without = arrays.filter((op) => !has(op, 'fields')).map((op) => op.path).sort();
  same(without, [ // the agent's, whose lists come through as they are, and one that tells of checks
    '/instances/{id}/files', '/instances/{id}/ports', '/instances/{id}/projects', '/instances/{id}/sessions',
    '/instances/{id}/sessions/{project}/conversations', '/providers/{id}/check',
  ]);
  assert.ok(sorted.length >= 20, `${sorted.length}`);
  const ordered = lists.filter((op) => !has(op, 'sort')).map((op) => op.path);
  same(ordered.sort(), ['/events', '/instances/{id}/events']); // the log, which may be of any length: `order`, and its own filters
  for (const op of lists) {
    const takes = d.parameters(op, 'query').map((p) => p.name).filter((n) => !['after', 'fields', 'limit', 'order', 'sort', 'user', 'start', 'end', 'month', 'before', 'at', 'since', 'until'].includes(n));
    assert.ok(takes.length > 0, `${key(op)} has no filter`);
    assert.ok(has(op, 'limit') && has(op, 'after'), `${key(op)} has no pages`);
  }
});

test('every list, by pages of one, is the whole list', async () => {
  for (const op of lists.filter((o) => has(o, 'limit'))) {
    const whole = await walk(op, {});
    const pages = await walk(op, { limit: 1 });
    if (op.path === '/events' || /decisions|usage/.test(op.path)) assert.ok(pages.length >= whole.length, key(op)); // they grow
    else same(pages.map(name), whole.map(name), key(op));
    assert.ok(whole.length > 2 || /usage|ledger|decisions/.test(op.path), `${key(op)} has ${whole.length}`);
  }
});

function order(a, b) {
  const none = [undefined, null];
  if (none.includes(a) || none.includes(b)) return none.includes(a) - none.includes(b);
  return a < b ? -1 : Number(a > b);
}

test('every list that can be sorted is, both ways, also by pages', async () => {
  for (const op of sorted) {
    for (const by of has(op, 'sort').schema.enum) {
      const field = by.replace(/^-/, '');
      const whole = await walk(op, { sort: by });
      for (let i = 1; i < whole.length; i++) {
        const [a, b] = [whole[i - 1][field], whole[i][field]];
        const is = a === null || a === undefined || b === null || b === undefined ? order(a, b) : order(a, b) * (by === field ? 1 : -1);
        assert.ok(is <= 0, `${key(op)} by ${by}: ${JSON.stringify(a)} before ${JSON.stringify(b)}`);
      }
      if (field === 'last_activity_at' || field === 'usage_hours' || field === 'quantity') continue; // they go on
      same((await walk(op, { sort: by, limit: 2 })).map(name), whole.map(name), `${key(op)} by ${by}`);
    }
    const r = await ask(op, { sort: 'nonsense' });
    same([r.status, r.body.field], [400, 'sort'], `${key(op)} ${r.text}`);
  }
});

test('fields: of each only those', async () => {
  for (const op of lists) {
    const [some] = await walk(op, {});
    if (!some) continue;
    const known = Object.keys(some).slice(0, 2);
    const r = await ask(op, { fields: known.join(',') });
    assert.strictEqual(r.status, 200, r.text);
    assert.match(r.headers['content-type'], /^application\/vnd\.cchost\.part\+json/);
    assert.ok(r.body.length > 0);
    for (const item of r.body) assert.ok(Object.keys(item).every((k) => known.includes(k)), `${key(op)} ${JSON.stringify(item)}`);
    same(Object.keys(r.body[0]).sort(), [...known].sort(), key(op));
    assert.strictEqual(d.fault(op, r), null, key(op));
    const wrong = await ask(op, { fields: 'id,nonsense' });
    same([wrong.status, wrong.body.field], [400, 'fields'], `${key(op)} ${wrong.text}`);
  }
});

test('a parameter that is said twice is refused, as only one of them could be minded', async () => {
  for (const op of lists) {
    const r = await caller(op).call('GET', `${where(op)}?${new URLSearchParams(needs(op))}&limit=1&limit=2`);
    same([r.status, r.body.field, r.body.error], [400, 'limit', 'limit: once expected, not twice'], key(op));
  }
});

test('a filter by what no record could have is refused', async () => {
  for (const [where_, field] of [['/webhooks?enabled=maybe', 'enabled'], ['/types?prepaid=', 'prepaid'], ['/instances?label==x', 'label'], ['/users?role=king', 'role'],
    [`/webhooks/${of.webhook}/deliveries?event=x`, 'event'], [`/webhooks/${of.webhook}/deliveries?trigger=test,none`, 'trigger']]) {
    const r = await (/users/.test(where_) ? s : owner).call('GET', where_);
    same([r.status, r.body.field], [400, field], `${where_} ${r.text}`);
  }
});

// Bug: an error that quoted what is no UTF-8, or a part of a text that ended within a character, became a 500.
test('what is asked for may be any bytes: an error quotes them as text', async () => {
  const long = `${'x'.repeat(39)}\u00e9\u00e9`; // the fortieth byte is half a character
  for (const [at, field, says] of [['/instances?status=%FF%FE', 'status', /not '\ufffd\ufffd'$/], ['/types?prepaid=%C3', 'prepaid', /'\ufffd'$/], ['/volumes?fields=%FF', 'fields', /'\ufffd'/],
    ['/webhooks?%FF=1', '\ufffd', /^\ufffd: no such parameter/], [`/instances?status=${encodeURIComponent(long)}`, 'status', /x\ufffd'$/]]) {
    const r = await owner.call('GET', at);
    same([r.status, r.body.field], [400, field], `${at} ${r.text}`);
    assert.match(r.body.error, says);
  }
  const r = await owner.call('POST', '/instances', { network: long });
  same([r.status, r.body.field], [400, 'network'], r.text);
  assert.match(r.body.error, /x\ufffd'$/);
});

test('the delivery log by what became of each', async () => {
  const get = async (query) => {
    const r = await owner.call('GET', `/webhooks/${of.webhook}/deliveries?${query}`);
    assert.strictEqual(r.status, 200, r.text);
    return r.body;
  };
  const all = await get('');
  same(all.map((x) => x.number), all.map((x) => x.number).sort((a, b) => b - a));
  same((await get('trigger=test&sort=number')).map((x) => x.number), all.filter((x) => x.trigger === 'test').map((x) => x.number).reverse());
  same((await get('ok=true')).length, all.filter((x) => x.ok).length);
  same((await get('event=null')).length, all.filter((x) => x.event === null).length);
});

test('a machine\'s list says nothing beside one decision', async () => {
  for (const more of ['fields=kind', 'limit=1', 'sort=from']) {
    const r = await owner.call('GET', `/instances/${of.instance}/decisions?at=stop&${more}`);
    same([r.status, r.body.field], [400, more.split('=')[0]], r.text);
  }
});

// Bug: of what was all there, like webhooks, the cursor was a place.
test('what goes between two pages of a list in its own order takes nothing else along', async () => {
  const whole = (await owner.call('GET', '/webhooks?fields=id')).body.map((h) => h.id);
  assert.ok(whole.length >= 4);
  const first = await owner.call('GET', '/webhooks?limit=2&fields=id');
  assert.strictEqual((await owner.call('DELETE', `/webhooks/${first.body[0].id}`)).status, 204);
  const rest = [];
  for (let at = next(first); at;) {
    const r = await owner.call('GET', at);
    rest.push(...r.body.map((h) => h.id));
    at = next(r);
  }
  same(rest, whole.slice(2));
  of.webhook = whole[1];
});

test('a cursor that is none is refused', async () => {
  for (const op of sorted) {
    for (const after of ['x', '[1]', '{"a":1}', '[{},"x"]', '[1,2]']) {
      const r = await ask(op, { after, sort: has(op, 'sort').schema.enum[0] });
      same([r.status, r.body.field], [400, 'after'], `${key(op)} ${after}: ${r.text}`);
    }
  }
});

// Bug: a cursor of another order was taken, and its page was one of neither.
test('a cursor of another order is refused', async () => {
  const r = await owner.call('GET', next(await owner.call('GET', '/instances?limit=1&sort=name')));
  assert.strictEqual(r.status, 200);
  for (const sort of ['-name', 'created_at']) {
    const wrong = await owner.call('GET', next(await owner.call('GET', '/instances?limit=1&sort=name')).replace('sort=name', `sort=${sort}`));
    same([wrong.status, wrong.body.field, wrong.body.error], [400, 'after', 'after: a cursor of this order expected, not of sort=name']);
  }
});

test('filters: by what is the same, by several, by labels', async () => {
  const names = async (query, call = owner.call) => {
    const r = await call('GET', `/instances?sort=name&fields=name&${new URLSearchParams(query)}`);
    assert.strictEqual(r.status, 200, r.text);
    return r.body.map((m) => m.name).filter((n) => /^m\d$/.test(n));
  };
  same(await names({}), ['m1', 'm2', 'm3', 'm4']);
  same(await names({ type: 'tiny' }), ['m1', 'm2']);
  same(await names({ name: 'm1,m4' }), ['m1', 'm4']);
  same(await names({ label: 'team=red' }), ['m2', 'm4']);
  same(await names({ label: 'team=red', type: 'small' }), ['m4']);
  same(await names({ label: 'team' }), ['m1', 'm2', 'm3', 'm4']);
  same(await names({ label: 'none' }), []);
  same(await names({ location: 'null' }), ['m1', 'm2', 'm3', 'm4']);
  same(await names({ status: 'STOPPED,ERROR' }), []);
  assert.strictEqual((await owner.call('POST', '/instances/m3/stop')).status, 200);
  same(await names({ status: 'STOPPED,ERROR' }), ['m3']);
  const r = await owner.call('GET', '/instances?status=RUNNING,ASLEEP');
  same([r.status, r.body.field], [400, 'status'], r.text);
  // others' are not there, whatever is asked for
  const other = await person(s, 'other@example.org');
  same(await names({ owner: owner.id }, other.call), []);
  same((await names({ owner: owner.id }, (...a) => s.call(...a))).length, 4);
  same((await s.call('GET', `/users?role=user&email=other@example.org&fields=email`)).body, [{ email: 'other@example.org' }]);
  same((await owner.call('GET', '/types?prepaid=true&sort=-name&fields=name&limit=2')).body.length, 2);
});

test('without a sort a filter goes by the order of the list, page by page, and each page that is full is full of what fits', async () => {
  const found = [];
  for (let at = '/instances?type=tiny&limit=1&fields=id,type'; at;) {
    const r = await owner.call('GET', at);
    assert.strictEqual(r.status, 200, r.text);
    assert.ok(r.body.length <= 1);
    found.push(...r.body);
    at = next(r);
  }
  same(found.map((m) => m.type), ['tiny', 'tiny']);
  same(found.map((m) => m.id), found.map((m) => m.id).sort());
});

test('what goes between two pages of a sorted list takes nothing else along', async () => {
  const first = await owner.call('GET', '/volumes?sort=-size_gib&limit=2&fields=id,name,size_gib');
  assert.strictEqual((await owner.call('DELETE', `/volumes/${first.body[1].id}`)).status, 200);
  const rest = [];
  for (let at = next(first); at;) {
    const r = await owner.call('GET', at);
    rest.push(...r.body);
    at = next(r);
  }
  const left = (await owner.call('GET', '/volumes?sort=-size_gib&fields=id,name,size_gib')).body;
  same([first.body[0], ...rest], left);
});

test('nothing is left', async () => {
  await s.stop();
});
