/** Options of connecting. */

import { ConnectError } from './error.js';
import { AGENT_BYTES, type Streams } from './protocol/messages.js';
import { utf8Length } from './protocol/postcard.js';
import { VERSION } from './version.js';

/** A transport of the protocol. */
export type Transport = 'webtransport' | 'websocket';

/**
 * Gives a token; asked again for each join. A session that joins again after a long loss needs a
 * token that is still good.
 */
export type TokenProvider = () => string | Promise<string>;

/** The hash of a certificate that a browser is to accept over WebTransport. */
export interface CertificateHash {
  readonly algorithm: 'sha-256';
  readonly value: BufferSource;
}

/** The behaviour of one session. */
export interface ConnectOptions {
  /** Whether to be told who joins and leaves (default: true). Large sessions do without. */
  readonly presence?: boolean;
  /**
   * Whether to continue as the same connection after the link was lost (default: true), and to
   * receive what was missed. It also makes the gateway confirm signals.
   */
  readonly resume?: boolean;
  /**
   * Whether to join again, as another connection, if the connection cannot be resumed (default:
   * true). The client tries for five minutes, not counting the time without a network.
   */
  readonly rejoin?: boolean;
  /** Transports to use, the preferred one first (default: WebTransport, then WebSocket). */
  readonly transports?: readonly Transport[];
  /** Where WebTransport listens, if not at the gateway's URL. Only with one gateway. */
  readonly webTransportUrl?: string;
  /** Certificates to accept over WebTransport, for development gateways. */
  readonly serverCertificateHashes?: readonly CertificateHash[];
  /** How long connecting may take, in milliseconds (default: 10,000). */
  readonly timeoutMs?: number;
  /** Aborts connecting. Without effect once the session is joined. */
  readonly signal?: AbortSignal;
  /** The application's name and version, for the gateway's log; at most 64 bytes. */
  readonly agent?: string;
}

/** Options with their defaults. */
export interface ResolvedOptions {
  readonly presence: boolean;
  readonly resume: boolean;
  readonly rejoin: boolean;
  readonly transports: readonly Transport[];
  readonly webTransportUrl: string | undefined;
  readonly serverCertificateHashes: readonly CertificateHash[] | undefined;
  readonly timeoutMs: number;
  readonly agent: string;
  /** How signals are received over WebTransport. */
  readonly streams: Streams;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** The longest delay of a timer. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const TRANSPORTS: readonly Transport[] = ['webtransport', 'websocket'];

/** Checks options. Throws a {@link ConnectError}. */
export function resolveOptions(options: ConnectOptions): ResolvedOptions {
  const { transports = TRANSPORTS, timeoutMs = CONNECT_TIMEOUT_MS } = options;
  const agent = options.agent ?? `signalbox-typescript/${VERSION}`;
  const check = (good: boolean, what: string) => {
    if (!good) throw new ConnectError('options', what);
  };
  check(
    Array.isArray(transports) && transports.length > 0 && transports.every((it) => TRANSPORTS.includes(it)),
    "transports must be a list of 'webtransport' and 'websocket'",
  );
  check(timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS, 'timeoutMs must be a positive number of milliseconds');
  check(
    typeof agent === 'string' && utf8Length(agent) <= AGENT_BYTES,
    `agent must be a text of at most ${AGENT_BYTES} bytes`,
  );
  return {
    presence: options.presence ?? true,
    resume: options.resume ?? true,
    rejoin: options.rejoin ?? true,
    transports,
    webTransportUrl: options.webTransportUrl,
    serverCertificateHashes: options.serverCertificateHashes,
    timeoutMs,
    agent,
    streams: 'perSender',
  };
}
