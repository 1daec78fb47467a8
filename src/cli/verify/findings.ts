/**
 * What a run of `henge verify` has found so far: wrong values, failed calls, slow calls, and how long calls took.
 *
 * `evicted` is no fault: the nodes made room meanwhile, so a missing key says nothing, and is not judged.
 */
import { Waits } from './waits.js';

/** From the worst on; a verdict names the worst there is. */
export const FAULTS = ['lost', 'foreign', 'stale', 'failed', 'slow'] as const;
export type Fault = (typeof FAULTS)[number];

export type WrongValue = 'lost' | 'foreign' | 'stale' | 'evicted';

/** One wrong value, for whoever looks for the cause. */
export interface Example {
  readonly kind: WrongValue;
  readonly key: string;
  readonly expected: string;
  readonly found: string;
  readonly atMs: number;
}

/** The first ones are told; more would say the same again. */
const EXAMPLES_MAX = 20;

export class Findings {
  readonly counts: Record<Fault | 'evicted', number> = {
    lost: 0,
    foreign: 0,
    stale: 0,
    failed: 0,
    slow: 0,
    evicted: 0,
  };
  readonly failures = new Map<string, number>();
  readonly examples: Example[] = [];
  readonly waits = new Waits();
  reads = 0;
  writes = 0;
  /** Keys that could not be read at the end: not judged, and counted as failed. */
  unread = 0;

  constructor(private readonly slowMs: number) {}

  get operations(): number {
    return this.reads + this.writes;
  }

  wrong(example: Example): void {
    this.counts[example.kind]++;
    if (this.examples.length < EXAMPLES_MAX) this.examples.push(example);
  }

  failed(code: string): void {
    this.counts.failed++;
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }

  /** A call that fails is one fault, not two, however long it took. */
  waited(ms: number, isAnswered: boolean): void {
    this.waits.record(ms);
    if (isAnswered && ms > this.slowMs) this.counts.slow++;
  }
}
