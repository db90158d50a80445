// uWebSockets.js as a room. A client's number is its path; it sends "* DATA" to all who are here, or
// "NUMBER DATA" to one.
'use strict';

const begin = require('./begin');
// The newer one needs a newer C library than some systems have.
const uws = begin.load('@btc-vision/uwebsockets.js', '@trufflesuite/uws-js-unofficial');

const SPACE = 32;

const app = uws.SSLApp({ cert_file_name: begin.certificate, key_file_name: begin.key });

app.ws('/*', {
  // By default 64 KiB may wait for a reader, and what is more is lost. A gateway allows this much.
  maxBackpressure: 1024 * 1024,
  upgrade(response, request, context) {
    response.upgrade(
      { number: request.getUrl().slice(1) },
      request.getHeader('sec-websocket-key'),
      request.getHeader('sec-websocket-protocol'),
      request.getHeader('sec-websocket-extensions'),
      context,
    );
  },
  open(socket) {
    socket.subscribe('*');
    socket.subscribe(socket.getUserData().number);
  },
  message(_socket, message) {
    const bytes = Buffer.from(message);
    const end = bytes.indexOf(SPACE);
    app.publish(bytes.latin1Slice(0, end), bytes.subarray(end + 1), false);
  },
});

app.listen('127.0.0.1', 0, (listening) => {
  console.log(listening ? uws.us_socket_local_port(listening) : 0);
});
