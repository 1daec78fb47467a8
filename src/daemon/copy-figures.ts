/** What a node's slots are doing, in numbers for people: read from the memory when somebody asks. */
import { countSlots, SlotSets } from '../cluster/index.js';
import { SLOTS } from '../ring/index.js';
import { type NativeWorker, SlotFlag, SlotState } from '../store/index.js';

export interface CopyFigures {
  /** Slots that this node leads, those included that it is still taking over. */
  readonly slots: number;
  readonly takingOverSlots: number;
  /** Copies of others' slots, and how many of them may lack something. */
  readonly copySlots: number;
  readonly joiningSlots: number;
  /** Slots led of which acknowledged writes may be missing. */
  readonly possibleLossSlots: number;
}

export function copyFigures(native: Pick<NativeWorker, 'slotSets'>): CopyFigures {
  const sets = new SlotSets(native, SLOTS);
  const inState = (state: SlotState): number => countSlots(sets.inState(state));
  const [takingOver, joining] = [inState(SlotState.TAKING_OVER), inState(SlotState.JOINING)];
  return {
    slots: inState(SlotState.PRIMARY) + takingOver,
    takingOverSlots: takingOver,
    copySlots: inState(SlotState.REPLICA) + joining,
    joiningSlots: joining,
    possibleLossSlots: countSlots(sets.flagged(SlotFlag.POSSIBLE_LOSS)),
  };
}
