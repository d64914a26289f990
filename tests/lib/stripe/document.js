// Stripe's document as the validator reads it: the kit's part of it (slice.json), and the operations that we ask for besides, their
// parameters unchanged, out of the whole document beside it.
//
//   document() -> the path of a file, made once for these two
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const kit = require('../kit.js');
const { root } = require('../cchost.js');

const also = [['/v1/charges/{charge}', 'get'], ['/v1/invoices/{invoice}/lines', 'get']];

function add(part, whole) {
  for (const [where, method] of also) {
    const operation = whole.paths[where]?.[method];
    if (!operation) throw new Error(`Stripe's document has no ${method} ${where}`);
    for (const p of operation.parameters || []) if (p.style === 'deepObject') { delete p.style; delete p.explode; } // as the kit's: qs reads the brackets
    operation.responses = { 200: { description: '', content: { 'application/json': { schema: { type: 'object' } } } } };
    if (JSON.stringify(operation).includes('$ref')) throw new Error(`${where}: its parameters refer to others`);
    part.paths[where] = { ...part.paths[where], [method]: operation };
  }
}

function make(file, [slice, spec]) {
  const yaml = require(`${kit.modules('eov')}js-yaml`);
  const part = JSON.parse(fs.readFileSync(slice, 'utf8'));
  add(part, yaml.load(fs.readFileSync(spec, 'utf8')));
  const own = `${file}.${process.pid}`;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(own, JSON.stringify(part));
  fs.renameSync(own, file); // whole or not at all: tests run beside each other
}

function document() {
  const sources = ['slice.json', 'spec3.yaml'].map((f) => path.join(kit.specs, 'stripe', f));
  const stamp = [__filename, ...sources].map((f) => { const s = fs.statSync(f); return `${s.size}-${Math.floor(s.mtimeMs)}`; }).join('.');
  const file = path.join(root, 'build', `stripe.${stamp}.json`);
  if (!fs.existsSync(file)) make(file, sources);
  return file;
}

module.exports = { document };
