import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const run = (command: string, args: string[], cwd: string) => execFileSync(command, args, { cwd, encoding: 'utf8' });

test('the package has what an application needs, and nothing else', { timeout: 60_000 }, (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'signalbox-pack-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const [packed] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', directory], root),
  );
  const paths: string[] = packed.files.map((it: { path: string }) => it.path);
  assert.ok(paths.includes('README.md'));
  for (const path of paths) assert.match(path, /^(README\.md|package\.json|dist\/.+\.(js|d\.ts))$/);

  // As it is installed.
  const installed = join(directory, 'node_modules', '@signalbox', 'client');
  mkdirSync(installed, { recursive: true });
  run('tar', ['-xzf', join(directory, packed.filename), '--strip-components=1', '-C', installed], directory);
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  assert.deepEqual(manifest.dependencies, undefined);
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(
    join(directory, 'app.ts'),
    "import { connect, type SessionEvent } from '@signalbox/client';\n" +
      "connect('nonsense', 'token').catch((error) => console.log(error.code));\n" +
      'export type Event = SessionEvent;\n',
  );
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom', '--types', ''];
  run(process.execPath, [tsc, ...options, 'app.ts'], directory);
  assert.equal(run(process.execPath, ['app.js'], directory), 'url\n');
});
