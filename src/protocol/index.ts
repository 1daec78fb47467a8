/** The wire: its numbers (spec.ts), whole frames (frames.ts), hello (hello.ts) and versions as text (version.ts). */
export * from './frames.js';
export * from './hello.js';
export * from './spec.js';
export * from './version.js';
