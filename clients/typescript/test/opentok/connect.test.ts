import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { ConnectErrorCode } from '../../src/error.js';
import type { OpenTokError } from '../../src/opentok/error.js';
import type { ExceptionEvent, OpenTokEvent } from '../../src/opentok/events.js';
import { OpenTok } from '../../src/opentok/ot.js';
import type { CloseReason } from '../../src/protocol/messages.js';
import type { Session } from '../../src/opentok/session.js';
import { ALICE, BOB, FakeSession, SESSION, connectFailure, fakeConnect, settled } from './fake.js';

const EVENTS =
  'sessionConnected connectionCreated connectionDestroyed signal sessionReconnecting sessionReconnected sessionDisconnected';

function initialized(...outcomes: (FakeSession | Error)[]) {
  const { connect, calls } = fakeConnect(...outcomes);
  const OT = new OpenTok(connect);
  OT.setGateway('https://signal.example.com');
  const session = OT.initSession('12345678', SESSION);
  const events: OpenTokEvent[] = [];
  session.on(EVENTS, (event: OpenTokEvent) => events.push(event));
  return { OT, session, calls, events, types: () => events.map((event) => event.type) };
}

test('connect calls back without arguments, then dispatches sessionConnected and connectionCreated', async () => {
  const { session, events, calls } = initialized(new FakeSession());
  const order: unknown[] = [];
  session.on('sessionConnected connectionCreated', (event: OpenTokEvent) => order.push(event.type));
  assert.equal(session.connect('token', (...args) => order.push(args)), undefined);
  assert.equal(session.currentState, 'connecting');
  assert.equal(session.isConnected(), false);
  assert.deepEqual([session.connection], [undefined]);
  await settled();

  assert.deepEqual(order, [[], 'sessionConnected', 'connectionCreated']);
  assert.equal(session.currentState, 'connected');
  assert.equal(session.isConnected(), true);
  assert.deepEqual({ ...session.connection }, { connectionId: ALICE.id, creationTime: 1000, data: 'alice' });
  const [connected, created] = events as [OpenTokEvent & { connections: []; streams: [] }, OpenTokEvent & { connection: object }];
  assert.equal(connected.target, session);
  assert.deepEqual([connected.connections, connected.streams], [[], []]);
  assert.equal(created.connection, session.connection);
  assert.equal(calls[0]?.url, 'https://signal.example.com');
  assert.equal(calls[0]?.token, 'token');
  assert.equal(calls[0]?.options.presence, true);
  assert.equal(calls[0]?.options.rejoin, false);
});

test('a page that awaits connect can register handlers then', async () => {
  const { session } = initialized(new FakeSession());
  await session.connect('token');
  const types: string[] = [];
  session.on(EVENTS, (event: OpenTokEvent) => types.push(event.type));
  await settled();
  assert.deepEqual(types, ['sessionConnected', 'connectionCreated']);
});

test('connectionEventsSuppressed leaves presence out, and options of the gateway are passed on', async () => {
  const { connect, calls } = fakeConnect(new FakeSession());
  const OT = new OpenTok(connect);
  OT.setGateway(['https://a.example', 'https://b.example'], { transports: ['websocket'] });
  await OT.initSession('12345678', SESSION, { connectionEventsSuppressed: true }).connect('token');
  assert.deepEqual(calls[0]?.url, ['https://a.example', 'https://b.example']);
  assert.equal(calls[0]?.options.presence, false);
  assert.deepEqual(calls[0]?.options.transports, ['websocket']);
});

const FAILURES: [code: ConnectErrorCode | CloseReason, name: string, number: number, title: string | undefined][] = [
  ['invalidToken', 'OT_AUTHENTICATION_ERROR', 1004, 'Authentication error'],
  ['tokenExpired', 'OT_AUTHENTICATION_ERROR', 1004, 'Authentication error'],
  ['wrongProject', 'OT_AUTHENTICATION_ERROR', 1004, 'Authentication error'],
  ['connectionLimit', 'OT_CONNECTION_LIMIT_EXCEEDED', 1027, undefined],
  ['url', 'OT_INVALID_PARAMETER', 1011, 'Invalid Parameter'],
  ['internalError', 'OT_UNEXPECTED_SERVER_RESPONSE', 2001, undefined],
  ['protocol', 'OT_UNEXPECTED_SERVER_RESPONSE', 2001, undefined],
  ['options', 'OT_INVALID_PARAMETER', 1011, 'Invalid Parameter'],
  ['shuttingDown', 'OT_CONNECT_FAILED', 1006, 'Connect Failed'],
  ['timeout', 'OT_CONNECT_FAILED', 1006, 'Connect Failed'],
  ['unreachable', 'OT_CONNECT_FAILED', 1006, 'Connect Failed'],
];

for (const [code, name, number, title] of FAILURES) {
  test(`connect fails with ${name} for ${code}`, async () => {
    const cause = connectFailure(code, 'why it failed');
    const { OT, session, events } = initialized(cause, cause);
    const exceptions: ExceptionEvent[] = [];
    OT.on('exception', (event: ExceptionEvent) => exceptions.push(event));
    const outcomes: unknown[][] = [];
    session.connect('token', (...args) => outcomes.push(args));
    await settled();

    assert.equal(outcomes.length, 1);
    const error = outcomes[0]?.[0] as OpenTokError;
    assert.ok(error instanceof Error);
    assert.deepEqual([error.name, error.code, error.message], [name, number, 'why it failed']);
    assert.equal(error.cause, cause);
    assert.equal(session.currentState, 'disconnected');
    assert.deepEqual(events, []);
    const expected = title === undefined ? [] : [[number, title, 'why it failed', session]];
    assert.deepEqual(
      exceptions.map((event) => [event.code, event.title, event.message, event.target]),
      expected,
    );
    await assert.rejects(session.connect('token'), { name, code: number });
  });
}

test('connect fails without a network with OT_NOT_CONNECTED', async (context) => {
  const { session } = initialized(connectFailure('unreachable', 'nobody answers'));
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: { onLine: false }, configurable: true });
  context.after(() => {
    if (before === undefined) delete (globalThis as { navigator?: unknown }).navigator;
    else Object.defineProperty(globalThis, 'navigator', before);
  });
  await assert.rejects(session.connect('token'), { name: 'OT_NOT_CONNECTED', code: 1006 });
});

test('parameters are checked before anything is sent', async () => {
  const { OT, session, calls } = initialized(new FakeSession());
  const token = session.connect(undefined as unknown as string);
  await assert.rejects(token, { name: 'OT_INVALID_PARAMETER', code: 1011 });
  const nowhere = OT.initSession('12345678', undefined as unknown as string);
  await assert.rejects(nowhere.connect('token'), { name: 'OT_INVALID_SESSION_ID', code: 1005 });
  const unset = new OpenTok(fakeConnect().connect).initSession('12345678', SESSION);
  await assert.rejects(unset.connect('token'), { name: 'OT_INVALID_PARAMETER', message: /OT\.setGateway/ });
  assert.deepEqual(calls, []);
  await session.connect('token');
});

test('a token for another session is an authentication error, and the client leaves', async () => {
  const other = new FakeSession('1_other');
  const { session } = initialized(other);
  await assert.rejects(session.connect('token'), { name: 'OT_AUTHENTICATION_ERROR', code: 1004 });
  assert.deepEqual(other.calls, ['disconnect']);
  assert.equal(session.currentState, 'disconnected');
});

test('a second connect has the outcome of the first, and succeeds once connected', async () => {
  const { session, calls, types } = initialized(new FakeSession());
  const outcomes: unknown[][] = [];
  session.connect('token', (...args) => outcomes.push(args));
  session.connect('token', (...args) => outcomes.push(args));
  await settled();
  await session.connect('token');
  assert.deepEqual(outcomes, [[], []]);
  assert.equal(calls.length, 1);
  assert.deepEqual(types(), ['sessionConnected', 'connectionCreated']);
});

test('disconnect dispatches sessionDisconnected once, and then the session can be joined again', async () => {
  const first = new FakeSession();
  const { session, types, calls } = initialized(first, new FakeSession());
  await session.connect('token');
  await settled();
  await Promise.all([session.disconnect(), session.disconnect()]);
  assert.deepEqual(first.calls, ['disconnect']);
  assert.equal(session.currentState, 'disconnected');
  assert.equal(session.connection, undefined);
  assert.equal(session.connections.length(), 0);
  assert.deepEqual({ ...session.capabilities }, {});
  await session.disconnect();

  await session.connect('token');
  await settled();
  assert.deepEqual(types().slice(2), ['sessionDisconnected', 'sessionConnected', 'connectionCreated']);
  assert.equal(calls.length, 2);
});

test('disconnect in the callback of connect', async () => {
  const { session, types } = initialized(new FakeSession());
  let left: Promise<void> | undefined;
  session.connect('token', () => (left = session.disconnect()));
  await settled();
  await left;
  assert.equal(session.currentState, 'disconnected');
  assert.equal(types().at(-1), 'sessionDisconnected');
});

test('connect while the client leaves waits, and disconnect ends that wait', async () => {
  const slow = new FakeSession();
  slow.disconnect = async () => undefined;
  const { session, calls } = initialized(slow, new FakeSession());
  await session.connect('token');
  await settled();
  const left = session.disconnect();
  const joining = session.connect('token');
  await settled();
  assert.equal(session.currentState, 'disconnecting');
  assert.equal(calls.length, 1);

  const cancelled = session.disconnect();
  slow.fire('sessionDisconnected', { reason: 'clientDisconnected', message: '' });
  await Promise.all([left, cancelled]);
  await assert.rejects(joining, { name: 'OT_CONNECT_FAILED', code: 1006 });
  assert.equal(calls.length, 1);
  await session.connect('token');
  assert.equal(session.currentState, 'connected');
});

test('disconnect while the client connects', async () => {
  const { session, types } = initialized();
  let aborted: unknown;
  const connect = (_url: unknown, _token: string, { signal }: { signal?: AbortSignal }) =>
    new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => {
        aborted = signal.reason;
        reject(signal.reason);
      });
    });
  const OT = new OpenTok(connect);
  OT.setGateway('https://signal.example.com');
  const waiting = OT.initSession('12345678', SESSION);
  const outcomes: unknown[][] = [];
  waiting.connect('token', (...args) => outcomes.push(args));
  await waiting.disconnect();
  assert.equal(waiting.currentState, 'disconnected');
  assert.equal(outcomes.length, 1);
  assert.equal(outcomes[0]?.[0], aborted);
  assert.equal((aborted as OpenTokError).name, 'OT_CONNECT_FAILED');
  assert.deepEqual(types(), []);
  await session.disconnect();
});

test('a client that was let in after disconnect leaves', async () => {
  const late = new FakeSession();
  let letIn: (() => void) | undefined;
  const OT = new OpenTok(
    () => new Promise((resolve) => (letIn = () => resolve(late as never))),
  );
  OT.setGateway('https://signal.example.com');
  const session = OT.initSession('12345678', SESSION);
  const joining = session.connect('token');
  const left = session.disconnect();
  letIn?.();
  await left;
  await assert.rejects(joining, { name: 'OT_CONNECT_FAILED' });
  assert.deepEqual(late.calls, ['disconnect']);
});

for (const role of ['subscriber', 'publisher', 'moderator', 'publisheronly'] as const) {
  test(`capabilities of a ${role}`, async () => {
    const { session } = initialized(new FakeSession(SESSION, role));
    assert.equal(session.capabilities.forceDisconnect, undefined);
    await session.connect('token');
    assert.deepEqual(
      { ...session.capabilities },
      {
        forceDisconnect: role === 'moderator' ? 1 : 0,
        forceUnpublish: 0,
        forceMute: 0,
        publish: 0,
        subscribe: 0,
      },
    );
  });
}

test('presence: events, session.connections, and one object per connection', async () => {
  const core = new FakeSession();
  const { session, events } = initialized(core);
  await session.connect('token');
  await settled();
  core.fire('connectionCreated', { connection: BOB });
  const created = events.at(-1) as OpenTokEvent & { connection: object };
  assert.equal(created.type, 'connectionCreated');
  const bob = session.connections.get(BOB.id);
  assert.equal(created.connection, bob);
  assert.deepEqual({ ...bob }, { connectionId: BOB.id, creationTime: 2000, data: 'bob' });
  assert.equal(session.connections.length(), 2);
  assert.deepEqual([...session.connections], [session.connection, bob]);
  assert.equal(session.connections.find(({ data }) => data === 'bob'), bob);
  assert.deepEqual(session.connections.filter(({ data }) => data === 'bob'), [bob]);
  assert.deepEqual(session.connections.map(({ data }) => data), ['alice', 'bob']);
  const visited: unknown[] = [];
  session.connections.forEach((connection) => visited.push(connection));
  assert.deepEqual(visited, [session.connection, bob]);

  core.fire('connectionDestroyed', { connection: BOB, reason: 'networkDisconnected' });
  const destroyed = events.at(-1) as OpenTokEvent & { connection: object; reason: string };
  assert.equal(destroyed.type, 'connectionDestroyed');
  assert.equal(destroyed.connection, bob);
  assert.equal(destroyed.reason, 'networkDisconnected');
  assert.deepEqual([...session.connections], [session.connection]);
});

test('reconnecting: events and states', async () => {
  const core = new FakeSession();
  const { session, events } = initialized(core);
  await session.connect('token');
  await settled();
  core.fire('sessionReconnecting', { reason: 'networkDisconnected', message: '' });
  assert.equal(session.currentState, 'reconnecting');
  assert.equal(session.isConnected(), false);
  assert.notEqual(session.connection, undefined);
  const gap = { lost: [], presence: false };
  core.fire('sessionReconnected', { missed: 0, gap });
  assert.equal(session.currentState, 'connected');
  const [reconnecting, reconnected] = events.slice(2) as [OpenTokEvent, OpenTokEvent & { gap: unknown }];
  assert.equal(reconnecting.type, 'sessionReconnecting');
  assert.equal(reconnected.type, 'sessionReconnected');
  assert.equal(reconnected.gap, gap);
});

const REASONS: [reason: CloseReason, documented: string][] = [
  ['clientDisconnected', 'clientDisconnected'],
  ['forceDisconnected', 'forceDisconnected'],
  ['networkDisconnected', 'networkDisconnected'],
  ['slowConsumer', 'networkDisconnected'],
  ['shuttingDown', 'networkDisconnected'],
];

for (const [reason, documented] of REASONS) {
  test(`sessionDisconnected for ${reason}`, async () => {
    const core = new FakeSession();
    const { session, events } = initialized(core);
    await session.connect('token');
    await settled();
    core.fire('sessionDisconnected', { reason, message: '' });
    const event = events.at(-1) as OpenTokEvent & { reason: string; closeReason: string };
    assert.deepEqual([event.type, event.reason, event.closeReason], ['sessionDisconnected', documented, reason]);
    assert.equal(session.currentState, 'disconnected');
    assert.equal(event.cancelable, true);
    assert.equal(event.isDefaultPrevented(), false);
    event.preventDefault();
    assert.equal(event.isDefaultPrevented(), true);
  });
}

test('an exception in a callback or handler reaches nobody else', async (context) => {
  const reported = context.mock.method(console, 'error', () => undefined);
  const core = new FakeSession();
  const { connect } = fakeConnect(core);
  const OT = new OpenTok(connect);
  OT.setGateway('https://signal.example.com');
  const session: Session = OT.initSession('12345678', SESSION);
  const types: string[] = [];
  let calls = 0;
  session.on(EVENTS, () => {
    throw new Error('handler');
  });
  session.on(EVENTS, (event: OpenTokEvent) => types.push(event.type));
  session.connect('token', () => {
    calls += 1;
    throw new Error('callback');
  });
  await settled();
  core.fire('signal', { from: { server: 'gw' }, type: undefined, data: 'x' });
  session.signal({ data: 'x' }, () => {
    calls += 1;
    throw new Error('callback');
  });
  await settled();
  assert.equal(calls, 2);
  assert.deepEqual(types, ['sessionConnected', 'connectionCreated', 'signal']);
  assert.equal(session.currentState, 'connected');
  assert.equal(reported.mock.callCount(), 5);
});
