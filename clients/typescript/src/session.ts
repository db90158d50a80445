/** The application's hold on a session. */

import type { Dialer } from './dial.js';
import { SignalError, disconnected } from './error.js';
import type { ConnectionInfo, Limits, SessionEvent, SessionEvents } from './event.js';
import { handled } from './events.js';
import type { Link } from './link/link.js';
import type { TokenProvider, Transport } from './options.js';
import { watchPage } from './page-life.js';
import { type Role, type Welcome, isConnectionId } from './protocol/messages.js';
import { utf8Length } from './protocol/postcard.js';
import { ReconnectLoop } from './reconnect.js';
import type { SessionState } from './session-view.js';

/** A signal to send. With neither type nor data it is a ping. */
export interface OutgoingSignal {
  /** At most 128 bytes of `A-Z a-z 0-9 - . _ ~`. */
  readonly type?: string | undefined;
  /** At most 8192 bytes of UTF-8. */
  readonly data?: string | undefined;
  /** Id of the connection that it is for; without it, everyone in the session, oneself included. */
  readonly to?: string | undefined;
  /**
   * Whether to send it again if the link is lost before the gateway has confirmed it (default:
   * true). A signal that is only useful now should not be.
   */
  readonly retryAfterReconnect?: boolean | undefined;
}

const SIGNAL_TYPE = /^[A-Za-z0-9._~-]*$/;
/** With the flag `u` only an unpaired surrogate is one. */
const UNPAIRED_SURROGATE = /\p{Surrogate}/u;

/** Requests to disconnect others that may wait for their answers. */
const FORCE_DISCONNECTS = 256;

/** Makes a session of a link on which the gateway has said welcome. */
export let startSession: (dialer: Dialer, token: string | TokenProvider, welcome: Welcome, link: Link) => Session;

/**
 * A session that was joined by {@link connect}. It reconnects by itself; {@link Session.on} tells what
 * happens in it.
 */
export class Session {
  /** The session's id. */
  readonly sessionId: string;
  /** The role that the token grants. */
  readonly role: Role;
  readonly #loop: ReconnectLoop;

  static {
    startSession = (...connected) => new Session(new ReconnectLoop(...connected));
  }

  private constructor(loop: ReconnectLoop) {
    this.#loop = loop;
    this.sessionId = loop.view.sessionId;
    this.role = loop.view.role;
    const unwatch = watchPage({
      leave: () => loop.leaveNow(),
      suspend: () => loop.suspend(),
      resume: () => loop.resume(),
      wake: () => loop.wake(),
    });
    void loop.ended.then(unwatch);
  }

  /** The client's own connection. It changes with the event `sessionRejoined`. */
  get connection(): ConnectionInfo {
    return this.#loop.view.connection;
  }

  /**
   * The other connections in the session, oldest first, as far as events have told of them. Empty
   * without presence.
   */
  get connections(): ConnectionInfo[] {
    return this.#loop.view.connections;
  }

  /** The gateway's limits. They may change with the event `sessionRejoined`. */
  get limits(): Limits {
    return this.#loop.view.limits;
  }

  /**
   * URLs of other gateways, in the operator's order of preference. The client uses those with `https`
   * and `wss` after the URLs that were given to {@link connect}. They may change with the event
   * `sessionRejoined`.
   */
  get gateways(): readonly string[] {
    return this.#loop.view.gateways;
  }

  /** Whether the session has a link, as far as events have told. */
  get state(): SessionState {
    return this.#loop.view.state;
  }

  /** The transport of the current link. */
  get transport(): Transport | undefined {
    return this.#loop.transport;
  }

  /**
   * Sends a signal. Resolves when the gateway has accepted it: it has been delivered to, or is queued
   * for, every receiver. If the link is lost meanwhile, that may take until the client has
   * reconnected. If the gateway does not confirm signals, it resolves when the signal is written.
   *
   * Rejects with a {@link SignalError}. After `disconnected` and `notSent` the gateway may have
   * accepted the signal, and only the confirmation been lost. A rejection that is ignored does not
   * count as unhandled.
   */
  signal(signal: OutgoingSignal): Promise<void> {
    return handled(
      new Promise((resolve, reject) => {
        const { outgoing, isLeaving } = this.#loop;
        const fields = checkSignal(signal, this.limits);
        if (isLeaving) throw disconnected();
        if (outgoing.queue.isFull) {
          throw new SignalError('queueFull', 'too many signals wait to be confirmed; wait for some of them');
        }
        outgoing.enqueue({
          kind: 'signal',
          message: { kind: 'signal', ...fields },
          retry: signal.retryAfterReconnect ?? true,
          completion: { accepted: () => resolve(), failed: reject },
        });
      }),
    );
  }

  /**
   * Disconnects another connection; for moderators only. Resolves when it has left, or without
   * presence at once. Rejects with a {@link SignalError}, for instance `forbidden` or `notFound`.
   */
  forceDisconnect(connectionId: string): Promise<void> {
    return handled(
      (async () => {
        const id = checkId(connectionId, 'connectionId');
        const { outgoing, isLeaving, forceDisconnects, presence } = this.#loop;
        if (isLeaving) throw disconnected();
        if (forceDisconnects.count >= FORCE_DISCONNECTS) {
          throw new SignalError('queueFull', 'too many requests wait for their answers; wait for some of them');
        }
        outgoing.enqueue({ kind: 'forceDisconnect', id });
        if (presence) await forceDisconnects.add(id);
      })(),
    );
  }

  /**
   * Leaves the session. Resolves when the client has left. The gateway has then received every signal
   * sent before, if the network still carries anything.
   */
  disconnect(): Promise<void> {
    return this.#loop.leave();
  }

  /** Calls a listener at each event of this name. Returns a function that removes it. */
  on<K extends keyof SessionEvents>(name: K, listener: (event: SessionEvents[K]) => void): () => void {
    return this.#loop.delivery.on(name, listener);
  }

  /** Removes a listener. */
  off<K extends keyof SessionEvents>(name: K, listener: (event: SessionEvents[K]) => void): void {
    this.#loop.delivery.off(name, listener);
  }

  /**
   * The next event of this name. Rejects with a {@link SignalError} `disconnected` if there is none
   * before the client leaves the session.
   */
  once<K extends keyof SessionEvents>(name: K): Promise<SessionEvents[K]> {
    return this.#loop.delivery.once(name);
  }

  /**
   * All events from now on, until the client is no longer in the session. At most 16,384 may wait;
   * then the iterator fails with a {@link SignalboxError} `overflow`.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<SessionEvent> {
    return this.#loop.delivery.iterate();
  }
}

function checkSignal(signal: OutgoingSignal, limits: Limits) {
  if (typeof signal !== 'object' || signal === null) throw invalid('a signal must be an object');
  const { type = null, data = null, to } = signal;
  for (const [name, text] of Object.entries({ type, data })) {
    if (text === null) continue;
    if (typeof text !== 'string') throw invalid(`the signal's ${name} must be a text; use JSON.stringify for objects`);
    if (UNPAIRED_SURROGATE.test(text)) throw invalid(`the signal's ${name} has an unpaired surrogate`);
  }
  if (type !== null && !SIGNAL_TYPE.test(type)) {
    throw new SignalError('invalidType', "a signal's type consists of A-Z a-z 0-9 - . _ ~");
  }
  if (type !== null && type.length > limits.typeBytes) {
    throw new SignalError('typeTooLong', `a signal's type has at most ${limits.typeBytes} bytes`);
  }
  if (data !== null && (data.length > limits.dataBytes || utf8Length(data) > limits.dataBytes)) {
    throw new SignalError('dataTooLong', `a signal's data has at most ${limits.dataBytes} bytes`);
  }
  return { to: to === undefined || to === null ? null : checkId(to, 'to'), type, data };
}

function checkId(id: string, name: string): string {
  const lower = typeof id === 'string' ? id.toLowerCase() : '';
  if (!isConnectionId(lower)) throw invalid(`${name} must be the id of a connection`);
  return lower;
}

function invalid(message: string): SignalError {
  return new SignalError('invalid', message);
}
