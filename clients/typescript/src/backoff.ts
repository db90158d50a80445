/** Pauses between reconnect attempts, and how long an attempt may take. Times are milliseconds. */

/** The longest pause before the second attempt; the first is made at once. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;

/**
 * How long one attempt may take. Where packets were being lost, a new attempt gets through sooner
 * than an old one, whose retransmissions have become rare.
 */
const ATTEMPT_TIMEOUT_MS = 5_000;

/**
 * How long an attempt after one that timed out may take. When a gateway fails, the others may receive
 * more clients at once than they can answer within the first timeout, and an abandoned attempt is
 * wasted work for them.
 */
const LATER_ATTEMPT_TIMEOUT_MS = 10_000;

/**
 * The longest pause after an attempt that timed out is at least this. Clients that began together
 * time out together.
 */
const TIMEOUT_PAUSE_MS = ATTEMPT_TIMEOUT_MS;

/** How long after a gateway's announcement that it shuts down another is expected in its place. */
const RESTART_PHASE_MS = 60_000;

/**
 * During a restart each pause is at least this, so that a gateway that is draining is not asked all
 * the time, plus a random part of the next two: one at first, the other in the end.
 */
const RESTART_MIN_PAUSE_MS = 100;
const RESTART_FIRST_PAUSE_MS = 400;
const RESTART_LONGEST_PAUSE_MS = 1_900;

/** Attempts during a restart before the pauses grow. */
const RESTART_QUICK_ATTEMPTS = 5;

/** How long the first attempts during a restart may take: over QUIC nothing reports a closed port. */
const RESTART_ATTEMPT_TIMEOUT_MS = 1_000;

/** The time after a gateway has announced that it shuts down. */
interface RestartPhase {
  until: number;
  attempts: number;
  timeouts: number;
}

/**
 * The reconnect schedule: exponential backoff with full jitter, so that clients which lost their
 * links together do not return together. Pauses stay short while a gateway restarts. It reads no
 * clock.
 */
export class Backoff {
  #attempts = 0;
  #timeouts: 'none' | 'earlier' | 'latest' = 'none';
  #restart: RestartPhase | undefined;

  /** How long to wait before the next attempt. */
  nextPause(now: number): number {
    const earlier = this.#attempts++;
    if (earlier === 0) return 0;
    const timedOut = this.#timeouts === 'latest';
    if (timedOut) this.#timeouts = 'earlier';
    const restart = this.#restartAt(now);
    if (restart) {
      const doublings = Math.max(0, restart.attempts++ - (RESTART_QUICK_ATTEMPTS - 1));
      const longest = RESTART_FIRST_PAUSE_MS * 2 ** doublings;
      return RESTART_MIN_PAUSE_MS + jitter(Math.min(longest, RESTART_LONGEST_PAUSE_MS));
    }
    const longest = Math.min(FIRST_PAUSE_MS * 2 ** (earlier - 1), LONGEST_PAUSE_MS);
    return jitter(timedOut ? Math.max(longest, TIMEOUT_PAUSE_MS) : longest);
  }

  /** How long the next attempt may take. */
  attemptTimeout(now: number): number {
    const restart = this.#restartAt(now);
    if (!restart) return this.#timeouts === 'none' ? ATTEMPT_TIMEOUT_MS : LATER_ATTEMPT_TIMEOUT_MS;
    return Math.min(RESTART_ATTEMPT_TIMEOUT_MS * 2 ** restart.timeouts, ATTEMPT_TIMEOUT_MS);
  }

  /**
   * How much longer than the resume window a connection may be resumable: a gateway that restarts
   * counts the window from the end of its drain, not from the loss of the link.
   */
  restartTimeLeft(now: number): number {
    return Math.max(0, (this.#restart?.until ?? now) - now);
  }

  /** Records an attempt that was not answered in time. */
  attemptTimedOut(): void {
    this.#timeouts = 'latest';
    if (this.#restart) this.#restart.timeouts++;
  }

  /** Records that the gateway shuts down: another is expected in its place soon. */
  gatewayRestarts(now: number): void {
    if (!this.#restartAt(now)) {
      this.#restart = { until: now + RESTART_PHASE_MS, attempts: 0, timeouts: 0 };
    }
  }

  /** Starts over if the last link was stable: it lived at least as long as the longest pause. */
  resetIfStable(lifetime: number): void {
    if (lifetime >= LONGEST_PAUSE_MS) this.reset();
  }

  /** Starts over: the next attempt is made at once. */
  reset(): void {
    this.#attempts = 0;
    this.#timeouts = 'none';
    this.#restart = undefined;
  }

  #restartAt(now: number): RestartPhase | undefined {
    return this.#restart && now < this.#restart.until ? this.#restart : undefined;
  }
}

/** A random time up to `longest`. */
export function jitter(longest: number): number {
  return longest * Math.random();
}
