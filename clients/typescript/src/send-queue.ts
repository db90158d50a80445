/**
 * The send queue: signals and commands on their way from the application to the gateway, without any
 * I/O.
 *
 * A signal waits until there is a link, is written, and is kept until the gateway confirms that it
 * has accepted it. When the link is lost, signals that were not confirmed are written again on the
 * next link, in the same order, except those that the gateway then reports as accepted: each is
 * accepted once. If the gateway does not confirm signals, a signal counts as accepted once it is
 * written.
 */

import { SignalError, disconnected } from './error.js';
import type { ClientMessage, ErrorCode } from './protocol/messages.js';

/** Signals that may wait to be written or confirmed. At 8 KiB each they are 32 MiB. */
const CAPACITY = 4096;

/** Is told what became of a signal: accepted with a sequence number, or an error. */
export interface Completion {
  accepted(seq: number): void;
  failed(error: SignalError): void;
}

/** A signal to be written. */
export interface QueuedSignal {
  kind: 'signal';
  message: Extract<ClientMessage, { kind: 'signal' }>;
  /** Whether to send it again after a loss. */
  retry: boolean;
  completion: Completion | undefined;
}

/** A request of the application, or of the queue itself. */
export type ClientCommand =
  | QueuedSignal
  | { kind: 'forceDisconnect'; id: string }
  | { kind: 'ticketStored' }
  | { kind: 'goodbye' };

/** A signal that was written on this link and is not confirmed. */
interface UnconfirmedSignal {
  signal: QueuedSignal;
  /** Whether the application was told that it was rejected. */
  rejected: boolean;
}

/** Commands to be written and signals to be confirmed, in order. */
export class SendQueue {
  /** Whether the gateway confirms signals. */
  #confirms: boolean;
  /** The client has sent its goodbye, and repeats it on the next link. */
  #left = false;
  /** Signals of this connection before the first of `#unconfirmed`. */
  #accepted = 0;
  #unconfirmed: UnconfirmedSignal[] = [];
  #waiting: ClientCommand[] = [];

  constructor(confirms: boolean) {
    this.#confirms = confirms;
  }

  get isFull(): boolean {
    return this.#waiting.length + (this.#confirms ? this.#unconfirmed.length : 0) >= CAPACITY;
  }

  /** Adds a command. Without a link, a signal that is not to be retried fails at once. */
  enqueue(command: ClientCommand, online: boolean): void {
    if (!online && command.kind === 'signal' && !command.retry) fail(command);
    else this.#waiting.push(command);
  }

  /** Takes up to `max` commands to write. */
  write(max: number): ClientMessage[] {
    const written: ClientMessage[] = [];
    while (written.length < max) {
      const command = this.#waiting.shift();
      if (!command) break;
      if (command.kind === 'goodbye') {
        // Nothing follows a goodbye on its link.
        this.#left = true;
        written.push({ kind: 'goodbye', signals: this.#accepted + this.#unconfirmed.length });
        break;
      }
      if (command.kind === 'signal') {
        written.push(command.message);
        this.#written(command);
      } else {
        written.push(command);
      }
    }
    return written;
  }

  #written(signal: QueuedSignal): void {
    this.#unconfirmed.push({ signal, rejected: false });
    if (this.#confirms) return;
    complete(signal)?.accepted(this.#accepted + this.#unconfirmed.length);
    // Without confirmations only the numbers are needed, as long as a rejection may name them.
    if (this.#unconfirmed.length > CAPACITY) {
      this.#unconfirmed.shift();
      this.#accepted++;
    }
  }

  /** The gateway has accepted `signals` signals of this connection in all. */
  accepted(signals: number): void {
    const count = Math.max(0, signals - this.#accepted);
    for (const { signal } of this.#unconfirmed.splice(0, count)) {
      this.#accepted++;
      complete(signal)?.accepted(this.#accepted);
    }
  }

  /** How many signals of this connection the gateway has confirmed. */
  get acceptedSignals(): number {
    return this.#accepted;
  }

  /** The gateway rejected a signal. Returns whether a caller was told. */
  rejected(signal: number, code: ErrorCode, message: string): boolean {
    const rejected = this.#unconfirmed[signal - this.#accepted - 1];
    if (!rejected) return false;
    rejected.rejected = true;
    const completion = complete(rejected.signal);
    completion?.failed(new SignalError(code, `the gateway rejected the signal (${code}): ${message}`));
    return completion !== undefined;
  }

  /**
   * The gateway rejected a signal on an earlier link, and repeats that because the client may not
   * have read it. For a confirmed signal it was read: the error precedes the confirmation. Returns
   * whether the application has been told.
   */
  rejectedOnEarlierLink(signal: number, code: ErrorCode, message: string): boolean {
    const rejected = this.#unconfirmed[signal - this.#accepted - 1];
    return !rejected || rejected.rejected || this.rejected(signal, code, message);
  }

  /** The link is lost. Signals that wait and are not to be retried fail. */
  linkLost(): void {
    for (const command of this.#waiting.splice(0)) this.enqueue(command, false);
  }

  /** The connection continues on a new link; the gateway has accepted `signals` of its signals. */
  resumed(signals: number): void {
    this.accepted(signals);
    this.#requeueUnconfirmed();
    this.#waiting.unshift({ kind: 'ticketStored' });
  }

  /** Another connection replaces the previous one. */
  rejoined(confirms: boolean): void {
    this.#requeueUnconfirmed();
    this.#confirms = confirms;
    this.#accepted = 0;
  }

  /** Moves unconfirmed signals in front of the commands that wait. Nothing waits behind a goodbye. */
  #requeueUnconfirmed(): void {
    const again: ClientCommand[] = [];
    for (const { signal } of this.#unconfirmed.splice(0)) {
      if (this.#confirms && signal.retry) again.push(signal);
      else fail(signal);
    }
    this.#waiting.unshift(...again);
    if (this.#left) this.#waiting.push({ kind: 'goodbye' });
  }

  /** Drops everything. Callers that wait get an error. */
  close(): void {
    const unconfirmed = this.#unconfirmed.splice(0).map((it) => it.signal);
    for (const command of [...unconfirmed, ...this.#waiting.splice(0)]) {
      if (command.kind === 'signal') complete(command)?.failed(disconnected());
    }
  }
}

/** Takes the completion of a signal, which is told once. */
function complete(signal: QueuedSignal): Completion | undefined {
  const { completion } = signal;
  signal.completion = undefined;
  return completion;
}

function fail(signal: QueuedSignal): void {
  const message = 'the link was lost, and the signal is not sent again';
  complete(signal)?.failed(new SignalError('notSent', message));
}
