/**
 * Dialling: from the gateways' URLs to a link on which one has answered.
 *
 * Targets race, but only to the end of the transport's handshake; then the winner alone sends the
 * opening. A gateway that fails before its answer, or refuses the client because it shuts down, is
 * passed over; any other refusal is an answer.
 */

import { ConnectError } from './error.js';
import { GatewayList } from './gateway-list.js';
import type { Target } from './gateway-url.js';
import { within } from './limit.js';
import { type Link, withResolvers } from './link/link.js';
import type { HandshakeReply } from './link/reply.js';
import { dialWebSocket } from './link/websocket.js';
import { dialWebTransport } from './link/webtransport.js';
import type { Opening } from './opening.js';
import type { ResolvedOptions } from './options.js';
import type { Streams } from './protocol/messages.js';
import { rememberTransport, rememberedTransport } from './remembered.js';

/**
 * Head start of each target over the next: enough for a handshake on most networks, and hardly
 * noticeable if that target does not work.
 */
const HEAD_START_MS = 300;

/**
 * The same for a client that reconnects, and perhaps thousands of others with it, all of which would make
 * two handshakes instead of one if the first gateway were busy for the shorter time.
 */
const RECONNECT_HEAD_START_MS = 1000;

/**
 * Head start of WebTransport where WebSocket won the last time: a network that blocks UDP costs no more
 * than this, and WebTransport is used again as soon as it works.
 */
const SHORT_HEAD_START_MS = 100;

/** A link on which the gateway has answered. */
export interface OpenedLink {
  link: Link;
  reply: HandshakeReply;
}

/** Connects to one target. */
export type Dial = (target: Target, signal: AbortSignal) => Promise<Link>;

/** Opens links to the gateways of one session. */
export class Dialer {
  readonly options: ResolvedOptions;
  /** How signals are received over WebTransport from now on. */
  streams: Streams = 'perSender';
  readonly #dial: Dial;
  readonly #gateways: GatewayList;
  /** The target on whose link the opening was sent. */
  #asked: Target | undefined;
  /** Head start of the first target, and of each later one. They grow when the client has connected. */
  #headStartMs = HEAD_START_MS;
  #laterHeadStartMs = HEAD_START_MS;

  constructor(urls: string | readonly string[], options: ResolvedOptions, dial?: Dial) {
    this.options = options;
    this.#dial =
      dial ??
      (({ transport, url }, signal) =>
        transport === 'websocket'
          ? dialWebSocket(url, signal)
          : dialWebTransport(url, options.serverCertificateHashes, signal));
    this.#gateways = new GatewayList(urls, options);
    const { gateway, transport } = this.#gateways.inOrder()[0]!;
    const webSocketWon = transport === 'webtransport' && rememberedTransport(gateway) === 'websocket';
    if (webSocketWon) this.#headStartMs = SHORT_HEAD_START_MS;
  }

  /** Time until the last target is tried by a client that reconnects, if all before it are silent. */
  get headStartsMs(): number {
    return RECONNECT_HEAD_START_MS * (this.#gateways.length - 1);
  }

  /** Takes the gateways that a welcome lists, in place of those of an earlier one. */
  welcomed(gateways: readonly string[]): void {
    this.#gateways.welcomed(gateways);
  }

  /** Tries the other gateways before the one that has answered last. */
  avoidCurrent(): void {
    this.#gateways.avoidCurrent();
  }

  /**
   * Reaches a gateway, sends the opening and receives the answer, within a time. Rejects with a
   * {@link ConnectError}, or with the reason of the signal. Then nothing is left open.
   */
  async open(opening: Opening, withinMs: number, signal: AbortSignal): Promise<OpenedLink> {
    const tried = this.#gateways.inOrder().map((it) => it.url).join(', ');
    const timeout = new ConnectError('timeout', `the gateway did not answer in time (tried ${tried})`);
    this.#asked = undefined;
    try {
      const { target, ...opened } = await within(withinMs, timeout, signal, (limit) => this.#race(opening, limit));
      this.#gateways.answered(target);
      this.#headStartMs = RECONNECT_HEAD_START_MS;
      this.#laterHeadStartMs = RECONNECT_HEAD_START_MS;
      rememberTransport(target.gateway, target.transport);
      return opened;
    } catch (error) {
      if (this.#asked && error === timeout) this.#gateways.avoid(this.#asked);
      if (this.#asked && !isPassedOver(error)) this.#gateways.answered(this.#asked);
      throw error;
    }
  }

  #race(opening: Opening, limit: AbortSignal): Promise<OpenedLink & { target: Target }> {
    const { promise, resolve, reject } = withResolvers<OpenedLink & { target: Target }>();
    const losers = new AbortController();
    const remaining = this.#gateways.inOrder();
    /** Links whose transport is established, and which wait for their turn. */
    const established: { link: Link; target: Target }[] = [];
    let dialling = 0;
    let busy = false;
    let over = false;
    let headStart: ReturnType<typeof setTimeout> | undefined;
    let failure: unknown;

    const settle = (how: () => void) => {
      if (over) return;
      over = true;
      clearTimeout(headStart);
      limit.removeEventListener('abort', aborted);
      losers.abort();
      for (const { link } of established) link.close('clientDisconnected');
      how();
    };
    const aborted = () => {
      // The winner's opening is aborted by the same signal.
      settle(() => reject(limit.reason));
    };
    /** Does what can be done now. */
    const proceed = () => {
      if (over || busy) return;
      const next = established.shift();
      if (next) void open(next);
      else if (dialling === 0 && remaining.length === 0) settle(() => reject(failure));
      else if (dialling === 0) dialNext();
    };
    const dialNext = () => {
      clearTimeout(headStart);
      const target = remaining.shift();
      if (!target || over) return;
      dialling++;
      const isFirst = remaining.length === this.#gateways.length - 1;
      headStart = setTimeout(dialNext, isFirst ? this.#headStartMs : this.#laterHeadStartMs);
      this.#dial(target, losers.signal).then(
        (link) => {
          dialling--;
          if (over) link.close('clientDisconnected');
          else established.push({ link, target });
          proceed();
        },
        (error: unknown) => {
          dialling--;
          failure = failure === undefined ? error : worse(failure, error);
          // Nothing is gained by waiting for the end of its head start.
          if (!over && !busy) dialNext();
          proceed();
        },
      );
    };
    const open = async ({ link, target }: { link: Link; target: Target }) => {
      busy = true;
      this.#asked = target;
      clearTimeout(headStart);
      try {
        const streams = link.transport === 'webtransport' ? this.streams : 'single';
        // A goodbye would destroy the connection that another attempt is to resume.
        const abandon = opening.isResume ? 'networkDisconnected' : 'clientDisconnected';
        const reply = await link.open(opening.messages(streams), limit, abandon);
        if (over) return link.close(abandon);
        settle(() => resolve({ link, target, reply }));
      } catch (error) {
        if (!isPassedOver(error)) return settle(() => reject(error));
        failure = error;
        busy = false;
        if (over) return;
        this.#asked = undefined;
        // Nothing is gained by waiting for those that are being dialled.
        dialNext();
        proceed();
      }
    };
    limit.addEventListener('abort', aborted);
    if (limit.aborted) aborted();
    else dialNext();
    return promise;
  }
}

/** Which of two failures says more about the cause. */
function worse(one: unknown, other: unknown): unknown {
  const unsupported = other instanceof ConnectError && other.code === 'unsupported';
  return unsupported ? one : other;
}

/**
 * Whether another gateway is asked after this failure. A refusal is an answer, which another gateway
 * would give as well, unless it was refused because the gateway shuts down.
 */
function isPassedOver(error: unknown): boolean {
  return !(error instanceof ConnectError && error.code === 'refused' && error.reason !== 'shuttingDown');
}
