/** The vendor's unmodified browser SDK in a real browser: what jsdom cannot show. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { globalAgent } from 'node:https';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { fixture } from './harness/fixture.js';
import { OpenTok, openApplication } from './harness/opentok-js.js';
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

/** In the page: calls a method of the session with another connection or the session. */
function call([method, signal, to]) {
  const { session } = window;
  const other = to === 'session' ? session : session.connections.find(({ data }) => data === to);
  const parameter = method === 'signal' ? { ...signal, ...(other && { to: other }) } : other;
  return new Promise((resolve) => session[method](parameter, (error) => resolve(error ? error.code : 'done')));
}

/** In the page: joins another session, and waits for its own signal in it. */
function joinAnother([apiKey, sessionId, token]) {
  const session = OT.initSession(apiKey, sessionId);
  return new Promise((resolve) => {
    session.on('signal', ({ data }) => resolve(data));
    session.connect(token, (error) => (error ? resolve(error.message) : session.signal({ data: 'elsewhere' })));
  });
}

test('all that a page can do without media', async (context) => {
  const { gateway } = shared;
  const session = gateway.newSession();
  const open = (options) => openApplication(context, shared, { session, ...options });
  const alice = await open({ data: 'alice' });
  const bob = await open({ data: 'bob' });
  const quiet = await open({ data: 'quiet', role: 'subscriber', options: { connectionEventsSuppressed: true } });
  await alice.events.next('connectionCreated', { data: 'quiet' });
  const signal = (client, argument, to) => client.raw.evaluate(call, ['signal', argument, to]);
  assert.equal(await signal(alice, { type: 'chat', data: 'for bob' }, 'bob'), 'done');
  assert.equal(await signal(alice, { data: 'for all' }, 'session'), 'done');
  assert.equal(await signal(alice, {}), 'done');
  await bob.events.next('signal', { type: 'signal:chat', data: 'for bob', from: 'alice' });
  const ping = ({ kind, data, type }) => kind === 'signal' && type === 'signal' && data === undefined;
  for (const { events } of [alice, bob, quiet]) {
    await events.next('signal', { type: 'signal', data: 'for all' });
    await events.first(ping);
  }
  assert.deepEqual(alice.events.of('signal').filter(({ data }) => data === 'for bob'), []);

  const sent = await alice.raw.evaluate(() => {
    const texts = Array.from({ length: 200 }, (_, n) => `signal ${n}`);
    return Promise.all(texts.map((data) => window.session.signal({ type: 'n', data }))).then(() => texts);
  });
  for (const { events } of [alice, bob, quiet]) {
    const numbered = (all) => all.filter(({ type }) => type === 'signal:n').map(({ data }) => data);
    assert.deepEqual(await events.until((all) => numbered(all).length >= 200 && numbered(all)), sent);
  }

  globalAgent.options.ca = readFileSync(gateway.ca);
  const server = new OpenTok(gateway.projectKey, gateway.projectSecret, `https://${gateway.https}`);
  await promisify(server.signal).call(server, session, null, { type: 'news', data: 'to all' });
  await bob.events.next('signal', { type: 'signal:news', data: 'to all', from: null });

  assert.equal(await signal(alice, { data: { an: 'object' } }), 400);
  assert.equal(await signal(quiet, { data: 'x' }), 403);
  assert.equal(await signal(alice, { data: '€'.repeat(3000) }), 413);
  assert.equal(await alice.raw.evaluate(call, ['forceDisconnect', null, 'bob']), 1520);
  await alice.raw.evaluate(() => (window.gone = window.session.connections.find(({ data }) => data === 'bob')));
  await bob.raw.close();
  await alice.events.next('connectionDestroyed', { data: 'bob', reason: 'clientDisconnected' });
  const late = () => new Promise((resolve) => session.signal({ to: gone, data: 'x' }, ({ code }) => resolve(code)));
  assert.equal(await alice.raw.evaluate(late), 404);
  const presence = ['connectionCreated', 'connectionDestroyed'].flatMap((kind) => quiet.events.of(kind));
  assert.deepEqual(presence, []);

  const second = gateway.newSession();
  const another = [gateway.projectKey, second, gateway.token({ session: second })];
  assert.equal(await alice.raw.evaluate(joinAnother, another), 'elsewhere');
  await alice.raw.evaluate(() => window.session.disconnect());
  await alice.events.next('sessionDisconnected', { reason: 'clientDisconnected' });
});
