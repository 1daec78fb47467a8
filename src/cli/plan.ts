/**
 * `henge plan`: what would move if the member list were changed. Nothing is done. What it means is found in
 * plan/outlook.ts; here it is asked for, and drawn.
 */
import { type Command, Option } from 'commander';
import { SLOTS } from '../ring/index.js';
import { type ClusterOptions, clusterOptions, examples, jsonOption, parseBytes, print, printJson } from './command.js';
import { lookAhead, type NodeOutlook, type Outlook, type RateSource } from './plan/outlook.js';
import { parseAdd, parseRemove, parseReweight, parseRezone, type Wish } from './plan/wishes.js';
import { readCluster } from './report.js';
import { withCluster } from './session.js';
import { bytes, count, duration, nodeColour, type Paint, paintFor, percent, screenOf, table } from './terminal.js';

interface Options extends ClusterOptions {
  readonly add: readonly Wish[];
  readonly remove: readonly Wish[];
  readonly weight: readonly Wish[];
  readonly zone: readonly Wish[];
  readonly rate?: number;
  readonly json?: boolean;
}

export function addPlan(program: Command): void {
  const repeated = (parse: (text: string) => Wish) => (text: string, before: readonly Wish[]) => [
    ...before,
    parse(text),
  ];
  const command = program
    .command('plan')
    .description('show what would move if nodes came, went or changed weight or zone; does nothing')
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
      new Option('--zone <node=zone>', 'a node that gets another zone; may be repeated')
        .default([], 'none')
        .argParser(repeated(parseRezone)),
    )
    .addOption(
      new Option('--rate <bytes>', 'bytes a second that each node sends (default: the limit that holds)').argParser(
        parseBytes,
      ),
    )
    .addOption(jsonOption());
  clusterOptions(command).action(plan);
  examples(command, [
    'henge plan --add d                        # one more node',
    'henge plan --add d:2:east --remove a      # a replaced by d, which is twice as large and in another zone',
    'henge plan --weight b=0.5 --zone b=west --json | jq .bytesMoved',
  ]);
}

async function plan(options: Options): Promise<void> {
  const { add, remove, weight, zone, rate } = options;
  const wishes = [...add, ...remove, ...weight, ...zone];
  const outlook = await withCluster(options, async (cluster) => {
    const [topology, report] = await Promise.all([cluster.topology(), readCluster(cluster)]);
    return lookAhead({ topology, report, wishes, rate });
  });
  if (options.json) printJson(outlook);
  else print(draw(outlook, paintFor(screenOf(process.stdout))).join('\n'));
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

const RATE_WORDS: Readonly<Record<RateSource, string>> = {
  option: '',
  operator: ', as an operator set it',
  node: ', as the nodes are configured',
  assumed: ': nothing limits them, so that is assumed (--rate takes another)',
};

function draw(outlook: Outlook, paint: Paint): string[] {
  const { nodes, copiesMoved, copiesMovedIdeal, ratio, primariesMoved, itemsMoved, bytesMoved, rate, rateFrom } =
    outlook;
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
    `about ${duration(outlook.seconds * 1000)} at ${bytes(rate)} a second from each node${RATE_WORDS[rateFrom]}`,
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
    change(node.zoneBefore ?? '', node.zone),
    change(String(node.weightBefore), String(node.weightAfter)),
    change(percent(node.shareBefore, 1), percent(node.shareAfter, 1)),
    change(count(node.slotsBefore), count(node.slotsAfter)),
    change(count(node.copiesBefore), count(node.copiesAfter)),
    count(node.copiesGained),
    count(node.copiesLost),
    change(bytes(node.bytesBefore), bytes(node.bytesAfter)),
  ];
}
