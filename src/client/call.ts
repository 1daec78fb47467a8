/**
 * One request on its way: what it says (Draft), and what is kept until it is answered (Call).
 *
 * A call's frame lives in the chunk it was written into until its answer has come, so that a request which did not run
 * can be sent again, byte for byte, without the caller's value, which may have changed meanwhile.
 */

import { Opcode, REQUEST_HEADER_BYTES, RequestFlag } from '../protocol/index.js';
import type { Key } from './options.js';

/** What an answer is turned into before the caller gets it (answer.ts). */
export const AnswerKind = {
  VALUE: 0,
  ENTRY: 1,
  /** A value with the moment until which it is fresh. */
  FRESHNESS: 2,
  FOUND: 3,
  DONE: 4,
  /** The version of a conditional write; undefined if the condition did not hold. */
  STORED: 5,
  TTL: 6,
  NUMBER: 7,
  BIGINT: 8,
  LENGTH: 9,
  /** Extras and value as they came, copied. */
  RAW: 10,
  /** The frame, copied, value or miss: one copy's part in a read that asks several. */
  FRAME: 11,
} as const;
export type AnswerKind = (typeof AnswerKind)[keyof typeof AnswerKind];

const EXTRAS_BYTES_MAX = 64;
const FLAGS_AT = 5;
const DEADLINE_AT = 6;

/** Levels of a GET, as they stand in a request's flags. */
export const ReadFlag = { PRIMARY: 0, QUORUM: 1, NEAREST: 2, DEGRADED: 3 } as const;

/** What a request is to say. A client has one, filled and used up within one synchronous call. */
export class Draft {
  opcode = 0;
  flags = 0;
  answer: AnswerKind = AnswerKind.DONE;
  deadlineMs = 0;
  key: Key = '';
  extrasBytes = 0;
  encoding = 0;
  /** Bytes, a string (as UTF-8), a safe integer or a bigint (as i64); undefined: none. */
  value: Uint8Array | string | number | bigint | undefined = undefined;
  /** Where the pipeline leaves the call that was made of the draft, for whoever must watch it. */
  tracker: { call: Call | undefined } | undefined = undefined;
  readonly extras = Buffer.alloc(EXTRAS_BYTES_MAX);
  readonly extrasView = new DataView(this.extras.buffer, this.extras.byteOffset, EXTRAS_BYTES_MAX);
}

/** Memory that frames are written into, one after the other. */
export class Chunk {
  readonly bytes: Buffer;
  readonly view: DataView;
  /** Where the next frame goes. */
  end = 0;
  /** Calls whose frames are in here and may be needed again. */
  live = 0;
  /** No longer written to, and left to the garbage collector when its calls are done. */
  isRetired = false;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, size);
  }
}

export type Resolve = (value: unknown) => void;
export type Reject = (error: Error) => void;

export class Call {
  id = 0;
  /** Order of writing within a pipeline; says whether the frame has been handed to the socket. Wraps at 32 bits. */
  sequence = 0;
  attempts = 0;
  isSettled = false;
  start = 0;
  bytes = 0;

  constructor(
    readonly answer: AnswerKind,
    readonly opcode: number,
    /** Milliseconds on the client's clock. */
    public deadlineAt: number,
    public chunk: Chunk,
    private readonly resolve: Resolve,
    private readonly reject: Reject,
  ) {}

  /** Runs nothing of the caller's: promises continue later. Only the first of these two counts. */
  succeed(value: unknown): void {
    this.isSettled = true;
    this.resolve(value);
  }

  fail(error: Error): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.reject(error);
  }

  /** When the frame was handed to a pipeline, to the millisecond; wrong for deadlines beyond 65 seconds. */
  get sentAt(): number {
    return this.deadlineAt - this.chunk.view.getUint16(this.start + DEADLINE_AT, true);
  }

  get isWrite(): boolean {
    return isWrite(this.opcode);
  }

  /** Asks one copy on behalf of a read that asks several: if it fails, that read goes on without it. */
  get isPart(): boolean {
    return this.answer === AnswerKind.FRAME;
  }

  /** The two bits of the frame's flags that say how many copies must acknowledge, or who may answer. */
  get level(): number {
    return this.chunk.view.getUint8(this.start + FLAGS_AT) & RequestFlag.LEVEL_MASK;
  }

  set level(level: number) {
    const flags = this.chunk.view.getUint8(this.start + FLAGS_AT);
    this.chunk.view.setUint8(this.start + FLAGS_AT, (flags & ~RequestFlag.LEVEL_MASK) | level);
  }

  /** A read that any copies may answer when its leader cannot. A read at `quorum` is only ever its leader's. */
  get isOrdinaryRead(): boolean {
    return this.opcode === Opcode.GET && !this.isPart && this.level !== ReadFlag.QUORUM;
  }

  /** A question to one copy, at that level, with the key of this read and a frame of its own. */
  partFor(level: number, resolve: Resolve, reject: Reject): Call {
    const part = new Call(AnswerKind.FRAME, this.opcode, this.deadlineAt, this.chunk, resolve, reject);
    part.start = this.start;
    part.bytes = this.bytes;
    part.detach();
    part.level = level;
    const flags = part.chunk.view.getUint8(FLAGS_AT);
    part.chunk.view.setUint8(FLAGS_AT, flags | RequestFlag.WANT_META);
    return part;
  }

  /** The same call, to be sent elsewhere; what may still be answered to this one is nobody's from now on. */
  takeOver(): Call {
    const heir = new Call(this.answer, this.opcode, this.deadlineAt, this.chunk, this.resolve, this.reject);
    heir.attempts = this.attempts;
    heir.start = this.start;
    heir.bytes = this.bytes;
    heir.detach();
    this.isSettled = true;
    return heir;
  }

  /** The key as it is in the frame; a view. */
  get key(): Buffer {
    const keyBytes = this.chunk.view.getUint16(this.start + 12, true);
    const keyAt = this.start + REQUEST_HEADER_BYTES + this.chunk.view.getUint8(this.start + 14);
    return this.chunk.bytes.subarray(keyAt, keyAt + keyBytes);
  }

  /** Moves the frame to memory of its own, so that it can wait while its chunk is used again. */
  detach(): void {
    const own = new Chunk(this.bytes);
    this.chunk.bytes.copy(own.bytes, 0, this.start, this.start + this.bytes);
    own.end = this.bytes;
    own.isRetired = true;
    this.chunk = own;
    this.start = 0;
  }
}

/** True for a request that must not run twice unasked. A step of CLEAR may: what it deletes is gone either way. */
export const isWrite = (opcode: number): boolean =>
  opcode === Opcode.SET ||
  opcode === Opcode.DELETE ||
  opcode === Opcode.TOUCH ||
  opcode === Opcode.INCREMENT ||
  opcode === Opcode.APPEND;
