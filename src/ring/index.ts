/**
 * The ring: from a key to its slot (slot.ts), from a member list to the slot table (points.ts, table.ts), from a table
 * and who is away to an epoch's rows (overlay.ts), from the rows of two lists of members to those of the change between
 * them (change.ts), from two tables to what moves between them (plan.ts) and what that costs (estimate.ts). Pure
 * functions without state; other folders import this file only.
 */

export { combinedRowsSteps, combineRows, RowMark, roleOf } from './change.js';
export { type Amount, type Balance, balanceOf, estimateMovement, type MemberEstimate } from './estimate.js';
export { KeptTables } from './kept.js';
export {
  buildRows,
  leaderOf,
  NO_OVERLAY,
  type Overlay,
  RF_MAX,
  RowRole,
  type RowTable,
  ranksNeeded,
  rowsSteps,
} from './overlay.js';
export { type MemberMovement, type MovementPlan, planMovement } from './plan.js';
export { type RingMember, WEIGHT_MAX } from './points.js';
export { crc16, SLOTS, type Slot, slotOf } from './slot.js';
export { finish, STEP_SLOTS, type Steps } from './steps.js';
export { buildSlotTable, LOAD_FACTOR_MAX, NO_NODE, primaryOf, ringShapeOf, type SlotTable } from './table.js';
