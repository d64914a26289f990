// What must hold after a life. quick: after every one, before anything new is asked; it reads each record once, with
// the work that the last life left still going on. whole: now and then and at the end; it waits until all work has
// ended, lets a sweep pass, and compares with the provider and the log, too.
'use strict';
const { spawnSync } = require('node:child_process');
const { until, binary } = require('../lib/cchost.js');
const provider = require('./provider.js');

const OVER = ['done', 'failed', 'cancelled', 'superseded'];
const SETTLED = ['RUNNING', 'STOPPED', 'ERROR', 'DELETED'];
const GRACE_MS = 8000; // the server looks for what is past its deadline every few seconds
const SLACK_MS = 5; // between two readings of the clock
const REST_SECONDS = 30; // less than a status may last: work must go on by itself, not end by its deadline
const EFFECTS = 2;     // at the provider that one request may have: one going forward, one taking it back

// Whether the last change of a machine at the provider, or none, left it as `status` says. ERROR says nothing of that.
function reached(line, status) {
  const runs = line && ['create', 'complete', 'start'].includes(line.op) && line.mishap !== 'half';
  if (status === 'RUNNING') return runs;
  if (status === 'STOPPED') return !runs;
  return status !== 'DELETED' || !line || line.op === 'destroy';
}

class Checker {
  constructor(model, files, ledger) { Object.assign(this, { model, files, ledger }); }

  fail(why, id, token, ledger = []) {
    const story = this.model.story(id, token);
    const effects = ledger.map((l) => JSON.stringify(l));
    throw new Error(`${why}\n  ${story.length} requests concerned it:\n    ${[...story, ...effects].join('\n    ')}`);
  }

  async records() {
    const all = new Map();
    for (let where = '/instances?limit=1000'; where;) {
      const { status, body, headers } = await this.server.call('GET', where);
      if (status !== 200) throw new Error(`GET ${where}: ${status}`);
      for (const r of body) {
        if (all.has(r.id)) this.fail(`${r.id} is in the list twice`, r.id);
        all.set(r.id, r);
      }
      where = /<([^>]*)>/.exec(headers.link ?? '')?.[1];
    }
    return all;
  }

  async read(id) { return (await this.server.call('GET', `/instances/${id}`)).body; }

  // ---- after every life

  async quick(server, going = true) {
    this.server = server;
    const all = await this.records();
    this.names(all);
    for (const r of all.values()) this.known(r);
    for (const m of [...this.model.machines.values()]) await this.machine(m, all.get(m.id), going);
    this.model.creations.clear(); // those not found by now did not happen
  }

  names(all) {
    const taken = new Map();
    for (const r of all.values()) {
      const other = taken.get(`${r.owner}/${r.name}`);
      if (other) this.fail(`${other} and ${r.id} are both called ${r.name}`, r.id);
      taken.set(`${r.owner}/${r.name}`, r.id);
    }
  }

  // Every record was asked for: by a create that was acknowledged, or by one without an answer.
  known(r) {
    if (this.model.machines.has(r.id)) return;
    const { token } = r.labels;
    if (this.model.retired.has(r.id)) this.fail(`${r.id} was deleted and is in the list again`, r.id, token);
    const request = this.model.creations.get(token);
    if (!request) this.fail(`nobody asked for ${r.id}`, r.id, token);
    request.id = r.id;
    const m = this.model.created(r, token);
    for (const v of r.volumes) m.volume(v.id).settle(v.path);
  }

  async machine(m, listed, going) {
    const r = listed ?? await this.read(m.id);
    if (!r?.status) this.fail(`${m.id} was acknowledged and is gone`, m.id, m.token);
    if (!listed && r.status !== 'DELETED') this.fail(`${m.id} is ${r.status} and in no list`, m.id, m.token);
    if (r.status === 'DELETED' && m.deleted === 'no') this.fail(`nobody deleted ${m.id}`, m.id, m.token);
    if (m.deleted === 'done' && r.status !== 'DELETED') this.fail(`${m.id} was DELETED and is ${r.status}`, m.id, m.token);
    if (m.deleted === 'asked' && r.desired !== 'DELETED') this.fail(`the deletion of ${m.id} was forgotten`, m.id, m.token);
    this.model.counts.checked += 9;
    const wrong = m.settle(r, going);
    if (wrong.length > 0) this.fail(`${m.id}: ${wrong.join('; ')}`, m.id, m.token);
    this.deadline(m, r);
    if (r.status === 'DELETED') this.model.retire(m, m.deletedAt ?? 0);
    else if (m.deleted !== 'asked') m.deleted = r.desired === 'DELETED' ? 'asked' : 'no';
  }

  deadline(m, r) {
    if (SETTLED.includes(r.status)) return;
    if (!r.deadline_at) this.fail(`${m.id} is ${r.status} without a deadline`, m.id, m.token);
    if (Date.now() > Date.parse(r.deadline_at) + GRACE_MS) {
      this.fail(`${m.id} is ${r.status} since before its deadline ${r.deadline_at}`, m.id, m.token);
    }
  }

  // ---- now and then

  async whole(server) {
    await this.quick(server);
    await until(() => this.rest(), () => `everything ends: ${this.restless}`, REST_SECONDS);
    await until(() => this.agree(), () => `provider and store agree: ${this.disagreement}`, 30);
    this.effectsOnce();
    await this.story(server);
    await this.quick(server, false);
    this.verify();
    this.model.forget();
  }

  // Every operation has ended and every machine is in a settled status.
  async rest() {
    for (const id of this.model.operations) {
      const { status, body } = await this.server.call('GET', `/operations/${id}`);
      if (status !== 200) throw new Error(`the acknowledged operation ${id} is gone: ${status}`);
      if (!OVER.includes(body.state)) {
        this.restless = `the ${body.kind} ${id} is ${body.state} in ${body.step}, attempt ${body.attempts}, next at ${body.next_at}`;
        return false;
      }
      this.model.operations.delete(id);
    }
    this.last = await this.records();
    for (const r of this.last.values()) {
      // also what nobody was told of: a settled machine may have work under way (a volume for one that is STOPPED)
      const { body: op } = await this.server.call('GET', `/operations/${r.operation}`);
      if (!OVER.includes(op.state)) {
        this.restless = `the ${op.kind} ${op.id} of ${r.id} is ${op.state}`;
        return false;
      }
      if (SETTLED.includes(r.status) && !(r.status === 'ERROR' && r.desired === 'DELETED')) continue;
      this.restless = `${r.id} is ${r.status}`;
      return false;
    }
    return true;
  }

  async agree() {
    const { machines, late } = provider.world(this.files.state);
    if (late > 0) return this.differ(`${late} late effects are still to come`);
    const records = await this.records();
    const shorts = new Set();
    for (const r of records.values()) {
      const there = machines.get(r.short);
      const runs = there !== undefined && there.running && there.half === 'no';
      shorts.add(r.short);
      if (r.status === 'RUNNING' && !runs) return this.differ(`${r.id} is RUNNING, at the provider ${there ? `${there.half} half-made, running ${there.running}` : 'absent'}`);
      if (r.status === 'STOPPED' && there?.running) return this.differ(`${r.id} is STOPPED and runs at the provider`);
      const volumes = (list) => list.map((v) => `${v.id}:${v.path}`).sort().join(' ');
      if (['RUNNING', 'STOPPED'].includes(r.status) && there && volumes(r.volumes) !== volumes(there.volumes)) {
        return this.differ(`${r.id} has the volumes ${volumes(r.volumes)}, at the provider ${volumes(there.volumes)}`);
      }
      if (!SETTLED.includes(r.status)) return this.differ(`${r.id} is ${r.status} again`);
    }
    for (const short of machines.keys()) if (!shorts.has(short)) return this.differ(`cc-${short} is at the provider and in no list`);
    return true;
  }

  differ(how) {
    this.disagreement = how;
    return false;
  }

  // Each effect at most once: no machine was made a second time before it was destroyed, none after its deletion was
  // acknowledged, none without a record. What the provider did late, when its caller had given up, is the provider's.
  effectsOnce() {
    const { machines, retired } = this.model;
    const ids = new Map([...machines.values()].map((m) => [m.short, m.id]));
    for (const [id, { short }] of retired) ids.set(short, id);
    const histories = this.ledger.read();
    this.effects = new Map();
    this.promises(histories);
    for (const [short, history] of histories) {
      if (history.some((l) => l.op === 'orphan')) continue;
      const id = ids.get(short);
      if (!id && history.some((l) => l.changed)) this.fail(`cc-${short} was made and no record knows it`, undefined, undefined);
      this.once(id, history.filter((l) => l.changed));
    }
  }

  // A status that was answered as reached was so at the provider, at some moment between the request and its answer.
  promises(histories) {
    for (const p of this.model.promises) {
      const history = histories.get(p.short) ?? [];
      if (history.some((l) => l.mishap === 'late')) continue; // it may have changed behind everybody's back
      const changes = history.filter((l) => l.changed);
      const before = changes.filter((l) => l.at < p.from - SLACK_MS).pop();
      const during = changes.filter((l) => l.at >= p.from - SLACK_MS && l.at <= p.to + SLACK_MS);
      if (![before, ...during].some((l) => reached(l, p.status))) {
        this.fail(`${p.id} was answered to be ${p.status} between ${p.from} and ${p.to}, and was not`, p.id, undefined, changes);
      }
    }
    this.model.promises = [];
  }

  once(id, history) {
    const gone = this.model.retired.get(id)?.at || Infinity;
    let there = false;
    const n = { start: 0, stop: 0 };
    for (const l of history) {
      if (l.op === 'create' && there) this.fail(`${id} was made twice`, id, undefined, history);
      if (l.op === 'create' && l.mishap !== 'late' && l.at > gone) this.fail(`${id} was made after its deletion had been acknowledged at ${gone}`, id, undefined, history);
      if (l.op === 'create' || l.op === 'destroy') there = l.op === 'create';
      if (l.op in n && l.mishap !== 'late') n[l.op]++;
    }
    this.effects.set(id, n);
  }

  // Starts and stops at the provider are no more than the requests, and the drift that the log tells of, account for.
  async story(server) {
    for (const m of this.model.machines.values()) {
      const n = this.effects.get(m.id) ?? { start: 0, stop: 0 };
      const most = (verb) => EFFECTS * (m.asked[verb] + m.asked[verb === 'start' ? 'stop' : 'start']) + 1;
      if (n.start <= most('start') && n.stop <= most('stop')) continue;
      const { body } = await server.call('GET', `/instances/${m.id}/events?limit=1000`);
      const drift = body.filter((e) => /^found_|adopted/.test(e.type)).length;
      if (n.start > most('start') + drift || n.stop > most('stop') + drift) {
        this.fail(`${m.id} was started ${n.start} and stopped ${n.stop} times for ${JSON.stringify(m.asked)} requests`, m.id, m.token);
      }
    }
  }

  verify() {
    const r = spawnSync(binary, ['log', '--verify'], { env: { ...process.env, DATA_DIR: this.files.dir }, encoding: 'utf8' });
    if (r.status !== 0) throw new Error(`the log does not verify: ${r.stdout}${r.stderr}`);
  }
}

module.exports = { Checker };
