// A real Prometheus that scrapes the server, and what it says of that afterwards.
'use strict';
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { until } = require('../lib/cchost.js');

const JOB = '{job="cchost"}';

async function free_port() {
  const s = net.createServer();
  await new Promise((r) => { s.listen(0, '127.0.0.1', r); });
  const { port } = s.address();
  await new Promise((r) => { s.close(r); });
  return port;
}

class Prometheus {
  // dir: its own; target: HOST:PORT; token: of the scope metrics; every: seconds
  static async start(dir, target, token, every = 2) {
    const p = new this();
    Object.assign(p, { dir, every, port: await free_port(), log: '' });
    fs.mkdirSync(dir, { recursive: true });
    fs.writeFileSync(path.join(dir, 'prometheus.yml'), [
      'scrape_configs:', '  - job_name: cchost', `    scrape_interval: ${every}s`, `    scrape_timeout: ${every}s`,
      `    authorization: { credentials: ${token} }`, `    static_configs: [{ targets: ["${target}"] }]`, ''].join('\n'), { mode: 0o600 });
    p.child = spawn('prometheus', [`--config.file=${dir}/prometheus.yml`, `--storage.tsdb.path=${dir}/data`, `--web.listen-address=127.0.0.1:${p.port}`],
      { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const out of [p.child.stdout, p.child.stderr]) out.on('data', (d) => { p.log = (p.log + d).slice(-20000); });
    p.gone = new Promise((r) => p.child.on('exit', r));
    process.on('exit', () => p.child.kill('SIGKILL'));
    await until(async () => (await fetch(`http://127.0.0.1:${p.port}/-/ready`).catch(() => ({}))).status === 200, () => `prometheus is ready: ${p.log}`, 60);
    await until(async () => (await p.number(`up${JOB}`)) === 1, () => `it scrapes: ${p.log}`, 30);
    p.began = Date.now() / 1000;
    return p;
  }

  async api(where, query) {
    const r = await fetch(`http://127.0.0.1:${this.port}/api/v1/${where}?${new URLSearchParams(query)}`);
    const body = await r.json();
    if (body.status !== 'success') throw new Error(`prometheus: ${JSON.stringify(body)}`);
    return body.data;
  }

  async number(query, time) {
    const { result } = await this.api('query', { query, ...(time && { time }) });
    return result.length ? Number(result[0].value[1]) : NaN;
  }

  // Every series that was there between its begin and `time` (seconds): -> Map of metric to a Set of its label sets
  async series(time = Date.now() / 1000) {
    const all = new Map();
    for (const { __name__: name, instance, job, ...labels } of await this.api('series', { 'match[]': JOB, start: this.began - 5, end: time })) {
      if (!all.has(name)) all.set(name, new Set());
      all.get(name).add(JSON.stringify(labels));
    }
    return all;
  }

  // Since it began.
  async scrapes() {
    const range = `${JOB}[${Math.ceil(Date.now() / 1000 - this.began)}s]`;
    const of = async (q, name) => this.number(`${q}, ${name}${range})`);
    const [count, good] = [await this.number(`count_over_time(up${range})`), await this.number(`sum_over_time(up${range})`)];
    const [half, most, max] = [await of('quantile_over_time(0.5', 'scrape_duration_seconds'), await of('quantile_over_time(0.99', 'scrape_duration_seconds'),
      await this.number(`max_over_time(scrape_duration_seconds${range})`)];
    return { count, failed: count - good, half, most, max, samples: await this.number(`max_over_time(scrape_samples_scraped${range})`) };
  }

  async stop() {
    this.child.kill();
    await this.gone;
  }
}

const count = (series) => [...series.values()].reduce((n, set) => n + set.size, 0);
// What is in `now` and was not in `before`: ["name {labels}", ...]
const more = (before, now) => [...now].flatMap(([name, set]) => [...set].filter((l) => !before.get(name)?.has(l)).map((l) => `${name} ${l}`));

module.exports = { Prometheus, count, more };
