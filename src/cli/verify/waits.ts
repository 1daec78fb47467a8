/**
 * How long calls took, apart for quiet times and for times of change, and how long this process itself stood still.
 *
 * A change is noticed late: its first seconds look quiet at the time. So calls are collected in windows, and a window
 * is put down as quiet only when neither it, nor the one before, nor the one after it has seen a change.
 */
import { Latencies } from '../load/latencies.js';

export interface WaitSummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly longestMs: number;
}

export class Waits {
  readonly #quiet = new Latencies();
  readonly #during = new Latencies();
  #previous = new Latencies();
  #current = new Latencies();
  #previousIsChange = false;
  /** The change that `roll` was told of last is still near enough to colour the window after it. */
  #lastWasChange = false;

  record(ms: number): void {
    this.#current.record(ms * 1000);
  }

  /** Ends a window: `isChange` when a change was seen in it. */
  roll(isChange: boolean): void {
    this.#settle(this.#previousIsChange || isChange);
    const emptied = this.#previous;
    this.#previous = this.#current;
    this.#previousIsChange = isChange || this.#lastWasChange;
    this.#lastWasChange = isChange;
    this.#current = emptied;
  }

  /** All calls; to be asked when no more will be recorded, or for a line that is drawn meanwhile. */
  summary(): { readonly all: WaitSummary; readonly quiet: WaitSummary; readonly during: WaitSummary } {
    const [quiet, during, all] = [new Latencies(), new Latencies(), new Latencies()];
    quiet.add(this.#quiet);
    during.add(this.#during);
    (this.#previousIsChange ? during : quiet).add(this.#previous);
    (this.#lastWasChange ? during : quiet).add(this.#current);
    all.add(quiet);
    all.add(during);
    return { all: summaryOf(all), quiet: summaryOf(quiet), during: summaryOf(during) };
  }

  #settle(isChange: boolean): void {
    (isChange ? this.#during : this.#quiet).add(this.#previous);
    this.#previous.reset();
  }
}

function summaryOf(latencies: Latencies): WaitSummary {
  const { p50, p99, max } = latencies.summary();
  return { count: latencies.count, p50Ms: p50 / 1e3, p99Ms: p99 / 1e3, longestMs: max / 1e3 };
}

/** How often this process looks whether it still runs. */
const TICK_MS = 10;
/** A timer is late by so much without anything being wrong. */
const TICK_SLACK_MS = 5;

/**
 * The milliseconds for which this process did not turn: the operating system ran others, or the collector of garbage
 * ran. A call that was answered meanwhile looks slow from here and was not, so stalls are taken off its wait.
 */
export class Stalls implements Disposable {
  readonly #timer = setInterval(() => this.#tick(), TICK_MS);
  #tickedAtMs = performance.now();
  #stalledMs = 0;
  #longestMs = 0;

  get totalMs(): number {
    return this.#stalledMs + this.#overdueMs();
  }

  get longestMs(): number {
    return Math.max(this.#longestMs, this.#overdueMs());
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const stalledMs = this.#overdueMs();
    this.#stalledMs += stalledMs;
    this.#longestMs = Math.max(this.#longestMs, stalledMs);
    this.#tickedAtMs = performance.now();
  }

  #overdueMs(): number {
    return Math.max(0, performance.now() - this.#tickedAtMs - TICK_MS - TICK_SLACK_MS);
  }
}
