/**
 * A histogram of latencies in microseconds, from 1 µs to 60 s at three significant digits (HdrHistogram, G. Tene).
 * Longer ones count as 60 s: no call lasts that long, since every call has a deadline.
 */
import { build, type Histogram } from 'hdr-histogram-js';

const HIGHEST_US = 60_000_000;

export interface LatencySummary {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly mean: number;
}

export class Latencies {
  private readonly histogram: Histogram = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_US,
    numberOfSignificantValueDigits: 3,
    autoResize: false,
    useWebAssembly: false,
  });

  /** Hot path: about 0.15 µs, no allocation. */
  record(microseconds: number): void {
    this.histogram.recordValue(Math.min(HIGHEST_US, Math.max(1, Math.round(microseconds))));
  }

  get count(): number {
    return this.histogram.totalCount;
  }

  /** In microseconds; 0 when nothing was recorded. */
  percentile(percentile: number): number {
    return this.count === 0 ? 0 : this.histogram.getValueAtPercentile(percentile);
  }

  /** In microseconds. */
  summary(): LatencySummary {
    return {
      p50: this.percentile(50),
      p90: this.percentile(90),
      p99: this.percentile(99),
      p999: this.percentile(99.9),
      max: this.count === 0 ? 0 : this.histogram.maxValue,
      mean: this.count === 0 ? 0 : Math.round(this.histogram.mean),
    };
  }

  /** Takes in all that another one recorded. */
  add(other: Latencies): void {
    this.histogram.add(other.histogram);
  }

  reset(): void {
    this.histogram.reset();
  }
}
