/**
 * The pipeline of one node: requests that are written but not yet handed to the socket (the batch), and all that wait
 * for an answer (the pending calls). It knows no socket and no timer, and outlives every connection to its node.
 *
 *   append ──▶ chunk ▒▒▒▒▒▒▒▒░░░░░     frames are written one after the other; those of a tick go out in one write,
 *              sent ──┘ batch ┘        later ones gather while a write is under way or there is no connection
 *
 *   request id = generation << 16 | index;  pending[index] is the call
 *
 * An index is given out anew only when its answer has come or the connection is gone, never because a caller gave up;
 * the generation tells a late answer from a foreign one. A call whose frame was not handed to the socket has provably
 * not run.
 */

import { RESPONSE_HEADER_BYTES, Status } from '../protocol/index.js';
import { readAnswer } from './answer.js';
import { Call, Chunk, type Draft, type Reject, type Resolve } from './call.js';
import { HengeError, rejectLater } from './errors.js';
import type { FrameSink } from './frame-reader.js';
import { roomFor, writeDeadline, writeFrame } from './frame-writer.js';
import { Vitals } from './health.js';

/** What the pipeline needs of a connection. */
export interface Transport {
  /** Writes the parts, in order; `written` of the pipeline is called when the kernel has them. */
  write(parts: readonly Buffer[]): void;
}

/** What the pipeline reports. */
export interface PipelineEvents {
  /** The node answered MOVED (with its epoch), BUSY, NOT_READY or NOT_IN_SYNC: the request did not run. */
  refused(call: Call, status: number, epoch: number): void;
  /** A frame with request id 0. */
  pushed(value: Buffer): void;
  /** The first call is pending: somebody must look at deadlines from now on. */
  waits(): void;
}

export interface PipelineLimits {
  readonly inFlightMax: number;
  readonly unsentBytesMax: number;
}

const INDEX_BITS = 16;
const INDEX_MASK = 0xffff;
const PENDING_MIN = 256;

/** Holds a batch of 64 requests of a kilobyte; larger frames get a chunk of their own. */
const CHUNK_BYTES = 128 * 1_024;
/** Chunks kept for use again: as many as a full socket and its answers keep busy. */
const SPARE_CHUNKS_MAX = 8;
/** Where a response has its status. */
const STATUS_AT = 4;

let lastResolve: Resolve;
let lastReject: Reject;
/** One executor for all promises: no closure is made per request. */
const capture = (resolve: Resolve, reject: Reject): void => {
  lastResolve = resolve;
  lastReject = reject;
};

export class Pipeline implements FrameSink {
  /** Largest value of the node; what the protocol allows at most until the node has said. */
  valueBytesMax: number;
  /** Set when there will never be a connection again: every new call fails with it. */
  refusal: (() => HengeError) | undefined;
  readonly vitals = new Vitals();
  /** A node that is away is waited for at least so long: others may take its place. */
  patienceMs = 0;

  #pending: (Call | undefined)[] = [];
  #generations = new Uint16Array(0);
  /** Stack of free indexes. */
  #free = new Uint16Array(0);
  #freeCount = 0;
  #inFlight = 0;

  #chunk = new Chunk(CHUNK_BYTES);
  #spare: Chunk[] = [];
  /** The batch: whole parts of earlier chunks, then [#batchStart, end) of the current chunk. */
  #parts: Buffer[] = [];
  #batchStart = 0;
  #batchBytes = 0;
  #sequence = 0;
  #batchSequence = 0;
  /** The moment the batch was begun, which its deadlines count from. */
  #batchAt = 0;
  #isFlushScheduled = false;
  #isBatchOld = false;

  #transport: Transport | undefined;
  #awaySince: number;
  #isWriting = false;
  #isHeldBack = false;

  constructor(
    private readonly limits: PipelineLimits,
    private readonly clock: () => number,
    private readonly events: PipelineEvents,
    valueBytesMax: number,
  ) {
    this.valueBytesMax = valueBytesMax;
    this.#awaySince = clock();
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Calls whose callers still wait. */
  get awaited(): number {
    return this.#pending.reduce((count, call) => count + (call === undefined || call.isSettled ? 0 : 1), 0);
  }

  /**
   * Writes the request into the batch, and promises its answer.
   *
   * Hot path: one promise with its two functions and one Call are allocated; the frame is written once, in place.
   * @throws HengeError INVALID_KEY, VALUE_TOO_LARGE
   */
  append(draft: Draft): Promise<unknown> {
    const isTight = this.#freeCount === 0 || this.#batchBytes >= this.limits.unsentBytesMax;
    if (isTight || this.#transport === undefined || this.#isHeldBack || this.refusal !== undefined) {
      const refusal = this.#refusalOf(draft.deadlineMs);
      if (refusal !== undefined) return rejectLater(refusal);
    }
    const room = roomFor(draft);
    if (this.#chunk.end + room > this.#chunk.bytes.length) this.#nextChunk(room);
    const chunk = this.#chunk;
    const index = this.#free[this.#freeCount - 1] as number;
    const id = this.#nextId(index);
    const bytes = writeFrame(chunk, draft, id, this.valueBytesMax);

    if (this.#batchBytes === 0 || this.#isBatchOld) this.#batchAt = this.clock();
    const promise = new Promise<unknown>(capture);
    const call = new Call(draft.answer, draft.opcode, this.#batchAt + draft.deadlineMs, chunk, lastResolve, lastReject);
    this.#commit(call, index, id, bytes);
    if (draft.tracker !== undefined) draft.tracker.call = call;
    return promise;
  }

  /** Takes a call whose frame was written before, here or for another node. @throws HengeError QUEUE_FULL */
  adopt(call: Call): void {
    if (this.refusal !== undefined) throw this.refusal();
    this.#admit(call);
  }

  #admit(call: Call): void {
    if (this.#freeCount === 0 && !this.#grow()) throw this.#fullError('requests in flight');
    if (this.#chunk.end + call.bytes > this.#chunk.bytes.length) this.#nextChunk(call.bytes);
    const chunk = this.#chunk;
    const index = this.#free[this.#freeCount - 1] as number;
    const id = this.#nextId(index);
    const nowMs = this.clock();
    this.#batchAt = nowMs;
    call.chunk.bytes.copy(chunk.bytes, chunk.end, call.start, call.start + call.bytes);
    chunk.view.setInt32(chunk.end + 8, id, true);
    writeDeadline(chunk.view, chunk.end, Math.max(1, call.deadlineAt - nowMs));
    call.chunk = chunk;
    this.#commit(call, index, id, call.bytes);
  }

  #commit(call: Call, index: number, id: number, bytes: number): void {
    const chunk = call.chunk;
    call.id = id;
    call.start = chunk.end;
    call.bytes = bytes;
    call.sequence = this.#sequence;
    this.#sequence = (this.#sequence + 1) | 0;
    chunk.end += bytes;
    chunk.live++;
    this.#batchBytes += bytes;
    this.#freeCount--;
    this.#pending[index] = call;
    if (this.#inFlight++ === 0) this.events.waits();
    if (!this.#isFlushScheduled) {
      this.#isFlushScheduled = true;
      process.nextTick(flushPipeline, this);
    }
  }

  /** Hands the batch to the connection, unless there is none or it is still writing the one before. */
  flush(): void {
    this.#isFlushScheduled = false;
    if (this.#batchBytes === 0) return;
    const transport = this.#transport;
    if (transport === undefined || this.#isWriting || this.#isHeldBack) {
      this.#isBatchOld = true;
      return;
    }
    if (this.#isBatchOld) this.#rewrite();
    if (this.#batchBytes === 0) return;
    if (this.#owed === 0) this.vitals.owingSince = this.clock();
    const parts = this.#parts;
    this.#parts = [];
    const chunk = this.#chunk;
    if (chunk.end > this.#batchStart) parts.push(chunk.bytes.subarray(this.#batchStart, chunk.end));
    this.#batchStart = chunk.end;
    this.#batchBytes = 0;
    this.#batchSequence = this.#sequence;
    this.#isWriting = true;
    transport.write(parts);
  }

  get isHeldBack(): boolean {
    return this.#isHeldBack;
  }

  /** Whether what is not sent yet stays here for now, though there is a connection: the node is suspect. */
  holdBack(isHeldBack: boolean): void {
    const isReleased = this.#isHeldBack && !isHeldBack;
    this.#isHeldBack = isHeldBack;
    if (isReleased && !this.#isFlushScheduled) this.flush();
  }

  /** The kernel has taken all that was written. */
  written(): void {
    this.#isWriting = false;
    if (this.#batchBytes > 0 && !this.#isFlushScheduled) this.flush();
  }

  /** A connection stands, greeted, and nothing has been written on it. */
  attach(transport: Transport): void {
    this.#transport = transport;
    this.#isWriting = false;
    this.#isHeldBack = false;
    this.vitals.receivedAt = this.clock();
    this.flush();
  }

  /** The connection is gone. Returns the calls that may have run on it; the others stay and wait for the next one. */
  detach(): Call[] {
    if (this.#transport !== undefined) this.#awaySince = this.clock();
    this.#transport = undefined;
    this.#isWriting = false;
    this.#isBatchOld = true;
    return this.#take(true);
  }

  /** Takes away the calls that were never handed to a connection. */
  withdraw(): Call[] {
    const calls = this.#take(false);
    this.#dropBatch();
    return calls;
  }

  /** A complete response. Hot path: what readAnswer allocates. */
  takeFrame(bytes: Buffer, view: DataView, at: number, end: number): boolean {
    const id = view.getInt32(at + 8, true);
    const index = id & INDEX_MASK;
    const call = this.#pending[index];
    if (call === undefined || call.id !== id || this.#isUnsent(call)) return this.#takeOther(id, bytes, at, end);
    this.#release(index, call);
    if (call.isSettled) return true;
    const status = bytes[at + STATUS_AT] as number;
    this.vitals.answered(call);
    if (status !== Status.OK && isRefusal(status)) {
      call.detach();
      const epoch =
        status === Status.MOVED && end - at >= RESPONSE_HEADER_BYTES + 4 ? view.getUint32(at + 12, true) : 0;
      this.events.refused(call, status, epoch);
      return true;
    }
    try {
      call.succeed(readAnswer(call, bytes, view, at, end));
    } catch (error) {
      call.fail(error instanceof Error ? error : new HengeError('PROTOCOL', String(error)));
    }
    return true;
  }

  /** Fails the calls whose deadline has passed; their indexes stay taken while an answer may still come. */
  expire(nowMs: number): void {
    let isBatchThinner = false;
    const pending = this.#pending;
    for (let index = 0; index < pending.length; index++) {
      const call = pending[index];
      if (call === undefined || call.isSettled || call.deadlineAt > nowMs) continue;
      const isUnsent = this.#isUnsent(call);
      call.fail(deadlineError(call, isUnsent));
      isBatchThinner ||= isUnsent;
      if (!isUnsent) this.vitals.timedOut(nowMs);
    }
    if (isBatchThinner) this.#rewrite();
  }

  /** True if a caller has waited in vain for `silenceMs` beyond its deadline, and nothing at all has come meanwhile. */
  isSilent(nowMs: number, silenceMs: number): boolean {
    if (this.#transport === undefined || nowMs - this.vitals.receivedAt < silenceMs) return false;
    return this.#pending.some((call) => call?.isSettled && nowMs - call.deadlineAt >= silenceMs);
  }

  /** For how long the node has owed an answer and sent nothing; 0 when it owes none. */
  quietMs(nowMs: number): number {
    return this.#transport === undefined || this.#owed === 0 ? 0 : this.vitals.quietMs(nowMs);
  }

  /** Takes over the sent calls that `isWanted`; what is still answered to them is ignored. */
  takeOver(isWanted: (call: Call) => boolean): Call[] {
    const wanted = this.#pending.filter(
      (call): call is Call => call !== undefined && !call.isSettled && !this.#isUnsent(call) && isWanted(call),
    );
    return wanted.map((call) => call.takeOver());
  }

  /** Fails every call, sent or not. */
  failAll(errorFor: (call: Call, isUnsent: boolean) => HengeError): void {
    for (const call of this.#pending) call?.fail(errorFor(call, this.#isUnsent(call)));
    this.#take(true);
    this.withdraw();
  }

  #takeOther(id: number, bytes: Buffer, at: number, end: number): boolean {
    if (id !== 0) return false;
    const valueAt = at + RESPONSE_HEADER_BYTES + (bytes[at + 7] as number);
    if (valueAt <= end) this.events.pushed(Buffer.from(bytes.subarray(valueAt, end)));
    return valueAt <= end;
  }

  /** Calls that were handed to the connection and are not answered. */
  get #owed(): number {
    return this.#inFlight - ((this.#sequence - this.#batchSequence) | 0);
  }

  #isUnsent(call: Call): boolean {
    return ((call.sequence - this.#batchSequence) | 0) >= 0;
  }

  #nextId(index: number): number {
    const generation = ((this.#generations[index] as number) + 1) & INDEX_MASK || 1;
    this.#generations[index] = generation;
    return (generation << INDEX_BITS) | index;
  }

  #release(index: number, call: Call): void {
    this.#pending[index] = undefined;
    this.#free[this.#freeCount++] = index;
    this.#inFlight--;
    const chunk = call.chunk;
    if (--chunk.live > 0 || chunk.isRetired) return;
    if (chunk !== this.#chunk) {
      if (this.#spare.length < SPARE_CHUNKS_MAX) this.#spare.push(chunk);
    } else if (this.#batchBytes === 0) {
      chunk.end = 0;
      this.#batchStart = 0;
    }
    // A chunk with an unsent frame has a live call, so an emptied one is never part of the batch.
  }

  /**
   * Releases and returns, in the order of writing, the calls that were sent (or those that were not) and still
   * matter.
   */
  #take(isSent: boolean): Call[] {
    const taken: Call[] = [];
    for (let index = 0; index < this.#pending.length; index++) {
      const call = this.#pending[index];
      if (call === undefined || this.#isUnsent(call) === isSent) continue;
      call.chunk.isRetired = true;
      this.#release(index, call);
      if (!call.isSettled) taken.push(call);
    }
    if (this.#chunk.isRetired && !isSent) this.#chunk = new Chunk(CHUNK_BYTES);
    return taken.sort((a, b) => (a.sequence - b.sequence) | 0);
  }

  /** Writes the batch anew: without the calls that were given up, and with the time that is left for the others. */
  #rewrite(): void {
    const calls = this.#take(false);
    this.#dropBatch();
    for (const call of calls) this.#admit(call);
    this.#isBatchOld = this.#transport === undefined || this.#isWriting;
  }

  #dropBatch(): void {
    this.#parts = [];
    this.#batchBytes = 0;
    this.#batchStart = this.#chunk.end;
    this.#batchSequence = this.#sequence;
  }

  #nextChunk(room: number): void {
    const full = this.#chunk;
    if (full.end > this.#batchStart) this.#parts.push(full.bytes.subarray(this.#batchStart, full.end));
    if (room > CHUNK_BYTES) {
      this.#chunk = new Chunk(room);
      this.#chunk.isRetired = true;
    } else {
      this.#chunk = this.#spare.pop() ?? new Chunk(CHUNK_BYTES);
      this.#chunk.end = 0;
    }
    this.#batchStart = 0;
    if (full.live === 0 && !full.isRetired && this.#spare.length < SPARE_CHUNKS_MAX) this.#spare.push(full);
  }

  /** Why a new call cannot be taken, if that is so; makes room for it otherwise. */
  #refusalOf(deadlineMs: number): HengeError | undefined {
    if (this.refusal !== undefined) return this.refusal();
    // A node that has been away for as long as a caller would wait is not waited for, unless others may take its place.
    if (this.#awayMs >= Math.max(deadlineMs, this.patienceMs)) {
      return new HengeError('UNREACHABLE', 'the node cannot be reached; the client goes on trying in the background');
    }
    if (this.#batchBytes >= this.limits.unsentBytesMax) return this.#fullError('bytes unsent');
    if (this.#freeCount === 0 && !this.#grow()) return this.#fullError('requests in flight');
    return undefined;
  }

  /** How long the node has been gone, or suspect. */
  get #awayMs(): number {
    const nowMs = this.clock();
    if (this.#transport === undefined) return nowMs - this.#awaySince;
    return this.#isHeldBack ? this.quietMs(nowMs) : 0;
  }

  #grow(): boolean {
    const count = this.#pending.length;
    if (count >= this.limits.inFlightMax) return false;
    const larger = Math.min(Math.max(PENDING_MIN, 2 * count), this.limits.inFlightMax);
    while (this.#pending.length < larger) this.#pending.push(undefined);
    const generations = new Uint16Array(larger);
    generations.set(this.#generations);
    this.#generations = generations;
    this.#free = new Uint16Array(larger);
    for (let index = larger - 1; index >= count; index--) this.#free[this.#freeCount++] = index;
    return true;
  }

  #fullError(what: string): HengeError {
    return new HengeError('QUEUE_FULL', `too many ${what} to one node: wait for answers before sending more`);
  }
}

const isRefusal = (status: number): boolean =>
  status === Status.MOVED || status === Status.BUSY || status === Status.NOT_READY || status === Status.NOT_IN_SYNC;

const flushPipeline = (pipeline: Pipeline): void => pipeline.flush();

function deadlineError(call: Call, isUnsent: boolean): HengeError {
  if (isUnsent)
    return new HengeError('UNREACHABLE', 'the node could not be reached within the deadline; nothing was sent');
  const message = 'no answer came within the deadline';
  return new HengeError('DEADLINE', message, { maybeApplied: call.isWrite });
}
