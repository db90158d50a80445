/** A real nats-server, for gateways of a cluster. */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import type { Cleanup } from './gateway.js';

const START_DEADLINE_MS = 20_000;

/** Starts it on a port that the system chooses, and returns its URL. It ends with the test. */
export async function startNats(context: Cleanup): Promise<string> {
  // Debian installs it where only the superuser looks for programs.
  const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` };
  const child = spawn('nats-server', ['--addr', '127.0.0.1', '--port', '-1'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env,
  });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  context.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const port = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('nats-server is not ready')), START_DEADLINE_MS);
    child.once('error', () => reject(new Error('these tests need nats-server: apt install nats-server')));
    void exited.then(() => reject(new Error('nats-server has ended')));
    let found = '';
    // It reads on to the end: a server that cannot write its log blocks.
    createInterface(child.stderr).on('line', (line) => {
      found = /Listening for client connections on .*:(\d+)/.exec(line)?.[1] ?? found;
      if (!line.includes('Server is ready')) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
  return `nats://127.0.0.1:${port}`;
}
