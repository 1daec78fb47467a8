/**
 * A leader that is cut off for longer than its lease, and serves on: a world that the seeds of seeds/ draw seldom,
 * since their runs are short. With seed 2 its copy once kept an item that no other had, for digests only ever sent what
 * the leader has.
 */
import { expect, it } from 'vitest';
import { simulate } from './run.js';

const SEEDS = 16;
/**
 * Open, cause unknown: an increment acknowledged at a quorum is not seen by another. Must fail so until it is mended.
 */
const OPEN = { seed: 11, problem: 'did not build on increment' };

it('keeps every promise while leaders are cut off for long', { timeout: 300_000 }, () => {
  const failures: string[] = [];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { problems } = simulate({
      seed,
      faults: ['isolated', 'connection reset', 'clogged'],
      safetyMs: 6_000,
      world: { ttlMs: 600, onPartition: 'serve', rf: 3, nodes: 3, graceMs: 30_000 },
    });
    if (seed === OPEN.seed) expect(problems.join()).toContain(OPEN.problem);
    else if (problems.length > 0) failures.push(`seed ${seed}: ${problems.join('; ')}`);
  }
  expect(failures).toEqual([]);
});
