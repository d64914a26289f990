// node web/build.mjs OUT: makes the dashboard's files. Scripts and styles go to OUT/assets under names that hold their
// content's hash; OUT/index.html names them and is written last. Each is also there as .gz and .br, where that is smaller.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';
import { strictStyles } from './strict-styles.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.resolve(process.argv[2] ?? path.join(here, '..', 'build', 'web'));
fs.rmSync(out, { recursive: true, force: true });

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { app: 'src/main.tsx', style: 'src/style/index.css' },
  outdir: path.join(out, 'assets'),
  bundle: true, splitting: true, format: 'esm', minify: true, target: 'es2021', metafile: true,
  jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none', logLevel: 'warning',
  entryNames: '[name]-[hash]', chunkNames: '[name]-[hash]', assetNames: '[name]-[hash]',
  plugins: [strictStyles],
});

// The address of what was built of a source.
function built(source) {
  const [name] = Object.entries(metafile.outputs).find(([, o]) => o.entryPoint === source);
  return `/assets/${path.basename(name)}`;
}

function copied(source) {
  const data = fs.readFileSync(path.join(here, source));
  const { name, ext } = path.parse(source);
  const file = `${name}-${createHash('sha256').update(data).digest('hex').slice(0, 8)}${ext}`;
  fs.writeFileSync(path.join(out, 'assets', file), data);
  return `/assets/${file}`;
}

const names = {
  SCRIPT: built('src/main.tsx'), STYLE: built('src/style/index.css'), ICON: copied('static/favicon.svg'),
};
const html = fs.readFileSync(path.join(here, 'index.html'), 'utf8').replace(/%([A-Z]+)%/g, (_, name) => names[name]);

function compress(file) {
  const data = fs.readFileSync(file);
  const br = zlib.brotliCompressSync(data, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 11 } });
  for (const [ext, small] of [['.gz', zlib.gzipSync(data, { level: 9 })], ['.br', br]]) {
    if (small.length < data.length) fs.writeFileSync(file + ext, small);
  }
}

fs.writeFileSync(path.join(out, 'index.html.new'), html);
fs.renameSync(path.join(out, 'index.html.new'), path.join(out, 'index.html'));
compress(path.join(out, 'index.html'));
for (const file of fs.readdirSync(path.join(out, 'assets'))) compress(path.join(out, 'assets', file));
