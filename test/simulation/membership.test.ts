/**
 * Members that are asked to leave, and to stay or come back, in the middle of everything: the promises hold, and slots
 * are handed over. Quiet first, then with the faults that a hand-over must survive.
 */
import { describe, expect, it } from 'vitest';
import { simulate } from './run.js';

const SEEDS = 40;
const TIMEOUT_MS = 300_000;
const FAULTS = ['connection reset', 'clogged', 'worker killed', 'worker paused', 'registry slow'];

function run(faults: readonly string[], from: number): { failures: string[]; reached: Set<string> } {
  const failures: string[] = [];
  const reached = new Set<string>();
  for (let seed = from; seed < from + SEEDS; seed++) {
    const result = simulate({ seed, faults: ['member drained', ...faults], safetyMs: 4_000 });
    for (const state of result.reached) reached.add(state);
    if (result.problems.length > 0) failures.push(`seed ${seed}`, ...result.problems);
  }
  return { failures, reached };
}

describe('changes of the list of members', () => {
  it('keep every promise', { timeout: TIMEOUT_MS }, () => {
    const { failures, reached } = run([], 1);
    expect(failures.join('\n')).toBe('');
    const wanted = ['worker.handed-over', 'a member has left', 'a change was called off'];
    expect(wanted.filter((state) => !reached.has(state))).toEqual([]);
  });

  it('keep every promise while workers die and links break', { timeout: TIMEOUT_MS }, () => {
    expect(run(FAULTS, 1_001).failures.join('\n')).toBe('');
  });
});
