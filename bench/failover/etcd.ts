/**
 * The registry gone for a minute (10 s with --quick): etcd killed, and started again over its data.
 *
 * With `serve` nothing is to fail meanwhile. With `fence` writes stop before the lease can have ended elsewhere, and
 * reads go on. In both, the cluster comes back by itself: it is asked to prove it by failing over once more.
 */
import type { Phase } from '../load/paced.js';
import { PacedProcess } from '../load/paced-process.js';
import type { Measurement } from '../report/figure.js';
import type { Context } from '../suite.js';
import { BenchCluster } from '../targets/cluster.js';
import { startEtcd } from '../targets/etcd.js';
import { figure, LOAD, ratePerSecond, sleep, tell, WARM_UP_MS } from './load.js';

type OnPartition = 'serve' | 'fence';

const VICTIM = 'c';
/** After etcd has returned, for links to it to be made again: they are tried every second or so. */
const BACK_MS = 8_000;
const FAILOVER_MS_MAX = 20_000;
/** Writes that are not possible fail, instead of being kept for when they are. */
const WRITE_DEADLINE_MS = 1_000;

interface Outage {
  readonly gone: Phase;
  readonly back: Phase;
  readonly lostWrites: number;
  /** From a node's death after the outage to the epoch without it. */
  readonly failoverMs: number;
}

export async function etcdFigures(context: Context, onPartition: OnPartition): Promise<Measurement[]> {
  const { gone, back, ...rest } = await outage(context, onPartition);
  const id = `failover.etcd.${onPartition}`;
  const figures = common(id, { gone, back, ...rest });
  if (onPartition === 'serve') {
    return [...figures, figure(`${id}.failedWrites`, 'writes', gone.failedWrites + back.failedWrites)];
  }
  const lastWriteMs = Math.max(...gone.groups.map(({ lastMs }) => lastMs ?? 0));
  const firstWriteMs = Math.max(...back.groups.map(({ firstMs }) => firstMs ?? Number.POSITIVE_INFINITY));
  return [...figures, figure(`${id}.stopped`, 'ms', lastWriteMs), figure(`${id}.resumed`, 'ms', firstWriteMs)];
}

function common(id: string, { gone, back, lostWrites, failoverMs }: Outage): Measurement[] {
  return [
    figure(`${id}.rate`, 'requests/s', ratePerSecond(gone)),
    figure(`${id}.failedReads`, 'reads', gone.failedReads + back.failedReads),
    figure(`${id}.lost`, 'writes', lostWrites),
    figure(`${id}.failoverAfter`, 'ms', failoverMs),
  ];
}

async function outage(context: Context, onPartition: OnPartition): Promise<Outage> {
  const etcd = await startEtcd(context);
  const words = [`--on-partition=${onPartition}`];
  const cluster = await BenchCluster.start(context, { nodes: 3, rf: 2, registry: etcd.location, words });
  const load = await PacedProcess.start(context, cluster.seeds, { ...LOAD, writeDeadlineMs: WRITE_DEADLINE_MS });
  await sleep(WARM_UP_MS);
  tell(context, `etcd, ${onPartition}: before`, await load.mark());
  await etcd.kill();
  await load.mark();
  await sleep(context.isQuick ? 10_000 : 60_000);
  const gone = await load.mark();
  tell(context, `etcd, ${onPartition}: gone`, gone);
  await etcd.restart();
  await load.mark();
  await sleep(BACK_MS);
  const back = await load.mark();
  tell(context, `etcd, ${onPartition}: back`, back);
  const { verdict } = await load.stop();
  const failoverMs = await failOver(cluster);
  await cluster.stop();
  await etcd.stop();
  return { gone, back, lostWrites: verdict.lostWrites, failoverMs };
}

/** How long it takes until a node that is killed is gone from the topology. */
async function failOver(cluster: BenchCluster): Promise<number> {
  const witness = cluster.node('a');
  const from = witness.log.length;
  const killedAtMs = performance.now();
  await cluster.node(VICTIM).killAll();
  const isWithout = ({ event, away }: { event?: string; away?: unknown }) =>
    event === 'topology' && Array.isArray(away) && away.includes(VICTIM);
  const line = await witness.logged(isWithout, from, FAILOVER_MS_MAX);
  return line === undefined ? Number.POSITIVE_INFINITY : line.readAtMs - killedAtMs;
}
