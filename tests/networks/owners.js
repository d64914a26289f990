// Those who have networks: accounts whose calls are their own.
'use strict';
const assert = require('node:assert');
const { until } = require('../lib/cchost.js');
const { person } = require('../access/people.js');

// -> person's, and made(path, body): what a POST has made, by a 201
async function account(s, email) {
  const who = await person(s, email);
  who.made = async (where, what, headers) => {
    const r = await who.call('POST', where, what, headers);
    assert.strictEqual(r.status, 201, `${where}: ${r.text}`);
    return r.body;
  };
  return who;
}

// All that he has goes, in the order in which it may.
async function remove(who) {
  const list = async (where) => (await who.call('GET', `${where}?limit=1000`)).body;
  const gone = async (where) => {
    const r = await who.call('DELETE', where);
    assert.ok([200, 404].includes(r.status), `${where}: ${r.text}`);
  };
  for (const m of await list('/instances')) await who.call('DELETE', `/instances/${m.id}`);
  await until(async () => (await list('/instances')).length === 0, 'his machines are gone', 60);
  for (const g of await list('/security-groups')) for (const r of g.rules) if (r.group_id) await gone(`/security-groups/${g.id}/rules/${r.id}`);
  for (const where of ['/security-groups', '/subnets', '/vpcs']) for (const x of await list(where)) await gone(`${where}/${x.id}?wait=60`);
}

module.exports = { account, remove };
