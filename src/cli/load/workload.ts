/**
 * What `henge bench` asks of a cluster: reads and writes over a fixed set of keys, uniformly or by Zipf's law.
 *
 * Keys and the value are made before the run, so that the run measures the cluster and not the making of strings.
 */
import type { Henge } from '../../client/index.js';
import { errorCode } from '../session.js';
import { seededRandom, weightedDraw, zipfWeights } from './draw.js';
import type { Outcome } from './generator.js';

export interface WorkloadOptions {
  readonly keys: number;
  readonly valueBytes: number;
  /** Part of the operations that reads, from 0 to 1. */
  readonly readRatio: number;
  /** Exponent of Zipf's law; 0 draws every key equally often. */
  readonly skew: number;
  readonly seed: number;
}

/** All keys are of this namespace, so that a clean-up finds them. */
const NAMESPACE = 'henge-bench';
/** Should the clean-up not happen, the keys go by themselves. */
const TTL_MS = 3_600_000;
/** Writes under way at once while the keys are filled in. */
const FILL_IN_FLIGHT = 256;

export class Workload {
  private readonly keys: readonly string[];
  private readonly value: Buffer;
  private readonly options: WorkloadOptions;
  private readonly drawKey: () => number;
  private readonly drawKind: () => number;
  private readonly cluster: Henge;

  constructor(cluster: Henge, options: WorkloadOptions) {
    this.cluster = cluster;
    this.options = options;
    this.keys = Array.from({ length: options.keys }, (_, index) => `${NAMESPACE}:${String(index).padStart(8, '0')}`);
    const random = seededRandom(options.seed);
    this.value = Buffer.from(Array.from({ length: options.valueBytes }, () => random() * 256));
    this.drawKind = random;
    this.drawKey =
      options.skew === 0
        ? () => Math.floor(random() * options.keys)
        : weightedDraw(zipfWeights(options.keys, options.skew), random);
  }

  /** Writes every key once. Throws what the client throws. */
  async fill(onProgress: (written: number) => void): Promise<void> {
    let next = 0;
    const lane = async () => {
      for (let key = this.keys[next++]; key !== undefined; key = this.keys[next++]) {
        await this.cluster.set(key, this.value, { ttl: TTL_MS });
        onProgress(next);
      }
    };
    await Promise.all(Array.from({ length: FILL_IN_FLIGHT }, lane));
  }

  /** One operation. Never throws. */
  readonly operation = async (): Promise<Outcome> => {
    const key = this.keys[this.drawKey()] as string;
    try {
      if (this.drawKind() < this.options.readRatio) {
        return (await this.cluster.get(key)) === undefined ? 'miss' : 'hit';
      }
      await this.cluster.set(key, this.value, { ttl: TTL_MS });
      return 'written';
    } catch (error) {
      return { failure: errorCode(error) };
    }
  };

  /** Deletes every key of the workload. */
  async clear(): Promise<void> {
    await this.cluster.namespace(NAMESPACE).clear();
  }
}
