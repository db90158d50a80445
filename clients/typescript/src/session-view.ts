/**
 * The session as the application has been told of it. {@link Session} reads it, and it changes with
 * each event that is delivered.
 */

import type {
  ConnectionInfo,
  Limits,
  Lost,
  Rejected,
  SessionDisconnected,
  SessionEvent,
  SessionReconnecting,
  SignalSender,
} from './event.js';
import type { OrderedEvent } from './order.js';
import type { Role, Sender, Welcome, WireLost } from './protocol/messages.js';

/** An event before it is delivered. */
export type InternalEvent = OrderedEvent | Rejected | SessionReconnecting | SessionDisconnected;

/** Where the session stands, as far as the application has been told. */
export type SessionState = 'connected' | 'reconnecting' | 'disconnected';

/** The session, as far as the application has been told of it. */
export class SessionView {
  readonly sessionId: string;
  readonly role: Role;
  /** These two may change with each welcome: the gateway may have been reconfigured. */
  limits: Limits;
  gateways: readonly string[];
  connection: ConnectionInfo;
  state: SessionState = 'connected';
  #others = new Map<string, ConnectionInfo>();

  constructor({ session, role, limits, gateways, connection }: Welcome) {
    this.sessionId = session;
    this.role = role;
    this.limits = limits;
    this.gateways = gateways;
    this.connection = connection;
  }

  /** The other connections, oldest first. */
  get connections(): ConnectionInfo[] {
    return [...this.#others.values()].sort(
      (one, other) => one.createdAt - other.createdAt || (one.id < other.id ? -1 : 1),
    );
  }

  /** Applies an event that is about to be delivered. Returns it as the application is told of it. */
  apply(event: InternalEvent): SessionEvent | undefined {
    switch (event.kind) {
      case 'sessionJoined':
        return undefined;
      case 'connectionCreated':
        this.#others.set(event.connection.id, event.connection);
        return event;
      case 'connectionDestroyed': {
        const { kind, id, reason } = event;
        // Without presence there are no such events, and with it none of an unknown connection.
        const connection = this.#others.get(id) ?? { id, createdAt: 0, data: '' };
        this.#others.delete(id);
        return { kind, connection, reason };
      }
      case 'signal': {
        const { kind, from, seq, type, data } = event;
        return { kind, from: this.#sender(from), seq, type: type ?? undefined, data: data ?? undefined };
      }
      case 'gap':
        return { kind: event.kind, lost: event.lost.map(lostSignals) };
      case 'sessionReconnecting':
        this.state = 'reconnecting';
        return event;
      case 'sessionReconnected': {
        this.state = 'connected';
        const { kind, missed, gap } = event;
        return { kind, missed, gap: gap && { ...gap, lost: gap.lost.map(lostSignals) } };
      }
      case 'sessionRejoined': {
        this.state = 'connected';
        const { kind, connection } = event;
        this.connection = connection;
        this.#others.clear();
        return { kind, connection };
      }
      case 'sessionDisconnected':
        this.state = 'disconnected';
        return event;
      case 'rejected':
        return event;
    }
  }

  #sender(from: Sender): SignalSender {
    if (typeof from !== 'string') return { server: from.server };
    const connection = from === this.connection.id ? this.connection : this.#others.get(from);
    return { connectionId: from, connection };
  }
}

function lostSignals({ from, after, until }: WireLost): Lost {
  const [connectionId, server] =
    typeof from === 'string' ? [from, undefined] : [undefined, from.server];
  return { connectionId, server, after, until };
}
