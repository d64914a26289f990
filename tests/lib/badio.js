// Faults of the disk and of the clock for a server under test, switched while it runs (tests/lib/badio.c).
'use strict';
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { root } = require('./cchost.js');

const library = path.join(root, 'build', process.env.V || 'release', 'badio.so');
const SLOW = 24 + 4096, SIZE = SLOW + 8;

class BadIo {
  // Everything below `folder` is the disk that fails.
  constructor(folder) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cchost-badio-'));
    this.file = path.join(this.dir, 'control');
    const b = Buffer.alloc(SIZE);
    b.write(`${fs.realpathSync(folder)}/`, 24);
    fs.writeFileSync(this.file, b);
    this.fd = fs.openSync(this.file, 'r+');
  }

  // What the server's environment needs.
  get env() {
    const asan = process.env.ASAN_OPTIONS;
    return { LD_PRELOAD: library, BADIO: this.file, ...(asan ? { ASAN_OPTIONS: `${asan}:verify_asan_link_order=0` } : {}) };
  }

  // word: ENOSPC, EIO; chance: 0 to 1, of each call.
  fail(word, chance = 1, seed = 1) {
    const b = Buffer.alloc(12);
    b.writeUInt32LE(Math.round(chance * 1e6), 0);
    b.writeBigUInt64LE(BigInt(seed), 4);
    fs.writeSync(this.fd, b, 0, 12, 4);
    this.errno(os.constants.errno[word]);
  }

  heal() { this.errno(0); }

  errno(n) {
    const b = Buffer.alloc(4);
    b.writeUInt32LE(n);
    fs.writeSync(this.fd, b, 0, 4, 0);
  }

  // Each sync takes so much longer.
  slow(ms) {
    const b = Buffer.alloc(4);
    b.writeUInt32LE(ms);
    fs.writeSync(this.fd, b, 0, 4, SLOW);
  }

  // Shifts the server's wall clock; 0 puts it right.
  clock(ms) {
    const b = Buffer.alloc(8);
    b.writeBigInt64LE(BigInt(ms));
    fs.writeSync(this.fd, b, 0, 8, 16);
  }

  close() {
    fs.closeSync(this.fd);
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

module.exports = { BadIo };
