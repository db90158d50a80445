// ws as a room, written to client by client. A client's number is its path; it sends "* DATA" to all
// who are here, or "NUMBER DATA" to one.
'use strict';

const https = require('node:https');
const begin = require('./begin');
const { WebSocketServer } = begin.load('ws');

const SPACE = 32;

const server = https.createServer(begin.tls());
const room = new WebSocketServer({ server });
const byNumber = new Map();

room.on('connection', (socket, request) => {
  const number = request.url.slice(1);
  byNumber.set(number, socket);
  socket.on('close', () => byNumber.get(number) === socket && byNumber.delete(number));
  socket.on('error', () => {});
  socket.on('message', (message) => {
    const end = message.indexOf(SPACE);
    const to = message.latin1Slice(0, end);
    const data = message.subarray(end + 1);
    if (to !== '*') {
      byNumber.get(to)?.send(data, { binary: false });
      return;
    }
    for (const client of room.clients) client.send(data, { binary: false });
  });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
