/**
 * An open loop through one client: so many requests a second, whatever becomes of them, for as long as it is told to.
 * Callers do not wait for a cluster that is in trouble, and so neither does this load: what is late counts as late.
 *
 * Reads and writes go to keys that a ledger keeps account of. For writes it is also known how long each group of keys
 * (those that one node led when the load began) went without an acknowledged write.
 */
import type { AckLevel, Henge } from '../../src/index.js';
import { Ledger } from './ledger.js';

/** The load is issued in portions, one every so many milliseconds. */
const PORTION_MS = 2;
/** A caller that waits for no answer at all has a bug somewhere, here or there. */
const OPEN_MAX = 100_000;
const VALUE_BYTES = 100;

export interface PacedOptions {
  readonly ratePerSecond: number;
  readonly writeShare: number;
  readonly ack: AckLevel;
  readonly keys: number;
  readonly prefix: string;
  /** Which group a key is of, from 0 up; one group when missing. */
  readonly groupOf?: (key: string) => number;
}

export interface PacedCounts {
  reads: number;
  writes: number;
  failedReads: number;
  failedWrites: number;
  staleReads: number;
}

export class PacedLoad {
  readonly ledger: Ledger;
  readonly counts: PacedCounts = { reads: 0, writes: 0, failedReads: 0, failedWrites: 0, staleReads: 0 };
  readonly readLatenciesMs: number[] = [];
  readonly writeLatenciesMs: number[] = [];
  /** First words of the errors met, with how often. */
  readonly errors = new Map<string, number>();
  readonly #client: Henge;
  readonly #options: PacedOptions;
  readonly #names: readonly string[];
  readonly #groups: Uint8Array;
  readonly #lastWriteAtMs: number[] = [];
  readonly #longestGapMs: number[] = [];
  /** One write of a key at a time, so that the numbers under it only grow. */
  readonly #isWriting: Uint8Array;
  #open = 0;
  #isOver = false;
  #running: Promise<void> = Promise.resolve();

  constructor(client: Henge, options: PacedOptions) {
    this.#client = client;
    this.#options = options;
    this.ledger = new Ledger(options.keys);
    this.#names = Array.from({ length: options.keys }, (_, key) => `${options.prefix}:${key}`);
    this.#groups = Uint8Array.from(this.#names, (name) => options.groupOf?.(name) ?? 0);
    this.#isWriting = new Uint8Array(options.keys);
  }

  /** Writes every key once, in order to have something to read. */
  async fill(): Promise<void> {
    const all = this.#names.map((_, key) => key);
    for (let from = 0; from < all.length; from += 512) {
      await Promise.all(all.slice(from, from + 512).map((key) => this.#write(key)));
    }
    this.counts.writes = 0;
    this.writeLatenciesMs.length = 0;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
    while (this.#open > 0) await pause(5);
  }

  /** The longest time, so far, between two acknowledged writes of a group, the time since the last one included. */
  longestGapMs(group: number): number {
    const openGapMs = performance.now() - (this.#lastWriteAtMs[group] ?? performance.now());
    return Math.max(this.#longestGapMs[group] ?? 0, openGapMs);
  }

  forgetGaps(): void {
    this.#longestGapMs.fill(0);
  }

  async #run(): Promise<void> {
    const { ratePerSecond } = this.#options;
    const beganAtMs = performance.now();
    let issued = 0;
    while (!this.#isOver) {
      const due = Math.floor(((performance.now() - beganAtMs) / 1_000) * ratePerSecond);
      for (; issued < due && this.#open < OPEN_MAX; issued++) this.#issue();
      await pause(PORTION_MS);
    }
  }

  #issue(): void {
    const key = Math.floor(Math.random() * this.#options.keys);
    const isWrite = Math.random() < this.#options.writeShare && this.#isWriting[key] === 0;
    void (isWrite ? this.#write(key) : this.#read(key));
  }

  async #write(key: number): Promise<void> {
    const number = this.ledger.begin(key);
    const name = this.#names[key] as string;
    const begunAtMs = performance.now();
    this.#isWriting[key] = 1;
    this.#open++;
    this.counts.writes++;
    try {
      await this.#client.set(name, `${number}`.padEnd(VALUE_BYTES), { ack: this.#options.ack });
      this.ledger.acknowledged(key, number);
      this.writeLatenciesMs.push(performance.now() - begunAtMs);
      this.#noteWrite(this.#groups[key] as number);
    } catch (error) {
      this.counts.failedWrites++;
      this.#noteError(error);
    }
    this.#isWriting[key] = 0;
    this.#open--;
  }

  async #read(key: number): Promise<void> {
    const begunAtMs = performance.now();
    const oldest = this.ledger.acknowledgedOf(key);
    this.#open++;
    this.counts.reads++;
    try {
      const found = await this.#client.get<string>(this.#names[key] as string);
      this.readLatenciesMs.push(performance.now() - begunAtMs);
      if (Number(found ?? 0) < oldest) this.counts.staleReads++;
    } catch (error) {
      this.counts.failedReads++;
      this.#noteError(error);
    }
    this.#open--;
  }

  #noteWrite(group: number): void {
    const nowMs = performance.now();
    const gapMs = nowMs - (this.#lastWriteAtMs[group] ?? nowMs);
    this.#lastWriteAtMs[group] = nowMs;
    if (gapMs > (this.#longestGapMs[group] ?? 0)) this.#longestGapMs[group] = gapMs;
  }

  #noteError(error: unknown): void {
    const text =
      error instanceof Error ? `${(error as { code?: string }).code ?? error.name}: ${error.message}` : 'unknown';
    this.errors.set(text, (this.errors.get(text) ?? 0) + 1);
  }

  /** What stands under each key at the end, against what was acknowledged. */
  judge(): ReturnType<Ledger['judge']> {
    return this.ledger.judge(async (key) => {
      const found = await this.#client.get<string>(this.#names[key] as string);
      return found === undefined ? undefined : Number(found);
    });
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
