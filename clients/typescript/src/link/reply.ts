/** The gateway's reply to an opening. */

import { ConnectError } from '../error.js';
import type { ConnectionInfo } from '../event.js';
import type { WireGap } from '../order.js';
import type { ErrorCode, GatewayMessage, Welcome } from '../protocol/messages.js';
import { ResumeTicket } from '../ticket.js';

/** A signal that the gateway rejected. */
export interface RejectedSignal {
  signal: number;
  code: ErrorCode;
  message: string;
}

/** The connection continues. */
export interface Resumed {
  kind: 'resumed';
  ticket: ResumeTicket;
  /** How many of the client's signals the gateway has accepted. */
  signals: number;
  /** Rejected signals among them. */
  rejected: RejectedSignal[];
  /** Signals and presence events that follow. */
  missed: number;
  gap: WireGap | undefined;
  /** All other connections in the session, if the gap includes presence. */
  present: ConnectionInfo[];
}

export type HandshakeReply = Welcome | Resumed;

/** Assembles the gateway's reply from its messages. */
export class ReplyAssembler {
  #rejected: RejectedSignal[] = [];
  #gap: WireGap | undefined;
  #present: ConnectionInfo[] = [];

  /** Takes a message; the last one completes the reply. Throws a {@link ConnectError}. */
  push(message: GatewayMessage): HandshakeReply | undefined {
    switch (message.kind) {
      case 'gap':
        this.#gap ??= { lost: [], presence: false };
        this.#gap.lost.push(...message.lost);
        this.#gap.presence ||= message.presence;
        return undefined;
      case 'error':
        // Errors about anything else belong to the time before this link.
        if (message.signal !== null) {
          this.#rejected.push({ signal: message.signal, code: message.code, message: message.message });
        }
        return undefined;
      case 'present':
        this.#present.push(...message.connections);
        return undefined;
      case 'welcome':
        return message;
      case 'resumed': {
        const { signals, missed } = message;
        return {
          kind: 'resumed',
          ticket: new ResumeTicket(message.ticket),
          signals,
          rejected: this.#rejected,
          missed,
          gap: this.#gap,
          present: this.#present,
        };
      }
      case 'bye':
        throw refused(message.reason, message.message);
      default:
        throw new ConnectError('protocol', `the gateway sent ${message.kind} during the handshake`);
    }
  }
}

/** The error of an opening that the gateway refused. */
export function refused(reason: ConnectError['reason'] & string, message: string): ConnectError {
  return new ConnectError('refused', `the gateway refused the connection (${reason}): ${message}`, { reason });
}
