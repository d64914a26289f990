// A machine that is about to stop is told to its owner by mail, when his plan says so; also by a mail server that was away.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { MailServer } = require('../lib/smtp.js');
const { Server, temp, until } = require('../lib/cchost.js');

const idle = `
local P = { kind = "idle" }
function P.lease(r) return r.ttl, "all" end
function P.decide(m, now)
  if now - m.started_at >= 600 then return "stop", "it has run for ten minutes" end
  if now - m.started_at >= 1 then return "warn", "it has run for a second" end
  return "keep", "new"
end
return P
`;

test('the owner of a plan with warn_mail is told, and no other', async () => {
  const mail = await MailServer.start({ tls: 'none' });
  const policies = temp();
  fs.writeFileSync(path.join(policies, 'idle.lua'), idle);
  const s = await Server.start({
    provider: 'mock', policies_dir: policies, activity_check_interval: '1s', smtp_host: mail.host, smtp_port: mail.port,
    smtp_tls: 'none', smtp_from: 'cchost@example.org', base_url: 'http://cchost.example.org',
  });
  const ann = await s.account('ann@example.org');
  const bob = await s.account('bob@example.org');
  assert.strictEqual((await s.call('PATCH', `/users/${ann}`, { plan: 'pro' })).status, 200);
  await s.call('POST', '/instances', { name: 'anns', user_id: ann });
  const made = await s.call('POST', '/instances', { name: 'bobs', user_id: bob });
  await until(() => mail.messages > 0, () => `a mail:\n${s.log}`);
  await until(async () => (await s.call('GET', `/instances/${made.body.id}/events`)).body.some((e) => e.type === 'idle_warning'), 'a warning');
  const sent = await mail.next();
  assert.deepStrictEqual(sent.to, ['ann@example.org']);
  assert.match(sent.data.toString(), /^Subject: Your machine anns is about to stop/m);
  assert.strictEqual(mail.messages, 1);
  const part = await until(async () => {
    const it = (await s.call('GET', '/readyz?verbose')).body.parts.mail;
    return it.says.pending === 0 && it;
  }, 'the outbox is empty');
  assert.ok(part.ok && Date.parse(part.last_success) <= Date.now() + 1000);
  await s.stop();
  await mail.stop();
  fs.rmSync(policies, { recursive: true });
});
