/**
 * The watch over a link's silence. Browsers do not show a WebSocket's pings to scripts, so the client
 * sends a heartbeat when nothing has arrived for a while.
 */

import type { Link } from './link.js';

/** The shortest idle timeout that is heeded; a gateway may have none (0). */
const MIN_IDLE_MS = 1_000;

/** How long a link that is suspected to be dead may take to answer. */
const SUSPICION_MS = 3_000;

/** Calls back once when a link counts as lost. */
export class SilenceWatch {
  readonly #link: Link;
  readonly #idleMs: number;
  readonly #onLost: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Of the link, before the last probe. */
  #arrivalsBefore = 0;
  /** Probes in a row without an answer. */
  #unanswered = 0;

  constructor(link: Link, idleTimeoutMs: number, onLost: () => void) {
    this.#link = link;
    this.#idleMs = Math.max(idleTimeoutMs, MIN_IDLE_MS);
    this.#onLost = onLost;
    this.#wait(this.#idleMs / 2);
  }

  /** Asks now: the network may have changed, or the machine may have slept. */
  suspect(): void {
    this.#unanswered = 1;
    this.#probe(SUSPICION_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(), ms);
  }

  #probe(patienceMs: number): void {
    this.#arrivalsBefore = this.#link.arrivals;
    this.#unanswered++;
    this.#link.probe();
    this.#wait(patienceMs);
  }

  #check(): void {
    const silentMs = Date.now() - this.#link.heardAt;
    if (this.#link.arrivals > this.#arrivalsBefore) this.#unanswered = 0;
    if (this.#unanswered === 0 && silentMs < this.#idleMs / 2) this.#wait(this.#idleMs / 2 - silentMs);
    else if (this.#unanswered === 0) this.#probe(this.#idleMs / 2);
    // A timer may be late, and then run ahead of messages that have arrived: after a sleep, or in a
    // hidden tab. So the answer to a second probe decides.
    else if (this.#unanswered === 1) this.#probe(SUSPICION_MS);
    else this.#onLost();
  }
}
