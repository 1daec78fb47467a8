/**
 * What copies cost, each against the same load without them or with less waiting, and how soon a copy that was away is
 * equal again.
 *
 * Rounds of both sides alternate. The load is one Node client in a fresh process on a core of its own, the daemons
 * share the other core.
 */
import { awayFigures } from './replication/away.js';
import { clientCpuFigures, latencyFigures, primaryCpuFigures } from './replication/cost.js';
import { type Case, measureCases, type Suite } from './suite.js';

const CASES: readonly Case[] = [
  { name: 'client-cpu', measure: clientCpuFigures },
  { name: 'primary-cpu', measure: primaryCpuFigures },
  { name: 'latency', measure: latencyFigures },
  { name: 'away', measure: awayFigures },
];

export const replicationSuite: Suite = {
  name: 'replication',
  summary: 'what copies cost the client and the nodes, and how soon a copy that was away is equal again',
  run: (context) => measureCases(context, CASES),
};
