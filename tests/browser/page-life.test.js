/** The life of a page: what the others see of it, and what it goes through unharmed. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { fixture } from './harness/fixture.js';
import { BROWSERS } from './harness/launch.js';
import { QuicClient } from './harness/quic-client.js';

/** Far less than the resume window, and far more than a goodbye takes. */
const AT_ONCE_MS = 5_000;

for (const browserName of BROWSERS) {
  describe(`in ${browserName}`, () => {
    const shared = fixture({ gateway: {} }, browserName);

    /** A page with a client, and a witness in the same session. */
    async function scene(context, transport) {
      const { browser, gateway } = shared;
      const session = gateway.newSession();
      const witness = await QuicClient.join(context, gateway, { session, data: 'witness' });
      const profile = await browser.profile(context);
      const page = await profile.page();
      const alice = await page.join(gateway, { session, data: 'alice', transports: [transport] });
      await witness.events.created(alice.id);
      return { session, witness, profile, page, alice };
    }

    for (const transport of ['webtransport', 'websocket']) {
      describe(`over ${transport}`, () => {
        const leaving = {
          'a page that is left': async ({ page }) => {
            // A page that has opened a window is not kept in the back/forward cache.
            await page.run(() => void window.open('about:blank'));
            await page.raw.goto('about:blank');
          },
          'a page that is reloaded': ({ page }) => page.raw.reload(),
          'a tab that is closed': ({ page }) => page.raw.close(),
        };
        for (const [name, leave] of Object.entries(leaving)) {
          test(`${name} says goodbye`, { timeout: 30_000 }, async (context) => {
            const actors = await scene(context, transport);
            const startedAt = performance.now();
            await leave(actors);
            const { reason } = await actors.witness.events.destroyed(actors.alice.id);
            const ms = Math.round(performance.now() - startedAt);
            assert.equal(reason, 'clientDisconnected');
            assert.ok(ms < AT_ONCE_MS, `${ms} ms`);
          });
        }

        // Firefox loads a page with a link again instead of caching it, and the other tests are not about
        // the browser.
        if (browserName === 'firefox') return;

        test('a page in the back/forward cache resumes when it is shown again', { timeout: 30_000 }, async (context) => {
          const { witness, page, alice } = await scene(context, transport);
          await page.run(() => (window.isTheSame = true));
          await page.raw.goto(shared.browser.site.otherUrl);
          witness.sendAll(['while it was away']);
          await witness.events.dataOf(witness.id, 1);
          await page.back();
          assert.ok(await page.run(() => window.isTheSame), 'the page was loaded from the cache');
          assert.deepEqual(await alice.events.dataOf(witness.id, 1), ['while it was away']);
          await alice.sendAll(['back again']);
          assert.deepEqual(await witness.events.dataOf(alice.id, 1), ['back again']);
          assert.equal(witness.events.of('connectionDestroyed').length, 0);
          const kinds = await page.run(async () => (await import('/page/clients.js')).log.map(({ event }) => event.kind));
          const signals = ['signal', 'signal'];
          assert.deepEqual(kinds, ['connectionCreated', 'sessionReconnecting', 'sessionReconnected', ...signals]);
        });

        test('offline and online again', { timeout: 30_000 }, async (context) => {
          const { witness, profile, page, alice } = await scene(context, transport);
          const heard = page.run(() => new Promise((resolve) => addEventListener('online', resolve, { once: true })).then(() => true));
          await profile.setOffline(true);
          await profile.setOffline(false);
          assert.ok(await heard);
          await alice.sendAll(['still here']);
          witness.sendAll(['me, too']);
          assert.deepEqual(await witness.events.dataOf(alice.id, 1), ['still here']);
          assert.deepEqual(await alice.events.dataOf(witness.id, 1), ['me, too']);
          assert.equal(witness.events.of('connectionDestroyed').length, 0);
          assert.equal(alice.events.of('sessionRejoined').length, 0);
        });

        test('two tabs are two connections', { timeout: 30_000 }, async (context) => {
          const { session, witness, profile, page, alice } = await scene(context, transport);
          const tab = await profile.page();
          const bob = await tab.join(shared.gateway, { session, data: 'bob', transports: [transport] });
          await alice.events.created(bob.id);
          await Promise.all([alice.sendAll(['from one']), bob.sendAll(['from the other'])]);
          for (const client of [alice, bob, witness]) {
            assert.deepEqual(await client.events.dataOf(alice.id, 1), ['from one']);
            assert.deepEqual(await client.events.dataOf(bob.id, 1), ['from the other']);
          }
          await page.raw.close();
          assert.equal((await bob.events.destroyed(alice.id)).reason, 'clientDisconnected');
          await bob.sendAll(['still here']);
          await witness.events.dataOf(bob.id, 2);
        });

        test('an attempt to connect that is aborted leaves nothing behind', { timeout: 30_000 }, async (context) => {
          const { session, witness, page } = await scene(context, transport);
          const { gateway } = shared;
          const token = gateway.token({ session, data: 'aborted' });
          const options = page.options(gateway, { transports: [transport] });
          const outcomes = await page.run(
            async ([url, text, all]) => {
              const { connect } = await import('/sdk/index.js');
              const { connectOptions } = await import('/page/clients.js');
              const outcomes = [];
              for (const ms of [0, 1, 2, 5, 10, 20, 40, 80]) {
                const controller = new AbortController();
                const connecting = connect(url, text, { ...connectOptions(all), signal: controller.signal });
                setTimeout(() => controller.abort('enough'), ms);
                // If it was too late for the abort, the session is joined.
                outcomes.push(await connecting.then((joined) => joined.disconnect().then(() => 'joined'), (reason) => reason));
              }
              const aborted = connect(url, text, { ...connectOptions(all), signal: AbortSignal.abort('before') });
              return [...outcomes, await aborted.catch((reason) => reason)];
            },
            [`https://${gateway.https}`, token, options],
          );
          context.diagnostic(outcomes.join(', '));
          assert.equal(outcomes.at(-1), 'before');
          assert.equal(outcomes[0], 'enough');
          assert.ok(outcomes.slice(0, -1).every((it) => it === 'enough' || it === 'joined'));
          // What was announced at all has left, as a client that has left on purpose.
          const last = await page.join(gateway, { session, data: 'last', transports: [transport] });
          await witness.events.created(last.id);
          for (const { connection } of witness.events.of('connectionCreated').filter((it) => it.connection.data === 'aborted')) {
            assert.equal((await witness.events.destroyed(connection.id)).reason, 'clientDisconnected');
          }
        });

        test('a component that is mounted twice, as in strict mode, joins once', { timeout: 30_000 }, async (context) => {
          const { session, witness, page } = await scene(context, transport);
          const { gateway } = shared;
          const token = gateway.token({ session, data: 'component' });
          const options = page.options(gateway, { transports: [transport] });
          const id = await page.run(
            async ([url, text, all]) => {
              const { connect } = await import('/sdk/index.js');
              const { connectOptions } = await import('/page/clients.js');
              let mounted;
              const effect = () => {
                const controller = new AbortController();
                const joining = connect(url, text, { ...connectOptions(all), signal: controller.signal });
                mounted = joining;
                joining.catch((error) => {
                  if (error.name !== 'AbortError') throw error;
                });
                return () => {
                  controller.abort();
                  void joining.then((joined) => joined.disconnect(), () => {});
                };
              };
              effect()();
              effect();
              return (await mounted).connection.id;
            },
            [`https://${gateway.https}`, token, options],
          );
          await witness.events.created(id);
          for (const { connection } of witness.events.of('connectionCreated').filter((it) => it.connection.data === 'component')) {
            if (connection.id !== id) await witness.events.destroyed(connection.id);
          }
          assert.equal(witness.events.of('connectionDestroyed').filter((it) => it.connection.id === id).length, 0);
        });
      });
    }
  });
}
