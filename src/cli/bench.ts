/**
 * `henge bench`: puts load on a cluster and prints what it took.
 *
 * Closed loop by default: what the cluster can do at most, for one client process. With --rate an open loop: what
 * callers feel at that rate, pauses included (load/generator.ts explains both). It measures through the client that
 * apps use, so the client's own cost is part of every figure; comparisons with other caches are the business of `npm
 * run bench`.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Henge } from '../client/index.js';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  Failure,
  jsonOption,
  parseBytes,
  parseCount,
  parseDuration,
  parseNumber,
  print,
  printJson,
} from './command.js';
import { generate, type Run, type Tally } from './load/generator.js';
import type { LatencySummary } from './load/latencies.js';
import { Workload } from './load/workload.js';
import { withCluster } from './session.js';
import { bytes, count, duration, latency, type Paint, Panel, paintFor, percent, screenOf, table } from './terminal.js';

interface Options extends ClusterOptions {
  readonly duration: number;
  readonly warmup: number;
  readonly inFlight?: number;
  readonly rate?: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly readRatio: number;
  readonly skew: number;
  readonly seed: number;
  readonly fill: boolean;
  readonly keep?: boolean;
  readonly json?: boolean;
}

const IN_FLIGHT_CLOSED = 64;
/** An open loop must be able to fall behind, or it would be a closed one; this bounds what it holds in memory. */
const IN_FLIGHT_OPEN = 10_000;

export function addBench(program: Command): void {
  const command = program
    .command('bench')
    .description('put load on the cluster and print rates and latencies')
    .addOption(
      new Option('-d, --duration <duration>', 'how long to measure').default(10_000, '10s').argParser(parseDuration),
    )
    .addOption(new Option('--warmup <duration>', 'load before measuring').default(1_000, '1s').argParser(parseDuration))
    .addOption(
      new Option('--in-flight <count>', 'closed loop: operations always under way; open loop: at most under way')
        .default(undefined, `${IN_FLIGHT_CLOSED}, or ${count(IN_FLIGHT_OPEN)} with --rate`)
        .argParser(parseCount),
    )
    .addOption(
      new Option(
        '--rate <per second>',
        'open loop: start so many operations a second, and count from when each was due',
      ).argParser(parseCount),
    )
    .addOption(new Option('-k, --keys <count>', 'number of different keys').default(100_000).argParser(parseCount))
    .addOption(new Option('--value-bytes <size>', 'size of each value').default(100).argParser(parseBytes))
    .addOption(
      new Option('--read-ratio <0..1>', 'part of the operations that reads').default(0.9).argParser(parseRatio),
    )
    .addOption(
      new Option('--skew <exponent>', "exponent of Zipf's law for drawing keys; 0: all alike")
        .default(0)
        .argParser(parseSkew),
    )
    .addOption(new Option('--seed <number>', 'seed of all that is drawn').default(1).argParser(parseNumber))
    .addOption(new Option('--no-fill', 'do not write every key before measuring'))
    .addOption(new Option('--keep', 'leave the keys in place afterwards'))
    .addOption(jsonOption());
  clusterOptions(command).action(bench);
  examples(command, [
    'henge bench                                         # as fast as it goes, 64 in flight, 90 % reads',
    'henge bench --rate 20000 --duration 30s             # latencies at 20,000 operations a second',
    'henge bench --skew 1 --keys 1_000_000 --value-bytes 1k --json > result.json',
  ]);
}

function parseRatio(text: string): number {
  const ratio = parseNumber(text);
  if (ratio < 0 || ratio > 1) throw new InvalidArgumentError('Give a number from 0 to 1.');
  return ratio;
}

function parseSkew(text: string): number {
  const exponent = parseNumber(text);
  if (exponent < 0 || exponent > 10) throw new InvalidArgumentError('Give a number from 0 to 10.');
  return exponent;
}

async function bench(options: Options): Promise<void> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  process.once('SIGINT', stop);
  const run = await withCluster(options, (cluster) => measure(cluster, options, abort.signal)).finally(() =>
    process.off('SIGINT', stop),
  );

  if (options.json) printJson(result(run, options));
  else print(draw(run, options, paintFor(screenOf(process.stdout))).join('\n'));
  const failed = failures(run.tally);
  if (failed > 0) throw new Failure(`${count(failed)} of ${count(run.tally.operations)} operations failed.`);
}

async function measure(cluster: Henge, options: Options, signal: AbortSignal): Promise<Run> {
  const workload = new Workload(cluster, options);
  const progress = new ProgressLine();
  const load = {
    operation: workload.operation,
    inFlight: options.inFlight ?? (options.rate === undefined ? IN_FLIGHT_CLOSED : IN_FLIGHT_OPEN),
    ...(options.rate === undefined ? {} : { rate: options.rate }),
    signal,
  };
  try {
    if (options.fill) await workload.fill((written) => progress.fill(written, options.keys));
    await generate({ ...load, durationMs: options.warmup, onProgress: () => progress.show('warming up') });
    return await generate({
      ...load,
      durationMs: options.duration,
      onProgress: (tally, elapsedMs) => progress.run(tally, elapsedMs, options.duration),
    });
  } finally {
    progress.show('cleaning up');
    if (!options.keep) await workload.clear();
    progress.close();
  }
}

/** One line on standard error that is redrawn; silent when that is not a terminal. */
class ProgressLine {
  private readonly panel: Panel | undefined;
  private operationsBefore = 0;
  private elapsedBefore = 0;
  private drawnAt = 0;

  constructor() {
    this.panel = screenOf(process.stderr).isTerminal ? new Panel(process.stderr) : undefined;
  }

  show(text: string): void {
    this.panel?.draw([text]);
  }

  fill(written: number, keys: number): void {
    const now = performance.now();
    if (this.panel === undefined || now - this.drawnAt < 100) return;
    this.drawnAt = now;
    this.show(`writing ${count(keys)} keys: ${percent(written, keys)}`);
  }

  run(tally: Tally, elapsedMs: number, durationMs: number): void {
    const rate = ((tally.operations - this.operationsBefore) * 1000) / Math.max(1, elapsedMs - this.elapsedBefore);
    this.operationsBefore = tally.operations;
    this.elapsedBefore = elapsedMs;
    const { p50, p99 } = tally.latencies.summary();
    const failed = failures(tally);
    this.show(
      `${duration(elapsedMs)} of ${duration(durationMs)}  ${count(rate)}/s  p50 ${latency(p50)}  p99 ${latency(p99)}` +
        (failed > 0 ? `  ${count(failed)} failed` : ''),
    );
  }

  /** Leaves nothing behind: the result below it says it all. */
  close(): void {
    this.panel?.draw([]);
    this.panel?.close();
  }
}

function failures(tally: Tally): number {
  return [...tally.failures.values()].reduce((sum, times) => sum + times, 0);
}

function result(run: Run, options: Options) {
  const { tally, elapsedMs } = run;
  const inMs = ({ p50, p90, p99, p999, max, mean }: LatencySummary) => ({
    p50: p50 / 1e3,
    p90: p90 / 1e3,
    p99: p99 / 1e3,
    p999: p999 / 1e3,
    max: max / 1e3,
    mean: mean / 1e3,
  });
  return {
    mode: options.rate === undefined ? 'closed' : 'open',
    seconds: elapsedMs / 1000,
    operations: tally.operations,
    perSecond: Math.round((tally.operations * 1000) / elapsedMs),
    hits: tally.hits,
    misses: tally.misses,
    writes: tally.writes,
    failures: Object.fromEntries(tally.failures),
    unstarted: tally.unstarted,
    latencyMs: {
      all: inMs(tally.latencies.summary()),
      reads: inMs(tally.readLatencies.summary()),
      writes: inMs(tally.writeLatencies.summary()),
    },
    options: {
      durationMs: options.duration,
      inFlight: options.inFlight ?? null,
      rate: options.rate ?? null,
      keys: options.keys,
      valueBytes: options.valueBytes,
      readRatio: options.readRatio,
      skew: options.skew,
      seed: options.seed,
    },
  };
}

const LATENCY_COLUMNS = [
  { title: '' },
  { title: 'operations', align: 'right' },
  { title: 'per second', align: 'right' },
  { title: 'p50', align: 'right' },
  { title: 'p90', align: 'right' },
  { title: 'p99', align: 'right' },
  { title: 'p99.9', align: 'right' },
  { title: 'max', align: 'right' },
] as const;

function draw(run: Run, options: Options, paint: Paint): string[] {
  const { tally, elapsedMs } = run;
  const row = (title: string, operations: number, summary: LatencySummary) => [
    title,
    count(operations),
    count((operations * 1000) / elapsedMs),
    ...[summary.p50, summary.p90, summary.p99, summary.p999, summary.max].map(latency),
  ];
  const loop = options.rate === undefined ? 'closed loop' : `open loop at ${count(options.rate)}/s`;
  const failed = [...tally.failures].map(([code, times]) => `${count(times)} ${code}`).join(', ');
  const reads = percent(options.readRatio, 1);
  const load = `${count(options.keys)} keys, values of ${bytes(options.valueBytes)}, ${reads} reads`;
  const hitRatio = percent(tally.hits, tally.hits + tally.misses);
  return [
    `${loop}, ${load}, ${duration(elapsedMs)}`,
    '',
    ...table(
      LATENCY_COLUMNS,
      [
        row('reads', tally.readLatencies.count, tally.readLatencies.summary()),
        row('writes', tally.writeLatencies.count, tally.writeLatencies.summary()),
        row('all', tally.latencies.count, tally.latencies.summary()),
      ],
      paint,
    ),
    '',
    `hit ratio ${hitRatio}, failures ${failed === '' ? paint('green', '0') : paint('red', failed)}` +
      (tally.unstarted > 0
        ? `, ${paint('red', `${count(tally.unstarted)} due but never started`)}: the rate is too high`
        : ''),
  ];
}
