/** The control plane as pure logic: who lives, what the next epoch is, what this node says of itself. */
export { type Decision, decide, type Known } from './coordinator.js';
export type { ControlEnv, ControlLease, ProbeAnswer, ProbeResult, PutOutcome, Timer } from './env.js';
export { PROBE_MS_MAX } from './failure.js';
export { type ControlOptions, ControlPlane } from './plane.js';
export type { NodeProgress, RebalanceStatus } from './progress.js';
