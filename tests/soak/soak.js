// The soak: one server in which everything is used by a random driver, watched from its beginning to its end.
//
//   const r = await soak({ seconds, seed, out })      out: a folder for samples.jsonl and unexpected.jsonl
//
// The first sixth of the time warms up, and has upgrades. From then on one process serves until the end: it is what is measured, at work
// (its second sixth beside its last) and idle (after the first sixth, and at the end). Then there are upgrades under load again, and
// all is taken away.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { Random } = require('../crash/random.js');
const otlp = require('../lib/otlp.js');
const { until } = require('../lib/cchost.js');
const { BadIo } = require('../lib/badio.js');
const { Stream } = require('../lib/events.js');
const { World } = require('./world.js');
const sample = require('./sample.js');
const prom = require('./prometheus.js');

const ACTIONS = { ...require('./machines.js').actions, ...require('./inside.js').actions, ...require('./host.js').actions };
const WORKERS = 6;
// Descriptors that are there at the end and were not at the begin: Prometheus' connection, that of who hears the events, the mock's file, and
// one that a process has beside which came by an upgrade.
const MORE = 4;
const pause = (ms) => new Promise((r) => { setTimeout(r, ms); });

class Soak {
  constructor({ seconds, seed, out }) {
    Object.assign(this, { seconds, seed, out, rng: new Random(seed), samples: [], unexpected: 0, first: [], done: {}, phase: 'begin', upgrades: 0, idle: {} });
    fs.mkdirSync(out, { recursive: true });
    for (const f of ['samples.jsonl', 'unexpected.jsonl']) fs.writeFileSync(path.join(out, f), '');
  }

  // What was not expected is kept with what was asked.
  keep(record) {
    this.unexpected += 1;
    const r = { t: this.now(), phase: this.phase, ...record };
    if (this.first.length < 20) this.first.push(r);
    if (this.unexpected <= 5000) fs.appendFileSync(path.join(this.out, 'unexpected.jsonl'), `${JSON.stringify(r)}\n`);
  }

  now() { return this.began ? (Date.now() - this.began) / 1000 : 0; }
  say(text) { console.log(`SOAK ${this.now().toFixed(0)} s: ${text}`); }

  // ---- the driver

  async act(name, rng, all) {
    const before = this.unexpected;
    try {
      await ACTIONS[name][1](this.w, rng, all);
      this.done[name] = (this.done[name] || 0) + 1;
    } catch (e) {
      if (this.unexpected === before || !e.kept) this.keep({ method: 'action', where: name, answer: e.stack });
    }
  }

  load() {
    const weights = Object.fromEntries(Object.entries(ACTIONS).map(([k, [n]]) => [k, n]));
    let on = true;
    const workers = Array.from({ length: WORKERS }, async () => {
      const rng = this.rng.fork();
      while (on) {
        await this.act(rng.weighted(weights), rng);
        await pause(rng.between(20, 200));
      }
    });
    return async () => { on = false; await Promise.all(workers); };
  }

  async upgrade() {
    const was = this.w.pid;
    const { code, err } = await this.w.s.upgrade();
    this.upgrades += 1;
    if (code !== 0 || this.w.pid === was) this.keep({ method: 'upgrade', where: `${was}`, answer: err });
  }

  // A client that hears all events from the first to the last, and comes again where it was.
  listen() {
    const heard = { last: 0, events: 0, opened: 0 };
    let on = true, s;
    const done = (async () => {
      while (on) {
        s = await Stream.open(this.w.s.port, '/events?after=0', { 'X-API-Key': this.w.s.key, 'Last-Event-ID': String(heard.last) });
        heard.opened += 1;
        const look = () => {
          for (const e of s.events.splice(0)) {
            if (Number(e.id) <= heard.last) this.keep({ method: 'stream', where: '/events', answer: `${e.id} after ${heard.last}` });
            heard.last = Number(e.id);
            heard.events += 1;
          }
        };
        const timer = setInterval(look, 100);
        await s.closed;
        clearInterval(timer);
        look();
      }
    })().catch((e) => this.keep({ method: 'stream', where: '/events', answer: e.stack }));
    return { heard, stop: async () => { on = false; s?.req.destroy(); await done; } };
  }

  // ---- what is seen of it

  async look() {
    const { bytes } = await this.w.ask(undefined, 'GET', '/metrics');
    const agents = (this.agents || []).map((pid) => sample.of(pid));
    const s = { t: this.now(), phase: this.phase, ...sample.of(this.w.pid), ...sample.told(bytes.toString()), requests: this.w.client.requests, machines: this.w.machines.length, agents };
    this.samples.push(s);
    fs.appendFileSync(path.join(this.out, 'samples.jsonl'), `${JSON.stringify(s)}\n`);
    return s;
  }

  watch() {
    let on = true;
    const every = Math.max(500, Math.min(5000, this.seconds * 1000 / 120));
    const done = (async () => {
      let minute = 0;
      while (on) {
        await pause(every);
        try { await this.look(); } catch (e) { if (!e.kept) this.keep({ method: 'sample', where: '', answer: e.stack }); }
        if (Math.floor(this.now() / 60) > minute) { minute += 1; this.minute(); }
      }
    })();
    return async () => { on = false; await done; };
  }

  minute() {
    const s = this.samples[this.samples.length - 1];
    const mib = (n) => (n / 1048576).toFixed(2);
    this.say(`${this.phase}: ${this.w.client.requests} requests, ${this.unexpected} unexpected; pid ${s.pid}: RSS ${mib(s.rss)}, anon ${mib(s.anon)}, Lua ${mib(s.lua)} MiB, ${s.fds} fds, ` +
      `${s.tasks} tasks; store ${mib(s.used)} MiB of ${s.entries} entries; ${s.machines} machines`);
    this.traces();
  }

  // The spans that came are held to the vendor's proto, and forgotten.
  traces() {
    const { sink } = this.w;
    this.spans = (this.spans || 0) + sink.spans().length;
    sink.requests.splice(0, Math.max(0, sink.requests.length - 3));
    if (!otlp.missing) try { sink.check(); } catch (e) { this.keep({ method: 'trace', where: sink.url, answer: e.message }); }
    sink.requests.length = 0;
  }

  // ---- its course

  // Nobody asks for anything, and what was made in passing is gone. `of`: the descriptors that there were then
  async rest(name, { machines = 'stay', of } = {}) {
    this.phase = `idle ${name}`;
    const { w } = this;
    if (machines === 'none') await w.clear(); else await this.tidy();
    w.client.agent.destroy();
    let fds;
    const back = () => { fds = sample.of(w.pid).fds; return of === undefined || fds <= of; };
    const steady = async () => { // what is written and sent by itself has ended
      const a = await this.look();
      await pause(2000);
      const b = await this.look();
      return a.tasks === b.tasks && a.fds === b.fds && back() && b;
    };
    try { this.idle[name] = await until(steady, () => `${fds} descriptors, ${of} before`, Math.max(40, Math.min(120, this.seconds / 10))); } catch (e) {
      this.idle[name] = await this.look();
      this.say(`${name}: ${e.message}`);
    }
    this.idle[name].open = sample.descriptors(w.pid);
    this.idle[name].sockets = sample.sockets(w.pid);
    fs.writeFileSync(path.join(this.out, `idle-${name}.json`), JSON.stringify(this.idle[name], null, 1));
  }

  async tidy() {
    const { w } = this;
    for (const m of w.machines.splice(0)) await w.ask(m.who, 'DELETE', `${m.at}?wait=60`, { want: [200, 404] });
    for (const who of w.people) for (const h of await w.body(who, 'GET', '/webhooks')) await w.ask(who, 'DELETE', `/webhooks/${h.id}`);
    for (const v of await w.body(undefined, 'GET', '/volumes?limit=1000')) {
      if (!v.attached_to) await w.ask(undefined, 'DELETE', `/volumes/${v.id}?wait=30`);
    }
  }

  // Everything once, so that each route, and each of its series, is there.
  async everything() {
    const rng = this.rng.fork();
    const first = ['create_mock', 'create_mock', 'create_local'];
    for (const name of [...first, ...Object.keys(ACTIONS).filter((a) => !/^(create|delete)/.test(a)), 'delete_mock', 'delete_local', 'policy']) await this.act(name, rng, true);
  }

  async work(seconds, upgrades = 0) {
    const end = Date.now() + seconds * 1000;
    const stop = this.load();
    for (let i = 0; i < upgrades; i += 1) {
      await pause(seconds * 1000 / (upgrades + 1));
      await this.upgrade();
    }
    await pause(Math.max(0, end - Date.now()));
    await stop();
  }

  // What it is when nothing more goes: sessions and the like are swept every few seconds.
  async swept() {
    let since = Date.now(), last = await this.look();
    return until(async () => {
      await pause(500);
      const now = await this.look();
      if (now.records !== last.records) since = Date.now();
      last = now;
      return Date.now() - since > 8000 && now;
    }, 'nothing more is swept', 120);
  }

  // What is for ever, and what is not: the clock goes on by more than all that is kept for a time, and as much is done as before, `n` times.
  async years(n, actions) {
    const { w } = this;
    const clock = new BadIo(w.dir);
    const kinds = ['create_mock', 'delete_mock', 'stop_and_start', 'relabel', 'extend', 'lease', 'volume', 'machine_snapshot', 'account', 'sign_in', 'conversation'];
    const weights = Object.fromEntries(kinds.map((k) => [k, ACTIONS[k][0]]));
    const rows = [];
    w.s.how = { env: clock.env };
    w.ends.push(() => clock.close());
    for (let i = 0; i <= n; i += 1) {
      this.phase = `year ${i}`;
      const before = await this.look();
      await w.s.stop();
      w.read_log(w.s.log);
      clock.clock((i + 1) * 400 * 86400e3);
      await w.s.launch();
      await until(() => /what is old was removed/.test(w.s.log), 'what is old is removed', 300);
      const at = await this.swept();
      await w.save();
      const made = ['account', 'create_mock', 'create_local'].reduce((sum, k) => sum + (this.done[k] || 0), 0);
      rows.push({ made, entries: at.entries, records: at.records, file: at.used, live: w.backup_bytes, was: { records: before.records, file: before.used } });
      this.say(`year ${i}: ${JSON.stringify(rows[i])}`);
      if (i === n) break;
      for (const [k, p] of w.people.entries()) w.people[k] = await w.sign_in(p.email);
      let left = actions;
      await Promise.all(Array.from({ length: WORKERS }, async () => {
        const rng = this.rng.fork();
        while ((left -= 1) >= 0) await this.act(rng.weighted(weights), rng);
      }));
      await this.tidy();
    }
    return rows;
  }

  async run() {
    this.w = await World.start((r) => this.keep(r));
    const { w } = this;
    this.began = Date.now();
    await w.ask(undefined, 'GET', '/healthz');
    await w.populate_people();
    await this.rest('begin', { machines: 'none' });
    this.prometheus = await prom.Prometheus.start(path.join(w.dir, 'prometheus'), `127.0.0.1:${w.s.port}`, w.scrape_token);
    await w.make_stay();
    this.agents = sample.processes('cchost-agent', w.dir).map((p) => p.pid);
    this.began = Date.now();
    const { heard, stop: deafen } = this.listen();
    const unwatch = this.watch();
    const sixth = this.seconds / 6;
    this.phase = 'warm';
    await this.everything();
    await this.upgrade();
    await this.everything();
    this.series_after = this.now();
    this.series = await this.prometheus.series();
    await this.work(Math.max(5, sixth - this.now()), this.seconds >= 300 ? 2 : 1);
    await this.rest('warm');
    this.phase = 'main';
    this.from = this.now();
    await this.work(Math.max(10, this.seconds - this.from));
    this.to = this.now();
    await this.rest('end', { of: this.idle.warm.fds });
    this.phase = 'last';
    await this.work(Math.max(8, this.seconds / 30), 2);
    await this.rest('gone', { machines: 'none', of: this.idle.begin.fds + MORE });
    this.series_end = await this.prometheus.series();
    this.scrapes = await this.prometheus.scrapes();
    await until(() => heard.last >= this.idle.gone.entries - 1, () => `events are heard up to ${heard.last} of ${this.idle.gone.entries}`, 20).catch((e) => this.keep({ method: 'stream', where: '/events', answer: e.message }));
    this.heard = heard;
    await unwatch();
    await deafen();
    this.traces();
    await this.prometheus.stop();
    this.prometheus = undefined;
    this.kept = await this.years(4, Math.min(600, this.seconds * 2));
    this.phase = 'over';
    fs.writeFileSync(path.join(this.out, 'report.json'), JSON.stringify(this.report(), null, 1));
    return this;
  }

  // What there is to be judged.
  report() {
    const { seconds, seed, from, to, upgrades, unexpected, first, done, idle, scrapes, kept, heard, spans } = this;
    const { requests, again, slow, slowest } = this.w.client;
    const at_work = (names) => Object.fromEntries(names.map((k) => [k, sample.course(this.samples.filter((s) => s.phase === 'main'), k, from, to)]));
    const half = (k) => sample.course(this.samples.filter((s) => s.phase === 'main'), k, (from + to) / 2, to).hourly;
    const agents = (this.agents || []).map((_, i) => {
      const rows = this.samples.filter((s) => s.phase === 'main').map((s) => ({ t: s.t, anon: s.agents[i]?.anon, fds: s.agents[i]?.fds }));
      return { anon: sample.course(rows, 'anon', from, to), fds: sample.course(rows, 'fds', from, to) };
    });
    return {
      seconds, seed, people: this.w.people.length, upgrades, requests, again, slow, slowest, unexpected, first, done, levels: this.w.levels, counts: this.w.counts, spans, heard, webhooks: this.w.heard,
      at_work: at_work(['anon', 'heap', 'held', 'rss', 'pss', 'file', 'lua', 'fds', 'threads', 'tasks', 'readers', 'used']), later: { anon: half('anon'), heap: half('heap'), lua: half('lua') }, agents, idle,
      bytes_an_entry: sample.slices(this.samples.filter((s) => s.phase === 'main'), 'entries', 'used', seconds >= 600 ? 5 : 1), scrapes,
      series: { after: this.series_after, then: prom.count(this.series), end: prom.count(this.series_end), more: prom.more(this.series, this.series_end) }, kept,
    };
  }

  async stop() {
    await this.prometheus?.stop();
    await this.w.stop();
  }
}

module.exports = { Soak, ACTIONS, MORE };
