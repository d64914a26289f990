// Traces: what a collector gets is sound by the vendor's own proto files; the tree of one request is whole, also when the host is killed
// under it or another takes its place; and a collector that is down, slow or refuses costs nobody anything but spans.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { until, temp } = require('../lib/cchost.js');
const { Agent } = require('../lib/agent.js');
const { collector, missing } = require('../lib/otlp.js');
const { start, as, bearer, person } = require('../access/people.js');

const CLIENT = { trace: '4bf92f3577b34da6a3ce929d0e0e4736', span: '00f067aa0ba902b7' };
const traceparent = (flags = '01') => ({ traceparent: `00-${CLIENT.trace}-${CLIENT.span}-${flags}` });

function folder(t) {
  const dir = temp();
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const traced = (sink, settings = {}, dir, how) => start({ otel_exporter_otlp_endpoint: sink.url, otel_bsp_schedule_delay: 50, ...settings }, dir, how);

// The spans of a trace as a tree: fails unless there is one root, whose parent is `above` (undefined: none), and every other span's
// parent is there. -> {root, of(name) -> spans, below(span) -> names in order of time}
function tree(spans, traceId, above) {
  const all = spans.filter((s) => s.traceId === traceId).sort((a, b) => (a.start < b.start ? -1 : 1));
  const ids = new Set(all.map((s) => s.spanId));
  assert.strictEqual(ids.size, all.length, 'each span is there once');
  const roots = all.filter((s) => !ids.has(s.parentSpanId));
  assert.deepStrictEqual(roots.map((s) => [s.kind, s.parentSpanId]), [[2, above]], JSON.stringify(roots.map((s) => [s.name, s.parentSpanId])));
  const below = (span) => all.filter((s) => s.parentSpanId === span.spanId);
  return { all, root: roots[0], of: (name) => all.filter((s) => s.name === name), below, names: (span) => below(span).map((s) => s.name) };
}

const over = (sink, kind = 'create') => until(() => sink.spans().some((s) => s.name === `operation ${kind}`), `the operation ${kind} is told of`, 60);

test('one create request: a tree of all that it did, in the trace that it came with, and nothing that is secret', { skip: missing }, async (t) => {
  const sink = await collector(t);
  const s = await traced(sink, {
    otel_exporter_otlp_headers: 'x-key=of%20mine', otel_service_name: 'here', otel_resource_attributes: 'zone=a,host.name=h%201', environment: 'development',
  });
  t.after(() => s.stop());
  await s.account('p@example.org', 'pro');
  const p = await person(s, 'p@example.org');
  const r = await p.call('POST', '/instances?wait=30', { name: 'box', volumes: [{ id: 'v1', path: '/v1' }], env: { PASS: 'pa55word' } }, traceparent());
  assert.strictEqual(r.status, 201, r.text);
  await over(sink);
  const op = r.headers.location.split('/').pop();
  const spans = await until(() => sink.spans().some((x) => x.name === 'POST /instances') && sink.spans(), 'the request is told of');
  const { all, root, of, names } = tree(spans, CLIENT.trace, CLIENT.span);
  assert.deepStrictEqual(root.attributes, {
    'http.request.method': 'POST', 'http.route': '/instances', 'http.response.status_code': 201, 'url.scheme': 'http', 'client.address': '127.0.0.1',
    request_id: r.headers['x-request-id'], user_id: p.id, instance_id: r.body.id, plan: 'pro',
  });
  assert.strictEqual(root.name, 'POST /instances');
  assert.strictEqual(root.status, undefined);
  assert.ok(names(root).includes('decision placement.place') && names(root).includes('store commit') && names(root).includes('operation create'), names(root));
  const [operation] = of('operation create');
  assert.deepStrictEqual([operation.spanId, operation.attributes['cchost.operation.id'], operation.attributes['cchost.operation.state']], [op.replace(/-/g, '').slice(16), op, 'done']);
  assert.deepStrictEqual(names(operation).filter((n) => n.startsWith('step')), ['step create.volumes', 'step create.create']);
  assert.ok(names(of('step create.create')[0]).includes('mock create'), names(of('step create.create')[0]));
  const [call] = of('mock create');
  assert.deepStrictEqual([call.kind, call.attributes.user_id, call.attributes.instance_id, call.attributes.plan], [3, p.id, r.body.id, 'pro']);
  const [decision] = of('decision placement.place');
  assert.ok(decision.attributes['cchost.verdict'] !== undefined || decision.attributes['cchost.reason'], JSON.stringify(decision.attributes));
  for (const x of all) assert.ok(x.start >= root.start - 1000000n && x.end >= x.start, x.name); // an operation knows milliseconds
  // The volume's own operation is begun by the step, and is below it.
  assert.strictEqual(all.filter((x) => x.name.startsWith('operation')).length, 2, all.map((x) => x.name));
  const head = sink.requests[0];
  assert.deepStrictEqual([head.url, head.headers['x-key'], head.headers['content-type']], ['/v1/traces', 'of mine', 'application/json']);
  const resource = Object.fromEntries(sink.scopes()[0].resource.attributes.map((a) => [a.key, a.value.stringValue]));
  assert.deepStrictEqual([resource['service.name'], resource.zone, resource['host.name']], ['here', 'a', 'h 1']);
  await p.call('GET', '/instances?secret=xyz');
  await as(s, bearer('wrong'), 'GET', `/auth/verify?token=${p.token}`);
  await until(() => sink.spans().some((x) => x.attributes['http.route'] === '/auth/verify'), 'the other is told of');
  const text = sink.requests.map((q) => q.body).join('\n');
  for (const secret of ['xyz', 'pa55word', p.token, s.key, 'of mine']) assert.ok(!text.includes(secret), secret);
  sink.check();
});

test('killed in the midst of it: the next process goes on in the same trace, and no span of the first is missing', { skip: missing }, async (t) => {
  const dir = folder(t);
  const sink = await collector(t);
  // Nothing is sent before the kill: what is told of afterwards was in the file.
  const settings = { otel_bsp_schedule_delay: 600000, mock: `{state="${dir}/world",create={latency_ms=2000}}` };
  let s = await traced(sink, settings, dir);
  const r = await s.call('POST', '/instances', { name: 'box', volumes: [{ id: 'v1', path: '/v1' }] }, traceparent());
  assert.strictEqual(r.status, 201);
  // The step that the journal names has not begun yet: what has, the file says.
  const begun = () => fs.readdirSync(path.join(dir, 'traces')).some((f) => fs.readFileSync(path.join(dir, 'traces', f)).includes('mock create'));
  await until(begun, 'it is at the second step, and asks the provider');
  await s.kill();
  assert.strictEqual(sink.asked, 0);
  s = await traced(sink, { ...settings, otel_bsp_schedule_delay: 50 }, dir);
  await s.running(r.body.id, 60);
  await over(sink);
  await s.stop();
  const { root, of, names } = tree(sink.spans(), CLIENT.trace, CLIENT.span);
  assert.strictEqual(root.name, 'POST /instances');
  const tries = of('step create.create');
  assert.deepStrictEqual(tries.map((x) => x.status && x.status.message), ['cut off: the process ended', undefined]);
  assert.deepStrictEqual(tries.map((x) => names(x).includes('mock create')), [true, true]);
  assert.deepStrictEqual(tries.map((x) => x.parentSpanId), [of('operation create')[0].spanId, of('operation create')[0].spanId]);
  assert.strictEqual(of('operation create')[0].parentSpanId, root.spanId);
  assert.deepStrictEqual(fs.readdirSync(path.join(dir, 'traces')), []);
  sink.check();
});

test('killed at any moment under many: each span has its parent, and one that came twice is the same both times', { skip: missing }, async (t) => {
  for (let k = 0; k < 4; k += 1) {
    const dir = folder(t);
    const sink = await collector(t);
    const settings = { otel_bsp_schedule_delay: 30, mock: `{state="${dir}/world",create={latency_ms=40},volume_create={latency_ms=20}}` };
    let s = await traced(sink, settings, dir);
    let answers = 0;
    for (let i = 0; i < 30; i += 1) s.call('POST', '/instances', { name: `m${i}`, volumes: [{ id: `v${i}`, path: '/v1' }] }).then(() => { answers += 1; }, () => {});
    const at = [1, 15, 28, 30][k];
    await until(() => answers >= at, `${at} have been answered`);
    if (k === 3) await until(() => sink.spans().some((x) => x.name === 'operation create'), 'the first is made');
    await s.kill();
    s = await traced(sink, settings, dir);
    await until(async () => (await s.call('GET', '/instances?limit=100')).body.every((m) => m.status === 'RUNNING'), 'all run', 60);
    await s.stop();
    const spans = sink.spans();
    const ids = new Map(); // what was sent as it was killed is sent again: who took it could not say so any more
    for (const x of spans) {
      if (ids.has(x.spanId)) assert.deepStrictEqual(x, ids.get(x.spanId));
      ids.set(x.spanId, x);
    }
    assert.deepStrictEqual(spans.filter((x) => x.parentSpanId && !ids.has(x.parentSpanId)).map((x) => x.name), []);
    assert.ok(spans.filter((x) => x.name === 'operation create').length >= at);
    sink.check();
  }
});

test('over an upgrade the tree is whole, and both processes have told of their part', { skip: missing }, async (t) => {
  const sink = await collector(t);
  const world = temp();
  const s = await traced(sink, { mock: `{state="${world}/world",volume_create={latency_ms=1500},create={latency_ms=10}}` });
  t.after(async () => { await s.stop(); fs.rmSync(world, { recursive: true }); });
  const r = await s.call('POST', '/instances', { name: 'box', volumes: [{ id: 'v1', path: '/v1' }] }, traceparent());
  const { code, err } = await s.upgrade();
  assert.strictEqual(code, 0, err);
  await s.running(r.body.id, 60);
  await over(sink);
  for (const old of s.before) await old.exited;
  const { root, of } = tree(sink.spans(), CLIENT.trace, CLIENT.span);
  assert.strictEqual(root.name, 'POST /instances');
  assert.deepStrictEqual([of('step create.volumes').length, of('step create.create').length, of('mock volume_create').length], [1, 1, 1]);
  const hosts = new Set(sink.scopes().flatMap((rs) => rs.resource.attributes.filter((a) => a.key === 'service.instance.id').map((a) => a.value.stringValue)));
  assert.strictEqual(hosts.size, 2);
  sink.check();
});

test('what fails says so, at each place; a step that failed and was tried again is two', { skip: missing }, async (t) => {
  const sink = await collector(t);
  const s = await traced(sink, { mock: '{create={fail=1}}' });
  t.after(() => s.stop());
  const r = await s.call('POST', '/instances?wait=60', { name: 'box' }, traceparent());
  await s.call('POST', `/instances/${r.body.id}/exec`, { cmd: ['true'] });
  await s.call('DELETE', `/instances/${r.body.id}?wait=60`);
  await until(() => sink.spans().some((x) => x.name === 'DELETE /instances/{id}'), 'all is told of', 60);
  const { of, below } = tree(sink.spans(), CLIENT.trace, CLIENT.span);
  const tries = of('step create.create');
  assert.strictEqual(tries.length, 2);
  assert.strictEqual(tries[1].status, undefined);
  for (const x of tries.slice(0, 1)) {
    assert.strictEqual(x.status.code, 2);
    assert.ok(x.attributes['error.type'], JSON.stringify(x.attributes));
    const [call] = below(x).filter((y) => y.name === 'mock create');
    assert.strictEqual(call.status.code, 2);
  }
  assert.deepStrictEqual(tries.map((x) => x.attributes['cchost.attempt']), tries.map((_, i) => i + 1));
  const refused = sink.spans().find((x) => x.name === 'POST /instances/{id}/exec');
  assert.ok(refused.attributes['http.response.status_code'] < 500);
  assert.strictEqual(refused.status, undefined); // what the client did wrong
  sink.check();
});

test('a machine\'s agent is told of the trace; the user\'s own port is not, nor is any other', async (t) => {
  const dir = folder(t);
  const sink = await collector(t);
  const agent = await Agent.start(dir);
  t.after(() => agent.stop());
  const s = await traced(sink, { mock: `{endpoint="${agent.path}"}` });
  t.after(() => s.stop());
  const m = (await s.call('POST', '/instances?wait=30', { name: 'box' })).body;
  await s.call('GET', `/instances/${m.id}/files?path=/`, undefined, traceparent());
  const asked = agent.asked.find((a) => a.url.startsWith('/files'));
  const [, trace, span, flags] = asked.headers.traceparent.split('-');
  assert.deepStrictEqual([trace, flags], [CLIENT.trace, '01']);
  const ask = await until(() => sink.spans().find((x) => x.spanId === span), 'who asked is told of');
  assert.deepStrictEqual([ask.name, ask.kind, ask.attributes.instance_id], ['agent GET', 3, m.id]);
  assert.strictEqual(sink.requests.every((q) => q.headers.traceparent === undefined), true);
});

test('who chooses what is recorded; and without an endpoint nothing is', async (t) => {
  const sink = await collector(t);
  const asks = async (settings, heads) => {
    const s = await traced(sink, settings);
    const from = sink.spans().length;
    for (const [i, h] of heads.entries()) await s.call('GET', '/plans', undefined, { ...h, 'X-Request-Id': `r${i}` });
    await s.stop();
    return sink.spans().slice(from).filter((x) => x.name === 'GET /plans').map((x) => x.attributes.request_id).sort();
  };
  const heads = [{}, traceparent('01'), traceparent('00')];
  assert.deepStrictEqual(await asks({}, heads), ['r0', 'r1']);
  assert.deepStrictEqual(await asks({ otel_traces_sampler_arg: '0' }, heads), ['r1']);
  assert.deepStrictEqual(await asks({ otel_traces_sampler: 'always_on' }, heads), ['r0', 'r1', 'r2']);
  assert.deepStrictEqual(await asks({ otel_traces_sampler: 'traceidratio', otel_traces_sampler_arg: '0' }, heads), []);
  assert.deepStrictEqual(await asks({ otel_traces_sampler: 'parentbased_always_off' }, heads), ['r1']);
  const s = await start();
  t.after(() => s.stop());
  await s.call('GET', '/plans', undefined, traceparent());
  assert.ok(!fs.existsSync(path.join(s.dir, 'traces')));
  assert.ok(!(await s.call('GET', '/metrics')).text.includes('cchost_spans'));
});

const figure = async (s, how) => Number(new RegExp(`^cchost_spans_total\\{how="${how}"\\} (.*)$`, 'm').exec((await s.call('GET', '/metrics')).text)[1]);

// n requests, some at a time. -> ms of the slowest
async function ask(s, n) {
  let slowest = 0, left = n;
  await Promise.all(Array.from({ length: 20 }, async () => {
    while (left > 0) {
      left -= 1;
      const began = performance.now();
      assert.strictEqual((await s.call('GET', '/plans')).status, 200);
      slowest = Math.max(slowest, performance.now() - began);
    }
  }));
  return slowest;
}

const memory = (s) => Number(/^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${s.child.pid}/status`, 'utf8'))[1]); // KiB

test('a collector that never answers: nobody waits, memory is bounded, what is dropped is counted and told', async (t) => {
  let hold;
  const held = new Promise((r) => { hold = r; });
  const sink = await collector(t, () => held);
  const s = await traced(sink);
  t.after(() => s.stop());
  await ask(s, 6000); // more than there is room for
  const full = memory(s);
  const dropped = await figure(s, 'dropped');
  assert.ok(dropped >= 6000 - 4096, dropped);
  const slowest = await ask(s, 12000);
  assert.ok(memory(s) - full < 4096 || process.env.V === 'asan', `${memory(s)} after ${full} KiB`);
  assert.ok(slowest < 1000, `${slowest} ms`);
  assert.ok(await figure(s, 'dropped') >= dropped + 12000);
  hold({ status: 200 });
  await s.says(/spans were dropped.*spans=\d+/);
  await until(async () => (await figure(s, 'sent')) >= 4096, 'the rest is sent', 60);
});

test('one that is down: told once, and what was not sent is the next process\'s', async (t) => {
  const dir = folder(t);
  const down = await collector(t);
  await down.close();
  let s = await traced(down, {}, dir);
  await s.call('GET', '/plans', undefined, { 'X-Request-Id': 'mine' });
  await s.says(new RegExp(`spans cannot be sent.*error=.*to=${down.url}`));
  const began = performance.now();
  await s.stop();
  assert.ok(performance.now() - began < 10000);
  assert.strictEqual(s.log.match(/spans cannot be sent/g).length, 1);
  assert.strictEqual(fs.readdirSync(path.join(dir, 'traces')).length, 1);
  const up = await collector(t);
  s = await traced(up, {}, dir);
  t.after(() => s.stop());
  await s.says(/spans of a process that has ended are taken over.*spans=\d+/);
  await until(() => up.spans().some((x) => x.attributes.request_id === 'mine'), 'it comes');
});

test('one that refuses: asked again when it says so, not when it does not; a part that it refuses is counted', async (t) => {
  const when = [];
  const said = [
    { status: 429, headers: { 'Retry-After': '2' } }, { status: 503 },
    { status: 200, body: JSON.stringify({ partialSuccess: { rejectedSpans: '1', errorMessage: 'one is enough' } }) }, { status: 400, body: '{"message":"no"}' },
  ];
  const sink = await collector(t, (n) => { when.push(performance.now()); return said[n] || { status: 200 }; });
  const s = await traced(sink);
  t.after(() => s.stop());
  await s.call('GET', '/plans', undefined, { 'X-Request-Id': 'first' });
  await s.says(/spans cannot be sent.*429/);
  await s.says(/the collector refused spans.*spans=1 why="one is enough"/);
  assert.ok(when[1] - when[0] >= 1990, when[1] - when[0]);
  assert.ok(when[2] - when[1] >= 700, when[2] - when[1]);
  assert.strictEqual(sink.spans().filter((x) => x.attributes.request_id === 'first').length, 1);
  await s.call('GET', '/plans', undefined, { 'X-Request-Id': 'second' });
  await s.says(/spans are sent again[^]*spans cannot be sent.*400: no/);
  await s.call('GET', '/plans', undefined, { 'X-Request-Id': 'third' });
  await until(() => sink.spans().some((x) => x.attributes.request_id === 'third'), 'the next comes');
  assert.ok(!sink.spans().some((x) => x.attributes.request_id === 'second'));
  assert.deepStrictEqual([await figure(s, 'refused')], [1]);
  assert.ok(await figure(s, 'dropped') >= 1);
});

test('one that refuses some of each sending is told of once, not each time', async (t) => {
  const sink = await collector(t, () => ({ status: 200, body: JSON.stringify({ partialSuccess: { rejectedSpans: '1', errorMessage: 'never' } }) }));
  const s = await traced(sink);
  for (let n = 1; n <= 4; n++) {
    await s.call('GET', '/plans');
    await until(() => sink.requests.length >= n, `sending ${n}`);
  }
  await s.stop();
  const told = s.log.match(/the collector refused spans.*/g).map((l) => Number(/spans=(\d+)/.exec(l)[1]));
  assert.strictEqual(told.length, 2, s.log); // the first, and at the end all others
  assert.strictEqual(told[0] + told[1], sink.requests.length);
});

test('settings that make no sense are told of at the start', async () => {
  for (const [name, value, why] of [['otel_traces_sampler', 'sometimes', /one of always_on/], ['otel_traces_sampler_arg', '2', /from 0 to 1/],
    ['otel_exporter_otlp_headers', 'novalue', /names with values/], ['otel_exporter_otlp_endpoint', 'collector:4318', /a URL like/]]) {
    await assert.rejects(start({ [name]: value }), why);
  }
});
