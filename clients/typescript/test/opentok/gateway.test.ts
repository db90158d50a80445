/** The adapter over the SDK, against a gateway. */

import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { connect } from '../../src/index.js';
import type { OpenTokError } from '../../src/opentok/error.js';
import type { OpenTokEvent, SessionReconnectedEvent, SignalEvent } from '../../src/opentok/events.js';
import { OpenTok } from '../../src/opentok/ot.js';
import { type Cleanup, type Gateway, startGateway } from '../gateway.js';
import { openPage } from './page.js';
import { Project, type TokenOptions } from './project.js';
import { Proxy } from './proxy.js';
import { Seen } from './seen.js';

let gateway: Gateway;
let project: Project;
const cleanups: (() => unknown)[] = [];
before(async () => {
  gateway = await startGateway({ after: (clean) => cleanups.push(clean) });
  project = new Project(gateway);
});
after(async () => {
  for (const clean of cleanups) await clean();
});

const DEADLINE = { timeout: 60_000 };

function opentok(url: string = gateway.url): OpenTok {
  const OT = new OpenTok(connect);
  OT.setGateway(url);
  return OT;
}

function port(url: string): number {
  return Number(new URL(url).port);
}

function page(context: Cleanup, sessionId: string, data: string, options: TokenOptions = {}, url?: string) {
  const seen = new Seen<string>();
  const token = project.token(sessionId, { data, ...options });
  const opened = openPage(opentok(url), { apiKey: project.key, sessionId, token }, (line) => seen.add(line));
  context.after(() => opened.leave());
  return { ...opened, seen, shows: (line: string) => seen.first((shown) => shown === line) };
}

test('the tutorial: signals to all and to one, by type, own and others', DEADLINE, async (context) => {
  const session = project.newSession();
  const alice = page(context, session, 'alice');
  await alice.shows('I am here');
  assert.deepEqual(alice.seen.all, ['connected', 'I am here']);
  const bob = page(context, session, 'bob');
  const carol = page(context, session, 'carol');
  await Promise.all([alice.shows('bob joined'), alice.shows('carol joined'), bob.shows('alice joined')]);
  await bob.shows('carol joined');

  alice.sendToAll('hello');
  alice.sendTo('bob', 'just you');
  alice.sendWithoutType('plain');
  await Promise.all([bob.shows('no type: plain'), carol.shows('no type: plain'), alice.shows('no type: plain')]);
  const signals = (shown: string[]) => shown.filter((line) => /^(alice|me|no type):/.test(line));
  assert.deepEqual(signals(bob.seen.all), ['alice: hello', 'alice: just you', 'no type: plain']);
  assert.deepEqual(signals(carol.seen.all), ['alice: hello', 'no type: plain']);
  assert.deepEqual(signals(alice.seen.all), ['me: hello', 'no type: plain']);
  await alice.seen.until(() => alice.seen.all.filter((line) => line === 'sent').length === 3);

  await project.signal(session, { type: 'msg', data: 'news' });
  await Promise.all([alice.shows('server: news'), bob.shows('server: news')]);

  await bob.leave();
  assert.equal(bob.seen.all.at(-1), 'disconnected: clientDisconnected');
  await alice.shows('bob left: clientDisconnected');
  alice.sendTo('bob', 'too late');
  await alice.shows('cannot send: OT_NOT_FOUND');
  bob.sendToAll('too late');
  await bob.shows('cannot send: OT_NOT_CONNECTED');
});

test('a moderator removes a client, and others may not', DEADLINE, async (context) => {
  const session = project.newSession();
  const moderator = page(context, session, 'moderator', { role: 'moderator' });
  const alice = page(context, session, 'alice');
  const bob = page(context, session, 'bob');
  await Promise.all([moderator.shows('alice joined'), alice.shows('bob joined')]);
  assert.equal(moderator.session.capabilities.forceDisconnect, 1);
  assert.equal(alice.session.capabilities.forceDisconnect, 0);
  alice.remove('bob');
  await alice.shows('cannot remove bob: OT_PERMISSION_DENIED');
  moderator.remove('alice');
  await Promise.all([
    moderator.shows('removed alice'),
    alice.shows('disconnected: forceDisconnected'),
    bob.shows('alice left: forceDisconnected'),
  ]);
  moderator.remove('alice');
  await moderator.shows('cannot remove alice: OT_INVALID_PARAMETER');
});

test('a lost link: events, the same connection, and signals of both sides', DEADLINE, async (context) => {
  const session = project.newSession();
  const proxy = await Proxy.to(context, port(gateway.url));
  const alice = page(context, session, 'alice', {}, proxy.url);
  const bob = page(context, session, 'bob');
  await Promise.all([alice.shows('bob joined'), bob.shows('alice joined')]);
  const { connectionId } = alice.session.connection ?? {};

  const reconnected = new Seen<SessionReconnectedEvent>();
  alice.session.once('sessionReconnected', (event: SessionReconnectedEvent) => reconnected.add(event));
  proxy.cut();
  await alice.shows('reconnecting');
  assert.equal(alice.session.currentState, 'reconnecting');
  alice.sendToAll('queued');
  alice.sendNow('not queued');
  bob.sendToAll('meanwhile');
  await Promise.all([alice.shows('reconnected'), alice.shows('bob: meanwhile'), bob.shows('alice: queued')]);
  await alice.shows('cannot send: OT_NOT_CONNECTED');
  assert.equal((await reconnected.first(() => true)).gap, undefined);
  assert.equal(alice.session.connection?.connectionId, connectionId);
  assert.equal(alice.session.currentState, 'connected');
  assert.ok(!bob.seen.all.includes('alice: not queued'));
  assert.ok(!bob.seen.all.some((line) => line.startsWith('alice left')));
});

test('a gateway that has forgotten the connection ends the session, which can be joined again', DEADLINE, async (context) => {
  // Two gateways of one project, of which the second knows nothing of the first one's connections.
  const directory = mkdtempSync(join(tmpdir(), 'signalbox-'));
  const first = await startGateway(context, {}, { directory });
  const second = await startGateway(context, {}, { directory });
  const shared = new Project(first);
  const session = shared.newSession();
  const token = shared.token(session);
  const seen = new Seen<string>();
  const proxy = await Proxy.to(context, port(first.url));
  const joined = opentok(proxy.url).initSession(shared.key, session);
  joined.on('sessionReconnecting sessionDisconnected', (event: OpenTokEvent & { reason?: string }) =>
    seen.add(`${event.type} ${event.reason}`),
  );
  await joined.connect(token);
  proxy.redirect(port(second.url));
  await seen.first((line) => line === 'sessionDisconnected networkDisconnected');
  assert.equal(joined.currentState, 'disconnected');
  await joined.connect(token);
  assert.equal(joined.currentState, 'connected');
  await joined.disconnect();
});

test('connect: every error that a gateway can cause', DEADLINE, async () => {
  const session = project.newSession();
  const failing: [string, Promise<void>, Partial<OpenTokError>][] = [];
  const fails = (what: string, token: string, expected: Partial<OpenTokError>, OT = opentok(), id = session) =>
    failing.push([what, OT.initSession(project.key, id).connect(token), expected]);
  fails('no token', 'not a token', { name: 'OT_AUTHENTICATION_ERROR', code: 1004 });
  fails('expired', project.token(session, { expiresIn: -600 }), { name: 'OT_AUTHENTICATION_ERROR', code: 1004 });
  fails('other session', project.token(project.newSession()), { name: 'OT_AUTHENTICATION_ERROR', code: 1004 });
  fails('nobody listens', project.token(session), { name: 'OT_CONNECT_FAILED', code: 1006 }, opentok('http://127.0.0.1:9'));
  fails('no URL', project.token(session), { name: 'OT_INVALID_PARAMETER', code: 1011 }, opentok('signal.example.com'));
  fails('no session id', project.token(session), { name: 'OT_INVALID_SESSION_ID', code: 1005 }, opentok(), '');
  for (const [what, call, expected] of failing) await assert.rejects(call, expected, what);
});

test('a full session', DEADLINE, async (context) => {
  const small = await startGateway(context, { SIGNALBOX_LIMITS__CONNECTIONS_PER_SESSION: '1' });
  const owner = new Project(small);
  const session = owner.newSession();
  const OT = opentok(small.url);
  const first = OT.initSession(owner.key, session);
  await first.connect(owner.token(session));
  const second = OT.initSession(owner.key, session).connect(owner.token(session));
  await assert.rejects(second, { name: 'OT_CONNECTION_LIMIT_EXCEEDED', code: 1027 });
  await first.disconnect();
});

test('signal: every error that a gateway can cause', DEADLINE, async () => {
  const session = project.newSession();
  const sender = opentok().initSession(project.key, session);
  const subscriber = opentok().initSession(project.key, session);
  await sender.connect(project.token(session));
  await subscriber.connect(project.token(session, { role: 'subscriber' }));
  const cases: [object, Partial<OpenTokError>][] = [
    [{ type: 'a,b' }, { name: 'OT_INVALID_PARAMETER', code: 400 }],
    [{ type: 'x'.repeat(129) }, { name: 'OT_INVALID_PARAMETER', code: 413 }],
    [{ data: 'ä'.repeat(4097) }, { name: 'OT_INVALID_PARAMETER', code: 413 }],
    [{ to: 'not an id' }, { name: 'OT_INVALID_PARAMETER', code: 400 }],
    [{ to: '00000000-0000-4000-8000-000000000000' }, { name: 'OT_NOT_FOUND', code: 404 }],
  ];
  for (const [signal, expected] of cases) {
    await assert.rejects(sender.signal(signal), { ...expected, signal } as OpenTokError);
  }
  const forbidden = subscriber.signal({ data: 'x' });
  await assert.rejects(forbidden, { name: 'OT_PERMISSION_DENIED', code: 403 });
  await sender.signal({ type: 'x'.repeat(128), data: 'ä'.repeat(4096) });
  await Promise.all([sender.disconnect(), subscriber.disconnect()]);
});

test('too many signals', DEADLINE, async (context) => {
  const strict = await startGateway(context, { SIGNALBOX_LIMITS__SIGNALS_PER_SECOND_PER_CONNECTION: '1' });
  const owner = new Project(strict);
  const session = owner.newSession();
  const sender = opentok(strict.url).initSession(owner.key, session);
  await sender.connect(owner.token(session));
  const outcomes = await Promise.allSettled([1, 2, 3].map(() => sender.signal({})));
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  assert.ok(refused.length >= 1);
  for (const { reason } of refused) {
    assert.deepEqual([reason.name, reason.code], ['OT_RATE_LIMIT_EXCEEDED', 429]);
  }
  await sender.disconnect();
});

test('signals keep their order, and each callback is called once', DEADLINE, async (context) => {
  const reported = context.mock.method(console, 'error', () => undefined);
  const session = project.newSession();
  const sender = opentok().initSession(project.key, session);
  const receiver = opentok().initSession(project.key, session);
  const received = new Seen<string | undefined>();
  const finished = new Seen<number>();
  receiver.on('signal:n', (event: SignalEvent) => {
    received.add(event.data);
    throw new Error('a fault of the page');
  });
  await Promise.all([sender.connect(project.token(session)), receiver.connect(project.token(session))]);
  const numbers = Array.from({ length: 200 }, (_, number) => number);
  for (const number of numbers) {
    sender.signal({ type: 'n', data: String(number) }, (error) => {
      assert.equal(error, null);
      finished.add(number);
    });
  }
  await received.until(() => received.all.length === 200);
  await finished.until(() => finished.all.length === 200);
  await Promise.all([sender.disconnect(), receiver.disconnect()]);
  assert.deepEqual(received.all, numbers.map(String));
  assert.deepEqual(finished.all, numbers);
  assert.equal(reported.mock.callCount(), 200);
});

test('without events about connections', DEADLINE, async () => {
  const session = project.newSession();
  const quiet = opentok().initSession(project.key, session, { connectionEventsSuppressed: true });
  const seen = new Seen<OpenTokEvent>();
  quiet.on('connectionCreated connectionDestroyed signal', (event: OpenTokEvent) => seen.add(event));
  await quiet.connect(project.token(session));
  const other = opentok().initSession(project.key, session);
  await other.connect(project.token(session, { data: 'other' }));
  const { connectionId } = other.connection ?? {};
  await other.signal({ data: 'hello' });
  const signal = (await seen.first((event) => event.type === 'signal')) as SignalEvent;
  assert.equal(signal.from?.connectionId, connectionId);
  await Promise.all([quiet.disconnect(), other.disconnect()]);
  assert.deepEqual(seen.all.map((event) => event.type), ['connectionCreated', 'signal']);
});
