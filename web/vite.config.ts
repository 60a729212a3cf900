/* The build of the screens: hashed names, one chunk a page, everything compressed beforehand.
 *
 * Budget: what a first visit loads (document, styles, script, and the largest page with what only
 * it needs) is at most 150 kB as gzip. The build fails beyond it.
 *
 * `npm run dev` serves the sources and passes the interface on to KEEL_URL. */
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Plugin, type Rollup } from 'vite';

const BUDGET_BYTES = 150_000;
const KEEL_URL = process.env.KEEL_URL ?? 'http://127.0.0.1:7480';
const COMPRESSED = /\.(html|js|css|svg|json)$/;

function everythingOf(chunk: Rollup.OutputChunk, bundle: Rollup.OutputBundle): Set<string> {
  const files = new Set<string>();
  const add = (name: string): void => {
    const part = bundle[name];
    if (files.has(name) || !part) return;
    files.add(name);
    if (part.type !== 'chunk') return;
    part.viteMetadata?.importedCss.forEach((css) => files.add(css));
    part.imports.forEach(add);
  };
  add(chunk.fileName);
  return files;
}

function compressed(): Plugin {
  const sizes = new Map<string, number>();
  return {
    name: 'keel:compressed',
    apply: 'build',
    enforce: 'post',
    writeBundle(options, bundle) {
      for (const name of [...Object.keys(bundle), 'icon.svg']) {
        if (!COMPRESSED.test(name)) continue;
        const path = join(options.dir ?? 'dist', name);
        const plain = readFileSync(path);
        const gzip = gzipSync(plain, { level: 9 });
        const brotli = brotliCompressSync(plain, {
          params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length },
        });
        sizes.set(name, gzip.length);
        if (gzip.length < plain.length) writeFileSync(`${path}.gz`, gzip);
        if (brotli.length < plain.length) writeFileSync(`${path}.br`, brotli);
      }
      const chunks = Object.values(bundle).filter((part) => part.type === 'chunk');
      const entry = chunks.find((chunk) => chunk.isEntry);
      if (!entry) throw new Error('no entry chunk');
      const first = everythingOf(entry, bundle).add('index.html');
      let most = { name: '', bytes: 0 };
      for (const page of chunks.filter((chunk) => chunk.isDynamicEntry)) {
        const files = new Set([...first, ...everythingOf(page, bundle)]);
        const bytes = [...files].reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
        if (bytes > most.bytes) most = { name: page.name, bytes };
      }
      console.log(`screens: a first load is at most ${(most.bytes / 1000).toFixed(1)} kB of gzip (${most.name})`);
      if (most.bytes > BUDGET_BYTES)
        throw new Error(`a first load of ${most.name} takes ${most.bytes} bytes of gzip; the budget is ${BUDGET_BYTES}`);
    },
  };
}

export default defineConfig({
  plugins: [compressed()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // the policy allows no inline script
    modulePreload: { polyfill: false },
    cssCodeSplit: true,
    reportCompressedSize: false,
    rollupOptions: { output: { assetFileNames: 'assets/[name]-[hash][extname]' } },
  },
  server: {
    // Host stays as it is: the server refuses what comes from a page of somebody else.
    proxy: Object.fromEntries(['/api', '/v1', '/readyz', '/openapi.json'].map((path) => [path, { target: KEEL_URL, changeOrigin: false }])),
  },
});
