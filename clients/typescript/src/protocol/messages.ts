/** The messages of the protocol (section 4), and the types that occur in them. */

import {
  type Codec,
  Malformed,
  type Value,
  bool,
  enumeration,
  list,
  messages,
  openSet,
  option,
  struct,
  text,
  u32,
  u64,
  utf8Length,
} from './postcard.js';

/** Bytes of the largest message that a gateway sends. */
export const GATEWAY_MESSAGE_BYTES = 65_536;
/** Cursors in one message, and in all messages of one resume. */
export const CURSORS = 500;
export const CURSORS_IN_ALL = 20_000;
export const TOKEN_BYTES = 18_432;
export const AGENT_BYTES = 64;
/** Other gateways in a welcome, and bytes of each URL. */
export const GATEWAYS = 16;
export const GATEWAY_URL_BYTES = 256;

/** The path of both transports, and the subprotocol of the WebSocket. */
export const PATH = '/v1/connect';
export const SUBPROTOCOL = 'signalbox.v1.postcard';
/** The port of a gateway whose URL names none. */
export const DEFAULT_PORT = 4433;

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether a text is a connection's id, in lower case. */
export function isConnectionId(value: string): boolean {
  return ID.test(value);
}

const id: Codec<string> = {
  write(out, value) {
    const digits = value.replaceAll('-', '');
    for (let at = 0; at < digits.length; at += 2) out.byte(parseInt(digits.slice(at, at + 2), 16));
  },
  read(from) {
    const digits = Array.from(from.bytes(16), (byte) => byte.toString(16).padStart(2, '0')).join('');
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  },
};

/** The source of a sequence of signals: a connection's id, or the servers of a gateway. */
export type Sender = string | { server: string };

/** A sender as the key of a map. */
export function senderKey(from: Sender): string {
  return typeof from === 'string' ? from : `server ${from.server}`;
}

const GATEWAY_NAME = /^[A-Za-z0-9._-]{1,64}$/;
const senderKind = enumeration('connection', 'server');

const sender: Codec<Sender> = {
  write(out, value) {
    if (typeof value === 'string') {
      senderKind.write(out, 'connection');
      id.write(out, value);
    } else {
      senderKind.write(out, 'server');
      text.write(out, value.server);
    }
  },
  read(from) {
    if (senderKind.read(from) === 'connection') return id.read(from);
    const server = text.read(from);
    if (!GATEWAY_NAME.test(server)) throw new Malformed('a sender has no valid gateway name');
    return { server };
  },
};

/** A list of texts that is malformed beyond these limits. */
function texts(most: number, bytesEach: number): Codec<string[]> {
  const all = list(text, 1);
  return {
    write: all.write,
    read(from) {
      const values = all.read(from);
      if (values.length > most || values.some((it) => utf8Length(it) > bytesEach)) {
        throw new Malformed(`more than ${most} texts, or one of more than ${bytesEach} bytes`);
      }
      return values;
    },
  };
}

const role = enumeration('subscriber', 'publisher', 'moderator', 'publisheronly');
const streams = enumeration('perSender', 'single');

export const closeReason = openSet(
  0,
  'clientDisconnected',
  'forceDisconnected',
  'networkDisconnected',
  'shuttingDown',
  'slowConsumer',
  'helloTimeout',
  'protocolError',
  'frameTooLarge',
  'invalidToken',
  'tokenExpired',
  'wrongProject',
  'connectionLimit',
  'internalError',
  'superseded',
  'invalidTicket',
);
const disconnectReason = openSet(0, 'clientDisconnected', 'forceDisconnected', 'networkDisconnected');
const errorCode = openSet(
  1,
  'invalidType',
  'typeTooLong',
  'dataTooLong',
  'notFound',
  'forbidden',
  'rateLimited',
  'unsupported',
);

/** What a token allows its bearer to do. */
export type Role = Value<typeof role>;
/** How a client receives signals over WebTransport. */
export type Streams = Value<typeof streams>;
/** Why a gateway ended a link, or refused one. `unknown`: a reason of a newer gateway. */
export type CloseReason = Value<typeof closeReason>;
/** Why another connection has left the session. */
export type DisconnectReason = Value<typeof disconnectReason>;
/** Why a gateway rejected a signal or a command. `unknown`: a code of a newer gateway. */
export type ErrorCode = Value<typeof errorCode>;

const connection = struct({ id, createdAt: u64, data: text });
const cursor = struct({ from: sender, seq: u64 });
const lost = struct({ from: sender, after: u64, until: u64 });
const ticket = struct({ ticket: text, windowMs: u32 });
const limits = struct({ typeBytes: u32, dataBytes: u32, signalsPerSecond: u32, idleTimeoutMs: u32 });
const receivedSignal = { seq: u64, type: option(text), data: option(text) };

export type Cursor = Value<typeof cursor>;
export type TicketFields = Value<typeof ticket>;
export type WireLost = Value<typeof lost>;
export type WireConnection = Value<typeof connection>;
export type WireLimits = Value<typeof limits>;

/** Messages of a client. */
export const clientMessages = messages({
  hello: struct({ token: text, features: list(text, 1), streams, agent: option(text) }),
  signal: struct({ to: option(id), type: option(text), data: option(text) }),
  forceDisconnect: struct({ id }),
  goodbye: struct({ signals: u64 }),
  ticketStored: struct({}),
  resume: struct({
    ticket: text,
    attempt: u32,
    streams,
    events: u64,
    accepted: u64,
    cursors: list(cursor, 3),
    more: bool,
    agent: option(text),
  }),
  cursors: struct({ cursors: list(cursor, 3), more: bool }),
  heartbeat: struct({}),
});

/** Messages of a gateway, on the control stream and on a WebSocket. */
export const gatewayMessages = messages({
  welcome: struct({
    connection,
    session: text,
    role,
    limits,
    features: list(text, 1),
    present: u32,
    gateways: texts(GATEWAYS, GATEWAY_URL_BYTES),
  }),
  present: struct({ connections: list(connection, 18) }),
  connectionCreated: connection,
  connectionDestroyed: struct({ id, reason: disconnectReason, lastSeq: u64 }),
  signal: struct({ from: sender, ...receivedSignal }),
  error: struct({ signal: option(u64), code: errorCode, message: text }),
  bye: struct({ reason: closeReason, message: text, streams: u64 }),
  ticket,
  resumed: struct({ ticket, signals: u64, missed: u64 }),
  gap: struct({ lost: list(lost, 4), presence: bool, present: u32 }),
  accepted: struct({ signals: u64 }),
  goAway: struct({ withinMs: u32 }),
  heartbeat: struct({}),
});

/** The header of a client's stream of signals. */
export const clientStream = messages({ signals: struct({}) });
/** The header of a gateway's stream. */
export const gatewayStream = messages({ sender: struct({ from: sender, after: u64 }) });
/** Messages on a sender's stream. */
export const senderMessages = messages({
  signal: struct(receivedSignal),
  sender: struct({ from: sender, after: u64 }),
});

type MessageIn<C> = C extends { encode(message: infer M): unknown } ? M : never;
export type ClientMessage = MessageIn<typeof clientMessages>;
export type GatewayMessage = MessageIn<typeof gatewayMessages>;
export type Welcome = Extract<GatewayMessage, { kind: 'welcome' }>;
