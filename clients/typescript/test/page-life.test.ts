import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { connect } from '../src/index.js';
import { watchPage } from '../src/page-life.js';
import { type Gateway, resumable, startGateway } from './gateway.js';
import { startProxy } from './proxy.js';

const DEADLINE = { timeout: 30_000 };

class FakeDocument extends EventTarget {
  visibilityState = 'visible';
}

/** A page, with what a browser's global scope has. */
class FakePage extends EventTarget {
  readonly document = new FakeDocument();
  readonly navigator = { onLine: true, connection: new EventTarget() };

  transition(name: 'pagehide' | 'pageshow', persisted: boolean): void {
    this.dispatchEvent(Object.assign(new Event(name), { persisted }));
  }
}

/** Makes this process look like a page to the SDK. */
function becomePage(context: { after(fn: () => unknown): void }): FakePage {
  const page = new FakePage();
  const scope = {
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
    document: page.document,
    navigator: page.navigator,
  };
  for (const [name, value] of Object.entries(scope)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    context.after(() =>
      before ? Object.defineProperty(globalThis, name, before) : delete (globalThis as Record<string, unknown>)[name],
    );
  }
  return page;
}

let gateway: Gateway;
const cleanups: (() => unknown)[] = [];
before(async () => {
  gateway = await startGateway({ after: (fn) => cleanups.push(fn) });
});
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

test('the events of a page reach the session until it is over', () => {
  const page = new FakePage();
  const calls: string[] = [];
  const unwatch = watchPage(
    {
      leave: () => calls.push('leave'),
      suspend: () => calls.push('suspend'),
      resume: () => calls.push('resume'),
      wake: () => calls.push('wake'),
    },
    page,
  );
  const play = () => {
    page.transition('pagehide', true);
    page.transition('pageshow', true);
    page.transition('pageshow', false);
    page.transition('pagehide', false);
    page.dispatchEvent(new Event('online'));
    page.dispatchEvent(new Event('offline'));
    page.navigator.connection.dispatchEvent(new Event('change'));
    page.document.dispatchEvent(new Event('resume'));
    page.document.visibilityState = 'hidden';
    page.document.dispatchEvent(new Event('visibilitychange'));
    page.document.visibilityState = 'visible';
    page.document.dispatchEvent(new Event('visibilitychange'));
  };
  play();
  assert.deepEqual(calls.splice(0), ['suspend', 'resume', 'leave', 'wake', 'wake', 'wake', 'wake', 'wake']);
  unwatch();
  play();
  assert.deepEqual(calls, []);
  // A worker has no document, and Node has nothing of it.
  watchPage({ leave() {}, suspend() {}, resume() {}, wake() {} }, new EventTarget() as never)();
  watchPage({ leave() {}, suspend() {}, resume() {}, wake() {} })();
});

test('a page that is left says goodbye', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const bob = await connect(gateway.url, gateway.token({ session }));
  const page = becomePage(context);
  const created = bob.once('connectionCreated');
  const alice = await connect(gateway.url, gateway.token({ session }));
  await created;
  const [destroyed, received] = [bob.once('connectionDestroyed'), bob.once('signal')];
  const ended = alice.once('sessionDisconnected');
  const last = alice.signal({ data: 'last words' });
  page.transition('pagehide', false);
  assert.equal((await destroyed).reason, 'clientDisconnected');
  assert.equal((await received).data, 'last words');
  await assert.rejects(last, { code: 'disconnected' });
  assert.equal((await ended).reason, 'clientDisconnected');
  await bob.disconnect();
});

test('a page that is put aside leaves its link, and resumes when it is shown again', DEADLINE, async (context) => {
  const session = gateway.newSession();
  const proxy = await startProxy(context, gateway.url);
  const bob = await connect(gateway.url, gateway.token({ session }));
  const page = becomePage(context);
  const created = bob.once('connectionCreated');
  const alice = await connect(proxy.url, gateway.token({ session }));
  const others: string[] = [];
  await created;
  await resumable(alice);
  bob.on('connectionDestroyed', () => others.push('destroyed'));
  const reconnecting = alice.once('sessionReconnecting');
  page.transition('pagehide', true);
  await reconnecting;
  await bob.signal({ data: 'while away' });
  page.dispatchEvent(new Event('online'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(proxy.accepted, 1, 'it stays off the network');
  const received = alice.once('signal');
  page.transition('pageshow', true);
  assert.equal((await alice.once('sessionReconnected')).missed, 1);
  assert.equal((await received).data, 'while away');
  assert.deepEqual(others, []);
  await Promise.all([alice.disconnect(), bob.disconnect()]);
});

test('a network that returns is used at once', DEADLINE, async (context) => {
  context.mock.method(Math, 'random', () => 1);
  const proxy = await startProxy(context, gateway.url);
  const page = becomePage(context);
  const alice = await connect(proxy.url, gateway.token());
  await resumable(alice);
  proxy.open = false;
  page.navigator.onLine = false;
  proxy.cut();
  await alice.once('sessionReconnecting');
  // Pauses of 0, 250, 500, 1000, 2000 ms.
  while (proxy.accepted < 6) await new Promise((resolve) => setImmediate(resolve));
  proxy.open = true;
  page.navigator.onLine = true;
  const since = Date.now();
  page.dispatchEvent(new Event('online'));
  await alice.once('sessionReconnected');
  assert.ok(Date.now() - since < 2_000, 'the next pause would have been four seconds');
  await alice.disconnect();
});

test('a link that is dead when the page wakes is replaced in seconds', DEADLINE, async (context) => {
  const proxy = await startProxy(context, gateway.url);
  const page = becomePage(context);
  const alice = await connect(proxy.url, gateway.token());
  await resumable(alice);
  proxy.fallSilent();
  const since = Date.now();
  page.document.dispatchEvent(new Event('visibilitychange'));
  await alice.once('sessionReconnected');
  assert.ok(Date.now() - since < 15_000, 'the idle timeout is 30 seconds');
  await alice.disconnect();
});
