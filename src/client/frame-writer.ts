/** Writes a drafted request into a chunk, and says beforehand how much room it may need. */

import { Limit, REQUEST_HEADER_BYTES } from '../protocol/index.js';
import type { Chunk, Draft } from './call.js';
import { HengeError } from './errors.js';

/** Up to this many characters a loop over an ASCII string is faster than the call into Node's own writer. */
const LOOP_CHARACTERS_MAX = 40;
/** Longer strings are measured exactly rather than given three bytes a character. */
const GUESSED_CHARACTERS_MAX = 4_096;
const UTF8_BYTES_MAX = 3;
const INTEGER_BYTES = 8;
const ASCII_MAX = 0x7f;
const TWO_TO_32 = 2 ** 32;

/** Bytes the frame takes at most. Hot path: arithmetic only. */
export function roomFor(draft: Draft): number {
  return REQUEST_HEADER_BYTES + draft.extrasBytes + roomForPart(draft.key) + roomForPart(draft.value);
}

function roomForPart(part: Draft['value']): number {
  if (typeof part === 'string') {
    return part.length <= GUESSED_CHARACTERS_MAX ? part.length * UTF8_BYTES_MAX : Buffer.byteLength(part);
  }
  if (part === undefined) return 0;
  return typeof part === 'object' ? part.length : INTEGER_BYTES;
}

/**
 * Writes the frame at the chunk's end, which has room for it, and returns its length. `chunk.end` is not moved.
 *
 * Hot path: no allocation, at most one copy of the value.
 * @throws HengeError INVALID_KEY, VALUE_TOO_LARGE
 */
export function writeFrame(chunk: Chunk, draft: Draft, id: number, valueBytesMax: number): number {
  const { bytes, view, end: start } = chunk;
  const extrasBytes = draft.extrasBytes;
  let at = start + REQUEST_HEADER_BYTES;
  for (let i = 0; i < extrasBytes; i++) bytes[at + i] = draft.extras[i] as number;
  at += extrasBytes;

  const key = draft.key;
  const keyBytes = typeof key === 'string' ? writeText(bytes, at, key) : writeBytes(bytes, at, key);
  if (keyBytes > Limit.KEY_BYTES_MAX) refuseKey(keyBytes);
  at += keyBytes;

  const value = draft.value;
  if (value !== undefined) {
    const valueAt = at;
    if (typeof value === 'string') at += writeText(bytes, at, value);
    else if (typeof value === 'object') at += writeBytes(bytes, at, value);
    else at += writeInteger(view, at, value);
    if (at - valueAt > valueBytesMax) refuseValue(at - valueAt, valueBytesMax);
  }

  const length = at - start;
  view.setUint32(start, length - 4, true);
  bytes[start + 4] = draft.opcode;
  bytes[start + 5] = draft.flags;
  writeDeadline(view, start, draft.deadlineMs);
  view.setInt32(start + 8, id, true);
  view.setUint16(start + 12, keyBytes, true);
  bytes[start + 14] = extrasBytes;
  bytes[start + 15] = draft.encoding;
  return length;
}

/** Milliseconds left, in the 16 bits a frame has for them. */
export function writeDeadline(view: DataView, start: number, deadlineMs: number): void {
  view.setUint16(start + 6, Math.min(deadlineMs, 0xffff), true);
}

export const readDeadline = (view: DataView, start: number): number => view.getUint16(start + 6, true);

/** @throws HengeError INVALID_KEY for what cannot be a key, before room is made for it. */
export function checkKey(key: unknown): void {
  if (typeof key !== 'string' && !(key instanceof Uint8Array)) {
    throw new HengeError('INVALID_KEY', `a key is a string or a Uint8Array, not ${typeof key}`);
  }
  if (key.length === 0) throw new HengeError('INVALID_KEY', 'a key has at least one byte');
  if (key.length > Limit.KEY_BYTES_MAX) refuseKey(key.length);
}

function refuseKey(keyBytes: number): never {
  throw new HengeError('INVALID_KEY', `a key has at most ${Limit.KEY_BYTES_MAX} bytes, not ${keyBytes}`);
}

function refuseValue(valueBytes: number, valueBytesMax: number): never {
  throw new HengeError('VALUE_TOO_LARGE', `a value has at most ${valueBytesMax} bytes here, not ${valueBytes}`);
}

function writeText(bytes: Buffer, at: number, text: string): number {
  const length = text.length;
  if (length > LOOP_CHARACTERS_MAX) return bytes.write(text, at, 'utf8');
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > ASCII_MAX) return bytes.write(text, at, 'utf8');
    bytes[at + i] = code;
  }
  return length;
}

function writeBytes(bytes: Buffer, at: number, part: Uint8Array): number {
  bytes.set(part, at);
  return part.length;
}

function writeInteger(view: DataView, at: number, value: number | bigint): number {
  if (typeof value === 'bigint') {
    view.setBigInt64(at, value, true);
  } else {
    view.setUint32(at, value >>> 0, true);
    view.setInt32(at + 4, Math.floor(value / TWO_TO_32), true);
  }
  return INTEGER_BYTES;
}
