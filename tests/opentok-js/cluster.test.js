/** Pages whose gateway goes away, and who find another one of its cluster. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as after } from 'node:timers/promises';

import { Fleet } from '../browser/harness/gateway.js';
import { QuicClient } from '../browser/harness/quic-client.js';
import { TcpProxy } from '../browser/harness/tcp-proxy.js';
import { Page } from './harness/page.js';
import { assertComplete, traffic } from './harness/traffic.js';

const SETTINGS = { SIGNALBOX_TLS__PLAINTEXT_TCP: 'true', SIGNALBOX_DRAIN__SPREAD_MS: '300' };

/** Pages in one session: alice behind a load balancer, bob and a QUIC client on the gateways that stay. */
async function meet(context) {
  const fleet = await Fleet.start(context, 3, SETTINGS);
  const [first, second, third] = fleet.gateways;
  const balancer = await TcpProxy.to(context, first.https);
  const session = first.newSession();
  const open = (gateway, data, address) =>
    Page.open(context, gateway, { address }).join(gateway, { session, data });
  const alice = await open(first, 'alice', balancer.address);
  const bob = await open(second, 'bob');
  const carol = await QuicClient.join(context, third, { session, data: 'carol' });
  for (const page of [alice, bob]) await page.take('connectionCreated', 3);
  for (const { id } of [alice, bob]) await carol.events.created(id);
  return { first, second, third, balancer, session, alice, bob, carol, open };
}

for (const [what, leave] of [
  ['is killed', async ({ first, third, balancer }) => {
    first.kill();
    balancer.moveTo(third.https);
  }],
  ['drains', async ({ first, third, balancer }) => {
    balancer.moveTo(third.https);
    first.stop();
  }],
  ['can no longer be reached', async ({ third, balancer }) => {
    balancer.cut();
    balancer.moveTo(third.https);
    await after(1000);
    balancer.restore();
  }],
]) {
  test(`a page whose gateway ${what} goes on at another one`, async (context) => {
    const place = await meet(context);
    const { alice, bob, carol } = place;
    const created = carol.events.of('connectionCreated');
    const stop = traffic(alice, bob);
    await after(700);
    await leave(place);
    await alice.next('sessionReconnecting');
    await alice.next('sessionReconnected');
    await after(700);
    const counts = await stop();
    await assertComplete([alice, bob], counts);
    assert.deepEqual(bob.pending('sessionReconnecting'), []);
    const received = await carol.events.dataOf(alice.id, counts[0]);
    assert.deepEqual(received.toSorted(), Array.from({ length: counts[0] }, (_, n) => `alice ${n + 1}`).toSorted());
    assert.deepEqual([...carol.events.of('connectionCreated'), ...carol.events.of('connectionDestroyed')], created);
  });
}

test('events during a move are reported once, also after a second move', async (context) => {
  const { second, third, balancer, alice, bob, open } = await meet(context);
  balancer.cut();
  await alice.next('sessionReconnecting');
  const dave = await open(third, 'dave');
  await dave.signal({ data: 'from dave' });
  dave.session.disconnect();
  bob.session.disconnect();
  balancer.moveTo(second.https);
  balancer.restore();
  await alice.next('sessionReconnected');
  assert.deepEqual(await alice.take('connectionCreated', 1), ['dave']);
  assert.deepEqual(await alice.take('signal', 1), [['signal', 'from dave', 'dave']]);
  assert.deepEqual((await alice.take('connectionDestroyed', 2)).toSorted(), [
    ['bob', 'clientDisconnected'],
    ['dave', 'clientDisconnected'],
  ]);

  balancer.cut();
  await alice.next('sessionReconnecting');
  balancer.moveTo(third.https);
  balancer.restore();
  await alice.next('sessionReconnected');
  await alice.signal({ data: 'still there' });
  assert.deepEqual(await alice.take('signal', 1), [['signal', 'still there', 'alice']]);
  assert.deepEqual(alice.pending('signal', 'connectionCreated', 'connectionDestroyed'), []);
});
