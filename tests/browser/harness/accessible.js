/** What axe finds in a page, and whether everything is within the window. */

import assert from 'node:assert/strict';

import axe from 'axe-core';

/** Fails if a page has problems for people with a keyboard, a screen reader or a small window. */
export async function assertAccessible(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const found = violations.flatMap(({ id, nodes }) => nodes.map((it) => `${id}: ${it.html}: ${it.failureSummary}`));
  assert.deepEqual(found, []);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, 'nothing is wider than the window');
}
