/** What this node's slots are doing, looked at once for all background work of a tick. */
import { type Reigns, type SlotBits, SlotState } from '../../store/index.js';
import type { WorkerEnv } from './env.js';
import type { Layout } from './layout.js';
import { slotsWhere } from './slot-bits.js';

export interface Survey {
  readonly layout: Layout;
  /** SlotState and SlotFlag bits of every slot. */
  readonly states: Uint8Array;
  readonly flags: Uint8Array;
  /** Looked at when it is asked for: few ticks need it. */
  readonly reigns: Reigns;
  /** Slots that this node leads and serves. */
  readonly led: SlotBits;
}

export function takeSurvey(env: WorkerEnv, layout: Layout): Survey {
  const states = env.native.states();
  return {
    layout,
    states,
    flags: env.native.slotFlags(),
    get reigns() {
      return env.native.reigns();
    },
    led: slotsWhere(env.slots, (slot) => states[slot] === SlotState.PRIMARY),
  };
}

/** Slots whose flags have one of these bits. */
export const flaggedSlots = ({ flags }: Survey, mask: number): SlotBits =>
  slotsWhere(flags.length, (slot) => ((flags[slot] as number) & mask) !== 0);
