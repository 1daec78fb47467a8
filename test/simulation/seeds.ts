/**
 * Runs the simulator on many seeds: real native code and real cores under faults that each seed draws. Four files of
 * tests share the seeds, so that all cores are used; `npm run simulate` chooses others (CONTRIBUTING.md).
 *
 * Seeds of bugs that are open are in seeds.json; they must fail as it says, so that who mends one takes it out there.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type RunResult, simulate } from './run.js';

const START = Number(process.env.SIMULATION_START ?? 1);
const SEEDS = Number(process.env.SIMULATION_SEEDS ?? 500);
const PARTS = 4;
const BLOCK_SEEDS = 25;
const BLOCK_TIMEOUT_MS = 300_000;
const NOTES_SHOWN = 60;
const KNOWN: readonly { seed: number; problem: string }[] = JSON.parse(
  readFileSync(new URL('./seeds.json', import.meta.url), 'utf8'),
);

/** So many seeds reach each of these states, or the faults and the workload do not do what they are for. */
const COVERAGE_SEEDS = 100;
const STATES = [
  'a change was called off',
  'a change was struck',
  'a degraded read is answered',
  'a member has joined',
  'a member has left',
  'a memory was lost',
  'a node missed an epoch',
  'a node went down',
  'control.lease-lost',
  'control.publish',
  'worker.catch-up-failed',
  'worker.caught-up',
  'worker.handed-over',
  'worker.merged',
  'worker.peer-empty',
  'worker.taken-over',
] as const;

/** The tests of one of four files. */
export function describeSeeds(part: number): void {
  const from = START + Math.floor((SEEDS * part) / PARTS);
  const end = START + Math.floor((SEEDS * (part + 1)) / PARTS);
  const reached = new Set<string>();

  describe('simulation', () => {
    for (let first = from; first < end; first += BLOCK_SEEDS) {
      const last = Math.min(first + BLOCK_SEEDS, end) - 1;
      it(
        `keeps its promises on seeds ${first} to ${last}`,
        () => {
          const failures: string[] = [];
          for (let seed = first; seed <= last; seed++) {
            const result = simulate({ seed });
            for (const state of result.reached) reached.add(state);
            failures.push(...failureOf(result));
          }
          expect(failures.join('\n')).toBe('');
        },
        BLOCK_TIMEOUT_MS,
      );
    }

    // Fewer seeds, chosen by hand, need not reach anything.
    if (end - from < COVERAGE_SEEDS) return;
    it(`reaches every named state on seeds ${from} to ${end - 1}`, () => {
      expect(STATES.filter((state) => !reached.has(state))).toEqual([]);
    });
  });
}

function failureOf({ seed, problems, notes, faults }: RunResult): string[] {
  const known = KNOWN.find((one) => one.seed === seed);
  if (known !== undefined) {
    const isAsSaid = problems.length === 1 && problems[0]?.includes(known.problem);
    return isAsSaid ? [] : [`seed ${seed} does not fail as seeds.json says: ${problems.join('; ')}`];
  }
  if (problems.length === 0) return [];
  const command = `npm run simulate -- --start ${seed} --seeds 1`;
  return [`seed ${seed} (${faults.join(', ')}): ${command}`, ...problems, ...notes.slice(-NOTES_SHOWN)];
}
