/** A real gateway, started and stopped as a user would do it. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import type { Session } from '../src/index.js';

const START_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 10_000;
const START_ATTEMPTS = 50;

export interface Gateway {
  /** `http://HOST:PORT`: WebSocket without TLS. */
  url: string;
  project: { key: string; secret: string };
  session: string;
  secret: string;
  newSession(): string;
  token(options?: { session?: string; role?: string; data?: string }): string;
  process: ChildProcess;
  /** Ends it as an operator would. */
  stop(): Promise<void>;
}

/** What a test's context does: it runs functions when the test is over. */
export interface Cleanup {
  after(fn: () => unknown): void;
}

/** The program under test: SIGNALBOX_BIN, or what `cargo build -p signalbox` has built here. */
export function binary(): string {
  const path =
    process.env['SIGNALBOX_BIN'] ?? fileURLToPath(new URL('../../../../target/debug/signalbox', import.meta.url));
  if (!existsSync(path)) throw new Error(`there is no ${path}: build the gateway, or set SIGNALBOX_BIN`);
  return path;
}

/** Starts a gateway; `settings` are environment variables. It ends with the test. */
export async function startGateway(
  context: Cleanup,
  settings: Record<string, string> = {},
  {
    tcp = '127.0.0.1:0',
    directory = mkdtempSync(join(tmpdir(), 'signalbox-')),
    options = [] as string[],
  } = {},
): Promise<Gateway> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(context, settings, tcp, directory, options);
    } catch (error) {
      // Between two gateways on the same port, the system may give it to another test's connection.
      if (attempt === START_ATTEMPTS || !String(error).includes('Address already in use')) throw error;
    }
  }
}

async function launch(
  context: Cleanup,
  settings: Record<string, string>,
  tcp: string,
  directory: string,
  options: string[],
): Promise<Gateway> {
  const child = spawn(
    binary(),
    ['serve', '--announce', 'json', '--dev', '--dev-dir', directory, '--quic', '127.0.0.1:0', '--tcp', tcp, ...options],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, SIGNALBOX_TLS__PLAINTEXT_TCP: 'true', ...settings },
    },
  );
  let log = '';
  child.stderr.on('data', (data) => (log = (log + data).slice(-10_000)));
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await exited;
    clearTimeout(timer);
  };
  context.after(async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  });
  const line = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the gateway announced nothing\n${log}`)), START_DEADLINE_MS);
    void exited.then(() => reject(new Error(`the gateway ended before it announced itself\n${log}`)));
    createInterface(child.stdout).once('line', (text) => {
      clearTimeout(timer);
      resolve(text);
    });
  });
  const announced = JSON.parse(line);
  const { key, secret } = announced.project;
  const mint = (...command: string[]) =>
    execFileSync(binary(), [...command, '--key', key, '--secret', secret], { encoding: 'utf8' }).trim();
  return {
    url: `http://${announced.https}`,
    project: announced.project,
    session: announced.session,
    secret,
    newSession: () => mint('session', 'new'),
    token: ({ session = announced.session, role = 'publisher', data = '' } = {}) =>
      mint('token', '--session', session, '--role', role, '--data', data),
    process: child,
    stop,
  };
}

/**
 * Waits until a session can be resumed. Its confirmation comes behind the ticket, without which a
 * client that loses its link joins again.
 */
export async function resumable(session: Session): Promise<void> {
  // To itself, so that nobody else is disturbed.
  const echo = session.once('signal:resumable');
  await session.signal({ to: session.connection.id, type: 'resumable' });
  await echo;
}
