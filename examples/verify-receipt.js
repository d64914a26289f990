// Verifies a receipt of cchost offline: who signed it, and that its sums are those of its intervals. Node alone, nothing to install.
//
//   curl -H "Authorization: Bearer $TOKEN" https://cchost.example.com/billing/receipts?month=2026-11 > receipt.jws
//   curl https://cchost.example.com/billing/receipts/key > receipt-key.json      once; keep it
//   node verify-receipt.js receipt.jws receipt-key.json
//
// Exit code 0: it is genuine, and adds up; 1: it is not, with the reason.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');

const refuse = (why) => { console.error(`NOT GOOD: ${why}`); process.exit(1); };
const [file, keyFile] = process.argv.slice(2);
if (!keyFile) refuse('usage: node verify-receipt.js RECEIPT KEY.json');

const jwk = JSON.parse(fs.readFileSync(keyFile, 'utf8'));
const parts = fs.readFileSync(file, 'utf8').trim().split('.');
if (parts.length !== 3 || parts.some((p) => !/^[\w-]+$/.test(p))) refuse('this is no receipt (a JWS of three parts)');
const read = (part) => { try { return JSON.parse(Buffer.from(part, 'base64url')); } catch { return refuse('this is no receipt'); } };

// ---- who signed it
const head = read(parts[0]);
if (head.alg !== 'ES256' || head.crit) refuse(`signed with ${head.alg}, not ES256`);
const thumbprint = crypto.createHash('sha256')
  .update(JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y })).digest('base64url'); // RFC 7638
if (head.kid !== thumbprint) refuse(`signed with the key ${head.kid}, and this one is ${thumbprint}`);
const key = crypto.createPublicKey({ key: { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y }, format: 'jwk' });
const signed = crypto.verify('sha256', Buffer.from(`${parts[0]}.${parts[1]}`), { key, dsaEncoding: 'ieee-p1363' },
  Buffer.from(parts[2], 'base64url'));
if (!signed) refuse('the signature is not that of this text');

// ---- does it add up
const claims = read(parts[1]);
const HOUR = 3600000n;
const upto = (rate, t) => (BigInt(rate) * BigInt(t)) / HOUR; // micro-units from the epoch on, rounded down
let running = 0;
let charged = 0n;
let waived = 0n;
const last = {};
for (const [machine, from, to, state, , rate, paidBy] of [...claims.intervals].sort((a, b) => a[1] - b[1])) {
  if (from >= to || from < Date.parse(claims.from) || to > Date.parse(claims.to)) refuse(`an interval of ${machine} is not of this month`);
  if (last[machine] > from) refuse(`two intervals of ${machine} are at the same time`);
  last[machine] = to;
  if (state === 'RUNNING') running += to - from;
  const cost = upto(rate, to) - upto(rate, from);
  if (paidBy === 'charged') charged += cost;
  if (paidBy === 'overrun') waived += cost;
}
const { totals } = claims;
for (const [name, sum] of [['running_ms', running], ['charged', charged], ['waived', waived]]) {
  if (BigInt(totals[name]) !== BigInt(sum)) refuse(`${name}: ${totals[name]} is said, and the intervals come to ${sum}`);
}

const money = (micro) => `${(micro / 1e6).toFixed(6)} ${claims.currency}`;
console.log(`genuine: account ${claims.account}, ${claims.month}${claims.running ? ' (which goes on)' : ''}, issued ${claims.issued_at}`);
console.log(`  ${claims.intervals.length} intervals, ${(running / 3600000).toFixed(6)} machine-hours, charged ${money(totals.charged)}`);
console.log(`  the month's invoice ${money(totals.invoice)}, balance behind it ${money(totals.balance)}`);
if (claims.ledger) console.log(`  ledger: ${claims.ledger.entries} entries, the newest ${claims.ledger.seq} with the hash ${claims.ledger.hash}`);
