/**
 * A node:http server that answers every request with the same 100 bytes. Run as a process of its own: `node
 * bare-http.js PORT`.
 */
import { createServer } from 'node:http';

const BODY = Buffer.alloc(100, 'v');

createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': BODY.length });
  response.end(BODY);
}).listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
