/**
 * Two of five nodes killed in the same second, RF 3, `--on-partition serve`.
 *
 * A slot whose leader died with another of its copies may have lost writes, even some acknowledged at `quorum`: it is
 * to be reported. The others must have lost nothing. After the grace period (3 s here instead of 30) the copies are
 * made anew on the nodes that are left.
 */
import { Henge, type Topology } from '../../src/index.js';
import { buildSlotTable, SLOTS, slotOf } from '../../src/ring/index.js';
import { keyName } from '../load/paced.js';
import { PacedProcess } from '../load/paced-process.js';
import type { Measurement } from '../report/figure.js';
import type { Context } from '../suite.js';
import { BenchCluster, type BenchNode, type LogLine } from '../targets/cluster.js';
import { figure, LEASE_MS, LOAD, ratePerSecond, sleep, sum, tell, WARM_UP_MS } from './load.js';

const RF = 3;
const VICTIMS = ['b', 'e'] as const;
const GRACE_MS = 3_000;
/** From the kill until the epoch, with everything taken over. */
const TAKEN_OVER_MS = LEASE_MS + 4_000;
const RESTORED_MS_MAX = 60_000;
const POLL_MS = 50;
/** Five daemons and the load share the machine. */
const RATE_PER_SECOND = 10_000;

export async function twoOfFiveFigures(context: Context): Promise<Measurement[]> {
  const words = [`--grace=${GRACE_MS}ms`];
  const cluster = await BenchCluster.start(context, { nodes: 5, rf: RF, words });
  const survivors = cluster.nodes.filter(({ name }) => !VICTIMS.some((victim) => victim === name));
  const client = await Henge.connect({ seeds: survivors.map(({ address }) => address) });
  context.defer(() => client.close());
  const base = await client.topology();
  const load = await PacedProcess.start(context, cluster.seeds, { ...LOAD, ratePerSecond: RATE_PER_SECOND });
  await sleep(WARM_UP_MS);
  tell(context, 'two of five: before', await load.mark());

  const killedAtMs = performance.now();
  await Promise.all(VICTIMS.map((victim) => cluster.node(victim).killAll()));
  await sleep(TAKEN_OVER_MS);
  const reported = sum((await survivorStats(client, survivors)).map(({ possibleLossSlots }) => possibleLossSlots));
  const restoredMs = (await restored(client, survivors)) - killedAtMs;
  const phase = await load.mark();
  tell(context, 'two of five: both are dead', phase);
  const { verdict } = await load.stop();

  const exposed = exposedSlots(base);
  const stats = await survivorStats(client, survivors);
  const itemsWanted = RF * (LOAD.keys - verdict.lost.length);
  const isExposed = (key: number) => exposed.has(slotOf(Buffer.from(keyName(key))));
  const epochs = new Set(
    survivors.flatMap(({ log }) => log.filter(isLoss).map(({ epoch, away }) => `${epoch}: ${away}`)),
  );
  context.note(`epochs that struck nodes out, and which: ${[...epochs].join('; ')}`);
  await client.close();
  await cluster.stop();
  return [
    figure('failover.two.rate', 'requests/s', ratePerSecond(phase)),
    figure('failover.two.failedReads', 'reads', phase.failedReads),
    figure('failover.two.epochs', 'epochs', epochs.size),
    figure('failover.two.restored', 'ms', restoredMs),
    figure('failover.two.copiesMissing', 'items', Math.max(0, itemsWanted - sum(stats.map(({ items }) => items)))),
    figure('failover.two.possibleLoss', 'slots', reported),
    figure('failover.two.possibleLoss.wrong', 'slots', Math.abs(reported - exposed.size)),
    figure('failover.two.lost.reported', 'keys', verdict.lost.filter(isExposed).length),
    figure('failover.two.lost.others', 'keys', verdict.lost.filter((key) => !isExposed(key)).length),
  ];
}

/** An epoch that says of nodes that they are gone; the one in which others stand in for them is named by isFilling. */
const isLoss = ({ event, away, isFilling }: LogLine): boolean =>
  event === 'topology' && Array.isArray(away) && away.length > 0 && isFilling !== true;

/** Slots whose leader died, and with it another of their three copies. */
function exposedSlots({ members }: Topology): ReadonlySet<number> {
  const { rows, rf, members: names } = buildSlotTable(members, RF);
  const isDead = (index: number | undefined) => VICTIMS.some((victim) => victim === names[index ?? -1]);
  const exposed = new Set<number>();
  for (let slot = 0; slot < SLOTS; slot++) {
    const row = rows.subarray(slot * rf, (slot + 1) * rf);
    if (isDead(row[0]) && row.filter(isDead).length === VICTIMS.length) exposed.add(slot);
  }
  return exposed;
}

interface NodeStats {
  readonly items: number;
  readonly slots: number;
  readonly copySlots: number;
  readonly joiningSlots: number;
  readonly takingOverSlots: number;
  readonly possibleLossSlots: number;
}

async function survivorStats(client: Henge, survivors: readonly BenchNode[]): Promise<readonly NodeStats[]> {
  const stats = await Promise.all(survivors.map(({ name }) => client.stats(name)));
  return stats as unknown as readonly NodeStats[];
}

/** Resolves, to the moment, when each slot has its three copies again, all of them whole. */
async function restored(client: Henge, survivors: readonly BenchNode[]): Promise<number> {
  const untilMs = performance.now() + RESTORED_MS_MAX;
  while (performance.now() < untilMs) {
    const stats = await survivorStats(client, survivors);
    const copies = sum(stats.map(({ slots, copySlots }) => slots + copySlots));
    const unready = sum(stats.map(({ joiningSlots, takingOverSlots }) => joiningSlots + takingOverSlots));
    if (copies === RF * SLOTS && unready === 0) return performance.now();
    await sleep(POLL_MS);
  }
  return Number.POSITIVE_INFINITY;
}
