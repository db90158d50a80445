// Bundles the main entry as an application would, and fails if it is larger than promised.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const LIMIT_BYTES = 15 * 1024;

const { outputFiles } = await build({
  entryPoints: ['src/index.ts'],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  write: false,
});
const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
console.log(`main entry: ${bytes} bytes, minified and gzipped (limit ${LIMIT_BYTES})`);
if (bytes > LIMIT_BYTES) process.exit(1);
