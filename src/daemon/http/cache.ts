/**
 * /v1/cache/KEY: one key by HTTP. The key is what stands after the slash, percent-decoded to bytes, so that every key
 * can be written; the body is stored as it is.
 *
 *   GET, HEAD   200 with the value, or 404      PUT ?ttl=90s   204      DELETE   204, or 404
 *
 * Values that applications stored come out by what they are: bytes as application/octet-stream, strings and numbers as
 * text, anything else as JSON.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Henge, HengeError, type HengeErrorCode, type Ttl } from '../../client/index.js';
import { readBody } from './body.js';
import type { NodeState } from './node-state.js';
import { HttpError, respond } from './respond.js';

export interface CacheRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly rawKey: string;
  readonly query: URLSearchParams;
  readonly node: NodeState;
}

const METHODS = 'GET, HEAD, PUT, DELETE';

export async function serveCache({ request, response, rawKey, query, node }: CacheRequest): Promise<void> {
  const key = decodeKey(rawKey);
  try {
    const client = await node.client();
    if (client === undefined) throw new HttpError(503, 'the node does not serve yet');
    switch (request.method) {
      case 'GET':
      case 'HEAD':
        return await sendValue(response, client, key);
      case 'PUT':
        await storeBody(request, client, key, { ttl: query.get('ttl'), bytesMax: node.valueBytesMax });
        response.writeHead(204).end();
        return;
      case 'DELETE':
        if (!(await client.delete(key))) throw new HttpError(404, 'there is no such key');
        response.writeHead(204).end();
        return;
    }
  } catch (error) {
    throw error instanceof HengeError ? new HttpError(statusOf(error.code), error.message, error.code) : error;
  }
  response.setHeader('allow', METHODS);
  throw new HttpError(405, `${request.method} is not offered here; use ${METHODS}`);
}

/** Percent-decodes to bytes: `%FF` is the byte 255, which decodeURIComponent would refuse. */
export function decodeKey(raw: string): Buffer {
  if (/%(?![0-9a-f]{2})/i.test(raw)) throw new HttpError(400, 'the key has a % that two hex digits do not follow');
  const latin1 = Buffer.from(raw, 'utf8').toString('latin1');
  const bytes = latin1.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  if (bytes.length === 0) throw new HttpError(400, 'the key is empty', 'INVALID_KEY');
  return Buffer.from(bytes, 'latin1');
}

async function sendValue(response: ServerResponse, client: Henge, key: Buffer): Promise<void> {
  const value = await client.get(key);
  if (value === undefined) throw new HttpError(404, 'there is no such key');
  if (value instanceof Uint8Array) respond(response, 200, 'application/octet-stream', value);
  else if (typeof value === 'string') respond(response, 200, 'text/plain; charset=utf-8', value);
  else if (typeof value === 'number' || typeof value === 'bigint')
    respond(response, 200, 'text/plain; charset=utf-8', String(value));
  else respond(response, 200, 'application/json; charset=utf-8', toJson(value));
}

/** What JSON has no word for is written as people would: maps as objects, sets as arrays, 64-bit numbers as digits. */
function toJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === 'bigint') return part.toString();
    if (part instanceof Map) return Object.fromEntries(part);
    if (part instanceof Set) return [...part];
    return part;
  });
}

interface Storing {
  readonly ttl: string | null;
  readonly bytesMax: number;
}

async function storeBody(
  request: IncomingMessage,
  client: Henge,
  key: Buffer,
  { ttl, bytesMax }: Storing,
): Promise<void> {
  const tooLarge = () => new HttpError(413, `a value has at most ${bytesMax} bytes`, 'VALUE_TOO_LARGE');
  const body = await readBody(request, bytesMax, tooLarge);
  // A number alone is milliseconds, as everywhere in the client.
  const ttlOption = ttl === null ? {} : { ttl: (/^\d+$/.test(ttl) ? Number(ttl) : ttl) as Ttl };
  await client.set(key, body, ttlOption);
}

function statusOf(code: HengeErrorCode): number {
  switch (code) {
    case 'INVALID_ARGUMENT':
    case 'INVALID_KEY':
      return 400;
    case 'VALUE_TOO_LARGE':
      return 413;
    case 'DEADLINE':
      return 504;
    case 'OUT_OF_MEMORY':
      return 507;
    case 'CORRUPT_VALUE':
      return 500;
    default:
      return 503;
  }
}
