/** Decisions about coming back, by the gateway's reason for ending a link or refusing one. */

import type { CloseReason } from './protocol/messages.js';

/**
 * Within what time the clients of a gateway that shuts down reconnect, if it has ended all links at
 * once, so that they do not return at the same moment.
 */
const SHUTDOWN_SPREAD_MS = 1_000;

/** What a client does when the gateway has refused its opening. */
export type NextStep = 'retry' | 'rejoin' | 'giveUp';

/** Whether a client reconnects when a link has ended for this reason. */
export function shouldReconnect(reason: CloseReason): boolean {
  return reason === 'networkDisconnected' || reason === 'shuttingDown';
}

/** Within what time the clients that lost their links together with this one should reconnect. */
export function reconnectSpread(reason: CloseReason, leaveAt: number | undefined, now: number): number {
  // A gateway has spread the clients that it asked to leave, unless it then hurried.
  const spread = leaveAt !== undefined && leaveAt <= now;
  return reason === 'shuttingDown' && !spread ? SHUTDOWN_SPREAD_MS : 0;
}

/** What follows when a `hello` was refused. */
export function afterRefusedHello(reason: CloseReason): NextStep {
  switch (reason) {
    case 'networkDisconnected':
    case 'shuttingDown':
    case 'helloTimeout':
    case 'connectionLimit':
    case 'internalError':
    case 'unknown':
      return 'retry';
    default:
      return 'giveUp';
  }
}

/** What follows when a `resume` was refused. */
export function afterRefusedResume(reason: CloseReason): NextStep {
  // The gateway does not know the connection any more, or does not support resuming.
  return reason === 'invalidTicket' || reason === 'protocolError' ? 'rejoin' : afterRefusedHello(reason);
}
