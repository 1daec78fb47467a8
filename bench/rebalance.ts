/**
 * The list of members changes under load: how fast data moves, what callers suffer meanwhile (the contract), and what
 * an orderly restart of every node costs.
 *
 * Counts are summed over all rounds, and of times the worst counts: a promise that holds in most rounds is none.
 */
import { contractFigures } from './rebalance/contract.js';
import { restartFigures } from './rebalance/restart.js';
import { speedFigures } from './rebalance/speed.js';
import { type Case, measureCases, type Suite } from './suite.js';

const CASES: readonly Case[] = [
  { name: 'speed', measure: speedFigures },
  { name: 'contract', measure: contractFigures },
  { name: 'restart', measure: restartFigures },
];

export const rebalanceSuite: Suite = {
  name: 'rebalance',
  summary: 'members that join, leave, change and restart under load: speed, and what callers suffer',
  run: (context) => measureCases(context, CASES),
};
