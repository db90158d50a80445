/**
 * The Signalbox client SDK: join a session over WebTransport or WebSocket, send and receive signals.
 *
 * @packageDocumentation
 */

export { connect } from './connector.js';
export { ConnectError, type ConnectErrorCode, SignalError, type SignalErrorCode, SignalboxError } from './error.js';
export type * from './event.js';
export type { CertificateHash, ConnectOptions, TokenProvider, Transport } from './options.js';
export type { CloseReason, DisconnectReason, ErrorCode, Role } from './protocol/messages.js';
export type { OutgoingSignal, Session } from './session.js';
export type { SessionState } from './session-view.js';
