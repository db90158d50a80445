/**
 * The dispatcher: sorts the gateway's messages into what the link needs and what the application
 * receives.
 */

import { jitter } from '../backoff.js';
import { Order, type ResumePosition } from '../order.js';
import type { GatewayMessage, Welcome } from '../protocol/messages.js';
import type { SendQueue } from '../send-queue.js';
import type { InternalEvent } from '../session-view.js';
import { ResumeTicket } from '../ticket.js';
import type { Resumed } from './reply.js';

/** Sorts messages. It does no I/O, and knows no link. */
export class EventDispatcher {
  readonly order: Order;
  /** What resuming needs, once the gateway has sent it. */
  ticket: ResumeTicket | undefined;
  /** When the client leaves its link, if the gateway has asked it to. */
  leaveAt: number | undefined;
  readonly #queue: SendQueue;
  readonly #emit: (event: InternalEvent) => void;

  constructor(presence: boolean, queue: SendQueue, emit: (event: InternalEvent) => void) {
    this.order = new Order(presence, emit);
    this.#queue = queue;
    this.#emit = emit;
  }

  /** Takes a message of the control stream that does not end the link. */
  control(message: GatewayMessage): void {
    switch (message.kind) {
      case 'ticket':
        this.ticket = new ResumeTicket(message);
        break;
      case 'accepted':
        this.#queue.accepted(message.signals);
        break;
      case 'goAway': {
        // Not at once, as all clients are asked at once; and the last quarter is for the time that
        // the request took to arrive.
        const quarter = message.withinMs / 4;
        this.leaveAt = Date.now() + 2 * quarter + jitter(quarter);
        break;
      }
      case 'error': {
        const { signal, code, message: text } = message;
        const told = signal !== null && this.#queue.rejected(signal, code, text);
        if (!told) this.#emit({ kind: 'rejected', code, message: text, signal });
        break;
      }
      case 'heartbeat':
        // The link has counted it as a sign of life.
        break;
      default:
        this.order.control(message);
    }
  }

  /** The link is lost. Returns the position to resume from; `undefined` if it is not certain. */
  linkLost(): ResumePosition | undefined {
    return this.order.linkLost(this.#queue.acceptedSignals);
  }

  /** The client has joined, as a connection of which nothing is known yet. */
  joined(welcome: Welcome, again: boolean): void {
    this.ticket = undefined;
    this.leaveAt = undefined;
    this.order.join(welcome, again);
    if (again) this.#queue.rejoined(confirms(welcome));
  }

  /** The connection continues on a new link. */
  resumed({ ticket, signals, rejected, missed, gap, present }: Resumed): void {
    this.ticket = ticket;
    this.leaveAt = undefined;
    this.order.resume(missed, gap, present);
    for (const { signal, code, message } of rejected) {
      const told = this.#queue.rejectedOnEarlierLink(signal, code, message);
      if (!told) this.#emit({ kind: 'rejected', code, message, signal });
    }
    this.#queue.resumed(signals);
  }
}

/** Whether the gateway confirms signals. */
export function confirms({ features }: Welcome): boolean {
  return features.includes('resume');
}
