// Clients of Socket.IO on three nodes, of which the first is killed while signals flow.
//
// `node SCRIPT CA CONNECTIONS RATE ADDRESS...`: each room has ten clients at the first node and one at
// each of the others. Prints "ready" once signals flow. When all clients of the first node are
// connected again, or a minute after the first was lost, it prints the result as a line of JSON.
'use strict';

const fs = require('node:fs');
const { io } = require('socket.io-client');

const DOOMED = 10;
const BEFORE_MS = 3000;
const AFTER_MS = 3000;
const PATIENCE_MS = 60_000;
const CONNECTING = 32;

const [caFile, connections, rate, ...addresses] = process.argv.slice(2);
const ca = fs.readFileSync(caFile);
const urls = addresses.map((address) => `https://${address}`);
const now = () => Number(process.hrtime.bigint());

/** One client, with everything that it has seen. */
const connect = (room, home) => {
  const client = { room, home, senders: new Map(), sent: 0, lost: null, back: null, recovered: null };
  const socket = io(urls[home], { ca, transports: ['websocket'], forceNew: true, auth: { room } });
  client.socket = socket;
  socket.on('signal', (data) => {
    const [from, number] = data.split(' ');
    if (!client.senders.has(from)) client.senders.set(from, { numbers: new Set(), duplicates: 0 });
    const sender = client.senders.get(from);
    if (sender.numbers.has(number)) sender.duplicates += 1;
    sender.numbers.add(number);
  });
  socket.on('disconnect', () => {
    client.lost ??= now();
  });
  // A load balancer would lead it to another node.
  let turn = 0;
  socket.io.on('reconnect_attempt', () => {
    turn += 1;
    socket.io.uri = urls[(home + turn) % urls.length];
  });
  return new Promise((resolve, reject) => {
    socket.on('connect', () => {
      if (client.lost === null) resolve(client);
      else if (client.back === null) {
        client.back = now();
        client.recovered = socket.recovered;
      }
    });
    socket.on('connect_error', (error) => {
      if (client.lost === null) reject(error);
    });
  });
};

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const start = async () => {
  const rooms = Math.ceil(connections / DOOMED);
  const clients = [];
  const seats = [];
  for (let room = 0; room < rooms; room += 1) {
    const doomed = Math.min(DOOMED, connections - room * DOOMED);
    for (let number = 0; number < doomed; number += 1) seats.push([room, 0]);
    for (let node = 1; node < urls.length; node += 1) seats.push([room, node]);
  }
  const worker = async () => {
    while (seats.length > 0) clients.push(await connect(...seats.shift()));
  };
  await Promise.all(Array.from({ length: CONNECTING }, worker));

  // One client of each room at each node sends, in turn.
  const senders = new Map();
  clients.forEach((client) => senders.set(`${client.room}-${client.home}`, client));
  const names = [...senders.keys()];
  let total = 0;
  const began = now();
  const pad = '0'.repeat(100);
  const send = (name) => {
    const client = senders.get(name);
    client.socket.emit('room', `${name} ${client.sent} ${pad}`);
    client.sent += 1;
  };
  const sending = setInterval(() => {
    const due = ((now() - began) / 1e9) * rate;
    for (; total < due; total += 1) send(names[total % names.length]);
  }, 1);
  await wait(BEFORE_MS);
  console.log('ready');

  const doomed = clients.filter((client) => client.home === 0);
  while (!doomed.some((client) => client.lost !== null)) await wait(20);
  const deadline = now() + PATIENCE_MS * 1e6;
  while (!doomed.every((client) => client.back !== null) && now() < deadline) await wait(20);
  await wait(AFTER_MS);
  clearInterval(sending);
  await wait(AFTER_MS);

  const result = { each_ns: [], recovered: 0, signals: 0, silent: 0, noticed: 0, duplicates: 0 };
  for (const client of clients) {
    for (let node = 0; node < urls.length; node += 1) {
      const name = `${client.room}-${node}`;
      const { sent } = senders.get(name);
      const { numbers, duplicates } = client.senders.get(name) ?? { numbers: new Set(), duplicates: 0 };
      result.signals += sent;
      result.duplicates += duplicates;
      // A client that was not recovered knows that it may have missed something.
      const knows = client.back !== null && !client.recovered;
      result[knows ? 'noticed' : 'silent'] += sent - numbers.size;
    }
    if (client.home === 0 && client.back !== null) {
      result.each_ns.push([client.lost, client.back]);
      if (client.recovered) result.recovered += 1;
    }
  }
  console.log(JSON.stringify(result));
  process.exit(0);
};

start().catch((error) => {
  console.error(error);
  process.exit(1);
});
