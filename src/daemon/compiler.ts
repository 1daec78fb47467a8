/**
 * How soon V8 optimizes code in the processes of a node.
 *
 * Much of a node's code runs for the first time when its cluster changes: loops over 16,384 slots, a few times each, at
 * the moment when requests wait for them. V8 takes every such loop for hot and compiles it beside, on cores that serve
 * requests too: 100 ms of compiling for 70 ms of work in a worker, when a node joins. What really is hot, the way of a
 * request, is so a second later as well.
 */
import { setFlagsFromString } from 'node:v8';

/** Ten times V8's own: how much bytecode a function runs before it is compiled. */
const INTERRUPT_BUDGET = 1_320_000;

/** A V8 that does not know the flag says so on standard error, and goes on as ever. */
export function optimizeLater(): void {
  setFlagsFromString(`--interrupt-budget=${INTERRUPT_BUDGET}`);
}
