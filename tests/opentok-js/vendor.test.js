/** The vendor's SDKs for servers and for pages together: what the vendor's signaling tutorial does. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { promisify } from 'node:util';

import OpenTok from 'opentok';

import { Gateway } from '../browser/harness/gateway.js';
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
