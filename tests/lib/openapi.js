// The description of the API (`cchost openapi`) as the judge of answers: by ajv, which tests/openapi/package.json names.
//
//   const d = Description.read();        d.operations: [{ id, method, path, ...the operation }]
//   d.fault(operation, answer)           why it is not as described, or null; answer: { status, headers, text, body }
//   d.bodyFault(operation, body)         the same of what is sent
//
// Stricter than the document: what it does not tell of must not be in an answer.
'use strict';
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { binary, root } = require('./cchost.js');

const modules = path.join(root, 'tests', 'openapi', 'node_modules');
const ROOT = 'https://cchost.invalid/openapi.json';

// Of every object in an answer, that no more is in it.
function closed(schema) {
  if (Array.isArray(schema)) return schema.map(closed);
  if (!schema || typeof schema !== 'object') return schema;
  const out = Object.fromEntries(Object.entries(schema).map(([k, v]) => [k, k === 'examples' || k === 'enum' ? v : closed(v)]));
  if (out.properties && out.additionalProperties === undefined && Object.keys(out.properties).length) out.additionalProperties = false;
  return out;
}

class Description {
  static read() {
    const r = spawnSync(binary, ['openapi'], { encoding: 'utf8', maxBuffer: 1 << 24 });
    if (r.status !== 0) throw new Error(r.stderr);
    return new this(JSON.parse(r.stdout));
  }

  constructor(doc) {
    this.doc = doc;
    this.operations = Object.entries(doc.paths).flatMap(([where, item]) => Object.entries(item)
      .map(([method, op]) => ({ ...op, id: op.operationId, method: method.toUpperCase(), path: where })));
    const Ajv = require(path.join(modules, 'ajv', 'dist', '2020.js')).default;
    this.ajv = new Ajv({ strict: false, allErrors: true, allowUnionTypes: true });
    require(path.join(modules, 'ajv-formats')).default(this.ajv);
    this.ajv.addSchema({ $id: ROOT, components: { schemas: closed(doc.components.schemas) } });
    this.compiled = new Map();
  }

  // What a $ref of the document names.
  seen(thing) {
    if (!thing?.$ref) return thing;
    return thing.$ref.slice(2).split('/').reduce((at, name) => at[name], this.doc);
  }

  validator(schema) {
    const text = JSON.stringify(schema);
    if (!this.compiled.has(text)) {
      const whole = JSON.parse(text.replace(/"#\/components/g, `"${ROOT}#/components`));
      this.compiled.set(text, this.ajv.compile(whole));
    }
    return this.compiled.get(text);
  }

  told(validate) { return validate.errors.map((e) => `${e.instancePath || '/'} ${e.message} ${JSON.stringify(e.params)}`).join('; '); }

  fault(op, answer) {
    const response = this.seen(op.responses[answer.status] || (answer.status >= 400 ? op.responses.default : undefined));
    if (!response) return `${answer.status} is not described`;
    const content = response.content;
    if (!content) return answer.text === '' ? null : `a body is not described: ${answer.text.slice(0, 80)}`;
    const type = (answer.headers['content-type'] || '').split(';')[0];
    if (content['*/*']) return null;
    const media = content[type];
    if (!media) return `${type || 'no content type'} is not described, but ${Object.keys(content)}`;
    for (const name of Object.keys(response.headers || {})) {
      if (name !== 'Link' && name !== 'Location' && name !== 'ETag') return `the header ${name} is not known to this test`;
    }
    if (type !== 'application/json') return null;
    const validate = this.validator(closed(media.schema));
    return validate(answer.body) ? null : this.told(validate);
  }

  bodyFault(op, body) {
    const validate = this.validator(op.requestBody.content['application/json'].schema);
    return validate(body) ? null : this.told(validate);
  }

  // The parameters that a path or a query has.
  parameters(op, place) { return (op.parameters || []).map((p) => this.seen(p)).filter((p) => p.in === place); }
}

module.exports = { Description, modules };
