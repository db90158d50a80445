// Builds the files of the pages into dist, which is committed: the gateway builds without Node. With
// --check it compares instead, and fails if dist is not what it would build.
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url);
const source = (name) => fileURLToPath(new URL(`src/${name}`, root));
const dist = new URL('dist/', root);

/** Everything that the gateway serves, by name. */
async function files() {
  const { outputFiles } = await build({
    entryPoints: {
      page: source('main.ts'),
      'page-style': source('page.css'),
      admin: source('admin/main.ts'),
      'admin-style': source('admin.css'),
    },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    charset: 'utf8',
    legalComments: 'none',
    outdir: fileURLToPath(dist),
    write: false,
    logLevel: 'warning',
  });
  const bundle = (name) => outputFiles.find((it) => basename(it.path) === name).text;
  return {
    'index.html': await readFile(source('index.html'), 'utf8'),
    'icon.svg': await readFile(source('icon.svg'), 'utf8'),
    'page.js': bundle('page.js'),
    'page.css': bundle('page-style.css'),
    'admin.html': await readFile(source('admin.html'), 'utf8'),
    'admin.js': bundle('admin.js'),
    'admin.css': bundle('admin-style.css'),
  };
}

const built = await files();
const names = Object.keys(built);
if (process.argv.includes('--check')) {
  const present = (await readdir(dist)).filter((it) => !names.includes(it));
  const differ = [];
  for (const name of names) {
    const committed = await readFile(new URL(name, dist), 'utf8').catch(() => undefined);
    if (committed !== built[name]) differ.push(name);
  }
  if (differ.length + present.length > 0) {
    console.error(`clients/pages/dist is not current (${[...differ, ...present].join(', ')}): run npm run build there`);
    process.exit(1);
  }
  console.log(`clients/pages/dist is current: ${names.join(', ')}`);
} else {
  await mkdir(dist, { recursive: true });
  for (const name of names) {
    await writeFile(new URL(name, dist), built[name]);
    console.log(`dist/${name}: ${Buffer.byteLength(built[name])} bytes`);
  }
}
