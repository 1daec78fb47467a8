/** Makes the rows of an epoch in native code (native/ring/), and finds a node in them. */
import { loadAddon } from './addon.js';
import type { EpochRows, RowsOrder, VotersOrder } from './rows.js';
import type { SlotBits } from './slots.js';

/** A pure function, of a millisecond or two. @throws TypeError or RangeError for arrays that do not fit */
export const layOut = (order: RowsOrder): EpochRows => loadAddon().layOut(order);

/** By RowRole, the slots in whose rows a node has it. */
export const slotsOfNode = (rows: Pick<EpochRows, 'rows' | 'roles'>, node: number): readonly SlotBits[] =>
  loadAddon().slotsOfNode(rows, node);

/** Where another node leads in the next epoch: who could acknowledge in this one. Elsewhere what was known before. */
export const votersBefore = (order: VotersOrder): Uint16Array => loadAddon().votersBefore(order);
