/**
 * An open loop through one client: so many requests a second, whatever becomes of them, for as long as it is told to.
 * Callers do not wait for a cluster that is in trouble, and so neither does this load: what is late counts as late.
 *
 * Reads and writes go to keys that a ledger keeps account of, some of them counters if that is asked for. What happens
 * is counted by *phases*: from one mark to the next. Of writes it is also known, for each group of keys, when the first
 * and the last of a phase was acknowledged, and how long there was none.
 */
import { Latencies } from '../../src/cli/load/latencies.js';
import type { AckLevel } from '../../src/index.js';
import { slotOf } from '../../src/ring/index.js';
import type { Callers } from './callers.js';
import { VALUE_BYTES } from './driver.js';
import { Ledger, type Verdict } from './ledger.js';

/** The load is issued in portions, one every so many milliseconds. */
const PORTION_MS = 2;
/** A caller that waits for no answer at all has a bug somewhere, here or there. */
const OPEN_MAX = 100_000;
const FILL_AT_ONCE = 512;
const ERRORS_MAX = 20;

export interface PacedOptions {
  readonly ratePerSecond: number;
  readonly writeShare: number;
  readonly ack: AckLevel;
  readonly keys: number;
  /** Time that a write may take; reads have the client's usual deadline. */
  readonly writeDeadlineMs: number;
  /** One key in COUNTER_EVERY is a counter, whose writes are increments. */
  readonly hasCounters?: boolean;
  /** Only keys of these slots: their bits, slot s is bit s & 7 of byte s >> 3, in base64. */
  readonly slots?: string;
  /** Tell with each phase which keys were written. */
  readonly tellsWrittenKeys?: boolean;
}

const COUNTER_EVERY = 8;

/** What happened between two marks. Times are milliseconds; those of groups begin at the first mark. */
export interface Phase {
  readonly seconds: number;
  readonly reads: number;
  readonly writes: number;
  /** Reads that found nothing. */
  readonly misses: number;
  readonly failedReads: number;
  readonly failedWrites: number;
  /** Reads that copies answered, since the leader did not. */
  readonly degraded: number;
  /** Reads that found nothing, or something older than what was acknowledged before they began. */
  readonly staleReads: number;
  readonly readMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly writeMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Reads and writes together. */
  readonly callMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly groups: readonly GroupWrites[];
  /** Errors met, with how often. */
  readonly errors: Readonly<Record<string, number>>;
  /** Requests that were due and not issued, for too many were open. */
  readonly notIssued: number;
  /** Keys of which a write was acknowledged, each once; none unless that was asked for. */
  readonly writtenKeys: readonly number[];
}

export interface GroupWrites {
  /** First and last acknowledged write of the phase; null where there was none. */
  readonly firstMs: number | null;
  readonly lastMs: number | null;
  /** The longest time with no acknowledged write. */
  readonly gapMs: number;
  /** The longest that an acknowledged write took. */
  readonly slowestMs: number;
}

export function keyName(key: number): string {
  return `paced:${key}`;
}

/** Names of the keys of a load. */
export function keyNames({ keys, slots }: PacedOptions): string[] {
  if (slots === undefined) return Array.from({ length: keys }, (_, key) => keyName(key));
  const bits = Buffer.from(slots, 'base64');
  const names: string[] = [];
  for (let number = 0; names.length < keys; number++) {
    const name = keyName(number);
    const slot = slotOf(Buffer.from(name));
    if ((((bits[slot >> 3] ?? 0) >> (slot & 7)) & 1) === 1) names.push(name);
  }
  return names;
}

export class PacedLoad {
  readonly #ledger: Ledger;
  readonly #client: Callers;
  readonly #options: PacedOptions;
  readonly #names: readonly string[];
  readonly #groups: readonly number[];
  readonly #groupCount: number;
  /** One write of a key at a time, so that the numbers under it only grow. */
  readonly #isWriting: Uint8Array;
  #recorder: Recorder;
  #open = 0;
  #isOver = false;
  #running: Promise<void> = Promise.resolve();

  /** @param groupOf which group a key is of, from 0 up */
  constructor(client: Callers, options: PacedOptions, groupOf: (name: string) => number) {
    this.#client = client;
    this.#options = options;
    this.#ledger = new Ledger(options.keys);
    this.#names = keyNames(options);
    this.#groups = this.#names.map(groupOf);
    this.#groupCount = this.#groups.reduce((most, group) => Math.max(most, group + 1), 0);
    this.#isWriting = new Uint8Array(options.keys);
    this.#recorder = this.#newRecorder();
    client.on('degraded', (count) => {
      this.#recorder.degraded += count;
    });
  }

  /** Writes every key once, in order to have something to read. */
  async fill(): Promise<void> {
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < this.#options.keys) await this.#write(next++);
    };
    await Promise.all(Array.from({ length: FILL_AT_ONCE }, lane));
    this.mark();
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Ends a phase, and begins the next one. A request counts where it ends. */
  mark(): Phase {
    const phase = this.#recorder.phase();
    this.#recorder = this.#newRecorder();
    return phase;
  }

  /** Resolves when every request has ended. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
    while (this.#open > 0) await pause(PORTION_MS);
  }

  /** What stands under each key at the end, against what was acknowledged. */
  judge(): Promise<Verdict> {
    return this.#ledger.judge(async (key) => {
      const found = await this.#client.get(this.#names[key] ?? '', {
        deadlineMs: this.#options.writeDeadlineMs,
      });
      return found === undefined ? undefined : Number(found);
    });
  }

  #newRecorder(): Recorder {
    return new Recorder(this.#groupCount, this.#options.tellsWrittenKeys === true);
  }

  async #run(): Promise<void> {
    const { ratePerSecond } = this.#options;
    const beganAtMs = performance.now();
    let issued = 0;
    while (!this.#isOver) {
      const due = Math.floor(((performance.now() - beganAtMs) / 1_000) * ratePerSecond);
      for (; issued < due && this.#open < OPEN_MAX; issued++) this.#issue();
      this.#recorder.notIssued += due - issued;
      issued = due;
      await pause(PORTION_MS);
    }
  }

  #issue(): void {
    const key = Math.floor(Math.random() * this.#options.keys);
    const isWrite = Math.random() < this.#options.writeShare && this.#isWriting[key] === 0;
    void (isWrite ? this.#write(key) : this.#read(key));
  }

  async #write(key: number): Promise<void> {
    const number = this.#ledger.begin(key);
    const begunAtMs = performance.now();
    this.#isWriting[key] = 1;
    this.#open++;
    const { ack, writeDeadlineMs, hasCounters } = this.#options;
    const name = this.#names[key] ?? '';
    const options = { ack, deadlineMs: writeDeadlineMs };
    try {
      if (hasCounters === true && key % COUNTER_EVERY === 0) {
        await this.#client.increment(name, 1, options);
        this.#ledger.counted(key);
      } else {
        await this.#client.set(name, `${number}`.padEnd(VALUE_BYTES), options);
        this.#ledger.acknowledged(key, number);
      }
      this.#recorder.wrote(key, this.#groups[key] ?? 0, performance.now() - begunAtMs);
    } catch (error) {
      this.#recorder.failedWrites++;
      this.#recorder.met('write', error);
    }
    this.#isWriting[key] = 0;
    this.#open--;
  }

  async #read(key: number): Promise<void> {
    const begunAtMs = performance.now();
    const oldest = this.#ledger.acknowledgedOf(key);
    this.#open++;
    try {
      const found = await this.#client.get(this.#names[key] ?? '');
      if (found === undefined) this.#recorder.misses++;
      this.#recorder.read(performance.now() - begunAtMs, Number(found ?? 0) < oldest);
    } catch (error) {
      this.#recorder.failedReads++;
      this.#recorder.met('read', error);
    }
    this.#open--;
  }
}

interface GroupTimes {
  firstMs: number;
  lastMs: number;
  gapMs: number;
  slowestMs: number;
}

class Recorder {
  misses = 0;
  degraded = 0;
  failedReads = 0;
  failedWrites = 0;
  notIssued = 0;
  #staleReads = 0;
  readonly #readTimes = new Latencies();
  readonly #writeTimes = new Latencies();
  readonly #errors = new Map<string, number>();
  readonly #writtenKeys = new Set<number>();
  readonly #groups: (GroupTimes | undefined)[];
  readonly #beganAtMs = performance.now();

  constructor(
    groups: number,
    private readonly tellsWrittenKeys: boolean,
  ) {
    this.#groups = Array.from({ length: groups }, () => undefined);
  }

  read(ms: number, isStale: boolean): void {
    this.#readTimes.record(ms * 1_000);
    if (isStale) this.#staleReads++;
  }

  wrote(key: number, index: number, ms: number): void {
    if (this.tellsWrittenKeys) this.#writtenKeys.add(key);
    this.#writeTimes.record(ms * 1_000);
    const nowMs = performance.now() - this.#beganAtMs;
    const group = this.#groups[index];
    if (group === undefined) {
      this.#groups[index] = { firstMs: nowMs, lastMs: nowMs, gapMs: nowMs, slowestMs: ms };
      return;
    }
    group.gapMs = Math.max(group.gapMs, nowMs - group.lastMs);
    group.slowestMs = Math.max(group.slowestMs, ms);
    group.lastMs = nowMs;
  }

  met(kind: string, error: unknown): void {
    const { code, name, message } = error as Error & { readonly code?: string };
    const text = `${kind}: ${code ?? name}: ${message}`;
    if (this.#errors.size < ERRORS_MAX || this.#errors.has(text))
      this.#errors.set(text, (this.#errors.get(text) ?? 0) + 1);
  }

  phase(): Phase {
    const endMs = performance.now() - this.#beganAtMs;
    const all = new Latencies();
    for (const times of [this.#readTimes, this.#writeTimes]) all.add(times);
    const summary = (times: Latencies) => {
      const { p50, p99, max } = times.summary();
      return { p50: p50 / 1_000, p99: p99 / 1_000, max: max / 1_000 };
    };
    return {
      seconds: endMs / 1_000,
      reads: this.#readTimes.count,
      writes: this.#writeTimes.count,
      misses: this.misses,
      degraded: this.degraded,
      failedReads: this.failedReads,
      failedWrites: this.failedWrites,
      staleReads: this.#staleReads,
      readMs: summary(this.#readTimes),
      writeMs: summary(this.#writeTimes),
      callMs: summary(all),
      groups: this.#groups.map((group) =>
        group === undefined
          ? { firstMs: null, lastMs: null, gapMs: endMs, slowestMs: 0 }
          : { ...group, gapMs: Math.max(group.gapMs, endMs - group.lastMs) },
      ),
      errors: Object.fromEntries(this.#errors),
      notIssued: this.notIssued,
      writtenKeys: [...this.#writtenKeys],
    };
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
