/** The session object of OpenTok.js, as far as signaling goes, over a session of the SDK. */

import type { ConnectionInfo, SignalSender } from '../event.js';
import type { ConnectOptions } from '../options.js';
import type { CloseReason, Role } from '../protocol/messages.js';
import type { Session as GatewaySession } from '../session.js';
import { complete, type Callback } from './completion.js';
import { Connection, ConnectionCollection } from './connection.js';
import { OpenTokError, connectError, forceDisconnectError, signalError } from './error.js';
import {
  ConnectionEvent,
  OpenTokEvent,
  SessionConnectEvent,
  SessionDisconnectEvent,
  SessionReconnectedEvent,
  SignalEvent,
} from './events.js';
import { EventDispatcher } from './handlers.js';
import { checkedSignal, type SignalParameter } from './signal.js';

/** The state of a session object. */
export type SessionState =
  'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'disconnecting';

/** What the client may do: 1 or 0, and undefined before it has connected. */
export interface Capabilities {
  readonly forceDisconnect?: 0 | 1;
  /** 0, like the following: there is no media. */
  readonly forceUnpublish?: 0;
  readonly forceMute?: 0;
  readonly publish?: 0;
  readonly subscribe?: 0;
}

/** The members of the SDK's session that this adapter uses. */
export type Joined = Pick<
  GatewaySession,
  'sessionId' | 'role' | 'connection' | 'signal' | 'forceDisconnect' | 'disconnect' | 'on'
>;

/** What a session object needs of its `OT` object. */
export interface Environment {
  readonly sessionId: string;
  readonly presence: boolean;
  /** Joins the session at the configured gateway. */
  readonly join: (token: string, options: ConnectOptions) => Promise<Joined>;
  /** Receives the errors of calls about the session as a whole. */
  readonly exception: (session: Session, error: OpenTokError) => void;
}

/** A session, connected or not. `OT.initSession` returns it. */
export class Session extends EventDispatcher {
  /** The session id that was given to `OT.initSession`. */
  readonly sessionId: string;
  /** The connections in the session, the client's own included. */
  readonly connections: ConnectionCollection;

  readonly #environment: Environment;
  readonly #known = new Map<string, Connection>();
  #state: SessionState = 'disconnected';
  #connection: Connection | undefined;
  #capabilities: Capabilities = {};
  #joined: Joined | undefined;
  #joining: Promise<void> | undefined;
  #abort = new AbortController();
  #end: Promise<void> = Promise.resolve();
  #ended: () => void = () => undefined;

  /** @internal */
  constructor(environment: Environment) {
    super();
    this.#environment = environment;
    this.sessionId = environment.sessionId;
    this.connections = new ConnectionCollection(this.#known);
  }

  /** The client's own connection; undefined unless it is connected. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  get capabilities(): Capabilities {
    return this.#capabilities;
  }

  get currentState(): SessionState {
    return this.#state;
  }

  /** Whether the client is in the session and has a link. */
  isConnected(): boolean {
    return this.#state === 'connected';
  }

  /**
   * Joins the session. While the client joins, further calls have the outcome of the first; once
   * it is in the session, they succeed at once.
   */
  connect(token: string): Promise<void>;
  connect(token: string, callback: Callback): undefined;
  connect(token: string, callback?: Callback): Promise<void> | undefined;
  connect(token: string, callback?: Callback): Promise<void> | undefined {
    if (this.#joined !== undefined && this.#state !== 'disconnecting') {
      return complete(Promise.resolve(), callback);
    }
    if (this.#joining !== undefined) {
      return complete(this.#joining, callback);
    }
    this.#abort = new AbortController();
    const joining = this.#report(this.#join(token, this.#abort.signal));
    this.#joining = joining;
    const clear = () => {
      this.#joining = undefined;
    };
    joining.then(clear, clear);
    const result = complete(joining, callback);
    // The callback, or a page that awaits the promise, comes before the events.
    joining.then(() => undefined).then(
      () => this.#announce(),
      () => undefined,
    );
    return result;
  }

  /** Leaves the session. `sessionDisconnected` follows, and then the promise resolves. */
  disconnect(): Promise<void> {
    const leaving = this.#joined === undefined || this.#state === 'disconnecting';
    if (this.#joining !== undefined && leaving) {
      this.#abort.abort(
        new OpenTokError('OT_CONNECT_FAILED', 1006, 'disconnect() was called before the end'),
      );
      return this.#joining.catch(() => undefined);
    }
    if (this.#joined !== undefined && this.#state !== 'disconnecting') {
      this.#state = 'disconnecting';
      void this.#joined.disconnect();
    }
    return this.#end;
  }

  /** Sends a signal to all in the session, or to the connection `to`. */
  signal(signal: SignalParameter): Promise<void>;
  signal(signal: SignalParameter, callback: Callback): undefined;
  signal(signal: SignalParameter, callback?: Callback): Promise<void> | undefined;
  signal(signal: SignalParameter, callback?: Callback): Promise<void> | undefined {
    return complete(this.#signal(signal), callback, [null]);
  }

  /** Ends the connection of another client. The client must be a moderator. */
  forceDisconnect(connection: Connection | string): Promise<void>;
  forceDisconnect(connection: Connection | string, callback: Callback): undefined;
  forceDisconnect(
    connection: Connection | string,
    callback?: Callback,
  ): Promise<void> | undefined;
  forceDisconnect(
    connection: Connection | string,
    callback?: Callback,
  ): Promise<void> | undefined {
    return complete(this.#report(this.#forceDisconnect(connection)), callback);
  }

  async #join(token: string, signal: AbortSignal): Promise<void> {
    try {
      if (this.#state === 'disconnecting') await this.#end;
      signal.throwIfAborted();
      this.#checkParameters(token);
      this.#state = 'connecting';
      // A page knows one connection per session object, so it decides itself about another.
      const options = { presence: this.#environment.presence, rejoin: false, signal };
      const joined = await this.#environment.join(token, options);
      this.#checkJoined(joined, signal);
      this.#enter(joined);
    } catch (cause) {
      this.#state = 'disconnected';
      throw connectError(cause);
    }
  }

  #checkParameters(token: unknown): void {
    if (typeof token !== 'string' || token === '') {
      throw new OpenTokError('OT_INVALID_PARAMETER', 1011, 'the token must be a non-empty string');
    }
    if (typeof this.sessionId !== 'string' || this.sessionId === '') {
      throw new OpenTokError(
        'OT_INVALID_SESSION_ID',
        1005,
        'the session id given to OT.initSession must be a non-empty string',
      );
    }
  }

  #checkJoined(joined: Joined, signal: AbortSignal): void {
    const otherSession = joined.sessionId !== this.sessionId;
    if (signal.aborted || otherSession) {
      void joined.disconnect();
    }
    signal.throwIfAborted();
    if (otherSession) {
      throw new OpenTokError(
        'OT_AUTHENTICATION_ERROR',
        1004,
        'the token is for another session than the one given to OT.initSession',
      );
    }
  }

  #enter(joined: Joined): void {
    this.#joined = joined;
    this.#end = new Promise((resolve) => {
      this.#ended = resolve;
    });
    this.#state = 'connected';
    this.#connection = this.#add(joined.connection);
    this.#capabilities = capabilitiesOf(joined.role);
  }

  /** Dispatches the events of having joined, and then those of the session. */
  #announce(): void {
    const joined = this.#joined;
    const connection = this.#connection;
    if (joined === undefined || connection === undefined) {
      return;
    }
    this.#emit(new SessionConnectEvent('sessionConnected', this));
    this.#emit(new ConnectionEvent('connectionCreated', this, connection));
    // The SDK holds events back until the current task is over, so none of them is missed.
    joined.on('connectionCreated', (created) => {
      this.#emit(new ConnectionEvent('connectionCreated', this, this.#add(created.connection)));
    });
    joined.on('connectionDestroyed', ({ connection, reason }) => {
      const destroyed = this.#known.get(connection.id) ?? converted(connection);
      this.#known.delete(connection.id);
      this.#emit(new ConnectionEvent('connectionDestroyed', this, destroyed, reason));
    });
    joined.on('signal', (signal) => {
      const event = new SignalEvent(signal.type, this, signal.data, this.#sender(signal.from));
      this.dispatch('signal', event);
      if (signal.type) {
        this.dispatch(`signal:${signal.type}`, event);
      }
    });
    joined.on('sessionReconnecting', () => {
      this.#move('connected', 'reconnecting');
      this.#emit(new OpenTokEvent('sessionReconnecting', this));
    });
    joined.on('sessionReconnected', ({ gap }) => {
      this.#move('reconnecting', 'connected');
      this.#emit(new SessionReconnectedEvent(this, gap));
    });
    joined.on('sessionDisconnected', ({ reason }) => this.#leave(reason));
  }

  #leave(reason: CloseReason): void {
    this.#joined = undefined;
    this.#state = 'disconnected';
    this.#connection = undefined;
    this.#capabilities = {};
    this.#known.clear();
    this.#emit(new SessionDisconnectEvent(this, reason));
    this.#ended();
  }

  async #signal(parameter: SignalParameter): Promise<void> {
    try {
      const checked = checkedSignal(parameter, this);
      if (this.#joined === undefined || this.#state === 'disconnecting') {
        throw new OpenTokError('OT_NOT_CONNECTED', 500, 'not connected to the session');
      }
      await this.#joined.signal(checked);
    } catch (cause) {
      throw signalError(cause, parameter);
    }
  }

  async #forceDisconnect(connection: Connection | string): Promise<void> {
    const id = typeof connection === 'string' ? connection : connection?.connectionId;
    if (typeof id !== 'string' || id === '') {
      throw new OpenTokError(
        'OT_INVALID_PARAMETER',
        1011,
        'forceDisconnect needs a connection or a connection id',
      );
    }
    if (this.#joined === undefined || this.#state === 'disconnecting') {
      throw new OpenTokError('OT_NOT_CONNECTED', 1010, 'not connected to the session');
    }
    try {
      await this.#joined.forceDisconnect(id);
    } catch (cause) {
      throw forceDisconnectError(cause);
    }
  }

  async #report(call: Promise<void>): Promise<void> {
    try {
      await call;
    } catch (error) {
      this.#environment.exception(this, error as OpenTokError);
      throw error;
    }
  }

  #emit(event: OpenTokEvent): void {
    this.dispatch(event.type, event);
  }

  #move(from: SessionState, to: SessionState): void {
    if (this.#state === from) {
      this.#state = to;
    }
  }

  #add(info: ConnectionInfo): Connection {
    const connection = converted(info);
    this.#known.set(info.id, connection);
    return connection;
  }

  #sender({ connectionId, connection }: SignalSender): Connection | null {
    if (connectionId === undefined) return null;
    const known = this.#known.get(connectionId);
    // Without presence the client knows nothing but the id.
    return known ?? (connection ? converted(connection) : new Connection(connectionId));
  }
}

function converted({ id, createdAt, data }: ConnectionInfo): Connection {
  return new Connection(id, createdAt, data);
}

function capabilitiesOf(role: Role): Capabilities {
  return {
    forceDisconnect: role === 'moderator' ? 1 : 0,
    forceUnpublish: 0,
    forceMute: 0,
    publish: 0,
    subscribe: 0,
  };
}
