/** Event objects as OpenTok.js documents them. */

import type { Gap } from '../event.js';
import type { CloseReason, DisconnectReason as GatewayReason } from '../protocol/messages.js';
import type { Connection } from './connection.js';
import type { OpenTokError } from './error.js';
import type { Session } from './session.js';

/** Why a connection or the session has ended. */
export type DisconnectReason =
  | 'clientDisconnected'
  | 'forceDisconnected'
  | 'networkDisconnected';

/** What all events have. */
export class OpenTokEvent<Target = Session> {
  readonly type: string;
  readonly target: Target;
  readonly cancelable: boolean;
  #prevented = false;

  constructor(type: string, target: Target, cancelable = false) {
    this.type = type;
    this.target = target;
    this.cancelable = cancelable;
  }

  /** Recorded for cancelable events. No event has a default behavior, as there is no media. */
  preventDefault(): void {
    this.#prevented = this.cancelable;
  }

  isDefaultPrevented(): boolean {
    return this.#prevented;
  }
}

/** `sessionConnected`. */
export class SessionConnectEvent extends OpenTokEvent {
  /** Empty, as documented: each connection is announced by `connectionCreated`. */
  readonly connections: readonly Connection[] = [];
  /** Empty, as there is no media. */
  readonly streams: readonly never[] = [];
}

/** `connectionCreated` and `connectionDestroyed`. */
export class ConnectionEvent extends OpenTokEvent {
  readonly connection: Connection;
  /** Of `connectionDestroyed`. */
  readonly reason: DisconnectReason | undefined;

  constructor(type: string, target: Session, connection: Connection, reason?: GatewayReason) {
    super(type, target);
    this.connection = connection;
    this.reason = reason && documentedReason(reason);
  }
}

/** `signal` and `signal:TYPE`, whose `type` is `signal:TYPE` in both. */
export class SignalEvent extends OpenTokEvent {
  readonly data: string | undefined;
  /** The sender, which can be the client itself; null for a signal of a server. */
  readonly from: Connection | null;

  constructor(
    signalType: string | undefined,
    target: Session,
    data: string | undefined,
    from: Connection | null,
  ) {
    super(signalType ? `signal:${signalType}` : 'signal', target);
    this.data = data;
    this.from = from;
  }
}

/** `sessionReconnected`. */
export class SessionReconnectedEvent extends OpenTokEvent {
  /** Not in OpenTok.js: what the client missed and will not receive. Usually undefined. */
  readonly gap: Gap | undefined;

  constructor(target: Session, gap: Gap | undefined) {
    super('sessionReconnected', target);
    this.gap = gap;
  }
}

/** `sessionDisconnected`. */
export class SessionDisconnectEvent extends OpenTokEvent {
  readonly reason: DisconnectReason;
  /** Not in OpenTok.js: the gateway's own reason, such as `slowConsumer`. */
  readonly closeReason: CloseReason;

  constructor(target: Session, closeReason: CloseReason) {
    super('sessionDisconnected', target, true);
    this.closeReason = closeReason;
    this.reason = documentedReason(closeReason);
  }
}

function documentedReason(reason: CloseReason | GatewayReason): DisconnectReason {
  return reason === 'clientDisconnected' || reason === 'forceDisconnected'
    ? reason
    : 'networkDisconnected';
}

/** `exception`, which the `OT` object dispatches. Its target is the session concerned. */
export class ExceptionEvent extends OpenTokEvent {
  readonly code: number;
  readonly title: string;
  readonly message: string;

  constructor(target: Session, title: string, error: OpenTokError) {
    super('exception', target);
    this.code = error.code;
    this.title = title;
    this.message = error.message;
  }
}
