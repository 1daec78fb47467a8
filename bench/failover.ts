/**
 * What callers see while nodes, processes and the registry die under them: real daemons, an open loop of 20,000
 * requests a second (a fifth of them writes) from another process, and an account of every write that was acknowledged.
 *
 * Counts are summed over all rounds, and of times the worst counts: a promise that holds in most rounds is none.
 */
import { etcdFigures } from './failover/etcd.js';
import { killFigures } from './failover/kill.js';
import { primaryFigures } from './failover/primary.js';
import { twoOfFiveFigures } from './failover/two-of-five.js';
import { type Case, measureCases, type Suite } from './suite.js';
import { isInstalled } from './targets/process.js';

const CASES: readonly Case[] = [
  { name: 'kill', measure: (context) => killFigures(context, 'directory') },
  { name: 'two', measure: twoOfFiveFigures },
  { name: 'primary', measure: primaryFigures },
];
const ETCD_CASES: readonly Case[] = [
  { name: 'kill-etcd', measure: (context) => killFigures(context, 'etcd') },
  { name: 'etcd-serve', measure: (context) => etcdFigures(context, 'serve') },
  { name: 'etcd-fence', measure: (context) => etcdFigures(context, 'fence') },
];

export const failoverSuite: Suite = {
  name: 'failover',
  summary: 'nodes, processes and the registry killed under load: what fails, waits and is lost',
  run(context) {
    const hasEtcd = isInstalled('etcd');
    if (!hasEtcd) context.note('etcd is not installed: what needs it is skipped');
    return measureCases(context, [...CASES, ...(hasEtcd ? ETCD_CASES : [])]);
  },
};
