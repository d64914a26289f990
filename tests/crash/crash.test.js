// Kills, pauses and write errors under load: nothing acknowledged is lost, nothing gets stuck, nothing happens twice.
//
//   CRASH_KILLS=200   lives that end with a kill; a tenth of that in each of the other modes
//   CRASH_MODE=kill   this mode alone
//   CRASH_SEED=N      plan of requests, faults and kills; printed, so that a failed run can be repeated
// lives.js ends the lives, clients.js sends the requests, model.js knows what was acknowledged, checker.js what must hold.
'use strict';
const test = require('node:test');
const { Lives } = require('./lives.js');

const kills = Number(process.env.CRASH_KILLS || 200);
const seed = Number(process.env.CRASH_SEED || Date.now() % 0x7fffffff);
let going = null; // the run under way
process.on('exit', () => going?.remove()); // ended by a signal
const share = { kill: 1, pause: 0.1, ioerror: 0.1, mixed: 0.1 };

for (const mode of process.env.CRASH_MODE ? [process.env.CRASH_MODE] : Object.keys(share)) {
  const lives = process.env.CRASH_MODE ? kills : Math.max(1, Math.round(kills * share[mode]));
  test(`${mode}: what was acknowledged is there after each of ${lives} lives`, async (t) => {
    const run = new Lives(mode, seed);
    going = run;
    t.diagnostic(`CRASH_MODE=${mode} CRASH_SEED=${seed} CRASH_KILLS=${lives}`);
    try {
      await run.run(lives);
    } catch (e) {
      e.message = `seed ${seed}, mode ${mode}, life ${run.n.lives}, data in ${run.top}: ${e.message}`;
      if (run.server) await run.server.kill();
      run.disk?.close();
      throw e;
    } finally {
      going = null;
      t.diagnostic(run.line());
    }
  });
}
