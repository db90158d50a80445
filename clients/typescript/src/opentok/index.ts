/**
 * Signaling with the shape of OpenTok.js, for pages that were written for it.
 *
 * ```js
 * import OT from '@signalbox/client/opentok';
 * OT.setGateway('https://signal.example.com');   // the only line that OpenTok.js does not have
 * const session = OT.initSession(apiKey, sessionId);
 * session.on('signal:chat', (event) => console.log(event.from?.connectionId, event.data));
 * session.connect(token, (error) => {
 *   if (!error) session.signal({ type: 'chat', data: 'hello' });
 * });
 * ```
 *
 * An independent implementation from the public documentation, without media. It is not affiliated
 * with the vendor. Other applications use the package's main entry.
 */

import { connect } from '../index.js';
import { OpenTok } from './ot.js';

const OT = new OpenTok(connect);
export default OT;

// For `import * as OT`, and for the script build, whose global is this module.
export const setGateway = OT.setGateway.bind(OT);
export const initSession = OT.initSession.bind(OT);
export const checkSystemRequirements = OT.checkSystemRequirements.bind(OT);
export const setLogLevel = OT.setLogLevel.bind(OT);
export const on = OT.on.bind(OT) as OpenTok['on'];
export const once = OT.once.bind(OT) as OpenTok['once'];
export const off = OT.off.bind(OT) as OpenTok['off'];

export type { Callback } from './completion.js';
export type { Connection, ConnectionCollection } from './connection.js';
export type { ErrorName, OpenTokError } from './error.js';
export type {
  ConnectionEvent,
  DisconnectReason,
  ExceptionEvent,
  OpenTokEvent,
  SessionConnectEvent,
  SessionDisconnectEvent,
  SessionReconnectedEvent,
  SignalEvent,
} from './events.js';
export type { GatewayOptions, InitSessionOptions, OpenTok } from './ot.js';
export type { Capabilities, Session, SessionState } from './session.js';
export type { SignalParameter } from './signal.js';
