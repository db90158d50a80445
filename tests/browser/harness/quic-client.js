/** A client on raw QUIC: `signalbox join`. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { EventLog } from './event-log.js';
import { binary } from './gateway.js';

export class QuicClient {
  /** Its connection's id. */
  id;
  events;
  #child;

  /** Joins a session; leaves it with the test. */
  static async join(context, gateway, { session, role, data, token = gateway.token({ session, role, data }) }) {
    const client = new QuicClient();
    client.events = new EventLog(data);
    client.#child = spawn(binary(), ['join', `quic://${gateway.quic}`, '--ca', gateway.ca, '--json'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, SIGNALBOX_TOKEN: token },
    });
    const exited = once(client.#child, 'exit');
    context.after(async () => {
      client.#child.kill('SIGKILL');
      await exited;
    });
    createInterface(client.#child.stdout).on('line', (line) => {
      const { event: kind, id, ...members } = JSON.parse(line);
      // The SDK of pages names the whole connection.
      client.events.push({ kind, ...(id && { connection: { id } }), ...members });
    });
    client.id = (await client.events.next('sessionConnected')).connection.id;
    return client;
  }

  /** Sends signals to all. */
  sendAll(texts) {
    this.#type(...texts);
  }

  sendTo(id, data) {
    this.#type(`/to ${id} ${data}`);
  }

  kick(id) {
    this.#type(`/kick ${id}`);
  }

  #type(...lines) {
    this.#child.stdin.write(lines.map((line) => `${line}\n`).join(''));
  }
}
