import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { type AddressInfo, type Server, type Socket, createServer as createTcpServer } from 'node:net';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import { type WebSocket, WebSocketServer } from 'ws';

import { connect } from '../src/index.js';
import { clientMessages, gatewayMessages } from '../src/protocol/messages.js';
import { welcome } from './fake-link.js';
import { type Cleanup, type Gateway, startGateway } from './gateway.js';

const DEADLINE = { timeout: 30_000 };

let gateway: Gateway;
const cleanups: (() => unknown)[] = [];
before(async () => {
  gateway = await startGateway({ after: (fn) => cleanups.push(fn) });
});
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

async function listen(context: Cleanup, server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A WebSocket server that is played by the test. */
async function peer(context: Cleanup, accept: (socket: WebSocket) => void): Promise<string> {
  const http = createServer();
  const server = new WebSocketServer({ server: http, handleProtocols: (offered) => [...offered][0] ?? false });
  server.on('connection', accept);
  return `ws://${await listen(context, http)}`;
}

test('bad URLs and options reject', async () => {
  await assert.rejects(connect('nonsense', 'token'), { name: 'ConnectError', code: 'url' });
  await assert.rejects(connect(gateway.url, 'token', { timeoutMs: -1 }), { code: 'options' });
});

test('an invalid token is refused before the client connects', async () => {
  for (const token of ['', 'x'.repeat(18_433), 7, undefined, null, {}, () => '', () => undefined, () => 7]) {
    await assert.rejects(connect('ws://127.0.0.1:1', token as never), { code: 'token' }, String(token));
  }
});

test('a token provider that fails rejects with its error as the cause', async () => {
  const cause = new Error('the backend is down');
  const sync = () => {
    throw cause;
  };
  for (const provider of [sync, () => Promise.reject(cause)]) {
    await assert.rejects(connect(gateway.url, provider), { code: 'token', cause });
  }
});

test('a token provider that hangs rejects in time, and its late answer is ignored', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  let answer!: (token: string) => void;
  const hanging = new Promise<string>((resolve) => (answer = resolve));
  const rejected = assert.rejects(connect(gateway.url, () => hanging), { code: 'token', message: /in time/ });
  context.mock.timers.tick(9_999);
  context.mock.timers.tick(1);
  await rejected;
  answer('late');
});

test('an abort while the token is awaited rejects with its reason', async () => {
  const controller = new AbortController();
  const reason = new Error('unmounted');
  const rejected = assert.rejects(
    connect(gateway.url, () => new Promise<string>(() => {}), { signal: controller.signal }),
    reason,
  );
  controller.abort(reason);
  await rejected;
  let asked = false;
  const provider = () => {
    asked = true;
    return 'token';
  };
  await assert.rejects(connect(gateway.url, provider, { signal: controller.signal }), reason);
  assert.equal(asked, false, 'nobody is asked for nothing');
});

test('the gateway refuses bad and expired tokens', DEADLINE, async () => {
  await assert.rejects(connect(gateway.url, 'abc.def.ghi'), { code: 'refused', reason: 'invalidToken' });
  await assert.rejects(connect(gateway.url, expired(gateway.token())), { code: 'refused', reason: 'tokenExpired' });
});

/** The same token, but out of date. */
function expired(token: string): string {
  const [header, claims] = token.split('.');
  const decoded = JSON.parse(Buffer.from(claims!, 'base64url').toString());
  Object.assign(decoded, { iat: 1_700_000_000, exp: 1_700_000_100 });
  const payload = `${header}.${Buffer.from(JSON.stringify(decoded)).toString('base64url')}`;
  return `${payload}.${createHmac('sha256', gateway.secret).update(payload).digest('base64url')}`;
}

test('a port on which nothing listens is unreachable', DEADLINE, async () => {
  await assert.rejects(connect('ws://127.0.0.1:1', 'token'), { code: 'unreachable', message: /127.0.0.1:1.*ECONNREFUSED/ });
});

test('a server that accepts and says nothing times out, and its socket is closed', DEADLINE, async (context) => {
  const server = createTcpServer();
  const url = `ws://${await listen(context, server)}`;
  const closed = once(server, 'connection').then(([socket]) => {
    socket.resume();
    return once(socket, 'close');
  });
  await assert.rejects(connect(url, 'token', { timeoutMs: 300 }), { code: 'timeout', message: /tried ws:/ });
  await closed;
});

test('a server that does not speak the protocol is told so', DEADLINE, async (context) => {
  const codes: Promise<unknown[]>[] = [];
  const url = await peer(context, (socket) => {
    codes.push(once(socket, 'close'));
    socket.once('message', () => socket.send('{"welcome":{}}'));
  });
  await assert.rejects(connect(url, 'token'), { code: 'protocol' });
  assert.equal((await codes[0]!)[0], 4006);
});

test('an abort during the handshake says goodbye: nothing is left at the gateway', DEADLINE, async (context) => {
  const controller = new AbortController();
  let code!: Promise<unknown[]>;
  const url = await peer(context, (socket) => {
    code = once(socket, 'close');
    socket.once('message', () => controller.abort());
  });
  await assert.rejects(connect(url, 'token', { signal: controller.signal }), { name: 'AbortError' });
  assert.equal((await code)[0], 1000);
});

test('a double mount joins once', DEADLINE, async () => {
  const session = gateway.newSession();
  const token = gateway.token({ session });
  const first = new AbortController();
  const abandoned = assert.rejects(connect(gateway.url, token, { signal: first.signal }), { name: 'AbortError' });
  first.abort();
  await abandoned;
  const watcher = await connect(gateway.url, token);
  const [created, other] = await Promise.all([watcher.once('connectionCreated'), connect(gateway.url, token)]);
  assert.equal(created.connection.id, other.connection.id);
  assert.equal(watcher.connections.length, 1);
  // An abort after the join has no effect.
  const late = new AbortController();
  const third = await connect(gateway.url, token, { signal: late.signal });
  late.abort();
  await third.signal({ data: 'still here' });
  await Promise.all([watcher, other, third].map((it) => it.disconnect()));
});

test('messages that come with the welcome are not lost', DEADLINE, async (context) => {
  const other = { id: 'f47ac10b-58cc-4372-a567-0e02b2c3d479', createdAt: 2, data: 'bob' };
  const url = await peer(context, (socket) => {
    socket.once('message', (bytes: Buffer) => {
      assert.deepEqual(clientMessages.decode(bytes), {
        kind: 'hello',
        token: 'token',
        features: ['presence', 'resume'],
        streams: 'single',
        agent: 'shop/2.3',
      });
      socket.send(gatewayMessages.encode(welcome({ present: 1 })));
      socket.send(gatewayMessages.encode({ kind: 'present', connections: [other] }));
      socket.send(gatewayMessages.encode({ kind: 'bye', reason: 'forceDisconnected', message: 'out', streams: 0 }));
    });
  });
  const session = await connect(url, 'token', { agent: 'shop/2.3' });
  assert.deepEqual(session.connections, []);
  const kinds: string[] = [];
  for await (const event of session) {
    kinds.push(event.kind);
    if (event.kind === 'connectionCreated') assert.deepEqual(session.connections, [other]);
  }
  assert.deepEqual(kinds, ['connectionCreated', 'sessionDisconnected']);
  await session.disconnect();
});

test('values of the wrong type or size are refused before they are sent', DEADLINE, async () => {
  const session = await connect(gateway.url, gateway.token({ session: gateway.newSession() }));
  for (const [signal, code] of [
    [undefined, 'invalid'],
    ['hello', 'invalid'],
    [{ data: { x: 1 } }, 'invalid'],
    [{ data: 7 }, 'invalid'],
    [{ type: 7 }, 'invalid'],
    [{ data: '\ud800' }, 'invalid'],
    [{ to: 'bob' }, 'invalid'],
    [{ to: 7 }, 'invalid'],
    [{ type: 'with spaces' }, 'invalidType'],
    [{ type: 'ü' }, 'invalidType'],
    [{ type: 'x'.repeat(129) }, 'typeTooLong'],
    [{ data: 'x'.repeat(8193) }, 'dataTooLong'],
    [{ data: 'ü'.repeat(4097) }, 'dataTooLong'],
  ] as const) {
    await assert.rejects(session.signal(signal as never), { name: 'SignalError', code }, JSON.stringify(signal));
  }
  await assert.rejects(session.forceDisconnect('bob'), { code: 'invalid' });
  const echo = session.once('signal');
  await session.signal({ type: 'x'.repeat(128), data: 'ü'.repeat(4096) });
  assert.equal((await echo).seq, 1, 'nothing was sent before');
  await session.disconnect();
  await assert.rejects(session.signal({ data: 'x' }), { code: 'disconnected' });
  await assert.rejects(session.forceDisconnect(session.connection.id), { code: 'disconnected' });
  await session.disconnect();
});

test('promises that are ignored are no unhandled rejections, and listeners that throw harm nobody', DEADLINE, async (context) => {
  const unhandled: unknown[] = [];
  const uncaught: unknown[] = [];
  const onUnhandled = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', onUnhandled);
  context.after(() => process.off('unhandledRejection', onUnhandled));
  (globalThis as { reportError?: unknown }).reportError = (error: unknown) => uncaught.push(error);
  context.after(() => delete (globalThis as { reportError?: unknown }).reportError);
  const session = await connect(gateway.url, gateway.token({ session: gateway.newSession() }));
  void session.signal({ data: 7 as never });
  void session.signal({ to: '00000000-0000-4000-8000-000000000000' });
  void session.forceDisconnect('nobody');
  void session.once('connectionCreated');
  session.on('signal', () => {
    throw new Error('of the application');
  });
  const second = session.once('signal');
  await session.signal({ data: 'x' });
  await second;
  await session.disconnect();
  void session.signal({ data: 'x' });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(unhandled, []);
  assert.deepEqual(uncaught.map(String), ['Error: of the application']);
});

test('an iterator that is too slow fails instead of losing events', DEADLINE, async (context) => {
  let push!: (count: number) => void;
  const url = await peer(context, (socket) => {
    socket.once('message', () => socket.send(gatewayMessages.encode(welcome())));
    push = (count) => {
      for (let seq = 1; seq <= count; seq++) {
        const from = { server: 'gw' };
        socket.send(gatewayMessages.encode({ kind: 'signal', from, seq, type: null, data: null }));
      }
      socket.send(gatewayMessages.encode({ kind: 'bye', reason: 'forceDisconnected', message: '', streams: 0 }));
    };
  });
  const session = await connect(url, 'token');
  const iterator = session[Symbol.asyncIterator]();
  push(20_000);
  await session.once('sessionDisconnected');
  for (let n = 0; n < 16_384; n++) assert.equal((await iterator.next()).done, false);
  await assert.rejects(iterator.next(), { code: 'overflow' });
  assert.equal((await iterator.next()).done, true);
});
