// What waits for others and for threads, as the figures tell it: webhooks, and the pools of what blocks.
'use strict';
const test = require('node:test');
const assert = require('node:assert');
const { until } = require('../lib/cchost.js');
const { Receiver } = require('../lib/receiver.js');
const { MailServer } = require('../lib/smtp.js');
const { figures } = require('../lib/figures.js');
const { start, as, person } = require('../access/people.js');

const tries = (now, trigger) => Object.fromEntries(['delivered', 'refused', 'timeout', 'failed']
  .map((result) => [result, now.get(`cchost_webhook_deliveries_total{trigger="${trigger}",result="${result}"}`)]));
const hooks = (now) => Object.fromEntries(['level', 'behind', 'retrying', 'disabled'].map((state) => [state, now.get(`cchost_webhooks{state="${state}"}`)]));

test('deliveries by cause and result, what waits and for how long', async (t) => {
  const s = await start({ webhook_retry_first: '1s', webhook_retry_last: '1s', webhook_seconds: 1 });
  t.after(() => s.stop());
  const answers = []; // what is taken from its end; then all is well
  const r = await Receiver.start((res) => {
    const how = answers.pop();
    if (how === 'never') return;
    if (how === 'cut') { res.destroy(); return; }
    res.writeHead(how || 204).end();
  });
  t.after(() => r.stop());
  const first = await figures(s);
  for (const trigger of ['event', 'retry', 'test', 'redelivery']) {
    assert.deepStrictEqual(tries(first, trigger), { delivered: 0, refused: 0, timeout: 0, failed: 0 }, 'all are there before the first');
  }
  assert.deepStrictEqual(hooks(first), { level: 0, behind: 0, retrying: 0, disabled: 0 });
  assert.strictEqual(first.get('cchost_webhooks_disabled_total'), 0);

  const p = await person(s, 'p@example.org');
  answers.push('cut', 'never', 500);
  const h = (await p.call('POST', '/webhooks', { url: r.url, events: ['instance'] })).body;
  await p.call('POST', '/instances?wait=30', { name: 'a' });
  const events = (await p.call('GET', '/events?kind=instance')).body.length;
  assert.ok(events >= 2);
  const done = async () => tries(await figures(s), 'event').delivered + tries(await figures(s), 'retry').delivered === events;
  await until(done, 'all are told', 30);
  let now = await figures(s);
  assert.deepStrictEqual(tries(now, 'event'), { delivered: events - 1, refused: 1, timeout: 0, failed: 0 });
  assert.deepStrictEqual(tries(now, 'retry'), { delivered: 1, refused: 0, timeout: 1, failed: 1 });
  assert.strictEqual(now.get('cchost_webhook_delivery_seconds_count'), events + 3);
  assert.ok(now.get('cchost_webhook_delivery_seconds_sum') >= 1, 'one took all of its time');
  assert.strictEqual(now.get('cchost_queue_length{queue="webhooks",state="pending"}'), 0);
  assert.strictEqual(now.get('cchost_webhook_oldest_event_age_seconds'), 0);
  await until(async () => hooks(await figures(s)).level === 1, 'it is level');

  await p.call('POST', `/webhooks/${h.id}/test`);
  const [last] = (await p.call('GET', `/webhooks/${h.id}/deliveries?limit=100`)).body.filter((d) => d.trigger === 'event');
  assert.strictEqual((await p.call('POST', `/webhooks/${h.id}/deliveries/${last.number}/redeliver`)).status, 200);
  now = await figures(s);
  assert.deepStrictEqual([tries(now, 'test').delivered, tries(now, 'redelivery').delivered], [1, 1]);

  answers.push(...Array(50).fill(503));
  await p.call('POST', '/instances/a/stop?wait=30');
  const stopped = (await p.call('GET', '/events?kind=instance')).body.length - events;
  await until(async () => hooks(await figures(s)).retrying === 1, 'it is tried again');
  now = await until(async () => {
    const f = await figures(s);
    return f.get('cchost_webhook_oldest_event_age_seconds') > 1.2 && f;
  }, 'what waits grows older');
  assert.strictEqual(now.get('cchost_queue_length{queue="webhooks",state="pending"}'), stopped);
  answers.length = 0;
  answers.push(410); // it wants none any more
  await until(async () => hooks(await figures(s)).disabled === 1, 'it is disabled');
  now = await figures(s);
  assert.deepStrictEqual(hooks(now), { level: 0, behind: 0, retrying: 0, disabled: 1 });
  assert.strictEqual(now.get('cchost_webhooks_disabled_total'), 1);
  assert.strictEqual(now.get('cchost_queue_length{queue="webhooks",state="pending"}'), 0, 'nobody waits for it');
});

test('a receiver that sleeps: its delivery is under way, and told so', async (t) => {
  const s = await start({ webhook_seconds: 60, drain_seconds: 0 });
  t.after(() => s.stop());
  const r = await Receiver.start(() => {});
  t.after(() => r.stop());
  const p = await person(s, 'p@example.org');
  await p.call('POST', '/webhooks', { url: r.url, events: ['instance'] });
  await p.call('POST', '/instances?wait=30', { name: 'a' });
  await until(() => r.open === 1, 'it was asked');
  const now = await figures(s);
  assert.strictEqual(now.get('cchost_webhook_deliveries_now{state="running"}'), 1);
  assert.strictEqual(now.get('cchost_webhook_deliveries_now{state="waiting"}'), 0);
  assert.strictEqual(hooks(now).behind, 1);
});

test('mail has threads of its own: at work, what waits for one, and what ran out of time', async (t) => {
  const mail = await MailServer.start({ stall: 'DATA', tls: 'none' });
  const s = await start({ smtp_host: '127.0.0.1', smtp_port: mail.port, smtp_tls: 'none', smtp_from: 'cchost <noreply@example.org>', dev_login: 'off' });
  t.after(async () => {
    await s.stop();
    await mail.stop();
  });
  const of = (now, what) => now.get(`cchost_pool_${what}{pool="mail"}`);
  const jobs = (now, how) => now.get(`cchost_pool_jobs_total{pool="mail",how="${how}"}`);
  const first = await figures(s);
  assert.deepStrictEqual([of(first, 'threads'), of(first, 'busy'), of(first, 'queued'), jobs(first, 'timed_out')], [0, 0, 0, 0]);
  const asked = ['a', 'b', 'c'].map((name) => as(s, {}, 'POST', '/auth/login', { email: `${name}@example.org` }));
  await mail.says('stalled', 2);
  await until(async () => {
    const now = await figures(s);
    return of(now, 'threads') === 2 && of(now, 'busy') === 2 && of(now, 'queued') === 1;
  }, 'two are at work, and a mail waits');
  await until(async () => jobs(await figures(s), 'timed_out') >= 2, 'they run out of time', 40);
  await Promise.all(asked);
});

test('files are written by the general pool, and handshakes have one of theirs', async (t) => {
  const s = await start();
  t.after(() => s.stop());
  const of = async (pool) => (await figures(s)).get(`cchost_pool_jobs_total{pool="${pool}",how="done"}`);
  const before = await of('general');
  await figures(s); // which reads /proc
  await until(async () => (await of('general')) > before, 'it did something');
  assert.deepStrictEqual([await of('tls'), await of('network')], [0, 0]);
});
