/** Sessions on the gateways of a cluster. */

import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

import { type Session, type SessionEvent, connect } from '../src/index.js';
import { resumable, startGateway } from './gateway.js';
import { startNats } from './nats.js';

const DEADLINE = { timeout: 60_000 };

const PART = 50;

/** Two gateways of a cluster, with the same project. */
async function pair(context: TestContext) {
  const nats = await startNats(context);
  const directory = mkdtempSync(join(tmpdir(), 'signalbox-'));
  const start = (name: string) =>
    startGateway(
      context,
      { SIGNALBOX_NAME: name, SIGNALBOX_CLUSTER__SERVERS: `["${nats}"]` },
      { directory },
    );
  const [first, second] = [await start('gw-1'), await start('gw-2')];
  return { first, second, urls: [first.url, second.url] };
}

/** Signals and presence events of a session from now on. */
function record(session: Session): SessionEvent[] {
  const events: SessionEvent[] = [];
  session.on('signal', (event) => events.push(event));
  session.on('connectionCreated', (event) => events.push(event));
  session.on('connectionDestroyed', (event) => events.push(event));
  return events;
}

/** The numbers in the signals of a sender. */
function heard(events: SessionEvent[], sender: Session): number[] {
  const numbers: number[] = [];
  for (const event of events) {
    if (event.kind !== 'signal' || event.type !== 'count') continue;
    if (event.from.connectionId === sender.connection.id) numbers.push(Number(event.data));
  }
  return numbers;
}

/** Sends a part of the numbers; `part` counts from 0. */
function send(session: Session, part: number): Promise<unknown> {
  const numbers = Array.from({ length: PART }, (_, number) => part * PART + number);
  return Promise.all(numbers.map((number) => session.signal({ type: 'count', data: String(number) })));
}

for (const [name, reason] of [
  ['is killed', 'networkDisconnected'],
  ['drains', 'shuttingDown'],
] as const) {
  test(`a client of a gateway that ${name} resumes on the other`, DEADLINE, async (context) => {
    const { first, second, urls } = await pair(context);
    const token = second.token();
    const alice = await connect(urls, token);
    const atAlice = alice.once('connectionCreated');
    const bob = await connect(second.url, token);
    // The gateways may know each other only now.
    assert.equal((await atAlice).connection.id, bob.connection.id);
    if (bob.connections.length === 0) await bob.once('connectionCreated');
    const { id } = alice.connection;
    const [ofAlice, ofBob] = [record(alice), record(bob)];
    await resumable(alice);
    await Promise.all([send(alice, 0), send(bob, 0)]);
    const until = async (events: SessionEvent[], sender: Session, count: number, by: Session) => {
      while (heard(events, sender).length < count) await by.once('signal');
    };
    await until(ofBob, alice, PART, bob);
    await until(ofAlice, bob, PART, alice);

    const reconnecting = alice.once('sessionReconnecting');
    const reconnected = alice.once('sessionReconnected');
    const stopped = reason === 'shuttingDown' ? first.stop() : first.process.kill('SIGKILL');
    assert.equal((await reconnecting).reason, reason);
    await Promise.all([send(alice, 1), send(bob, 1)]);
    assert.deepEqual((await reconnected).gap?.lost ?? [], []);
    await stopped;
    await Promise.all([send(alice, 2), send(bob, 2)]);
    await until(ofBob, alice, 3 * PART, bob);
    await until(ofAlice, bob, 3 * PART, alice);

    assert.equal(alice.connection.id, id);
    const all = Array.from({ length: 3 * PART }, (_, number) => number);
    assert.deepEqual(heard(ofBob, alice), all);
    assert.deepEqual(heard(ofAlice, bob), all);
    // Bob has noticed nothing.
    assert.deepEqual(ofBob.filter(({ kind }) => kind !== 'signal'), []);
    await Promise.all([alice, bob].map((it) => it.disconnect()));
  });
}
