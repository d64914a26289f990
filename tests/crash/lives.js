// One life of the server after the other on the same data, each ended as its mode says, and checked.
//   kill      SIGKILL, 0 to 300 ms into its work, or while it starts
//   pause     SIGSTOP for 50 to 500 ms in the middle of the work, then it goes on
//   ioerror   writes and syncs of the store fail for a while (tests/lib/badio.c), then they do not
//   mixed     any of these
// In a third of the lives a script works beside the server, on the same store and the same machines (second.js); it is
// killed somewhere on its way.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { BadIo } = require('../lib/badio.js');
const { Server, temp } = require('../lib/cchost.js');
const { Random } = require('./random.js');
const { Model } = require('./model.js');
const { Clients } = require('./clients.js');
const { Checker } = require('./checker.js');
const { Second } = require('./second.js');
const provider = require('./provider.js');

const CLIENTS = 16;
const WHOLE_EVERY = 25; // lives
const SECOND = 1 / 3;   // of the lives have a script beside the server
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

// Everything that a provider does wrong, not too often: a retry must have a chance.
function mock(random, files) {
  const chance = (more) => `chance={fail=0.04,after=0.04,lose=0.005,${more}},code="${random.of(['unavailable', 'io', 'limit'])}",retry_after_ms=50`;
  const late = 'late=0.005';
  return `{seed=${random.bits()},latency_ms=1,latency_max_ms=20,late_ms=20,orphans=3,attach_live=${random.chance(0.3)},` +
    `state=${JSON.stringify(files.state)},ledger=${JSON.stringify(files.ledger)},` +
    `create={${chance(`half=0.04,${late}`)}},start={${chance(late)}},stop={${chance(late)}},destroy={${chance(late)}},` +
    `attach={${chance('')}},detach={${chance('')}},volume_create={${chance('')}},` +
    'status={chance={fail=0.02}},list={lag_ms=30,chance={fail=0.02}}}';
}

class Lives {
  constructor(mode, seed) {
    this.mode = mode;
    this.random = new Random(seed);
    this.top = temp();
    const at = (name) => path.join(this.top, name);
    this.files = { dir: at('data'), state: at('mock.state'), ledger: at('mock.ledger') };
    fs.mkdirSync(this.files.dir, 0o700);
    this.disk = mode === 'ioerror' || mode === 'mixed' ? new BadIo(this.files.dir) : null;
    this.model = new Model();
    this.clients = new Clients(this.model, this.random.fork(), { count: CLIENTS });
    this.ledger = new provider.Ledger(this.files.ledger);
    this.checker = new Checker(this.model, this.files, this.ledger);
    this.how = this.disk ? { env: this.disk.env } : {};
    this.server = null;
    this.n = { lives: 0, kills: 0, pauses: 0, ioerrors: 0, scripts: 0 };
  }

  async run(lives) {
    for (let i = 0; i < lives; i++) {
      this.n.lives++;
      await this.life();
      if ((i + 1) % WHOLE_EVERY === 0 || i + 1 === lives) await this.rest();
    }
    await this.server.stop();
    this.remove();
  }

  remove() {
    this.disk?.close();
    fs.rmSync(this.top, { recursive: true, force: true, maxRetries: 10 });
  }

  settings() {
    return {
      provider: 'mock', mock: mock(this.random, this.files), provider_seconds: 1, sweep_seconds: 1, orphans: 'delete',
      orphan_grace_seconds: 0, status_seconds: '{STARTING=60,STOPPING=60,DELETING=60}', quota_instances: 0,
    };
  }

  // The server of the last life, or a new one on its data; one in six dies while it starts.
  async up() {
    if (this.server) return;
    const settings = this.settings();
    const { how } = this;
    while (this.mode !== 'pause' && this.random.chance(1 / 6)) {
      const early = new Server();
      Object.assign(early, { dir: this.files.dir, settings, how });
      early.launch().catch(() => {});
      await sleep(this.random.below(60));
      early.child.kill('SIGKILL');
      await early.exited;
      this.n.kills++;
    }
    this.server = await Server.start(settings, this.files.dir, how);
  }

  async life() {
    await this.up();
    await this.checker.quick(this.server);
    const second = await this.beside();
    const stop = { now: false };
    const how = this.mode === 'mixed' ? this.random.of(['kill', 'pause', 'ioerror']) : this.mode;
    const work = this.clients.run(this.server, stop, second);
    const gone = second && sleep(this.random.below(500)).then(() => second.kill());
    work.catch(() => { stop.now = true; }); // both told below
    gone?.catch(() => { stop.now = true; });
    await sleep(this.random.below(300));
    this.alive();
    await this[how](stop);
    await gone;
    await work;
  }

  // The script of this life, or null.
  async beside() {
    if (!this.random.chance(SECOND)) return null;
    this.n.scripts++;
    return Second.start(this.server.settings, this.files.dir, this.how);
  }

  alive() {
    const { exitCode, signalCode } = this.server.child;
    if (exitCode === null && !signalCode) return;
    throw new Error(`the server ended by itself (${exitCode ?? signalCode}):\n${this.server.log.slice(-4000)}`);
  }

  async kill(stop) {
    stop.now = true;
    await this.server.kill();
    this.server = null;
    this.n.kills++;
  }

  async pause(stop) {
    this.server.child.kill('SIGSTOP');
    await sleep(this.random.between(50, 500));
    this.server.child.kill('SIGCONT');
    await sleep(this.random.below(100));
    stop.now = true;
    this.n.pauses++;
  }

  // Now and then the fault is what the kill meets.
  async ioerror(stop) {
    this.disk.fail(this.random.of(['ENOSPC', 'EIO']), this.random.of([1, 0.3]), this.random.bits());
    this.n.ioerrors++;
    await sleep(this.random.between(20, 150));
    if (this.random.chance(0.3)) {
      await this.kill(stop);
      return this.disk.heal();
    }
    this.disk.heal();
    await sleep(this.random.below(100));
    this.alive();
    stop.now = true;
    return undefined;
  }

  async rest() {
    await this.up();
    await this.checker.whole(this.server);
  }

  line() {
    const { counts } = this.model;
    const n = Object.entries({ ...this.n, ...counts }).map(([k, v]) => `${v} ${k}`);
    return `${n.join(', ')}, ${this.ledger.mishaps} provider mishaps`;
  }
}

module.exports = { Lives };
