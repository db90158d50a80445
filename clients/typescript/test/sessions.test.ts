import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { type Session, type SessionEvent, connect } from '../src/index.js';
import { type Cleanup, type Gateway, startGateway } from './gateway.js';

let gateway: Gateway;
const cleanups: (() => unknown)[] = [];
before(async () => {
  gateway = await startGateway({ after: (fn) => cleanups.push(fn) });
});
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

const DEADLINE = { timeout: 30_000 };

/** Joins a session; leaves it with the test. */
async function join(
  context: Cleanup,
  { session, role, data }: { session?: string; role?: string; data?: string },
  options: Parameters<typeof connect>[2] = {},
): Promise<Session> {
  const token = gateway.token({ ...(session && { session }), ...(role && { role }), ...(data && { data }) });
  const joined = await connect(gateway.url, token, options);
  context.after(() => joined.disconnect());
  return joined;
}

test('two clients see each other and exchange signals', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, { session, data: 'name=alice' });
  assert.equal(alice.sessionId, session);
  assert.equal(alice.role, 'publisher');
  assert.equal(alice.transport, 'websocket');
  assert.equal(alice.state, 'connected');
  assert.equal(alice.connection.data, 'name=alice');
  assert.equal(alice.limits.dataBytes, 8192);
  const created = alice.once('connectionCreated');
  const bob = await join(context, { session, data: 'name=bob' });
  assert.equal((await created).connection.id, bob.connection.id);
  await bob.once('connectionCreated');
  assert.deepEqual(bob.connections, [alice.connection]);

  const atBob = bob.once('signal:chat');
  const atAlice = alice.once('signal');
  await alice.signal({ type: 'chat', data: 'grüße 🚦' });
  const { from, seq, type, data } = await atBob;
  assert.deepEqual({ seq, type, data }, { seq: 1, type: 'chat', data: 'grüße 🚦' });
  assert.deepEqual(from, { connectionId: alice.connection.id, connection: alice.connection });
  assert.equal((await atAlice).from.connection, alice.connection);

  const destroyed = alice.once('connectionDestroyed');
  await bob.disconnect();
  assert.equal(bob.state, 'disconnected');
  assert.deepEqual(await destroyed, {
    kind: 'connectionDestroyed',
    connection: bob.connection,
    reason: 'clientDisconnected',
  });
  assert.deepEqual(alice.connections, []);
});

test('a signal to one connection reaches that one alone', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const [alice, bob] = [await join(context, { session }), await join(context, { session })];
  const received: SessionEvent[] = [];
  alice.on('signal', (event) => received.push(event));
  const atBob = bob.once('signal');
  await alice.signal({ to: bob.connection.id.toUpperCase(), data: 'just you' });
  assert.equal((await atBob).data, 'just you');
  const ping = alice.once('signal');
  await alice.signal({});
  assert.deepEqual((await ping).data, undefined);
  assert.equal(received.length, 1);
});

test('an iterator yields all events up to the end', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, { session });
  const bob = await join(context, { session });
  const kinds: string[] = [];
  const reading = (async () => {
    for await (const event of bob) {
      kinds.push(event.kind);
      if (event.kind === 'signal' && event.data === 'last') void bob.disconnect();
    }
  })();
  await alice.signal({ data: 'first' });
  await alice.signal({ data: 'last' });
  await reading;
  assert.deepEqual(kinds, ['connectionCreated', 'signal', 'signal', 'sessionDisconnected']);
  for await (const event of bob) assert.fail(event.kind);
});

test('the gateway rejects what the role does not allow', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const subscriber = await join(context, { session, role: 'subscriber' });
  const other = await join(context, { session });
  await assert.rejects(subscriber.signal({ data: 'x' }), { name: 'SignalError', code: 'forbidden' });
  await assert.rejects(subscriber.forceDisconnect(other.connection.id), { code: 'forbidden' });
  await assert.rejects(other.signal({ to: '00000000-0000-4000-8000-000000000000' }), { code: 'notFound' });
});

test('a moderator disconnects others', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const other = await join(context, { session });
  const moderator = await join(context, { session, role: 'moderator' });
  const ended = other.once('sessionDisconnected');
  await moderator.forceDisconnect(other.connection.id);
  assert.equal((await ended).reason, 'forceDisconnected');
  assert.equal(other.state, 'disconnected');
  await assert.rejects(other.signal({ data: 'too late' }), { code: 'disconnected' });
  await assert.rejects(other.once('signal'), { code: 'disconnected' });
  await assert.rejects(moderator.forceDisconnect(other.connection.id), { code: 'notFound' });
});

test('disconnect delivers everything that was sent before', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, { session });
  const bob = await join(context, { session });
  const received: (string | undefined)[] = [];
  bob.on('signal', ({ data }) => received.push(data));
  const left = bob.once('connectionDestroyed');
  const sent = Array.from({ length: 1000 }, (_, number) => alice.signal({ data: String(number) }));
  await alice.disconnect();
  await Promise.all(sent);
  await left;
  assert.deepEqual(received, Array.from({ length: 1000 }, (_, number) => String(number)));
});

test('without resume and presence signals still pass', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, { session }, { resume: false, presence: false });
  const bob = await join(context, { session }, { presence: false });
  const atBob = bob.once('signal');
  await alice.signal({ data: 'hello' });
  const { from } = await atBob;
  assert.deepEqual(from, { connectionId: alice.connection.id, connection: undefined });
  assert.deepEqual(bob.connections, []);
});
