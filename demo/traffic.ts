/**
 * The application under load: visitors who look cities up through the cache, and now and then sign a guest book.
 *
 * A look-up is one `getOrSet`. Signatures are plain writes that the cluster acknowledged, so each of them must be there
 * at the end, whatever died meanwhile. A write that broke off in flight may have been applied, and the client rightly
 * does not repeat it by itself; this application may, since the same signature twice is still one signature.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom, weightedDraw } from '../src/cli/load/draw.js';
import { Latencies } from '../src/cli/load/latencies.js';
import { type Henge, HengeError } from '../src/index.js';
import { type CityRecord, type Origin, POPULATIONS } from './origin.js';

/** Requests always under way: enough to keep the origin's line filled, few enough that hits stay quick. */
const VISITORS = 128;
/** Of so many look-ups one is followed by a signature. */
const LOOKUPS_PER_SIGNATURE = 20;
/**
 * Writes of one signature before it counts as failed, and the pause between them: longer than a cluster takes to name a
 * successor of a node that died.
 */
const WRITES_MAX = 20;
const WRITE_PAUSE_MS = 100;
const SEED = 1;

export interface Signature {
  readonly number: number;
  readonly city: string;
}

export interface Tally {
  requests: number;
  /** Answered by the cache. */
  hits: number;
  /** Answered by the origin, through a look-up of its own. */
  misses: number;
  /** Waited for a look-up of the same city that another visitor had begun. */
  joined: number;
  failures: number;
  /** Signatures acknowledged, and writes that were repeated for them. */
  signatures: number;
  repeats: number;
  /** Look-ups answered by another copy, since the node that leads the key could not. */
  degraded: number;
  /** What went wrong last, for the person who must mend it. */
  lastError: string;
}

export const cityKey = (index: number) => `city:${index}`;
export const signatureKey = (number: number) => `guest:${number}`;

export class Traffic {
  readonly tally: Tally = {
    requests: 0,
    hits: 0,
    misses: 0,
    joined: 0,
    failures: 0,
    signatures: 0,
    repeats: 0,
    degraded: 0,
    lastError: '',
  };
  readonly latencies = new Latencies();
  readonly hitLatencies = new Latencies();
  readonly missLatencies = new Latencies();
  /** Signatures that the cluster has acknowledged. */
  readonly acknowledged: Signature[] = [];
  /** Cities that were looked up, by index. */
  readonly visited = new Set<number>();

  private readonly cluster: Henge;
  private readonly origin: Origin;
  private readonly drawCity = weightedDraw(POPULATIONS, seededRandom(SEED));
  private readonly loading = new Set<number>();
  private signaturesBegun = 0;
  private isWatched: (key: string) => boolean = () => false;
  private longestMs = 0;

  constructor(cluster: Henge, origin: Origin) {
    this.cluster = cluster;
    this.origin = origin;
    cluster.on('degraded', (count) => {
      this.tally.degraded += count;
    });
  }

  /** From now on the longest time that a signature under such a key took is kept. */
  watch(isWatched: (key: string) => boolean): void {
    this.isWatched = isWatched;
    this.longestMs = 0;
  }

  /** From the first attempt to the acknowledgement. */
  get longestWriteMs(): number {
    return this.longestMs;
  }

  /** Keeps all visitors busy until `signal` is aborted, and resolves when the last of them is done. */
  async run(signal: AbortSignal): Promise<void> {
    const visitor = async () => {
      while (!signal.aborted) {
        const city = await this.lookUp(this.drawCity());
        if (city !== undefined && this.tally.requests % LOOKUPS_PER_SIGNATURE === 0) await this.sign(city);
      }
    };
    await Promise.all(Array.from({ length: VISITORS }, visitor));
  }

  private async lookUp(index: number): Promise<CityRecord | undefined> {
    const begin = performance.now();
    const isJoining = this.loading.has(index);
    let isLoading = false;
    this.visited.add(index);
    try {
      const city = await this.cluster.getOrSet(cityKey(index), () => {
        isLoading = true;
        this.loading.add(index);
        return this.origin.lookup(index);
      });
      this.count(isLoading ? 'misses' : isJoining ? 'joined' : 'hits', (performance.now() - begin) * 1000);
      return city;
    } catch (error) {
      this.fail(error);
      return undefined;
    } finally {
      this.tally.requests++;
      if (isLoading) this.loading.delete(index);
    }
  }

  private count(outcome: 'hits' | 'misses' | 'joined', microseconds: number): void {
    this.tally[outcome]++;
    this.latencies.record(microseconds);
    (outcome === 'hits' ? this.hitLatencies : this.missLatencies).record(microseconds);
  }

  private async sign(city: CityRecord): Promise<void> {
    const signature: Signature = { number: this.signaturesBegun++, city: city.name };
    const key = signatureKey(signature.number);
    const begin = performance.now();
    for (let writes = 1; ; writes++) {
      try {
        await this.cluster.set(key, signature);
        this.tally.signatures++;
        this.acknowledged.push(signature);
        if (this.isWatched(key)) this.longestMs = Math.max(this.longestMs, performance.now() - begin);
        return;
      } catch (error) {
        if (!(error instanceof HengeError && error.retryable) || writes === WRITES_MAX) {
          this.fail(error);
          return;
        }
        this.tally.repeats++;
        await sleep(WRITE_PAUSE_MS);
      }
    }
  }

  private fail(error: unknown): void {
    this.tally.failures++;
    this.tally.lastError = error instanceof Error ? error.message : String(error);
  }
}
