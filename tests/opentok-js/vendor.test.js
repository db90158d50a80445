/** The vendor's SDKs for servers and for pages together: what the vendor's signaling tutorial does. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { promisify } from 'node:util';

import OpenTok from 'opentok';

import { Gateway } from '../browser/harness/gateway.js';
import { QuicClient } from '../browser/harness/quic-client.js';
import { Page } from './harness/page.js';

const PLAIN = { SIGNALBOX_TLS__PLAINTEXT_TCP: 'true' };

test('a server creates the session, sends signals and disconnects a page', async (context) => {
  const gateway = await Gateway.start(context, PLAIN);
  const server = new OpenTok(gateway.projectKey, gateway.projectSecret, `http://${gateway.https}`);
  const { sessionId: session } = await promisify(server.createSession).call(server, { mediaMode: 'routed' });
  const [alice, bob] = await Promise.all(
    ['alice', 'bob'].map((data) => {
      const token = server.generateToken(session, { role: 'publisher', data });
      return Page.open(context, gateway).join(gateway, { session, token });
    }),
  );
  for (const client of [alice, bob]) await client.take('connectionCreated', 2);
  await alice.signal({ type: 'msg', data: 'hello' });
  assert.deepEqual(await bob.take('signal', 1), [['signal:msg', 'hello', 'alice']]);

  const signal = promisify(server.signal).bind(server);
  await signal(session, null, { type: 'news', data: 'to all' });
  await signal(session, bob.id, { type: 'news', data: 'to bob' });
  assert.deepEqual(await bob.take('signal', 2), [
    ['signal:news', 'to all', null],
    ['signal:news', 'to bob', null],
  ]);
  assert.deepEqual(await alice.take('signal', 2), [
    ['signal:msg', 'hello', 'alice'],
    ['signal:news', 'to all', null],
  ]);

  await promisify(server.forceDisconnect).call(server, session, bob.id);
  assert.deepEqual(await bob.take('sessionDisconnected', 1), ['forceDisconnected']);
  assert.deepEqual(await alice.take('connectionDestroyed', 1), [['bob', 'forceDisconnected']]);
});

test('the signaling tutorial: a text chat of two pages and a client over QUIC', async (context) => {
  const gateway = await Gateway.start(context, PLAIN);
  const server = new OpenTok(gateway.projectKey, gateway.projectSecret, `http://${gateway.https}`);
  const { sessionId: session } = await promisify(server.createSession).call(server, {});
  const token = (data) => server.generateToken(session, { role: 'publisher', data });

  // As in the tutorial: each message becomes a line of the page's history, in the class of its sender.
  const histories = [];
  const pages = [];
  for (const data of ['alice', 'bob']) {
    const client = await Page.open(context, gateway).join(gateway, { session, token: token(data) });
    const history = [];
    client.session.on('signal:msg', (event) => {
      const own = event.from.connectionId === client.session.connection.connectionId;
      history.push([event.data, own ? 'mine' : 'theirs']);
    });
    histories.push(history);
    pages.push(client);
  }
  const [alice, bob] = pages;
  const carol = await QuicClient.join(context, gateway, { session, data: 'carol', token: token('carol') });
  for (const page of pages) await page.take('connectionCreated', 3);

  await alice.signal({ type: 'msg', data: 'hello from alice' });
  await bob.take('signal', 1);
  await bob.signal({ type: 'msg', data: 'hello from bob' });
  await alice.take('signal', 2);
  await bob.take('signal', 1);
  assert.deepEqual(histories, [
    [['hello from alice', 'mine'], ['hello from bob', 'theirs']],
    [['hello from alice', 'theirs'], ['hello from bob', 'mine']],
  ]);
  for (const [{ id }, data] of [[alice, 'hello from alice'], [bob, 'hello from bob']]) {
    await carol.events.next('signal', { from: id, type: 'msg', data });
  }
  // The client over QUIC answers one page.
  carol.sendTo(alice.id, 'for alice alone');
  assert.deepEqual(await alice.take('signal', 1), [['signal', 'for alice alone', 'carol']]);
  alice.session.disconnect();
  await carol.events.destroyed(alice.id);
  assert.deepEqual(await bob.take('connectionDestroyed', 1), [['alice', 'clientDisconnected']]);
  assert.deepEqual(bob.pending('signal'), []);
});
