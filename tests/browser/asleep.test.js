/** Pages that do not run for a time: those of a frozen tab, and of a machine that sleeps. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { fixture } from './harness/fixture.js';
import { QuicClient } from './harness/quic-client.js';

const IDLE_MS = 2_000;
const ASLEEP_MS = 1.5 * IDLE_MS;

/** What the browser says about links that have timed out meanwhile. */
const EXPECTED = /^(Failed to establish a connection to|WebSocket connection to) /;

const shared = fixture({ gateway: { SIGNALBOX_TIMEOUTS__IDLE_MS: String(IDLE_MS) } });

/** In the page: measures the longest time without a timer. */
function watchTimers() {
  let last = performance.now();
  window.longestPauseMs = 0;
  setInterval(() => {
    const now = performance.now();
    window.longestPauseMs = Math.max(window.longestPauseMs, now - last);
    last = now;
  }, 50);
}

for (const transport of ['webtransport', 'websocket']) {
  describe(`over ${transport}`, () => {
    for (const [name, type] of [
      ['a frozen tab', 'renderer'],
      ['a machine that sleeps', undefined],
    ]) {
      test(`${name} misses nothing`, { timeout: 30_000 }, async (context) => {
        const { browser, gateway } = shared;
        const session = gateway.newSession();
        const page = await browser.page(context, { expected: EXPECTED });
        await page.run(watchTimers);
        const alice = await page.join(gateway, { session, data: 'alice', transports: [transport] });
        const bob = await QuicClient.join(context, gateway, { session, data: 'bob' });
        await alice.events.created(bob.id);

        bob.sendAll(['before']);
        await alice.events.dataOf(bob.id, 1);
        await browser.stopWhile(async () => {
          bob.sendAll(['during']);
          await bob.events.dataOf(bob.id, 2);
          await setTimeout(ASLEEP_MS);
        }, type);
        bob.sendAll(['after']);
        await alice.sendAll(['awake']);
        assert.deepEqual(await alice.events.dataOf(bob.id, 3), ['before', 'during', 'after']);
        assert.deepEqual(await bob.events.dataOf(alice.id, 1), ['awake']);

        assert.ok((await page.run(() => window.longestPauseMs)) > IDLE_MS, 'the page did not run for a time');
        const reconnects = alice.events.of('sessionReconnected');
        context.diagnostic(`${reconnects.length} reconnects`);
        for (const { gap } of reconnects) assert.equal(gap, undefined);
        assert.equal(alice.events.of('sessionRejoined').length, 0);
        assert.equal(bob.events.of('connectionDestroyed').length, 0);
        // Otherwise the gateway has not noticed.
        if (!type) assert.ok(reconnects.length > 0, 'the link was lost');
      });
    }
  });
}
