/** A TCP proxy whose network the test takes away. */

import { once } from 'node:events';
import net from 'node:net';
import { setTimeout } from 'node:timers/promises';

export class TcpProxy {
  /** `HOST:PORT` of the proxy. */
  address;
  #isCut = false;
  #sockets = new Set();

  /** It ends with the test. */
  static async to(context, target) {
    const [host, port] = target.split(':');
    const proxy = new TcpProxy();
    const server = net.createServer((client) => {
      if (proxy.#isCut) return client.destroy();
      const gateway = net.connect(Number(port), host);
      for (const [socket, other] of [[client, gateway], [gateway, client]]) {
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
    proxy.address = `127.0.0.1:${server.address().port}`;
    context.after(() => {
      server.close();
      proxy.cut();
    });
    return proxy;
  }

  /** Ends all connections, and refuses others. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Takes the network away for a time. */
  async cutFor(ms) {
    this.cut();
    await setTimeout(ms);
    this.restore();
  }

  /** The network is back. */
  restore() {
    this.#isCut = false;
  }
}
