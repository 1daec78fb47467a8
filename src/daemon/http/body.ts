/** Bodies of requests, up to a size. */
import type { IncomingMessage } from 'node:http';
import type { HttpError } from './respond.js';

/** @throws what `tooLarge` gives, as soon as the body is known to have more than `bytesMax` bytes */
export async function readBody(request: IncomingMessage, bytesMax: number, tooLarge: () => HttpError): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop by an exception would destroy the socket, and with it the answer.
  const body = request.iterator({ destroyOnReturn: false });
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
