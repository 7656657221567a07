// Node's net: a stream object per client, piped into itself.
//
// The unit of concurrency is a socket object. Control switches when a callback returns to
// the loop (libuv). pipe reads no more while its destination is full, and ends it when all
// that was read has been written. After the echo server of
// https://nodejs.org/api/net.html#netcreateserveroptions-connectionlistener.
'use strict';
const net = require('node:net');

const server = net.createServer((client) => {
  client.on('error', () => {}); // this client left; unheard, it would end the process
  client.pipe(client);
});
server.listen({ fd: 0 }, 4096);
