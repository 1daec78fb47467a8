/** The cluster's logic, free of sockets and clocks: its records, what a registry must offer, and a worker's part in it. */
export * from './records.js';
export * from './registry.js';
export * from './rows.js';
export * from './worker/index.js';
