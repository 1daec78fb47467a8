/**
 * How fast items come to a node that joins: from the moment that the change is published to the moment that it is done,
 * doubled writes, catch-up and hand-over of every slot included. In the same rounds, Redis Cluster's own tool spreads
 * the same items over a master that was added empty, timed around that command alone. Both are timed with nobody served
 * meanwhile, and again with the same load: reads and writes of callers, whose p99 is told besides.
 *
 * What came is counted where it came to: items of the new node at the end.
 */

import { sleep, tell, WARM_UP_MS } from '../failover/load.js';
import { keyOf } from '../load/closed.js';
import { VALUE_BYTES } from '../load/driver.js';
import type { PacedOptions } from '../load/paced.js';
import { PacedProcess } from '../load/paced-process.js';
import type { Measurement } from '../report/figure.js';
import { formatNumber } from '../report/table.js';
import type { Context } from '../suite.js';
import { isInstalled, versionOf } from '../targets/process.js';
import { RedisCluster } from '../targets/redis-cluster.js';
import { begun, ended, filledCluster } from './change.js';

const MASTERS = 3;
const LOAD: PacedOptions = {
  ratePerSecond: 10_000,
  writeShare: 0.2,
  ack: 'one',
  keys: 20_000,
  writeDeadlineMs: 30_000,
};

interface Kind {
  readonly name: string;
  readonly rf: number;
  readonly load?: PacedOptions;
}

const KINDS: readonly Kind[] = [
  { name: 'rebalance.speed', rf: 2 },
  { name: 'rebalance.speed.rf1', rf: 1 },
  { name: 'rebalance.speed.loaded', rf: 2, load: LOAD },
];

interface Move {
  readonly perSecond: number;
  /** Of the callers meanwhile, in milliseconds; NaN where there were none. */
  readonly p99Ms: number;
}

export async function speedFigures(context: Context): Promise<Measurement[]> {
  const [rounds, keys] = context.isQuick ? [1, 100_000] : [3, 1_000_000];
  const hasRedis = isInstalled('redis-server') && isInstalled('redis-cli');
  if (hasRedis)
    context.version('redis-server', /\d+(\.\d+)+/.exec(versionOf('redis-server', ['--version']) ?? '')?.[0] ?? '');
  else context.note('redis-server and redis-cli are not installed: nothing to compare the speed with');
  const ours = new Map<Kind, Move[]>(KINDS.map((kind) => [kind, []]));
  const theirs = { quiet: [] as Move[], loaded: [] as Move[] };
  for (let round = 0; round < rounds; round++) {
    for (const [kind, moves] of ours) moves.push(await join(context, kind, keys));
    if (!hasRedis) continue;
    theirs.quiet.push(await spread(context, keys));
    theirs.loaded.push(await spread(context, keys, LOAD));
  }
  return [...ours].flatMap(([kind, moves]) => figuresOf(kind, moves, kind.load ? theirs.loaded : theirs.quiet));
}

function figuresOf({ name, load }: Kind, ours: readonly Move[], theirs: readonly Move[]): Measurement[] {
  const measurement = (id: string, unit: string, value: (move: Move) => number): Measurement => ({
    id,
    unit,
    values: ours.map(value),
    ...(theirs.length > 0 && { against: { name: 'redis-cli rebalance', values: theirs.map(value) } }),
  });
  const speed = measurement(name, 'copies/s', ({ perSecond }) => perSecond);
  return load === undefined ? [speed] : [speed, measurement(`${name}.p99`, 'ms', ({ p99Ms }) => p99Ms)];
}

async function join(context: Context, { name, rf, load }: Kind, keys: number): Promise<Move> {
  const { cluster, client } = await filledCluster(context, { nodes: MASTERS, rf }, keys);
  const paced = load && (await PacedProcess.start(context, cluster.seeds, load));
  if (paced !== undefined) await sleep(context.isQuick ? 1_000 : WARM_UP_MS);
  const sinceMs = performance.now();
  const { name: joining } = await cluster.join('d');
  const begunAtMs = await begun(cluster, sinceMs);
  await paced?.mark();
  const seconds = ((await ended(cluster, begunAtMs, 'abcd')) - begunAtMs) / 1_000;
  const phase = await paced?.mark();
  if (phase !== undefined) tell(context, `${name}: while it joins`, phase);
  const { items } = (await client.stats(joining)) as { readonly items: number };
  await paced?.stop();
  await client.close();
  await cluster.stop();
  context.note(`${name}: ${formatNumber(items)} copies in ${seconds.toFixed(2)} s`);
  return { perSecond: items / seconds, p99Ms: phase?.callMs.p99 ?? Number.NaN };
}

async function spread(context: Context, keys: number, load?: PacedOptions): Promise<Move> {
  const cluster = await RedisCluster.start(context, MASTERS);
  await cluster.fill(
    Array.from({ length: keys }, (_, index) => keyOf(index)),
    'v'.repeat(VALUE_BYTES),
  );
  await cluster.add();
  const paced = load && (await PacedProcess.start(context, cluster.seeds, load, 'redis-cluster'));
  if (paced !== undefined) await sleep(context.isQuick ? 1_000 : WARM_UP_MS);
  await paced?.mark();
  const { keysMoved, seconds } = await cluster.rebalance();
  const phase = await paced?.mark();
  if (phase !== undefined) tell(context, 'redis-cli rebalance: meanwhile', phase);
  await paced?.stop();
  await cluster.stop();
  context.note(`redis-cli rebalance: ${formatNumber(keysMoved)} keys in ${seconds.toFixed(2)} s`);
  return { perSecond: keysMoved / seconds, p99Ms: phase?.callMs.p99 ?? Number.NaN };
}
