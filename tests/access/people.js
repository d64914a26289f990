// People for tests of access: who signs in, with what, and tokens made by hand with the server's secret.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const { Server } = require('../lib/cchost.js');

const b64 = (x) => Buffer.from(x).toString('base64url');

// A token of these claims, rightly signed with the server's secret.
function sign(s, claims, head = { alg: 'HS256', typ: 'JWT' }) {
  const secret = s.settings.jwt_secret || fs.readFileSync(`${s.dir}/jwt_secret`, 'utf8').trim();
  const text = `${b64(JSON.stringify(head))}.${b64(JSON.stringify(claims))}`;
  return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
}

const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));

// A call with these headers alone, without the operator's key.
const as = (s, headers, method, where, body) => s.call(method, where, body, { 'X-API-Key': undefined, ...headers });
const bearer = (token) => ({ Authorization: `Bearer ${token}` });

// Signs in by development's short cut. -> { token, id, email, call(method, where, body, headers) }
async function person(s, email) {
  const r = await as(s, {}, 'POST', '/auth/login', { email });
  if (r.status !== 200) throw new Error(`login: ${r.status} ${r.text}`);
  const { token } = r.body;
  return {
    token, email, session: claimsOf(token).jti, id: claimsOf(token).user_id,
    call: (method, where, body, headers) => as(s, { ...bearer(token), ...headers }, method, where, body),
  };
}

async function admin(s, email = 'root@example.org') {
  const r = await s.call('POST', '/users', { email, role: 'admin' });
  if (r.status !== 201) throw new Error(r.text);
  return person(s, email);
}

async function apiToken(who, scopes, more = {}) {
  const r = await who.call('POST', '/auth/tokens', { name: 'test', scopes, ...more });
  if (r.status !== 201) throw new Error(r.text);
  return r.body;
}

const start = (settings = {}, dir, how) => Server.start({ provider: 'mock', drain_seconds: 1, ...settings }, dir, how);

module.exports = { start, sign, claimsOf, as, bearer, person, admin, apiToken };
