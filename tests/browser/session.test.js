/** One session with two pages and a client on raw QUIC, over each transport of the pages. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { fixture } from './harness/fixture.js';
import { BROWSERS } from './harness/launch.js';
import { QuicClient } from './harness/quic-client.js';

const SIGNALS = 200;

for (const browserName of BROWSERS) {
  describe(`in ${browserName}`, () => {
    const shared = fixture({ gateway: {} }, browserName);

    for (const [one, other] of [
      ['webtransport', 'webtransport'],
      ['websocket', 'websocket'],
      // This one has both, which is enough for a second browser.
      ['webtransport', 'websocket'],
    ].slice(browserName === 'chromium' ? 0 : 2)) {
      test(`a page over ${one}, a page over ${other}, and QUIC`, { timeout: 60_000 }, async (context) => {
        const { browser, gateway } = shared;
        const session = gateway.newSession();
        const [page, otherPage] = await Promise.all([browser.page(context), browser.page(context)]);
        const alice = await page.join(gateway, { session, data: 'alice', role: 'moderator', transports: [one] });
        const bob = await otherPage.join(gateway, { session, data: 'bob', transports: [other] });
        const carol = await QuicClient.join(context, gateway, { session, data: 'carol', role: 'moderator' });
        assert.deepEqual([alice.transport, bob.transport], [one, other]);
        const all = [alice, bob, carol];

        await context.test('each sees the others', async () => {
          for (const client of all) {
            for (const { id } of all.filter((it) => it !== client)) {
              await client.events.created(id);
            }
            assert.equal(client.events.of('connectionCreated').length, 2);
          }
        });

        await context.test('signals to all arrive everywhere, in the order of each sender', async () => {
          const texts = Array.from({ length: SIGNALS }, (_, number) => `number ${number}`);
          await Promise.all(all.map((client) => client.sendAll(texts)));
          for (const receiver of all) {
            for (const sender of all) {
              assert.deepEqual(await receiver.events.dataOf(sender.id, SIGNALS), texts);
              const numbers = receiver.events.signalsOf(sender.id).map(({ seq }) => seq);
              assert.deepEqual(numbers, texts.map((_, index) => index + 1));
            }
          }
        });

        await context.test('a signal to one connection reaches that one alone', async () => {
          for (const [index, sender] of all.entries()) {
            const receiver = all[(index + 1) % all.length];
            await sender.sendTo(receiver.id, 'just you');
            await sender.sendAll(['to all']);
            for (const client of all) {
              const since = (await client.events.dataOf(sender.id, SIGNALS + (client === receiver ? 2 : 1))).slice(SIGNALS);
              assert.deepEqual(since, client === receiver ? ['just you', 'to all'] : ['to all']);
            }
          }
        });

        await context.test('moderators disconnect others', async () => {
          await assert.rejects(bob.kick(alice.id), /forbidden/);
          await alice.kick(bob.id);
          assert.equal((await bob.events.next('sessionDisconnected')).reason, 'forceDisconnected');
          await assert.rejects(bob.sendAll(['too late']), /no longer in the session/);
          carol.kick(alice.id);
          assert.equal((await alice.events.next('sessionDisconnected')).reason, 'forceDisconnected');
          for (const { id } of [bob, alice]) {
            assert.equal((await carol.events.destroyed(id)).reason, 'forceDisconnected');
          }
        });
      });
    }
  });
}
