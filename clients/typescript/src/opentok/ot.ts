/** The `OT` object. */

import type { ConnectOptions } from '../options.js';
import { OpenTokError } from './error.js';
import { ExceptionEvent } from './events.js';
import { EventDispatcher } from './handlers.js';
import { Session, type Joined } from './session.js';

/** `connect` of the SDK. */
export type Connect = (
  url: string | readonly string[],
  token: string,
  options: ConnectOptions,
) => Promise<Joined>;

/** Options of `initSession`. Those of OpenTok.js about media are ignored. */
export interface InitSessionOptions {
  /** Whether the events about other connections are left out, which large sessions do not need. */
  readonly connectionEventsSuppressed?: boolean;
}

/** Options of `setGateway`: those of the SDK about reaching the gateway. */
export type GatewayOptions = Pick<
  ConnectOptions,
  'transports' | 'webTransportUrl' | 'serverCertificateHashes' | 'timeoutMs'
>;

// The documented titles. Other errors reach callbacks and promises only.
const EXCEPTION_TITLES: Readonly<Record<number, string>> = {
  1004: 'Authentication error',
  1005: 'Invalid Session ID',
  1006: 'Connect Failed',
  1010: 'Not Connected',
  1011: 'Invalid Parameter',
  1520: 'Unable to Force Disconnect',
};

/** Makes session objects and dispatches `exception`. */
export class OpenTok extends EventDispatcher {
  readonly #connect: Connect;
  #gateway: string | readonly string[] | undefined;
  #options: GatewayOptions = {};

  /** @internal */
  constructor(connect: Connect) {
    super();
    this.#connect = connect;
  }

  /**
   * Names the gateway: `https://HOST[:PORT]`, or several in order of preference. Not in OpenTok.js.
   * Call it before `session.connect`.
   */
  setGateway(url: string | readonly string[], options: GatewayOptions = {}): void {
    this.#gateway = url;
    this.#options = options;
  }

  /**
   * A session object, which is not connected yet. The API key has no effect, as the token names
   * the project.
   */
  initSession(
    _apiKey: string | number,
    sessionId: string,
    options: InitSessionOptions = {},
  ): Session {
    return new Session({
      sessionId,
      presence: options.connectionEventsSuppressed !== true,
      join: (token, own) => this.#join(token, own),
      exception: (session, error) => this.#report(session, error),
    });
  }

  /** 1, which means that the browser is supported: signaling needs no WebRTC. */
  checkSystemRequirements(): 1 {
    return 1;
  }

  /** Has no effect: nothing is logged. */
  setLogLevel(_level?: number): void {}

  async #join(token: string, own: ConnectOptions): Promise<Joined> {
    if (this.#gateway === undefined) {
      throw new OpenTokError(
        'OT_INVALID_PARAMETER',
        1011,
        "no gateway is set: call OT.setGateway('https://HOST') first",
      );
    }
    return this.#connect(this.#gateway, token, { ...this.#options, ...own });
  }

  #report(session: Session, error: OpenTokError): void {
    const title = EXCEPTION_TITLES[error.code];
    if (title !== undefined) {
      this.dispatch('exception', new ExceptionEvent(session, title, error));
    }
  }
}
