/** The types of the package, as an application sees them. It is compiled, and never run. */

import {
  ConnectError,
  type ConnectOptions,
  type ConnectionInfo,
  type CloseReason,
  type Role,
  type Session,
  SignalError,
  SignalboxError,
  connect,
} from '../src/index.js';

function is<T>(_value: T): void {}

export async function application(controller: AbortController): Promise<void> {
  const session: Session = await connect('https://a.example', 'token');
  await connect(['https://a.example', 'https://b.example'] as const, async () => 'token', {
    presence: false,
    transports: ['websocket'],
    signal: controller.signal,
    serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(32) }],
  });
  // @ts-expect-error a token is a text
  await connect('https://a.example', 7);
  // @ts-expect-error there is no such transport
  is<ConnectOptions>({ transports: ['quic'] });
  // @ts-expect-error there is no such option
  is<ConnectOptions>({ token: 'x' });

  is<string>(session.sessionId);
  is<Role>(session.role);
  is<readonly ConnectionInfo[]>(session.connections);
  is<'connected' | 'reconnecting' | 'disconnected'>(session.state);
  is<'webtransport' | 'websocket' | undefined>(session.transport);
  // @ts-expect-error it is the gateway's to change
  session.connection = session.connection;

  await session.signal({});
  await session.signal({ type: 'chat', data: undefined, to: session.connection.id, retryAfterReconnect: false });
  // @ts-expect-error data is a text
  await session.signal({ data: { x: 1 } });
  // @ts-expect-error a misspelt member
  await session.signal({ date: 'x' });

  const stop: () => void = session.on('connectionDestroyed', ({ connection, reason }) => {
    is<ConnectionInfo>(connection);
    is<'clientDisconnected' | 'forceDisconnected' | 'networkDisconnected' | 'unknown'>(reason);
  });
  stop();
  session.on('signal:chat', ({ from, type, data }) => {
    is<string | undefined>(type);
    is<string | undefined>(data);
    if (from.server !== undefined) is<string>(from.server);
    else is<string>(from.connectionId);
    is<string | undefined>(from.connection?.data);
  });
  // @ts-expect-error there is no such event
  session.on('signals', () => {});
  // @ts-expect-error a created connection has no reason
  session.on('connectionCreated', ({ reason }) => reason);
  is<number>((await session.once('sessionReconnected')).missed);

  for await (const event of session) {
    switch (event.kind) {
      case 'signal':
        is<number>(event.seq);
        break;
      case 'gap':
        is<number | undefined>(event.lost[0]?.until);
        break;
      case 'sessionReconnected':
        is<boolean | undefined>(event.gap?.presence);
        break;
      case 'sessionDisconnected':
        is<CloseReason>(event.reason);
        break;
      case 'rejected':
      case 'connectionCreated':
      case 'connectionDestroyed':
      case 'sessionReconnecting':
      case 'sessionRejoined':
        break;
      default:
        is<never>(event);
    }
  }
  // @ts-expect-error `connect` makes sessions
  new (session.constructor as typeof Session)();

  try {
    await session.disconnect();
  } catch (error) {
    if (error instanceof ConnectError) is<CloseReason | undefined>(error.reason);
    if (error instanceof SignalError && error.code === 'queueFull') is<SignalboxError>(error);
    // @ts-expect-error there is no such code
    if (error instanceof SignalError && error.code === 'full') return;
  }
}
