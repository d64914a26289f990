// What the server has acknowledged, and so must still know after any kill.
//
// A field of a machine is a register: requests write it, each at some moment between its sending and its answer, and
// one without an answer at any moment or never. After a life the field must have a value that some order of these
// moments explains. What a workflow writes when it is done (type, volumes) may come as long as work goes on, also in a
// later life. Hours of extensions add up, each exactly once or, without an answer, at most once.
'use strict';

const { isDeepStrictEqual: same } = require('node:util');

let clock = 0;

class Register {
  constructor(value) { this.writes = [{ value, began: 0, ended: 0 }]; }

  // A write that was sent. The caller says later what became of it: ack, drop, or nothing (it may have happened).
  write(value) {
    const w = { value, began: ++clock, ended: Infinity };
    this.writes.push(w);
    return { ack: () => { w.ended = ++clock; }, drop: () => { this.writes = this.writes.filter((x) => x !== w); } };
  }

  // Every value but those that an acknowledged write has surely replaced.
  possible() {
    const acked = this.writes.filter((w) => w.ended < Infinity);
    return this.writes.filter((w) => !acked.some((a) => a.began > w.ended)).map((w) => w.value);
  }

  // What was found is what counts from now on. With `going` that waits for the end of writes without an answer: they may
  // still come, and what came may be undone. -> whether it could be
  settle(value, going = false) {
    const ok = this.possible().some((v) => same(v, value));
    if (!going || this.writes.every((w) => w.ended < Infinity)) this.writes = [{ value, began: ++clock, ended: ++clock }];
    return ok;
  }
}

// Hours that were added: all that were acknowledged, and any of the others.
class Sum {
  constructor() { this.base = 0; this.acked = 0; this.open = []; }

  add(hours, request) {
    const entry = { hours, request };
    this.open.push(entry);
    const gone = () => { this.open = this.open.filter((e) => e !== entry); };
    return { ack: () => { if (this.open.includes(entry)) { gone(); this.acked += hours; } }, drop: gone };
  }

  // Which of the open ones must have happened for this total, or null.
  explain(total) {
    const want = total - this.base - this.acked;
    for (let set = 0; set < 2 ** this.open.length; set++) {
      const chosen = this.open.filter((_, i) => set & (1 << i));
      const requests = chosen.map((e) => e.request).filter(Boolean);
      if (new Set(requests).size < requests.length) continue; // a request that was sent again has one effect
      if (chosen.reduce((a, e) => a + e.hours, 0) === want) return chosen;
    }
    return null;
  }

  settle(total) {
    const chosen = this.explain(total);
    for (const e of this.open) if (e.request && chosen?.includes(e)) e.request.happened = true;
    Object.assign(this, { base: total, acked: 0, open: [] });
    return chosen !== null;
  }
}

class Machine {
  constructor(record, token) {
    this.id = record.id;
    this.short = record.short;
    this.token = token;
    this.born = record.prepaid.hours; // with which it was made
    this.version = record.version;
    this.fields = {
      name: new Register(record.name), labels: new Register(record.labels), env: new Register(record.env),
      type: new Register(record.type), desired: new Register('RUNNING'),
    };
    this.volumes = new Map(); // id -> Register of its path or null
    this.hours = new Sum();
    this.deleted = 'no'; // or "maybe", "asked" (acknowledged: it goes on), "done"
    this.asked = { start: 0, stop: 0 }; // requests that may lead to so many starts and stops at the provider
  }

  volume(id) {
    if (!this.volumes.has(id)) this.volumes.set(id, new Register(null));
    return this.volumes.get(id);
  }

  // `going`: work may still be under way. -> what is wrong with the record that was found, as sentences
  settle(record, going) {
    const wrong = [];
    for (const [name, register] of Object.entries(this.fields)) {
      const possible = register.possible();
      const value = name === 'desired' && this.deleted !== 'no' && record.desired === 'DELETED' ? possible[0] : record[name];
      if (!register.settle(value, going && name === 'type')) wrong.push(`${name} is ${JSON.stringify(value)}, possible: ${JSON.stringify(possible)}`);
    }
    const paths = new Map(record.volumes.map((v) => [v.id, v.path]));
    for (const id of new Set([...paths.keys(), ...this.volumes.keys()])) {
      const possible = this.volume(id).possible();
      const path = paths.get(id) ?? null;
      if (!this.volume(id).settle(path, going)) wrong.push(`volume ${id} is at ${path}, possible: ${JSON.stringify(possible)}`);
    }
    const hours = record.prepaid.hours - this.born;
    const ends = record.prepaid.begun_at && Date.parse(record.prepaid.begun_at) + record.prepaid.hours * 3600000;
    if (ends && Date.parse(record.expires_at) !== ends) wrong.push(`it ends at ${record.expires_at}, its hours at ${new Date(ends).toISOString()}`);
    const { base, acked, open } = this.hours;
    if (!this.hours.settle(hours)) {
      wrong.push(`${hours} hours were added; acknowledged: ${base + acked}, unanswered: ${JSON.stringify(open.map((e) => e.hours))}`);
    }
    if (record.version < this.version) wrong.push(`version ${record.version} is below the acknowledged ${this.version}`);
    this.version = record.version;
    return wrong;
  }

  heard(record) { if (record && record.id === this.id && record.version > this.version) this.version = record.version; }
}

class Model {
  constructor() {
    this.machines = new Map(); // id -> Machine, until its deletion was seen
    this.retired = new Map();  // id -> {short, at: when its deletion was acknowledged, or 0}
    this.creations = new Map(); // token -> request without an answer
    this.operations = new Set(); // ids of those not seen to end
    this.repeats = []; // requests with a key and no answer, to be sent again
    this.requests = [];
    this.promises = []; // answers that told a status as reached: {id, short, status, from, to}
    this.counts = { requests: 0, acknowledged: 0, checked: 0, refused: 0, unanswered: 0, repeated: 0, by_script: 0 };
  }

  alive() { return [...this.machines.values()].filter((m) => m.deleted === 'no'); }

  created(record, token) {
    this.creations.delete(token);
    if (this.machines.has(record.id) || this.retired.has(record.id)) return this.machines.get(record.id);
    const m = new Machine(record, token);
    this.machines.set(m.id, m);
    return m;
  }

  retire(m, at) {
    this.machines.delete(m.id);
    this.retired.set(m.id, { short: m.short, at });
  }

  // Nobody will want the story of machines whose deletion was seen, or of creates that did not happen.
  forget() {
    const wanted = (id) => this.machines.has(id);
    this.requests = this.requests.filter((r) => (r.token ? wanted(r.id) || this.creations.has(r.token) : wanted(r.machine)));
  }

  // The requests that concerned a machine, for the report of a failure.
  story(id, token) {
    return this.requests.filter((r) => (id && (r.machine === id || r.answered === id)) || (token && r.token === token)).map((r) => r.line());
  }
}

module.exports = { Model, Register, Sum };
