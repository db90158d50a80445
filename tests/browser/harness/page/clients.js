/** In the page: clients by name, whose events are reported to the test. */

import { connect } from '/sdk/index.js';

const KINDS = [
  'connectionCreated',
  'connectionDestroyed',
  'signal',
  'rejected',
  'sessionReconnecting',
  'sessionReconnected',
  'sessionRejoined',
  'sessionDisconnected',
];

/** Sessions by the name of their client. */
export const sessions = new Map();

/** All events that were reported. */
export const log = [];

let waiting = [];
let isReporting = false;

// A page that is put aside cannot report, and the call of the report never returns.
addEventListener('pageshow', ({ persisted }) => {
  if (persisted) void reportWaiting();
});

/** Reports an event; those that come while others are on their way are reported together. */
function report(client, event) {
  const reported = { client, event: event.kind === 'signal' ? { ...event, from: event.from.connectionId } : event };
  log.push(reported);
  waiting.push(reported);
  if (!isReporting) void reportWaiting();
}

async function reportWaiting() {
  isReporting = true;
  while (waiting.length > 0) await window.reportEvents(waiting.splice(0));
  isReporting = false;
}

/** Options that can be passed to a page, as those of the SDK. */
export function connectOptions({ certificateHash, ...options }) {
  const value = new Uint8Array(certificateHash);
  return { ...options, serverCertificateHashes: [{ algorithm: 'sha-256', value }] };
}

export async function join(client, url, token, options) {
  const session = await connect(url, token, connectOptions(options));
  sessions.set(client, session);
  for (const kind of KINDS) session.on(kind, (event) => report(client, event));
  return { id: session.connection.id, transport: session.transport };
}
