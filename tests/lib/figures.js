// GET /metrics as it is and as numbers.
//
//   await figures(s)    -> Map of `name{labels}` to its number       read(text)    the same of a text
'use strict';

const read = (body) => new Map(body.split('\n').filter((l) => l && !l.startsWith('#')).map((l) => [l.slice(0, l.lastIndexOf(' ')), Number(l.slice(l.lastIndexOf(' ') + 1))]));
const figures = async (s) => read((await s.call('GET', '/metrics')).text);

module.exports = { figures, read };
