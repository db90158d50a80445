import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { after, before, test } from 'node:test';

import { type Session, type SessionEvent, connect } from '../src/index.js';
import { type Gateway, resumable, startGateway } from './gateway.js';
import { startProxy } from './proxy.js';

const DEADLINE = { timeout: 60_000 };

let gateway: Gateway;
const cleanups: (() => unknown)[] = [];
before(async () => {
  gateway = await startGateway({ after: (fn) => cleanups.push(fn) });
});
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

function record(session: Session): SessionEvent[] {
  const events: SessionEvent[] = [];
  for (const kind of [
    'connectionCreated', 'connectionDestroyed', 'signal', 'rejected', 'sessionReconnecting', 'sessionReconnected',
    'sessionRejoined', 'sessionDisconnected',
  ] as const) {
    session.on(kind, (event) => events.push(event));
  }
  return events;
}

const datas = (events: SessionEvent[]) => events.flatMap((it) => (it.kind === 'signal' ? [it.data] : []));

test('a client that loses its link resumes, and misses nothing', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const proxy = await startProxy(context, gateway.url);
  const alice = await connect(proxy.url, gateway.token({ session }));
  await resumable(alice);
  const created = alice.once('connectionCreated');
  const bob = await connect(gateway.url, gateway.token({ session }));
  const { id } = alice.connection;
  await created;
  const [atAlice, atBob] = [record(alice), record(bob)];
  const before = alice.once('signal');
  await bob.signal({ data: 'before' });
  await before;

  proxy.open = false;
  const reconnecting = alice.once('sessionReconnecting');
  proxy.cut();
  assert.equal((await reconnecting).reason, 'networkDisconnected');
  assert.equal(alice.state, 'reconnecting');
  assert.equal(alice.transport, undefined);
  const cannotWait = assert.rejects(alice.signal({ data: 'now or never', retryAfterReconnect: false }), {
    code: 'notSent',
  });
  const queued = alice.signal({ data: 'queued' });
  await bob.signal({ data: 'meanwhile' });
  await cannotWait;
  proxy.open = true;
  let transport: string | undefined;
  alice.on('sessionReconnected', () => (transport = alice.transport));
  const reconnected = await alice.once('sessionReconnected');
  assert.equal(transport, 'websocket', 'known to the listener');
  assert.deepEqual([reconnected.missed, reconnected.gap], [1, undefined]);
  assert.equal(alice.state, 'connected');
  await queued;
  await bob.signal({ data: 'after' });
  const last = alice.once('signal:end');
  await bob.signal({ type: 'end' });
  await last;
  assert.equal(alice.connection.id, id);
  assert.deepEqual(datas(atAlice).sort(), ['after', 'before', 'meanwhile', 'queued', undefined]);
  assert.deepEqual(datas(atBob).filter((it) => it === 'queued').length, 1);
  assert.ok(!atBob.some((it) => it.kind.startsWith('connection') && it.kind !== 'connectionCreated'));
  await Promise.all([alice.disconnect(), bob.disconnect()]);
});

test('a signal whose confirmation is lost arrives once', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const proxy = await startProxy(context, gateway.url);
  const alice = await connect(proxy.url, gateway.token({ session }));
  await resumable(alice);
  const bob = await connect(gateway.url, gateway.token({ session }));
  const atBob = record(bob);
  for (let round = 0; round < 5; round++) {
    const received = bob.once('signal');
    const sent = Array.from({ length: 20 }, (_, n) => alice.signal({ data: `${round}.${n}` }));
    await received;
    proxy.cut();
    await Promise.all(sent);
  }
  await alice.disconnect();
  const expected = Array.from({ length: 100 }, (_, n) => `${Math.floor(n / 20)}.${n % 20}`);
  assert.deepEqual(datas(atBob), expected);
  await bob.disconnect();
});

test('a client that leaves without a link comes back once to say goodbye', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const proxy = await startProxy(context, gateway.url);
  const alice = await connect(proxy.url, gateway.token({ session }));
  await resumable(alice);
  const bob = await connect(gateway.url, gateway.token({ session }));
  proxy.open = false;
  const reconnecting = alice.once('sessionReconnecting');
  proxy.cut();
  await reconnecting;
  const destroyed = bob.once('connectionDestroyed');
  const received = bob.once('signal');
  const last = alice.signal({ data: 'last words' });
  proxy.open = true;
  await Promise.all([alice.disconnect(), last]);
  assert.equal((await received).data, 'last words');
  assert.equal((await destroyed).reason, 'clientDisconnected');
  await bob.disconnect();
});

test('a client that leaves where nothing answers leaves in a few seconds', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const proxy = await startProxy(context, gateway.url);
  const alice = await connect(proxy.url, gateway.token({ session }));
  await resumable(alice);
  proxy.fallSilent();
  const ended = alice.once('sessionDisconnected');
  const lost = alice.signal({ data: 'lost' });
  const failed = assert.rejects(lost, { code: 'disconnected' });
  await alice.disconnect();
  assert.equal((await ended).reason, 'clientDisconnected');
  await failed;
});

test('a link that falls silent is noticed by the client', DEADLINE, async (context) => {
  const quick = await startGateway(context, { SIGNALBOX_TIMEOUTS__IDLE_MS: '1000' });
  const proxy = await startProxy(context, quick.url);
  const alice = await connect(proxy.url, quick.token());
  await resumable(alice);
  assert.equal(alice.limits.idleTimeoutMs, 1000);
  const events = record(alice);
  proxy.fallSilent();
  assert.match((await alice.once('sessionReconnecting')).message, /idle timeout/);
  await alice.once('sessionReconnected');
  assert.deepEqual(events.map((it) => it.kind), ['sessionReconnecting', 'sessionReconnected']);
  await alice.disconnect();
});

test('without resume the client joins again as another connection', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const proxy = await startProxy(context, gateway.url);
  let asked = 0;
  const provider = () => {
    asked++;
    return gateway.token({ session });
  };
  const alice = await connect(proxy.url, provider, { resume: false });
  const { id } = alice.connection;
  proxy.cut();
  const { connection } = await alice.once('sessionRejoined');
  assert.notEqual(connection.id, id);
  assert.equal(alice.connection.id, connection.id);
  assert.equal(asked, 2);
  await alice.signal({ data: 'x' });
  await alice.disconnect();
});

test('without resume and rejoin the session ends with its link', DEADLINE, async (context) => {
  const proxy = await startProxy(context, gateway.url);
  const alice = await connect(proxy.url, gateway.token(), { resume: false, rejoin: false });
  const ended = alice.once('sessionDisconnected');
  proxy.cut();
  assert.equal((await ended).reason, 'networkDisconnected');
  assert.equal(proxy.accepted, 1);
});

test('a token provider that fails when the client joins again is asked until it works', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const proxy = await startProxy(context, gateway.url);
  const answers = [() => gateway.token({ session }), () => Promise.reject(new Error('down')), () => gateway.token({ session })];
  const alice = await connect(proxy.url, () => answers.shift()!(), { resume: false });
  proxy.cut();
  await alice.once('sessionRejoined');
  assert.equal(answers.length, 0);
  await alice.disconnect();
});

test('a gateway that shuts down and starts again is joined again', DEADLINE, async (context) => {
  const directory = mkdtempSync(joinPath(tmpdir(), 'signalbox-'));
  const first = await startGateway(context, {}, { directory });
  const session = first.newSession();
  const alice = await connect(first.url, first.token({ session }));
  await resumable(alice);
  const events = record(alice);
  const reconnecting = alice.once('sessionReconnecting');
  const stopped = first.stop();
  assert.equal((await reconnecting).reason, 'shuttingDown');
  await stopped;
  const back = alice.once('sessionRejoined');
  await startGateway(context, {}, { directory, tcp: new URL(first.url).host });
  await back;
  const echo = alice.once('signal');
  await alice.signal({ data: 'again' });
  assert.equal((await echo).data, 'again');
  assert.deepEqual(events.map((it) => it.kind), ['sessionReconnecting', 'sessionRejoined', 'signal']);
  await alice.disconnect();
});

test('a client of a gateway that drains goes to the next in its list', DEADLINE, async (context) => {
  const directory = mkdtempSync(joinPath(tmpdir(), 'signalbox-'));
  const first = await startGateway(context, { SIGNALBOX_DRAIN__SPREAD_MS: '1000' }, { directory });
  const session = first.newSession();
  const second = await startGateway(context, {}, { directory });
  const alice = await connect([first.url, second.url], first.token({ session }));
  await resumable(alice);
  const { message } = await (async () => {
    const reconnecting = alice.once('sessionReconnecting');
    first.process.kill('SIGTERM');
    return reconnecting;
  })();
  assert.match(message, /asked its clients to reconnect/);
  await alice.once('sessionRejoined');
  await alice.signal({ data: 'elsewhere' });
  const bob = await connect(second.url, second.token({ session }));
  assert.equal((await bob.once('connectionCreated')).connection.id, alice.connection.id);
  await Promise.all([alice.disconnect(), bob.disconnect()]);
});

test('on a bad network every signal arrives once and in order', DEADLINE, async (context) => {
  const chaotic = await startGateway(
    context,
    { SIGNALBOX_TIMEOUTS__IDLE_MS: '1500' },
    { options: ['--chaos', 'cut=800ms,delay=5ms,drop=0.005,seed=7'] },
  );
  const session = chaotic.newSession();
  const join = () => connect(chaotic.url, () => chaotic.token({ session }));
  const [alice, bob] = [await join(), await join()];
  await Promise.all([resumable(alice), resumable(bob)]);
  const [atAlice, atBob] = [record(alice), record(bob)];
  const sent: Promise<void>[] = [];
  const reconnects = () =>
    [...atAlice, ...atBob].filter((it) => it.kind === 'sessionReconnected').length;
  let count = 0;
  while (reconnects() < 6) {
    sent.push(alice.signal({ data: String(count) }), bob.signal({ data: String(count) }));
    count++;
    if (sent.length % 16 === 0) await Promise.all(sent);
  }
  await Promise.all(sent);
  const [lastAtAlice, lastAtBob] = [alice.once('signal:last'), bob.once('signal:last')];
  await alice.signal({ type: 'last' });
  await Promise.all([lastAtAlice, lastAtBob]);
  const expected = Array.from({ length: count }, (_, number) => String(number));
  for (const events of [atAlice, atBob]) {
    assert.ok(events.every((it) => it.kind !== 'sessionRejoined'), 'it was resumed each time');
    for (const { connection } of [alice, bob]) {
      const sentByIt: SessionEvent[] = events.filter((it) => it.kind === 'signal' && it.from.connectionId === connection.id);
      assert.deepEqual(datas(sentByIt).filter((it) => it !== undefined), expected);
    }
  }
  await Promise.all([alice.disconnect(), bob.disconnect()]);
});
