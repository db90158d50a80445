// Socket.IO as one node of several, which reach each other through Redis. Rooms and events are those
// of socket-io.js.
//
// `node SCRIPT CERTIFICATE KEY REDIS_PORT ADAPTER`: "pubsub" is the adapter on Redis's channels,
// "streams" the one that supports the recovery of connections.
'use strict';

const https = require('node:https');
const begin = require('./begin');
const redisAdapter = require('@socket.io/redis-adapter');
const streamsAdapter = require('@socket.io/redis-streams-adapter');
const { createClient } = require('redis');
const { Server } = begin.load('socket.io');

const [redisPort, kind] = process.argv.slice(4);

const connect = async () => {
  const client = createClient({ url: `redis://127.0.0.1:${redisPort}` });
  await client.connect();
  return client;
};

const options = async () => {
  if (kind === 'streams') {
    return {
      adapter: streamsAdapter.createAdapter(await connect()),
      connectionStateRecovery: { maxDisconnectionDuration: 30_000 },
    };
  }
  return { adapter: redisAdapter.createAdapter(await connect(), await connect()) };
};

const start = async () => {
  const server = https.createServer(begin.tls());
  const io = new Server(server, await options());
  io.on('connection', (socket) => {
    socket.join(`one ${socket.handshake.auth.number}`);
    // Rooms of a few clients, for socket-io-failover.js.
    const { room } = socket.handshake.auth;
    if (room !== undefined) {
      socket.join(`room ${room}`);
      socket.on('room', (data) => io.to(`room ${room}`).emit('signal', data));
    }
    socket.on('all', (data) => io.emit('signal', data));
    socket.on('one', (number, data) => io.to(`one ${number}`).emit('signal', data));
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
};

start();
