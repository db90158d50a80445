/** The URLs of a client's gateways, and the order in which they are tried. */

import { type Target, targets } from './gateway-url.js';
import type { ResolvedOptions } from './options.js';

/** The ways to connect to the gateways, and what is known about the gateways. */
export class GatewayList {
  readonly #options: ResolvedOptions;
  /** Those of the application's URLs, in order of preference. */
  readonly #given: readonly Target[];
  /** Further ones, of the last welcome. */
  #listed: readonly Target[] = [];
  /** The target whose gateway has answered last. It is tried first. */
  #current: Target | undefined;
  /** Host and port of a gateway that shuts down, or has left an opening unanswered. It is tried last. */
  #avoided: string | undefined;

  /** Throws a {@link ConnectError}. */
  constructor(urls: string | readonly string[], options: ResolvedOptions) {
    this.#options = options;
    this.#given = targets(urls, options);
  }

  get length(): number {
    return this.#given.length + this.#listed.length;
  }

  /** The targets in the order in which to try them. */
  inOrder(): Target[] {
    const rank = (it: Target) => (it.gateway === this.#avoided ? 2 : 0) + (it.url === this.#current?.url ? 0 : 1);
    return [...this.#given, ...this.#listed].sort((one, other) => rank(one) - rank(other));
  }

  /**
   * Takes the URLs of a welcome, in place of those of an earlier one. They come after those of the
   * application.
   */
  welcomed(urls: readonly string[]): void {
    const all = new Map(this.#given.map((it) => [it.url, it]));
    // A gateway does not list itself.
    const current = this.#current ? [this.#current] : [];
    for (const target of [...current, ...urls.flatMap((url) => this.#usable(url))]) {
      if (!all.has(target.url)) all.set(target.url, target);
    }
    this.#listed = [...all.values()].slice(this.#given.length);
  }

  /** The targets of a welcome's URL; none if this client does not support it. */
  #usable(url: string): Target[] {
    const isPlain = (it: Target) => it.url.startsWith('ws:');
    // A ticket that has travelled over TLS must not be sent without it.
    const allowPlain = this.#given.some(isPlain);
    try {
      const usable = targets(url, { ...this.#options, webTransportUrl: undefined });
      return usable.filter((it) => allowPlain || !isPlain(it));
    } catch {
      return [];
    }
  }

  /** Records that the gateway of this target has answered an opening. */
  answered(target: Target): void {
    this.#current = target;
    if (this.#avoided === target.gateway) this.#avoided = undefined;
  }

  /** Puts the other gateways before this one until it answers again. */
  avoid(target: Target): void {
    this.#avoided = target.gateway;
  }

  /** The same for the gateway that has answered last. */
  avoidCurrent(): void {
    this.#avoided = this.#current?.gateway;
  }
}
