/** A second implementation of the part of the SDK that the adapter uses: the test plays the gateway. */

import { ConnectError, type ConnectErrorCode } from '../../src/error.js';
import type { ConnectOptions } from '../../src/options.js';
import type { Connect } from '../../src/opentok/ot.js';
import type { Joined } from '../../src/opentok/session.js';
import type { CloseReason } from '../../src/protocol/messages.js';
import type { CheckedSignal } from '../../src/opentok/signal.js';
import type { SessionEvent, SessionEvents } from '../../src/event.js';

export const SESSION = '1_session';
export const ALICE = { id: '0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10', createdAt: 1000, data: 'alice' };
export const BOB = { id: 'f47ac10b-58cc-4372-a567-0e02b2c3d479', createdAt: 2000, data: 'bob' };

type Listener = (event: never) => void;

/** A joined session whose events and answers the test decides. */
export class FakeSession {
  readonly sessionId: string;
  readonly role: Joined['role'];
  readonly connection = ALICE;
  readonly calls: unknown[] = [];
  /** What the next calls fail with; undefined: they succeed. */
  failure: Error | undefined;
  readonly #listeners = new Map<string, Listener[]>();

  constructor(sessionId = SESSION, role: Joined['role'] = 'publisher') {
    this.sessionId = sessionId;
    this.role = role;
  }

  on(name: string, listener: Listener): () => void {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
    return () => undefined;
  }

  fire<K extends SessionEvent['kind']>(name: K, event: Omit<SessionEvents[K], 'kind' | 'seq'>): void {
    for (const listener of this.#listeners.get(name) ?? []) (listener as (event: unknown) => void)(event);
  }

  async signal(signal: CheckedSignal): Promise<void> {
    this.calls.push(signal);
    if (this.failure !== undefined) throw this.failure;
  }

  async forceDisconnect(id: string): Promise<void> {
    this.calls.push(id);
    if (this.failure !== undefined) throw this.failure;
  }

  async disconnect(): Promise<void> {
    this.calls.push('disconnect');
    await settled();
    this.fire('sessionDisconnected', { reason: 'clientDisconnected', message: '' });
  }
}

/** What `connect` of the SDK fails with: a code of its own, or the reason of a gateway. */
export function connectFailure(code: ConnectErrorCode | CloseReason, message: string): Error {
  const own: readonly string[] = ['url', 'options', 'token', 'unsupported', 'unreachable', 'protocol', 'timeout'];
  if (own.includes(code)) return new ConnectError(code as ConnectErrorCode, message);
  return new ConnectError('refused', message, { reason: code as CloseReason });
}

/** A `connect` that has the given outcomes, one after the other, and records what it was given. */
export function fakeConnect(...outcomes: (FakeSession | Error)[]): {
  connect: Connect;
  calls: { url: unknown; token: string; options: ConnectOptions }[];
} {
  const calls: { url: unknown; token: string; options: ConnectOptions }[] = [];
  const connect: Connect = async (url, token, options) => {
    calls.push({ url, token, options });
    const outcome = outcomes.shift();
    if (!(outcome instanceof FakeSession)) throw outcome ?? new Error('no outcome is left');
    return outcome as unknown as Joined;
  };
  return { connect, calls };
}

/** Resolves when all that is ready to run has run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
