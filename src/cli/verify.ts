/**
 * `henge verify`: writes known keys and counters to a cluster, reads them back all the while, and says whether anything
 * was lost, stale, failed or slow; to be run beside whatever an operator does to the nodes.
 *
 * Every key has one writer, which knows what may be there (verify/key-history.ts judges, verify/writer.ts acts). The
 * keys have a prefix of their own and are deleted at the end. The load is modest on purpose: it shows what callers
 * meet, not what the cluster can take; that is `henge bench`.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { AckLevel, Henge } from '../client/index.js';
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
import { ClusterCache } from './verify/cache.js';
import { drawResult } from './verify/draw.js';
import { FAULTS, Findings } from './verify/findings.js';
import { Pace } from './verify/pace.js';
import { ALLOWABLE, type Allowable, type RunFacts, resultOf, verdictOf } from './verify/verdict.js';
import { Stalls } from './verify/waits.js';
import { Watch } from './verify/watch.js';
import { Writer } from './verify/writer.js';

interface Options extends ClusterOptions {
  readonly duration?: number;
  readonly rate: number;
  readonly keys: number;
  readonly level: AckLevel;
  readonly writers: number;
  readonly slowMs: number;
  readonly allow: readonly Allowable[];
  readonly json?: boolean;
}

const PREFIX = 'henge-verify:';
const DRAW_EVERY_MS = 250;
/** A window of verify/waits.ts. */
const WINDOW_MS = 1_000;
/** Every call has a deadline. When none ends for this much longer, one hangs. */
const SILENCE_MS_MAX = 10_000;
/** The longest that a timer can be set to: 24 days. */
const TIMER_MS_MAX = 0x7fff_ffff;

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
  const facts = await withCluster(
    options,
    (reader) =>
      withCluster(options, (writer) => run({ reader, writer, options, findings, abort }), { ack: options.level }),
    { read: 'primary' },
  ).finally(() => {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  });

  if (options.json) printJson(resultOf(findings, facts));
  else print(drawResult(findings, facts, paintFor(screenOf(process.stdout))).join('\n'));
  // What is printed says it all.
  if (verdictOf(findings, facts) !== 'passed') throw NOTHING;
}

interface Parts {
  readonly reader: Henge;
  readonly writer: Henge;
  readonly options: Options;
  readonly findings: Findings;
  readonly abort: AbortController;
}

async function run({ reader, writer, options, findings, abort }: Parts): Promise<RunFacts> {
  const prefix = `${PREFIX}${randomBytes(4).toString('hex')}:`;
  const watch = await Watch.start(reader, writer);
  using stalls = new Stalls();
  const begunAtMs = performance.now();
  const world = {
    now: () => performance.now() - begunAtMs,
    stalledMs: () => stalls.totalMs,
    sleep: (ms: number) => sleep(ms),
    random: Math.random,
    hasEvicted: () => watch.hasEvicted(),
    // A node drops what has waited for its deadline, by its own clock, which starts when the request arrives.
    restMs: 2 * options.deadline,
  };
  const cache = new ClusterCache(reader, writer);
  const writers = sharesOf(prefix, options).map((keys) => new Writer(keys, cache, findings, world));
  const line = new LiveLine(findings, watch, options);
  const windows = setInterval(() => findings.waits.roll(watch.hasChanged()), WINDOW_MS);
  const pace = new Pace(options.rate, abort.signal);
  const finalPace = new Pace(options.rate, new AbortController().signal);
  const all = (work: (writer: Writer) => Promise<void>) =>
    unlessHung(Promise.all(writers.map(work)), findings, options.deadline + SILENCE_MS_MAX);
  try {
    line.show('writing all keys');
    let isAnswered = await all((each) => each.fill(() => pace.turn()));
    line.show('');
    const end = setTimeout(() => abort.abort(), Math.min(options.duration ?? TIMER_MS_MAX, TIMER_MS_MAX));
    isAnswered &&= await all((each) => each.run(() => pace.turn()));
    clearTimeout(end);
    line.show('reading all keys');
    isAnswered &&= await all((each) => each.check(() => finalPace.turn()));
    if (!isAnswered) findings.unread = options.keys;
    findings.waits.roll(watch.hasChanged());
    return {
      keys: options.keys,
      level: options.level,
      rate: options.rate,
      slowMs: options.slowMs,
      allowed: options.allow,
      elapsedMs: world.now(),
      epochs: [watch.epochFirst, watch.epochLast],
      stalledMs: stalls.longestMs,
    };
  } finally {
    clearInterval(windows);
    line.show('cleaning up');
    await cleanUp(writer, prefix);
    await watch.stop();
    line.close();
  }
}

/** Keys by writer. */
function sharesOf(prefix: string, { keys, writers }: Options): string[][] {
  const shares = Array.from({ length: Math.min(keys, writers) }, (): string[] => []);
  for (let index = 0; index < keys; index++) shares[index % shares.length]?.push(`${prefix}${index}`);
  return shares;
}

/** False when no call ended for so long that one must hang: that counts as one more failure. */
async function unlessHung(work: Promise<unknown>, findings: Findings, patienceMs: number): Promise<boolean> {
  let operations = findings.operations;
  let endedAtMs = performance.now();
  let watchdog: NodeJS.Timeout | undefined;
  const hang = new Promise<false>((resolve) => {
    watchdog = setInterval(() => {
      if (findings.operations !== operations) endedAtMs = performance.now();
      operations = findings.operations;
      if (performance.now() - endedAtMs > patienceMs) resolve(false);
    }, WINDOW_MS);
  });
  try {
    const isAnswered = await Promise.race([work.then(() => true), hang]);
    if (!isAnswered) findings.failed('HUNG');
    return isAnswered;
  } finally {
    clearInterval(watchdog);
  }
}

/** What cannot be deleted is told, and no part of the verdict: the cluster may be half gone. */
async function cleanUp(cluster: Henge, prefix: string): Promise<void> {
  try {
    await cluster.namespace(prefix.slice(0, -1)).clear();
  } catch (error) {
    process.stderr.write(`henge: keys ${prefix}* may be left (henge scan ${PREFIX}): ${(error as Error).message}\n`);
  }
}

/** One line on standard error that is redrawn; silent when that is not a terminal. */
class LiveLine {
  readonly #panel = screenOf(process.stderr).isTerminal ? new Panel(process.stderr) : undefined;
  readonly #paint = paintFor(screenOf(process.stderr));
  readonly #timer = setInterval(() => this.#draw(), DRAW_EVERY_MS);
  readonly #begunAtMs = performance.now();
  #phase = '';

  constructor(
    private readonly findings: Findings,
    private readonly watch: Watch,
    private readonly options: Options,
  ) {}

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
    if (this.#panel === undefined) return;
    const { counts, operations, waits } = this.findings;
    const { p99Ms, longestMs } = waits.summary().all;
    const faults = FAULTS.map((fault) => {
      return this.#paint(counts[fault] === 0 ? 'green' : 'red', `${fault} ${count(counts[fault])}`);
    });
    const elapsedMs = performance.now() - this.#begunAtMs;
    const total = this.options.duration === undefined ? '' : ` of ${duration(this.options.duration)}`;
    const epoch = `epoch ${this.watch.epochLast}`;
    this.#panel.draw([
      [
        `${duration(elapsedMs)}${total}`,
        `${count(operations)} calls`,
        `p99 ${latency(p99Ms * 1000)}`,
        `longest ${latency(longestMs * 1000)}`,
        ...faults,
        this.watch.isChanging ? this.#paint('yellow', `${epoch}, changing`) : epoch,
        this.#phase,
      ].join('  '),
    ]);
  }
}
