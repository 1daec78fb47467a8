/**
 * The cluster's logic, free of sockets and clocks: its records, what a registry must offer, a worker's and a node's
 * part.
 */
export * from './control/index.js';
export * from './records.js';
export * from './registry.js';
export * from './rows.js';
export * from './worker/index.js';
