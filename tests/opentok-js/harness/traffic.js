/** Signals that are sent all the time, and whether they have arrived. */

import assert from 'node:assert/strict';
import { setTimeout as after } from 'node:timers/promises';

/** Sends numbered signals from both until told to stop. Returns how many each has sent. */
export function traffic(...clients) {
  let running = true;
  const sending = clients.map(async (client) => {
    let sent = 0;
    const outcomes = [];
    while (running) {
      sent += 1;
      outcomes.push(client.signal({ type: 'n', data: `${client.connection.data} ${sent}` }));
      await after(20);
    }
    await Promise.all(outcomes);
    return sent;
  });
  return async () => {
    running = false;
    return Promise.all(sending);
  };
}

/**
 * Asserts that each client has received every signal of each sender once. The SDK itself sends a signal
 * that is made while it comes back before those that it repeats.
 */
export async function assertComplete(clients, counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  for (const client of clients) {
    const received = (await client.take('signal', total)).map(([, data]) => data);
    clients.forEach((sender, at) => {
      const { data: name } = sender.connection;
      const own = received.filter((data) => data.startsWith(`${name} `)).map((data) => Number(data.split(' ')[1]));
      const all = Array.from({ length: counts[at] }, (_, n) => n + 1);
      assert.deepEqual(own.toSorted((a, b) => a - b), all);
    });
    assert.deepEqual(client.pending('signal', 'connectionCreated', 'connectionDestroyed', 'sessionDisconnected'), []);
  }
}
