'use strict';
// Requests that a proxy in front might read differently, and what must be served nevertheless: raw bytes against a
// real process. Every refused one must end the connection, and a request hidden behind it must never be answered.
const test = require('node:test');
const assert = require('node:assert');
const { start, exchange, count } = require('./lib');

const H = 'Host: a\r\n';
const get = (line, headers = H) => `${line}\r\n${headers}\r\n`;
const post = (headers, body = '') => `POST /echo HTTP/1.1\r\n${H}${headers}\r\n${body}`;
const chunked = (body) => post('Transfer-Encoding: chunked\r\n', body);
const many = (n) => Array.from({ length: n }, (_, i) => `X-${i}: v\r\n`).join('');

// name: [bytes, status]; the status may be a list of acceptable ones.
const refused = {
  // ---- the request line
  'no version (HTTP/0.9)': ['GET /\r\n\r\n', 400],
  'HTTP/0.9 named': [get('GET / HTTP/0.9'), 505],
  'HTTP/2.0': [get('GET / HTTP/2.0'), 505],
  'HTTP/1.2': [get('GET / HTTP/1.2'), 505],
  'HTTP/1.10': [get('GET / HTTP/1.10'), 400],
  'HTTP/01.1': [get('GET / HTTP/01.1'), 400],
  'HTTP/1': [get('GET / HTTP/1'), 400],
  'HTTP/1.': [get('GET / HTTP/1.'), 400],
  'HTTP/1,1': [get('GET / HTTP/1,1'), 400],
  'lower case http/1.1': [get('GET / http/1.1'), 400],
  'HTTPS/1.1': [get('GET / HTTPS/1.1'), 400],
  'HTTP /1.1': [get('GET / HTTP /1.1'), 400],
  'RTSP': [get('OPTIONS / RTSP/1.0'), 400],
  'ICE': [get('SOURCE / ICE/1.0'), 400],
  'two spaces before the target': [get('GET  / HTTP/1.1'), 400],
  'two spaces before the version': [get('GET /  HTTP/1.1'), 400],
  'a space behind the version': [get('GET / HTTP/1.1 '), 400],
  'a space before the method': [get(' GET / HTTP/1.1'), 400],
  'a tab between': [get('GET\t/ HTTP/1.1'), 400],
  'a tab before the version': [get('GET /\tHTTP/1.1'), 400],
  'a vertical tab between': [get('GET\x0b/ HTTP/1.1'), 400],
  'a space in the target': [get('GET /a b HTTP/1.1'), 400],
  'no target': [get('GET HTTP/1.1'), 400],
  'an empty target': [get('GET  HTTP/1.1'), 400],
  'an unknown method': [get('BREW / HTTP/1.1'), 501],
  'a method of another protocol': [get('PROPFIND / HTTP/1.1'), 501],
  'CONNECT': [get('CONNECT a:80 HTTP/1.1'), [400, 501]],
  'CONNECT to a path': [get('CONNECT / HTTP/1.1'), 501],
  'TRACE': [get('TRACE / HTTP/1.1'), 501],
  'PRI (HTTP/2 preface)': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400, 501, 505]],
  'a lower case method': [get('get / HTTP/1.1'), [400, 501]],
  'a method with a control byte': [get('G\x01T / HTTP/1.1'), 400],
  'a method with a colon': [get('GET: / HTTP/1.1'), 400],
  'only spaces': ['   \r\n\r\n', 400],
  'a TLS hello': ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
  'NUL first': ['\0GET / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  // ---- the target
  'an absolute target': [get('GET http://a/ HTTP/1.1'), 400],
  'an absolute target of another host': [get('GET http://b/ HTTP/1.1'), 400],
  'an authority target': [get('GET a:80 HTTP/1.1'), 400],
  'a relative target': [get('GET healthz HTTP/1.1'), 400],
  'an asterisk for GET': [get('GET * HTTP/1.1'), 400],
  'an asterisk and more': [get('OPTIONS *a HTTP/1.1'), 400],
  'a fragment': [get('GET /#a HTTP/1.1'), 400],
  'a fragment behind a query': [get('GET /?a#b HTTP/1.1'), 400],
  'raw 0xff in the target': [get('GET /\xff HTTP/1.1'), 400],
  'raw UTF-8 in the target': [get('GET /\xc3\xa9 HTTP/1.1'), 400],
  'NUL in the target': [get('GET /\0 HTTP/1.1'), 400],
  'DEL in the target': [get('GET /\x7f HTTP/1.1'), 400],
  'ESC in the target': [get('GET /\x1b HTTP/1.1'), 400],
  'an encoded NUL': [get('GET /a%00b HTTP/1.1'), 400],
  'an encoded NUL in the query': [get('GET /?a%00b HTTP/1.1'), 400],
  'half an escape': [get('GET /a%4 HTTP/1.1'), 400],
  'an escape of nothing': [get('GET /a% HTTP/1.1'), 400],
  'an escape that is none': [get('GET /a%zz HTTP/1.1'), 400],
  'a bad escape in the query': [get('GET /?a=%g1 HTTP/1.1'), 400],
  'a backslash': [get('GET /\\a HTTP/1.1'), 400],
  'a quote': [get('GET /"a HTTP/1.1'), 400],
  'an angle bracket': [get('GET /<a> HTTP/1.1'), 400],
  'a target longer than a head': [`GET /${'a'.repeat(20000)} HTTP/1.1\r\n${H}\r\n`, 414],
  // ---- lines
  'a bare LF behind the request line': ['GET / HTTP/1.1\nHost: a\r\n\r\n', 400],
  'bare LFs only': ['GET / HTTP/1.1\nHost: a\n\n', 400],
  'a bare LF behind a header': ['GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n', 400],
  'a bare LF as the end of the head': ['GET / HTTP/1.1\r\nHost: a\r\n\n', 400],
  'a bare CR in a value': ['GET / HTTP/1.1\r\nHost: a\r\nX:\rZTransfer-Encoding: chunked\r\n\r\n', 400],
  'a bare CR in a name': ['GET / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n', 400],
  'a bare CR in the request line': ['GET /\r HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  'CR CR LF': ['GET / HTTP/1.1\r\nHost: a\r\r\n\r\n', 400],
  'CR CR LF as the end of the head': ['GET / HTTP/1.1\r\nHost: a\r\n\r\r\n', 400],
  'a folded header': ['GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n', 400],
  'a folded header with a tab': ['GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n', 400],
  'folding at the first header': ['GET / HTTP/1.1\r\n Host: a\r\n\r\n', 400],
  'a folded Transfer-Encoding': [post('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n'), 400],
  'a folded empty line': ['GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n', 400],
  'NUL in a value': ['GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n', 400],
  'NUL in a name': ['GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n', 400],
  'a control byte in a value': ['GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n', 400],
  'DEL in a value': ['GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n', 400],
  'a space before the colon': ['GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n', 400],
  'a tab before the colon': ['GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n', 400],
  'a space in a name': ['GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n', 400],
  'an empty name': ['GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n', 400],
  'a line without a colon': ['GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n', 400],
  'a name in UTF-8': ['GET / HTTP/1.1\r\nHost: a\r\n\xc3\xa9: b\r\n\r\n', 400],
  'a name with a parenthesis': ['GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n', 400],
  'a name with a slash': ['GET / HTTP/1.1\r\nHost: a\r\nX/Y: b\r\n\r\n', 400],
  '101 headers': [get('GET / HTTP/1.1', H + many(100)), 431],
  'a head of 17 KiB': [get('GET / HTTP/1.1', `${H}X: ${'a'.repeat(17000)}\r\n`), 431],
  'an endless header': [`GET / HTTP/1.1\r\n${H}X: ${'a'.repeat(60000)}`, 431],
  'an endless name': [`GET / HTTP/1.1\r\n${H}${'a'.repeat(60000)}`, 431],
  // ---- Host
  'no Host': ['GET / HTTP/1.1\r\n\r\n', 400],
  'two Hosts': [get('GET / HTTP/1.1', 'Host: a\r\nHost: b\r\n'), 400],
  'two Hosts alike': [get('GET / HTTP/1.1', 'Host: a\r\nHost: a\r\n'), 400],
  'two Hosts in HTTP/1.0': [get('GET / HTTP/1.0', 'Host: a\r\nHost: b\r\n'), 400],
  'an empty Host': [get('GET / HTTP/1.1', 'Host:\r\n'), 400],
  'a Host with a path': [get('GET / HTTP/1.1', 'Host: a/b\r\n'), 400],
  'a Host with a user': [get('GET / HTTP/1.1', 'Host: u@a\r\n'), 400],
  'two names in Host': [get('GET / HTTP/1.1', 'Host: a, b\r\n'), 400],
  'a Host with a space': [get('GET / HTTP/1.1', 'Host: a b\r\n'), 400],
  'a port that is none': [get('GET / HTTP/1.1', 'Host: a:x\r\n'), 400],
  'an empty port': [get('GET / HTTP/1.1', 'Host: a:\r\n'), 400],
  'an open bracket in Host': [get('GET / HTTP/1.1', 'Host: [::1\r\n'), 400],
  // ---- framing
  'two lengths': [post('Content-Length: 1\r\nContent-Length: 2\r\n', 'xx'), 400],
  'two lengths alike': [post('Content-Length: 1\r\nContent-Length: 1\r\n', 'x'), 400],
  'a list of lengths': [post('Content-Length: 3, 3\r\n', 'xxx'), 400],
  'an empty length': [post('Content-Length:\r\n', 'x'), 400],
  'a negative length': [post('Content-Length: -1\r\n', 'x'), 400],
  'a length with a plus': [post('Content-Length: +1\r\n', 'x'), 400],
  'a length in hex': [post('Content-Length: 0x1\r\n', 'x'), 400],
  'a length with a dot': [post('Content-Length: 1.0\r\n', 'x'), 400],
  'a length with a space in it': [post('Content-Length: 1 1\r\n', 'x'.repeat(11)), 400],
  'a length with an underscore': [post('Content-Length: 1_0\r\n', 'x'.repeat(10)), 400],
  'a length beyond all measure': [post('Content-Length: 18446744073709551617\r\n', 'x'), 400],
  'a length of 2^63': [post('Content-Length: 9223372036854775808\r\n', 'x'), 400],
  'length and encoding': [post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400],
  'encoding and length': [post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'), 400],
  'length and encoding, length zero': [post('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400],
  'two encodings': [post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400],
  'chunked twice in one': [post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'), 400],
  'identity, chunked': [post('Transfer-Encoding: identity, chunked\r\n', '0\r\n\r\n'), 400],
  'gzip, chunked': [post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'), 400],
  'chunked, gzip': [post('Transfer-Encoding: chunked, gzip\r\n', '0\r\n\r\n'), 400],
  'xchunked': [post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'), 400],
  'chunked in quotes': [post('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'), 400],
  'chunked with a parameter': [post('Transfer-Encoding: chunked;a=b\r\n', '0\r\n\r\n'), 400],
  'chunked behind a vertical tab': [post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n'), 400],
  'chunked with a comma': [post('Transfer-Encoding: chunked,\r\n', '0\r\n\r\n'), 400],
  'gzip': [post('Transfer-Encoding: gzip\r\n', 'x'), [400, 501]],
  'identity': [post('Transfer-Encoding: identity\r\n', 'x'), [400, 501]],
  'an empty encoding': [post('Transfer-Encoding:\r\n', 'x'), [400, 501]],
  'chunked in HTTP/1.0': ['POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
  'an encoding with a space before the colon': [post('Transfer-Encoding : chunked\r\n', '0\r\n\r\n'), 400],
  'GET with a body': [get('GET / HTTP/1.1', `${H}Content-Length: 1\r\n`) + 'x', 400],
  'GET with a chunked body': [get('GET / HTTP/1.1', `${H}Transfer-Encoding: chunked\r\n`) + '0\r\n\r\n', 400],
  'HEAD with a body': [get('HEAD / HTTP/1.1', `${H}Content-Length: 1\r\n`) + 'x', 400],
  'an unknown expectation': [post('Expect: 200-ok\r\nContent-Length: 1\r\n', 'x'), 417],
  'two expectations': [post('Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n', 'x'), 400],
  'two Authorizations': [get('GET / HTTP/1.1', `${H}Authorization: a\r\nAuthorization: b\r\n`), 400],
  'two API keys': [get('GET / HTTP/1.1', `${H}X-API-Key: a\r\nX-API-Key: b\r\n`), 400],
  'two content types': [post('Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\n'), 400],
  // ---- chunks (the route reads its body and answers 400)
  'a chunk size that is none': [chunked('x\r\n'), 400],
  'an empty chunk size': [chunked('\r\nhello\r\n0\r\n\r\n'), 400],
  'a negative chunk size': [chunked('-1\r\nx\r\n0\r\n\r\n'), 400],
  'a chunk size with a plus': [chunked('+1\r\nx\r\n0\r\n\r\n'), 400],
  'a chunk size with 0x': [chunked('0x1\r\nx\r\n0\r\n\r\n'), 400],
  'a chunk size with an underscore': [chunked('1_0\r\nx\r\n0\r\n\r\n'), 400],
  'a chunk size with a leading space': [chunked(' 1\r\nx\r\n0\r\n\r\n'), 400],
  'a chunk size with a trailing space': [chunked('1 \r\nx\r\n0\r\n\r\n'), 400],
  'a chunk size beyond all measure': [chunked('fffffffffffffffff\r\nx\r\n0\r\n\r\n'), 400],
  'a chunk size of 2^64': [chunked('10000000000000000\r\nx\r\n0\r\n\r\n'), 400],
  'a bare LF behind the chunk size': [chunked('1\nx\r\n0\r\n\r\n'), 400],
  'a bare CR behind the chunk size': [chunked('1\rx\r\n0\r\n\r\n'), 400],
  'chunk data longer than said': [chunked('1\r\nxy\r\n0\r\n\r\n'), 400],
  'chunk data without its CRLF': [chunked('1\r\nx0\r\n\r\n'), 400],
  'chunk data ended by a bare LF': [chunked('1\r\nx\n0\r\n\r\n'), 400],
  'chunk data ended by a bare CR': [chunked('1\r\nx\r0\r\n\r\n'), 400],
  'a chunk extension': [chunked('1;a=b\r\nx\r\n0\r\n\r\n'), 400],
  'an endless chunk extension': [chunked(`1;${'a'.repeat(50000)}`), 400],
  'a chunk extension with a bare LF': [chunked('1;a\nb\r\nx\r\n0\r\n\r\n'), 400],
  'an empty chunk extension': [chunked('1;\r\nx\r\n0\r\n\r\n'), 400],
  'an extension of the last chunk': [chunked('1\r\nx\r\n0;a\r\n\r\n'), 400],
  'a bare LF behind the last chunk': [chunked('1\r\nx\r\n0\n\r\n'), 400],
  'a bare LF as the end of the trailers': [chunked('1\r\nx\r\n0\r\n\n'), 400],
  'a folded trailer': [chunked('1\r\nx\r\n0\r\nA: b\r\n c\r\n\r\n'), 400],
  'a trailer without a colon': [chunked('1\r\nx\r\n0\r\nnonsense\r\n\r\n'), 400],
  'a trailer with a space before the colon': [chunked('1\r\nx\r\n0\r\nA : b\r\n\r\n'), 400],
  'a trailer ended by a bare LF': [chunked('1\r\nx\r\n0\r\nA: b\n\r\n'), 400],
  'endless trailers': [chunked(`1\r\nx\r\n0\r\n${many(200)}\r\n`), 400],
  'zeros without end as a chunk size': [chunked('0'.repeat(60000)), 400],
  'a request in place of a chunk': [chunked('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), 400],
};

// A request that must be answered as usual, with what comes behind it on the same connection.
const served = {
  'the plainest request': [get('GET / HTTP/1.1'), 200],
  'a Host with a port': [get('GET / HTTP/1.1', 'Host: a.example:8080\r\n'), 200],
  'a Host in v6': [get('GET / HTTP/1.1', 'Host: [::1]:8080\r\n'), 200],
  'a host name in capitals': [get('GET / HTTP/1.1', 'HOST: LOCALHOST\r\n'), 200],
  'one empty line before': ['\r\n' + get('GET / HTTP/1.1'), 200],
  'no space behind the colon': [get('GET / HTTP/1.1', 'Host:a\r\n'), 200],
  'tabs and spaces around a value': [get('GET / HTTP/1.1', 'Host: \t a \t \r\n'), 200],
  'an empty value': [get('GET / HTTP/1.1', `${H}X:\r\n`), 200],
  'bytes above 0x7f in a value': [get('GET / HTTP/1.1', `${H}X: \xc3\xa9\xff\r\n`), 200],
  '99 more headers': [get('GET / HTTP/1.1', H + many(99)), 200],
  'a head of 16,000 bytes': [get('GET / HTTP/1.1', `${H}X: ${'a'.repeat(15900)}\r\n`), 200],
  'two X headers': [get('GET / HTTP/1.1', `${H}X: a\r\nX: b\r\n`), 200],
  'an escape in the path': [get('GET /%65cho HTTP/1.1'), 200],
  'an encoded slash is no slash': [get('GET /a%2Fecho HTTP/1.1'), 404],
  'an escape that is no UTF-8': [get('GET /%ff HTTP/1.1'), 404],
  'an empty query': [get('GET /? HTTP/1.1'), 200],
  'two slashes': [get('GET //echo HTTP/1.1'), 404],
  'OPTIONS *': [get('OPTIONS * HTTP/1.1'), 404],
  'a length of zero': [post('Content-Length: 0\r\n'), 200],
  'a length with leading zeros': [post('Content-Length: 0003\r\n', 'abc'), 200],
  'a body': [post('Content-Length: 3\r\n', 'abc'), 200],
  'PUT without a body': [get('PUT /echo HTTP/1.1'), 200],
  'DELETE with a body': [get('DELETE /echo HTTP/1.1', `${H}Content-Length: 3\r\n`) + 'abc', 200],
  'GET with a length of zero': [get('GET / HTTP/1.1', `${H}Content-Length: 0\r\n`), 200],
  'chunks': [chunked('3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'), 200],
  'chunked in capitals': [post('Transfer-Encoding: CHUNKED\r\n', '1\r\nx\r\n0\r\n\r\n'), 200],
  'no chunk but the last': [chunked('0\r\n\r\n'), 200],
  'a size with leading zeros': [chunked('0003\r\nabc\r\n000\r\n\r\n'), 200],
  'a trailer': [chunked('1\r\nx\r\n0\r\nAuthorization: b\r\nHost: c\r\n\r\n'), 200],
  'an Upgrade that nobody wants': [get('GET / HTTP/1.1', `${H}Connection: Upgrade\r\nUpgrade: h2c\r\n`), 200],
  'an Upgrade with a body': [post('Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n', 'abc'), 200],
  'a small body that nobody reads': ['POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc', 200],
  'keep-alive in HTTP/1.0': ['GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n', 200],
};

const canary = 'GET /nobody HTTP/1.1\r\nHost: a\r\nX-Canary: 1\r\nConnection: close\r\n\r\n';
let server;

test.before(async () => { server = await start(); });
test.after(() => server.quit());

for (const [name, [bytes, want]] of Object.entries(refused)) {
  test('refuses ' + name, async () => {
    const r = await exchange(server.port, bytes + canary);
    assert.ok(r.closed && r.closed !== 'reset', `closed in order: ${r.closed}`);
    assert.strictEqual(r.replies.length, 1, r.bytes.toString('latin1').slice(0, 500));
    assert.ok([want].flat().includes(r.replies[0].status), `status ${r.replies[0].status}`);
    assert.strictEqual(r.replies[0].headers.connection, 'close');
    assert.strictEqual(r.rest.length, 0);
  });
}

for (const [name, [bytes, want]] of Object.entries(served)) {
  test('serves ' + name, async () => {
    const r = await exchange(server.port, bytes + canary);
    assert.deepStrictEqual(r.replies.map((x) => x.status), [want, 204]);
    assert.strictEqual(r.closed, 'end');
    assert.strictEqual(r.rest.length, 0);
  });
  test('serves it byte by byte: ' + name, async () => {
    if (bytes.length > 2000) return;
    const r = await exchange(server.port, [...bytes, canary], { pause: 0 });
    assert.deepStrictEqual(r.replies.map((x) => x.status), [want, 204]);
  });
}

test('a malformed request behind a good one ends the connection after the good answer', async () => {
  const r = await exchange(server.port, get('GET / HTTP/1.1') + 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n' + canary);
  assert.deepStrictEqual(r.replies.map((x) => x.status), [200, 400]);
});

test('a head that is cut off by the client is answered 400', async () => {
  const r = await exchange(server.port, 'GET / HTTP/1.1\r\nHost: a\r\n', { end: true });
  assert.deepStrictEqual(r.replies.map((x) => x.status), [400]);
});

test('a connection that says nothing and ends is no event', async () => {
  const r = await exchange(server.port, '', { end: true });
  assert.strictEqual(r.bytes.length, 0);
});

test('a body that is cut off by the client is told to the route', async () => {
  const r = await exchange(server.port, post('Content-Length: 10\r\n', 'abc'), { end: true });
  assert.deepStrictEqual(r.replies.map((x) => x.status), [400]);
});

test('10,000 mutated requests: the server still serves, and no canary is answered behind a refusal', { timeout: 120000 }, async () => {
  let seed = 7;
  const random = (n) => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed % n; };
  const seeds = [...Object.values(served), ...Object.values(refused)].map(([b]) => b).filter((b) => b.length < 3000);
  const one = async () => {
    const b = Buffer.from(seeds[random(seeds.length)], 'latin1');
    for (let k = random(4) + 1; k > 0; k--) {
      const at = random(b.length);
      b[at] = [0, 10, 13, 32, 9, 58, 255, random(256), b[random(b.length)]][random(9)];
    }
    const r = await exchange(server.port, Buffer.concat([b, Buffer.from(canary)]), { end: true, ms: 8000 });
    assert.ok(r.closed, 'the connection ends: ' + JSON.stringify(b.toString('latin1')));
    const bad = r.replies.findIndex((x) => x.headers.connection === 'close');
    assert.ok(bad < 0 || bad === r.replies.length - 1, JSON.stringify(b.toString('latin1')));
    for (const x of r.replies) assert.ok(x.status < 500 || x.status === 501 || x.status === 505, 'status ' + x.status + JSON.stringify(b.toString('latin1')));
  };
  const total = Number(process.env.MUTATIONS || 10000);
  for (let i = 0; i < total; i += 50) await Promise.all(Array.from({ length: 50 }, one));
  const r = await exchange(server.port, canary);
  assert.strictEqual(r.replies[0].status, 204);
});
