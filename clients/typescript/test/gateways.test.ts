/** Sessions with the URLs of several gateways, which share no sessions. */

import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { once } from 'node:events';

import { connect } from '../src/index.js';
import { resumable, startGateway } from './gateway.js';

const DEADLINE = { timeout: 60_000 };

/** More than the head start of a silent gateway and a handshake; less than the timeout of an attempt. */
const LITTLE_MS = 3_000;

/** Two gateways with the same project. */
async function pair(context: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'signalbox-'));
  const first = await startGateway(context, {}, { directory });
  const second = await startGateway(context, {}, { directory });
  return { first, second, urls: [first.url, second.url] };
}

test('a gateway that is down or silent costs little', DEADLINE, async (context) => {
  const gateway = await startGateway(context);
  const silent = createServer();
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  context.after(() => silent.close());
  for (const port of [1, (silent.address() as AddressInfo).port]) {
    const begun = Date.now();
    const session = await connect([`ws://127.0.0.1:${port}`, gateway.url], gateway.token());
    assert.ok(Date.now() - begun < LITTLE_MS);
    await session.disconnect();
  }
});

for (const [name, reason] of [
  ['is killed', 'networkDisconnected'],
  ['drains', 'shuttingDown'],
] as const) {
  test(`a client of a gateway that ${name} joins the other`, DEADLINE, async (context) => {
    const { first, second, urls } = await pair(context);
    const token = second.token();
    const session = await connect(urls, token);
    const before = session.connection.id;
    await resumable(session);
    const reconnecting = session.once('sessionReconnecting');
    const rejoined = session.once('sessionRejoined');
    const stopped = reason === 'shuttingDown' ? first.stop() : first.process.kill('SIGKILL');
    assert.equal((await reconnecting).reason, reason);
    await rejoined;
    assert.notEqual(session.connection.id, before);
    const bob = await connect(second.url, token);
    const created = await bob.once('connectionCreated');
    assert.equal(created.connection.id, session.connection.id);
    await Promise.all([session, bob].map((it) => it.disconnect()));
    await stopped;
  });
}
