/**
 * How fast a node sends what a change of the list of members has it send.
 *
 * Three things hold it: an operator's pause, an operator's limit in bytes a second, and the requests of clients, which
 * come first. While there are some a stream sends one batch at a time and then rests for some times as long as the
 * other node took to answer: so it takes a fixed part of what the busier of the two has, without a clock of its own
 * or a guess of how fast nodes are. Among themselves nodes that send to the same one share that part. When nobody asks
 * for anything, streams go as fast as they can.
 *
 * What a leader writes to copies here counts as a request too: somebody may be waiting for it to be acknowledged.
 *
 * Only moves are held up. A copy that was away gets what it missed as fast as can be: until then there is a copy less.
 */
import type { RebalanceRecord } from '../records.js';
import type { WorkerEnv } from './env.js';

/**
 * Of the time a batch takes, while there are requests. With four nodes and their load on two cores, 500,000 items and a
 * node that joins, 4 gave a p99 of 300 ms for a second and 16 gives one of 30 ms for six seconds.
 */
const REST_FACTOR = 16;
/** A rest is not longer than this, whatever a batch took: a node that was stopped for a moment is not busy. */
const REST_MS_MAX = 500;
/** How often it is looked whether there are requests, and how many in that time make a busy node. */
const LOOK_MS = 20;
const REQUESTS_MIN = 4;
/** Who was busy is, so long: a thread that gets no time serves no requests either. */
const BUSY_MS = 500;
/** What was served since a look that is older says nothing of now. */
const LOOK_AGE_MS_MAX = 250;

export class Pace {
  readonly #env: WorkerEnv;
  #rebalance: RebalanceRecord | undefined;
  /** By the limit, from this moment on more may go. */
  #openAtMs = 0;
  #lookAtMs = 0;
  #served = 0;
  #busyUntilMs = 0;

  constructor(env: WorkerEnv) {
    this.#env = env;
  }

  adopt(rebalance: RebalanceRecord | undefined): void {
    this.#rebalance = rebalance;
    this.#openAtMs = 0;
  }

  get isPaused(): boolean {
    return this.#rebalance?.isPaused === true;
  }

  /** Milliseconds until more may go: 0, at once; Infinity: not before something changes. */
  waitMs(nowMs: number): number {
    return this.isPaused ? Number.POSITIVE_INFINITY : Math.max(0, this.#openAtMs - nowMs);
  }

  sent(bytes: number, nowMs: number): void {
    const bytesPerSecond = this.#rebalance?.bytesPerSecond ?? this.#env.rebalanceBytesPerSecond;
    if (bytesPerSecond > 0) this.#openAtMs = Math.max(this.#openAtMs, nowMs) + (bytes / bytesPerSecond) * 1_000;
  }

  /** How long a stream rests after a batch that took so long to be answered. */
  restMs(tookMs: number, nowMs: number): number {
    return this.isBusy(nowMs) ? Math.min(tookMs * REST_FACTOR, REST_MS_MAX) : 0;
  }

  /** Whether requests are served here besides. */
  isBusy(nowMs: number): boolean {
    this.look(nowMs);
    return nowMs < this.#busyUntilMs;
  }

  /** Also called with every tick: when a change begins it is known what was served lately. */
  look(nowMs: number): void {
    if (nowMs < this.#lookAtMs) return;
    const served = this.#env.requestsServed();
    const sinceMs = nowMs - this.#lookAtMs + LOOK_MS;
    const isServing = (served - this.#served) * LOOK_MS >= REQUESTS_MIN * sinceMs;
    // Who is not known to be idle is taken for busy until the next look.
    const forMs = sinceMs > LOOK_AGE_MS_MAX ? LOOK_MS : isServing ? BUSY_MS : 0;
    this.#busyUntilMs = Math.max(this.#busyUntilMs, nowMs + forMs);
    this.#served = served;
    this.#lookAtMs = nowMs + LOOK_MS;
  }
}
