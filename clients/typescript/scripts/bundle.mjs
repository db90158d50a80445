// Builds the script for pages that load OpenTok.js by a script tag: dist/opentok.js, global OT.
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

// The budget of the main entry, and 4 KiB for the adapter.
const LIMIT_BYTES = 19 * 1024;
const FILE = 'dist/opentok.js';

await build({
  entryPoints: ['src/opentok/index.ts'],
  bundle: true,
  minify: true,
  format: 'iife',
  globalName: 'OT',
  target: 'es2022',
  platform: 'browser',
  external: ['ws'],
  outfile: FILE,
  legalComments: 'none',
  logLevel: 'warning',
});
const bytes = gzipSync(await readFile(FILE), { level: 9 }).length;
console.log(`${FILE}: ${bytes} bytes, gzipped (limit ${LIMIT_BYTES})`);
if (bytes > LIMIT_BYTES) process.exit(1);
