/**
 * What a client thinks of a node, beside whether there is a connection: signs of life, a breaker that opens when
 * requests time out in a row, and the latencies that hedged reads are measured by. Pure: the time is an argument.
 */

import { Opcode } from '../protocol/index.js';
import type { Call } from './call.js';

/** Signs of life of a node, as its pipeline sees them. */
export class Vitals {
  /** When bytes last came. */
  receivedAt = 0;
  /** When the node began to owe the oldest answer it owes, or some later moment. */
  owingSince = 0;
  /** Requests in a row that were not answered in time, and when the first of them was given up. */
  timeouts = 0;
  timeoutsSince = 0;
  /** Of reads; undefined when nobody wants to know. */
  latencies: Latencies | undefined;

  /** For how long a node that owes an answer has sent nothing. */
  quietMs(nowMs: number): number {
    return nowMs - Math.max(this.receivedAt, this.owingSince);
  }

  /** Hot path, once an answer: two fields. */
  answered(call: Call): void {
    this.timeouts = 0;
    if (this.latencies !== undefined && call.opcode === Opcode.GET) {
      this.latencies.record(this.receivedAt - call.sentAt);
    }
  }

  timedOut(nowMs: number): void {
    if (this.timeouts++ === 0) this.timeoutsSince = nowMs;
  }
}

/** Requests in a row that timed out; fewer are an accident. */
const BREAKER_TIMEOUTS = 20;
/** They must also lie this far apart: callers with very short deadlines do not speak for the others. */
const BREAKER_SPAN_MS_MIN = 250;
/** Pause between probes of an open breaker, a half more or less. */
const BREAKER_PROBE_MS = 500;

/**
 * Closed, requests pass. Open, none does, and every now and then a probe is sent; the first answer in time closes it
 * again. So nothing queues for a node that answers too late for everybody.
 */
export class Breaker {
  #isOpen = false;
  #probeAt = 0;

  get isOpen(): boolean {
    return this.#isOpen;
  }

  observe(vitals: Pick<Vitals, 'timeouts' | 'timeoutsSince'>, nowMs: number, random: () => number): void {
    const { timeouts, timeoutsSince } = vitals;
    if (timeouts === 0) {
      this.#isOpen = false;
    } else if (!this.#isOpen && timeouts >= BREAKER_TIMEOUTS && nowMs - timeoutsSince >= BREAKER_SPAN_MS_MIN) {
      this.#isOpen = true;
      this.#pause(nowMs, random);
    }
  }

  /** True when a probe is to be sent now. */
  takeProbe(nowMs: number, random: () => number): boolean {
    if (!this.#isOpen || nowMs < this.#probeAt) return false;
    this.#pause(nowMs, random);
    return true;
  }

  #pause(nowMs: number, random: () => number): void {
    this.#probeAt = nowMs + BREAKER_PROBE_MS * (0.5 + random());
  }
}

/** One bucket a millisecond; longer ones count as this. */
const LATENCY_MS_MAX = 255;
/** Fewer say nothing about a percentile. */
const LATENCIES_MIN = 20;
/** At this many all counts are halved, so that what was long ago fades. */
const LATENCIES_MAX = 2_000;
/** The percentile is worked out anew after so many. */
const FRESH_FOR = 64;

/** How long a node's reads take, as a histogram of the recent ones. */
export class Latencies {
  readonly #counts = new Uint32Array(LATENCY_MS_MAX + 1);
  #total = 0;
  #sinceWorkedOut = FRESH_FOR;
  #percentileMs = 0;

  /** `percentile`: 0 to 100. */
  constructor(private readonly percentile: number) {}

  record(latencyMs: number): void {
    const bucket = Math.min(LATENCY_MS_MAX, Math.max(0, latencyMs));
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#total++;
    this.#sinceWorkedOut++;
    if (this.#total >= LATENCIES_MAX) this.#fade();
  }

  /** So long does the wanted part of the reads take at most; undefined while there are too few. */
  get percentileMs(): number | undefined {
    if (this.#total < LATENCIES_MIN) return undefined;
    if (this.#sinceWorkedOut >= FRESH_FOR) this.#workOut();
    return this.#percentileMs;
  }

  #workOut(): void {
    this.#sinceWorkedOut = 0;
    let left = (this.#total * this.percentile) / 100;
    this.#percentileMs = this.#counts.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
  }

  #fade(): void {
    this.#total = 0;
    for (let bucket = 0; bucket <= LATENCY_MS_MAX; bucket++) {
      const half = (this.#counts[bucket] as number) >> 1;
      this.#counts[bucket] = half;
      this.#total += half;
    }
  }
}
