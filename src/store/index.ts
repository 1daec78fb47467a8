/** The typed face of the native store: what the daemon may use of it. */
export type {
  Addon,
  ArenaOptions,
  Collected,
  ControlFrame,
  Installation,
  LinkAnswer,
  NativeArena,
  NativeStats,
  NativeWorker,
  PeerBits,
  PeerNews,
  Reigns,
  SlotBits,
  StoreErrorCode,
} from './addon.js';
export { loadAddon, OutputFlag, ROW_MAX, SlotFlag, SlotState, VERSION_MS_MAX } from './addon.js';
export { layOut, slotsOfNode, votersBefore } from './lay-out.js';
export { type EpochRows, NOT_STRUCK, type RingOrder, type RowsOrder } from './rows.js';
