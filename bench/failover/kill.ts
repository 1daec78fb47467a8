/**
 * One of three nodes killed, RF 2: all of its processes at once, by SIGKILL.
 *
 * Said of the slots that the dead node led: how long there was no acknowledged write (`resumed`), and the longest that
 * any one of the writes took which were acknowledged (`slowest`), those that waited for the next epoch included.
 */
import type { Verdict } from '../load/ledger.js';
import type { Phase } from '../load/paced.js';
import { PacedProcess } from '../load/paced-process.js';
import type { Measurement } from '../report/figure.js';
import type { Context } from '../suite.js';
import { BenchCluster } from '../targets/cluster.js';
import { startEtcd } from '../targets/etcd.js';
import { figure, LOAD, ratePerSecond, sleep, sum, tell, tellOfEpochs, WARM_UP_MS } from './load.js';

type RegistryKind = 'directory' | 'etcd';
type Ack = 'one' | 'quorum';

const VICTIM = 'c';
/** Longer than the slowest epoch that still meets its goal. */
const WATCHED_MS = 8_000;

interface Killed {
  readonly phase: Phase;
  readonly verdict: Verdict;
  readonly resumedMs: number;
  readonly slowestMs: number;
}

export async function killFigures(context: Context, registry: RegistryKind): Promise<Measurement[]> {
  const rounds = context.isQuick ? 1 : 3;
  const runs: Record<Ack, Killed[]> = { quorum: [], one: [] };
  for (let round = 0; round < rounds; round++) {
    for (const ack of ['quorum', 'one'] as const) runs[ack].push(await killOne(context, registry, ack));
  }
  const all = [...runs.quorum, ...runs.one];
  const id = registry === 'etcd' ? 'failover.kill.etcd' : 'failover.kill';
  const lost = (ack: Ack) => sum(runs[ack].map(({ verdict }) => verdict.lostWrites));
  return [
    figure(`${id}.rate`, 'requests/s', Math.min(...all.map(({ phase }) => ratePerSecond(phase)))),
    figure(`${id}.failedReads`, 'reads', sum(all.map(({ phase }) => phase.failedReads))),
    figure(`${id}.failedWrites`, 'writes', sum(all.map(({ phase }) => phase.failedWrites))),
    figure(`${id}.resumed`, 'ms', Math.max(...all.map(({ resumedMs }) => resumedMs))),
    figure(`${id}.slowest`, 'ms', Math.max(...all.map(({ slowestMs }) => slowestMs))),
    figure(`${id}.lost.quorum`, 'writes', lost('quorum')),
    figure(`${id}.lost.one`, 'writes', lost('one')),
  ];
}

async function killOne(context: Context, registry: RegistryKind, ack: Ack): Promise<Killed> {
  const etcd = registry === 'etcd' ? await startEtcd(context) : undefined;
  const cluster = await BenchCluster.start(context, { nodes: 3, rf: 2, registry: etcd?.location });
  const load = await PacedProcess.start(context, cluster.seeds, { ...LOAD, ack });
  await sleep(WARM_UP_MS);
  tell(context, `kill, ${registry}, ${ack}: before`, await load.mark());
  const killedAtMs = performance.now();
  await cluster.node(VICTIM).killAll();
  await sleep(WATCHED_MS);
  const phase = await load.mark();
  tell(context, `kill, ${registry}, ${ack}: one of three is dead`, phase);
  tellOfEpochs(context, cluster, killedAtMs);
  const { verdict } = await load.stop();
  context.note(`${verdict.lostWrites} acknowledged writes missing, of ${verdict.lost.length} keys`);
  await cluster.stop();
  await etcd?.stop();
  const group = phase.groups[load.leaders.indexOf(VICTIM)];
  if (group === undefined) throw new Error(`${VICTIM} led no key`);
  return { phase, verdict, resumedMs: group.gapMs, slowestMs: group.slowestMs };
}
