/**
 * `henge top`: what every node is doing, redrawn every second until q or Ctrl-C. Rates are differences of the nodes'
 * own counters, so they count every client of the cluster. Where the output is not a terminal, it prints plain lines.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Henge } from '../client/index.js';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  jsonOption,
  parseCount,
  parseDuration,
  print,
  printJson,
} from './command.js';
import { type ClusterReport, type NodeReport, readCluster } from './report.js';
import { withCluster } from './session.js';
import {
  bar,
  bytes,
  count,
  nodeColour,
  type Paint,
  Panel,
  padEnd,
  paintFor,
  percent,
  screenOf,
  sparkline,
  table,
} from './terminal.js';

interface Options extends ClusterOptions {
  readonly interval: number;
  readonly count?: number;
  readonly json?: boolean;
}

/** Shorter than this the reports themselves would be a load. */
const INTERVAL_MS_MIN = 100;
/** Rates kept for each node's sparkline. */
const HISTORY_MAX = 24;
const MEMORY_BAR_COLUMNS = 10;

export function addTop(program: Command): void {
  const command = program
    .command('top')
    .description('watch the nodes: operations a second, hit ratio, memory; q quits')
    .addOption(
      new Option('-i, --interval <duration>', 'time between two looks').default(1_000, '1s').argParser(parseInterval),
    )
    .addOption(new Option('-n, --count <count>', 'stop after so many looks').argParser(parseCount))
    .addOption(new Option(jsonOption().flags, 'print a JSON object a line, one for each look'));
  clusterOptions(command).action(top);
  examples(command, ['henge top', 'henge top --interval 5s', 'henge top --json --count 60 > minute.ndjson']);
}

function parseInterval(text: string): number {
  const ms = parseDuration(text);
  if (ms < INTERVAL_MS_MIN) throw new InvalidArgumentError(`Give ${INTERVAL_MS_MIN}ms or more.`);
  return ms;
}

async function top(options: Options): Promise<void> {
  const abort = new AbortController();
  const screen = screenOf(process.stdout);
  const isLive = screen.isTerminal && options.json !== true;
  const panel = isLive ? new Panel(process.stdout, { alternateScreen: true }) : undefined;
  const releaseKeys = listenForQuit(() => abort.abort(), isLive);
  try {
    await withCluster(options, (cluster) =>
      watch(cluster, options, abort.signal, (look) => {
        if (options.json) printJson(look.report);
        else if (panel === undefined) print(draw(look, (_colour, text) => text).join('\n'));
        else panel.draw([...draw(look, paintFor(screen)), '', paintFor(screen)('dim', 'q quits')]);
      }),
    );
  } finally {
    panel?.close();
    releaseKeys();
  }
}

/** What is drawn: the newest report, and each node's operations a second so far, oldest first. */
interface Look {
  readonly report: ClusterReport;
  readonly rates: ReadonlyMap<string, readonly number[]>;
  readonly hitRatios: ReadonlyMap<string, string>;
}

async function watch(cluster: Henge, options: Options, signal: AbortSignal, show: (look: Look) => void): Promise<void> {
  const rates = new Map<string, number[]>();
  let before = new Map<string, NodeReport>();
  let takenAt = performance.now();
  for (let looks = 0; looks < (options.count ?? Number.POSITIVE_INFINITY) && !signal.aborted; looks++) {
    // An abort ends the pause by a rejection, and the loop by the line below it.
    if (looks > 0) await sleep(options.interval, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const report = await readCluster(cluster);
    const now = performance.now();
    const hitRatios = new Map<string, string>();
    for (const node of report.nodes) {
      const earlier = before.get(node.name);
      const rate = earlier === undefined ? 0 : ((node.operations - earlier.operations) * 1000) / (now - takenAt);
      const history = rates.get(node.name) ?? [];
      rates.set(node.name, [...history, Math.max(0, rate)].slice(-HISTORY_MAX));
      const hits = node.hits - (earlier?.hits ?? 0);
      const misses = node.misses - (earlier?.misses ?? 0);
      hitRatios.set(node.name, percent(hits, hits + misses));
    }
    before = new Map(report.nodes.map((node) => [node.name, node]));
    takenAt = now;
    show({ report, rates, hitRatios });
  }
}

const COLUMNS = [
  { title: 'node' },
  { title: 'ops/s', align: 'right' },
  { title: '' },
  { title: 'hits', align: 'right' },
  { title: 'items', align: 'right' },
  { title: 'memory' },
  { title: 'evicted', align: 'right' },
] as const;

function draw({ report, rates, hitRatios }: Look, paint: Paint): string[] {
  const latest = (node: NodeReport) => rates.get(node.name)?.at(-1) ?? 0;
  const total = report.nodes.reduce((sum, node) => sum + latest(node), 0);
  const most = Math.max(...[...rates.values()].flat(), 1);
  const rows = report.nodes.map((node, index) => {
    const colour = nodeColour(index);
    const name = paint(colour, node.name);
    if (!node.isAnswering) return [name, paint('red', 'no answer')];
    const filled = node.memoryLimit > 0 ? node.memoryUsed / node.memoryLimit : 0;
    const memoryBar = bar(filled, MEMORY_BAR_COLUMNS, (text) => paint(colour, text));
    return [
      name,
      count(latest(node)),
      paint(colour, padEnd(sparkline(rates.get(node.name) ?? [], HISTORY_MAX, most), HISTORY_MAX)),
      hitRatios.get(node.name) ?? '–',
      count(node.items),
      `${memoryBar} ${bytes(node.memoryUsed)} of ${bytes(node.memoryLimit)}`,
      count(node.evictions),
    ];
  });
  const time = new Date().toTimeString().slice(0, 8);
  const size = `${report.nodes.length} ${report.nodes.length === 1 ? 'node' : 'nodes'}`;
  const traffic = `${paint('bold', count(total))} operations a second`;
  return [
    `${paint('bold', 'henge')}  epoch ${report.epoch}, ${size}, ${traffic}  ${paint('dim', time)}`,
    '',
    ...table(COLUMNS, rows, paint),
  ];
}

/** Calls `quit` at q, Ctrl-C or SIGINT; returns what undoes it. */
function listenForQuit(quit: () => void, takesKeys: boolean): () => void {
  process.on('SIGINT', quit);
  process.on('SIGTERM', quit);
  const input = process.stdin;
  const hasKeys = takesKeys && input.isTTY;
  const onKeys = (keys: Buffer) => {
    if (keys.includes('q') || keys.includes(3)) quit();
  };
  if (hasKeys) {
    input.setRawMode(true);
    input.on('data', onKeys);
  }
  return () => {
    process.off('SIGINT', quit);
    process.off('SIGTERM', quit);
    if (!hasKeys) return;
    input.off('data', onKeys);
    input.setRawMode(false);
    input.pause();
  };
}
