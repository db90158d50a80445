/**
 * The rate at which a client that has reconnected sends its queue, so that the gateway does not
 * reject it for exceeding the limit.
 */

/**
 * One signal at once, and then a number each second. The gateway allows bursts, but the client does
 * not know how much of its burst it had used before its link was lost.
 */
export class Pacer {
  readonly #perSecond: number;
  readonly #since: number;
  #written = 0;

  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond;
    this.#since = now;
  }

  /** How many signals may be written now. */
  allowed(now: number): number {
    const due = Math.floor(((now - this.#since) * this.#perSecond) / 1000);
    return Math.max(0, due + 1 - this.#written);
  }

  /** When another one may be written. */
  next(): number {
    return this.#since + (this.#written * 1000) / this.#perSecond;
  }

  /** Records that signals have been written. */
  written(signals: number): void {
    this.#written += signals;
  }
}
