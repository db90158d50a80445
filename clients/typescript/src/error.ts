/** Errors of connecting and of sending, by what the caller can do about them. */

import type { CloseReason, ErrorCode } from './protocol/messages.js';

/** An error of this SDK. `code` says which; see {@link ConnectError} and {@link SignalError}. */
export class SignalboxError extends Error {
  override readonly name: string = 'SignalboxError';
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/**
 * - `url`: the URL does not name a gateway. Correct it.
 * - `options`: an option has a value that is not allowed. Correct it.
 * - `token`: the token provider failed, or what it gave is not a token. `cause` is its error.
 * - `unsupported`: this environment has neither WebTransport nor WebSocket. On Node 20, install `ws`.
 * - `unreachable`: nothing at the address answers as a gateway.
 * - `refused`: the gateway refused the client; `reason` says why.
 * - `protocol`: the peer violates the protocol.
 * - `timeout`: connecting took too long.
 */
export type ConnectErrorCode =
  | 'url'
  | 'options'
  | 'token'
  | 'unsupported'
  | 'unreachable'
  | 'refused'
  | 'protocol'
  | 'timeout';

/** Why a client could not join a session. */
export class ConnectError extends SignalboxError {
  override readonly name = 'ConnectError';
  declare readonly code: ConnectErrorCode;
  /** With the code `refused`: why. */
  readonly reason: CloseReason | undefined;

  constructor(
    code: ConnectErrorCode,
    message: string,
    options?: { cause?: unknown; reason?: CloseReason },
  ) {
    super(code, message, options);
    this.reason = options?.reason;
  }
}

/**
 * - `invalid`: a value has the wrong type, or is not well-formed; nothing was sent. Correct it.
 * - `invalidType`, `typeTooLong`, `dataTooLong`, `notFound`, `forbidden`, `rateLimited`,
 *   `unsupported`, `unknown`: the gateway rejected it, or would have (then nothing was sent).
 * - `queueFull`: too many signals wait to be confirmed. Wait for some of their promises.
 * - `notSent`: the link was lost before the gateway confirmed it, and it is not sent again.
 * - `disconnected`: the client is no longer in the session.
 */
export type SignalErrorCode = ErrorCode | 'invalid' | 'queueFull' | 'notSent' | 'disconnected';

/** Why a signal or a command was not accepted. */
export class SignalError extends SignalboxError {
  override readonly name = 'SignalError';
  declare readonly code: SignalErrorCode;

  constructor(code: SignalErrorCode, message: string) {
    super(code, message);
  }
}

/** The error of everything that is asked of a client that has left. */
export function disconnected(): SignalError {
  return new SignalError('disconnected', 'the client is no longer in the session');
}
