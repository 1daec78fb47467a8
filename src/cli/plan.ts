/**
 * `henge plan`: what would move if the member list were changed. Nothing is done.
 *
 * Slot tables are pure functions of the member list, so what moves is exact; how many items and bytes that is, is
 * estimated from what each node says it holds (ring/estimate.ts). The time counts the sender that has most to send, at
 * the rate given: nodes send at the same time, and what they hold back for their callers comes on top.
 */
import { type Command, Option } from 'commander';
import type { Henge } from '../client/index.js';
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
} from '../ring/index.js';
import { type ClusterOptions, clusterOptions, examples, jsonOption, parseBytes, print, printJson } from './command.js';
import { membersAfter, parseAdd, parseRemove, parseReweight, type Wish } from './plan/wishes.js';
import { readCluster } from './report.js';
import { withCluster } from './session.js';
import { bytes, count, duration, nodeColour, type Paint, paintFor, percent, screenOf, table } from './terminal.js';

interface Options extends ClusterOptions {
  readonly add: readonly Wish[];
  readonly remove: readonly Wish[];
  readonly weight: readonly Wish[];
  readonly rate: number;
  readonly json?: boolean;
}

const RATE_DEFAULT = 64 * 1024 ** 2;

export function addPlan(program: Command): void {
  const repeated = (parse: (text: string) => Wish) => (text: string, before: readonly Wish[]) => [
    ...before,
    parse(text),
  ];
  const command = program
    .command('plan')
    .description('show what would move if nodes came, went or changed their weights; does nothing')
    .addOption(
      new Option('--add <name[:weight[:zone]]>', 'a node that comes; may be repeated')
        .default([], 'none')
        .argParser(repeated(parseAdd)),
    )
    .addOption(
      new Option('--remove <node>', 'a node that goes; may be repeated')
        .default([], 'none')
        .argParser(repeated(parseRemove)),
    )
    .addOption(
      new Option('--weight <node=weight>', 'a node that gets another weight; may be repeated')
        .default([], 'none')
        .argParser(repeated(parseReweight)),
    )
    .addOption(
      new Option('--rate <bytes>', 'bytes a second that each node sends')
        .default(RATE_DEFAULT, '64mb')
        .argParser(parseBytes),
    )
    .addOption(jsonOption());
  clusterOptions(command).action(plan);
  examples(command, [
    'henge plan --add d                        # one more node',
    'henge plan --add d:2:east --remove a      # a replaced by d, which is twice as large and in another zone',
    'henge plan --weight b=0.5 --json | jq .bytesMoved',
  ]);
}

async function plan(options: Options): Promise<void> {
  const outlook = await withCluster(options, (cluster) => lookAhead(cluster, options));
  if (options.json) printJson(outlook);
  else print(draw(outlook, paintFor(screenOf(process.stdout))).join('\n'));
}

/** One node, in both tables. Undefined weights: it is not there. */
interface NodeOutlook {
  readonly name: string;
  readonly zone: string;
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

interface Outlook {
  readonly epoch: number;
  readonly rf: number;
  readonly copiesMoved: number;
  readonly copiesMovedIdeal: number;
  /** Copies moved against the fewest; undefined when none would have to move. */
  readonly ratio: number | undefined;
  readonly primariesMoved: number;
  readonly itemsMoved: number;
  readonly bytesMoved: number;
  readonly rate: number;
  readonly seconds: number;
  readonly before: Balance;
  readonly after: Balance;
  readonly warnings: readonly string[];
  readonly nodes: readonly NodeOutlook[];
}

async function lookAhead(cluster: Henge, options: Options): Promise<Outlook> {
  const [topology, report] = await Promise.all([cluster.topology(), readCluster(cluster)]);
  const { epoch, rf } = topology;
  // Members that are about to join have nothing yet.
  const members = topology.members.filter(({ isJoining }) => isJoining !== true);
  const after = membersAfter(members, [...options.add, ...options.remove, ...options.weight]);
  const [from, to] = [buildSlotTable(members, rf), buildSlotTable(after, rf)];
  const movement = planMovement(from, to);
  const silent = report.nodes.filter(({ isAnswering }) => !isAnswering).map(({ name }) => name);
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
    rate: options.rate,
    seconds: Math.max(0, ...estimates.map(({ sends }) => sends.bytes)) / options.rate,
    ...balance,
    warnings: warningsOf({ rf, members: after, balance: balance.after, silent }),
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

/** What an operator should know before doing it, a sentence each. */
function warningsOf({
  rf,
  members,
  balance,
  silent,
}: {
  readonly rf: number;
  readonly members: readonly RingMember[];
  readonly balance: Balance;
  readonly silent: readonly string[];
}): string[] {
  const zones = new Set(members.map(({ zone }) => zone)).size;
  const sharing = count(balance.slotsSharingZone);
  const size = `${members.length} ${members.length === 1 ? 'node' : 'nodes'}`;
  return [
    ...(members.length < rf ? [`${size} cannot hold ${rf} copies: fewer are kept`] : []),
    // With one zone all share it, and nobody expects otherwise.
    ...(zones > 1 && balance.slotsSharingZone > 0 ? [`${sharing} slots have two copies or more in one zone`] : []),
    ...(balance.peak > LOAD_FACTOR_MAX
      ? [`the fullest node holds ${balance.peak.toFixed(3)} × its share, since zones and weights leave no other way`]
      : []),
    ...(silent.length > 0 ? [`${silent.join(', ')} did not answer: as much as the others hold is assumed there`] : []),
  ];
}

const COLUMNS = [
  { title: 'node' },
  { title: 'zone' },
  { title: 'weight', align: 'right' },
  { title: 'share', align: 'right' },
  { title: 'slots', align: 'right' },
  { title: 'copies', align: 'right' },
  { title: 'gets', align: 'right' },
  { title: 'gives up', align: 'right' },
  { title: 'bytes', align: 'right' },
] as const;

function draw(outlook: Outlook, paint: Paint): string[] {
  const { nodes, copiesMoved, copiesMovedIdeal, ratio, primariesMoved, itemsMoved, bytesMoved, rate } = outlook;
  const against = ratio === undefined ? '' : `, ${ratio.toFixed(3)} × the fewest possible, ${count(copiesMovedIdeal)}`;
  return [
    `epoch ${outlook.epoch}, ${outlook.rf === 1 ? 'one copy' : `${outlook.rf} copies`} of ${count(SLOTS)} slots`,
    '',
    ...table(
      COLUMNS,
      nodes.map((node, index) => row(node, index, paint)),
      paint,
    ),
    '',
    `${paint('bold', count(copiesMoved))} copies of slots move${against}`,
    `${count(primariesMoved)} slots get another primary`,
    `about ${count(itemsMoved)} items and ${bytes(bytesMoved)} are sent`,
    `about ${duration(outlook.seconds * 1000)} at ${bytes(rate)} a second from each node`,
    `the fullest node holds ${outlook.before.peak.toFixed(3)} × its share now, ${outlook.after.peak.toFixed(3)} × then`,
    ...outlook.warnings.map((warning) => paint('yellow', warning)),
    '',
    paint('dim', 'Nothing was done.'),
  ];
}

function row(node: NodeOutlook, index: number, paint: Paint): string[] {
  const isThere = [node.weightBefore !== undefined, node.weightAfter !== undefined] as const;
  const change = (before: string, after: string) => {
    const [old, young] = [isThere[0] ? before : '–', isThere[1] ? after : '–'];
    return old === young ? old : `${old} → ${young}`;
  };
  return [
    paint(nodeColour(index), node.name),
    node.zone,
    change(String(node.weightBefore), String(node.weightAfter)),
    change(percent(node.shareBefore, 1), percent(node.shareAfter, 1)),
    change(count(node.slotsBefore), count(node.slotsAfter)),
    change(count(node.copiesBefore), count(node.copiesAfter)),
    count(node.copiesGained),
    count(node.copiesLost),
    change(bytes(node.bytesBefore), bytes(node.bytesAfter)),
  ];
}
