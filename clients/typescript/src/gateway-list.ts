/** The URLs of a client's gateways, and the order in which they are tried. */

import { type Target, targets } from './gateway-url.js';
import type { ResolvedOptions } from './options.js';

/** The ways to connect to the gateways, and what is known about the gateways. */
export class GatewayList {
  /** In order of preference. */
  readonly #targets: readonly Target[];
  /** The target whose gateway has answered last. It is tried first. */
  #current: Target | undefined;
  /** Host and port of a gateway that shuts down, or has left an opening unanswered. It is tried last. */
  #avoided: string | undefined;

  /** Throws a {@link ConnectError}. */
  constructor(urls: string | readonly string[], options: ResolvedOptions) {
    this.#targets = targets(urls, options);
  }

  get length(): number {
    return this.#targets.length;
  }

  /** The targets in the order in which to try them. */
  inOrder(): Target[] {
    const rank = (it: Target) => (it.gateway === this.#avoided ? 2 : 0) + (it === this.#current ? 0 : 1);
    return [...this.#targets].sort((one, other) => rank(one) - rank(other));
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
