/**
 * A client's link, on any transport. It passes the gateway's messages to a receiver and writes the
 * client's; `reconnect.ts` decides what follows when it ends.
 */

import { ConnectError } from '../error.js';
import type { Transport } from '../options.js';
import type { SignalContents } from '../order.js';
import type { ClientCloseReason } from '../protocol/close.js';
import type { ClientMessage, CloseReason, GatewayMessage, Sender } from '../protocol/messages.js';
import { Malformed } from '../protocol/postcard.js';
import { type HandshakeReply, ReplyAssembler, refused } from './reply.js';

/** How long the rest of a link is awaited after a `bye`. */
export const FAREWELL_MS = 1_000;

/** Why a link has ended. */
export interface Disconnection {
  reason: CloseReason;
  /** For people. */
  message: string;
}

export type Bye = Extract<GatewayMessage, { kind: 'bye' }>;

/** A link that ended without a reason of the gateway. */
export function lost(message: string): Disconnection {
  return { reason: 'networkDisconnected', message };
}

/** Takes what arrives on a link. */
export interface LinkReceiver {
  /** A message of the control stream, or of the only stream. */
  control(message: GatewayMessage): void;
  /** Streams of senders; only over WebTransport. */
  open(stream: number, from: Sender, after: number): void;
  signal(stream: number, seq: number, contents: SignalContents): void;
  end(stream: number, reset: boolean): void;
  /** Whether a stream is not to be read further for now. */
  isHeld(stream: number): boolean;
  /** The link has ended. Nothing follows. */
  ended(end: Disconnection): void;
}

/** One transport connection to a gateway. */
export abstract class Link {
  abstract readonly transport: Transport;
  /** When bytes last arrived, in milliseconds since 1970. */
  heardAt = Date.now();
  /** How many times bytes have arrived. */
  arrivals = 0;
  protected receiver: LinkReceiver | undefined;
  /** Arrived between the reply to the opening and {@link start}: within one task. */
  #early: GatewayMessage[] = [];
  #end: Disconnection | undefined;
  #over = false;

  #started = false;

  /**
   * Sends the opening, and waits for the gateway's reply. If `signal` aborts that, the link is closed
   * with `abandon`. Throws a {@link ConnectError}, or the reason of the signal.
   */
  open(opening: ClientMessage[], signal: AbortSignal, abandon: ClientCloseReason): Promise<HandshakeReply> {
    const { promise, resolve, reject } = withResolvers<HandshakeReply>();
    const assembler = new ReplyAssembler();
    const settle = () => {
      this.receiver = undefined;
      signal.removeEventListener('abort', aborted);
    };
    const fail = (error: unknown, reason: ClientCloseReason) => {
      settle();
      this.close(reason);
      reject(error);
    };
    const aborted = () => fail(signal.reason, abandon);
    const ignored = () => {};
    this.receiver = {
      control(message) {
        try {
          const reply = assembler.push(message);
          if (!reply) return;
          settle();
          resolve(reply);
        } catch (error) {
          const code = error instanceof ConnectError ? error.code : 'protocol';
          fail(error, code === 'protocol' ? 'protocolError' : 'networkDisconnected');
        }
      },
      ended({ reason, message }) {
        settle();
        // With the code of a goodbye: something on the way has closed the link, and this is no answer.
        const unanswered = reason === 'networkDisconnected' || reason === 'clientDisconnected';
        if (unanswered) reject(new ConnectError('unreachable', message));
        else if (reason === 'protocolError') reject(new ConnectError('protocol', message));
        else reject(refused(reason, message));
      },
      // Streams of senders are not read before `start`.
      open: ignored,
      signal: ignored,
      end: ignored,
      isHeld: () => true,
    };
    signal.addEventListener('abort', aborted);
    if (signal.aborted) aborted();
    else if (this.#end) this.receiver.ended(this.#end);
    else this.write(opening);
    return promise;
  }

  /** Passes everything that arrives to the receiver from now on. */
  start(receiver: LinkReceiver): void {
    this.receiver = receiver;
    this.#started = true;
    this.checked(() => {
      for (const message of this.#early.splice(0)) this.take(message);
    });
    if (this.#end) receiver.ended(this.#end);
  }

  /** Writes messages, in order. */
  abstract write(messages: ClientMessage[]): void;

  /** Asks the gateway for a sign of life. */
  probe(): void {
    this.write([{ kind: 'heartbeat' }]);
  }

  /** What to wait for before writing more; `undefined` if nothing. */
  abstract ready(): Promise<unknown> | undefined;

  /** Closes the transport. The receiver hears nothing more. */
  close(reason: ClientCloseReason): void {
    this.receiver = undefined;
    if (this.#over) return;
    this.#over = true;
    this.closeTransport(reason);
  }

  protected abstract closeTransport(reason: ClientCloseReason): void;

  /** Bytes have arrived. */
  protected heard(): void {
    this.heardAt = Date.now();
    this.arrivals++;
  }

  /** Passes a message on, or keeps it until there is a receiver. */
  protected take(message: GatewayMessage): void {
    // While the reply to the opening is awaited, a `bye` is the reply.
    if (message.kind === 'bye' && this.#started) this.bye(message);
    else if (this.receiver) this.receiver.control(message);
    else if (!this.#over) this.#early.push(message);
  }

  /** The gateway ends the link. */
  protected abstract bye(message: Bye): void;

  /** The link has ended. */
  protected finish(end: Disconnection, closeWith: ClientCloseReason): void {
    if (this.#over) return;
    const { receiver } = this;
    this.#end = end;
    this.close(closeWith);
    receiver?.ended(end);
  }

  /** Ends the link if `read` finds that the gateway violates the protocol. */
  protected checked(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      const message = `the gateway does not speak the protocol: ${error.message}`;
      this.finish({ reason: 'protocolError', message }, 'protocolError');
    }
  }
}

/** The code with which a client closes a link on which the gateway has said `bye`. */
export function afterBye(reason: CloseReason): ClientCloseReason {
  // Only a goodbye is answered by one: anything else may concern a connection that lives on.
  return reason === 'clientDisconnected' ? 'clientDisconnected' : 'networkDisconnected';
}

/** A promise and its ends. */
export function withResolvers<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
