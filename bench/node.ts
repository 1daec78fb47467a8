/**
 * One node against redis-server and memcached, one thread of work each, under the same native load generator: 50
 * connections, 90 % gets and 10 % sets of 100-byte values over 100,000 keys, all present. The server runs on one core,
 * the generator on the other; every answer is checked.
 */
import { fill, type LoadResult, load } from './load/native.js';
import type { Measurement } from './report/figure.js';
import { formatNumber } from './report/table.js';
import { alternate, type Context, type Suite } from './suite.js';
import type { Target } from './targets/process.js';
import { CORES, installed, start, type TargetName } from './targets/targets.js';

const KEYS = 100_000;
const CONNECTIONS = 50;
const DEPTHS = [1, 32] as const;

/** What a target did, a value per round. */
interface Rounds {
  readonly operationsPerSecond: number[];
  readonly p99Ms: number[];
  readonly cpuMicroseconds: number[];
}

export const nodeSuite: Suite = {
  name: 'node',
  summary: 'one node against redis-server and memcached, under a native load generator',
  async run(context) {
    const targets: Target[] = [];
    for (const name of await installed(context, ['henge', 'redis-server', 'memcached'])) {
      const target = await start(context, name, { core: CORES.server });
      await fill(target, KEYS);
      targets.push(target);
    }
    const measurements: Measurement[] = [];
    for (const depth of DEPTHS) measurements.push(...figures(depth, await measureDepth(context, targets, depth)));
    return measurements;
  },
};

async function measureDepth(
  context: Context,
  targets: readonly Target[],
  depth: number,
): Promise<ReadonlyMap<string, Rounds>> {
  const [rounds, seconds] = context.isQuick ? [3, 1.5] : [9, 4];
  const results = new Map<string, Rounds>(
    targets.map(({ name }) => [name, { operationsPerSecond: [], p99Ms: [], cpuMicroseconds: [] }]),
  );
  await alternate(targets, rounds, async (target, round) => {
    const options = { connections: CONNECTIONS, keys: KEYS, depth, seconds, 'warm-up': seconds / 5, seed: round + 1 };
    const cpuBefore = target.cpuSeconds();
    const result = await load(target, options);
    record(results.get(target.name), result, target.cpuSeconds() - cpuBefore);
    const speed = formatNumber(Math.round(result.operations / result.seconds));
    context.note(`depth ${depth} round ${round + 1} ${target.name}: ${speed} ops/s, p99 ${result.p99} us`);
    if (result.misses > 0) context.note(`${target.name} missed ${result.misses} keys that had been set`);
  });
  return results;
}

function record(rounds: Rounds | undefined, result: LoadResult, cpuSeconds: number): void {
  rounds?.operationsPerSecond.push(result.operations / result.seconds);
  rounds?.p99Ms.push(result.p99 / 1000);
  rounds?.cpuMicroseconds.push((cpuSeconds * 1e6) / result.operationsAll);
}

/** The goal's figure is against redis-server; the same against memcached, and the latencies, inform. */
function figures(depth: number, results: ReadonlyMap<string, Rounds>): Measurement[] {
  const ours = results.get('henge');
  const peers: TargetName[] = ['redis-server', 'memcached'];
  return peers.flatMap((peer) => {
    const theirs = results.get(peer);
    const tail = peer === 'redis-server' ? '' : `.${peer}`;
    if (ours === undefined || theirs === undefined) return [];
    return [
      {
        id: `node.depth${depth}${tail}`,
        unit: 'ops/s',
        values: ours.operationsPerSecond,
        against: { name: peer, values: theirs.operationsPerSecond },
      },
      {
        id: `node.p99.${depth}${tail}`,
        unit: 'ms',
        values: ours.p99Ms,
        against: { name: peer, values: theirs.p99Ms },
      },
      {
        id: `node.cpu${depth}${tail}`,
        unit: 'us/op',
        values: ours.cpuMicroseconds,
        against: { name: peer, values: theirs.cpuMicroseconds },
        ratio: 'theirs/ours',
      },
    ];
  });
}
