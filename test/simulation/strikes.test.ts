/**
 * A change of the list of members is struck at each of its phases, each of those who take part in it once: whatever
 * dies or breaks, every promise is kept and the change comes to an end. Nothing else goes wrong in these runs.
 */
import { expect, it } from 'vitest';
import { simulate } from './run.js';
import { PHASES } from './world/moves.js';
import { STRIKES, strikeState, VICTIMS } from './world/strikes.js';

/** The first strike goes by the seed; it may have to wait for a moment at which the victim may be lost. */
const TRIES_MAX = 8;
const TIMEOUT_MS = 300_000;

const cases = STRIKES.map(({ victim, phase }, index) => [victim, phase, index] as const);

it('knows every victim at every phase', () => {
  expect(new Set(cases.map(([victim, phase]) => strikeState(victim, phase))).size).toBe(VICTIMS.length * PHASES.length);
});

it.each(cases)(
  'keeps its promises when the %s is struck while it is %s',
  (victim, phase, index) => {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const seed = index + STRIKES.length * (tries + 1);
      const { problems, reached } = simulate({ seed, changes: 'struck', faults: [] });
      expect(problems, `seed ${seed}`).toEqual([]);
      if (reached.has(strikeState(victim, phase))) return;
    }
    expect.fail(`${strikeState(victim, phase)}: not reached in ${TRIES_MAX} seeds`);
  },
  TIMEOUT_MS,
);
