/** Requests to disconnect others, whose success shows as the end of the connection. */

import { SignalError, disconnected } from './error.js';
import type { ErrorCode } from './protocol/messages.js';

interface Request {
  id: string;
  resolve(): void;
  reject(error: SignalError): void;
}

/** Requests that have not been answered, in order. */
export class ForceDisconnects {
  #pending: Request[] = [];

  get count(): number {
    return this.#pending.length;
  }

  add(id: string): Promise<void> {
    return new Promise((resolve, reject) => this.#pending.push({ id, resolve, reject }));
  }

  /** A connection has left. */
  left(id: string): void {
    const [done, rest] = [this.#pending.filter((it) => it.id === id), this.#pending.filter((it) => it.id !== id)];
    this.#pending = rest;
    for (const request of done) request.resolve();
  }

  /**
   * The gateway rejected a request; it does not say which. They are answered in order. Returns
   * whether a caller was told.
   */
  rejected(code: ErrorCode, message: string): boolean {
    const request = this.#pending.shift();
    request?.reject(new SignalError(code, `the gateway rejected the request (${code}): ${message}`));
    return request !== undefined;
  }

  /** The link is lost, and the requests are not repeated. */
  linkLost(): void {
    const message = 'the link was lost; the gateway may have received the request';
    for (const { reject } of this.#pending.splice(0)) reject(new SignalError('notSent', message));
  }

  /** The client has left; `own` is its connection. */
  close(own: string): void {
    this.left(own);
    for (const { reject } of this.#pending.splice(0)) reject(disconnected());
  }
}
