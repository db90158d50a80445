/**
 * Makes the pictures of the admin page in docs: a gateway with a few sessions. The gateway is
 * SIGNALBOX_BIN.
 *
 *     node admin-screenshots.js DIRECTORY
 */

import { setTimeout as wait } from 'node:timers/promises';

import { Gateway } from './harness/gateway.js';
import { launch } from './harness/launch.js';
import { QuicClient } from './harness/quic-client.js';

/** Rounds of signals, and the time between two: the chart fills meanwhile. */
const ROUNDS = 60;
const ROUND_MS = 1000;

const directory = process.argv[2];
if (!directory) throw new Error('usage: node admin-screenshots.js DIRECTORY');

const ends = [];
const context = { after: (end) => ends.push(end) };
try {
  const gateway = await Gateway.start(context, { SIGNALBOX_LIMITS__CONNECTIONS: '50000', SIGNALBOX_NAME: 'gw-1' });
  const sessions = Array.from({ length: 4 }, () => gateway.newSession());
  const names = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy'];
  const clients = await Promise.all(
    names.map((name, index) => {
      const data = JSON.stringify({ user: name, device: index % 3 === 0 ? 'phone' : 'laptop' });
      const session = sessions[Math.floor(index ** 2 / 26)];
      return QuicClient.join(context, gateway, { session, role: 'moderator', data });
    }),
  );
  const browser = await launch('chromium');
  context.after(() => browser.close());

  // Clients over the other transports.
  for (const role of ['publisher', 'subscriber']) {
    const page = await (await browser.newContext()).newPage();
    const url = new URL(gateway.page);
    url.searchParams.set('role', role);
    await page.goto(url.href);
    await page.locator('#state[data-state=connected]').waitFor();
    if (role === 'subscriber') await page.getByRole('radio', { name: 'WebSocket' }).check({ force: true });
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const client of clients) client.sendAll(Array.from({ length: 1 + ((round * 7) % 11) }, (_, number) => `${number}`));
    if (round % 20 === 10) clients[0].kick(clients.pop().id);
    await wait(ROUND_MS);
  }

  const wide = { viewport: { width: 1280, height: 640 } };
  for (const [name, view, options] of [
    ['admin-light', '#/', { ...wide, colorScheme: 'light' }],
    ['admin-dark', `#/sessions/${sessions[0]}`, { ...wide, colorScheme: 'dark' }],
    ['admin-phone', '#/', { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5, colorScheme: 'light' }],
  ]) {
    const page = await (await browser.newContext(options)).newPage();
    await page.goto(`http://${gateway.ops}/${view}`);
    await page.getByText('Ready').waitFor();
    await page.locator(view === '#/' ? '#projects tr' : '#connection-rows tr').first().waitFor();
    await page.screenshot({ path: `${directory}/${name}.png` });
    console.log(`${directory}/${name}.png`);
  }
} finally {
  for (const end of ends.reverse()) await end();
}
