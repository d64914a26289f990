// A real machine of this host with a page before it, for the pages on which one works in a machine.
'use strict';
const { Server, open, signIn, until } = require('./browser.js');

class Workplace {
  // how: { size, expected } of browser.js; image and env of the machine; settings of the server
  static async start(t, browser, { settings = {}, machine = {}, ...how } = {}) {
    const w = new this();
    w.server = await Server.start({ provider: 'local', ...settings });
    t.after(() => w.server.stop());
    const owner = await w.server.account('ada@example.org');
    const made = await w.server.call('POST', '/instances?wait=30', { name: 'atlas', user_id: owner, ...machine });
    if (made.status !== 201) throw new Error(made.text);
    w.id = made.body.id;
    await w.server.running(w.id);
    w.page = await open(browser, w.server, { expected: how.expected, size: how.size });
    t.after(() => w.page.context().close());
    await signIn(w.page);
    return w;
  }

  at(path) { return `/instances/${this.id}${path}`; }
  call(method, path, body, headers) { return this.server.call(method, this.at(path), body, headers); }

  // Runs that on the machine; its output.
  async sh(script) {
    const r = await this.call('POST', '/exec', { cmd: ['sh', '-c', script] });
    if (r.status !== 200 || r.body.exit_code) throw new Error(r.text);
    return r.body.stdout;
  }

  // A file in the home of the machine's user.
  home(name, text, mode = '644') {
    return this.sh(`mkdir -p "$(dirname ~/${name})"; echo ${Buffer.from(text).toString('base64')} | base64 -d > ~/${name}; chmod ${mode} ~/${name}`);
  }

  put(path, text) { return this.call('PUT', `/files?path=${encodeURIComponent(path)}`, text, { 'Content-Type': 'application/octet-stream' }); }

  // Kills the server; launch() starts it again where it was.
  async kill() {
    const { port } = this.server;
    await this.server.kill();
    this.server.settings.listen_addr = `127.0.0.1:${port}`;
  }
  launch() { return this.server.launch(); }
}

// The rows that a terminal shows now.
const rows = (page) => page.locator('.xterm-rows > div').allTextContents();
async function sees(page, pattern, seconds) {
  let text = '';
  await until(async () => pattern.test(text = (await rows(page)).join('\n')), () => `${pattern} in ${JSON.stringify(text)}`, seconds);
}

module.exports = { Workplace, rows, sees, until };
