/** A real gateway, started and stopped as a user would do it. */

import { execFileSync, spawn } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const START_DEADLINE_MS = 30_000;
const START_ATTEMPTS = 50;
const STOP_DEADLINE_MS = 10_000;

/** The program under test. */
export function binary() {
  const path = process.env.SIGNALBOX_BIN;
  if (!path) throw new Error('SIGNALBOX_BIN does not say which gateway to test; run ./check browser');
  return path;
}

/** A gateway as its clients and its project's servers know it. */
class Address {
  /** Ports, each as `HOST:PORT`. */
  quic;
  https;
  /** Its operations listener, as `HOST:PORT`. */
  ops;
  /** Address of its page, with the key. */
  page;
  /** File with the authority that signed its certificate. */
  ca;
  #project;

  /** What the gateway has announced. */
  set announced({ project, quic, https, ops, page, ca }) {
    this.#project = project;
    Object.assign(this, { quic, https, ops, page, ca });
  }

  get projectKey() {
    return this.#project.key;
  }

  /** With which a project's server creates tokens and calls the REST API. */
  get projectSecret() {
    return this.#project.secret;
  }

  newSession() {
    return this.#mint('session', 'new');
  }

  token({ session, role = 'publisher', data = '' }) {
    return this.#mint('token', '--session', session, '--role', role, '--data', data);
  }

  #mint(...command) {
    const { key, secret } = this.#project;
    return execFileSync(binary(), [...command, '--key', key, '--secret', secret], { encoding: 'utf8' }).trim();
  }
}

/** The line of JSON with which a process announces that it is ready. */
async function announcement(child, exited, log) {
  const lines = createInterface(child.stdout);
  const timeout = AbortSignal.timeout(START_DEADLINE_MS);
  const line = await Promise.race([once(lines, 'line', { signal: timeout }), exited]);
  if (typeof line[0] !== 'string') throw new Error(`the gateway ended before it announced itself\n${log()}`);
  return JSON.parse(line[0]);
}

export class Gateway extends Address {
  /** SHA-256 of its certificate, as an array. */
  certificateHash;
  #directory;
  #settings;
  #child;
  #exited;
  /** It was meant to end by itself, and has. */
  #isOver = false;
  #log = '';

  /** `settings` are environment variables. It ends with the test. */
  static async start(context, settings = {}) {
    const gateway = new Gateway();
    const directory = mkdtempSync(join(tmpdir(), 'signalbox-'));
    gateway.#directory = directory;
    gateway.#settings = settings;
    context.after(async () => {
      try {
        await gateway.#stop();
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });
    await gateway.#run('127.0.0.1:0', '127.0.0.1:0');
    const leaf = new X509Certificate(readFileSync(join(directory, 'leaf.pem'))).raw;
    gateway.certificateHash = [...createHash('sha256').update(leaf).digest()];
    return gateway;
  }

  /** Stops it, and starts it again on the same ports. `killed`: as after a crash. */
  async restart({ killed = false } = {}) {
    if (killed) {
      this.#child.kill('SIGKILL');
      await this.#exited;
    } else {
      await this.#stop();
    }
    await this.#run(this.quic, this.https);
  }

  async #run(quic, tcp) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#launch(quic, tcp);
      } catch (error) {
        // Between two gateways on the same port, the system may give it to another test's connection.
        if (attempt === START_ATTEMPTS || !String(error).includes('Address already in use')) throw error;
        this.#log = '';
      }
    }
  }

  async #launch(quic, tcp) {
    this.#child = spawn(
      binary(),
      ['serve', '--announce', 'json', '--dev', '--dev-dir', this.#directory, '--quic', quic, '--tcp', tcp],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...this.#settings } },
    );
    this.#child.stderr.on('data', (data) => (this.#log = (this.#log + data).slice(-20_000)));
    this.#exited = once(this.#child, 'exit');
    this.announced = await announcement(this.#child, this.#exited, () => this.#log);
  }

  /** Waits until it has ended by itself, and well. */
  async ended() {
    const [status] = await this.#exited;
    if (status !== 0) throw new Error(`the gateway ended with ${status}\n${this.#log}`);
    this.#isOver = true;
  }

  /** Ends it as an operator would. It must have survived the tests. */
  async #stop() {
    const child = this.#child;
    if (this.#isOver) return;
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the gateway had ended\n${this.#log}`);
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    const [status] = await this.#exited;
    clearTimeout(timer);
    if (status !== 0) throw new Error(`the gateway ended with ${status} after SIGTERM\n${this.#log}`);
  }
}

/** Gateways of one cluster, with a nats-server: `serve --dev --gateways N`. */
export class Fleet {
  /** Each is a `FleetGateway`. */
  gateways;

  /** `settings` are environment variables. It ends with the test. */
  static async start(context, count, settings = {}) {
    const directory = mkdtempSync(join(tmpdir(), 'signalbox-'));
    const child = spawn(
      binary(),
      ['serve', '--announce', 'json', '--dev', '--dev-dir', directory, '--gateways', String(count)],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...settings } },
    );
    const exited = once(child, 'exit');
    context.after(async () => {
      child.kill('SIGTERM');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    });
    let log = '';
    child.stderr.on('data', (data) => (log = (log + data).slice(-20_000)));
    const fleet = new Fleet();
    const { gateways } = await announcement(child, exited, () => log);
    fleet.gateways = gateways.map((announced) => new FleetGateway(announced));
    return fleet;
  }
}

/** A gateway of a fleet. */
class FleetGateway extends Address {
  #pid;

  constructor(announced) {
    super();
    this.announced = announced;
    this.#pid = announced.pid;
  }

  /** It ends as after a crash. */
  kill() {
    process.kill(this.#pid, 'SIGKILL');
  }

  /** An operator stops it. */
  stop() {
    process.kill(this.#pid, 'SIGTERM');
  }
}
