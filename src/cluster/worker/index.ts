/** A worker's part in the cluster (core.ts), and the world it lives in (env.ts). */
export { WorkerCore } from './core.js';
export { DROP_DELAY_MS } from './drops.js';
export { type ClusterReport, NO_REPORT, type OnPartition, type WorkerEnv } from './env.js';
export { countSlots } from './slot-bits.js';
export { SlotSets } from './survey.js';
