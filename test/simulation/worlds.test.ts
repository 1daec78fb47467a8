/**
 * The promises hold in worlds that are rarely drawn (worlds.ts); planted bugs that show only there are in
 * mutants.test.ts.
 */
import { expect, it } from 'vitest';
import { simulate } from './run.js';
import { CUT_OFF_FOR_LONG, EPOCHS_MISSED, ONE_COPY, ONE_COPY_STRUCK } from './worlds.js';

const SEEDS = 16;
const TIMEOUT_MS = 300_000;

it.each([
  ['leaders are cut off for long', CUT_OFF_FOR_LONG],
  ['nodes miss epochs', EPOCHS_MISSED],
  ['members of a cluster with one copy of everything change', ONE_COPY],
  ['they change, and machines fail', ONE_COPY_STRUCK],
] as const)(
  'every promise is kept while %s',
  (_, options) => {
    const failures: string[] = [];
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { problems } = simulate({ ...options, seed });
      if (problems.length > 0) failures.push(`seed ${seed}: ${problems.join('; ')}`);
    }
    expect(failures).toEqual([]);
  },
  TIMEOUT_MS,
);
