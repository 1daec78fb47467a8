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
import { ANY_ROLE, type Layout } from './layout.js';
import { addSlot, hasSlot, noSlots } from './slot-bits.js';

/** In a daemon. */
export const DROP_DELAY_MS = 30_000;
const SLOTS_AT_ONCE_MAX = 256;

export class Drops {
  readonly #env: WorkerEnv;
  /** Since when a slot has been without a part here; Infinity: it has one, or was dropped. */
  readonly #sinceMs: Float64Array;
  readonly #wasNone: Uint8Array;
  #layout: Layout | undefined;
  /** By that layout, slots whose rows name this node. */
  #rowed: SlotBits = new Uint8Array();

  constructor(env: WorkerEnv) {
    this.#env = env;
    this.#sinceMs = new Float64Array(env.slots).fill(Number.POSITIVE_INFINITY);
    this.#wasNone = new Uint8Array(env.slots);
  }

  tick(states: Uint8Array, layout: Layout): void {
    this.#look(layout);
    const nowMs = this.#env.monoMs();
    const due: SlotBits = noSlots(this.#env.slots);
    let dueCount = 0;
    for (let slot = 0; slot < states.length; slot++) {
      const isNone = states[slot] === SlotState.NONE && !hasSlot(this.#rowed, slot);
      if (isNone !== (this.#wasNone[slot] === 1)) {
        this.#wasNone[slot] = Number(isNone);
        this.#sinceMs[slot] = isNone ? nowMs : Number.POSITIVE_INFINITY;
      }
      if (nowMs - (this.#sinceMs[slot] as number) < this.#env.dropDelayMs || dueCount === SLOTS_AT_ONCE_MAX) continue;
      this.#sinceMs[slot] = Number.POSITIVE_INFINITY;
      addSlot(due, slot);
      dueCount++;
    }
    if (dueCount > 0) this.#env.native.drop(due);
  }

  #look(layout: Layout): void {
    if (layout === this.#layout) return;
    this.#layout = layout;
    this.#rowed = layout.slotsOf(this.#env.self.number, ...ANY_ROLE);
  }
}
