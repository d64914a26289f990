// A collector of traces that is not ours: it takes what is exported, by OTLP over HTTP in JSON, and has it read by the vendor's
// own proto files (tests/lib/otlp.py).
//
//   const sink = await collector(t, answer)     answer(n, req) -> {status, headers, body} of the nth request, or a promise of it
//   sink.url, sink.requests = [{headers, body}], sink.bytes = largest body
//   sink.spans() -> [{name, kind, traceId, spanId, parentSpanId, start, end, attributes = {}, events, status}]
//   sink.check()        fails unless every request is sound; needs what `missing` asks for
//   missing             why it cannot be checked, or false
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const kit = require('./kit.js');

const folder = path.join(kit.specs, 'otlp');
const missing = fs.existsSync(folder) ? false : "the vendor's proto files (../shared/specs/otlp) are not here";

const value = (v) => (v.intValue !== undefined ? Number(v.intValue) : v.boolValue !== undefined ? v.boolValue : v.stringValue);
const attributes = (list) => Object.fromEntries((list || []).map((a) => [a.key, value(a.value)]));

function simple(s) {
  return {
    name: s.name, kind: s.kind, traceId: s.traceId, spanId: s.spanId, parentSpanId: s.parentSpanId,
    start: BigInt(s.startTimeUnixNano), end: BigInt(s.endTimeUnixNano), attributes: attributes(s.attributes), status: s.status,
    events: (s.events || []).map((e) => ({ name: e.name, attributes: attributes(e.attributes) })),
  };
}

async function collector(t, answer = () => ({ status: 200 }), port = 0) {
  const sink = { requests: [], asked: 0 };
  const server = http.createServer((req, res) => {
    const parts = [];
    req.on('data', (d) => parts.push(d));
    req.on('end', async () => {
      const body = Buffer.concat(parts).toString();
      const n = sink.asked++;
      const said = await answer(n, req);
      if (said.status === 200) sink.requests.push({ url: req.url, headers: req.headers, body });
      res.writeHead(said.status, { 'Content-Type': 'application/json', ...said.headers });
      res.end(said.body || '{}');
    });
  });
  await new Promise((r) => server.listen(port, '127.0.0.1', r));
  sink.port = server.address().port;
  sink.url = `http://127.0.0.1:${sink.port}`;
  sink.close = () => new Promise((r) => { server.close(r); server.closeAllConnections(); });
  t.after(() => sink.close());
  sink.scopes = () => sink.requests.flatMap((r) => JSON.parse(r.body).resourceSpans);
  sink.spans = () => sink.scopes().flatMap((rs) => rs.scopeSpans.flatMap((ss) => ss.spans.map(simple)));
  sink.check = () => {
    const r = spawnSync('/usr/bin/python3', [path.join(__dirname, 'otlp.py'), folder], {
      input: sink.requests.map((q) => q.body + '\n').join(''), encoding: 'utf8', maxBuffer: 1 << 26,
    });
    assert.deepStrictEqual([r.status, r.stderr], [0, ''], r.stdout);
    assert.strictEqual(Number(r.stdout), sink.spans().length);
  };
  return sink;
}

module.exports = { collector, missing };
