/** Signals of pages: to all kinds of receivers, with all kinds of contents, and among other clients. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Gateway } from '../browser/harness/gateway.js';
import { QuicClient } from '../browser/harness/quic-client.js';
import { Page } from './harness/page.js';

const PLAIN = { SIGNALBOX_TLS__PLAINTEXT_TCP: 'true' };

let gateway;
test.before(async (context) => (gateway = await Gateway.start(context, PLAIN)));

const join = (context, session, options) => Page.open(context, gateway).join(gateway, { session, ...options });

test('200 signals arrive in order', async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, session, { data: 'alice' });
  const bob = await join(context, session, { data: 'bob' });
  const texts = Array.from({ length: 200 }, (_, n) => `signal ${n}`);
  await Promise.all(texts.map((data) => alice.signal({ type: 'n', data })));
  for (const client of [alice, bob]) {
    assert.deepEqual(
      (await client.take('signal', 200)).map(([, data]) => data),
      texts,
    );
  }
});

test('types and data arrive as they were sent', async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, session, { data: 'alice' });
  for (const [type, data] of [
    ['chat', ''],
    [undefined, 'data alone'],
    ['type-alone', undefined],
    ['dotted.type', 'x'],
    ['aZ09-._~', '"quotes" \\ \u0000 \u2028 🚦'],
    ['t'.repeat(128), 'é'.repeat(4096)],
    [undefined, undefined],
  ]) {
    // The SDK accepts no member without a value.
    await alice.signal({ ...(type !== undefined && { type }), ...(data !== undefined && { data }) });
    assert.deepEqual(await alice.take('signal', 1), [[type === undefined ? 'signal' : `signal:${type}`, data, 'alice']]);
  }
});

test('refused signals name their fault, and the session goes on', async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, session, { data: 'alice' });
  const bob = await join(context, session, { data: 'bob' });
  const quiet = await join(context, session, { data: 'quiet', role: 'subscriber' });
  await alice.take('connectionCreated', 3);
  const gone = alice.other('bob');
  bob.session.disconnect();
  await alice.next('connectionDestroyed');
  for (const [client, signal, code, reason] of [
    [alice, { data: { an: 'object' } }, 400, /must be text/],
    [alice, { data: 7 }, 400, /must be text/],
    [quiet, { data: 'x' }, 403, /may not send/],
    [alice, { to: gone, data: 'x' }, 404, /is not in the session/],
    // Three bytes each.
    [alice, { data: '€'.repeat(3000) }, 413, /at most 8192/],
  ]) {
    await assert.rejects(client.signal(signal), (error) => {
      assert.equal(error.code, code);
      assert.match(error.message, reason);
      return true;
    });
  }
  await alice.signal({ data: 'still there' });
  assert.deepEqual(await quiet.take('signal', 1), [['signal', 'still there', 'alice']]);
});

test('too many signals are refused with the only code that the SDK has for it', async (context) => {
  const slow = await Gateway.start(context, {
    ...PLAIN,
    SIGNALBOX_LIMITS__SIGNALS_PER_SECOND_PER_CONNECTION: '2',
  });
  const session = slow.newSession();
  const alice = await Page.open(context, slow).join(slow, { session, data: 'alice' });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 12 }, (_, n) => alice.signal({ type: 'n', data: String(n) })),
  );
  const refused = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => [reason.code, reason.name]);
  assert.ok(refused.length >= 2, JSON.stringify(refused));
  for (const fault of refused) assert.deepEqual(fault, [2001, 'OT_UNEXPECTED_SERVER_RESPONSE']);
  const sent = outcomes.length - refused.length;
  assert.equal((await alice.take('signal', sent)).length, sent);
  assert.deepEqual(alice.pending('signal', 'sessionDisconnected', 'sessionReconnecting'), []);
});

test('a publisher cannot disconnect others', async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, session, { data: 'alice' });
  await join(context, session, { data: 'bob' });
  await alice.take('connectionCreated', 2);
  await assert.rejects(alice.forceDisconnect(alice.other('bob')), { code: 1520 });
});

test('a page that suppresses events hears signals, and the others hear of it', async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, session, { data: 'alice' });
  const bob = await join(context, session, { data: 'bob', options: { connectionEventsSuppressed: true } });
  await alice.take('connectionCreated', 2);
  await alice.signal({ data: 'hello' });
  assert.deepEqual(
    (await bob.take('signal', 1)).map(([, data]) => data),
    ['hello'],
  );
  bob.session.disconnect();
  assert.deepEqual(await alice.take('connectionDestroyed', 1), [['bob', 'clientDisconnected']]);
});

test('two sessions in a page', async (context) => {
  const sessions = [gateway.newSession(), gateway.newSession()];
  const page = Page.open(context, gateway);
  // jsdom has no media, of which the SDK complains once the document has been loaded.
  const [here, there] = sessions.map((session) => page.client(gateway, { session }));
  await here.connect(gateway.token({ session: sessions[0], data: 'here' }));
  await there.connect(gateway.token({ session: sessions[1], data: 'there' }));
  await here.signal({ data: 'one' });
  await there.signal({ data: 'two' });
  assert.deepEqual(await here.take('signal', 1), [['signal', 'one', 'here']]);
  assert.deepEqual(await there.take('signal', 1), [['signal', 'two', 'there']]);
});

test('a page and a QUIC client talk, and moderate each other', async (context) => {
  const session = gateway.newSession();
  const alice = await join(context, session, { data: 'alice', role: 'moderator' });
  const quic = await QuicClient.join(context, gateway, { session, role: 'moderator', data: 'quic' });
  await alice.take('connectionCreated', 2);
  quic.sendAll(['from quic']);
  assert.deepEqual(await alice.take('signal', 1), [['signal', 'from quic', 'quic']]);
  await alice.signal({ type: 'chat', data: 'from a page' });
  await quic.events.next('signal', { data: 'from a page' });
  quic.kick(alice.id);
  assert.deepEqual(await alice.take('sessionDisconnected', 1), ['forceDisconnected']);
  const { reason } = await quic.events.next('connectionDestroyed');
  assert.equal(reason, 'forceDisconnected');
});
