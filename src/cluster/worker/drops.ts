/**
 * Lets go of items in slots in which this node has no part any more. Not at once: for half a minute they may still be
 * asked for by whoever took the slot over, or be at home again with the next epoch. Some segments at a time, since each
 * takes the lock that requests take.
 *
 * A member that is away does nothing in its slots either, and still is in their rows: it keeps what it has. It is sent
 * only what it missed when it returns.
 */
import { type SlotBits, SlotState } from '../../store/index.js';
import type { WorkerEnv } from './env.js';
import { ANY_ROLE } from './layout.js';
import { addSlot, bothBits, eitherBits, isNoSlot, noSlots, slotsOf, withoutBits } from './slot-bits.js';
import type { Survey } from './survey.js';

/** In a daemon. */
export const DROP_DELAY_MS = 30_000;
const SLOTS_AT_ONCE_MAX = 256;

export class Drops {
  readonly #env: WorkerEnv;
  /** Slots without a part here. */
  #free: SlotBits;
  /** Of these, the ones that are to be dropped, and since when they have been without. */
  #waiting: SlotBits;
  readonly #sinceMs: Float64Array;
  /** When the first of them may be due. */
  #dueAtMs = Number.POSITIVE_INFINITY;

  constructor(env: WorkerEnv) {
    this.#env = env;
    this.#free = noSlots(env.slots);
    this.#waiting = noSlots(env.slots);
    this.#sinceMs = new Float64Array(env.slots);
  }

  tick({ layout, sets }: Survey): void {
    const nowMs = this.#env.monoMs();
    const free = withoutBits(sets.inState(SlotState.NONE), layout.slotsOf(this.#env.self.number, ...ANY_ROLE));
    const fresh = withoutBits(free, this.#free);
    for (const slot of slotsOf(fresh)) this.#sinceMs[slot] = nowMs;
    if (!isNoSlot(fresh)) this.#dueAtMs = Math.min(this.#dueAtMs, nowMs + this.#env.dropDelayMs);
    this.#free = free;
    this.#waiting = bothBits(eitherBits(this.#waiting, fresh), free);
    if (nowMs < this.#dueAtMs) return;
    const due = this.#due(nowMs);
    this.#waiting = withoutBits(this.#waiting, due);
    if (!isNoSlot(due)) this.#env.native.drop(due);
  }

  /** Also looks when the next ones are. */
  #due(nowMs: number): SlotBits {
    const due = noSlots(this.#env.slots);
    let count = 0;
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    for (const slot of slotsOf(this.#waiting)) {
      const dueAtMs = (this.#sinceMs[slot] as number) + this.#env.dropDelayMs;
      if (dueAtMs <= nowMs && count < SLOTS_AT_ONCE_MAX) {
        addSlot(due, slot);
        count++;
      } else {
        this.#dueAtMs = Math.min(this.#dueAtMs, dueAtMs);
      }
    }
    return due;
  }
}
