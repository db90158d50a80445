/** The close codes of both transports (section 11). */

import { type CloseReason, closeReason } from './messages.js';

/** A WebSocket's close code is this plus the reason's number. */
const WEBSOCKET_BASE = 4000;
const WEBSOCKET_NORMAL = 1000;
const WEBSOCKET_LAST = 4999;

/** Reasons with which a client closes a link. */
export type ClientCloseReason = 'clientDisconnected' | 'networkDisconnected' | 'protocolError';

/** The session close code of WebTransport. */
export function webTransportCode(reason: ClientCloseReason): number {
  return closeReason.number(reason);
}

export function webSocketCode(reason: ClientCloseReason): number {
  return reason === 'clientDisconnected'
    ? WEBSOCKET_NORMAL
    : WEBSOCKET_BASE + closeReason.number(reason);
}

export function reasonOfWebTransportCode(code: number): CloseReason {
  return closeReason.name(code);
}

export function reasonOfWebSocketCode(code: number): CloseReason {
  if (code === WEBSOCKET_NORMAL) return 'clientDisconnected';
  const known = code >= WEBSOCKET_BASE && code <= WEBSOCKET_LAST;
  return known ? closeReason.name(code - WEBSOCKET_BASE) : 'networkDisconnected';
}
