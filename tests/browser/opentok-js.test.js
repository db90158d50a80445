/** The vendor's unmodified browser SDK in a real browser: what jsdom cannot show. */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { EventLog } from './harness/event-log.js';
import { fixture } from './harness/fixture.js';
import { QuicClient } from './harness/quic-client.js';

const require = createRequire(new URL('../opentok-js/', import.meta.url));
const SDK = require.resolve('@opentok/client/dist/js/opentok.js');

const shared = fixture({ gateway: {} });

/** In the page: an application, whose only new line is the first. */
function openApplication([url, apiKey, sessionId, token]) {
  OT.setProxyUrl(url);
  const session = OT.initSession(apiKey, sessionId);
  const show = (kind, members) => void window.reportLine(JSON.stringify({ kind, ...members }));
  session.on({
    connectionCreated: ({ connection }) => show('connectionCreated', { data: connection.data }),
    connectionDestroyed: ({ connection, reason }) => show('connectionDestroyed', { data: connection.data, reason }),
    sessionReconnecting: () => show('sessionReconnecting'),
    sessionReconnected: () => show('sessionReconnected'),
    sessionDisconnected: ({ reason }) => show('sessionDisconnected', { reason }),
    signal: ({ type, data, from }) => show('signal', { type, data, from: from?.data ?? null }),
  });
  session.connect(token, (error) => show(error ? 'failed' : 'connected', { error: error?.message }));
  window.session = session;
}

/** A page in the session, its events, and the addresses that it has asked. */
async function open(context, { session, data, role }) {
  const { browser, gateway } = shared;
  // When publishing fails, the SDK leaves a rejected promise without a text behind.
  const page = await browser.page(context, { expected: /^$|OpenTok|WebRTC|(1500)|403/ });
  const events = new EventLog(data);
  const asked = new Set();
  const record = (url) => asked.add(new URL(url).host);
  page.raw.on('request', (request) => record(request.url()));
  page.raw.on('websocket', (socket) => record(socket.url()));
  await page.raw.exposeFunction('reportLine', (line) => events.push(JSON.parse(line)));
  await page.raw.addScriptTag({ path: SDK });
  const token = gateway.token({ session, role, data });
  await page.raw.evaluate(openApplication, [`https://${gateway.https}/opentok`, gateway.projectKey, session, token]);
  await events.next('connected');
  context.after(() => {
    const expected = [gateway.https, new URL(browser.site.url).host];
    assert.deepEqual([...asked].filter((host) => !expected.includes(host)), []);
  });
  return { raw: page.raw, events };
}

test('two pages and a QUIC client talk, a page is left, and another is removed', async (context) => {
  const { gateway } = shared;
  const session = gateway.newSession();
  const alice = await open(context, { session, data: 'alice', role: 'moderator' });
  const bob = await open(context, { session, data: 'bob' });
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
  const alice = await open(context, { session, data: 'alice' });
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
