/**
 * The link to one node: its pipeline, and the connection that carries it for as long as it lasts. A lost connection is
 * made anew, at once the first time and then after growing, jittered pauses; meanwhile requests wait in the pipeline
 * for their deadlines.
 */

import { type HelloAnswer, Limit, Opcode } from '../protocol/index.js';
import { AnswerKind, type Call, Draft } from './call.js';
import { Connection } from './connection.js';
import { HengeError } from './errors.js';
import { Pipeline, type PipelineEvents, type PipelineLimits } from './pipeline.js';
import { reconnectDelayMs } from './router.js';

export interface LinkEvents extends PipelineEvents {
  up(): void;
  /** The connection is gone; `calls` were on it and may have run. News only if the node was up, or never was. */
  down(calls: Call[], error: HengeError, isNews: boolean): void;
}

export interface LinkOptions extends PipelineLimits {
  readonly clientName: string;
  readonly clock: () => number;
  readonly random: () => number;
  readonly epoch: () => number;
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
  #isClosed = false;

  constructor(
    public address: string,
    private readonly options: LinkOptions,
    private readonly events: LinkEvents,
  ) {
    this.pipeline = new Pipeline(options, options.clock, events, Limit.VALUE_BYTES_MAX);
    this.#connect();
  }

  get isUp(): boolean {
    return this.#isUp;
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
          this.pipeline.receivedAt = this.options.clock();
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
    this.#subscribe();
    this.events.up();
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
    this.events.down(this.pipeline.detach(), error, isNews);
    if (this.#isClosed) return;
    const delayMs = reconnectDelayMs(this.#attempts++, this.options.random);
    // Unref: a process may end although a node is away; while calls are pending the sweep keeps it alive.
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs).unref();
  }
}
