/** What the tests of one file share: a browser and a gateway. */

import { after, before } from 'node:test';

import { Browser } from './browser.js';
import { Gateway } from './gateway.js';

/** Starts them before the first test. Their properties are set then. */
export function fixture(settings) {
  const shared = {};
  const ends = [];
  before(async () => {
    const context = { after: (end) => ends.push(end) };
    [shared.gateway, shared.browser] = await Promise.all([Gateway.start(context, settings), Browser.start(context)]);
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  return shared;
}
