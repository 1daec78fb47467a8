/** The typed face of the native store: what the daemon may use of it. */
export type { ArenaOptions, ControlFrame, NativeArena, NativeStats, NativeWorker, StoreErrorCode } from './addon.js';
export { loadAddon, OutputFlag, SlotState } from './addon.js';
