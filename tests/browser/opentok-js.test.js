/** The vendor's unmodified browser SDK in a real browser: what jsdom cannot show. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fixture } from './harness/fixture.js';
import { openApplication } from './harness/opentok-js.js';
import { QuicClient } from './harness/quic-client.js';

const shared = fixture({ gateway: {} });

test('two pages and a QUIC client talk, a page is left, and another is removed', async (context) => {
  const { gateway } = shared;
  const session = gateway.newSession();
  const alice = await openApplication(context, shared, { session, data: 'alice', role: 'moderator' });
  const bob = await openApplication(context, shared, { session, data: 'bob' });
  const quic = await QuicClient.join(context, gateway, { session, role: 'publisher', data: 'quic' });
  await alice.events.next('connectionCreated', { data: 'quic' });
  await alice.raw.evaluate(() => window.session.signal({ type: 'chat', data: 'hello' }));
  for (const events of [alice.events, bob.events]) await events.next('signal', { data: 'hello', from: 'alice' });
  await quic.events.next('signal', { data: 'hello' });
  quic.sendAll(['from quic']);
  await bob.events.next('signal', { data: 'from quic', from: 'quic' });

  await bob.raw.goto('about:blank');
  await alice.events.next('connectionDestroyed', { data: 'bob', reason: 'clientDisconnected' });
  await alice.raw.evaluate(() => {
    const { session } = window;
    session.forceDisconnect(session.connections.find(({ data }) => data === 'quic'));
  });
  await alice.events.next('connectionDestroyed', { data: 'quic', reason: 'forceDisconnected' });
});

test('a page that publishes is refused, and its session goes on', async (context) => {
  const { gateway } = shared;
  const session = gateway.newSession();
  const alice = await openApplication(context, shared, { session, data: 'alice' });
  const error = await alice.raw.evaluate(async () => {
    const videoSource = document.createElement('canvas').captureStream().getVideoTracks()[0];
    const publisher = OT.initPublisher(undefined, { videoSource, audioSource: null, insertDefaultUI: false });
    return new Promise((resolve) =>
      window.session.publish(publisher, (error) => resolve(error && { code: error.code, message: error.message })),
    );
  });
  assert.equal(error?.code, 1500);
  assert.match(error.message, /signaling only/);
  await alice.raw.evaluate(() => window.session.signal({ data: 'still there' }));
  await alice.events.next('signal', { data: 'still there' });
});
