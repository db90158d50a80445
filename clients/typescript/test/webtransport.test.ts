import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

import { type ConnectOptions, type Session, type SessionEvent, connect } from '../src/index.js';
import type { GatewayMessage } from '../src/protocol/messages.js';
import { OWN_ID, welcome } from './fake-link.js';
import { type FakeWebTransport, SenderStream, installWebTransport } from './fake-webtransport.js';

const BOB = 'f47ac10b-58cc-4372-a567-0e02b2c3d479';
const CAROL = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';
const ticket: GatewayMessage = { kind: 'ticket', ticket: 'Zm9v-_', windowMs: 30_000 };
const DEADLINE = { timeout: 20_000 };

/** Waits until something is so. */
async function until<T>(read: () => T | undefined | false): Promise<T> {
  for (;;) {
    const value = read();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const created = (id: string): GatewayMessage => ({ kind: 'connectionCreated', id, createdAt: 2, data: '' });

/** A client that has joined, with the events that it has received. */
async function joined(context: TestContext, options: ConnectOptions = {}) {
  const browser = installWebTransport(context);
  const connecting = connect('https://a.example', 'token', { transports: ['webtransport'], ...options });
  const gateway = await until(() => browser.sessions[0]);
  await until(() => gateway.control[0]?.kind === 'hello');
  gateway.say(welcome({ present: 1 }), { kind: 'present', connections: [{ id: BOB, createdAt: 1, data: 'bob' }] }, ticket);
  const session = await connecting;
  context.after(async () => {
    const left = session.disconnect();
    for (const it of browser.sessions) it.close();
    await left;
  });
  const events: SessionEvent[] = [];
  const reading = (async () => {
    for await (const event of session) events.push(event);
  })();
  void reading;
  return { session, gateway, events, browser };
}

const seqs = (events: SessionEvent[]) => events.flatMap((it) => (it.kind === 'signal' ? [it.seq] : []));

/** The next session that the client opens, once it has said how it resumes or joins. */
async function nextSession(browser: typeof FakeWebTransport, count: number): Promise<FakeWebTransport> {
  const next = await until(() => browser.sessions[count]);
  await until(() => next.control.length > 0);
  return next;
}

async function leave(session: Session, gateway: FakeWebTransport): Promise<void> {
  const left = session.disconnect();
  await until(() => gateway.control.at(-1)?.kind === 'goodbye');
  gateway.say({ kind: 'bye', reason: 'clientDisconnected', message: '', streams: gateway.streams.length });
  for (const stream of gateway.streams) stream.end();
  await left;
}

test('it joins, receives each sender on its stream, sends and leaves', DEADLINE, async (context) => {
  const hash = { algorithm: 'sha-256', value: new Uint8Array(32) } as const;
  const { session, gateway, events } = await joined(context, { serverCertificateHashes: [hash] });
  assert.equal(gateway.url, 'https://a.example:4433/v1/connect');
  assert.deepEqual(gateway.options['serverCertificateHashes'], [hash]);
  assert.equal(session.transport, 'webtransport');
  assert.ok(gateway.control[0]?.kind === 'hello' && gateway.control[0].streams === 'perSender');
  const bob = new SenderStream(gateway).header(BOB).signal(1).signal(2);
  new SenderStream(gateway).header({ server: 'gw-1' }).signal(7);
  await until(() => seqs(events).length === 3);
  bob.signal(3);
  await until(() => seqs(events).length === 4);
  assert.deepEqual(seqs(events).filter((it) => it !== 7), [1, 2, 3]);
  const sent = [session.signal({ data: 'a' }), session.signal({ data: 'b' })];
  await until(() => gateway.signals.length === 2);
  gateway.say({ kind: 'accepted', signals: 2 });
  await Promise.all(sent);
  await leave(session, gateway);
  assert.ok(gateway.signalsEnded);
  const goodbye = gateway.control.at(-1);
  assert.ok(goodbye?.kind === 'goodbye' && goodbye.signals === 2);
  assert.equal(gateway.closeInfo?.closeCode, 0);
  assert.deepEqual(events.at(-1)?.kind, 'sessionDisconnected');
});

test('signals that come ahead of their connection are held, and others pass', DEADLINE, async (context) => {
  const { gateway, events } = await joined(context);
  const carol = new SenderStream(gateway).header(CAROL).signal(5);
  new SenderStream(gateway).header(BOB).signal(9);
  await until(() => seqs(events).length === 1);
  carol.signal(6).signal(7);
  assert.deepEqual(seqs(events), [9]);
  gateway.say(created(CAROL));
  await until(() => seqs(events).length === 4);
  assert.deepEqual(events.map((it) => it.kind).slice(1), ['signal', 'connectionCreated', 'signal', 'signal', 'signal']);
});

test('a stream that is held is not read further', DEADLINE, async (context) => {
  const { gateway, events } = await joined(context);
  const carol = new SenderStream(gateway).header(CAROL);
  for (let seq = 1; seq <= 100; seq++) carol.signal(seq);
  new SenderStream(gateway).header(BOB).signal(1);
  await until(() => seqs(events).length === 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(carol.unread > 90, String(carol.unread));
  gateway.say(created(CAROL));
  await until(() => seqs(events).length === 101);
});

test('frames may come in any pieces', DEADLINE, async (context) => {
  const { gateway, events } = await joined(context);
  const stream = new SenderStream(gateway);
  const whole: Uint8Array[] = [];
  const recorder = Object.assign(Object.create(SenderStream.prototype), {
    bytes(bytes: Uint8Array) {
      whole.push(bytes);
      return recorder;
    },
  });
  recorder.header(BOB).signal(1, 'x'.repeat(300)).signal(2);
  for (const byte of Buffer.concat(whole)) stream.bytes(Uint8Array.of(byte));
  await until(() => seqs(events).length === 2);
});

test('a bye is followed by what its streams still bring', DEADLINE, async (context) => {
  const { gateway, events } = await joined(context);
  const bob = new SenderStream(gateway).header(BOB).signal(1);
  gateway.say({ kind: 'bye', reason: 'forceDisconnected', message: 'out', streams: 2 });
  bob.signal(2).end();
  new SenderStream(gateway).header(OWN_ID).signal(1).end();
  const last = await until(() => events.find((it) => it.kind === 'sessionDisconnected'));
  assert.ok(last.kind === 'sessionDisconnected' && last.reason === 'forceDisconnected');
  assert.deepEqual(seqs(events).length, 3);
  assert.equal(gateway.closeInfo?.closeCode, 2);
});

test('a gateway that closes without a bye is believed by its code', DEADLINE, async (context) => {
  const { gateway, events } = await joined(context);
  gateway.close({ closeCode: 1, reason: 'forceDisconnected' });
  const last = await until(() => events.find((it) => it.kind === 'sessionDisconnected'));
  assert.ok(last.kind === 'sessionDisconnected' && last.reason === 'forceDisconnected');
});

test('a session that is lost is resumed on another, from the right place', DEADLINE, async (context) => {
  const { session, gateway, events, browser } = await joined(context);
  new SenderStream(gateway).header(BOB).signal(4);
  await until(() => seqs(events).length === 1);
  const sent = session.signal({ data: 'unconfirmed' });
  await until(() => gateway.signals.length === 1);
  gateway.lose();
  const second = await nextSession(browser, 1);
  const resume = second.control[0];
  assert.ok(resume?.kind === 'resume');
  assert.deepEqual([resume.attempt, resume.streams, resume.cursors], [1, 'perSender', [{ from: BOB, seq: 4 }]]);
  // A stream may overtake the reply.
  new SenderStream(second).header(BOB).signal(5);
  second.say({ kind: 'resumed', ticket: { ticket: 'second', windowMs: 1000 }, signals: 0, missed: 1 });
  await until(() => seqs(events).length === 2);
  await until(() => second.signals.length === 1);
  assert.equal(second.control[1]?.kind, 'ticketStored');
  second.say({ kind: 'accepted', signals: 1 });
  await sent;
  assert.deepEqual(events.slice(2).map((it) => it.kind), ['sessionReconnecting', 'sessionReconnected', 'signal']);
});

test('a stream that was reset makes resuming impossible: the client joins again', DEADLINE, async (context) => {
  const { gateway, events, browser } = await joined(context);
  const bob = new SenderStream(gateway).header(BOB).signal(1);
  await until(() => seqs(events).length === 1);
  bob.reset();
  await new Promise((resolve) => setTimeout(resolve, 150));
  gateway.lose();
  const second = await nextSession(browser, 1);
  assert.equal(second.control[0]?.kind, 'hello');
});

test('an unknown kind of stream and an unknown message are skipped', DEADLINE, async (context) => {
  const { gateway, events } = await joined(context);
  const stream = new SenderStream(gateway).bytes(Uint8Array.of(3, 0xc8, 0x01, 9));
  await until(() => stream.cancelled);
  gateway.bytes(Uint8Array.of(3, 0xc8, 0x01, 9));
  gateway.say(created(CAROL));
  await until(() => events.some((it) => it.kind === 'connectionCreated' && it.connection.id === CAROL));
});

test('a gateway that violates the protocol is told so, and not joined again', DEADLINE, async (context) => {
  const { gateway, events, browser } = await joined(context);
  new SenderStream(gateway).header(BOB).bytes(Uint8Array.of(2, 0, 1));
  const last = await until(() => events.find((it) => it.kind === 'sessionDisconnected'));
  assert.ok(last.kind === 'sessionDisconnected' && last.reason === 'protocolError');
  assert.equal(gateway.closeInfo?.closeCode, 6);
  assert.equal(browser.sessions.length, 1);
});

test('streams that never come make the client resume with a single one', { timeout: 40_000 }, async (context) => {
  const { gateway, events, browser } = await joined(context);
  // Bob has said something on a stream for which the browser grants no credit.
  gateway.say({ kind: 'connectionDestroyed', id: BOB, reason: 'clientDisconnected', lastSeq: 3 });
  const second = await nextSession(browser, 1);
  assert.equal(gateway.closeInfo?.closeCode, 2, 'the connection goes on');
  const resume = second.control[0];
  assert.ok(resume?.kind === 'resume' && resume.streams === 'single');
  assert.deepEqual(resume.cursors, [{ from: BOB, seq: 0 }]);
  second.say(
    { kind: 'resumed', ticket: { ticket: 'second', windowMs: 1000 }, signals: 0, missed: 1 },
    { kind: 'signal', from: BOB, seq: 3, type: null, data: 'late' },
  );
  await until(() => events.some((it) => it.kind === 'connectionDestroyed'));
  assert.deepEqual(seqs(events), [3]);
});

test('signals that pile up at the gateway make the client join with a single stream', DEADLINE, async (context) => {
  const { gateway, events, browser } = await joined(context);
  gateway.say({ kind: 'bye', reason: 'slowConsumer', message: 'too slow', streams: 0 });
  const second = await nextSession(browser, 1);
  const hello = second.control[0];
  assert.ok(hello?.kind === 'hello' && hello.streams === 'single');
  second.say(welcome());
  await until(() => events.some((it) => it.kind === 'sessionRejoined'));
  // Once is enough to rule it out.
  second.say({ kind: 'bye', reason: 'slowConsumer', message: 'too slow', streams: 0 });
  await until(() => events.some((it) => it.kind === 'sessionDisconnected'));
});

test('an abort closes a session that is being established', DEADLINE, async (context) => {
  const browser = installWebTransport(context);
  browser.answers = false;
  const controller = new AbortController();
  const rejected = assert.rejects(
    connect('https://a.example', 'token', { transports: ['webtransport'], signal: controller.signal }),
    { name: 'AbortError' },
  );
  const session = await until(() => browser.sessions[0]);
  controller.abort();
  await rejected;
  assert.ok(session.closeInfo);
});

test('a UDP port that is blocked is an unreachable gateway', DEADLINE, async (context) => {
  const browser = installWebTransport(context);
  browser.answers = false;
  const rejected = assert.rejects(connect('https://a.example', 'token', { transports: ['webtransport'] }), {
    code: 'unreachable',
    message: /UDP/,
  });
  (await until(() => browser.sessions[0])).lose();
  await rejected;
});
