/**
 * This node as a member: its lease, what it says of itself, its candidacy for the coordinator's part, and its fence.
 *
 * A lease that is lost is opened anew, for ever: whether the node goes on serving meanwhile is the cluster's choice
 * (`serve` or `fence`). With `fence` the store takes no writes from shortly before the moment at which the lease can
 * have ended elsewhere, and that moment moves on with each keep-alive. Before others can see the node live it takes
 * none.
 */
import { type AliveRecord, aliveKey } from '../records.js';
import { type ClusterReport, NO_REPORT } from '../worker/index.js';
import type { ControlEnv, ControlLease } from './env.js';

/** Between attempts at what the registry did not give. */
const RETRY_MS = 500;
/**
 * Part of a lease's life by which a fence falls early: between its look at the clock and its answer a worker may pause.
 */
const FENCE_MARGIN = 0.1;

export interface MemberOptions {
  readonly name: string;
  readonly incarnation: string;
  readonly ttlMs: number;
  readonly isFencing: boolean;
  /** The lease is gone, or has begun: what was known of others' leases is worth little. */
  readonly onLease: (stands: boolean) => void;
}

export class Member {
  readonly #env: ControlEnv;
  readonly #options: MemberOptions;
  #report: ClusterReport = NO_REPORT;
  #lease: ControlLease | undefined;
  #hasBegun = false;
  #isResting = false;
  #isOpening = false;
  #isHolding = false;
  #isClosed = false;
  /** What the alive record says; undefined while there is none of ours. */
  #told: string | undefined;
  /**
   * Until then somebody else coordinates, as far as is known; asked again then, since a watch may skip what was short.
   */
  #coordinatedUntilMs = 0;
  #retryAtMs = 0;

  constructor(env: ControlEnv, options: MemberOptions) {
    this.#env = env;
    this.#options = options;
  }

  /** The node's name is held, so that others see it live. */
  get isListed(): boolean {
    return this.#told !== undefined;
  }

  /** The fencing token; undefined while this node does not coordinate. */
  get coordinatorRevision(): number | undefined {
    return this.#lease?.heldRevision('coordinator');
  }

  /** Until then nothing is asked of the registry. `opened`: a lease with the node's name held under it. */
  begin(opened?: { readonly lease: ControlLease; readonly told: AliveRecord }): void {
    this.#hasBegun = true;
    if (opened === undefined) return;
    this.#lease = opened.lease;
    this.#told = JSON.stringify(opened.told);
    this.#options.onLease(true);
  }

  /** To be given to openLease by whoever opens the lease of begin(). */
  readonly onLost = (): void => {
    this.#lease = undefined;
    this.#told = undefined;
    this.#isHolding = false;
    if (this.#isClosed) return;
    this.#env.log('lease-lost', {});
    this.#options.onLease(false);
  };

  /** What the alive record is to say. */
  report(report: ClusterReport): void {
    this.#report = report;
    this.step();
  }

  /** The node is about to stop, and says so. */
  rest(): void {
    this.#isResting = true;
    this.step();
  }

  /** There is a coordinator's record, or none any more. */
  coordinated(isSo: boolean): void {
    this.#coordinatedUntilMs = isSo ? this.#env.monoMs() + this.#options.ttlMs : 0;
    this.step();
  }

  aliveRecord(): AliveRecord {
    const { name, incarnation } = this.#options;
    return { name, incarnation, ...this.#report, isResting: this.#isResting };
  }

  /** Does what is due; called at every tick and whenever something changed. */
  step(): void {
    if (!this.#hasBegun || this.#isClosed) return;
    this.#moveFence();
    if (this.#env.monoMs() < this.#retryAtMs) return;
    if (this.#lease === undefined) this.#open();
    else if (this.#told !== JSON.stringify(this.aliveRecord())) this.#tell(this.#lease);
    else if (this.coordinatorRevision === undefined) this.#stand(this.#lease);
  }

  close(done: () => void): void {
    this.#isClosed = true;
    if (this.#lease === undefined) done();
    else this.#lease.close(done);
  }

  #moveFence(): void {
    const { isFencing, ttlMs } = this.#options;
    if (isFencing && this.#lease && this.isListed) this.#env.setFence(this.#lease.validUntilMs - ttlMs * FENCE_MARGIN);
  }

  #open(): void {
    if (this.#isOpening) return;
    this.#isOpening = true;
    this.#env.openLease(this.#options.ttlMs, this.onLost, (lease) => {
      this.#isOpening = false;
      if (lease === undefined) return this.#retryLater();
      if (this.#isClosed) return lease.close(() => {});
      this.#lease = lease;
      this.#options.onLease(true);
      this.step();
    });
  }

  #tell(lease: ControlLease): void {
    const record = this.aliveRecord();
    this.#hold(lease, (then) =>
      lease.hold(aliveKey(record.name), record, (isHeld) => {
        if (isHeld) this.#told = JSON.stringify(record);
        else if (isHeld === false) this.#env.log('name-held', { name: record.name });
        then(isHeld === true);
      }),
    );
  }

  #stand(lease: ControlLease): void {
    const { name, ttlMs } = this.#options;
    const nowMs = this.#env.monoMs();
    if (nowMs < this.#coordinatedUntilMs) return;
    this.#hold(lease, (then) =>
      lease.hold('coordinator', { name }, (isHeld) => {
        if (isHeld === false) this.#coordinatedUntilMs = nowMs + ttlMs;
        if (isHeld) this.#env.log('coordinator', { name });
        then(isHeld !== undefined);
      }),
    );
  }

  /** One hold at a time, and nothing more for a while after one that failed. */
  #hold(lease: ControlLease, run: (then: (isDone: boolean) => void) => void): void {
    if (this.#isHolding) return;
    this.#isHolding = true;
    run((isDone) => {
      if (this.#lease !== lease) return;
      this.#isHolding = false;
      if (isDone) this.step();
      else this.#retryLater();
    });
  }

  #retryLater(): void {
    this.#retryAtMs = this.#env.monoMs() + RETRY_MS;
  }
}
