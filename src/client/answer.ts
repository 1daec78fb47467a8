/** Turns an answer's bytes into what the caller gets, or its status into an error. */

import {
  Hint,
  META_BYTES,
  Opcode,
  RESPONSE_HEADER_BYTES,
  readVersion,
  Status,
  VERSION_BYTES,
  type Version,
} from '../protocol/index.js';
import { AnswerKind, type Call, ReadFlag } from './call.js';
import { decodeBigint, decodeValue, decodeWithFreshness } from './codec.js';
import type { CopyAnswer } from './copy-read.js';
import { HengeError, type HengeErrorCode } from './errors.js';

/** A value with what is known about it. */
export interface Entry<T> {
  readonly value: T;
  readonly version: Version;
  /** Milliseconds left; Infinity when it does not expire. */
  readonly ttlMs: number;
  /**
   * The key's leader could not answer, so other copies did. The value is no older than the last write acknowledged at
   * `quorum` or `all`; one acknowledged at `one` may be newer.
   */
  readonly isDegraded: boolean;
}

/** An answer as it came. */
export interface RawAnswer {
  readonly status: number;
  readonly extras: Buffer;
  readonly value: Buffer;
}

/** Where a response has these. */
const HINTS_AT = 5;
const ENCODING_AT = 6;

/**
 * What the caller gets for an answer that is none of the refusals; `at` is where the frame begins.
 *
 * Hot path: nothing is allocated but the value.
 * @throws HengeError for a value that cannot be decoded, or a status that is an error
 */
export function readAnswer(call: Call, bytes: Buffer, view: DataView, at: number, end: number): unknown {
  const status = bytes[at + 4];
  const extrasAt = at + RESPONSE_HEADER_BYTES;
  const valueAt = extrasAt + (bytes[at + 7] as number);
  if (valueAt > end) throw new HengeError('PROTOCOL', `an answer's extras are longer than its ${end - at} bytes`);
  if (status === Status.OK) {
    if (call.answer === AnswerKind.VALUE) return decodeValue(bytes[at + ENCODING_AT] as number, bytes, valueAt, end);
    if (call.answer === AnswerKind.DONE) return undefined;
    return call.isPart ? frameOf(bytes, at, end) : readOther(call.answer, bytes, view, at, extrasAt, valueAt, end);
  }
  if (status === Status.NOT_FOUND) {
    if (call.isPart) return frameOf(bytes, at, end);
    return call.answer === AnswerKind.FOUND ? false : undefined;
  }
  if ((status === Status.EXISTS || status === Status.VERSION_MISMATCH) && isConditional(call.answer)) {
    return call.answer === AnswerKind.FOUND ? false : undefined;
  }
  throw errorOf(status as number, bytes.toString('utf8', valueAt, end), call);
}

const isConditional = (answer: AnswerKind): boolean => answer === AnswerKind.STORED || answer === AnswerKind.FOUND;

const frameOf = (bytes: Buffer, at: number, end: number): Buffer => Buffer.from(bytes.subarray(at, end));

/** What a copy's part says (AnswerKind.FRAME). */
export function copyAnswerOf(frame: Buffer): CopyAnswer<Buffer> {
  const view = viewOf(frame);
  const hasVersion = (frame[7] as number) >= VERSION_BYTES;
  return {
    version: hasVersion ? readVersion(view, RESPONSE_HEADER_BYTES) : '',
    isMiss: frame[4] !== Status.OK,
    answer: frame,
  };
}

/** Answers a call with what another copy said to a part of it. */
export function answerWith(call: Call, frame: Buffer): void {
  try {
    call.succeed(readAnswer(call, frame, viewOf(frame), 0, frame.length));
  } catch (error) {
    call.fail(error instanceof Error ? error : new HengeError('PROTOCOL', String(error)));
  }
}

/** Marks an answer as one that the key's leader had no part in. */
export function markDegraded(frame: Buffer): void {
  frame[HINTS_AT] = (frame[HINTS_AT] as number) | Hint.DEGRADED;
}

const viewOf = (frame: Buffer): DataView => new DataView(frame.buffer, frame.byteOffset, frame.length);

function readOther(
  answer: AnswerKind,
  bytes: Buffer,
  view: DataView,
  at: number,
  extrasAt: number,
  valueAt: number,
  end: number,
): unknown {
  const encoding = bytes[at + ENCODING_AT] as number;
  switch (answer) {
    case AnswerKind.FOUND:
      return true;
    case AnswerKind.STORED:
      return versionOf(view, extrasAt, valueAt);
    case AnswerKind.TTL:
      return ttlOf(view, extrasAt, valueAt);
    case AnswerKind.ENTRY:
      return entryOf(bytes, view, at, extrasAt, valueAt, end);
    case AnswerKind.FRESHNESS:
      return decodeWithFreshness(encoding, bytes.subarray(valueAt, end));
    case AnswerKind.BIGINT:
      return decodeBigint(bytes, valueAt, end);
    case AnswerKind.NUMBER:
      return safeNumber(decodeBigint(bytes, valueAt, end));
    case AnswerKind.LENGTH:
      return view.getUint32(valueAt, true);
    default:
      return {
        status: Status.OK,
        extras: Buffer.from(bytes.subarray(extrasAt, valueAt)),
        value: Buffer.from(bytes.subarray(valueAt, end)),
      } satisfies RawAnswer;
  }
}

function entryOf(
  bytes: Buffer,
  view: DataView,
  at: number,
  extrasAt: number,
  valueAt: number,
  end: number,
): Entry<unknown> | undefined {
  const value = decodeValue(bytes[at + ENCODING_AT] as number, bytes, valueAt, end);
  if (value === undefined) return undefined;
  const isDegraded = ((bytes[at + HINTS_AT] as number) & Hint.DEGRADED) !== 0;
  return { value, version: versionOf(view, extrasAt, valueAt), ttlMs: ttlOf(view, extrasAt, valueAt), isDegraded };
}

function versionOf(view: DataView, extrasAt: number, valueAt: number): Version {
  requireMeta(extrasAt, valueAt);
  return readVersion(view, extrasAt);
}

function ttlOf(view: DataView, extrasAt: number, valueAt: number): number {
  requireMeta(extrasAt, valueAt);
  const ttlMs = Number(view.getBigUint64(extrasAt + VERSION_BYTES, true));
  return ttlMs === 0 ? Number.POSITIVE_INFINITY : ttlMs;
}

function requireMeta(extrasAt: number, valueAt: number): void {
  if (valueAt - extrasAt < META_BYTES)
    throw new HengeError('PROTOCOL', 'an answer lacks the version that was asked for');
}

function safeNumber(result: bigint): number {
  const number = Number(result);
  if (Number.isSafeInteger(number)) return number;
  const message = `the counter is now ${result}, beyond safe integers: increment by a bigint to work with it`;
  throw new HengeError('UNSAFE_INTEGER', message, { maybeApplied: true });
}

const MESSAGES: Readonly<Record<number, readonly [HengeErrorCode, string]>> = {
  [Status.EXISTS]: ['REFUSED', 'the key exists'],
  [Status.VERSION_MISMATCH]: ['REFUSED', 'the item has another version'],
  [Status.NOT_A_NUMBER]: ['NOT_A_NUMBER', 'the value is not an integer'],
  [Status.OVERFLOW]: ['OVERFLOW', 'the result would leave the signed 64-bit range'],
  [Status.TOO_LARGE]: ['VALUE_TOO_LARGE', 'key and value can never fit on the node'],
  [Status.OUT_OF_MEMORY]: ['OUT_OF_MEMORY', 'the node could not secure memory; the write did not run'],
  [Status.BUSY]: ['BUSY', 'the node is overloaded; the request did not run'],
  [Status.MOVED]: ['MOVED', 'the node does not lead the slot of this key; the request did not run'],
  [Status.EXPIRED]: ['DEADLINE', 'the deadline had passed before the node ran the request'],
  [Status.REFUSED]: ['REFUSED', 'the node refused the request'],
  [Status.NOT_ENOUGH_REPLICAS]: ['NOT_ENOUGH_REPLICAS', 'too few copies acknowledged the write in time'],
  [Status.NOT_READY]: [
    'NOT_READY',
    'the leader of this key was not ready within the deadline; the request did not run',
  ],
  [Status.NOT_IN_SYNC]: ['NOT_READY', 'the copy that was asked may lack something'],
  [Status.PROTOCOL_ERROR]: ['PROTOCOL', 'the node met a protocol error'],
};

/** The error for a status; `sentence` is what the node said about it, perhaps nothing. */
export function errorOf(status: number, sentence: string, call: Call): HengeError {
  if (status === Status.NOT_READY && isAboveOne(call)) {
    return new HengeError(
      'NOT_ENOUGH_REPLICAS',
      'too few copies could be reached for this level; the request did not run',
    );
  }
  const [code, message] = MESSAGES[status] ?? ['PROTOCOL', `the node answered with the unknown status ${status}`];
  const maybeApplied = call.isWrite && status === Status.NOT_ENOUGH_REPLICAS;
  return new HengeError(code, sentence === '' || status === Status.MOVED ? message : sentence, { maybeApplied });
}

/** Whether the call asked for more than its leader's word. */
function isAboveOne(call: Call): boolean {
  return call.opcode === Opcode.GET ? call.level === ReadFlag.QUORUM : call.isWrite && call.level > 0;
}
