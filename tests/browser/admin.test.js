/** The admin page: live sessions, actions, hostile data, who may use it, and accessibility. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { assertAccessible } from './harness/accessible.js';
import { fixture } from './harness/fixture.js';
import { Gateway } from './harness/gateway.js';
import { BROWSERS, launch } from './harness/launch.js';
import { QuicClient } from './harness/quic-client.js';

const TOKEN = '0123456789abcdef';
/** Would run in a page that reads it as HTML, and turns the direction of what follows. */
const HOSTILE = '\u202e<img src=x onerror="globalThis.broken=1"></td></script><script>globalThis.broken=1</script>';

const shared = fixture({ gateway: {} });

/** The admin page in a profile of its own, at this view. */
async function open(context, view = '', { browser, gateway } = shared, options = {}) {
  const { raw } = await browser.page(context, { url: `http://${gateway.ops}/#/${view}`, ...options });
  return raw;
}

/** The admin page as it shows this session. */
async function openSession(context, session, from = shared) {
  const page = await open(context, `sessions/${session}`, from);
  await page.locator('#connections-scroll').waitFor();
  return page;
}

const button = (page, name) => page.getByRole('button', { name });
const row = (page, id) => page.locator('#connection-rows tr', { has: page.locator(`code[title="${id}"]`) });
const outcome = (page, text) => page.locator('#outcome', { hasText: text }).waitFor();

/** Answers the question before an action. */
async function confirm(page, action) {
  await page.getByRole('dialog').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: action }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
}

const ended = async (client) => (await client.events.next('sessionDisconnected')).reason;

for (const browserName of BROWSERS) {
  describe(`in ${browserName}`, () => {
    const own = fixture({ gateway: {} }, browserName);

    test('live sessions are shown and found, a client is disconnected, and a session ended', { timeout: 60_000 }, async (context) => {
      const { gateway } = own;
      const session = gateway.newSession();
      const [alice, bob] = [
        await QuicClient.join(context, gateway, { session, data: 'user=alice' }),
        await QuicClient.join(context, gateway, { session, data: 'user=bob' }),
      ];
      // The session is asked for until it is left, and has ended before.
      const page = await open(context, '', own, { expected: /404 \(Not Found\)/ });
      await page.getByText('Ready').waitFor();
      await page.locator('#connections', { hasText: /^2$/ }).waitFor();
      alice.sendAll(['hello']);
      await page.locator('#transports tr', { hasText: 'QUIC' }).locator('td').nth(4).filter({ hasText: /^1$/ }).waitFor();

      await page.getByRole('link', { name: 'Sessions' }).click();
      await page.getByLabel('A part of a session id').fill('USER=Bob');
      await page.keyboard.press('Enter');
      await page.locator('#session-rows', { hasText: 'user=bob' }).waitFor();
      assert.equal(await page.locator('#session-rows tr').count(), 1);
      await page.locator('#session-rows a').click();
      await row(page, alice.id).waitFor();
      await row(page, bob.id).getByText('user=bob').waitFor();
      await row(page, bob.id).getByText('127.0.0.1:').waitFor();
      await row(page, bob.id).getByText(/^link \d+$/).waitFor();
      await row(page, bob.id).getByText(/^[\d.]+ m?s$/).waitFor();

      await button(page, `Disconnect ${bob.id.slice(0, 8)}`).click();
      await confirm(page, 'Cancel');
      await button(page, `Disconnect ${bob.id.slice(0, 8)}`).click();
      await confirm(page, 'Disconnect');
      await outcome(page, `Connection ${bob.id.slice(0, 8)} disconnected.`);
      assert.equal(await ended(bob), 'forceDisconnected');
      await row(page, bob.id).waitFor({ state: 'detached' });
      await row(page, alice.id).waitFor();

      await button(page, 'End the session').click();
      await confirm(page, 'End the session');
      await outcome(page, '1 connection of this gateway disconnected');
      assert.equal(await ended(alice), 'forceDisconnected');
      await page.getByText('This session has no connections on this gateway.').waitFor();
      await page.getByRole('link', { name: 'Overview' }).click();
      await page.locator('#ends', { hasText: 'forceDisconnected' }).waitFor();
      await page.locator('#ended tr', { hasText: bob.id.slice(0, 8) }).waitFor();
    });
  });
}

test('tokens of a user are revoked, and the revocation is deleted', { timeout: 60_000 }, async (context) => {
  const { gateway } = shared;
  const session = gateway.newSession();
  const carol = await QuicClient.join(context, gateway, { session, data: 'user=carol' });
  const page = await openSession(context, session);
  await button(page, `Revoke ${carol.id.slice(0, 8)}`).click();
  await page.getByRole('heading', { name: 'Revoke client tokens' }).waitFor();
  assert.equal(await page.getByLabel('Connection data', { exact: true }).inputValue(), 'user=carol');
  assert.equal(await page.getByLabel('Session id', { exact: true }).inputValue(), session);
  await button(page, 'Revoke…').click();
  await confirm(page, 'Revoke');
  await outcome(page, 'Tokens revoked: 1 connection of this gateway disconnected.');
  assert.equal(await ended(carol), 'forceDisconnected');
  const revocation = page.locator('#revocation-rows tr', { hasText: 'user=carol' });
  await revocation.getByRole('button').click();
  await confirm(page, 'Delete');
  await outcome(page, 'Revocation deleted.');
  await revocation.waitFor({ state: 'detached' });
  await button(page, 'Revoke…').click();
  await page.getByRole('alert').getByText('Give connection data, a session id or a token id.').waitFor();
});

test('a drain is asked about, and ends the gateway', { timeout: 60_000 }, async (context) => {
  const gateway = await Gateway.start(context);
  const client = await QuicClient.join(context, gateway, { session: gateway.newSession(), data: '' });
  const expected = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/;
  const page = await open(context, '', { ...shared, gateway }, { expected });
  await button(page, 'Drain this gateway').click();
  await confirm(page, 'Drain');
  await client.events.next('sessionReconnecting');
  await page.getByText('Not reachable').waitFor();
  await page.getByRole('alert').getByText('The gateway does not answer.').waitFor();
  await gateway.ended();
});

test('hostile connection data is shown as text, and nothing of it runs', { timeout: 60_000 }, async (context) => {
  const { gateway } = shared;
  const session = gateway.newSession();
  const mallory = await QuicClient.join(context, gateway, { session, data: HOSTILE });
  const page = await open(context, 'sessions?search=onerror', shared, { expected: /400 \(Bad Request\)/ });
  const shows = async (place) => {
    await page.locator(place, { hasText: HOSTILE }).first().waitFor();
    const state = await page.evaluate(() => [globalThis.broken, document.querySelectorAll('img').length, document.scripts.length]);
    // The icon in the heading, and the page's own script.
    assert.deepEqual(state, [undefined, 1, 1], place);
  };
  await shows('#session-rows bdi');
  await page.locator('#session-rows a').click();
  await shows('#connection-rows bdi');
  await button(page, `Disconnect ${mallory.id.slice(0, 8)}`).click();
  await shows('#confirm-text bdi');
  await confirm(page, 'Cancel');
  await button(page, `Revoke ${mallory.id.slice(0, 8)}`).click();
  await button(page, 'Revoke…').click();
  await shows('#confirm-text bdi');
  await confirm(page, 'Revoke');
  await shows('#revocation-rows bdi');
  // In an address, too.
  await page.goto(`http://${gateway.ops}/#/sessions/${encodeURIComponent(HOSTILE)}`);
  await shows('#session-id');
});

test('a page of another origin, and another name of this machine, get nothing', { timeout: 60_000 }, async (context) => {
  const { browser, gateway } = shared;
  const address = `http://${gateway.ops}`;
  const foreign = await browser.page(context, { expected: /403|CORS|ERR_FAILED|ERR_BLOCKED_BY_RESPONSE/ });
  const answers = await foreign.run(async (ops) => {
    const ask = async (path, options) => {
      const answer = await fetch(`${ops}/${path}`, options).catch((error) => error.name);
      return answer.type ?? answer;
    };
    const changes = { 'X-Signalbox-Admin': '1' };
    return [
      await ask('admin/overview'),
      await ask('admin/drain', { method: 'POST', headers: changes }),
      // Sent without asking first, as it has no header of its own.
      await ask('admin/drain', { method: 'POST', mode: 'no-cors' }),
    ];
  }, address);
  assert.deepEqual(answers, ['TypeError', 'TypeError', 'TypeError']);
  const { gateway: state } = await (await fetch(`${address}/admin/overview`)).json();
  assert.equal(state.draining, false);

  const rebound = await launch('chromium', { args: ['--host-resolver-rules=MAP evil.example 127.0.0.1'] });
  context.after(() => rebound.close());
  const page = await rebound.newPage();
  const port = new URL(address).port;
  const answer = await page.goto(`http://evil.example:${port}/`);
  assert.equal(answer.status(), 421);
});

test('with a token, the page asks for it', { timeout: 60_000 }, async (context) => {
  const gateway = await Gateway.start(context, { SIGNALBOX_OPS__TOKEN: TOKEN });
  const page = await open(context, 'settings', { ...shared, gateway }, { expected: /401 \(Unauthorized\)/ });
  const input = page.getByLabel('Token (setting ops.token)');
  await input.waitFor();
  await assertAccessible(page);
  await input.fill('not this one');
  await button(page, 'Continue').click();
  await page.getByText('The gateway does not accept this token.').waitFor();
  await input.fill(TOKEN);
  await page.keyboard.press('Enter');
  await page.locator('#settings-rows', { hasText: 'limits.connections' }).waitFor();
  await page.reload();
  await page.locator('#settings-rows', { hasText: 'limits.connections' }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
});

test('the configuration is filtered, and has no secrets', { timeout: 60_000 }, async (context) => {
  const page = await open(context, 'settings');
  await page.locator('#settings-rows', { hasText: 'limits.connections' }).waitFor();
  const text = await page.locator('#settings-rows').textContent();
  assert.ok(text.includes(shared.gateway.projectKey) && !text.includes(shared.gateway.projectSecret));
  await page.getByLabel('A part of a name').fill('outbox_bytes');
  await page.getByText('1 setting. Secrets are hidden.').waitFor();
  await page.getByLabel('Only those that differ').check();
  await page.getByText('0 settings. Secrets are hidden.').waitFor();
});

test('the configuration is reloaded', { timeout: 60_000 }, async (context) => {
  const page = await open(context, 'settings');
  await button(page, 'Reload the configuration').click();
  await confirm(page, 'Reload');
  await outcome(page, 'Configuration reloaded: 0 changes.');
  await page.locator('#settings-rows', { hasText: 'limits.connections' }).waitFor();
  await assertAccessible(page);
});

test('everything can be done with the keyboard, and a refresh does not take the focus', { timeout: 60_000 }, async (context) => {
  const { gateway } = shared;
  const session = gateway.newSession();
  const dave = await QuicClient.join(context, gateway, { session, data: 'user=dave' });
  const page = await open(context);
  await page.getByText('Ready').waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent);
  const tabTo = async (label) => {
    for (let step = 0; step < 60; step++) {
      await page.keyboard.press('Tab');
      if ((await focused())?.startsWith(label)) return;
    }
    assert.fail(`${label} cannot be reached`);
  };
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Skip to the content');
  await tabTo('Sessions');
  await page.keyboard.press('Enter');
  await page.locator('h2:focus', { hasText: 'Sessions' }).waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.type('user=dave');
  await page.keyboard.press('Enter');
  await page.locator('#session-rows', { hasText: 'user=dave' }).waitFor();
  await tabTo('…');
  await page.keyboard.press('Enter');
  await row(page, dave.id).waitFor();
  const label = `Disconnect ${dave.id.slice(0, 8)}`;
  await tabTo(label);
  dave.sendAll(['one', 'two']);
  await row(page, dave.id).locator('td').nth(6).filter({ hasText: /^2$/ }).waitFor();
  assert.equal(await focused(), label);
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.equal(await focused(), 'Cancel');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal(await focused(), label);
  await page.keyboard.press('Enter');
  await tabTo('Disconnect');
  await page.keyboard.press('Enter');
  await outcome(page, `Connection ${dave.id.slice(0, 8)} disconnected.`);
  assert.equal(await ended(dave), 'forceDisconnected');
});

for (const [name, colorScheme, width] of [
  ['in light colours', 'light', 1280],
  ['in dark colours', 'dark', 1280],
  ['on a phone', 'light', 390],
]) {
  test(`axe finds nothing ${name}, and nothing is loaded from elsewhere`, { timeout: 60_000 }, async (context) => {
    const { gateway } = shared;
    const session = gateway.newSession();
    const client = await QuicClient.join(context, gateway, { session, data: `user=${name}` });
    const page = await open(context);
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 844 });
    const requests = [];
    page.on('request', (request) => requests.push(request.url()));
    await page.reload();
    await page.locator('#projects', { hasText: gateway.projectKey }).waitFor();
    await assertAccessible(page);
    for (const [view, shown] of [
      ['Sessions', '#session-rows a'],
      ['Revocations', '#project option'],
      ['Configuration', '#settings-rows tr'],
    ]) {
      await page.getByRole('link', { name: view }).click();
      await page.locator(shown).first().waitFor({ state: 'attached' });
      await assertAccessible(page);
    }
    await page.goto(`http://${gateway.ops}/#/sessions/${session}`);
    await row(page, client.id).waitFor();
    await assertAccessible(page);
    await button(page, 'End the session').click();
    await assertAccessible(page);
    assert.deepEqual(requests.filter((it) => new URL(it).host !== gateway.ops), []);
    assert.ok(requests.length > 4);
  });
}
