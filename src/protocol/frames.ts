/**
 * Whole frames, built and read one at a time: for what is rare (hello, topology, tests, tools). The client's hot path
 * writes and reads the same layouts in place (src/client/pipeline.ts).
 */
import { REQUEST_HEADER_BYTES, RESPONSE_HEADER_BYTES } from './spec.js';

const EMPTY = Buffer.alloc(0);

export interface RequestFrame {
  readonly opcode: number;
  readonly flags: number;
  /** Milliseconds the sender goes on waiting; 0: no limit. */
  readonly deadlineMs: number;
  readonly id: number;
  readonly encoding: number;
  readonly extras: Buffer;
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface ResponseFrame {
  readonly status: number;
  readonly hints: number;
  readonly encoding: number;
  readonly id: number;
  readonly extras: Buffer;
  readonly value: Buffer;
}

/** The bytes of a request; parts not given are empty or 0. */
export function requestFrame(frame: Partial<RequestFrame> & Pick<RequestFrame, 'opcode' | 'id'>): Buffer {
  const { flags = 0, deadlineMs = 0, encoding = 0, extras = EMPTY, key = EMPTY, value = EMPTY } = frame;
  const header = Buffer.alloc(REQUEST_HEADER_BYTES);
  header.writeUInt32LE(REQUEST_HEADER_BYTES - 4 + extras.length + key.length + value.length, 0);
  header[4] = frame.opcode;
  header[5] = flags;
  header.writeUInt16LE(deadlineMs, 6);
  header.writeUInt32LE(frame.id, 8);
  header.writeUInt16LE(key.length, 12);
  header[14] = extras.length;
  header[15] = encoding;
  return Buffer.concat([header, extras, key, value]);
}

/** The bytes of a response; parts not given are empty or 0. */
export function responseFrame(frame: Partial<ResponseFrame> & Pick<ResponseFrame, 'status' | 'id'>): Buffer {
  const { hints = 0, encoding = 0, extras = EMPTY, value = EMPTY } = frame;
  const header = Buffer.alloc(RESPONSE_HEADER_BYTES);
  header.writeUInt32LE(RESPONSE_HEADER_BYTES - 4 + extras.length + value.length, 0);
  header[4] = frame.status;
  header[5] = hints;
  header[6] = encoding;
  header[7] = extras.length;
  header.writeUInt32LE(frame.id, 8);
  return Buffer.concat([header, extras, value]);
}

/** Length of the frame that begins at `at`, its length field included; undefined while even that has not arrived. */
export function frameBytes(bytes: Buffer, at: number): number | undefined {
  return bytes.length - at < 4 ? undefined : 4 + bytes.readUInt32LE(at);
}

/**
 * Reads the complete request that begins at `at`. The parts are views. @throws RangeError when its lengths disagree.
 */
export function readRequest(bytes: Buffer, at: number): RequestFrame {
  const end = at + 4 + bytes.readUInt32LE(at);
  const keyAt = at + REQUEST_HEADER_BYTES + bytes.readUInt8(at + 14);
  const valueAt = keyAt + bytes.readUInt16LE(at + 12);
  if (valueAt > end || end > bytes.length)
    throw new RangeError(`request at ${at} is longer than its ${end - at} bytes`);
  return {
    opcode: bytes.readUInt8(at + 4),
    flags: bytes.readUInt8(at + 5),
    deadlineMs: bytes.readUInt16LE(at + 6),
    id: bytes.readUInt32LE(at + 8),
    encoding: bytes.readUInt8(at + 15),
    extras: bytes.subarray(at + REQUEST_HEADER_BYTES, keyAt),
    key: bytes.subarray(keyAt, valueAt),
    value: bytes.subarray(valueAt, end),
  };
}

/**
 * Reads the complete response that begins at `at`. The parts are views. @throws RangeError when its lengths disagree.
 */
export function readResponse(bytes: Buffer, at: number): ResponseFrame {
  const end = at + 4 + bytes.readUInt32LE(at);
  const valueAt = at + RESPONSE_HEADER_BYTES + bytes.readUInt8(at + 7);
  if (valueAt > end || end > bytes.length)
    throw new RangeError(`response at ${at} is longer than its ${end - at} bytes`);
  return {
    status: bytes.readUInt8(at + 4),
    hints: bytes.readUInt8(at + 5),
    encoding: bytes.readUInt8(at + 6),
    id: bytes.readUInt32LE(at + 8),
    extras: bytes.subarray(at + RESPONSE_HEADER_BYTES, valueAt),
    value: bytes.subarray(valueAt, end),
  };
}
