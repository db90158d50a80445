/** A TCP proxy whose connections the test cuts. */

import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';

import type { Cleanup } from './gateway.js';

export interface Proxy {
  url: string;
  /** Connections accepted so far. */
  accepted: number;
  /** Resets all connections. */
  cut(): void;
  /** From now on nothing passes, in either direction, and nobody is told. */
  fallSilent(): void;
  /** Whether new connections are let through. */
  open: boolean;
}

export async function startProxy(context: Cleanup, target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    proxy.accepted++;
    if (!proxy.open) {
      client.destroy();
      return;
    }
    const gateway = connect(Number(port), hostname);
    for (const socket of [client, gateway]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        gateway.destroy();
      });
    }
    client.pipe(gateway).pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: Proxy = {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    accepted: 0,
    open: true,
    cut() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    fallSilent() {
      for (const socket of sockets) socket.unpipe().pause();
    },
  };
  context.after(() => {
    proxy.cut();
    server.close();
  });
  return proxy;
}
