/** Networks that fail under traffic: nothing is lost or repeated, and the others notice nothing. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { fixture } from './harness/fixture.js';
import { QuicClient } from './harness/quic-client.js';
import { TcpProxy } from './harness/tcp-proxy.js';
import { UdpProxy } from './harness/udp-proxy.js';

const CUT_MS = 5_000;
const INTERVAL_MS = 5;
/** Signals before the cut and after it. */
const SIGNALS = 50;

/** What the browser says about a network that fails. */
const EXPECTED = /^(Failed to establish a connection to|WebSocket connection to) /;

const shared = fixture({
  patient: {},
  impatient: { SIGNALBOX_TIMEOUTS__IDLE_MS: '2000' },
});

/** In the page: sends a number in each interval, and knows how many. */
async function startSending([name, interval]) {
  const { sessions } = await import('/page/clients.js');
  window.sent = 0;
  window.timer = setInterval(() => void sessions.get(name).signal({ data: String(window.sent++) }), interval);
}

const numbers = (count) => Array.from({ length: count }, (_, number) => String(number));

async function cutUnderTraffic(context, { kind, transports, after, cut }) {
  const { browser, [kind]: gateway } = shared;
  const udp = await UdpProxy.to(context, gateway.quic);
  const tcp = await TcpProxy.to(context, gateway.https);
  const session = gateway.newSession();
  const page = await browser.page(context, { expected: EXPECTED });
  const options = { url: `https://${tcp.address}`, webTransportUrl: `https://${udp.address}`, transports };
  const alice = await page.join(gateway, { session, data: 'alice', ...options });
  assert.equal(alice.transport, transports[0]);
  const bob = await QuicClient.join(context, gateway, { session, data: 'bob' });
  await alice.events.created(bob.id);

  await page.run(startSending, ['alice', INTERVAL_MS]);
  let sent = 0;
  const timer = setInterval(() => bob.sendAll([String(sent++)]), INTERVAL_MS);
  context.after(() => clearInterval(timer));
  const bothReceive = () => Promise.all([bob.events.more(alice.id, SIGNALS), alice.events.more(bob.id, SIGNALS)]);
  await bothReceive();

  const startedAt = performance.now();
  await cut({ udp, tcp });
  if (after) await alice.events.next('sessionReconnected');
  await bothReceive();
  context.diagnostic(`signals passed ${Math.round(performance.now() - startedAt)} ms after the cut`);

  clearInterval(timer);
  const sentByPage = await page.run(() => {
    clearInterval(window.timer);
    return window.sent;
  });
  for (const receiver of [alice, bob]) {
    assert.deepEqual(await receiver.events.dataOf(alice.id, sentByPage), numbers(sentByPage));
    assert.deepEqual(await receiver.events.dataOf(bob.id, sent), numbers(sent));
    assert.equal(receiver.events.of('connectionCreated').length, 1);
    assert.equal(receiver.events.of('connectionDestroyed').length, 0);
  }
  for (const { gap } of alice.events.of('sessionReconnected')) assert.equal(gap, undefined);
  assert.equal(alice.events.of('sessionRejoined').length, 0);
  assert.equal(await alice.currentTransport(), after ?? transports[0]);
}

describe('a network that fails', { concurrency: true }, () => {
  const cases = {
    // Chromium gives a connection up at some point, which may be later.
    'UDP for 5 s': {
      kind: 'patient',
      transports: ['webtransport'],
      cut: ({ udp }) => udp.cutFor(CUT_MS),
    },
    'UDP for 5 s, longer than the idle timeout': {
      kind: 'impatient',
      transports: ['webtransport'],
      after: 'webtransport',
      cut: ({ udp }) => udp.cutFor(CUT_MS),
    },
    'TCP for 5 s': {
      kind: 'patient',
      transports: ['websocket'],
      after: 'websocket',
      cut: ({ tcp }) => tcp.cutFor(CUT_MS),
    },
    'UDP for good, and the page goes on over WebSocket': {
      kind: 'patient',
      transports: ['webtransport', 'websocket'],
      after: 'websocket',
      cut: ({ udp }) => udp.cut(),
    },
    'TCP for good, and the page goes on over WebTransport': {
      kind: 'patient',
      transports: ['websocket', 'webtransport'],
      after: 'webtransport',
      cut: ({ tcp }) => tcp.cut(),
    },
  };
  for (const [name, given] of Object.entries(cases)) {
    test(name, { timeout: 60_000 }, (context) => cutUnderTraffic(context, given));
  }
});
