/** A network that blocks UDP. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { fixture } from './harness/fixture.js';
import { BROWSERS } from './harness/launch.js';
import { UdpProxy } from './harness/udp-proxy.js';

/** How much longer than over WebSocket alone connecting may take. */
const DELAY_MS = 1_000;

/** In the page: connects and leaves. Returns the transport and the time. */
async function connectAndLeave([url, token, options]) {
  const [{ connect }, { connectOptions }] = await Promise.all([import('/sdk/index.js'), import('/page/clients.js')]);
  const startedAt = performance.now();
  const session = await connect(url, token, connectOptions(options));
  const ms = performance.now() - startedAt;
  const { transport } = session;
  await session.disconnect();
  return { transport, ms };
}

for (const browserName of BROWSERS) {
  describe(`in ${browserName}`, () => {
    const shared = fixture({ gateway: {} }, browserName);

    test('a page whose UDP is blocked connects over WebSocket, and returns to WebTransport', { timeout: 60_000 }, async (context) => {
      const { browser, gateway } = shared;
      const udp = await UdpProxy.to(context, gateway.quic);
      udp.cut();
      const token = gateway.token({ session: gateway.newSession() });
      const connect = (page, options) => {
        const all = page.options(gateway, { webTransportUrl: `https://${udp.address}`, ...options });
        return page.run(connectAndLeave, [`https://${gateway.https}`, token, all]);
      };

      // The browser says that the abandoned attempt has failed.
      const page = await browser.page(context, { expected: /^Failed to establish a connection to / });
      const alone = await connect(await browser.page(context), { transports: ['websocket'] });
      const first = await connect(page);
      context.diagnostic(`${Math.round(alone.ms)} ms over WebSocket alone, ${Math.round(first.ms)} ms with UDP blocked`);
      assert.equal(first.transport, 'websocket');
      assert.ok(first.ms < alone.ms + DELAY_MS, `${first.ms} ms, and over WebSocket alone ${alone.ms} ms`);

      const second = await connect(page);
      context.diagnostic(`${Math.round(second.ms)} ms at the second time`);
      assert.equal(second.transport, 'websocket');
      udp.restore();
      assert.equal((await connect(page)).transport, 'webtransport', 'at the next connect');
      udp.cut();
      assert.equal((await connect(page)).transport, 'websocket');
    });
  });
}
