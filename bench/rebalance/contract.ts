/**
 * What callers suffer while the list of members changes: a node joins, one leaves, one gets another weight, one is
 * swapped for another; each under 20,000 mixed requests a second, and again under 30,000 writes a second to the slots
 * that move. If the machine cannot do so much, at 60 % of what it can, measured first: an open loop that offers more
 * than that measures its own queue.
 *
 * One key in eight is a counter, the others are written whole; all are read back at the end. `p99` is that of
 * all calls from the moment that the change is published to the moment that it is done, against that of the seconds
 * before. `sealed` is the servers' own count: the longest that a slot took no writes.
 */
import { failed, figure, ratePerSecond, sleep, sum, tell } from '../failover/load.js';
import type { Verdict } from '../load/ledger.js';
import type { PacedOptions, Phase } from '../load/paced.js';
import { PacedProcess } from '../load/paced-process.js';
import { runRound } from '../load/round.js';
import type { Measurement } from '../report/figure.js';
import { formatNumber } from '../report/table.js';
import type { Context } from '../suite.js';
import type { BenchCluster } from '../targets/cluster.js';
import { begun, ended, filledCluster } from './change.js';
import { copiesMoved, KINDS, type Kind, movingSlots, RF } from './kinds.js';

/** Part of the capacity at which an open loop still measures the cluster, and not its queue. */
const LOAD_SHARE_MAX = 0.6;
const IN_FLIGHT = 256;
const LOAD_KEYS = 20_000;
/** Calls that wait for the end of a hand-over have ended by then. */
const SETTLE_MS = 1_000;

interface Traffic {
  readonly name: string;
  readonly ratePerSecond: number;
  readonly writeShare: number;
  /** Only to slots that move. */
  readonly isAimed: boolean;
  /** The one change that a first look is taken at. */
  readonly quickKind: string;
}

const TRAFFIC: readonly Traffic[] = [
  { name: 'mixed', ratePerSecond: 20_000, writeShare: 0.2, isAimed: false, quickKind: 'join' },
  { name: 'writes', ratePerSecond: 30_000, writeShare: 1, isAimed: true, quickKind: 'drain' },
];

interface Times {
  readonly items: number;
  readonly warmUpMs: number;
  readonly beforeMs: number;
  readonly capacityMs: number;
}

const TIMES: Times = { items: 500_000, warmUpMs: 3_000, beforeMs: 5_000, capacityMs: 3_000 };
const TIMES_QUICK: Times = { items: 50_000, warmUpMs: 1_000, beforeMs: 1_500, capacityMs: 1_000 };

interface Outcome {
  readonly name: string;
  readonly rate: number;
  readonly before: Phase;
  readonly during: Phase;
  readonly phases: readonly Phase[];
  readonly verdict: Verdict;
  readonly seconds: number;
  readonly sealedMs: number;
  readonly moved: { readonly moved: number; readonly ideal: number };
}

export async function contractFigures(context: Context): Promise<Measurement[]> {
  const times = context.isQuick ? TIMES_QUICK : TIMES;
  const outcomes: Outcome[] = [];
  for (const traffic of TRAFFIC) {
    const rate = await affordableRate(context, traffic, times);
    for (const kind of context.isQuick ? KINDS.filter(({ name }) => name === traffic.quickKind) : KINDS) {
      outcomes.push(await changeUnder(context, kind, { traffic: { ...traffic, ratePerSecond: rate }, times }));
    }
  }
  for (const line of tableOf(outcomes)) context.note(line);
  return [...outcomes.flatMap(ownFigures), ...sharedFigures(outcomes)];
}

/** What is wanted, or as much as leaves the machine room. */
async function affordableRate(context: Context, traffic: Traffic, { capacityMs }: Times): Promise<number> {
  const { cluster, client } = await filledCluster(context, { nodes: 3, rf: RF }, 0);
  const load = { inFlight: IN_FLIGHT, keys: LOAD_KEYS, setShare: traffic.writeShare, ack: 'one' } as const;
  const seeds = [...cluster.seeds];
  const times = { isFilling: true, warmUpMs: capacityMs / 2, durationMs: capacityMs, seed: 1 };
  const { operationsPerSecond } = await runRound({ driver: 'henge', seeds, ...load, ...times });
  await client.close();
  await cluster.stop();
  const most = Math.floor(operationsPerSecond * LOAD_SHARE_MAX);
  const rate = Math.min(traffic.ratePerSecond, most);
  const which = rate < traffic.ratePerSecond ? `${LOAD_SHARE_MAX * 100} % of that` : 'as wanted';
  const capacity = formatNumber(Math.round(operationsPerSecond));
  context.note(`${traffic.name}: three nodes do ${capacity} requests/s; offered: ${formatNumber(rate)}, ${which}`);
  return rate;
}

interface Setting {
  readonly traffic: Traffic;
  readonly times: Times;
}

async function changeUnder(context: Context, kind: Kind, { traffic, times }: Setting): Promise<Outcome> {
  const name = `${kind.name}.${traffic.name}`;
  const { cluster, client } = await filledCluster(context, { nodes: kind.nodes, rf: RF }, times.items);
  await client.close();
  const load = await PacedProcess.start(context, cluster.seeds, loadOf(kind, traffic));
  await sleep(times.warmUpMs);
  const phases = [await load.mark()];
  await sleep(times.beforeMs);
  const before = await load.mark();
  const askedAtMs = performance.now();
  const asked = kind.ask(cluster);
  const begunAtMs = await begun(cluster, askedAtMs);
  phases.push(before, await load.mark());
  await asked;
  const endedAtMs = await ended(cluster, begunAtMs, kind.after);
  const during = await load.mark();
  const sealedMs = await longestSealMs(cluster);
  await sleep(SETTLE_MS);
  const { phase, verdict } = await load.stop();
  await cluster.stop();
  tell(context, `${name}: before`, before);
  tell(context, `${name}: during`, during);
  const seconds = (endedAtMs - begunAtMs) / 1_000;
  const rate = traffic.ratePerSecond;
  return {
    name,
    rate,
    before,
    during,
    phases: [...phases, during, phase],
    verdict,
    seconds,
    sealedMs,
    moved: copiesMoved(kind),
  };
}

function loadOf(kind: Kind, { ratePerSecond, writeShare, isAimed }: Traffic): PacedOptions {
  const slots = isAimed ? { slots: movingSlots(kind) } : {};
  return {
    ratePerSecond,
    writeShare,
    ack: 'one',
    keys: LOAD_KEYS,
    writeDeadlineMs: 30_000,
    hasCounters: true,
    ...slots,
  };
}

/** Of all nodes; those that leave answer a little longer. */
async function longestSealMs({ nodes }: BenchCluster): Promise<number> {
  const seconds = await Promise.all(
    nodes.map(async ({ http }) => {
      const text = await (await fetch(`http://${http}/metrics`)).text();
      return Number(/^henge_sealed_seconds_max (\S+)$/m.exec(text)?.[1] ?? Number.NaN);
    }),
  );
  return Math.max(...seconds) * 1_000;
}

/** Errors that tell a caller where to go instead. */
const redirects = ({ errors }: Phase): number =>
  sum(Object.entries(errors).map(([text, times]) => (text.includes(': MOVED:') ? times : 0)));

const slowestMs = ({ during }: Outcome): number => during.callMs.max;

function ownFigures({ name, before, during, seconds, moved }: Outcome): Measurement[] {
  const id = `rebalance.contract.${name}`;
  return [
    {
      id: `${id}.p99`,
      unit: 'ms',
      values: [during.callMs.p99],
      against: { name: 'before', values: [before.callMs.p99] },
    },
    figure(`${id}.took`, 's', seconds),
    { id: `${id}.moved`, unit: 'copies', values: [moved.moved], against: { name: 'ideal', values: [moved.ideal] } },
  ];
}

function sharedFigures(outcomes: readonly Outcome[]): Measurement[] {
  const total = (count: (phase: Phase) => number) => sum(outcomes.flatMap(({ phases }) => phases.map(count)));
  const id = 'rebalance.contract';
  return [
    figure(`${id}.failed`, 'requests', total(failed)),
    figure(`${id}.redirects`, 'requests', total(redirects)),
    figure(`${id}.lost`, 'writes', sum(outcomes.map(({ verdict }) => verdict.lostWrites))),
    figure(`${id}.foreign`, 'keys', sum(outcomes.map(({ verdict }) => verdict.foreign.length))),
    figure(
      `${id}.stale`,
      'reads',
      total(({ staleReads }) => staleReads),
    ),
    figure(`${id}.sealed`, 'ms', Math.max(...outcomes.map(({ sealedMs }) => sealedMs))),
    figure(`${id}.slowest`, 'ms', Math.max(...outcomes.map(slowestMs))),
  ];
}

const HEADINGS = ['change', 'req/s', 'failed', 'redirects', 'lost', 'stale', 'sealed ms', 'slowest ms', 'p99 x', 's'];

/** The contract's numbers, a change a line. */
function tableOf(outcomes: readonly Outcome[]): string[] {
  const rows = outcomes.map((outcome) => {
    const { name, phases, verdict, sealedMs, before, during, seconds } = outcome;
    const total = (count: (phase: Phase) => number) => String(sum(phases.map(count)));
    return [
      name,
      formatNumber(Math.round(ratePerSecond(during))),
      total(failed),
      total(redirects),
      String(verdict.lostWrites + verdict.foreign.length),
      total(({ staleReads }) => staleReads),
      sealedMs.toFixed(1),
      slowestMs(outcome).toFixed(1),
      (during.callMs.p99 / before.callMs.p99).toFixed(2),
      seconds.toFixed(2),
    ];
  });
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  return [HEADINGS, ...rows].map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('  '));
}
