/** A TCP proxy whose network the test takes away. */

import { once } from 'node:events';
import net from 'node:net';
import { setTimeout } from 'node:timers/promises';

export class TcpProxy {
  /** `HOST:PORT` of the proxy. */
  address;
  #target;
  #isCut = false;
  #sockets = new Set();
  #webSockets = new Set();
  /** Upgrades that are still to be lost. */
  #losing = 0;
  #isWithholding = false;

  /** It ends with the test. */
  static async to(context, target) {
    const proxy = new TcpProxy();
    proxy.moveTo(target);
    const server = net.createServer((client) => {
      proxy.opened += 1;
      if (proxy.#isCut) return client.destroy();
      const [host, port] = proxy.#target.split(':');
      const gateway = net.connect(Number(port), host);
      client.on('data', (data) => {
        if (!/^upgrade: websocket/im.test(data)) return;
        if (proxy.#losing > 0) {
          proxy.#losing -= 1;
          client.destroy();
          return;
        }
        proxy.#webSockets.add(client).add(gateway);
        // The first answer is that of the upgrade.
        if (proxy.#isWithholding) gateway.once('data', () => gateway.unpipe(client).resume());
      });
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

  /** Takes what is sent over WebSockets and passes nothing on, so that neither side notices. */
  freeze() {
    for (const socket of this.#webSockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** Ends the connections of this many WebSockets at their opening. */
  loseUpgrades(count) {
    this.#losing = count;
  }

  /** Whether to discard what the gateway sends over new WebSockets. */
  withholdAnswers(isWithholding) {
    this.#isWithholding = isWithholding;
  }

  /** Connections that clients have opened so far. */
  opened = 0;

  /** Leads new connections to another gateway, as a load balancer does. */
  moveTo(target) {
    this.#target = target;
  }

  /** The network is back. */
  restore() {
    this.#isCut = false;
  }
}
