// A program in a terminal of its own (pty.py), as a person would use it.
'use strict';
const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');
const { until, within } = require('./waits.js');

const open = new Set();
process.on('exit', () => { for (const p of open) p.child.kill('SIGKILL'); });

class Pty {
  // options: { env, cwd, columns, rows }
  static async run(argv, { env = process.env, cwd, columns = 80, rows = 24 } = {}) {
    const p = new Pty();
    p.output = '';
    p.answers = new Map();
    p.child = spawn('/usr/bin/python3', [path.join(__dirname, 'pty.py'), columns, rows, ...argv].map(String), { env, cwd, stdio: ['pipe', 'pipe', 'inherit'] });
    open.add(p);
    p.gone = new Promise((r) => p.child.on('exit', r));
    p.over = new Promise((r) => { p.tell_end = r; });
    readline.createInterface({ input: p.child.stdout }).on('line', (line) => p.take(JSON.parse(line)));
    await until(() => p.pid, 'the program runs');
    return p;
  }

  take(event) {
    if (event.pid) this.pid = event.pid;
    if (event.out) this.output += Buffer.from(event.out, 'base64').toString('latin1');
    if (event.modes) this.answers.get(event.n)(event.modes);
    if ('exit' in event) { this.end = event; this.tell_end(event); }
  }

  order(what) { this.child.stdin.write(JSON.stringify(what) + '\n'); }
  type(text) { this.order({ type: text }); }
  resize(columns, rows) { this.order({ size: [columns, rows] }); }
  signal(name) { this.order({ signal: name }); }

  // How the program ended: { exit, signal }
  get ended() { return within(this.over, () => `${this.pid} ends, after ${JSON.stringify(this.output.slice(-500))}`); }

  modes() {
    return within(new Promise((r) => {
      const n = this.answers.size + 1;
      this.answers.set(n, r);
      this.order({ modes: n });
    }), 'the modes of the terminal');
  }

  sees(pattern, seconds) {
    return until(() => {
      if (this.end && !pattern.test(this.output)) throw new Error(`it ended (${JSON.stringify(this.end)}): ${JSON.stringify(this.output.slice(-500))}`);
      return pattern.test(this.output);
    }, () => `${pattern} in ${JSON.stringify(this.output.slice(-500))}`, seconds);
  }

  async close() {
    this.child.stdin.end();
    await within(this.gone, 'the terminal is closed');
    open.delete(this);
  }
}

module.exports = { Pty };
