/** What the players of behaviour vectors and transcripts share. */

import type { OrderedEvent } from '../src/order.js';
import type { InternalEvent } from '../src/session-view.js';

// eslint-disable-next-line -- JSON of the vectors
export type Json = any;

const KNOWN_CODES = new Set([
  'invalidType', 'typeTooLong', 'dataTooLong', 'notFound', 'forbidden', 'rateLimited', 'unsupported',
  'clientDisconnected', 'forceDisconnected', 'networkDisconnected', 'shuttingDown', 'slowConsumer',
  'helloTimeout', 'protocolError', 'frameTooLarge', 'invalidToken', 'tokenExpired', 'wrongProject',
  'connectionLimit', 'internalError', 'superseded', 'invalidTicket',
]);

/** A message in its JSON form as the codec decodes it; `undefined` if its kind is unknown. */
export function messageOf(json: Json): Json | undefined {
  const [[kind, fields]] = Object.entries(json) as [[string, Json]];
  if (kind === 'notInventedYet') return undefined;
  const message = { kind, ...fields };
  for (const name of ['code', 'reason']) {
    if (name in message && !KNOWN_CODES.has(message[name])) message[name] = 'unknown';
  }
  return message;
}

/** A message of the client in its JSON form. */
export function jsonOf({ kind, ...fields }: Json): Json {
  return { [kind]: fields };
}

/** An event as vectors and transcripts write it; `undefined` for those that they leave out. */
export function eventJson(event: OrderedEvent | InternalEvent): Json | undefined {
  switch (event.kind) {
    case 'sessionJoined':
    case 'sessionRejoined':
      return { connected: { id: event.connection.id } };
    case 'connectionCreated':
      return { created: { id: event.connection.id } };
    case 'connectionDestroyed':
      return { destroyed: { id: event.id, reason: event.reason } };
    case 'signal': {
      const { from, seq, type, data } = event;
      return { signal: { from, seq, type, data } };
    }
    case 'rejected':
      return { refused: { signal: event.signal, code: event.code } };
    case 'sessionReconnected': {
      const { lost = [], presence = false } = event.gap ?? {};
      return { resumed: { missed: event.missed, lost, presence } };
    }
    case 'gap':
      return { gap: { lost: event.lost } };
    default:
      throw new Error(`the reconnect loop emits ${event.kind}`);
  }
}
