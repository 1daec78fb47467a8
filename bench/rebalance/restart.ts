/**
 * A rolling restart of a three-node cluster that keeps its memory in files, under load: every node is stopped in good
 * order (SIGTERM) and started again, each once the one before is whole again. What an upgrade does.
 *
 * Nothing is to fail, reads are to find what they found before, and little is to be sent: only what was written while
 * a node was away.
 */

import type { Henge } from '../../src/index.js';
import { SLOTS } from '../../src/ring/index.js';
import { failed, figure, sleep, sum, tell, WARM_UP_MS } from '../failover/load.js';
import type { PacedOptions, Phase } from '../load/paced.js';
import { PacedProcess } from '../load/paced-process.js';
import type { Measurement } from '../report/figure.js';
import { formatNumber } from '../report/table.js';
import type { Context } from '../suite.js';
import type { BenchCluster, LogLine } from '../targets/cluster.js';
import { filledCluster } from './change.js';

const RF = 2;
const POLL_MS = 20;
const WHOLE_MS_MAX = 60_000;
const LOAD: PacedOptions = {
  ratePerSecond: 10_000,
  writeShare: 0.2,
  ack: 'one',
  keys: 20_000,
  writeDeadlineMs: 30_000,
};

export async function restartFigures(context: Context): Promise<Measurement[]> {
  const [items, warmUpMs, beforeMs] = context.isQuick ? [100_000, 1_000, 1_000] : [500_000, WARM_UP_MS, 3_000];
  const options = { nodes: 3, rf: RF, hasArenas: true, words: ['--log-level=debug'] };
  const { cluster, client } = await filledCluster(context, options, items);
  const load = await PacedProcess.start(context, cluster.seeds, LOAD);
  await sleep(warmUpMs);
  await load.mark();
  await sleep(beforeMs);
  const before = await load.mark();
  const dataBytes = sum((await statsOf(client, cluster)).map(({ bytes }) => bytes));

  const sinceMs = performance.now();
  for (const node of cluster.nodes) {
    const stoppedAtMs = performance.now();
    const status = await node.stop();
    const endedAtMs = performance.now();
    await node.start();
    const startedAtMs = performance.now();
    await isWhole(client, cluster);
    const [down, up, whole] = [endedAtMs - stoppedAtMs, startedAtMs - endedAtMs, performance.now() - startedAtMs];
    const times = [down, up, whole].map((ms) => `${Math.round(ms)} ms`);
    context.note(
      `node ${node.name}: ended with ${status} after ${times[0]}, up in ${times[1]}, whole ${times[2]} later`,
    );
  }
  const during = await load.mark();
  const seconds = (performance.now() - sinceMs) / 1_000;
  await sleep(beforeMs);
  const after = await load.mark();
  const { phase, verdict } = await load.stop();
  const sentBytes = sum(sentSince(cluster, sinceMs).map(({ bytes }) => Number(bytes)));
  await client.close();
  await cluster.stop();
  tell(context, 'restart: before', before);
  tell(context, 'restart: meanwhile', during);
  context.note(`${formatNumber(sentBytes)} of ${formatNumber(dataBytes)} bytes were sent`);
  return [
    figure('rebalance.restart.failed', 'requests', sum([before, during, after, phase].map(failed))),
    figure('rebalance.restart.lost', 'writes', verdict.lostWrites),
    {
      id: 'rebalance.restart.hits',
      unit: 'part',
      values: [hitRatio(after)],
      against: { name: 'before', values: [hitRatio(before)] },
    },
    {
      id: 'rebalance.restart.sent',
      unit: 'bytes',
      values: [sentBytes],
      against: { name: 'all data', values: [dataBytes] },
    },
    figure('rebalance.restart.slowest', 'ms', during.callMs.max),
    figure('rebalance.restart.took', 's', seconds),
  ];
}

const hitRatio = ({ reads, misses }: Phase): number => (reads - misses) / reads;

const SENT_EVENTS: ReadonlySet<string> = new Set(['caught-up', 'catch-up-failed', 'pulled']);

const sentSince = ({ nodes }: BenchCluster, sinceMs: number): readonly LogLine[] =>
  nodes.flatMap(({ log }) => log.filter(({ event, readAtMs }) => readAtMs >= sinceMs && SENT_EVENTS.has(event ?? '')));

interface NodeStats {
  readonly bytes: number;
  readonly slots: number;
  readonly copySlots: number;
  readonly joiningSlots: number;
  readonly takingOverSlots: number;
}

function statsOf(client: Henge, { nodes }: BenchCluster): Promise<NodeStats[]> {
  return Promise.all(nodes.map(async ({ name }) => (await client.stats(name)) as unknown as NodeStats));
}

/** Resolves when every member is in, and every slot has all its copies in sync. */
async function isWhole(client: Henge, cluster: BenchCluster): Promise<void> {
  const untilMs = performance.now() + WHOLE_MS_MAX;
  while (performance.now() < untilMs) {
    const { members } = await client.topology();
    const stats = await statsOf(client, cluster).catch((): NodeStats[] => []);
    const copies = sum(stats.map(({ slots, copySlots }) => slots + copySlots));
    const unready = sum(stats.map(({ joiningSlots, takingOverSlots }) => joiningSlots + takingOverSlots));
    if (members.every(({ state }) => state === 'in') && copies === RF * SLOTS && unready === 0) return;
    await sleep(POLL_MS);
  }
  throw new Error(`the cluster was not whole again after ${WHOLE_MS_MAX} ms`);
}
