/** What the tests of one file or suite share: a browser and gateways. */

import { after, before } from 'node:test';

import { Browser } from './browser.js';
import { Gateway } from './gateway.js';

/**
 * Starts a browser and gateways before the first test. `gateways` are their settings by the property
 * of the result that is set then.
 */
export function fixture(gateways, browser = 'chromium') {
  const shared = {};
  const ends = [];
  before(async () => {
    const context = { after: (end) => ends.push(end) };
    const starts = Object.entries(gateways).map(async ([name, settings]) => {
      shared[name] = await Gateway.start(context, settings);
    });
    shared.browser = await Browser.start(context, browser);
    await Promise.all(starts);
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  return shared;
}
