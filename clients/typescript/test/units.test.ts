import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, test } from 'node:test';

import { Backoff, jitter } from '../src/backoff.js';
import { ConnectError } from '../src/error.js';
import { targets } from '../src/gateway-url.js';
import { EventDispatcher } from '../src/link/dispatcher.js';
import type { Disconnection } from '../src/link/link.js';
import { Pacer } from '../src/link/pacer.js';
import { resume } from '../src/opening.js';
import { type ConnectOptions, resolveOptions } from '../src/options.js';
import { Order, type OrderedEvent } from '../src/order.js';
import { reconnectSpread } from '../src/reconnect-policy.js';
import { rememberTransport, rememberedTransport } from '../src/remembered.js';
import { SendQueue } from '../src/send-queue.js';
import { type InternalEvent, SessionView } from '../src/session-view.js';
import { ResumeTicket } from '../src/ticket.js';
import { VERSION } from '../src/version.js';
import { FakeLink, OWN_ID, welcome } from './fake-link.js';

test('the first attempt is made at once and pauses grow', () => {
  const backoff = new Backoff();
  assert.equal(backoff.nextPause(0), 0);
  for (const longest of [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
    assert.ok(backoff.nextPause(0) <= longest);
    assert.equal(backoff.attemptTimeout(0), 5000);
  }
  backoff.resetIfStable(9_000);
  for (let n = 0; n < 20; n++) backoff.nextPause(0);
  assert.ok(Array.from({ length: 50 }, () => backoff.nextPause(0)).some((pause) => pause > 0));
  backoff.resetIfStable(10_000);
  assert.equal(backoff.nextPause(0), 0);
});

test('during a restart pauses are short, and attempts are until they time out', () => {
  const backoff = new Backoff();
  for (let n = 0; n < 20; n++) backoff.nextPause(0);
  backoff.gatewayRestarts(0);
  assert.equal(backoff.restartTimeLeft(10_000), 50_000);
  let now = 0;
  let count = 0;
  while (now < 60_000) {
    const pause = backoff.nextPause(now);
    assert.ok(pause >= 100 && pause <= (count < 5 ? 500 : 2000), `${count}: ${pause}`);
    now += pause;
    count++;
  }
  assert.ok(count > 30, String(count));
  assert.ok(Array.from({ length: 200 }, () => backoff.nextPause(now)).some((pause) => pause > 5000));
  backoff.gatewayRestarts(now);
  for (const seconds of [1, 2, 4, 5, 5]) {
    assert.equal(backoff.attemptTimeout(now), seconds * 1000);
    backoff.attemptTimedOut();
  }
  assert.equal(backoff.attemptTimeout(now + 60_000), 10_000);
  assert.equal(backoff.restartTimeLeft(now + 120_000), 0);
});

test('clients whose attempts time out spread, and have more patience', () => {
  const pauses = Array.from({ length: 200 }, () => {
    const backoff = new Backoff();
    backoff.nextPause(0);
    assert.equal(backoff.attemptTimeout(0), 5000);
    backoff.attemptTimedOut();
    const pause = backoff.nextPause(0);
    assert.equal(backoff.attemptTimeout(0), 10_000);
    // The attempt after it failed sooner: the pause is the usual one.
    assert.ok(backoff.nextPause(0) <= 500);
    return pause;
  });
  const longest = Math.max(...pauses);
  assert.ok(longest > 2500 && longest <= 5000, String(longest));
});

test('jitter covers the whole range', () => {
  const tenths = new Set(Array.from({ length: 1000 }, () => Math.floor(jitter(10))));
  assert.deepEqual([...tenths].sort((one, other) => one - other), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('clients spread if the gateway has not spread them', () => {
  assert.equal(reconnectSpread('shuttingDown', undefined, 5), 1000);
  assert.equal(reconnectSpread('shuttingDown', 4, 5), 0);
  assert.equal(reconnectSpread('shuttingDown', 5, 5), 0);
  assert.equal(reconnectSpread('shuttingDown', 6, 5), 1000, 'it hurried');
  assert.equal(reconnectSpread('networkDisconnected', undefined, 5), 0);
});

test('after a reconnect one signal at once, and then the rate', () => {
  const pacer = new Pacer(10, 0);
  let now = 0;
  for (let signal = 0; signal < 100; signal++) {
    assert.equal(pacer.allowed(now), 1);
    pacer.written(1);
    assert.equal(pacer.allowed(now), 0);
    now = pacer.next();
  }
  assert.ok(now <= 10_000);
  assert.equal(pacer.allowed(20_000), 101, 'it may catch up');
});

test('many cursors take several messages, and attempts are numbered from 1', () => {
  const ticket = new ResumeTicket({ ticket: 'ticket', windowMs: 1000 });
  const options = resolveOptions({});
  let attempt = 0;
  for (const [count, expected] of [
    [0, [[0, false]]],
    [500, [[500, false]]],
    [501, [[500, true], [1, false]]],
    [1500, [[500, true], [500, true], [500, false]]],
  ] as const) {
    const cursors = Array.from({ length: count }, (_, seq) => ({ from: { server: 'gw' }, seq }));
    const messages = resume(options, ticket, { events: 0, accepted: 0, cursors }).messages('single');
    const sizes = messages.map((it) => {
      assert.ok(it.kind === 'resume' || it.kind === 'cursors');
      return [it.cursors.length, it.more];
    });
    assert.deepEqual(sizes, expected);
    assert.ok(messages[0]!.kind === 'resume' && messages[0]!.attempt === ++attempt);
  }
});

const urls = (url: string | string[], options: ConnectOptions = {}) =>
  targets(url, resolveOptions(options)).map((it) => it.url);

test('URLs name gateways and the ways to them', () => {
  const [a, wsA] = ['https://a.example:4433/v1/connect', 'wss://a.example:4433/v1/connect'];
  assert.deepEqual(urls('https://a.example'), [a, wsA]);
  assert.deepEqual(urls('https://a.example', { transports: ['websocket'] }), [wsA]);
  assert.deepEqual(urls('https://a.example', { transports: ['websocket', 'webtransport'] }), [wsA, a]);
  assert.deepEqual(urls('https://a.example:443/v1/connect'), [
    'https://a.example:443/v1/connect',
    'wss://a.example:443/v1/connect',
  ]);
  assert.deepEqual(urls('wss://a.example/'), [wsA]);
  assert.deepEqual(urls('http://127.0.0.1:80'), ['ws://127.0.0.1:80/v1/connect']);
  assert.deepEqual(urls('ws://[::1]:9'), ['ws://[::1]:9/v1/connect']);
  assert.deepEqual(urls('http://127.0.0.1:9', { webTransportUrl: 'https://localhost:8' }), [
    'https://localhost:8/v1/connect',
    'ws://127.0.0.1:9/v1/connect',
  ]);
  assert.deepEqual(urls(['wss://a.example', 'wss://b.example']), [wsA, 'wss://b.example:4433/v1/connect']);
});

test('bad URLs and options are refused, and the error says what is allowed', () => {
  for (const url of [
    '', 'a.example', 'localhost:4433', 'quic://a', 'https://', 'wss://a/?token=x', 'https://a/#x', 'wss://u:p@a',
    'wss://a/elsewhere', [], 7 as never, undefined as never, [undefined as never], ['wss://a', 'nonsense'],
  ]) {
    assert.throws(() => urls(url as string), { name: 'ConnectError', code: 'url', message: /use https:/ }, String(url));
  }
  for (const options of [
    { transports: [] }, { transports: ['carrier pigeon'] as never }, { timeoutMs: 0 }, { timeoutMs: NaN },
    { timeoutMs: Infinity }, { agent: 'x'.repeat(65) }, { agent: 7 as never },
  ]) {
    assert.throws(() => resolveOptions(options), { code: 'options' }, JSON.stringify(options));
  }
  assert.throws(() => urls('wss://a', { transports: ['webtransport'] }), { code: 'options' });
  assert.throws(() => urls(['wss://a', 'wss://b'], { webTransportUrl: 'https://a' }), { code: 'options' });
  assert.ok(new ConnectError('url', '') instanceof Error);
});

const globals = globalThis as { document?: unknown; localStorage?: unknown; sessionStorage?: unknown };
afterEach(() => {
  delete globals.document;
  delete globals.localStorage;
  delete globals.sessionStorage;
});

class FakeStorage {
  readonly items = new Map<string, string>();
  getItem = (key: string) => this.items.get(key) ?? null;
  setItem = (key: string, value: string) => void this.items.set(key, value);
}

test('the transport that worked is remembered in storage, for an hour', (context) => {
  context.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  const storage = new FakeStorage();
  Object.assign(globals, { document: {}, localStorage: storage });
  assert.equal(rememberedTransport('a:1'), undefined);
  rememberTransport('a:1', 'websocket');
  assert.equal(rememberedTransport('a:1'), 'websocket');
  assert.equal(rememberedTransport('b:1'), undefined);
  assert.equal(storage.items.size, 1);
  context.mock.timers.tick(60 * 60 * 1000 - 1);
  assert.equal(rememberedTransport('a:1'), 'websocket');
  context.mock.timers.tick(1);
  assert.equal(rememberedTransport('a:1'), undefined);
  for (const garbage of ['', 'websocket', 'carrier-pigeon 1000000', 'websocket soon', `websocket ${2 ** 60}`]) {
    storage.items.set('signalbox:transport:a:1', garbage);
    assert.equal(rememberedTransport('a:1'), undefined, garbage);
  }
});

test('storage that is full or forbidden does no harm', () => {
  const full = {
    getItem: () => null,
    setItem() {
      throw new Error('quota exceeded');
    },
  };
  Object.assign(globals, { document: {}, localStorage: full });
  Object.defineProperty(globals, 'sessionStorage', {
    configurable: true,
    get() {
      throw new Error('denied');
    },
  });
  rememberTransport('full:1', 'websocket');
  assert.equal(rememberedTransport('full:1'), 'websocket', 'in memory');
});

test('the version is that of the package', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  assert.equal(VERSION, manifest.version);
});

test('a gap on an open link is told, and one of presence ends the link', () => {
  const events: InternalEvent[] = [];
  const dispatcher = new EventDispatcher(true, new SendQueue(true), (event) => events.push(event));
  const view = new SessionView(welcome());
  const link = new FakeLink();
  const lost = [
    { from: OWN_ID, after: 1, until: 3 },
    { from: { server: 'gw-2' }, after: 0, until: 1 },
  ];
  link.receive({ kind: 'gap', lost, presence: false, present: 0 });
  link.receive({ kind: 'gap', lost: [], presence: true, present: 0 });
  link.receive({ kind: 'gap', lost, presence: false, present: 0 });
  let end: Disconnection | undefined;
  const unused = () => assert.fail();
  link.start({
    control: (message) => dispatcher.control(message),
    open: unused,
    signal: unused,
    end: unused,
    isHeld: () => false,
    ended: (it) => (end = it),
  });
  assert.deepEqual(events.map((event) => view.apply(event)), [
    {
      kind: 'gap',
      lost: [
        { connectionId: OWN_ID, server: undefined, after: 1, until: 3 },
        { connectionId: undefined, server: 'gw-2', after: 0, until: 1 },
      ],
    },
  ]);
  assert.equal(end?.reason, 'protocolError');
  assert.equal(link.closedWith, 'protocolError');
});

test('the latest 1024 destroyed connections do not reappear', () => {
  const events: OrderedEvent[] = [];
  const order = new Order(true, (event) => events.push(event));
  order.join(welcome(), false);
  const created = (id: string) =>
    order.control({ kind: 'connectionCreated', id, createdAt: 0, data: '' });
  for (let n = 0; n <= 1024; n++) {
    created(`id-${n}`);
    order.control({
      kind: 'connectionDestroyed',
      id: `id-${n}`,
      reason: 'clientDisconnected',
      lastSeq: 0,
    });
  }
  events.length = 0;
  for (const id of ['id-1', 'id-1024', 'id-0']) created(id);
  const connection = { id: 'id-0', createdAt: 0, data: '' };
  assert.deepEqual(events, [{ kind: 'connectionCreated', connection }]);
});
