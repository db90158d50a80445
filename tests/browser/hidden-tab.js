/**
 * The vendor's browser SDK in a tab that is hidden for two minutes, in which Chromium runs its timers once
 * a minute. It takes as long, so it is not among the tests: `npm run hidden-tab`.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as after } from 'node:timers/promises';

import { Gateway } from './harness/gateway.js';
import { SDK } from './harness/opentok-js.js';
import { Site } from './harness/site.js';
import { Tabs } from './harness/tabs.js';

const HIDDEN_MS = 150_000;

/** Chromium holds the timers of a hidden page back after some minutes; here after a second. */
const THROTTLING = '--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1';

/** In the page: joins, and records what it sees. */
function runApplication(url, apiKey, sessionId, token) {
  window.seen = [];
  OT.setProxyUrl(url);
  window.session = OT.initSession(apiKey, sessionId);
  for (const kind of ['sessionReconnecting', 'sessionDisconnected']) session.on(kind, () => seen.push(kind));
  window.heard = new Promise((resolve) => session.on('signal', ({ data }) => resolve(data)));
  return new Promise((resolve, reject) => session.connect(token, (error) => (error ? reject(error) : resolve())));
}

/** In the page: counts the runs of a timer that sets itself again each second. */
function countTimers() {
  window.runs = 0;
  const run = () => {
    window.runs += 1;
    setTimeout(run, 1000);
  };
  run();
}

test('a tab that is hidden for two minutes keeps its link', { timeout: HIDDEN_MS + 60_000 }, async (context) => {
  const gateway = await Gateway.start(context, { SIGNALBOX_TLS__PLAINTEXT_TCP: 'true' });
  const site = await Site.start(context);
  const tabs = await Tabs.start(context, THROTTLING, '--ignore-certificate-errors');
  const session = gateway.newSession();
  const open = async (data) => {
    const tab = await tabs.open(site.url);
    await tab.run('new Promise((resolve) => (document.readyState === "complete" ? resolve() : (onload = resolve)))');
    await tab.run(readFileSync(SDK, 'utf8') + '\n;0');
    const settings = [`http://${gateway.https}/opentok`, gateway.projectKey, session, gateway.token({ session, data })];
    await tab.run(`(${runApplication})(...${JSON.stringify(settings)})`);
    return tab;
  };
  const alice = await open('alice');
  const bob = await open('bob');
  await bob.show();
  assert.equal(await alice.run('document.visibilityState'), 'hidden');
  await alice.run(`(${countTimers})()`);
  await after(HIDDEN_MS);
  const runs = await alice.run('runs');
  assert.ok(runs <= 20, `its timers are held back: one has run ${runs} times`);
  assert.deepEqual(await alice.run('seen'), []);
  await bob.run(`new Promise((resolve) => session.signal({ data: 'hello' }, resolve))`);
  assert.equal(await alice.run('heard'), 'hello');
  assert.deepEqual(await alice.run('seen'), []);
});
