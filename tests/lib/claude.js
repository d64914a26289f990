#!/usr/bin/env node
// A double of Claude Code: speaks stream-json as it does, keeps transcripts where it does, and refuses what it would refuse.
// What is said to it decides what it does: "tool", "slow", "deaf", "hang", "crash", "half", "noise", "huge", "burst", "login", ...
// CLAUDE_DOUBLE_LOG: a file to which it writes how it was started, and how it ended.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const crypto = require('node:crypto');
const readline = require('node:readline');

const log = (o) => fs.appendFileSync(process.env.CLAUDE_DOUBLE_LOG, `${JSON.stringify({ pid: process.pid, ...o })}\n`);
const argv = process.argv.slice(2);
log({ argv, cwd: process.cwd(), env: { HOME: process.env.HOME, CLAUDECODE: process.env.CLAUDECODE, CCHOST_BUSY_SOCKET: process.env.CCHOST_BUSY_SOCKET },
  oauth: process.env.CLAUDE_CODE_OAUTH_TOKEN, key: process.env.ANTHROPIC_API_KEY });
process.on('exit', (code) => log({ exit: code }));
const die = (code, text) => {
  process.stderr.write(`${text}\n`);
  process.exit(code);
};

const known = ['-p', '--verbose', '--include-partial-messages'];
const valued = { '--output-format': ['stream-json'], '--input-format': ['stream-json'] };
const modes = ['default', 'acceptEdits', 'plan', 'bypassPermissions', 'dontAsk', 'auto'];
const seen = new Set();
let resume;
for (let i = 0; i < argv.length; i++) {
  const [name, value] = argv[i].split(/=(.*)/s);
  seen.add(name);
  if (valued[argv[i]]) {
    if (!valued[argv[i]].includes(argv[++i])) die(1, `error: ${argv[i - 1]}: ${argv[i]}`);
  } else if (name === '--resume' && value) resume = value;
  else if (name === '--permission-mode') { if (!modes.includes(value)) die(1, `error: --permission-mode: ${value}`); }
  else if (!known.includes(argv[i])) die(1, `error: unknown option '${argv[i]}'`);
}
if (!seen.has('-p') || !seen.has('--verbose')) die(1, 'Error: When using --print, --output-format=stream-json requires --verbose');
if (process.env.CLAUDECODE) die(1, 'Error: Claude Code cannot be launched inside another Claude Code session.');

const session = resume ?? crypto.randomUUID();
const folder = path.join(process.env.HOME, '.claude', 'projects', process.cwd().replace(/[^a-zA-Z0-9]/g, '-'));
const transcript = path.join(folder, `${session}.jsonl`);
if (resume && !fs.existsSync(transcript)) die(1, `No conversation found with session ID: ${resume}`);
fs.mkdirSync(folder, { recursive: true });

const said = () => (fs.existsSync(transcript) ? fs.readFileSync(transcript, 'utf8').trim().split('\n').map((l) => JSON.parse(l)).filter((o) => o.type === 'user').map((o) => o.message.content) : []);
const keep = (type, content) => fs.appendFileSync(transcript, `${JSON.stringify({ type, sessionId: session, cwd: process.cwd(), timestamp: new Date().toISOString(), message: { role: type, content } })}\n`);

const out = (o) => process.stdout.write(`${JSON.stringify({ ...o, session_id: session })}\n`);
const assistant = (...content) => out({ type: 'assistant', message: { role: 'assistant', content }, parent_tool_use_id: null });
const event = (e) => out({ type: 'stream_event', event: e, parent_tool_use_id: null });
const text = (whole, pieces = [whole]) => {
  event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
  for (const p of pieces) event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: p } });
  event({ type: 'content_block_stop', index: 0 });
  assistant({ type: 'text', text: whole });
};
const result = (more = {}) => out({ type: 'result', subtype: 'success', is_error: false, num_turns: 1, result: 'ready', ...more });

let waiting; // what an interrupt ends
const acts = {
  tool() {
    assistant({ type: 'tool_use', id: 'toolu_1', name: 'Bash', input: { command: 'ls' } });
    out({ type: 'user', message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: 'a\nb' }] }] } });
    text('Two files.');
    result();
  },
  slow() {
    text('I begin');
    waiting = () => result({ subtype: 'error_during_execution', is_error: true, result: null });
  },
  wait() { // until somebody makes that file
    text('I wait');
    const look = setInterval(() => {
      if (!fs.existsSync(process.env.CLAUDE_DOUBLE_GO)) return;
      clearInterval(look);
      text('I am done');
      result();
    }, 20);
  },
  deaf() {
    text('I hear nothing');
    for (const s of ['SIGINT', 'SIGTERM']) process.on(s, () => log({ ignored: s }));
    setInterval(() => {}, 1000);
  },
  hang() { setInterval(() => {}, 1000); },
  crash() {
    text('I was about to');
    die(3, 'something broke\nTypeError: out of cheese');
  },
  half() { process.stdout.write('{"type":"result","subtype":"succ', () => die(4, '')); },
  noise() {
    process.stdout.write('Debugger listening on ws://x\n[1]\n{"type":"new_in_this_version"}\n{broken\n\n');
    text('Clear');
    process.stdout.write('{"type":"assistant","message":{"content":[{"type":"text","text":"half \\ud83d"}]}}\n');
    result();
  },
  huge() {
    out({ type: 'user', message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'x', content: 'y'.repeat(3 << 20) }] } });
    text('That was long.');
    result();
  },
  burst() {
    for (let i = 0; i < 5000; i++) assistant({ type: 'text', text: `${i} ` });
    result();
  },
  login() { result({ is_error: true, result: 'Invalid API key · Please run /login' }); },
  asks() {
    out({ type: 'control_request', request_id: 'q1', request: { subtype: 'can_use_tool', tool_name: 'Bash', input: {} } });
    acts.answered = (o) => { if (o.type === 'control_response') { text(`answered: ${o.response.subtype}`); result(); } };
  },
  stays() { // lives on after the end of its input
    text('I stay');
    result();
    setInterval(() => {}, 1000);
  },
  away() { // ends by itself between two turns
    text('Bye');
    result();
    setImmediate(() => process.exit(0));
  },
};

function take(line) {
  const o = JSON.parse(line);
  if (o.type === 'control_request') {
    out({ type: 'control_response', response: { subtype: 'success', request_id: o.request_id } });
    if (o.request.subtype === 'interrupt' && waiting) { waiting(); waiting = null; }
    return;
  }
  if (o.type !== 'user') { acts.answered?.(o); return; }
  const before = said();
  const content = o.message.content;
  keep('user', content);
  out({ type: 'system', subtype: 'init', cwd: process.cwd(), tools: ['Bash'], permissionMode: 'x' });
  if (acts[content]) { acts[content](); return; }
  const answer = `You said ${JSON.stringify(content)}; before: ${before.join(', ') || 'nothing'}.`;
  text(answer, [answer.slice(0, 8), answer.slice(8)]);
  keep('assistant', [{ type: 'text', text: answer }]);
  result({ result: answer });
}

readline.createInterface({ input: process.stdin }).on('line', take);
