/** What a node's slots are doing, in numbers for people: read from the memory when somebody asks. */
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

export function copyFigures(native: Pick<NativeWorker, 'states' | 'slotFlags'>): CopyFigures {
  const counts = new Map<number, number>();
  for (const state of native.states()) counts.set(state, (counts.get(state) ?? 0) + 1);
  const inState = (state: number): number => counts.get(state) ?? 0;
  const [takingOver, joining] = [inState(SlotState.TAKING_OVER), inState(SlotState.JOINING)];
  let possibleLossSlots = 0;
  for (const flags of native.slotFlags()) possibleLossSlots += Number((flags & SlotFlag.POSSIBLE_LOSS) !== 0);
  return {
    slots: inState(SlotState.PRIMARY) + takingOver,
    takingOverSlots: takingOver,
    copySlots: inState(SlotState.REPLICA) + joining,
    joiningSlots: joining,
    possibleLossSlots,
  };
}
