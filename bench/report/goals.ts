/**
 * The figures Henge holds itself to, by id; docs/performance.md says what each one means. A figure that is not named
 * here informs, and is held to nothing.
 */
export interface Goal {
  readonly text: string;
  isHeldBy(value: number, ratio: number | null): boolean;
}

const GOALS: ReadonlyMap<string, Goal> = new Map([
  ['client.inflight64', ratioAtLeast(2.2)],
  ['client.inflight512', ratioAtLeast(4)],
  ['client.cpu', ratioAtMost(0.25)],
  ['client.depth1', ratioAtMost(1.15)],
  ['client.kill.lost', valueAtMost(0)],
  ['client.kill.hung', valueAtMost(0)],
  ['client.kill.mismarked', valueAtMost(0)],
  ['client.kill.outside', valueAtMost(0)],
  ['node.depth1', ratioAtLeast(1.1)],
  ['node.depth32', ratioAtLeast(1.2)],
  ['node.cpu32', ratioAtLeast(1.5)],
  ['memory.item', valueAtMost(155)],
  ['hits.misses', ratioAtMost(0.94)],
  ['hits.misses.worst', ratioAtMost(1.03)],
  ['ring.peakToMean', valueAtMost(1.05)],
  ['ring.joinMoves32', valueAtMost(1.08)],
  ['ring.joinMoves100', valueAtMost(1.5)],
  ['ring.build100', valueAtMost(250)],
  ['ring.lookup', valueAtMost(100)],
  ['replication.cpu', ratioAtMost(1.1)],
  ['replication.primaryCpu', ratioAtMost(1.67)],
  ['replication.quorum.p50', ratioAtMost(2.2)],
  ['replication.away.restored', valueAtMost(10_000)],
  ['replication.away.sent', ratioAtMost(3)],
  ['replication.away.copiesMissing', valueAtMost(0)],
  ['rebalance.speed', ratioAtLeast(10)],
  ['rebalance.speed.loaded', ratioAtLeast(10)],
  ...contractGoals(),
  ['rebalance.contract.failed', valueAtMost(0)],
  ['rebalance.contract.redirects', valueAtMost(0)],
  ['rebalance.contract.lost', valueAtMost(0)],
  ['rebalance.contract.foreign', valueAtMost(0)],
  ['rebalance.contract.stale', valueAtMost(0)],
  ['rebalance.contract.sealed', valueAtMost(50)],
  ['rebalance.restart.failed', valueAtMost(0)],
  ['rebalance.restart.lost', valueAtMost(0)],
  ['rebalance.restart.hits', ratioAtLeast(0.99)],
  ['rebalance.restart.sent', ratioAtMost(0.05)],
  ['failover.kill.failedReads', valueAtMost(0)],
  ['failover.kill.resumed', valueAtMost(4_000)],
  ['failover.kill.lost.quorum', valueAtMost(0)],
  ['failover.kill.etcd.failedReads', valueAtMost(0)],
  ['failover.kill.etcd.resumed', valueAtMost(6_000)],
  ['failover.kill.etcd.lost.quorum', valueAtMost(0)],
  ['failover.two.epochs', valueAtMost(1)],
  ['failover.two.copiesMissing', valueAtMost(0)],
  ['failover.two.possibleLoss.wrong', valueAtMost(0)],
  ['failover.two.lost.others', valueAtMost(0)],
  ['failover.primary.failedReads', valueAtMost(0)],
  ['failover.primary.lost', valueAtMost(0)],
  ['failover.primary.newMemories', valueAtMost(0)],
  ['failover.etcd.serve.failedReads', valueAtMost(0)],
  ['failover.etcd.serve.failedWrites', valueAtMost(0)],
  ['failover.etcd.serve.lost', valueAtMost(0)],
  ['failover.etcd.serve.failoverAfter', valueAtMost(6_000)],
  ['failover.etcd.fence.failedReads', valueAtMost(0)],
  ['failover.etcd.fence.lost', valueAtMost(0)],
  ['failover.etcd.fence.stopped', valueAtMost(3_000)],
  ['failover.etcd.fence.resumed', valueAtMost(5_000)],
  ['failover.etcd.fence.failoverAfter', valueAtMost(6_000)],
]);

export function goalOf(id: string): Goal | undefined {
  return GOALS.get(id);
}

/** What holds for every planned change, under either load. */
function contractGoals(): [string, Goal][] {
  const changes = ['join', 'drain', 'weight', 'swap'].flatMap((change) => [`${change}.mixed`, `${change}.writes`]);
  return changes.flatMap((change): [string, Goal][] => [
    [`rebalance.contract.${change}.p99`, ratioAtMost(2)],
    [`rebalance.contract.${change}.moved`, ratioAtMost(1.08)],
  ]);
}

function ratioAtLeast(limit: number): Goal {
  return { text: `at least ${limit} x`, isHeldBy: (_value, ratio) => ratio !== null && ratio >= limit };
}

function ratioAtMost(limit: number): Goal {
  return { text: `at most ${limit} x`, isHeldBy: (_value, ratio) => ratio !== null && ratio <= limit };
}

function valueAtMost(limit: number): Goal {
  return { text: `at most ${limit}`, isHeldBy: (value) => value <= limit };
}
