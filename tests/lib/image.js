// What stands on every machine, whoever made it: the texts of providers/image/nixos/parts, byte by byte.
//
//   parts()            -> { NAME: Buffer }
//   await same(sh)     sh(line) -> what that prints on the machine: each text is where setup.sh puts it, as it is in the tree
//   carried(dir)       what a provider sends to a machine (image.tar of the program), unpacked in dir
'use strict';
const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { root, binary } = require('./cchost.js');

const folder = path.join(root, 'providers/image/nixos/parts');
const places = {
  'claude-pane': '/usr/local/bin/claude-pane',
  'claude-session': '/usr/local/bin/claude-session',
  'config.kdl': '/home/claude/.config/zellij/config.kdl',
  'layout.kdl': '/home/claude/.config/zellij/layouts/claude.kdl',
};

const parts = () => Object.fromEntries(fs.readdirSync(folder).sort().map((name) => [name, fs.readFileSync(path.join(folder, name))]));

async function same(sh) {
  const want = Object.entries(places).map(([name, at]) => `${crypto.createHash('sha256').update(parts()[name]).digest('hex')}  ${at}`);
  assert.deepStrictEqual((await sh(`sha256sum ${Object.values(places).join(' ')}`)).trim().split('\n'), want);
}

function carried(dir) {
  const script = path.join(dir, 'carried.lua');
  fs.writeFileSync(script, 'require("sys").stdout(require("sys").carried("image.tar"))\n');
  const tar = execFileSync(binary, [script], { maxBuffer: 1 << 24, env: { ...process.env, DATA_DIR: path.join(dir, 'data') } });
  execFileSync('tar', ['-x', '-C', dir], { input: tar });
  fs.rmSync(script);
}

module.exports = { parts, places, same, carried, folder };
