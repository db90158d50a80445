/** The whole life of a page: it joins, talks, moderates and leaves. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

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
}
