/** The script build with the shape of OpenTok.js, in a page that was written for it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EventLog } from './harness/event-log.js';
import { fixture } from './harness/fixture.js';
import { QuicClient } from './harness/quic-client.js';

const shared = fixture({ gateway: {} });

/** In the page: what the vendor's signaling tutorial teaches, in our own words. */
function openTutorial([url, options, apiKey, sessionId, token]) {
  const { certificateHash, ...others } = options;
  const value = new Uint8Array(certificateHash);
  // The only line that a page for OpenTok.js does not have.
  OT.setGateway(url, { ...others, serverCertificateHashes: [{ algorithm: 'sha-256', value }] });

  const show = (line) => void window.reportLine(line);
  const session = OT.initSession(apiKey, sessionId);
  const isOwn = (connection) => connection.connectionId === session.connection.connectionId;
  window.others = {};
  session.on({
    connectionCreated({ connection }) {
      if (isOwn(connection)) return;
      window.others[connection.data] = connection;
      show(`${connection.data} joined`);
    },
    connectionDestroyed: ({ connection, reason }) => show(`${connection.data} left: ${reason}`),
    sessionDisconnected: ({ reason }) => show(`disconnected: ${reason}`),
  });
  session.on('signal:msg', ({ from, data }) => show(`${isOwn(from) ? 'me' : from.data}: ${data}`));
  session.connect(token, (error) => show(error ? `cannot connect: ${error.name}` : 'connected'));
  window.send = (signal) => session.signal(signal, (error) => show(error ? `cannot send: ${error.name}` : 'sent'));
  window.session = session;
}

async function open(context, transport, { session, data, role, token }) {
  const { browser, gateway } = shared;
  const page = await browser.page(context);
  const lines = new EventLog(data);
  await page.raw.exposeFunction('reportLine', (line) => lines.push(line));
  await page.raw.addScriptTag({ url: '/sdk/opentok.js' });
  const options = page.options(gateway, { transports: [transport] });
  const text = token ?? gateway.token({ session, data, role });
  await page.run(openTutorial, [`https://${gateway.https}`, options, gateway.projectKey, session, text]);
  return { page, shows: (line) => lines.first((it) => it === line) };
}

for (const transport of ['webtransport', 'websocket']) {
  test(`the tutorial over ${transport}`, { timeout: 60_000 }, async (context) => {
    const { gateway } = shared;
    const session = gateway.newSession();
    const carol = await QuicClient.join(context, gateway, { session, data: 'carol' });
    const alice = await open(context, transport, { session, data: 'alice', role: 'moderator' });
    const bob = await open(context, transport, { session, data: 'bob' });
    await Promise.all([alice.shows('connected'), alice.shows('carol joined'), alice.shows('bob joined')]);
    await bob.shows('alice joined');
    const { id } = (await carol.events.first((it) => it.connection?.data === 'alice')).connection;

    await alice.page.run(() => window.send({ type: 'msg', data: 'hello' }));
    await Promise.all([alice.shows('sent'), alice.shows('me: hello'), bob.shows('alice: hello')]);
    const signal = await carol.events.next('signal');
    assert.deepEqual([signal.from, signal.type, signal.data], [id, 'msg', 'hello']);

    await bob.page.run(() => window.send({ to: window.others.alice, type: 'msg', data: 'just you' }));
    await alice.shows('bob: just you');

    await alice.page.run(() => window.session.forceDisconnect(window.others.bob));
    await Promise.all([bob.shows('disconnected: forceDisconnected'), alice.shows('bob left: forceDisconnected')]);
    await alice.page.run(() => window.session.disconnect());
    await alice.shows('disconnected: clientDisconnected');
    assert.equal((await carol.events.destroyed(id)).reason, 'clientDisconnected');
    assert.equal(carol.events.of('signal').length, 1);
  });

  test(`a bad token over ${transport}`, { timeout: 60_000 }, async (context) => {
    const page = await open(context, transport, { session: shared.gateway.newSession(), data: 'eve', token: 'T1==bad' });
    await page.shows('cannot connect: OT_AUTHENTICATION_ERROR');
  });
}
