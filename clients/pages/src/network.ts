/**
 * A network that can fail on request: it stands in for the browser's WebSocket and WebTransport, so
 * that the page can cut its own links and block a transport. The SDK notices no difference from a
 * real network.
 */

import type { Transport } from '../../typescript/src/index.js';
import { webSocketCode, webTransportCode } from '../../typescript/src/protocol/close.js';

/** The reason of a link that ends without a goodbye. */
const LOST = 'networkDisconnected';

/** The network of this page. */
export class FailingNetwork {
  /** Transports that this browser has here. */
  readonly available: readonly Transport[];
  #allowed: readonly Transport[];
  #isCut = false;
  #cause: string | undefined;
  readonly #open = new Set<() => void>();

  constructor() {
    const available: Transport[] = ['websocket'];
    if (typeof WebTransport !== 'undefined') available.unshift('webtransport');
    this.available = available;
    this.#allowed = available;
    this.#install();
  }

  /** Whether the network carries nothing. */
  get isCut(): boolean {
    return this.#isCut;
  }

  /** Allows these transports only. */
  allow(transports: readonly Transport[]): void {
    this.#allowed = transports;
  }

  /** Why the link has just ended, if this network did it; asked once for each end. */
  takeCause(): string | undefined {
    const cause = this.#isCut ? 'the network is cut' : this.#cause;
    this.#cause = undefined;
    return cause;
  }

  /** Ends all links, without a goodbye, for a reason that {@link takeCause} gives. */
  drop(cause: string): void {
    this.#cause = cause;
    for (const close of [...this.#open]) close();
  }

  /** Ends all links, and carries nothing until {@link restore}. */
  cut(): void {
    this.#isCut = true;
    this.drop('the network is cut');
  }

  /** Carries links again. */
  restore(): void {
    this.#isCut = false;
    // As a browser does when its network is back.
    dispatchEvent(new Event('online'));
  }

  #check(transport: Transport): void {
    if (this.#isCut) throw new Error('the network is cut');
    if (!this.#allowed.includes(transport)) throw new Error(`${transport} is blocked`);
  }

  #install(): void {
    const check = (transport: Transport) => this.#check(transport);
    const open = this.#open;
    globalThis.WebSocket = class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        check('websocket');
        super(url, protocols);
        const close = () => this.close(webSocketCode(LOST));
        open.add(close);
        this.addEventListener('close', () => open.delete(close));
      }
    };
    if (!this.available.includes('webtransport')) return;
    globalThis.WebTransport = class extends WebTransport {
      constructor(url: string | URL, options?: WebTransportOptions) {
        check('webtransport');
        super(url, options);
        const close = () => this.close({ closeCode: webTransportCode(LOST) });
        open.add(close);
        const ended = () => void open.delete(close);
        this.closed.then(ended, ended);
      }
    };
  }
}
