/** The typed face of the native store: what the daemon may use of it. */
export type {
  Addon,
  ArenaOptions,
  Collected,
  ControlFrame,
  LinkAnswer,
  NativeArena,
  NativeStats,
  NativeWorker,
  StoreErrorCode,
} from './addon.js';
export { loadAddon, OutputFlag } from './addon.js';
export { layOut, slotsOfNode, votersBefore } from './lay-out.js';
export { type EpochRows, NOT_STRUCK, type RingOrder, type RowsOrder } from './rows.js';
export {
  type Installation,
  type PeerBits,
  type PeerNews,
  type Reigns,
  ROW_MAX,
  type SlotBits,
  SlotFlag,
  SlotState,
  VERSION_MS_MAX,
} from './slots.js';
