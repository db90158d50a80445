/** Applications with the vendor's unmodified browser SDK. */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { EventLog } from './event-log.js';

const require = createRequire(new URL('../../opentok-js/', import.meta.url));
/** The vendor's SDK for servers. */
export const OpenTok = require('opentok');

/** The vendor's SDK for pages: the file as npm installs it. */
export const SDK = require.resolve('@opentok/client/dist/js/opentok.js');

/** In the page: an application, whose only new line is the first. */
function runApplication([url, apiKey, sessionId, token, options]) {
  OT.setProxyUrl(url);
  const session = OT.initSession(apiKey, sessionId, options);
  const show = (kind, members) => void window.reportLine(JSON.stringify({ kind, ...members }));
  session.on({
    connectionCreated: ({ connection }) => show('connectionCreated', { data: connection.data }),
    connectionDestroyed: ({ connection, reason }) => show('connectionDestroyed', { data: connection.data, reason }),
    sessionReconnecting: () => show('sessionReconnecting'),
    sessionReconnected: () => show('sessionReconnected'),
    sessionDisconnected: ({ reason }) => show('sessionDisconnected', { reason }),
    signal: ({ type, data, from }) => show('signal', { type, data, from: from?.data ?? null }),
  });
  session.connect(token, (error) => show(error ? 'failed' : 'connected', { error: error?.message }));
  window.session = session;
}

/** A page in the session, its events, and the addresses that it has asked. */
export async function openApplication(context, { browser, gateway }, { session, data, role, options = {} }) {
  // When publishing fails, the SDK leaves a rejected promise without a text behind.
  const page = await browser.page(context, { expected: /^$|OpenTok|WebRTC|(1500)|403/ });
  const events = new EventLog(data);
  const asked = new Set();
  const record = (url) => asked.add(new URL(url).host);
  page.raw.on('request', (request) => record(request.url()));
  page.raw.on('websocket', (socket) => record(socket.url()));
  await page.raw.exposeFunction('reportLine', (line) => events.push(JSON.parse(line)));
  await page.raw.addScriptTag({ path: SDK });
  const token = gateway.token({ session, role, data });
  await page.raw.evaluate(runApplication, [`https://${gateway.https}/opentok`, gateway.projectKey, session, token, options]);
  await events.next('connected');
  context.after(() => {
    const expected = [gateway.https, new URL(browser.site.url).host];
    assert.deepEqual([...asked].filter((host) => !expected.includes(host)), []);
  });
  return { raw: page.raw, events };
}
