/** The whole life of a page: it joins, talks, moderates and leaves. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { promisify } from 'node:util';

import OpenTok from 'opentok';

import { Gateway } from '../browser/harness/gateway.js';
import { CURRENT, PACKAGES, Page } from './harness/page.js';

/** jsdom trusts no authority of a test, so a TLS proxy is assumed before the gateway. */
const PLAIN = { SIGNALBOX_TLS__PLAINTEXT_TCP: 'true' };

let started;
test.before(async (context) => (started = await Gateway.start(context, PLAIN)));

for (const sdk of PACKAGES) {
  test(`${sdk}: presence, signals to all and to one, errors, moderation, goodbye`, async (context) => {
    const gateway = started;
    const session = gateway.newSession();
    const open = (options) => Page.open(context, gateway, { sdk }).join(gateway, { session, ...options });
    const alice = await open({ data: 'alice', role: 'moderator' });
    assert.deepEqual(await alice.take('connectionCreated', 1), ['alice']);
    const bob = await open({ data: 'bob' });
    const seen = await bob.take('connectionCreated', 2);
    assert.deepEqual(seen.toSorted(), ['alice', 'bob']);
    assert.deepEqual(await alice.take('connectionCreated', 1), ['bob']);

    await alice.signal({ type: 'chat', data: 'hello é 🚦' });
    for (const client of [alice, bob]) {
      assert.deepEqual(await client.take('signal', 1), [['signal:chat', 'hello é 🚦', 'alice']]);
    }
    await bob.signal({ to: bob.other('alice'), data: 'for you' });
    await bob.signal({ to: bob.session, data: 'for all' });
    await bob.signal({});
    assert.deepEqual(
      (await alice.take('signal', 3)).map(([, data]) => data),
      ['for you', 'for all', undefined],
    );
    assert.deepEqual(
      (await bob.take('signal', 2)).map(([, data]) => data),
      ['for all', undefined],
    );

    await alice.forceDisconnect(alice.other('bob'));
    assert.deepEqual(await alice.take('connectionDestroyed', 1), [['bob', 'forceDisconnected']]);
    assert.deepEqual(await bob.take('sessionDisconnected', 1), ['forceDisconnected']);

    alice.session.disconnect();
    assert.deepEqual(await alice.take('sessionDisconnected', 1), ['clientDisconnected']);
  });

  test(`${sdk}: 200 in order, signals of a server, errors, suppressed events, two sessions`, async (context) => {
    const gateway = started;
    const session = gateway.newSession();
    const second = gateway.newSession();
    const page = Page.open(context, gateway, { sdk });
    const [alice, there] = [session, second].map((id) => page.client(gateway, { session: id }));
    await alice.connect(gateway.token({ session, data: 'alice' }));
    const open = (options) => Page.open(context, gateway, { sdk }).join(gateway, { session, ...options });
    const bob = await open({ data: 'bob' });
    const quiet = await open({ data: 'quiet', role: 'subscriber', options: { connectionEventsSuppressed: true } });
    await alice.take('connectionCreated', 3);
    const texts = Array.from({ length: 200 }, (_, n) => `signal ${n}`);
    await Promise.all(texts.map((data) => alice.signal({ type: 'n', data })));
    for (const client of [alice, bob, quiet]) {
      assert.deepEqual(
        (await client.take('signal', 200)).map(([, data]) => data),
        texts,
      );
    }
    const server = new OpenTok(gateway.projectKey, gateway.projectSecret, `http://${gateway.https}`);
    await promisify(server.signal).call(server, session, null, { type: 'news', data: 'to all' });
    for (const client of [alice, bob, quiet]) {
      assert.deepEqual(await client.take('signal', 1), [['signal:news', 'to all', null]]);
    }

    const gone = alice.other('bob');
    bob.session.disconnect();
    await alice.next('connectionDestroyed');
    for (const [client, signal, code] of [
      [alice, { data: { an: 'object' } }, 400],
      [quiet, { data: 'x' }, 403],
      [alice, { to: gone, data: 'x' }, 404],
      // Three bytes each.
      [alice, { data: '€'.repeat(3000) }, 413],
    ]) {
      await assert.rejects(client.signal(signal), { code });
    }
    await assert.rejects(alice.forceDisconnect(alice.other('quiet')), { code: 1520 });
    assert.deepEqual(quiet.pending('connectionCreated', 'connectionDestroyed'), []);

    await there.connect(gateway.token({ session: second, data: 'there' }));
    await there.signal({ data: 'elsewhere' });
    assert.deepEqual(await there.take('signal', 1), [['signal', 'elsewhere', 'there']]);
    await alice.signal({ data: 'still there' });
    for (const client of [alice, quiet]) {
      assert.deepEqual((await client.take('signal', 1)).map(([, data]) => data), ['still there']);
    }
  });
}
