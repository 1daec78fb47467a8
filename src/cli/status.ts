/** `henge status`: the nodes of the cluster, and what each holds. */
import type { Command } from 'commander';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  Failure,
  jsonOption,
  print,
  printJson,
  quietOption,
} from './command.js';
import { readProgress } from './operator.js';
import { progressLine } from './rebalance/progress.js';
import { type ClusterReport, type NodeReport, readCluster } from './report.js';
import { withCluster } from './session.js';
import {
  bytes,
  type Colour,
  count,
  duration,
  nodeColour,
  type Paint,
  paintFor,
  percent,
  screenOf,
  table,
} from './terminal.js';

interface Options extends ClusterOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addStatus(program: Command): void {
  const command = program
    .command('status')
    .description('show the nodes of the cluster; exits with 1 when one of them does not answer')
    .addOption(jsonOption())
    .addOption(quietOption());
  clusterOptions(command).action(status);
  examples(command, [
    'henge status',
    "henge status --json | jq '.nodes[] | {name, items, bytes}'",
    'henge status -q && echo all nodes answer',
  ]);
}

async function status(options: Options): Promise<void> {
  const { report, rebalance } = await withCluster(options, async (cluster) => {
    const topology = await cluster.topology();
    // Asked over HTTP, which may be out of reach from here; the table is worth showing all the same.
    const isOfInterest = topology.next !== undefined || topology.rebalance?.isPaused === true;
    const progress = isOfInterest ? readProgress(topology).catch(() => undefined) : undefined;
    return { report: await readCluster(cluster), rebalance: await progress };
  });
  if (options.json) {
    printJson({ ...report, ...(rebalance !== undefined && { rebalance }) });
  } else if (!options.quiet) {
    const paint = paintFor(screenOf(process.stdout));
    print([...draw(report, paint), ...(rebalance ? [paint('yellow', progressLine(rebalance))] : [])].join('\n'));
  }
  const silent = report.nodes.filter((node) => !node.isAnswering).map((node) => node.name);
  if (silent.length > 0) throw new Failure(`No answer from ${silent.join(', ')}.`);
}

const COLUMNS = [
  { title: 'node' },
  { title: 'address' },
  { title: 'zone' },
  { title: 'weight', align: 'right' },
  { title: 'state' },
  { title: 'slots', align: 'right' },
  { title: 'copies', align: 'right' },
  { title: 'items', align: 'right' },
  { title: 'bytes', align: 'right' },
  { title: 'memory', align: 'right' },
  { title: 'hit ratio', align: 'right' },
  { title: 'up', align: 'right' },
] as const;

function draw(report: ClusterReport, paint: Paint): string[] {
  const { nodes, epoch, rf } = report;
  const items = nodes.reduce((sum, node) => sum + node.items, 0);
  const held = nodes.reduce((sum, node) => sum + node.bytes, 0);
  const size = `${count(nodes.length)} ${nodes.length === 1 ? 'node' : 'nodes'}`;
  return [
    `epoch ${epoch}, ${size}, ${rf === 1 ? 'one copy' : `${rf} copies`}, ${count(items)} items, ${bytes(held)}`,
    '',
    ...table(
      COLUMNS,
      nodes.map((node, index) => row(node, index, paint)),
      paint,
    ),
    ...warnings(report, paint),
  ];
}

function row(node: NodeReport, index: number, paint: Paint): string[] {
  return [
    paint(nodeColour(index), node.name),
    node.address,
    node.zone === '' ? '–' : node.zone,
    String(node.weight),
    paint(colourOf(node), node.state),
    count(node.slots),
    ...(node.isAnswering
      ? [
          copiesOf(node),
          count(node.items),
          bytes(node.bytes),
          `${bytes(node.memoryUsed)} of ${bytes(node.memoryLimit)}`,
          percent(node.hits, node.hits + node.misses),
          duration(node.uptimeMs),
        ]
      : []),
  ];
}

function colourOf({ state, isAnswering }: NodeReport): Colour {
  if (!isAnswering) return 'red';
  return state === 'in' ? 'green' : 'yellow';
}

/** Copies of others' slots; `120 of 5,461` while only so many of them are known to be complete. */
function copiesOf({ copySlots, joiningSlots }: NodeReport): string {
  return joiningSlots === 0 ? count(copySlots) : `${count(copySlots - joiningSlots)} of ${count(copySlots)}`;
}

/** What an operator should know of, a line each. */
function warnings({ nodes }: ClusterReport, paint: Paint): string[] {
  return nodes.flatMap(({ name, takingOverSlots, possibleLossSlots }) => [
    ...(takingOverSlots > 0 ? [paint('yellow', `${name} is taking over ${count(takingOverSlots)} slots`)] : []),
    ...(possibleLossSlots > 0
      ? [paint('red', `${name} may lack acknowledged writes in ${count(possibleLossSlots)} slots`)]
      : []),
  ]);
}
