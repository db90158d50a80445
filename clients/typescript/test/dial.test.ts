import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

import { type Dial, Dialer } from '../src/dial.js';
import { ConnectError } from '../src/error.js';
import type { Target } from '../src/gateway-url.js';
import { hello, resume } from '../src/opening.js';
import { resolveOptions } from '../src/options.js';
import { ResumeTicket } from '../src/ticket.js';
import { FakeLink, welcome } from './fake-link.js';

const options = resolveOptions({});
const opening = hello(options, 'token');
const never = new AbortController().signal;

/** Lets promises run that wait for nothing else. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

interface Attempt {
  target: Target;
  signal: AbortSignal;
  resolve(link: FakeLink): void;
  reject(error: unknown): void;
}

/** A dialer whose attempts are answered by the test, under fake timers. */
function stage(context: TestContext, url: string | string[]) {
  context.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const attempts: Attempt[] = [];
  const dial: Dial = (target, signal) =>
    new Promise((resolve, reject) => attempts.push({ target, signal, resolve, reject }));
  const dialer = new Dialer(url, options, dial);
  const tick = async (ms: number) => {
    context.mock.timers.tick(ms);
    await settled();
  };
  return { dialer, attempts, tick };
}

const unreachable = () => new ConnectError('unreachable', 'no answer');

test('WebTransport has a head start, and WebSocket takes over where UDP is blocked', async (context) => {
  const { dialer, attempts, tick } = stage(context, 'https://race1.example');
  const opened = dialer.open(opening, 5000, never);
  assert.deepEqual(attempts.map((it) => it.target.transport), ['webtransport']);
  await tick(299);
  assert.equal(attempts.length, 1);
  await tick(1);
  assert.deepEqual(attempts.map((it) => it.target.transport), ['webtransport', 'websocket']);
  const link = new FakeLink();
  attempts[1]!.resolve(link);
  await settled();
  assert.deepEqual(link.written.map((it) => it.kind), ['hello']);
  link.receive(welcome());
  assert.equal((await opened).link, link);
  assert.ok(attempts[0]!.signal.aborted, 'the loser is given up');
  // A loser that comes after all is closed without having said anything.
  const late = new FakeLink('webtransport');
  attempts[0]!.resolve(late);
  await settled();
  assert.deepEqual([late.closedWith, late.written], ['clientDisconnected', []]);

  // A reconnect begins with the winner.
  const again = dialer.open(opening, 5000, never);
  assert.deepEqual(attempts.slice(2).map((it) => it.target.transport), ['websocket']);
  // Its head start is longer: thousands of others may reconnect to the same gateway.
  await tick(999);
  assert.equal(attempts.length, 3);
  await tick(1);
  assert.deepEqual(attempts.slice(2).map((it) => it.target.transport), ['websocket', 'webtransport']);
  // A new session tries WebTransport again, with a shorter head start.
  const tried: string[] = [];
  const next = new Dialer('https://race1.example', options, (target) => {
    tried.push(target.transport);
    return new Promise(() => {});
  });
  const given = new AbortController();
  next.open(opening, 5000, given.signal).catch(() => {});
  await tick(99);
  assert.deepEqual(tried, ['webtransport']);
  await tick(1);
  assert.deepEqual(tried, ['webtransport', 'websocket']);
  given.abort();
  const second = new FakeLink();
  attempts[2]!.resolve(second);
  await settled();
  second.receive(welcome());
  await again;
});

test('a target that fails at once costs no head start', async (context) => {
  const { dialer, attempts } = stage(context, 'https://race2.example');
  const opened = dialer.open(opening, 5000, never);
  attempts[0]!.reject(unreachable());
  await settled();
  assert.equal(attempts.length, 2);
  attempts[1]!.reject(new ConnectError('unreachable', 'the last'));
  await assert.rejects(opened, { code: 'unreachable', message: 'the last' });
});

test('an environment without a transport does not hide the real failure', async (context) => {
  const { dialer, attempts } = stage(context, 'https://race3.example');
  const opened = dialer.open(opening, 5000, never);
  attempts[0]!.reject(unreachable());
  await settled();
  attempts[1]!.reject(new ConnectError('unsupported', 'no WebSocket'));
  await assert.rejects(opened, { code: 'unreachable' });
});

test('a gateway that goes down leaves its place to the next; any other refusal is an answer', async (context) => {
  const { dialer, attempts } = stage(context, ['wss://one.example', 'wss://two.example']);
  let opened = dialer.open(opening, 5000, never);
  const [one, two] = [new FakeLink(), new FakeLink()];
  attempts[0]!.resolve(one);
  await settled();
  one.receive({ kind: 'bye', reason: 'shuttingDown', message: '', streams: 0 });
  await settled();
  assert.equal(attempts[1]!.target.gateway, 'two.example:4433');
  attempts[1]!.resolve(two);
  await settled();
  two.receive(welcome());
  assert.equal((await opened).link, two);

  opened = dialer.open(opening, 5000, never);
  const three = new FakeLink();
  attempts[2]!.resolve(three);
  await settled();
  three.receive({ kind: 'bye', reason: 'invalidToken', message: 'bad', streams: 0 });
  await assert.rejects(opened, { code: 'refused', reason: 'invalidToken', message: /bad/ });
  assert.equal(attempts.length, 3);
});

test('a timeout and an abort leave nothing open', async (context) => {
  const { dialer, attempts, tick } = stage(context, 'https://race4.example');
  const timedOut = assert.rejects(dialer.open(opening, 5000, never), {
    code: 'timeout',
    message: /tried https:\/\/race4.example:4433/,
  });
  await tick(300);
  await tick(4700);
  await timedOut;
  assert.ok(attempts.every((it) => it.signal.aborted));

  const controller = new AbortController();
  const aborted = dialer.open(opening, 5000, controller.signal);
  const link = new FakeLink('webtransport');
  attempts[2]!.resolve(link);
  await settled();
  assert.equal(link.written.length, 1);
  controller.abort(new Error('unmounted'));
  await assert.rejects(aborted, { message: 'unmounted' });
  assert.equal(link.closedWith, 'clientDisconnected', 'a hello that may have been accepted is taken back');
  link.receive(welcome());
  await assert.rejects(dialer.open(opening, 5000, controller.signal), { message: 'unmounted' });
});

test('an attempt to resume that is given up is no goodbye', async (context) => {
  const { dialer, attempts, tick } = stage(context, 'wss://race5.example');
  const ticket = new ResumeTicket({ ticket: 'ticket', windowMs: 1 });
  const resuming = resume(options, ticket, { events: 0, accepted: 0, cursors: [] });
  const timedOut = assert.rejects(dialer.open(resuming, 1000, never), { code: 'timeout' });
  const link = new FakeLink();
  attempts[0]!.resolve(link);
  await settled();
  await tick(1000);
  await timedOut;
  assert.equal(link.closedWith, 'networkDisconnected');
});

test('a link that is closed before the answer is no answer', async (context) => {
  const { dialer, attempts } = stage(context, 'wss://race6.example');
  const refused = assert.rejects(dialer.open(opening, 1000, never), { code: 'unreachable' });
  const link = new FakeLink();
  attempts[0]!.resolve(link);
  await settled();
  link.end({ reason: 'clientDisconnected', message: 'closed in good order' });
  await refused;
});

const WSS = ['wss://one.example', 'wss://two.example', 'wss://three.example'];
const hosts = (attempts: Attempt[]) => attempts.map((it) => it.target.gateway.split('.')[0]).join(' ');

test('a gateway that fails before its answer costs nothing, even while another one is silent', async (context) => {
  const { dialer, attempts, tick } = stage(context, WSS);
  const opened = dialer.open(opening, 5000, never);
  await tick(300);
  assert.equal(hosts(attempts), 'one two');
  const [two, three] = [new FakeLink(), new FakeLink()];
  attempts[1]!.resolve(two);
  await settled();
  assert.deepEqual(two.written.map((it) => it.kind), ['hello']);
  two.end({ reason: 'networkDisconnected', message: 'killed' });
  await settled();
  assert.equal(hosts(attempts), 'one two three');
  attempts[2]!.resolve(three);
  await settled();
  three.receive(welcome());
  assert.equal((await opened).link, three);
});

test('after a drain the other gateways come first', async (context) => {
  const { dialer, attempts } = stage(context, WSS);
  const joined = dialer.open(opening, 5000, never);
  const link = new FakeLink();
  attempts[0]!.resolve(link);
  await settled();
  link.receive(welcome());
  await joined;
  dialer.avoidCurrent();
  const resumed = dialer.open(opening, 5000, never);
  assert.equal(hosts(attempts.slice(1)), 'two');
  // A refusal is an answer: this gateway is asked first from now on.
  const other = new FakeLink();
  attempts[1]!.resolve(other);
  await settled();
  other.receive({ kind: 'bye', reason: 'invalidTicket', message: '', streams: 0 });
  await assert.rejects(resumed, { reason: 'invalidTicket' });
  void dialer.open(opening, 5000, never).catch(() => {});
  for (const index of [2, 3, 4]) {
    attempts[index]!.reject(unreachable());
    await settled();
  }
  assert.equal(hosts(attempts.slice(2)), 'two three one');
});

test('a gateway that accepts a link and does not answer is asked last the next time', async (context) => {
  const { dialer, attempts, tick } = stage(context, WSS);
  const timedOut = assert.rejects(dialer.open(opening, 1000, never), { code: 'timeout' });
  attempts[0]!.resolve(new FakeLink());
  await settled();
  await tick(1000);
  await timedOut;
  void dialer.open(opening, 5000, never).catch(() => {});
  assert.equal(hosts(attempts.slice(1)), 'two');
});
