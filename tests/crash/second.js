// A script beside the server: a second process that writes to the same store (second.lua). It answers like the server.
'use strict';
const http = require('node:http');
const path = require('node:path');
const { Server, binary } = require('../lib/cchost.js');

class Second extends Server {
  // Never an orderly end: it is killed.
  get up() { return !this.child.killed && this.child.exitCode === null && !this.child.signalCode; }

  async launch() {
    const settings = Object.entries(this.settings).map(([name, value]) => [name.toUpperCase(), String(value)]);
    this.log = '';
    this.spawn(binary, [path.join(__dirname, 'second.lua')],
      { ...process.env, ...this.how.env, ...Object.fromEntries(settings), DATA_DIR: this.dir });
    await this.says(/listening \d+\n/);
    this.port = Number(/listening (\d+)/.exec(this.log)[1]);
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 200 });
  }

  async kill() {
    if (!this.up) throw new Error(`the script ended by itself (${this.child.exitCode ?? this.child.signalCode}):\n${this.log.slice(-4000)}`);
    await super.kill();
  }
}

module.exports = { Second };
