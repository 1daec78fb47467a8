/**
 * `henge verify`: writes known keys and counters to a cluster, reads them back all the while, and says whether anything
 * was lost, stale, failed or slow; to be run beside whatever an operator does to the nodes.
 *
 * Every key has one writer, which knows what may be there (verify/key-history.ts judges, verify/writer.ts acts). The
 * keys have a prefix of their own and are deleted at the end. The load is modest on purpose: it shows what callers
 * meet, not what the cluster can take; that is `henge bench`.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Henge } from '../client/index.js';
import {
  type ClusterOptions,
  clusterOptions,
  examples,
  jsonOption,
  NOTHING,
  parseCount,
  parseDuration,
  print,
  printJson,
} from './command.js';
import { withCluster } from './session.js';
import { count, duration, latency, Panel, paintFor, screenOf } from './terminal.js';
import { drawResult } from './verify/draw.js';
import { FAULTS, Findings } from './verify/findings.js';
import { type Observer, runVerification, type VerifyOptions } from './verify/run.js';
import { ALLOWABLE, type Allowable, resultOf, verdictOf } from './verify/verdict.js';
import type { Watch } from './verify/watch.js';

interface Options extends ClusterOptions, VerifyOptions {
  readonly deadline: number;
  readonly json?: boolean;
}

const DRAW_EVERY_MS = 250;

export function addVerify(program: Command): void {
  const command = program
    .command('verify')
    .description('write known keys, read them back, and tell whether any was lost, stale, failed or slow')
    .addOption(
      new Option('-d, --duration <duration>', 'how long to go on')
        .default(undefined, 'until Ctrl-C')
        .argParser(parseDuration),
    )
    .addOption(new Option('--rate <per second>', 'calls a second, at most').default(1_000).argParser(parseCount))
    .addOption(
      new Option('-k, --keys <count>', 'number of keys; every fourth is a counter')
        .default(1_000)
        .argParser(parseCount),
    )
    .addOption(
      new Option('-l, --level <level>', 'acknowledgement that writes wait for')
        .choices(['one', 'quorum', 'all'])
        .default('one'),
    )
    .addOption(new Option('--writers <count>', 'calls under way at once').default(64).argParser(parseCount))
    .addOption(
      new Option('--slow-ms <ms>', 'an answer that takes longer than this is slow').default(250).argParser(parseCount),
    )
    .addOption(
      new Option('--allow <fault,...>', `faults to count and accept: ${ALLOWABLE.join(', ')}`)
        .default([], 'none')
        .argParser(parseAllowed),
    )
    .addOption(jsonOption());
  clusterOptions(command).action(verify);
  examples(command, [
    'henge verify                                  # until Ctrl-C, while nodes are added, drained, restarted',
    'henge verify --duration 2m --level quorum --deadline 5s --allow failed,slow   # while a node is killed',
    'henge verify --duration 30s --json | jq -e .verdict==\\"passed\\"',
  ]);
}

function parseAllowed(text: string): readonly Allowable[] {
  return text.split(',').map((word) => {
    const fault = ALLOWABLE.find((each) => each === word.trim());
    if (fault === undefined) throw new InvalidArgumentError(`Only ${ALLOWABLE.join(' and ')} can be allowed.`);
    return fault;
  });
}

async function verify(options: Options): Promise<void> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const findings = new Findings(options.slowMs);
  const observer = new LiveLine(findings, options);
  const run = (reader: Henge, writer: Henge) => runVerification({ reader, writer, options, findings, abort, observer });
  const facts = await withCluster(
    options,
    (reader) => withCluster(options, (writer) => run(reader, writer), { ack: options.level }),
    { read: 'primary' },
  ).finally(() => {
    observer.close();
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  });

  if (options.json) printJson(resultOf(findings, facts));
  else print(drawResult(findings, facts, paintFor(screenOf(process.stdout))).join('\n'));
  // What is printed says it all.
  if (verdictOf(findings, facts) !== 'passed') throw NOTHING;
}

/** One line on standard error that is redrawn; silent when that is not a terminal. */
class LiveLine implements Observer {
  readonly #panel = screenOf(process.stderr).isTerminal ? new Panel(process.stderr) : undefined;
  readonly #paint = paintFor(screenOf(process.stderr));
  readonly #timer = setInterval(() => this.#draw(), DRAW_EVERY_MS);
  readonly #begunAtMs = performance.now();
  #phase = '';
  #watch: Watch | undefined;

  constructor(
    private readonly findings: Findings,
    private readonly options: Options,
  ) {}

  begin(watch: Watch): void {
    this.#watch = watch;
  }

  show(phase: string): void {
    this.#phase = phase;
    this.#draw();
  }

  /** Leaves nothing behind: the result below it says it all. */
  close(): void {
    clearInterval(this.#timer);
    this.#panel?.draw([]);
    this.#panel?.close();
  }

  #draw(): void {
    const watch = this.#watch;
    if (this.#panel === undefined || watch === undefined) return;
    const { counts, operations, waits } = this.findings;
    const { p99Ms, longestMs } = waits.summary().all;
    const faults = FAULTS.map((fault) => {
      return this.#paint(counts[fault] === 0 ? 'green' : 'red', `${fault} ${count(counts[fault])}`);
    });
    const elapsedMs = performance.now() - this.#begunAtMs;
    const total = this.options.duration === undefined ? '' : ` of ${duration(this.options.duration)}`;
    const epoch = `epoch ${watch.epochLast}`;
    this.#panel.draw([
      [
        `${duration(elapsedMs)}${total}`,
        `${count(operations)} calls`,
        `p99 ${latency(p99Ms * 1000)}`,
        `longest ${latency(longestMs * 1000)}`,
        ...faults,
        watch.isChanging ? this.#paint('yellow', `${epoch}, changing`) : epoch,
        this.#phase,
      ].join('  '),
    ]);
  }
}
