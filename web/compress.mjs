/* node compress.mjs DIR QUALITY: X.br and X.gz beside every file X that gains from it. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const [dir, quality] = process.argv.slice(2);

function walk(folder) {
  for (const f of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, f.name);
    if (f.isDirectory()) walk(path);
    else if (/\.(js|css|html|json|svg|wasm)$/.test(f.name) && statSync(path).size > 512) pack(path);
  }
}

function pack(path) {
  const from = readFileSync(path);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: Number(quality),
    [constants.BROTLI_PARAM_LGWIN]: 22,
    [constants.BROTLI_PARAM_SIZE_HINT]: from.length,
  };
  writeFileSync(`${path}.br`, brotliCompressSync(from, { params }));
  writeFileSync(`${path}.gz`, gzipSync(from, { level: 7 }));
}

walk(dir);
