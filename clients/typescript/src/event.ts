/** Events of a session. */

import type { CloseReason, DisconnectReason, ErrorCode } from './protocol/messages.js';

/** A connection in the session. */
export interface ConnectionInfo {
  /** A UUID in lower case, unique for ever. */
  readonly id: string;
  /** When it joined, in milliseconds since 1970. */
  readonly createdAt: number;
  /** What its token says about its bearer; empty if nothing. */
  readonly data: string;
}

/** The limits of the gateway for this connection. */
export interface Limits {
  /** Bytes of a signal's type. */
  readonly typeBytes: number;
  /** Bytes of a signal's data. */
  readonly dataBytes: number;
  /** Signals a second; 0 means no limit. */
  readonly signalsPerSecond: number;
  /** Milliseconds of silence after which the link counts as lost. */
  readonly idleTimeoutMs: number;
}

/** The sender of a signal: a connection, perhaps one's own, or a server. */
export type SignalSender =
  | {
      readonly connectionId: string;
      /** Unknown without presence. */
      readonly connection: ConnectionInfo | undefined;
      readonly server?: undefined;
    }
  | {
      /** Name of the gateway through which the server sent it. */
      readonly server: string;
      readonly connectionId?: undefined;
      readonly connection?: undefined;
    };

/** Signals of one sender that will not come. */
export interface Lost {
  readonly connectionId: string | undefined;
  readonly server: string | undefined;
  /** Number of the last signal that was received. */
  readonly after: number;
  /** Number of the last signal that is lost. */
  readonly until: number;
}

/** What a client missed while it had no link, and will not receive. */
export interface Gap {
  /** Lost signals, by sender. */
  readonly lost: readonly Lost[];
  /**
   * Whether presence events were lost, and signals of connections that have left. The events
   * `connectionCreated` and `connectionDestroyed` follow for all that changed.
   */
  readonly presence: boolean;
}

/** Another connection is in the session. Comes before its first signal. */
export interface ConnectionCreated {
  readonly kind: 'connectionCreated';
  readonly connection: ConnectionInfo;
}

/** Another connection has left. Comes after its last signal. */
export interface ConnectionDestroyed {
  readonly kind: 'connectionDestroyed';
  readonly connection: ConnectionInfo;
  readonly reason: DisconnectReason;
}

/** A signal. With neither type nor data it is a ping. */
export interface SignalReceived {
  readonly kind: 'signal';
  readonly from: SignalSender;
  /** The sender's sequence number. It rises, and skips signals that were sent to others. */
  readonly seq: number;
  readonly type: string | undefined;
  readonly data: string | undefined;
}

/**
 * Signals that will not come, because they were lost between gateways. The link and the connection
 * are not affected. Earlier signals of the same sender may still follow.
 */
export interface GapReported {
  readonly kind: 'gap';
  /** Lost signals, by sender. */
  readonly lost: readonly Lost[];
}

/** The gateway rejected something that no promise of this client waits for. */
export interface Rejected {
  readonly kind: 'rejected';
  /** The sequence number of the signal; `null` if it was another command. */
  readonly signal: number | null;
  readonly code: ErrorCode;
  /** For people. */
  readonly message: string;
}

/**
 * The link is lost, and the client reconnects by itself. Signals may still be sent; they are queued.
 * `sessionReconnected`, `sessionRejoined` or `sessionDisconnected` follows.
 */
export interface SessionReconnecting {
  readonly kind: 'sessionReconnecting';
  readonly reason: CloseReason;
  /** For people. */
  readonly message: string;
}

/**
 * The client has resumed the same connection; the others were not told anything. Presence events and
 * signals that it missed follow, in order.
 */
export interface SessionReconnected {
  readonly kind: 'sessionReconnected';
  /** How many signals and presence events follow. Lost ones are not counted. */
  readonly missed: number;
  /** What the client missed and will not receive. Usually there is no gap. */
  readonly gap: Gap | undefined;
}

/**
 * The client has joined the session again as another connection; for the others the previous
 * connection has left. Connections known before are void: one `connectionCreated` for each connection
 * in the session follows. Signals that others sent meanwhile are lost. The client's own signals that
 * the gateway had not confirmed are sent again, so receivers may get them twice.
 */
export interface SessionRejoined {
  readonly kind: 'sessionRejoined';
  /** The client's own connection from now on. */
  readonly connection: ConnectionInfo;
}

/** The client is no longer in the session. The last event. */
export interface SessionDisconnected {
  readonly kind: 'sessionDisconnected';
  readonly reason: CloseReason;
  /** For people. */
  readonly message: string;
}

/** Any event of a session. */
export type SessionEvent =
  | ConnectionCreated
  | ConnectionDestroyed
  | SignalReceived
  | GapReported
  | Rejected
  | SessionReconnecting
  | SessionReconnected
  | SessionRejoined
  | SessionDisconnected;

/** The events of a session by name. `signal:TYPE` is a `signal` of that type. */
export type SessionEvents = {
  [E in SessionEvent as E['kind']]: E;
} & { [name: `signal:${string}`]: SignalReceived };
