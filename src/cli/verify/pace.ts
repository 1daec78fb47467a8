/**
 * Turns at an even rate, shared by all who ask for them. What was missed while everybody waited for the cluster is not
 * made up for: a burst afterwards would measure itself.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** Timers are late; turns that are late by no more than this are taken all the same. */
const BEHIND_MS_MAX = 20;

export class Pace {
  readonly #intervalMs: number;
  #dueMs = Number.NEGATIVE_INFINITY;

  constructor(
    perSecond: number,
    private readonly signal: AbortSignal,
  ) {
    this.#intervalMs = 1000 / perSecond;
    // As many listen as wait for their turn; Node would suspect a leak.
    setMaxListeners(0, signal);
  }

  /** Resolves when it is the caller's turn: true, or false when there are no more turns. */
  async turn(): Promise<boolean> {
    const now = performance.now();
    this.#dueMs = Math.max(this.#dueMs + this.#intervalMs, now - BEHIND_MS_MAX);
    const waitMs = this.#dueMs - now;
    // An abort ends the pause by a rejection, and the turns by the line below it.
    if (waitMs >= 1) await sleep(waitMs, undefined, { signal: this.signal }).catch(() => undefined);
    return !this.signal.aborted;
  }
}
