// Socket.IO as a room. A client says its number when it connects, and emits "all" (DATA) or "one"
// (NUMBER, DATA).
'use strict';

const https = require('node:https');
const begin = require('./begin');
const { Server } = begin.load('socket.io');

const server = https.createServer(begin.tls());
const io = new Server(server);

io.on('connection', (socket) => {
  socket.join(`one ${socket.handshake.auth.number}`);
  socket.on('all', (data) => io.emit('signal', data));
  socket.on('one', (number, data) => io.to(`one ${number}`).emit('signal', data));
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
