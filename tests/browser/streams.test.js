/** A page that receives from more senders at once than there are streams for. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { fixture } from './harness/fixture.js';
import { BROWSERS } from './harness/launch.js';

const SIGNALS = 40;

/**
 * More than browsers grant streams: 103 in Chromium 156, one of which carries HTTP/3's settings, and 99
 * beside those of HTTP/3 in Firefox 153.
 */
const MANY_SENDERS = 120;

/** Chromium fails sessions beyond 64 that wait for their handshakes, and Firefox some of 40. */
const JOINS_AT_ONCE = 20;

/** In the page: counts the streams that the gateway opens. */
function countStreams() {
  window.streams = 0;
  const name = 'incomingUnidirectionalStreams';
  const { get } = Object.getOwnPropertyDescriptor(WebTransport.prototype, name);
  Object.defineProperty(WebTransport.prototype, name, {
    get() {
      const counting = new TransformStream({
        transform(stream, controller) {
          window.streams++;
          controller.enqueue(stream);
        },
      });
      return get.call(this).pipeThrough(counting);
    },
  });
}

for (const browserName of BROWSERS) {
  describe(`in ${browserName}`, () => {
    const shared = fixture({ gateway: {}, limited: { SIGNALBOX_LIMITS__STREAMS_PER_CLIENT: '2' } }, browserName);

    for (const [name, kind, senders, streams] of [
      ['50 senders, a stream for each', 'gateway', 50, 50],
      ['50 senders on 2 streams', 'limited', 50, 2],
      ['more senders than the browser grants streams', 'gateway', MANY_SENDERS, undefined],
    ]) {
      // How many streams the gateway opens at most does not depend on the browser.
      if (kind === 'limited' && browserName === 'firefox') continue;
      test(name, { timeout: 60_000 }, async (context) => {
        const { browser, [kind]: gateway } = shared;
        const session = gateway.newSession();
        const [page, crowd] = await Promise.all([browser.page(context), browser.page(context)]);
        await page.run(countStreams);
        const receiver = await page.join(gateway, { session, data: 'receiver', transports: ['webtransport'] });
        const token = gateway.token({ session });
        const members = [];
        while (members.length < senders) {
          const names = Array.from({ length: JOINS_AT_ONCE }, (_, index) => `sender ${members.length + index}`);
          const joins = names.slice(0, senders - members.length).map((data) =>
            // Over WebSocket: a browser rejects some of many WebTransport sessions to one place.
            crowd.join(gateway, { data, token, presence: false, transports: ['websocket'] }),
          );
          members.push(...(await Promise.all(joins)));
        }
        const texts = Array.from({ length: SIGNALS }, (_, number) => String(number));
        await crowd.run(
          async ([to, all]) => {
            const { sessions } = await import('/page/clients.js');
            // Interleaved: each sender's next signal follows those of all others.
            await Promise.all(all.flatMap((data) => [...sessions.values()].map((it) => it.signal({ to, data }))));
          },
          [receiver.id, texts],
        );
        for (const { id } of members) assert.deepEqual(await receiver.events.dataOf(id, SIGNALS), texts);
        // The page did not need a link with a single stream.
        assert.deepEqual(receiver.events.of('sessionReconnecting'), []);
        const opened = await page.run(() => window.streams);
        context.diagnostic(`${opened} streams`);
        if (streams === undefined) assert.ok(opened > 50 && opened < senders, `${opened} streams`);
        else assert.equal(opened, streams);
      });
    }
  });
}
