/** The parameter of `signal`, checked before anything is sent. */

import type { Connection } from './connection.js';
import { OpenTokError } from './error.js';
import type { Session } from './session.js';

/** What `signal` takes. All members are optional. */
export interface SignalParameter {
  /** At most 128 bytes of letters, digits, `-`, `_` and `~`. */
  readonly type?: string | undefined;
  /** At most 8192 bytes of UTF-8. */
  readonly data?: string | undefined;
  /** One connection. Without it, or if it is the session, the signal goes to everyone. */
  readonly to?: Connection | Session | string | undefined;
  /** Whether the signal waits while the client has no link. The default is true. */
  readonly retryAfterReconnect?: boolean | undefined;
}

/** The same signal as the SDK takes it. */
export interface CheckedSignal {
  type?: string;
  data?: string;
  to?: string;
  retryAfterReconnect?: boolean;
}

/** The signal for the SDK. Its lengths and the characters of its type are checked there. */
export function checkedSignal(parameter: SignalParameter, session: Session): CheckedSignal {
  if (typeof parameter !== 'object' || parameter === null) {
    throw invalid('signal needs an object with type, data and to');
  }
  const { type, data, to, retryAfterReconnect } = parameter;
  const checked: CheckedSignal = {};
  if (type !== undefined) {
    if (typeof type !== 'string' || type === '') {
      throw invalid('the type of a signal must be a non-empty string');
    }
    checked.type = type;
  }
  if (data !== undefined) {
    if (typeof data !== 'string') {
      throw invalid('the data of a signal must be a string; use JSON.stringify for objects');
    }
    checked.data = data;
  }
  if (to !== undefined && to !== session) {
    checked.to = recipient(to);
  }
  if (retryAfterReconnect !== undefined) {
    checked.retryAfterReconnect = Boolean(retryAfterReconnect);
  }
  return checked;
}

// A recipient that is null or no connection is a mistake, and must not become a signal to all.
function recipient(to: unknown): string {
  const id = typeof to === 'string' ? to : (to as Partial<Connection> | null)?.connectionId;
  if (typeof id !== 'string' || id === '') {
    throw invalid('the recipient of a signal must be a connection');
  }
  return id;
}

function invalid(message: string): OpenTokError {
  return new OpenTokError('OT_INVALID_PARAMETER', 400, message);
}
