/**
 * Makes the pictures of the page in docs: one session with three clients, of which one had no network
 * for a while. The gateway is SIGNALBOX_BIN; its release build, for round trips of a usual size.
 *
 *     node screenshots.js DIRECTORY
 */

import { setTimeout as wait } from 'node:timers/promises';

import { Gateway } from './harness/gateway.js';
import { launch } from './harness/launch.js';

/** Time for the charts to fill. */
const CHART_MS = 30_000;

const directory = process.argv[2];
if (!directory) throw new Error('usage: node screenshots.js DIRECTORY');

const ends = [];
try {
  const gateway = await Gateway.start({ after: (end) => ends.push(end) });
  const browser = await launch('chromium');
  ends.push(() => browser.close());

  const join = async (role, options) => {
    const profile = await browser.newContext({ ...options });
    const page = await profile.newPage();
    const url = new URL(gateway.page);
    url.searchParams.set('role', role);
    await page.goto(url.href);
    await page.locator('#state[data-state=connected]').waitFor();
    return page;
  };
  const say = async (page, type, data) => {
    await page.getByLabel('Type').fill(type);
    await page.getByLabel('Data').fill(data);
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.locator('#log .entry', { hasText: data }).first().waitFor();
  };
  const click = (page, name) => page.getByRole('button', { name }).click();

  const wide = { viewport: { width: 1280, height: 880 } };
  const alice = await join('moderator', { ...wide, colorScheme: 'light' });
  const bob = await join('publisher', { ...wide, colorScheme: 'dark' });
  const carol = await join('publisher', { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5, colorScheme: 'light' });

  await say(alice, 'chat', 'hello, everyone');
  await say(bob, 'chat', 'hi! I am on a train');
  await say(carol, 'offer', '{"sdp":"v=0"}');
  await wait(CHART_MS / 2);
  await click(alice, 'Cut the network');
  await alice.locator('#state[data-state=reconnecting]').waitFor();
  await say(bob, 'chat', 'Alice, are you there?');
  await say(carol, 'candidate', '{"candidate":"1 udp 2113"}');
  await wait(3000);
  await click(alice, 'Restore the network');
  await alice.locator('#state[data-state=connected]').waitFor();
  await bob.getByRole('radio', { name: 'WebSocket' }).check({ force: true });
  await bob.locator('#log .entry', { hasText: 'Resumed over WebSocket' }).waitFor();
  await say(alice, 'chat', 'here again, and I missed nothing');
  await click(bob, 'Send burst');
  await bob.getByText('The gateway accepted').waitFor();
  await click(carol, 'Drop the link');
  await carol.locator('#log .entry', { hasText: 'Resumed' }).waitFor();
  await wait(CHART_MS / 2);

  for (const [name, page] of Object.entries({ 'page-light': alice, 'page-dark': bob, 'page-phone': carol })) {
    // The places of the mouse and of the keyboard are not part of the picture.
    await page.mouse.move(0, 0);
    await page.evaluate(() => {
      document.activeElement?.blur();
      scrollTo(0, 0);
    });
    await page.screenshot({ path: `${directory}/${name}.png` });
    console.log(`${directory}/${name}.png`);
  }
} finally {
  for (const end of ends.reverse()) await end();
}
