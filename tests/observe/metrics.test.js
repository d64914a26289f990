// The figures of a server: two readers that are not ours find them sound, they say what is, and no use adds series to them.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { temp, until } = require('../lib/cchost.js');
const { figures, read } = require('../lib/figures.js');
const { fences } = require('../lib/shown.js');
const { start, as, bearer, person, admin, apiToken } = require('../access/people.js');

async function serve(t, settings = {}, how) {
  const s = await start(settings, undefined, how);
  t.after(() => s.stop());
  return s;
}

const parser = `
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
for f in families:
    assert f.documentation, f.name
    assert not f.unit or f.name.endswith("_" + f.unit), f.name
    assert f.name.endswith("_bytes") == (f.unit == "bytes") or f.type == "gauge" and f.unit == "bytes", f.name
    assert f.name.endswith("_seconds") == (f.unit == "seconds"), f.name
print(len(families))
`;

// Something of everything: machines by their lives, people, refusals, what is not there.
async function use(s, round) {
  const p = await person(s, `person${round}@example.org`);
  const m = (await p.call('POST', '/instances?wait=30', { name: `machine${round}`, labels: { round: `r${round}` } })).body;
  assert.strictEqual(m.status, 'RUNNING', JSON.stringify(m));
  for (const verb of ['stop', 'start', 'pause', 'wake']) await p.call('POST', `/instances/${m.id}/${verb}?wait=30`);
  await s.running(m.id);
  await p.call('GET', `/instances/${m.short}`);
  await p.call('GET', `/instances/machine${round}`);
  await p.call('GET', `/instances/nobody${round}`);
  await p.call('POST', '/instances', { name: 5, other: round });
  await p.call('PATCH', '/auth/me', { name: `N ${round}` });
  await p.call('POST', '/webhooks', { url: `http://127.0.0.1:1/hook${round}`, description: `of ${round}` });
  await as(s, bearer(`wrong${round}`), 'GET', '/auth/me');
  await as(s, {}, 'GET', `/no/such/page/${round}`);
  await s.call('GET', `/users/${p.id}`);
  await p.call('DELETE', `/instances/${m.id}?wait=30`);
  await until(async () => (await s.status(m.id)) === 'DELETED', 'it is deleted');
}

test('the rules of docs/observability.md are sound, and what they ask for is there', async (t) => {
  const rules = fences('docs/observability.md').find((b) => b.language === 'yaml' && b.text.startsWith('groups:')).text;
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.writeFileSync(path.join(dir, 'rules.yml'), rules);
  const tool = spawnSync('promtool', ['check', 'rules', path.join(dir, 'rules.yml')], { encoding: 'utf8' });
  assert.strictEqual(tool.status, 0, tool.stdout + tool.stderr);
  const s = await serve(t);
  await s.call('POST', '/instances?wait=30', {});
  const body = (await s.call('GET', '/metrics')).text;
  const exprs = [...rules.matchAll(/expr: '([^']*)'/g)].map((m) => m[1]);
  const asked = exprs.flatMap((e) => [...e.matchAll(/((?:cchost|process)_\w+)(?:\{([^}]*)\})?/g)].map(([, name, labels]) => [name, labels]));
  assert.ok(asked.length >= 12, asked.length);
  for (const [name, labels] of asked) {
    const lines = body.split('\n').filter((l) => l.startsWith(`${name}{`) || l.startsWith(`${name} `));
    assert.ok(lines.length > 0 , name);
    const values = labels ? /^\w+=~?"([^"]+)"$/.exec(labels)[1].split('|') : [];
    for (const v of values) assert.ok(lines.some((l) => l.includes(`${/^\w+/.exec(labels)[0]}="${v}"`)), `${name} ${v}`);
  }
});

test('promtool and a strict reader of OpenMetrics find nothing', async (t) => {
  const s = await serve(t);
  await use(s, 1);
  const r = await s.call('GET', '/metrics');
  assert.strictEqual(r.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  const tool = spawnSync('promtool', ['check', 'metrics'], { input: r.text, encoding: 'utf8' });
  assert.deepStrictEqual([tool.status, tool.stdout, tool.stderr], [0, '', '']);
  const open = await s.call('GET', '/metrics', undefined, { Accept: 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1' });
  assert.strictEqual(open.headers['content-type'], 'application/openmetrics-text; version=1.0.0; charset=utf-8');
  const strict = spawnSync('/usr/bin/python3', ['-c', parser], { input: open.text, encoding: 'utf8' });
  assert.deepStrictEqual([strict.status, strict.stderr], [0, '']);
  assert.ok(Number(strict.stdout) > 40, strict.stdout);
  assert.strictEqual((await s.call('GET', '/metrics?x=1')).status, 400);
});

test('they say what is', async (t) => {
  const s = await serve(t);
  const p = await person(s, 'p@example.org');
  const of = async (name) => (await figures(s)).get(name) ?? `no ${name}`;
  const machines = async (n) => until(async () => (await of('cloudcode_instances{status="RUNNING"}')) === n, `${n} run`);
  await machines(0);
  const one = (await p.call('POST', '/instances?wait=30', {})).body;
  await p.call('POST', '/instances?wait=30', {});
  await machines(2);
  assert.strictEqual(await of('cloudcode_instances_active'), 2);
  await p.call('POST', `/instances/${one.id}/stop?wait=30`);
  await machines(1);
  assert.strictEqual(await of('cloudcode_instances{status="STOPPED"}'), 1);
  await p.call('DELETE', `/instances/${one.id}?wait=30`);
  await until(async () => (await of('cloudcode_instances{status="STOPPED"}')) === 0, 'the stopped one is gone');
  assert.strictEqual(await of('cchost_http_requests_total{method="POST",route="/instances",status="2xx"}'), 2);
  assert.strictEqual(await of('cchost_http_requests_total{method="POST",route="/instances",status="5xx"}'), 0);
  assert.strictEqual(await of('cchost_http_request_duration_seconds_count{method="POST",route="/instances"}'), 2);
  assert.strictEqual(await of('cchost_machine_events_total{type="created"}'), 2);
  for (const never of ['cchost_machine_events_total{type="found_down"}', 'cchost_ledger_entries_total{type="dispute"}']) assert.strictEqual(await of(never), 0);
  assert.strictEqual(await of('cchost_policy_generation'), 1);
  const now = await figures(s);
  for (const name of ['cchost_loop_turn_seconds_count', 'cchost_tasks', 'cchost_store_commits_total', 'cchost_store_sync_seconds_count', 'cchost_store_used_bytes',
    'cchost_store_batch_updates_sum', 'cchost_http_connections{kind="http"}', 'cchost_http_sent_bytes_total', 'cchost_provider_calls_total{provider="mock",how="begun"}',
    'process_resident_memory_bytes', 'process_open_fds', 'process_start_time_seconds', 'cchost_lua_memory_bytes', 'cchost_log_lines_total{how="written"}']) {
    assert.ok(now.get(name) > 0, `${name}: ${now.get(name)}`);
  }
  const [used, held] = ['cchost_heap_used_bytes', 'cchost_heap_bytes'].map((name) => now.get(name));
  assert.ok(process.env.V === 'asan' || used > 1e5 && used <= held, `${used} of ${held}`); // a sanitizer has a heap of its own
  assert.ok([...now.keys()].some((k) => k.startsWith('cchost_decisions_total{decision="placement.place"') && now.get(k) >= 2));
});

test('work under way is told by kind and step, with the age of the oldest', async (t) => {
  const s = await serve(t, { mock: '{create={latency_ms=600000}}', provider_seconds: 600, drain_seconds: 0 });
  const m = (await s.call('POST', '/instances', {})).body;
  const now = await until(async () => {
    const f = await figures(s);
    return [...f.keys()].some((k) => /^cchost_workflows\{kind="create",step="(?!queued)/.test(k) && f.get(k) === 1) && f;
  }, 'the create is told of');
  assert.ok(now.get('cchost_workflow_oldest_age_seconds{kind="create"}') >= 0);
  await until(async () => (await figures(s)).get('cchost_workflow_oldest_age_seconds{kind="create"}') > 0.2, 'it grows older');
  assert.strictEqual(now.get('cloudcode_instances{status="STARTING"}'), 1);
  await s.call('DELETE', `/instances/${m.id}?wait=30`);
  await until(async () => [...(await figures(s))].every(([k, v]) => !k.startsWith('cchost_workflows{') || v === 0), 'nothing is under way any more');
});

test('use adds no series after its first round, and no label holds an id or a name', async (t) => {
  const s = await serve(t);
  await use(s, 1);
  await use(s, 2);
  await until(async () => (await figures(s)).get('cloudcode_instances_active') === 0, 'it is counted');
  const names = async () => [...(await figures(s)).keys()].sort();
  const first = await names();
  await Promise.all([3, 4, 5, 6, 7, 8].map((n) => use(s, n)));
  for (let n = 9; n < 15; n++) await use(s, n);
  assert.deepStrictEqual(await names(), first);
  for (const name of first) {
    assert.doesNotMatch(name, /[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{12}|@|person|machine\d|nobody|wrong|\/\d/, name);
  }
  assert.ok(first.length < 2000, String(first.length));
});

test('a listener of its own has the figures, without a credential, and nothing else', async (t) => {
  const s = await serve(t, { metrics_addr: '127.0.0.1:0' });
  const [, url] = /module=serve msg="figures are served" at=(\S+)/.exec(s.log);
  const r = await fetch(url, { headers: { Connection: 'close' } });
  assert.strictEqual(r.status, 200);
  assert.ok(read(await r.text()).get('process_open_fds') > 0);
  for (const [where, method] of [['/instances', 'GET'], ['/healthz', 'GET'], ['/', 'GET'], ['/metrics', 'POST'], ['/metrics/', 'GET']]) {
    const other = await fetch(new URL(where, url), { method, headers: { Connection: 'close', 'X-API-Key': s.key } });
    assert.strictEqual(other.status, 404, where);
    await other.text();
  }
});

test('an admin\'s token with the scope metrics is enough, until he is none any more', async (t) => {
  const s = await serve(t);
  const root = await admin(s);
  const { token } = await apiToken(root, ['metrics']);
  assert.strictEqual((await as(s, bearer(token), 'GET', '/metrics')).status, 200);
  assert.strictEqual((await as(s, bearer(token), 'GET', '/users')).status, 403);
  assert.strictEqual((await s.call('PATCH', `/users/${root.id}`, { role: 'user' })).status, 200);
  assert.strictEqual((await as(s, bearer(token), 'GET', '/metrics')).status, 403);
});
