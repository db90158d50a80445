/**
 * Pages in hidden tabs, whose timers browsers hold back. `npm run hidden-tab` in `tests/browser` shows the
 * same in Chromium, for two minutes.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as after } from 'node:timers/promises';

import { Gateway } from '../browser/harness/gateway.js';
import { Page } from './harness/page.js';

/** Longer than the 5.9 s of silence after which the SDK gives its link up. A browser has a minute. */
const WAKE_EVERY_MS = 7_000;

test('a hidden page keeps its link without a message of its own', async (context) => {
  const gateway = await Gateway.start(context, { SIGNALBOX_TLS__PLAINTEXT_TCP: 'true' });
  const session = gateway.newSession();
  const page = Page.open(context, gateway);
  const alice = await page.join(gateway, { session, data: 'alice' });
  const bob = await Page.open(context, gateway).join(gateway, { session, data: 'bob' });
  await alice.take('connectionCreated', 2);
  page.hide(WAKE_EVERY_MS);
  // A timer that is due runs once more.
  await after(WAKE_EVERY_MS);
  const { sent } = page;
  await after(3 * WAKE_EVERY_MS);
  assert.deepEqual(alice.pending('sessionReconnecting', 'sessionDisconnected'), []);
  assert.ok(page.sent - sent <= 4, `its timers are held back: it has sent ${page.sent - sent} messages`);
  await bob.signal({ data: 'hello' });
  assert.deepEqual(await alice.take('signal', 1), [['signal', 'hello', 'bob']]);
});
