/**
 * The primary process of a node killed alone: the workers serve on without it, for longer than its lease; then a daemon
 * started again takes their memory over. Nobody is to notice.
 */
import { PacedProcess } from '../load/paced-process.js';
import type { Measurement } from '../report/figure.js';
import type { Context } from '../suite.js';
import { BenchCluster } from '../targets/cluster.js';
import { figure, LEASE_MS, LOAD, ratePerSecond, sleep, sum, tell, WARM_UP_MS } from './load.js';

const VICTIM = 'b';
const ORPHANED_MS = LEASE_MS + 3_000;
/** For the old workers to end, and the new ones to be all there is. */
const ADOPTED_MS = 4_000;

export async function primaryFigures(context: Context): Promise<Measurement[]> {
  const cluster = await BenchCluster.start(context, { nodes: 3, rf: 2 });
  const node = cluster.node(VICTIM);
  const load = await PacedProcess.start(context, cluster.seeds, LOAD);
  await sleep(WARM_UP_MS);
  tell(context, 'primary process: before', await load.mark());
  await node.killPrimary();
  await sleep(ORPHANED_MS);
  const orphaned = await load.mark();
  tell(context, 'primary process: its workers serve on', orphaned);
  await node.start();
  await sleep(ADOPTED_MS);
  const adopted = await load.mark();
  tell(context, 'primary process: started again', adopted);
  const { verdict } = await load.stop();
  const origins = node.log.filter(({ event }) => event === 'arena').map(({ origin }) => origin);
  context.note(`memory of node ${VICTIM}: ${origins.join(', then ')}`);
  const epochs = cluster.nodes.flatMap(({ log }) => log.filter(({ event }) => event === 'topology'));
  await cluster.stop();

  const phases = [orphaned, adopted];
  return [
    figure('failover.primary.rate', 'requests/s', Math.min(...phases.map(ratePerSecond))),
    figure('failover.primary.failedReads', 'reads', sum(phases.map(({ failedReads }) => failedReads))),
    figure('failover.primary.failedWrites', 'writes', sum(phases.map(({ failedWrites }) => failedWrites))),
    figure('failover.primary.lost', 'writes', verdict.lostWrites),
    figure(
      'failover.primary.newMemories',
      'memories',
      origins.slice(1).filter((origin) => origin !== 'adopted').length,
    ),
    figure('failover.primary.epochs', 'epochs', new Set(epochs.map(({ epoch }) => epoch)).size - 1),
  ];
}
