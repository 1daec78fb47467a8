/**
 * Runs the simulator on many seeds, in blocks so that a failure names its seeds: real native code and real cores under
 * faults that each seed draws. SIMULATION_START and SIMULATION_SEEDS choose others (`npm run simulate`).
 * Seeds of bugs that are open are in seeds.json; they must fail as it says, so that who mends one takes it out there.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type RunResult, simulate } from './run.js';

const START = Number(process.env.SIMULATION_START ?? 1);
const SEEDS = Number(process.env.SIMULATION_SEEDS ?? 60);
const BLOCK_SEEDS = 30;
const BLOCK_TIMEOUT_MS = 300_000;
const NOTES_SHOWN = 40;
const KNOWN: readonly { seed: number; problem: string }[] = JSON.parse(
  readFileSync(new URL('./seeds.json', import.meta.url), 'utf8'),
);

describe('simulation', () => {
  for (let first = START; first < START + SEEDS; first += BLOCK_SEEDS) {
    const end = Math.min(first + BLOCK_SEEDS, START + SEEDS);
    it(
      `keeps its promises on seeds ${first} to ${end - 1}`,
      () => {
        const failures: string[] = [];
        for (let seed = first; seed < end; seed++) failures.push(...failureOf(simulate({ seed })));
        expect(failures.join('\n')).toBe('');
      },
      BLOCK_TIMEOUT_MS,
    );
  }

  it('does the same from the same seed', () => {
    expect(simulate({ seed: START }).traceHash).toBe(simulate({ seed: START }).traceHash);
  });
});

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
