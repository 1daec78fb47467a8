/**
 * The cost of copies: CPU of the client and of the node that leads, and the time a write takes. Writes only, of
 * 100-byte values, in a closed loop.
 */
import type { AckLevel } from '../../src/index.js';
import type { ClosedResult } from '../load/closed.js';
import { type Round, runRound } from '../load/round.js';
import type { Measurement } from '../report/figure.js';
import { formatNumber } from '../report/table.js';
import { alternate, type Context } from '../suite.js';
import { BenchCluster } from '../targets/cluster.js';
import { CORES } from '../targets/targets.js';

const KEYS = 50_000;
const IN_FLIGHT = 64;
/** The node whose slots alone are written to where one node's CPU is looked at: the others then only keep copies. */
const LEADER = 'a';

interface Side {
  readonly name: string;
  readonly cluster: BenchCluster;
  readonly load: Pick<Round, 'inFlight' | 'ack' | 'leader'>;
}

interface Result extends ClosedResult {
  /** Of the node LEADER, in the microseconds of a write. */
  readonly leaderMicroseconds: number;
}

/** CPU time of a client process per write: with three copies against one. */
export async function clientCpuFigures(context: Context): Promise<Measurement[]> {
  const load = { inFlight: IN_FLIGHT, ack: 'one' } as const;
  const sides = await startSides(context, [
    { name: 'RF 3', nodes: 3, rf: 3, load },
    { name: 'RF 1', nodes: 3, rf: 1, load },
  ]);
  const [ours, theirs] = await compare(context, sides);
  return [
    versus('replication.cpu', 'us/write', 'RF 1', ours, theirs, (result) => result.cpuMicrosecondsPerOperation),
    versus('replication.speed', 'writes/s', 'RF 1', ours, theirs, (result) => result.operationsPerSecond),
  ];
}

/** CPU time of the node that leads per write: with a copy on another node against none. */
export async function primaryCpuFigures(context: Context): Promise<Measurement[]> {
  const load = { inFlight: IN_FLIGHT, ack: 'one', leader: LEADER } as const;
  const sides = await startSides(context, [
    { name: 'RF 2', nodes: 2, rf: 2, load },
    { name: 'RF 1', nodes: 2, rf: 1, load },
  ]);
  const [ours, theirs] = await compare(context, sides);
  return [versus('replication.primaryCpu', 'us/write', 'RF 1', ours, theirs, (result) => result.leaderMicroseconds)];
}

/** The median time of a write, one at a time: acknowledged by a majority of three against by the leader. */
export async function latencyFigures(context: Context): Promise<Measurement[]> {
  const [side] = await startSides(context, [{ name: 'RF 3', nodes: 3, rf: 3, load: { inFlight: 1, ack: 'quorum' } }]);
  if (side === undefined) return [];
  const ones: Side = { ...side, name: 'one', load: { inFlight: 1, ack: 'one' } };
  const [ours, theirs] = await compare(context, [{ ...side, name: 'quorum' }, ones]);
  return [
    versus('replication.quorum.p50', 'us', 'one', ours, theirs, ({ p50 }) => p50),
    versus('replication.quorum.p99', 'us', 'one', ours, theirs, ({ p99 }) => p99),
  ];
}

interface Plan {
  readonly name: string;
  readonly nodes: number;
  readonly rf: number;
  readonly load: { readonly inFlight: number; readonly ack: AckLevel; readonly leader?: string };
}

async function startSides(context: Context, plans: readonly Plan[]): Promise<Side[]> {
  const sides: Side[] = [];
  for (const { name, nodes, rf, load } of plans) {
    const cluster = await BenchCluster.start(context, { nodes, rf, core: CORES.server });
    const side = { name, cluster, load };
    await measure(side, { isFilling: true, warmUpMs: 0, durationMs: 1, seed: 1 });
    sides.push(side);
  }
  return sides;
}

/** Results of the first and of the second side, round by round. Both clusters are stopped after it. */
async function compare(context: Context, sides: readonly Side[]): Promise<[Result[], Result[]]> {
  const [rounds, seconds] = context.isQuick ? [3, 2] : [9, 5];
  const results = new Map<string, Result[]>(sides.map(({ name }) => [name, []]));
  await alternate(sides, rounds, async (side, round) => {
    const times = { warmUpMs: seconds * 250, durationMs: seconds * 1_000, seed: round + 1 };
    const result = await measure(side, { isFilling: false, ...times });
    results.get(side.name)?.push(result);
    context.note(
      `${side.name} round ${round + 1}: ${formatNumber(Math.round(result.operationsPerSecond))} writes/s, ` +
        `client ${result.cpuMicrosecondsPerOperation.toFixed(2)} us, node ${LEADER} ` +
        `${result.leaderMicroseconds.toFixed(2)} us, p50 ${result.p50} us`,
    );
  });
  for (const cluster of new Set(sides.map((side) => side.cluster))) await cluster.stop();
  const [ours, theirs] = sides.map(({ name }) => results.get(name) ?? []);
  return [ours ?? [], theirs ?? []];
}

type Times = Pick<Round, 'isFilling' | 'warmUpMs' | 'durationMs' | 'seed'>;

async function measure({ cluster, load }: Side, times: Times): Promise<Result> {
  const leader = cluster.node(LEADER);
  const seeds = [...cluster.seeds];
  const cpuBefore = leader.cpuSeconds();
  const result = await runRound({ driver: 'henge', seeds, setShare: 1, keys: KEYS, ...load, ...times });
  const cpuSeconds = leader.cpuSeconds() - cpuBefore;
  return { ...result, leaderMicroseconds: (cpuSeconds * 1e6) / result.operationsAll };
}

function versus(
  id: string,
  unit: string,
  name: string,
  ours: readonly Result[],
  theirs: readonly Result[],
  pick: (result: Result) => number,
): Measurement {
  return { id, unit, values: ours.map(pick), against: { name, values: theirs.map(pick) } };
}
