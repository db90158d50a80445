/** A UDP proxy whose network the test takes away. */

import dgram from 'node:dgram';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';

export class UdpProxy {
  /** `HOST:PORT` of the proxy. */
  address;
  #isCut = false;

  /** It ends with the test. */
  static async to(context, target) {
    const [host, port] = target.split(':');
    const proxy = new UdpProxy();
    /** A socket towards the gateway for each client, by the client's port. */
    const upstream = new Map();
    const socket = dgram.createSocket('udp4');
    socket.on('message', (datagram, client) => {
      if (proxy.#isCut) return;
      let own = upstream.get(client.port);
      if (!own) {
        own = dgram.createSocket('udp4');
        own.on('message', (answer) => {
          if (!proxy.#isCut) socket.send(answer, client.port, client.address);
        });
        upstream.set(client.port, own);
      }
      own.send(datagram, Number(port), host);
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    proxy.address = `127.0.0.1:${socket.address().port}`;
    context.after(() => {
      socket.close();
      for (const own of upstream.values()) own.close();
    });
    return proxy;
  }

  /** Drops everything, in both directions and without a sign. */
  cut() {
    this.#isCut = true;
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
