/**
 * From values to bytes and back (Encoding in src/protocol/spec.ts).
 *
 * Strings, bytes, safe integers and 64-bit bigints are stored raw, so that clients in other languages and the server's
 * increment can read them; everything else is MessagePack, by msgpackr without records, with marks (marks.ts) where
 * MessagePack is not enough. Compression is opt-in, applies to all but integers, and is undone by every client.
 */

import { brotliCompressSync, brotliDecompressSync, constants, deflateSync, inflateSync } from 'node:zlib';
import { Packr } from 'msgpackr';
import { Encoding, Limit } from '../protocol/index.js';
import { HengeError } from './errors.js';
import { mark, needsMarks, unmark } from './marks.js';

export type CompressionMethod = 'deflate' | 'brotli';

export interface Compression {
  readonly method: CompressionMethod;
  /** Values of fewer bytes are stored as they are. */
  readonly bytesMin: number;
}

/** Bytes of a value and how they are to be read. */
export interface Encoded {
  readonly encoding: number;
  readonly bytes: Uint8Array;
}

const INTEGER_BYTES = 8;
const I64_MIN = -(2n ** 63n);
const I64_MAX = 2n ** 63n - 1n;
/** A compressed value that grows beyond this when decompressed is taken for an attack or an accident. */
const DECOMPRESSED_BYTES_MAX = 4 * Limit.VALUE_BYTES_MAX;
/** Brotli's default quality is for files made once; this one is as fast as deflate. */
const BROTLI_QUALITY = 4;

/** Bigints are the only int64 in what msgpackr writes (a large number is a double), so every int64 is one again. */
const packr = new Packr({
  useRecords: false,
  moreTypes: true,
  copyBuffers: true,
  useBigIntExtension: true,
  int64AsType: 'bigint',
});

/** How a value is to be encoded: a kind of Encoding. @throws HengeError INVALID_ARGUMENT for what cannot be stored. */
export function kindOf(value: unknown): number {
  switch (typeof value) {
    case 'string':
      return Encoding.UTF8;
    case 'number':
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? Encoding.INTEGER : msgpackKind(value);
    case 'bigint':
      return value >= I64_MIN && value <= I64_MAX ? Encoding.BIGINT : Encoding.MSGPACK;
    case 'undefined':
      throw new HengeError(
        'INVALID_ARGUMENT',
        'undefined cannot be stored: it stands for a missing key; use delete or null',
      );
    default:
      // Other typed arrays are MessagePack, and come back as what they were.
      return value instanceof Uint8Array ? Encoding.BYTES : msgpackKind(value);
  }
}

const msgpackKind = (value: unknown): number => (needsMarks(value) ? Encoding.MARKED : Encoding.MSGPACK);

/** The bytes of a value that `kindOf` found to be MSGPACK or MARKED. They are msgpackr's own: copy them at once. */
export const packValue = (kind: number, value: unknown): Uint8Array =>
  packr.pack(kind === Encoding.MARKED ? mark(value) : value);

/** A value's bytes on their own, compressed if that is wanted and helps. For large and rare values; see pipeline.ts. */
export function encodeValue(value: unknown, compression: Compression | undefined): Encoded {
  const kind = kindOf(value);
  const bytes = bytesOf(kind, value);
  if (compression === undefined || bytes.length < compression.bytesMin) return { encoding: kind, bytes };
  if (kind === Encoding.INTEGER || kind === Encoding.BIGINT) return { encoding: kind, bytes };
  const packed = compress(bytes, compression.method);
  if (packed.length >= bytes.length) return { encoding: kind, bytes };
  return { encoding: kind | (compression.method === 'brotli' ? Encoding.BROTLI : Encoding.DEFLATE), bytes: packed };
}

/** Wraps an encoded value so that it is fresh until a moment (milliseconds since 1970), and stale from then on. */
export function withFreshness(inner: Encoded, freshUntil: number): Encoded {
  const bytes = Buffer.allocUnsafe(9 + inner.bytes.length);
  bytes.writeBigUInt64LE(BigInt(Math.round(freshUntil)), 0);
  bytes[8] = inner.encoding;
  bytes.set(inner.bytes, 9);
  return { encoding: Encoding.FRESH_UNTIL, bytes };
}

/** A value and until when it is fresh; Infinity for one that was stored without a word about it. */
export interface Freshness {
  readonly value: unknown;
  readonly freshUntil: number;
}

/** Reads what `withFreshness` made, or any other value. */
export function decodeWithFreshness(encoding: number, bytes: Buffer): Freshness {
  if (encoding !== Encoding.FRESH_UNTIL) {
    return { value: decodeValue(encoding, bytes, 0, bytes.length), freshUntil: Number.POSITIVE_INFINITY };
  }
  const value = decodeValue(bytes.readUInt8(8), bytes, 9, bytes.length);
  return { value, freshUntil: Number(bytes.readBigUInt64LE(0)) };
}

/**
 * The value in bytes [from, to). Nothing of the result aliases them. A value that is fresh no longer is undefined.
 *
 * Hot path: one string, Buffer or number and nothing else for the raw kinds.
 * @throws HengeError CORRUPT_VALUE, VALUE_TOO_LARGE
 */
export function decodeValue(encoding: number, bytes: Buffer, from: number, to: number): unknown {
  switch (encoding) {
    case Encoding.UTF8:
      return bytes.toString('utf8', from, to);
    case Encoding.BYTES:
      return copyOf(bytes, from, to);
    case Encoding.INTEGER:
      return decodeInteger(bytes, from, to);
    default:
      return decodeOther(encoding, bytes, from, to);
  }
}

function decodeOther(encoding: number, bytes: Buffer, from: number, to: number): unknown {
  try {
    if ((encoding & Encoding.COMPRESSION_MASK) !== 0) {
      const plain = decompress(encoding & Encoding.COMPRESSION_MASK, bytes.subarray(from, to));
      return decodeValue(encoding & Encoding.KIND_MASK, plain, 0, plain.length);
    }
    switch (encoding) {
      case Encoding.MSGPACK:
        return packr.unpack(bytes.subarray(from, to));
      case Encoding.MARKED:
        return unmark(packr.unpack(bytes.subarray(from, to)));
      case Encoding.BIGINT:
        return decodeBigint(bytes, from, to);
      case Encoding.FRESH_UNTIL: {
        const { value, freshUntil } = decodeWithFreshness(encoding, bytes.subarray(from, to));
        return freshUntil > Date.now() ? value : undefined;
      }
    }
  } catch (cause) {
    if (cause instanceof HengeError) throw cause;
    throw new HengeError('CORRUPT_VALUE', `a value of encoding ${encoding} cannot be decoded`, { cause });
  }
  throw new HengeError('CORRUPT_VALUE', `a value has encoding ${encoding}, which this client does not know`);
}

/** The 8 bytes of an INTEGER or BIGINT. @throws HengeError CORRUPT_VALUE */
export function decodeBigint(bytes: Buffer, from: number, to: number): bigint {
  if (to - from !== INTEGER_BYTES) {
    throw new HengeError('CORRUPT_VALUE', `an integer has ${INTEGER_BYTES} bytes, not ${to - from}`);
  }
  return bytes.readBigInt64LE(from);
}

/** A number where that is exact; increments by bigints may have taken an INTEGER beyond, and then it is a bigint. */
function decodeInteger(bytes: Buffer, from: number, to: number): number | bigint {
  if (to - from !== INTEGER_BYTES) return decodeBigint(bytes, from, to);
  const high = bytes.readInt32LE(from + 4);
  const number = high * 2 ** 32 + bytes.readUInt32LE(from);
  return Number.isSafeInteger(number) ? number : decodeBigint(bytes, from, to);
}

function copyOf(bytes: Buffer, from: number, to: number): Buffer {
  const copy = Buffer.allocUnsafe(to - from);
  bytes.copy(copy, 0, from, to);
  return copy;
}

function bytesOf(kind: number, value: unknown): Uint8Array {
  if (kind === Encoding.BYTES) return value as Uint8Array;
  if (kind === Encoding.UTF8) return Buffer.from(value as string);
  if (kind === Encoding.MSGPACK || kind === Encoding.MARKED) return packValue(kind, value);
  const bytes = Buffer.allocUnsafe(INTEGER_BYTES);
  bytes.writeBigInt64LE(BigInt(value as number | bigint));
  return bytes;
}

function compress(bytes: Uint8Array, method: CompressionMethod): Buffer {
  if (method === 'deflate') return deflateSync(bytes);
  return brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
}

function decompress(method: number, bytes: Buffer): Buffer {
  try {
    const options = { maxOutputLength: DECOMPRESSED_BYTES_MAX };
    if (method === Encoding.DEFLATE) return inflateSync(bytes, options);
    if (method === Encoding.BROTLI) return brotliDecompressSync(bytes, options);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw cause;
    const message = `a value takes more than ${DECOMPRESSED_BYTES_MAX} bytes when decompressed`;
    throw new HengeError('VALUE_TOO_LARGE', message, { cause });
  }
  throw new HengeError('CORRUPT_VALUE', `a value is compressed by method ${method}, which this client does not know`);
}
