/** The ticket with which a client resumes its connection. */

import type { TicketFields } from './protocol/messages.js';

/** A ticket, and the number of attempts made with it. It is a secret, and never leaves memory. */
export class ResumeTicket {
  readonly text: string;
  /** For how many milliseconds it is valid after a loss. */
  readonly windowMs: number;
  #attempts = 0;

  constructor({ ticket, windowMs }: TicketFields) {
    this.text = ticket;
    this.windowMs = windowMs;
  }

  /** The number of another attempt, from 1. */
  nextAttempt(): number {
    return ++this.#attempts;
  }
}
