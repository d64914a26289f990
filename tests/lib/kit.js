// Other people's rules for our requests: the conformance kit beside the project (../shared/conformance), which is not of it.
//
//   const kit = require('../lib/kit.js');
//   test('...', { skip: kit.missing('eov') }, ...)      why it cannot be used, or false
//   kit.dir, kit.specs, kit.modules('npm')              the kit, the vendors' documents, and npm packages that its ./setup installs
//
// `make test` runs its setup (Makefile, deps-kit). In CI what is there and cannot be used is a fault, not a reason to skip.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { root } = require('./cchost.js');

const shared = path.join(root, '..', 'shared');
const dir = path.join(shared, 'conformance');
const specs = path.join(shared, 'specs');
const modules = (part) => require(path.join(dir, 'where.js')).modules(part);

// Why tests that need these parts of it cannot run, or false.
function missing(...parts) {
  if (!fs.existsSync(path.join(dir, 'where.js'))) return 'the conformance kit (../shared/conformance) is not here';
  const absent = parts.filter((p) => !fs.existsSync(modules(p)));
  if (!absent.length) return false;
  const why = `the conformance kit is not set up (${dir}/setup --light): ${absent.join(', ')}`;
  if (process.env.CI) throw new Error(why);
  return why;
}

module.exports = { dir, specs, modules, missing };
