/** What this node's slots are doing, looked at once for all background work of a tick. */
import { type NativeWorker, type Reigns, type SlotBits, SlotState } from '../../store/index.js';
import type { WorkerEnv } from './env.js';
import type { Layout } from './layout.js';

const STATES = Object.keys(SlotState).length;

/** Which slots are in which state, and which have which flag, at one moment. */
export class SlotSets {
  readonly #sets: Uint8Array;
  readonly #setBytes: number;

  constructor(native: Pick<NativeWorker, 'slotSets'>, slots: number) {
    this.#sets = native.slotSets();
    this.#setBytes = Math.ceil(slots / 8);
  }

  inState(state: SlotState): SlotBits {
    return this.#set(state);
  }

  /** @param flag one bit of SlotFlag */
  flagged(flag: number): SlotBits {
    return this.#set(STATES + 31 - Math.clz32(flag));
  }

  #set(number: number): SlotBits {
    return this.#sets.subarray(number * this.#setBytes, (number + 1) * this.#setBytes);
  }
}

export interface Survey {
  readonly layout: Layout;
  readonly sets: SlotSets;
  /** Looked at when it is asked for: few ticks need it. */
  readonly reigns: Reigns;
  /** Slots that this node leads and serves. */
  readonly led: SlotBits;
}

export function takeSurvey(env: WorkerEnv, layout: Layout): Survey {
  const sets = new SlotSets(env.native, env.slots);
  let reigns: Reigns | undefined;
  return {
    layout,
    sets,
    // Once: whoever asks may ask for every slot.
    get reigns() {
      reigns ??= env.native.reigns();
      return reigns;
    },
    led: sets.inState(SlotState.PRIMARY),
  };
}
