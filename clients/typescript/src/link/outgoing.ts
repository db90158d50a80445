/** The queue between the application and successive links. */

import type { ClientCommand, SendQueue } from '../send-queue.js';
import type { Link } from './link.js';
import { Pacer } from './pacer.js';

/** Messages written at once. */
const BATCH = 64;

/** Writes the messages of the send queue to the link, as soon as there is one. */
export class OutgoingMessages {
  readonly queue: SendQueue;
  #link: Link | undefined;
  /** Limits the rate of what was queued when the client reconnected, until all of it is written. */
  #pacer: Pacer | undefined;
  #scheduled = false;

  constructor(queue: SendQueue) {
    this.queue = queue;
  }

  /** Adds a command. Those of one task are written together. */
  enqueue(command: ClientCommand): void {
    this.queue.enqueue(command, this.#link !== undefined);
    this.#schedule(Promise.resolve());
  }

  /** Writes to this link from now on. */
  attach(link: Link): void {
    this.#link = link;
    this.flush();
  }

  /** There is no link for now. */
  detach(): void {
    this.#link = undefined;
  }

  /** Limits the rate after a reconnect; 0 means no limit. */
  pace(signalsPerSecond: number): void {
    this.#pacer = signalsPerSecond > 0 ? new Pacer(signalsPerSecond, Date.now()) : undefined;
  }

  /** Writes what can be written now. */
  flush(): void {
    const link = this.#link;
    while (link) {
      const busy = link.ready();
      if (busy) return this.#schedule(busy);
      const now = Date.now();
      const allowed = this.#pacer?.allowed(now) ?? BATCH;
      if (allowed === 0) {
        const ms = this.#pacer!.next() - now;
        return this.#schedule(new Promise((resolve) => setTimeout(resolve, ms)));
      }
      const messages = this.queue.write(Math.min(allowed, BATCH));
      this.#pacer?.written(messages.filter((it) => it.kind === 'signal').length);
      if (messages.length === 0) {
        this.#pacer = undefined;
        return;
      }
      link.write(messages);
    }
  }

  #schedule(when: Promise<unknown>): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void when.then(() => {
      this.#scheduled = false;
      this.flush();
    });
  }
}
