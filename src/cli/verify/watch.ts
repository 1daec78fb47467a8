/**
 * What happens to the cluster while `henge verify` runs: whether it is changing, and whether nodes evict.
 *
 * It is asked twice a second. A change is a new epoch, a member that is not simply in, or a node that does not answer;
 * what the clients meet by themselves (a lost connection, a degraded answer) is heard at once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Henge } from '../../client/index.js';
import { type ClusterReport, readCluster } from '../report.js';

const POLL_GAP_MS = 500;
/** Nodes answer within milliseconds. One that is silent keeps the rest of the report waiting for a whole deadline. */
const SILENT_MS = 1_000;

export class Watch {
  readonly epochFirst: number;
  epochLast: number;
  /** As seen last. */
  isChanging = false;
  #wasChanging = false;
  /** Slots are on their way to other members. */
  #isMoving = false;
  #evicted = 0;
  readonly #evictions = new Map<string, number>();
  #reading: Promise<void> | undefined;
  #readingSinceMs = 0;
  readonly #stop = new AbortController();
  readonly #polling: Promise<void>;

  private constructor(
    private readonly cluster: Henge,
    first: ClusterReport,
  ) {
    this.epochFirst = first.epoch;
    this.epochLast = first.epoch;
    this.#take(first);
    this.#evicted = 0;
    this.#polling = this.#poll();
  }

  /** Asks the first of the clients, and hears what all of them meet. */
  static async start(cluster: Henge, ...others: readonly Henge[]): Promise<Watch> {
    const watch = new Watch(cluster, await readCluster(cluster));
    const see = () => watch.#see(true);
    for (const each of [cluster, ...others]) {
      each.on('down', see).on('degraded', see);
      each.on('topology', ({ epoch, next }) => {
        watch.#isMoving = next !== undefined;
        watch.#seeEpoch(epoch);
      });
    }
    return watch;
  }

  /** Whether a change was seen since this was asked last. */
  hasChanged(): boolean {
    const isSilent = this.#reading !== undefined && performance.now() - this.#readingSinceMs > SILENT_MS;
    const hasChanged = this.#wasChanging || this.isChanging || isSilent;
    this.#wasChanging = false;
    return hasChanged;
  }

  /** Whether anything was evicted since the start, by figures that are read after this call. */
  async hasEvicted(): Promise<boolean> {
    await this.#reading;
    await this.#read();
    return this.#evicted > 0;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#polling;
  }

  async #poll(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#read();
      // An abort ends the pause by a rejection, and the loop by its condition.
      await sleep(POLL_GAP_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  /** Callers at the same time share one reading. */
  #read(): Promise<void> {
    if (this.#reading !== undefined) return this.#reading;
    this.#readingSinceMs = performance.now();
    this.#reading = readCluster(this.cluster)
      .then(
        (report) => this.#take(report),
        // Nobody tells the topology: a change if anything is, and the calls that fail meanwhile are counted elsewhere.
        () => this.#see(true),
      )
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  #take({ epoch, nodes }: ClusterReport): void {
    this.#see(this.#isMoving || nodes.some(({ state }) => state !== 'in'));
    this.#seeEpoch(epoch);
    for (const { name, isAnswering, evictions } of nodes) {
      if (!isAnswering) continue;
      const before = this.#evictions.get(name) ?? 0;
      // A counter that fell is that of a new memory, which began at 0.
      this.#evicted += evictions >= before ? evictions - before : evictions;
      this.#evictions.set(name, evictions);
    }
  }

  /** A report may be older than what was heard since it was asked for. */
  #seeEpoch(epoch: number): void {
    if (epoch <= this.epochLast) return;
    this.epochLast = epoch;
    this.#see(true);
  }

  #see(isChanging: boolean): void {
    this.isChanging = isChanging;
    if (isChanging) this.#wasChanging = true;
  }
}
