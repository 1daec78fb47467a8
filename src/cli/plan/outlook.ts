/**
 * What another list of members would mean: which copies move, how much that is, how long it takes, what to mind. Pure.
 *
 * Slot tables are pure functions of the member list, so what moves is exact; how many items and bytes that is, is
 * estimated from what each node says it holds (ring/estimate.ts). The time is that of the sender that takes longest, at
 * the rate that holds for it: nodes send at the same time, and what they hold back for their callers comes on top.
 */
import type { Topology } from '../../client/index.js';
import {
  type Balance,
  balanceOf,
  buildSlotTable,
  estimateMovement,
  LOAD_FACTOR_MAX,
  type MemberEstimate,
  type MemberMovement,
  planMovement,
  type RingMember,
  SLOTS,
} from '../../ring/index.js';
import type { ClusterReport, NodeReport } from '../report.js';
import { bytes, count } from '../terminal.js';
import { membersAfter, type Wish } from './wishes.js';

/** One node, in both tables. Undefined weights: it is not there. */
export interface NodeOutlook {
  readonly name: string;
  readonly zone: string;
  /** Missing when it is not there before. */
  readonly zoneBefore: string | undefined;
  readonly weightBefore: number | undefined;
  readonly weightAfter: number | undefined;
  readonly slotsBefore: number;
  readonly slotsAfter: number;
  /** Parts of 1, of the slots led; what its weight asks for. */
  readonly shareBefore: number;
  readonly shareAfter: number;
  readonly target: number;
  readonly copiesBefore: number;
  readonly copiesAfter: number;
  readonly copiesGained: number;
  readonly copiesLost: number;
  readonly sendsBytes: number;
  readonly receivesItems: number;
  readonly receivesBytes: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface Outlook {
  readonly epoch: number;
  readonly rf: number;
  readonly copiesMoved: number;
  readonly copiesMovedIdeal: number;
  /** Copies moved against the fewest; undefined when none would have to move. */
  readonly ratio: number | undefined;
  readonly primariesMoved: number;
  readonly itemsMoved: number;
  readonly bytesMoved: number;
  /** Bytes a second of the sender that takes longest, and who says so. */
  readonly rate: number;
  readonly rateFrom: RateSource;
  /** Until that one has sent all. */
  readonly seconds: number;
  readonly before: Balance;
  readonly after: Balance;
  readonly warnings: readonly string[];
  readonly nodes: readonly NodeOutlook[];
}

export interface Question {
  readonly topology: Topology;
  readonly report: ClusterReport;
  readonly wishes: readonly Wish[];
  /** Bytes a second that each node sends; undefined: what holds in the cluster. */
  readonly rate: number | undefined;
}

export function lookAhead({ topology, report, wishes, rate }: Question): Outlook {
  const { epoch, rf } = topology;
  // Members that are about to join have nothing yet.
  const members = topology.members.filter(({ isJoining }) => isJoining !== true);
  const after = membersAfter(members, wishes);
  const [from, to] = [buildSlotTable(members, rf), buildSlotTable(after, rf)];
  const movement = planMovement(from, to);
  const held = new Map(report.nodes.filter(({ isAnswering }) => isAnswering).map((node) => [node.name, node]));
  const estimates = estimateMovement(from, movement, held);
  const balance = { before: balanceOf(from, members), after: balanceOf(to, after) };
  const { copiesMoved, copiesMovedIdeal, primariesMoved } = movement;
  return {
    epoch,
    rf,
    copiesMoved,
    copiesMovedIdeal,
    ratio: copiesMovedIdeal === 0 ? undefined : copiesMoved / copiesMovedIdeal,
    primariesMoved,
    itemsMoved: estimates.reduce((sum, { receives }) => sum + receives.items, 0),
    bytesMoved: estimates.reduce((sum, { receives }) => sum + receives.bytes, 0),
    ...timeOf(estimates, (name) => rateOf(name, { topology, held, rate })),
    ...balance,
    warnings: warningsOf({ topology, members: after, balance: balance.after, estimates, held }),
    nodes: movement.members.map((member, index) =>
      nodeOutlook({ member, estimate: estimates[index] as MemberEstimate, before: members, after }),
    ),
  };
}

function nodeOutlook({
  member,
  estimate,
  before,
  after,
}: {
  readonly member: MemberMovement;
  readonly estimate: MemberEstimate;
  readonly before: readonly RingMember[];
  readonly after: readonly RingMember[];
}): NodeOutlook {
  const { name, leadsBefore, leadsAfter, copiesBefore, copiesAfter, gains, loses } = member;
  const old = before.find((each) => each.name === name);
  const young = after.find((each) => each.name === name);
  const weightSum = after.reduce((sum, { weight = 1 }) => sum + weight, 0);
  return {
    name,
    zone: young?.zone ?? old?.zone ?? '',
    zoneBefore: old?.zone,
    weightBefore: old?.weight,
    weightAfter: young?.weight,
    slotsBefore: leadsBefore,
    slotsAfter: leadsAfter,
    shareBefore: leadsBefore / SLOTS,
    shareAfter: leadsAfter / SLOTS,
    target: (young?.weight ?? 0) / weightSum,
    copiesBefore,
    copiesAfter,
    copiesGained: gains.length,
    copiesLost: loses.length,
    sendsBytes: estimate.sends.bytes,
    receivesItems: estimate.receives.items,
    receivesBytes: estimate.receives.bytes,
    bytesBefore: estimate.holdsBefore.bytes,
    bytesAfter: estimate.holdsAfter.bytes,
  };
}

/** Who says how fast a node may send. */
export type RateSource = 'option' | 'operator' | 'node' | 'assumed';

interface Rate {
  readonly rate: number;
  readonly rateFrom: RateSource;
}

/** Where nothing limits a node, a time can be told only by assuming something. */
const RATE_ASSUMED = 64 * 1024 ** 2;

function rateOf(
  name: string,
  { topology, held, rate }: Pick<Question, 'topology' | 'rate'> & { readonly held: ReadonlyMap<string, NodeReport> },
): Rate {
  if (rate !== undefined) return { rate, rateFrom: 'option' };
  const word = topology.rebalance?.bytesPerSecond;
  const limit = word ?? held.get(name)?.rebalanceBytesPerSecond ?? 0;
  if (limit === 0) return { rate: RATE_ASSUMED, rateFrom: 'assumed' };
  return { rate: limit, rateFrom: word === undefined ? 'node' : 'operator' };
}

/** Nodes send at the same time: the change takes as long as the one that takes longest. */
function timeOf(
  estimates: readonly MemberEstimate[],
  rateFor: (name: string) => Rate,
): Rate & { readonly seconds: number } {
  const times = estimates
    .map(({ name, sends }) => ({ rate: rateFor(name), bytes: sends.bytes }))
    .map(({ rate, bytes }) => ({ ...rate, seconds: bytes / rate.rate }));
  return times.reduce((longest, time) => (time.seconds > longest.seconds ? time : longest));
}

interface Findings {
  readonly topology: Topology;
  readonly members: readonly RingMember[];
  readonly balance: Balance;
  readonly estimates: readonly MemberEstimate[];
  readonly held: ReadonlyMap<string, NodeReport>;
}

/** What an operator should know before doing it, a sentence each. */
function warningsOf(findings: Findings): string[] {
  const { topology, members, balance, held } = findings;
  const { rf, next, rebalance } = topology;
  const zones = new Set(members.map(({ zone }) => zone)).size;
  const size = `${members.length} ${members.length === 1 ? 'node' : 'nodes'}`;
  const silent = topology.members.filter(({ name }) => !held.has(name)).map(({ name }) => name);
  return [
    ...(next === undefined ? [] : ['a change is under way: this is counted from the members that stand before it']),
    ...(rebalance?.isPaused === true ? ['nothing moves while it is paused (henge rebalance resume)'] : []),
    ...(members.length < rf ? [`${size} cannot hold ${rf} copies: fewer are kept`] : []),
    // With one zone all share it, and nobody expects otherwise.
    ...(zones > 1 && balance.slotsSharingZone > 0
      ? [`${count(balance.slotsSharingZone)} slots have two copies or more in one zone`]
      : []),
    ...(balance.copiesOverBound > 0 ? [excess(balance)] : []),
    ...tooFull(findings),
    ...(silent.length > 0 ? [`${silent.join(', ')} did not answer: as much as the others hold is assumed there`] : []),
  ];
}

function excess({ fullest, peak, copiesOverBound }: Balance): string {
  const most = `${fullest} holds ${peak.toFixed(3)} × its share`;
  const copies = `${count(copiesOverBound)} copies are above ${LOAD_FACTOR_MAX} × the shares`;
  return `${most}, and ${copies}: zones and weights leave no other way`;
}

/** Members whose memory is too small for what they would hold. */
function tooFull({ estimates, members, held }: Findings): string[] {
  return estimates.flatMap(({ name, holdsBefore, holdsAfter }) => {
    const { memoryLimit = 0 } = held.get(name) ?? {};
    const isStaying = members.some((member) => member.name === name);
    if (!isStaying || memoryLimit === 0 || holdsAfter.bytes <= memoryLimit) return [];
    if (holdsAfter.bytes <= holdsBefore.bytes) return [];
    return [`${name} would hold ${bytes(holdsAfter.bytes)} in ${bytes(memoryLimit)}: it evicts what is worth least`];
  });
}
