import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SignalError, type SignalErrorCode } from '../../src/error.js';
import type { OpenTokError } from '../../src/opentok/error.js';
import type { ExceptionEvent, SignalEvent } from '../../src/opentok/events.js';
import { OpenTok } from '../../src/opentok/ot.js';
import { ALICE, BOB, FakeSession, SESSION, connectFailure, fakeConnect, settled } from './fake.js';

async function connected(core = new FakeSession()) {
  const OT = new OpenTok(fakeConnect(core).connect);
  OT.setGateway('https://signal.example.com');
  const session = OT.initSession('12345678', SESSION);
  await session.connect('token');
  await settled();
  core.fire('connectionCreated', { connection: BOB });
  return { OT, session, core };
}

function bob(session: { connections: { get(id: string): object | undefined } }): never {
  return session.connections.get(BOB.id) as never;
}

test('signal calls back with null, or resolves', async () => {
  const { session, core } = await connected();
  const outcomes: unknown[][] = [];
  assert.equal(session.signal({ type: 'chat', data: 'hello' }, (...args) => outcomes.push(args)), undefined);
  await settled();
  assert.deepEqual(outcomes, [[null]]);
  assert.equal(await session.signal({}), undefined);
  assert.deepEqual(core.calls, [{ type: 'chat', data: 'hello' }, {}]);
});

test('a signal goes to a connection, a connection id, or everyone', async () => {
  const { session, core } = await connected();
  await session.signal({ to: bob(session) });
  await session.signal({ to: BOB.id });
  await session.signal({ to: session, retryAfterReconnect: false });
  await session.signal({ to: undefined, retryAfterReconnect: true });
  assert.deepEqual(core.calls, [
    { to: BOB.id },
    { to: BOB.id },
    { retryAfterReconnect: false },
    { retryAfterReconnect: true },
  ]);
});

const INVALID: [what: string, parameter: unknown][] = [
  ['no object', 'hello'],
  ['nothing', undefined],
  ['null', null],
  ['an empty type', { type: '' }],
  ['a type that is no string', { type: 1 }],
  ['data that is null', { data: null }],
  ['data that is an object', { data: { text: 'hello' } }],
  ['a recipient that is null', { to: null }],
  ['a recipient that is no connection', { to: {} }],
];

for (const [what, parameter] of INVALID) {
  test(`signal refuses ${what}`, async () => {
    const { session, core } = await connected();
    const outcomes: OpenTokError[] = [];
    session.signal(parameter as never, (error) => outcomes.push(error as OpenTokError));
    await settled();
    assert.equal(outcomes.length, 1);
    assert.deepEqual([outcomes[0]?.name, outcomes[0]?.code], ['OT_INVALID_PARAMETER', 400]);
    assert.equal(outcomes[0]?.signal, parameter);
    assert.deepEqual(core.calls, []);
  });
}

const REFUSED: [code: SignalErrorCode, name: string, number: number][] = [
  ['invalid', 'OT_INVALID_PARAMETER', 400],
  ['invalidType', 'OT_INVALID_PARAMETER', 400],
  ['forbidden', 'OT_PERMISSION_DENIED', 403],
  ['notFound', 'OT_NOT_FOUND', 404],
  ['typeTooLong', 'OT_INVALID_PARAMETER', 413],
  ['dataTooLong', 'OT_INVALID_PARAMETER', 413],
  ['rateLimited', 'OT_RATE_LIMIT_EXCEEDED', 429],
  ['queueFull', 'OT_RATE_LIMIT_EXCEEDED', 429],
  ['notSent', 'OT_NOT_CONNECTED', 500],
  ['disconnected', 'OT_NOT_CONNECTED', 500],
  ['unknown', 'OT_UNEXPECTED_SERVER_RESPONSE', 2001],
];

for (const [code, name, number] of REFUSED) {
  test(`signal fails with ${name} ${number} for ${code}`, async () => {
    const { session, core } = await connected();
    core.failure = new SignalError(code, 'why it failed');
    const signal = { data: 'hello' };
    const outcomes: OpenTokError[] = [];
    session.signal(signal, (error) => outcomes.push(error as OpenTokError));
    await settled();
    assert.equal(outcomes.length, 1);
    const error = outcomes[0];
    assert.deepEqual([error?.name, error?.code, error?.message], [name, number, 'why it failed']);
    assert.equal(error?.signal, signal);
    await assert.rejects(session.signal(signal), { name, code: number });
  });
}

test('signal and forceDisconnect without a session', async () => {
  const session = new OpenTok(fakeConnect().connect).initSession('12345678', SESSION);
  await assert.rejects(session.signal({}), { name: 'OT_NOT_CONNECTED', code: 500 });
  await assert.rejects(session.forceDisconnect(BOB.id), { name: 'OT_NOT_CONNECTED', code: 1010 });
  const left = (await connected()).session;
  await left.disconnect();
  await assert.rejects(left.signal({}), { name: 'OT_NOT_CONNECTED', code: 500 });
  await assert.rejects(left.forceDisconnect(BOB.id), { name: 'OT_NOT_CONNECTED', code: 1010 });
});

test('a failure that the page ignores is no unhandled rejection', async (context) => {
  const unhandled = context.mock.fn();
  process.on('unhandledRejection', unhandled);
  context.after(() => process.off('unhandledRejection', unhandled));
  const OT = new OpenTok(fakeConnect(connectFailure('invalidToken', 'expired')).connect);
  OT.setGateway('https://signal.example.com');
  const session = OT.initSession('12345678', SESSION);
  void session.connect('token');
  void session.signal({});
  void session.forceDisconnect(BOB.id);
  await settled();
  await settled();
  assert.equal(unhandled.mock.callCount(), 0);
});

test('forceDisconnect by connection and by id', async () => {
  const { session, core } = await connected(new FakeSession(SESSION, 'moderator'));
  const outcomes: unknown[][] = [];
  session.forceDisconnect(bob(session), (...args) => outcomes.push(args));
  await settled();
  assert.deepEqual(outcomes, [[]]);
  await session.forceDisconnect(BOB.id);
  assert.deepEqual(core.calls, [BOB.id, BOB.id]);
});

const FORCE_DISCONNECT: [code: SignalErrorCode, name: string, number: number][] = [
  ['invalid', 'OT_INVALID_PARAMETER', 1011],
  ['forbidden', 'OT_PERMISSION_DENIED', 1520],
  ['notFound', 'OT_INVALID_PARAMETER', 1011],
  ['queueFull', 'OT_RATE_LIMIT_EXCEEDED', 429],
  ['notSent', 'OT_NOT_CONNECTED', 1010],
  ['disconnected', 'OT_NOT_CONNECTED', 1010],
  ['unknown', 'OT_UNEXPECTED_SERVER_RESPONSE', 2001],
];

for (const [code, name, number] of FORCE_DISCONNECT) {
  test(`forceDisconnect fails with ${name} for ${code}`, async () => {
    const { OT, session, core } = await connected();
    const exceptions: ExceptionEvent[] = [];
    OT.on('exception', (event: ExceptionEvent) => exceptions.push(event));
    core.failure = new SignalError(code, 'why it failed');
    const outcomes: OpenTokError[] = [];
    session.forceDisconnect(BOB.id, (error) => outcomes.push(error as OpenTokError));
    await settled();
    assert.deepEqual(outcomes.map((error) => [error.name, error.code]), [[name, number]]);
    assert.deepEqual(exceptions.map((event) => event.code), number >= 1000 && number < 2000 ? [number] : []);
  });
}

test('forceDisconnect refuses what is no connection', async () => {
  const { session, core } = await connected();
  for (const wrong of [undefined, null, '', {}, 7]) {
    const refused = session.forceDisconnect(wrong as never);
    await assert.rejects(refused, { name: 'OT_INVALID_PARAMETER', code: 1011 });
  }
  assert.deepEqual(core.calls, []);
});

test('a signal with a type is dispatched as signal and signal:TYPE', async () => {
  const { session, core } = await connected();
  const events: [string, SignalEvent][] = [];
  session.on({
    signal: (event: SignalEvent) => events.push(['signal', event]),
    'signal:chat': (event: SignalEvent) => events.push(['signal:chat', event]),
    'signal:other': (event: SignalEvent) => events.push(['signal:other', event]),
  });
  core.fire('signal', { from: { connectionId: BOB.id, connection: BOB }, type: 'chat', data: 'hello' });
  assert.deepEqual(events.map(([name]) => name), ['signal', 'signal:chat']);
  const [first, second] = events.map(([, event]) => event);
  assert.equal(first, second);
  assert.deepEqual([first?.type, first?.data, first?.target], ['signal:chat', 'hello', session]);
  assert.equal(first?.from, bob(session));
  assert.equal(first?.cancelable, false);
  first?.preventDefault();
  assert.equal(first?.isDefaultPrevented(), false);
});

test('signals without a type, of a server, of oneself, and of somebody who is not known', async () => {
  const { session, core } = await connected();
  const events: SignalEvent[] = [];
  session.on('signal', (event: SignalEvent) => events.push(event));
  const nobody = 'ffffffff-0000-4000-8000-000000000000';
  const gone = { id: 'eeeeeeee-0000-4000-8000-000000000000', createdAt: 3000, data: 'gone' };
  core.fire('signal', { from: { server: 'gw' }, type: undefined, data: undefined });
  core.fire('signal', { from: { connectionId: ALICE.id, connection: ALICE }, type: undefined, data: 'mine' });
  core.fire('signal', { from: { connectionId: nobody, connection: undefined }, type: undefined, data: 'x' });
  core.fire('signal', { from: { connectionId: gone.id, connection: gone }, type: undefined, data: 'x' });
  const [server, own, unknown, known] = events;
  assert.deepEqual([server?.type, server?.data, server?.from], ['signal', undefined, null]);
  assert.equal(own?.from, session.connection);
  assert.deepEqual(
    { ...unknown?.from },
    { connectionId: nobody, creationTime: 0, data: '' },
  );
  assert.deepEqual({ ...known?.from }, { connectionId: gone.id, creationTime: 3000, data: 'gone' });
});
