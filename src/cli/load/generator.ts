/**
 * Puts load on something asynchronous and measures how long each operation takes, in one of two ways.
 *
 * Closed loop: N lanes, each starts its next operation when its last one ended. Shows what a system can do at most, and
 * hides its pauses: while it stalls, nobody asks (coordinated omission).
 * Open loop: operations are due at fixed intervals, whatever became of those before, and latency counts from the
 * moment an operation was *due*, not from when it was sent. Shows what callers feel at a given rate.
 *
 * The operation never throws: it says by its result how it ended. Time comes from `performance.now()`: this is a
 * measuring tool, not part of what is simulated.
 */
import { Latencies } from './latencies.js';

/** How one operation ended. A failure carries a short stable code. */
export type Outcome = 'hit' | 'miss' | 'written' | { readonly failure: string };

export interface Load {
  readonly operation: () => Promise<Outcome>;
  readonly durationMs: number;
  /** Closed loop: how many operations are always under way. Open loop: how many may be at most. */
  readonly inFlight: number;
  /** Operations a second; makes it an open loop. */
  readonly rate?: number;
  readonly signal?: AbortSignal;
  /** Called about four times a second. */
  readonly onProgress?: (tally: Tally, elapsedMs: number) => void;
}

/** Running sums of one run. */
export interface Tally {
  operations: number;
  hits: number;
  misses: number;
  writes: number;
  /** Failures by code. */
  readonly failures: Map<string, number>;
  /** Open loop: operations that were due before the end and never started, since `inFlight` others were under way. */
  unstarted: number;
  readonly latencies: Latencies;
  readonly readLatencies: Latencies;
  readonly writeLatencies: Latencies;
}

export interface Run {
  readonly tally: Tally;
  /** From the first start to the last end. */
  readonly elapsedMs: number;
}

const PROGRESS_INTERVAL_MS = 250;
/** A timer may fire this much late; nearer to an operation's time we let the event loop turn instead. */
const TIMER_SLACK_MS = 2;

export async function generate(load: Load): Promise<Run> {
  const tally: Tally = {
    operations: 0,
    hits: 0,
    misses: 0,
    writes: 0,
    failures: new Map(),
    unstarted: 0,
    latencies: new Latencies(),
    readLatencies: new Latencies(),
    writeLatencies: new Latencies(),
  };
  const begin = performance.now();
  const progress = setInterval(() => load.onProgress?.(tally, performance.now() - begin), PROGRESS_INTERVAL_MS);
  try {
    await (load.rate === undefined ? closedLoop(load, tally, begin) : openLoop(load, load.rate, tally, begin));
  } finally {
    clearInterval(progress);
  }
  return { tally, elapsedMs: performance.now() - begin };
}

async function closedLoop(load: Load, tally: Tally, begin: number): Promise<void> {
  const end = begin + load.durationMs;
  const lane = async () => {
    let now = performance.now();
    while (now < end && load.signal?.aborted !== true) {
      const outcome = await load.operation();
      const done = performance.now();
      record(tally, outcome, (done - now) * 1000);
      now = done;
    }
  };
  await Promise.all(Array.from({ length: load.inFlight }, lane));
}

async function openLoop(load: Load, rate: number, tally: Tally, begin: number): Promise<void> {
  const operations = Math.floor((rate * load.durationMs) / 1000);
  const end = begin + load.durationMs;
  const dueAt = (operation: number) => begin + (operation * 1000) / rate;
  let started = 0;
  let underWay = 0;
  const start = async (due: number) => {
    underWay++;
    const outcome = await load.operation();
    underWay--;
    record(tally, outcome, (performance.now() - due) * 1000);
  };

  for (let now = begin; started < operations && now < end && load.signal?.aborted !== true; now = performance.now()) {
    while (started < operations && dueAt(started) <= now && underWay < load.inFlight) void start(dueAt(started++));
    await turn(underWay < load.inFlight ? dueAt(started) - now : 0);
  }
  const dueUntilStop = Math.ceil(((Math.min(performance.now(), end) - begin) * rate) / 1000);
  tally.unstarted = Math.max(0, Math.min(operations, dueUntilStop) - started);
  while (underWay > 0) await turn(TIMER_SLACK_MS * 2);
}

/** Waits for about `ms`, never longer: by a timer as far as a timer can be trusted, then by turns of the event loop. */
function turn(ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (ms > TIMER_SLACK_MS) setTimeout(resolve, ms - TIMER_SLACK_MS);
    else setImmediate(resolve);
  });
}

function record(tally: Tally, outcome: Outcome, microseconds: number): void {
  tally.operations++;
  if (typeof outcome === 'object') {
    tally.failures.set(outcome.failure, (tally.failures.get(outcome.failure) ?? 0) + 1);
    return;
  }
  tally.latencies.record(microseconds);
  if (outcome === 'written') {
    tally.writes++;
    tally.writeLatencies.record(microseconds);
    return;
  }
  if (outcome === 'hit') tally.hits++;
  else tally.misses++;
  tally.readLatencies.record(microseconds);
}
