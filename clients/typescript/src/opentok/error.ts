/** Errors with the names and codes that OpenTok.js documents. */

import { ConnectError, SignalboxError } from '../error.js';

/** The documented names of errors, as far as they occur here. */
export type ErrorName =
  | 'OT_AUTHENTICATION_ERROR'
  | 'OT_CONNECTION_LIMIT_EXCEEDED'
  | 'OT_CONNECT_FAILED'
  | 'OT_INVALID_PARAMETER'
  | 'OT_INVALID_SESSION_ID'
  | 'OT_NOT_CONNECTED'
  | 'OT_NOT_FOUND'
  | 'OT_PERMISSION_DENIED'
  | 'OT_RATE_LIMIT_EXCEEDED'
  | 'OT_UNEXPECTED_SERVER_RESPONSE';

/** What a callback or a rejected promise receives. */
export class OpenTokError extends Error {
  override readonly name: ErrorName;
  /** The documented number, which depends on the call. */
  readonly code: number;
  /** The parameter of `signal`, if it was that call. */
  declare readonly signal?: unknown;

  constructor(name: ErrorName, code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = name;
    this.code = code;
  }
}

type Mapping = Readonly<Record<string, readonly [ErrorName, number]>>;

// The keys are close reasons of a gateway that refused the client, and codes of the SDK's errors.
const CONNECT: Mapping = {
  invalidToken: ['OT_AUTHENTICATION_ERROR', 1004],
  tokenExpired: ['OT_AUTHENTICATION_ERROR', 1004],
  wrongProject: ['OT_AUTHENTICATION_ERROR', 1004],
  token: ['OT_AUTHENTICATION_ERROR', 1004],
  url: ['OT_INVALID_PARAMETER', 1011],
  options: ['OT_INVALID_PARAMETER', 1011],
  connectionLimit: ['OT_CONNECTION_LIMIT_EXCEEDED', 1027],
  internalError: ['OT_UNEXPECTED_SERVER_RESPONSE', 2001],
  protocolError: ['OT_UNEXPECTED_SERVER_RESPONSE', 2001],
  protocol: ['OT_UNEXPECTED_SERVER_RESPONSE', 2001],
};

const SIGNAL: Mapping = {
  invalid: ['OT_INVALID_PARAMETER', 400],
  invalidType: ['OT_INVALID_PARAMETER', 400],
  forbidden: ['OT_PERMISSION_DENIED', 403],
  notFound: ['OT_NOT_FOUND', 404],
  typeTooLong: ['OT_INVALID_PARAMETER', 413],
  dataTooLong: ['OT_INVALID_PARAMETER', 413],
  rateLimited: ['OT_RATE_LIMIT_EXCEEDED', 429],
  queueFull: ['OT_RATE_LIMIT_EXCEEDED', 429],
  notSent: ['OT_NOT_CONNECTED', 500],
  disconnected: ['OT_NOT_CONNECTED', 500],
};

const FORCE_DISCONNECT: Mapping = {
  invalid: ['OT_INVALID_PARAMETER', 1011],
  forbidden: ['OT_PERMISSION_DENIED', 1520],
  notFound: ['OT_INVALID_PARAMETER', 1011],
  queueFull: ['OT_RATE_LIMIT_EXCEEDED', 429],
  notSent: ['OT_NOT_CONNECTED', 1010],
  disconnected: ['OT_NOT_CONNECTED', 1010],
};

/** The error of `connect`. */
export function connectError(cause: unknown): OpenTokError {
  const { navigator } = globalThis as { navigator?: { onLine?: boolean } };
  const offline = navigator?.onLine === false;
  return converted(cause, CONNECT, [offline ? 'OT_NOT_CONNECTED' : 'OT_CONNECT_FAILED', 1006]);
}

/** The error of `signal`, which carries that call's parameter. */
export function signalError(cause: unknown, signal: unknown): OpenTokError {
  const error = converted(cause, SIGNAL, ['OT_UNEXPECTED_SERVER_RESPONSE', 2001]);
  return Object.assign(error, { signal });
}

/** The error of `forceDisconnect`. */
export function forceDisconnectError(cause: unknown): OpenTokError {
  return converted(cause, FORCE_DISCONNECT, ['OT_UNEXPECTED_SERVER_RESPONSE', 2001]);
}

function converted(
  cause: unknown,
  mapping: Mapping,
  other: readonly [ErrorName, number],
): OpenTokError {
  if (cause instanceof OpenTokError) return cause;
  const [name, code] = mapping[codeOf(cause)] ?? other;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new OpenTokError(name, code, message, { cause });
}

function codeOf(cause: unknown): string {
  if (cause instanceof ConnectError && cause.reason !== undefined) return cause.reason;
  return cause instanceof SignalboxError ? cause.code : '';
}
