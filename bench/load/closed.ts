/**
 * Closed loop in one Node process: as many lanes as requests are to be in flight, each awaiting one call after the
 * other, 90 % gets and 10 % sets, unless said otherwise, over keys that are all present. CPU is that of the whole
 * process, the loop's own part included, which is the same for every client.
 */
import { build } from 'hdr-histogram-js';
import { type Driver, VALUE_BYTES } from './driver.js';

export interface ClosedLoad {
  readonly inFlight: number;
  readonly keys: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
  readonly seed: number;
  /** Part of the calls that are sets; a tenth when missing. */
  readonly setShare?: number;
}

export interface ClosedResult {
  readonly operations: number;
  /** With those of the warm-up, for what is measured from outside. */
  readonly operationsAll: number;
  readonly seconds: number;
  readonly operationsPerSecond: number;
  readonly cpuMicrosecondsPerOperation: number;
  /** Microseconds, of one call in LATENCY_EVERY. */
  readonly p50: number;
  readonly p99: number;
  readonly misses: number;
}

const SET_SHARE_DEFAULT = 0.1;
/** Reading the clock twice for every call would be a tenth of a fast client's time. A power of two. */
const LATENCY_EVERY = 8;

export function keyOf(index: number): string {
  return `key:${index.toString().padStart(16, '0')}`;
}

export async function runClosed(driver: Driver, load: ClosedLoad, keys: readonly string[]): Promise<ClosedResult> {
  const warmUp = new Loop(driver, keys, load);
  await warmUp.run(load.warmUpMs);

  const loop = new Loop(driver, keys, load);
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  await loop.run(load.durationMs);
  const seconds = (performance.now() - start) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  return {
    operations: loop.operations,
    operationsAll: warmUp.operations + loop.operations,
    seconds,
    operationsPerSecond: loop.operations / seconds,
    cpuMicrosecondsPerOperation: (cpu.user + cpu.system) / loop.operations,
    p50: loop.latency.getValueAtPercentile(50) / 1000,
    p99: loop.latency.getValueAtPercentile(99) / 1000,
    misses: loop.misses,
  };
}

class Loop {
  operations = 0;
  misses = 0;
  /** Nanoseconds. */
  readonly latency = build({ highestTrackableValue: 60e9, numberOfSignificantValueDigits: 3 });
  private readonly value = 'v'.repeat(VALUE_BYTES);
  private readonly setShare: number;
  private isOver = false;
  private random: number;

  constructor(
    private readonly driver: Driver,
    private readonly keys: readonly string[],
    private readonly load: ClosedLoad,
  ) {
    this.random = load.seed;
    this.setShare = load.setShare ?? SET_SHARE_DEFAULT;
  }

  async run(durationMs: number): Promise<void> {
    const timer = setTimeout(() => {
      this.isOver = true;
    }, durationMs);
    try {
      await Promise.all(Array.from({ length: this.load.inFlight }, () => this.lane()));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Hot: per call two draws and what the client does. */
  private async lane(): Promise<void> {
    while (!this.isOver) {
      const isTimed = (this.operations & (LATENCY_EVERY - 1)) === 0;
      const start = isTimed ? performance.now() : 0;
      await this.call();
      if (isTimed) this.latency.recordValue(Math.round((performance.now() - start) * 1e6));
      this.operations += 1;
    }
  }

  private async call(): Promise<void> {
    const key = this.keys[Math.floor(this.draw() * this.keys.length)] ?? '';
    if (this.draw() < this.setShare) {
      await this.driver.set(key, this.value);
    } else if ((await this.driver.get(key)) === undefined) {
      this.misses += 1;
    }
  }

  /** Mulberry32: a uniform number of [0, 1). */
  private draw(): number {
    this.random = (this.random + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.random ^ (this.random >>> 15), 1 | this.random);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }
}

/** Sets every key, 100 at a time. */
export async function fillKeys(driver: Driver, keys: readonly string[]): Promise<void> {
  const value = 'v'.repeat(VALUE_BYTES);
  let next = 0;
  const lane = async () => {
    for (let key = keys[next++]; key !== undefined; key = keys[next++]) await driver.set(key, value);
  };
  await Promise.all(Array.from({ length: 100 }, lane));
}
