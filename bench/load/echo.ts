/**
 * A server that does nothing but answer: a frame begins with its own length and the length of the answer it wants. Run
 * as a process of its own, `node echo.js PORT`; the floor under every client's latency.
 */
import { createServer } from 'node:net';

const ANSWER = Buffer.alloc(65_536, 'v');

const server = createServer({ noDelay: true }, (socket) => {
  let rest = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    let input = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (input.length >= 8 && input.length >= input.readUInt32LE(0)) {
      socket.write(ANSWER.subarray(0, input.readUInt32LE(4)));
      input = input.subarray(input.readUInt32LE(0));
    }
    rest = input;
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
