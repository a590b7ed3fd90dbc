/*
 * node package.mjs FROM TO: the full viewer as Garonne serves it, from the prepared package of @ohif/app.
 *
 *  - below /viewer/ and not /: its bundler's public path and the addresses in index.html are rewritten;
 *  - without what is not used here: ONNX runtime, microscopy viewer, source maps, start-up pictures, the service worker;
 *  - its bundles come unminified (17 MB the first): minified, half as many bytes to send and to read;
 *  - preload.json: what the reader fetches ahead.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { minify } from 'rolldown/utils';

const [from, to] = process.argv.slice(2);
const UNUSED = /^(ort|dicom-microscopy-viewer|customizations)(\/|$)|\.map$|startup-image|^(_headers|_redirects|serve\.json|google\.js|es6-shim|polyfill|sw\.js|init-service-worker|silent-refresh|oidc-client)/;
const MINIFIED = 200; // mean length of a line above which a script is minified already

rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });
cpSync(from, to, { recursive: true, filter: (f) => !UNUSED.test(f.slice(from.length + 1)) });

const scripts = readdirSync(to).filter((f) => f.endsWith('.js'));
let moved = 0;
for (const name of scripts) {
  const path = join(to, name);
  let code = readFileSync(path, 'utf8');
  const rebased = code.replaceAll('__webpack_require__.p = "/"', '__webpack_require__.p = "/viewer/"');
  moved += rebased !== code;
  code = rebased;
  if (code.length / (code.split('\n').length || 1) < MINIFIED) {
    const small = await minify(name, code, { compress: true, mangle: true });
    if (small.errors.length > 0) throw new Error(`${name}: ${small.errors[0].message}`);
    code = small.code;
  }
  writeFileSync(path, code);
}
if (moved < 8) throw new Error(`only ${moved} scripts name the public path: another version of the viewer?`);

const index = join(to, 'index.html');
const html = readFileSync(index, 'utf8')
  .replaceAll('window.PUBLIC_URL="/"', 'window.PUBLIC_URL="/viewer/"')
  .replace(/(src|href|content)="\/(?!viewer\/)/g, '$1="/viewer/')
  .replace(/<script[^>]*init-service-worker\.js"><\/script>/, '')
  .replace(/<link rel="apple-touch-startup-image"[^>]*>/g, '')
  .replace('<script rel="preload" as="script" src="/viewer/app-config.js"></script>', '<script src="/viewer/app-config.js"></script>');
if (!html.includes('src="/viewer/app.bundle.')) throw new Error('index.html is not as expected');
writeFileSync(index, html);

for (const name of readdirSync(to).filter((f) => f.endsWith('.css'))) {
  const path = join(to, name);
  writeFileSync(path, readFileSync(path, 'utf8').replaceAll('url(/', 'url(/viewer/'));
}

/* The largest scripts that every study needs; the rest follows when it is asked for. */
const first = scripts
  .filter((f) => /^(app|89|2493|5731|6495|4712|8478)\.bundle\./.test(f) || statSync(join(to, f)).size > 400_000)
  .map((f) => `/viewer/${f}`);
writeFileSync(join(to, 'preload.json'), JSON.stringify(['/viewer/app-config.js', '/viewer/app.bundle.css', ...first]));
