/**
 * What a client thinks of a node's link, beside whether there is a connection: a breaker that opens when requests time
 * out in a row, and the latencies that hedged reads are measured by. Pure: the time is an argument.
 */

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

  /** `timeouts`: how many requests in a row were not answered in time, the first of them at `sinceMs`. */
  observe(timeouts: number, sinceMs: number, nowMs: number, random: () => number): void {
    if (timeouts === 0) {
      this.#isOpen = false;
    } else if (!this.#isOpen && timeouts >= BREAKER_TIMEOUTS && nowMs - sinceMs >= BREAKER_SPAN_MS_MIN) {
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
