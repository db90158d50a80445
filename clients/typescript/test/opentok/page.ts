/**
 * A page as the vendor's signaling tutorial teaches it, in our own words: signals to one client and
 * to all, handlers by type, own signals told from others', and a signal that does not wait for a
 * lost link. It uses nothing but the documented API. `OT` is OpenTok.js or the adapter.
 */

import type { OpenTok, Session, SignalEvent, ConnectionEvent, SessionDisconnectEvent } from '../../src/opentok/index.js';

export interface Credentials {
  apiKey: string;
  sessionId: string;
  token: string;
}

/** Shows a line to the user. */
export type Show = (line: string) => void;

export function openPage(OT: Pick<OpenTok, 'initSession'>, { apiKey, sessionId, token }: Credentials, show: Show) {
  const others: Record<string, { connectionId: string }> = {};
  const session: Session = OT.initSession(apiKey, sessionId);

  session.on('sessionConnected', () => show('connected'));

  session.on({
    connectionCreated: (event: ConnectionEvent) => {
      if (event.connection.connectionId === session.connection?.connectionId) {
        show('I am here');
        return;
      }
      others[event.connection.data] = event.connection;
      show(`${event.connection.data} joined`);
    },
    connectionDestroyed: (event: ConnectionEvent) => {
      show(`${event.connection.data} left: ${event.reason}`);
    },
    sessionReconnecting: () => show('reconnecting'),
    sessionReconnected: () => show('reconnected'),
    sessionDisconnected: (event: SessionDisconnectEvent) => {
      event.preventDefault();
      show(`disconnected: ${event.reason}`);
    },
  });

  session.on('signal', (event: SignalEvent) => {
    if (event.type === 'signal') show(`no type: ${event.data}`);
  });

  session.on('signal:msg', (event: SignalEvent) => {
    if (event.from === null) show(`server: ${event.data}`);
    else if (event.from.connectionId === session.connection?.connectionId) show(`me: ${event.data}`);
    else show(`${event.from.data}: ${event.data}`);
  });

  session.connect(token, (error) => {
    if (error) show(`cannot connect: ${error.name} ${error.message}`);
  });

  function send(signal: Parameters<Session['signal']>[0]): void {
    session.signal(signal, (error) => {
      if (error) show(`cannot send: ${error.name}`);
      else show('sent');
    });
  }

  return {
    session,
    sendToAll: (text: string) => send({ type: 'msg', data: text }),
    sendWithoutType: (text: string) => send({ data: text }),
    sendTo: (name: string, text: string) => send({ to: others[name] as never, type: 'msg', data: text }),
    sendNow: (text: string) => send({ type: 'msg', data: text, retryAfterReconnect: false }),
    remove(name: string): void {
      session.forceDisconnect(others[name] as never, (error) => {
        show(error ? `cannot remove ${name}: ${error.name}` : `removed ${name}`);
      });
    },
    leave: () => session.disconnect(),
  };
}
