/**
 * A run of `henge verify`, from the first key written to the last one read: the writers, their pace, the watch over the
 * cluster, and the keys taken away again. Whoever runs it says when to stop, and may look at the findings meanwhile.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AckLevel, Henge } from '../../client/index.js';
import { ClusterCache } from './cache.js';
import type { Findings } from './findings.js';
import { Pace } from './pace.js';
import type { Allowable, RunFacts } from './verdict.js';
import { Stalls } from './waits.js';
import { Watch } from './watch.js';
import { Writer } from './writer.js';

export interface VerifyOptions {
  /** Of each call. */
  readonly deadline: number;
  /** Until `abort` when missing. */
  readonly duration?: number;
  readonly rate: number;
  readonly keys: number;
  readonly level: AckLevel;
  readonly writers: number;
  readonly slowMs: number;
  readonly allow: readonly Allowable[];
}

/** Is told what goes on. */
export interface Observer {
  begin(watch: Watch): void;
  /** What is being done, empty while keys are written and read at random. */
  show(phase: string): void;
}

export const PREFIX = 'henge-verify:';
/** A window of waits.ts. */
const WINDOW_MS = 1_000;
/** Every call has a deadline. When none ends for this much longer, one hangs. */
const SILENCE_MS_MAX = 10_000;
/** The longest that a timer can be set to: 24 days. */
const TIMER_MS_MAX = 0x7fff_ffff;

export interface Parts {
  /** Reads at `primary`. */
  readonly reader: Henge;
  /** Writes at the level of the options. */
  readonly writer: Henge;
  readonly options: VerifyOptions;
  readonly findings: Findings;
  readonly abort: AbortController;
  readonly observer?: Observer;
}

export async function runVerification(parts: Parts): Promise<RunFacts> {
  const { reader, writer, options, findings, abort, observer } = parts;
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
  const windows = setInterval(() => findings.waits.roll(watch.hasChanged()), WINDOW_MS);
  const pace = new Pace(options.rate, abort.signal);
  const finalPace = new Pace(options.rate, new AbortController().signal);
  const all = (work: (writer: Writer) => Promise<void>) =>
    unlessHung(Promise.all(writers.map(work)), findings, options.deadline + SILENCE_MS_MAX);
  try {
    observer?.begin(watch);
    observer?.show('writing all keys');
    let isAnswered = await all((each) => each.fill(() => pace.turn()));
    observer?.show('');
    const end = setTimeout(() => abort.abort(), Math.min(options.duration ?? TIMER_MS_MAX, TIMER_MS_MAX));
    isAnswered &&= await all((each) => each.run(() => pace.turn()));
    clearTimeout(end);
    observer?.show('reading all keys');
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
    observer?.show('cleaning up');
    await cleanUp(writer, prefix);
    await watch.stop();
  }
}

/** Keys by writer. */
function sharesOf(prefix: string, { keys, writers }: VerifyOptions): string[][] {
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
