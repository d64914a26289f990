// Clients: each sends one random request after the other until it is told to stop, and tells the model what came back.
'use strict';

const NAMES = Array.from({ length: 60 }, (_, i) => `box-${i}`); // few, so that creates race for them
const TYPES = ['small', 'medium', 'large'];
const BORN_HOURS = 24 * 365; // so far away that extensions only add

let number = 0;

// One request, with what it would change: `writes` are told what became of it.
class Request {
  constructor(method, path, body, more = {}) {
    Object.assign(this, { method, path, body, headers: {}, writes: [], machine: null, token: null, ...more });
    this.number = ++number;
    this.sent = [];
  }

  line() {
    const tries = this.sent.map((s) => `life ${s.life}${s.by}: ${s.answer}`).join('; ');
    const key = this.headers['Idempotency-Key'] ? ` key ${this.headers['Idempotency-Key']}` : '';
    return `#${this.number} ${this.method} ${this.path} ${JSON.stringify(this.body ?? {})}${key} -> ${tries}`;
  }
}

// done | going (202) | refused (no effect) | doubt
function outcome(answer) {
  if (!answer) return 'doubt';
  if (answer.status === 202) return 'going';
  if (answer.status < 300) return 'done';
  if (answer.status >= 500 || answer.body?.code === 'conflict') return 'doubt';
  return 'refused';
}

class Clients {
  constructor(model, random, { count }) {
    this.model = model;
    this.randoms = Array.from({ length: count }, () => random.fork());
    this.life = 0;
  }

  // Lets all of them work on `server` until stop.now is set and their last answers are there, or never will be. With
  // `second`, a script on the same store (second.js), it gets half of the requests for as long as it lives.
  async run(server, stop, second = null) {
    this.server = server;
    this.second = second;
    this.stop = stop;
    this.life++;
    await Promise.all(this.randoms.map((random) => this.work(random, stop)));
  }

  async work(random, stop) {
    while (!stop.now) {
      const again = this.model.repeats.shift();
      if (again) await this.repeat(again);
      else await this.act(random);
    }
  }

  async act(random) {
    const alive = this.model.alive();
    const wanted = alive.length < 6 * this.randoms.length / 2 ? 30 : 3;
    const what = random.weighted({
      create: wanted, twins: wanted / 10, start: 10, stop: 12, pause: 4, wake: 4, delete: 8, resize: 6, extend: 10, patch: 14,
      attach: 6, detach: 4, get: 2,
    });
    if (what === 'create' || what === 'twins') return this.create(random, what === 'twins' ? 2 : 1);
    if (alive.length > 0) return this.change(random, what, random.of(alive));
    return undefined;
  }

  // ---- sending

  async send(request) {
    const { model } = this;
    const to = this.second?.up && request.number % 2 === 0 ? this.second : this.server;
    const sent = { life: this.life, by: to === this.server ? '' : ', script', answer: 'no answer' };
    request.sent.push(sent);
    if (request.sent.length === 1) model.requests.push(request);
    model.counts.requests++;
    let answer = null;
    try {
      answer = await to.call(request.method, request.path, request.body, request.headers);
    } catch {
      model.counts.unanswered++;
      if (to === this.server) this.stop.now = true; // it is gone: lives.js knows whether it should be
    }
    if (to === this.second) model.counts.by_script += answer ? 1 : 0;
    if (answer) {
      sent.answer = `${answer.status} ${answer.body?.code ?? answer.body?.status ?? ''} ${answer.headers.location ?? ''}`.trim();
      request.answered = answer.body?.id;
      if (answer.status === 500) throw new Error(`a request was answered with 500: ${request.line()}\n${answer.text}\n${to.log.slice(-2000)}`);
      if (answer.headers.location) model.operations.add(answer.headers.location.split('/').pop());
    }
    const came = outcome(answer);
    if (came === 'done' || came === 'going') model.counts.acknowledged++;
    if (came === 'refused') model.counts.refused++;
    if (!answer && request.headers['Idempotency-Key']) model.repeats.push(request);
    return { came, answer };
  }

  key(random, p) { return random.chance(p) ? { 'Idempotency-Key': `k${random.bits().toString(16)}-${number}` } : {}; }

  // ---- creates

  async create(random, times) {
    const token = `t${++number}`;
    const body = { name: random.of(NAMES), labels: { token }, hours: BORN_HOURS, type: random.of(TYPES) };
    if (random.chance(0.2)) body.volumes = [{ id: `v-${token}`, path: '/data' }];
    const request = new Request('POST', '/instances', body, { token, headers: this.key(random, times > 1 ? 1 : 0.5) });
    this.model.creations.set(token, request);
    const answers = await Promise.all(Array.from({ length: times }, () => this.send(request)));
    for (const a of answers) this.creation(request, a);
  }

  creation(request, { came, answer }) {
    if (came === 'refused' && request.sent.every((s) => /^4/.test(s.answer))) this.model.creations.delete(request.token);
    if (came === 'refused' && request.id) throw new Error(`${request.id} was made, and the repeat was refused: ${request.line()}`);
    if (came !== 'done') return;
    if (request.id && request.id !== answer.body.id) {
      throw new Error(`one Idempotency-Key made two machines, ${request.id} and ${answer.body.id}: ${request.line()}`);
    }
    request.id = answer.body.id;
    const m = this.model.created(answer.body, request.token);
    if (m && request.body.volumes) for (const v of request.body.volumes) if (!m.volumes.has(v.id)) m.volume(v.id).settle(v.path);
  }

  // ---- changes of a machine

  async change(random, what, m) {
    const request = this.plan(random, what, m);
    if (!request) return;
    request.machine = m.id;
    request.at = Date.now();
    const result = await this.send(request);
    this.learn(request, m, result, true);
  }

  // `first`: sent for the first time; a repeat may be answered without a new effect, so it proves nothing of the present.
  learn(request, m, { came, answer }, first) {
    const { writes, kind } = request;
    if (answer) m.heard(answer.body);
    if (kind === 'delete') this.deletion(m, came, answer);
    if (!first) return;
    if (came === 'done' && (kind === 'wish' || kind === 'delete')) {
      this.model.promises.push({ id: m.id, short: m.short, status: answer.body.status, from: request.at, to: Date.now() });
    }
    const gone = answer?.body?.desired === 'DELETED' && kind !== 'delete';
    for (const w of writes) {
      if (came === 'refused' || (gone && kind === 'wish')) w.drop();
      else if (came === 'done' || (came === 'going' && kind === 'wish')) w.ack();
    }
  }

  deletion(m, came, answer) {
    if (came === 'done' && answer.body.status === 'DELETED') {
      m.deleted = 'done';
      m.deletedAt ??= Date.now();
    } else if (came === 'going' && m.deleted !== 'done') {
      m.deleted = 'asked';
    } else if (came === 'doubt' && m.deleted === 'no') {
      m.deleted = 'maybe';
    }
  }

  plan(random, what, m) {
    const at = `/instances/${m.id}`;
    const post = (path, body, more, p = 0.4) => new Request('POST', `${at}/${path}`, body, { headers: this.key(random, p), ...more });
    const wish = (verb, value) => {
      m.asked[value === 'RUNNING' ? 'start' : 'stop']++;
      return post(verb, undefined, { kind: 'wish', writes: [m.fields.desired.write(value)] });
    };
    const rebuilt = () => { m.asked.start++; m.asked.stop++; };
    switch (what) {
      case 'start': case 'wake': return wish(what, 'RUNNING');
      case 'stop': case 'pause': return wish(what, 'STOPPED');
      case 'delete': return new Request('DELETE', at, undefined, { kind: 'delete' });
      case 'get': return new Request('GET', at);
      case 'patch': return this.patch(random, m, at);
      case 'extend': {
        const hours = random.between(1, 4000);
        const request = post('extend', { hours }, { kind: 'extend', hours });
        request.writes = [m.hours.add(hours, request)];
        return request;
      }
      case 'resize': {
        const type = random.of(TYPES);
        rebuilt();
        return post('resize', { type }, { writes: [m.fields.type.write(type)] });
      }
      case 'attach': {
        const v = { id: `v-${m.token}-${random.below(3)}`, path: `/mnt/${random.below(4)}` };
        rebuilt();
        return post('volumes', v, { writes: [m.volume(v.id).write(v.path)] });
      }
      case 'detach': {
        if (m.volumes.size === 0) return null;
        const id = random.of([...m.volumes.keys()]);
        rebuilt();
        return new Request('DELETE', `${at}/volumes/${id}`, undefined, { writes: [m.volume(id).write(null)] });
      }
      default: throw new Error(what);
    }
  }

  patch(random, m, at) {
    const change = random.weighted({ labels: 4, env: 3, name: 2 });
    const value = { labels: { token: m.token, n: `${++number}` }, env: { N: `${++number}` }, name: random.of(NAMES) }[change];
    const headers = random.chance(0.3) ? { 'If-Match': `"${m.version}"` } : {};
    return new Request('PATCH', at, { [change]: value }, { headers, writes: [m.fields[change].write(value)] });
  }

  // ---- a request without an answer, sent again with its key

  async repeat(request) {
    this.model.counts.repeated++;
    if (request.token) {
      if (!request.id) this.model.creations.set(request.token, request);
      return this.creation(request, await this.send(request));
    }
    const m = this.model.machines.get(request.machine);
    if (!m) return undefined;
    const writes = this.rewrite(request, m);
    const result = await this.send(request);
    this.learn(request, m, result, false);
    for (const w of writes) {
      if (result.came === 'refused') w.drop();
      else if (result.came === 'done' && request.kind === 'extend') w.ack();
    }
    return undefined;
  }

  // What a repeat may still do: an extension exactly what the first did not; the others may write once more, or not.
  rewrite(request, m) {
    if (request.kind === 'extend') return request.happened ? [] : [m.hours.add(request.hours, request)];
    const verb = request.path.split('/').pop();
    if (request.kind === 'wish') return [m.fields.desired.write(verb === 'start' || verb === 'wake' ? 'RUNNING' : 'STOPPED')];
    if (verb === 'resize') return [m.fields.type.write(request.body.type)];
    if (verb === 'volumes') return [m.volume(request.body.id).write(request.body.path)];
    return [];
  }
}

module.exports = { Clients };
