/**
 * One reader's judgement of a counter that another process moves as long as it lives: pure, time passed in.
 *
 * The reader's clock alone counts. The other lapses when the counter was seen unmoved for a TTL, from the end of the
 * reading that showed it moved to the beginning of the one that shows it still there: then no move can lie between. A
 * reader that did not look for half a TTL was itself held up, perhaps with the whole machine, and starts anew.
 */
export class CounterObservation {
  readonly #ttlMs: number;
  #counter: number | undefined;
  #movedAtMs = 0;
  #lookedAtMs = 0;

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** Takes a reading that began and ended then. Returns whether the other one has lapsed. */
  look(counter: number, beganMs: number, endedMs: number): boolean {
    const isLate = beganMs - this.#lookedAtMs > this.#ttlMs / 2;
    if (isLate || counter !== this.#counter) {
      this.#counter = counter;
      this.#movedAtMs = endedMs;
    }
    this.#lookedAtMs = Math.max(this.#lookedAtMs, endedMs);
    return beganMs - this.#movedAtMs >= this.#ttlMs;
  }
}
