/**
 * Seeds of bugs that are open, in worlds of their own. Each must fail as it says, so that who mends one takes it out.
 */
import { expect, it } from 'vitest';
import { simulate } from './run.js';

// A leader that was cut off for longer than its lease, and served on, holds an item that no other copy gets, and that
// the leader's own does not replace: digests see it, and only ever send the leader's.
it('copies differ after a leader was cut off for long', () => {
  const { problems } = simulate({
    seed: 2,
    faults: ['isolated', 'connection reset', 'clogged'],
    safetyMs: 6_000,
    world: { ttlMs: 600, onPartition: 'serve', rf: 3, nodes: 3, graceMs: 30_000 },
  });
  expect(problems.join()).toContain('copies of slot 15 differ');
}, 60_000);
