/**
 * The link to one node: its pipeline, and the connection that carries it for as long as it lasts. A lost connection is
 * made anew, at once the first time and then after growing, jittered pauses; meanwhile requests wait in the pipeline
 * for their deadlines.
 *
 * A link is in doubt when it is down, when its node is suspect (it owes an answer and has sent nothing for a while, not
 * even to a NOOP), or when requests time out in a row. Reads then go to other copies, and what was not sent yet waits.
 */

import { type HelloAnswer, Limit, Opcode, requestFrame } from '../protocol/index.js';
import { AnswerKind, Call, Chunk, Draft } from './call.js';
import { Connection } from './connection.js';
import { HengeError } from './errors.js';
import { Breaker, Latencies } from './health.js';
import { Pipeline, type PipelineEvents, type PipelineLimits } from './pipeline.js';
import { reconnectDelayMs } from './retry.js';

export interface LinkEvents extends PipelineEvents {
  /** A connection stands, to a node that is in this epoch. */
  up(epoch: number): void;
  /** The connection is gone; `calls` were on it and may have run. News only if the node was up, or never was. */
  down(calls: Call[], error: HengeError, isNews: boolean): void;
  /** `isDoubtful` has changed, while the connection is what it was. */
  doubtChanged(): void;
}

export interface LinkOptions extends PipelineLimits {
  readonly clientName: string;
  readonly clock: () => number;
  readonly random: () => number;
  readonly epoch: () => number;
  readonly suspectAfterMs: number;
  /** Undefined: nobody hedges reads. */
  readonly hedgePercentile: number | undefined;
}

/** A node that owes answers and has sent nothing for this long past a deadline is taken for dead. */
const SILENCE_MS_MAX = 3_000;
/** Patience for the subscription that every connection begins with. */
const SUBSCRIBE_MS = 5_000;

export class Link {
  readonly pipeline: Pipeline;
  /** As the node called itself in its hello; empty before. */
  nodeName = '';
  #connection: Connection | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #attempts = 0;
  #isUp = false;
  #isDoubtful = false;
  /** No connection has failed yet, nor taken long: one is being made for the first time. */
  #isFresh = true;
  readonly #madeAt: number;
  readonly #breaker = new Breaker();
  /** When the node was last asked for a sign of life. */
  #askedAt = 0;
  #isClosed = false;

  constructor(
    public address: string,
    private readonly options: LinkOptions,
    private readonly events: LinkEvents,
  ) {
    this.pipeline = new Pipeline(options, options.clock, events, Limit.VALUE_BYTES_MAX);
    if (options.hedgePercentile !== undefined) this.pipeline.vitals.latencies = new Latencies(options.hedgePercentile);
    this.#madeAt = options.clock();
    this.#connect();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Reads had better go elsewhere. */
  get isDoubtful(): boolean {
    return this.#isDoubtful;
  }

  /** Nothing else is to be sent there either: it would only queue. */
  get isBarred(): boolean {
    return this.#breaker.isOpen;
  }

  /** The node is now to be reached at another address; a connection that stands is kept for as long as it does. */
  readdress(address: string): void {
    if (address === this.address) return;
    this.address = address;
    this.#attempts = 0;
    if (!this.#isUp) this.#connection?.close(`the node moved to ${address}`);
  }

  /** Called every few milliseconds while calls are pending. */
  sweep(nowMs: number): void {
    this.pipeline.expire(nowMs);
    if (this.pipeline.isSilent(nowMs, SILENCE_MS_MAX)) this.#connection?.close(`${this.address} has fallen silent`);
    const { suspectAfterMs, random } = this.options;
    const quietMs = this.pipeline.quietMs(nowMs);
    this.#breaker.observe(this.pipeline.vitals, nowMs, random);
    const wantsSign = quietMs >= suspectAfterMs / 2 && this.#askedAt <= this.pipeline.vitals.receivedAt;
    if (this.#isUp && (this.#breaker.takeProbe(nowMs, random) || wantsSign)) this.#askForSign(nowMs);
    this.pipeline.holdBack(quietMs >= suspectAfterMs);
    if (this.#isFresh && !this.#isUp) this.#isFresh = nowMs - this.#madeAt < suspectAfterMs;
    const wasDoubtful = this.#isDoubtful;
    this.#judge();
    if (this.#isDoubtful !== wasDoubtful) this.events.doubtChanged();
  }

  #judge(): void {
    this.#isDoubtful = this.#isUp ? this.pipeline.isHeldBack || this.#breaker.isOpen : !this.#isFresh;
  }

  /** A NOOP overtakes nothing, but a node that only has slow work to do answers it at once. */
  #askForSign(nowMs: number): void {
    this.#askedAt = nowMs;
    const frame = requestFrame({ opcode: Opcode.NOOP, id: 0 });
    const chunk = new Chunk(frame.length);
    frame.copy(chunk.bytes);
    chunk.isRetired = true;
    const deadlineAt = nowMs + this.options.suspectAfterMs;
    const call = new Call(AnswerKind.DONE, Opcode.NOOP, deadlineAt, chunk, ignore, ignore);
    call.bytes = frame.length;
    try {
      this.pipeline.adopt(call);
    } catch {
      // The pipeline is full: what is in it asks loudly enough.
    }
  }

  /** Closes the connection for good; what is pending fails. */
  close(error: HengeError): void {
    this.#isClosed = true;
    this.pipeline.refusal = () => error;
    clearTimeout(this.#retryTimer);
    this.#connection?.close(error.message);
    this.pipeline.failAll((call, isUnsent) => {
      return new HengeError(error.code, error.message, { maybeApplied: call.isWrite && !isUnsent });
    });
  }

  #connect(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#retryTimer);
    try {
      const connection: Connection = new Connection(this.address, this.options.clientName, this.options.epoch(), {
        greeted: (answer, nodeName) => this.#greeted(connection, answer, nodeName),
        lost: (error) => this.#lost(error),
        written: () => this.pipeline.written(),
        received: () => {
          this.pipeline.vitals.receivedAt = this.options.clock();
        },
      });
      this.#connection = connection;
    } catch (error) {
      // A member's address that makes no sense: told later, as every other loss.
      queueMicrotask(() => this.#lost(new HengeError('UNREACHABLE', String(error), { cause: error })));
    }
  }

  #greeted(connection: Connection, answer: HelloAnswer, nodeName: string): Pipeline {
    this.#attempts = 0;
    this.#isUp = true;
    this.nodeName = nodeName;
    this.pipeline.valueBytesMax = answer.valueBytesMax;
    this.pipeline.attach(connection);
    this.#judge();
    this.#subscribe();
    this.events.up(answer.epoch);
    return this.pipeline;
  }

  /** Every connection subscribes, for any of them may be the last one that stands when the topology changes. */
  #subscribe(): void {
    const draft = new Draft();
    draft.opcode = Opcode.SUBSCRIBE;
    draft.answer = AnswerKind.RAW;
    draft.deadlineMs = SUBSCRIBE_MS;
    // Failing it costs nothing: a stale table is found out by the first request that is refused.
    this.pipeline.append(draft).catch(() => undefined);
  }

  #lost(error: HengeError): void {
    this.#connection = undefined;
    const isNews = this.#isUp || (this.nodeName === '' && this.#attempts === 0);
    this.#isUp = false;
    this.#isFresh = false;
    this.#judge();
    this.events.down(this.pipeline.detach(), error, isNews);
    if (this.#isClosed) return;
    const delayMs = reconnectDelayMs(this.#attempts++, this.options.random);
    // Unref: a process may end although a node is away; while calls are pending the sweep keeps it alive.
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs).unref();
  }
}

/** Of a sign of life only the bytes count. */
const ignore = (): void => undefined;
