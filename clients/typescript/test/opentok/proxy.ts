/** A TCP proxy whose connections the test cuts. */

import { once } from 'node:events';
import net from 'node:net';

import type { Cleanup } from '../gateway.js';

/** It ends with the test. */
export class Proxy {
  readonly url: string;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #port: number;

  private constructor(server: net.Server, port: number) {
    this.#server = server;
    this.#port = port;
    this.url = `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
  }

  static async to(context: Cleanup, port: number): Promise<Proxy> {
    let proxy: Proxy;
    const server = net.createServer((client) => {
      const gateway = net.connect(proxy.#port, '127.0.0.1');
      for (const [socket, other] of [[client, gateway], [gateway, client]] as const) {
        proxy.#sockets.add(socket);
        socket.pipe(other);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          proxy.#sockets.delete(socket);
          other.destroy();
        });
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    proxy = new Proxy(server, port);
    context.after(() => proxy.#close());
    return proxy;
  }

  /** Cuts all connections, as a network that fails. */
  cut(): void {
    // Not resetAndDestroy(), after which Node 20 sometimes never exits.
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Leads to another gateway from now on, and cuts the connections to the first. */
  redirect(port: number): void {
    this.#port = port;
    this.cut();
  }

  async #close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }
}
