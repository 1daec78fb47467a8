/** The cluster's logic, free of sockets and clocks: what its records are and what a registry must offer. */
export * from './control/index.js';
export * from './records.js';
export * from './registry.js';
export * from './rows.js';
