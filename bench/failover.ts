/**
 * What callers see while nodes, processes and the registry die under them: real daemons, an open loop of 20,000 requests
 * a second (a fifth of them writes) from another process, and an account of every write that was acknowledged.
 *
 * Counts are summed over all rounds, and of times the worst counts: a promise that holds in most rounds is none.
 */
import { etcdFigures } from './failover/etcd.js';
import { killFigures } from './failover/kill.js';
import { primaryFigures } from './failover/primary.js';
import { twoOfFiveFigures } from './failover/two-of-five.js';
import type { Suite } from './suite.js';
import { isInstalled } from './targets/process.js';

export const failoverSuite: Suite = {
  name: 'failover',
  summary: 'nodes, processes and the registry killed under load: what fails, waits and is lost',
  async run(context) {
    const hasEtcd = isInstalled('etcd');
    if (!hasEtcd) context.note('etcd is not installed: what needs it is skipped');
    return [
      ...(await killFigures(context, 'directory')),
      ...(hasEtcd ? await killFigures(context, 'etcd') : []),
      ...(await twoOfFiveFigures(context)),
      ...(await primaryFigures(context)),
      ...(hasEtcd ? await etcdFigures(context) : []),
    ];
  },
};
