/** The page of `serve --dev`: one session in two pages, what a network does to it, and accessibility. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { assertAccessible } from './harness/accessible.js';
import { fixture } from './harness/fixture.js';
import { BROWSERS } from './harness/launch.js';

const shared = fixture({ gateway: {} });

/** A page that has joined in this role. */
async function join(context, role, { browser, gateway } = shared) {
  const url = new URL(gateway.page);
  url.searchParams.set('role', role);
  const { raw } = await browser.page(context, { url: url.href });
  await raw.locator('#state[data-state=connected]').waitFor();
  return raw;
}

const ownId = (page) => page.locator('#me code').getAttribute('title');
const entry = (page, text) => page.locator('#log .entry', { hasText: text });

async function send(page, data) {
  await page.getByLabel('Data').fill(data);
  await page.getByRole('button', { name: 'Send', exact: true }).click();
}

for (const browserName of BROWSERS) {
  describe(`in ${browserName}`, () => {
    const own = fixture({ gateway: {} }, browserName);

    test('two pages join, see each other and exchange signals', { timeout: 60_000 }, async (context) => {
      const [alice, bob] = [await join(context, 'moderator', own), await join(context, 'publisher', own)];
      await alice.getByText('Connected over WebTransport').waitFor();
      await alice.locator(`#people [data-id="${await ownId(bob)}"]`).waitFor();
      await send(bob, '<b>hello</b>');
      await entry(alice, '<b>hello</b>').waitFor();
      await bob.getByLabel('To', { exact: true }).selectOption(await ownId(alice));
      await send(bob, 'just you');
      await entry(alice, 'just you').waitFor();
      await entry(bob, 'you to').waitFor();
      await bob.getByLabel('To', { exact: true }).selectOption('');
      await bob.getByRole('button', { name: 'Send burst' }).click();
      await entry(alice, '100 signals').waitFor();
      await entry(bob, 'The gateway accepted 100 signals').waitFor();
      await alice.locator('#rtt-last', { hasText: 'ms' }).waitFor();
    });

    test('a cut network, a dropped link and another transport keep the connection', { timeout: 60_000 }, async (context) => {
      const [alice, bob] = [await join(context, 'moderator', own), await join(context, 'publisher', own)];
      const id = await ownId(alice);
      const resumed = alice.locator('#tile-resumed-detail');
      assert.equal(await resumed.textContent(), 'the link was never lost');
      await alice.getByRole('button', { name: 'Cut the network' }).click();
      await alice.locator('#state[data-state=reconnecting]').waitFor();
      assert.equal(await resumed.textContent(), 'the link was lost');
      await send(bob, 'meanwhile');
      await entry(bob, 'meanwhile').waitFor();
      await alice.getByRole('button', { name: 'Restore the network' }).click();
      await entry(alice, 'as the same connection: 1 missed and received').waitFor();
      await entry(alice, 'meanwhile').waitFor();
      assert.equal(await resumed.textContent(), '1 missed and received, nothing lost');

      await alice.getByRole('radio', { name: 'WebSocket' }).check({ force: true });
      await entry(alice, 'Resumed over WebSocket').waitFor();
      await alice.getByRole('radio', { name: 'WebTransport' }).check({ force: true });
      await entry(alice, 'Resumed over WebTransport').nth(1).waitFor();
      await alice.getByRole('button', { name: 'Drop the link' }).click();
      await entry(alice, 'Resumed over WebTransport').nth(2).waitFor();
      assert.equal(await ownId(alice), id);
      assert.equal(await alice.locator('#tile-resumed').textContent(), '4');
      // Nobody has seen it leave.
      assert.equal(await entry(bob, `${id.slice(0, 8)} left`).count(), 0);
    });
  });
}

test('a client leaves and joins again, changes its role, and is disconnected', { timeout: 60_000 }, async (context) => {
  const [alice, bob] = [await join(context, 'moderator'), await join(context, 'publisher')];
  await bob.getByRole('button', { name: 'Leave' }).click();
  await entry(bob, 'You left.').waitFor();
  for (const name of ['Drop the link', 'Cut the network']) {
    assert.ok(await bob.getByRole('button', { name }).isDisabled(), name);
  }
  await bob.getByRole('button', { name: 'Join', exact: true }).click();
  await bob.locator('#state[data-state=connected]').waitFor();
  await bob.getByLabel('Role').selectOption('subscriber');
  await bob.locator('#me', { hasText: 'role=subscriber' }).waitFor();
  await send(bob, 'not allowed');
  await entry(bob, 'Not sent: the gateway rejected the signal (forbidden)').waitFor();
  const id = await ownId(bob);
  await alice.getByRole('button', { name: `Disconnect ${id.slice(0, 8)}` }).click();
  await entry(bob, 'Disconnected (forceDisconnected)').waitFor();
  await alice.locator(`#people [data-id="${id}"]`).waitFor({ state: 'detached' });
});

test('a network that was cut when the client left can be restored', { timeout: 60_000 }, async (context) => {
  const alice = await join(context, 'moderator');
  await alice.getByRole('button', { name: 'Cut the network' }).click();
  await alice.locator('#state[data-state=reconnecting]').waitFor();
  await alice.getByRole('button', { name: 'Leave' }).click();
  await entry(alice, 'You left.').waitFor();
  assert.ok(await alice.getByRole('button', { name: 'Drop the link' }).isDisabled());
  await alice.getByRole('button', { name: 'Restore the network' }).click();
  assert.ok(await alice.getByRole('button', { name: 'Cut the network' }).isDisabled());
  await alice.getByRole('button', { name: 'Join', exact: true }).click();
  await alice.locator('#state[data-state=connected]').waitFor();
  assert.ok(await alice.getByRole('button', { name: 'Drop the link' }).isEnabled());
});

for (const [name, key, problem] of [
  ['without a key', '', 'The address of this page has no key.'],
  ['with a wrong key', '#wrong', 'The gateway does not accept the key in the address of this page.'],
]) {
  test(`a page ${name} says so, and joins when its address has the key`, { timeout: 60_000 }, async (context) => {
    const url = `${new URL(shared.gateway.page).origin}/${key}`;
    const { raw } = await shared.browser.page(context, { url, expected: /401 \(Unauthorized\)/ });
    const alert = raw.getByRole('alert');
    await alert.waitFor();
    const address = 'Open the address that "signalbox serve --dev" printed.';
    assert.equal(await alert.textContent(), `${problem} ${address}`);
    assert.equal(await raw.locator('#transport-hint').textContent(), 'With a token, this page joins over WebSocket only.');
    assert.equal((await raw.locator('.title p').textContent()).trim(), 'No session');
    for (const button of ['Drop the link', 'Cut the network']) {
      assert.ok(await raw.getByRole('button', { name: button }).isDisabled(), button);
    }
    await assertAccessible(raw);
    // Only the fragment changes, for which a browser loads nothing.
    await raw.evaluate((hash) => void (location.hash = hash), new URL(shared.gateway.page).hash);
    await raw.getByText('Connected over WebTransport').waitFor();
    assert.match(await raw.locator('.title p').textContent(), /^Session \S+/);
  });
}

test('a page without the key asks for a token, and loads nothing from elsewhere', { timeout: 60_000 }, async (context) => {
  const { origin } = new URL(shared.gateway.page);
  const expected = /401 \(Unauthorized\)/;
  const { raw } = await shared.browser.page(context, { url: 'about:blank', expected });
  const requests = [];
  raw.on('request', (request) => requests.push(request.url()));
  await raw.goto(`${origin}/`);
  await raw.getByRole('heading', { name: 'Join with a token' }).waitFor();
  const session = shared.gateway.newSession();
  await raw.getByLabel('Token').fill(shared.gateway.token({ session, data: 'alice' }));
  await raw.getByRole('button', { name: 'Join', exact: true }).first().click();
  await raw.getByText('Connected over WebSocket').waitFor();
  await raw.locator('#me', { hasText: 'alice' }).waitFor();
  assert.ok(requests.length >= 4, requests.join(' '));
  assert.deepEqual(requests.filter((it) => new URL(it).origin !== origin), []);
});

for (const [name, colorScheme, width] of [
  ['in light colours', 'light', 1280],
  ['in dark colours', 'dark', 1280],
  ['on a phone', 'light', 390],
]) {
  test(`axe finds nothing ${name}`, { timeout: 60_000 }, async (context) => {
    const [page, other] = [await join(context, 'moderator'), await join(context, 'publisher')];
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 844 });
    await send(other, 'hello');
    await entry(page, 'hello').waitFor();
    await page.getByLabel('To', { exact: true }).selectOption(await ownId(other));
    await send(page, 'just you');
    await entry(page, 'you to').waitFor();
    await assertAccessible(page);
  });
}
