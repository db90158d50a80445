/** Pages whose network fails, and whose gateway is restarted. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as after } from 'node:timers/promises';

import { Gateway } from '../browser/harness/gateway.js';
import { TcpProxy } from '../browser/harness/tcp-proxy.js';
import { PACKAGES, Page } from './harness/page.js';
import { assertComplete, traffic } from './harness/traffic.js';

const PLAIN = { SIGNALBOX_TLS__PLAINTEXT_TCP: 'true' };

/** Two pages in one session: alice directly, bob through a proxy. */
async function pair(context, gateway) {
  const proxy = await TcpProxy.to(context, gateway.https);
  const session = gateway.newSession();
  const alice = await Page.open(context, gateway).join(gateway, { session, data: 'alice' });
  const bob = await Page.open(context, gateway, { address: proxy.address }).join(gateway, { session, data: 'bob' });
  await alice.take('connectionCreated', 2);
  await bob.take('connectionCreated', 2);
  return { proxy, session, alice, bob };
}

test('a link that is cut for 5 s under traffic loses nothing and repeats nothing', async (context) => {
  const gateway = await Gateway.start(context, PLAIN);
  const { proxy, alice, bob } = await pair(context, gateway);
  const stop = traffic(alice, bob);
  await after(500);
  await proxy.cutFor(5000);
  await bob.next('sessionReconnecting');
  await bob.next('sessionReconnected');
  await after(500);
  await assertComplete([alice, bob], await stop());
  assert.deepEqual(alice.pending('sessionReconnecting'), []);
});

test('a link that falls silent is replaced while the gateway still believes in it', async (context) => {
  const gateway = await Gateway.start(context, PLAIN);
  const { proxy, alice, bob } = await pair(context, gateway);
  const stop = traffic(alice, bob);
  await after(200);
  proxy.freeze();
  await bob.next('sessionReconnecting');
  await bob.next('sessionReconnected');
  await assertComplete([alice, bob], await stop());
});

test('pages come back to the next process, with all signals, and hear of no departure', async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'signalbox-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const gateway = await Gateway.start(context, { ...PLAIN, SIGNALBOX_RESUME__STATE_FILE: join(directory, 'state') });
  const { alice, bob } = await pair(context, gateway);
  const stop = traffic(alice, bob);
  await after(300);
  await gateway.restart();
  for (const client of [alice, bob]) {
    await client.next('sessionReconnecting');
    await client.next('sessionReconnected');
  }
  await after(300);
  await assertComplete([alice, bob], await stop());
});

test('a forgotten connection ends, and does not come back', async (context) => {
  const gateway = await Gateway.start(context, PLAIN);
  const { proxy, bob } = await pair(context, gateway);
  await gateway.restart({ killed: true });
  assert.deepEqual(await bob.take('sessionDisconnected', 1), ['networkDisconnected']);
  const { opened } = proxy;
  await after(1000);
  assert.ok(proxy.opened - opened <= 1, `${proxy.opened - opened} more connections`);
});

for (const sdk of PACKAGES) {
  test(`${sdk}: a link that is lost before the page knows that it has joined`, async (context) => {
    const gateway = await Gateway.start(context, PLAIN);
    const proxy = await TcpProxy.to(context, gateway.https);
    const session = gateway.newSession();
    const bob = await Page.open(context, gateway).join(gateway, { session, data: 'bob' });
    await bob.take('connectionCreated', 1);
    proxy.withholdAnswers(true);
    const page = Page.open(context, gateway, { sdk, address: proxy.address });
    const alice = page.client(gateway, { session });
    const joining = alice.connect(gateway.token({ session, data: 'alice' }));
    assert.deepEqual(await bob.take('connectionCreated', 1), ['alice']);
    proxy.withholdAnswers(false);
    await proxy.cutFor(100);
    await joining;
    await alice.signal({ data: 'hello' });
    for (const client of [alice, bob]) assert.deepEqual(await client.take('signal', 1), [['signal', 'hello', 'alice']]);
    assert.deepEqual((await alice.take('connectionCreated', 2)).toSorted(), ['alice', 'bob']);
    assert.deepEqual(bob.pending('connectionCreated', 'connectionDestroyed'), []);
  });
}

test('a page whose first WebSocket fails joins at its second attempt', async (context) => {
  const gateway = await Gateway.start(context, PLAIN);
  const proxy = await TcpProxy.to(context, gateway.https);
  const session = gateway.newSession();
  const bob = await Page.open(context, gateway).join(gateway, { session, data: 'bob' });
  await bob.take('connectionCreated', 1);
  proxy.loseUpgrades(1);
  const alice = await Page.open(context, gateway, { address: proxy.address }).join(gateway, { session, data: 'alice' });
  await alice.signal({ data: 'hello' });
  assert.deepEqual(await bob.take('connectionCreated', 1), ['alice']);
  assert.deepEqual(await bob.take('signal', 1), [['signal', 'hello', 'alice']]);
  // The attempt that the SDK has abandoned leaves nobody behind.
  assert.deepEqual(bob.pending('connectionCreated', 'connectionDestroyed'), []);
});
