/**
 * Work in steps, each a fraction of a millisecond once it is warm: a thread that has something else to do does it
 * between two of them.
 */

/** Runs to its next step with every next(), and returns the result in the end. */
export type Steps<T> = Generator<void, T>;

/** Slots that are looked at in one step. */
export const STEP_SLOTS = 512;

/** All steps at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
