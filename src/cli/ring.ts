/** `henge ring`: the share of the slots that each node leads, as bars, and the ring itself, drawn as a strip. */
import type { Command } from 'commander';
import { type ClusterOptions, clusterOptions, examples, jsonOption, print, printJson } from './command.js';
import { type RingReport, readRing } from './report.js';
import { withCluster } from './session.js';
import {
  bar,
  count,
  nodeColour,
  type Paint,
  padEnd,
  padStart,
  paintFor,
  percent,
  type Screen,
  screenOf,
} from './terminal.js';

interface Options extends ClusterOptions {
  readonly json?: boolean;
}

export function addRing(program: Command): void {
  const command = program
    .command('ring')
    .description('draw the share of the slots that each node leads')
    .addOption(jsonOption());
  clusterOptions(command).action(ring);
  examples(command, [
    'henge ring',
    'henge ring --json   # { "epoch", "slots", "nodes": [{ "name", "slots", "share", "target" }] }',
  ]);
}

async function ring(options: Options): Promise<void> {
  const report = await withCluster(options, readRing);
  if (options.json) {
    const { epoch, slots, rf, nodes } = report;
    printJson({ epoch, slots, rf, nodes });
    return;
  }
  const screen = screenOf(process.stdout);
  print(drawRing(report, screen, paintFor(screen)).join('\n'));
}

const BAR_COLUMNS_MAX = 48;
const STRIP_COLUMNS_MAX = 64;
/** Columns that a bar's line needs beside the name and the bar. */
const FIGURES_COLUMNS = 34;
/** Marks of nodes in the strip, so that it can be read without colours too. */
const MARKS = ['█', '▓', '▒', '░'];

export function drawRing(report: RingReport, screen: Screen, paint: Paint): string[] {
  const { nodes } = report;
  const nameColumns = Math.max(4, ...nodes.map((node) => node.name.length));
  const barColumns = Math.max(10, Math.min(BAR_COLUMNS_MAX, screen.columns - nameColumns - FIGURES_COLUMNS));
  const full = Math.max(...nodes.map((node) => node.share), Number.MIN_VALUE);
  const bars = nodes.map((node, index) => {
    const colour = nodeColour(index);
    return [
      padEnd(paint(colour, node.name), nameColumns),
      bar(node.share / full, barColumns, (text) => paint(colour, text)),
      padStart(count(node.slots), 6),
      padStart(percent(node.share, 1), 7),
      paint('dim', `target ${percent(node.target, 1)}`),
    ].join('  ');
  });
  const peak = Math.max(...nodes.map((node) => (node.target > 0 ? node.share / node.target : 1)));
  const copies = report.rf === 1 ? 'one copy' : `${report.rf} copies`;
  return [
    `epoch ${report.epoch}, ${count(report.slots)} slots, ${copies}, most loaded node ${peak.toFixed(3)} × its share`,
    '',
    ...bars,
    '',
    ...strip(report, Math.min(STRIP_COLUMNS_MAX, screen.columns), paint),
  ];
}

/** The ring, cut open at slot 0: each column stands for a run of slots and shows the node that leads most of them. */
function strip(report: RingReport, columns: number, paint: Paint): string[] {
  const cells = Array.from({ length: columns }, (_, column) => {
    const first = Math.floor((column * report.slots) / columns);
    const last = Math.floor(((column + 1) * report.slots) / columns);
    const node = mostFrequent(report.primaries.subarray(first, last), report.nodes.length);
    return paint(nodeColour(node), MARKS[node % MARKS.length] ?? '█');
  });
  const end = String(report.slots - 1);
  return [cells.join(''), paint('dim', `0${padStart(end, columns - 1)}`)];
}

function mostFrequent(indexes: Uint16Array, kinds: number): number {
  const frequency = new Uint32Array(kinds);
  for (const index of indexes) if (index < kinds) frequency[index] = (frequency[index] ?? 0) + 1;
  return frequency.indexOf(Math.max(...frequency));
}
