/**
 * Planted bugs: a simulator that finds none proves nothing. Each mutation must be caught within 200 seeds. A sample is
 * run here, of those that are caught soon; `npm run simulate -- --mutants` runs all, and prints by what they are
 * caught.
 */
import { describe, expect, it } from 'vitest';
import { simulate } from './run.js';
import { MUTATIONS, type Mutation } from './world/mutations.js';

const SEEDS_MAX = 200;
const TIMEOUT_MS = 600_000;
const PROBLEM_SHOWN = 100;
const SAMPLE: readonly Mutation[] = [
  'noDeadline',
  'ignoreVersion',
  'readAlone',
  'forgetInFlight',
  'countReceivers',
  'refuseMoved',
];

const all = Object.keys(MUTATIONS) as Mutation[];
const { SIMULATION_MUTANTS: wanted = '' } = process.env;
const chosen = wanted === 'all' ? all : wanted === '' ? SAMPLE : all.filter((one) => wanted.split(',').includes(one));

describe('the simulator notices a planted bug', () => {
  it.each(chosen)(
    '%s',
    (mutation) => {
      const found = firstProblem(mutation);
      if (wanted !== '') console.log(`${mutation} (${MUTATIONS[mutation]}): ${found ?? 'NOT CAUGHT'}`);
      expect(found).toBeDefined();
    },
    TIMEOUT_MS,
  );
});

function firstProblem(mutation: Mutation): string | undefined {
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const [problem] = simulate({ seed, mutations: new Set([mutation]) }).problems;
    if (problem !== undefined) return `caught at seed ${seed} by: ${problem.slice(0, PROBLEM_SHOWN)}`;
  }
  return undefined;
}
