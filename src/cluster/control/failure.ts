/**
 * Who lives, as one node knows it: whose lease stands, since when another's has lapsed, and what probes said.
 *
 * A lapsed lease is a hint that wants a second sign (etcd can revoke the lease of a node that lives): the node is asked
 * over its data port, by the same path that requests take. All that may have to be judged are asked in one *round*, so
 * that nodes lost together are lost in one epoch. Nothing is decided here; coordinator.ts does that.
 */
import type { AliveRecord, MemberRecord } from '../records.js';
import type { ControlEnv, ProbeResult } from './env.js';

/** How long a worker may take to answer: it does nothing for longer than some milliseconds. */
export const PROBE_MS_MAX = 500;
/** A lost packet or a worker that was just replaced must not count as a death. */
const PROBE_TRIES = 2;
/** Between the tries where nobody listens: a worker killed a moment ago is replaced by then. */
const PROBE_PAUSE_MS = 100;
/** A node that lives takes up a new epoch within this time, or does not count as living. */
const ADOPT_MS_MAX = 2_000;
/** For how long a round of probes is worth something, and so how often those in doubt are asked. */
export const ROUND_FRESH_MS = 500;

/** `unfit`: silent, fenced, in an old epoch, or with another memory than the one that was known. */
export type Fitness = 'fit' | 'unfit' | 'refused';

export interface Examined {
  readonly fitness: Fitness;
  /** Rounds in a row, with no more than a moment between them, that ended so. */
  readonly rounds: number;
}

export interface ProbeRound {
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  readonly examined: ReadonlyMap<string, Examined>;
}

/** The leases, by what the registry's watch tells. */
export class Leases {
  /** Records that stand. */
  readonly alive = new Map<string, AliveRecord>();
  /** When a lease was last seen to begin or to lapse. */
  changedAtMs: number;
  readonly #lapsedAtMs = new Map<string, number>();
  /** Of those that are gone: the memory that was known last. */
  readonly #incarnations = new Map<string, string>();
  #resetAtMs: number;

  constructor(nowMs: number) {
    this.changedAtMs = nowMs;
    this.#resetAtMs = nowMs;
  }

  /** The registry was out of reach: what lapsed meanwhile says nothing, for others may have had the same trouble. */
  reset(nowMs: number): void {
    this.#lapsedAtMs.clear();
    this.#resetAtMs = nowMs;
  }

  stands(record: AliveRecord, nowMs: number): void {
    if (!this.alive.has(record.name)) this.changedAtMs = nowMs;
    this.alive.set(record.name, record);
    this.#incarnations.set(record.name, record.incarnation);
    this.#lapsedAtMs.delete(record.name);
  }

  lapsed(name: string, nowMs: number): void {
    if (!this.alive.delete(name)) return;
    this.changedAtMs = nowMs;
    this.#lapsedAtMs.set(name, nowMs);
  }

  /**
   * Since when a member may be judged for having no lease; undefined when it has one, or must be given more time.
   * @param patienceMs for one that was never seen since the beginning, or the last reset
   */
  lapsedAtMs(name: string, nowMs: number, patienceMs: number): number | undefined {
    if (this.alive.has(name)) return undefined;
    const patientUntilMs = this.#resetAtMs + patienceMs;
    return this.#lapsedAtMs.get(name) ?? (nowMs >= patientUntilMs ? patientUntilMs : undefined);
  }

  /** Of the memory that a member is known to have; empty when none is. */
  incarnationOf(member: MemberRecord): string {
    return this.#incarnations.get(member.name) ?? member.incarnation;
  }
}

/** What a member must answer to be taken for alive. */
export interface Expectation {
  readonly member: MemberRecord;
  readonly incarnation: string;
  /** Where an older one makes unfit; 0 for members that are away and need not be in it. */
  readonly epoch: number;
  /** Since when that epoch has been known here. */
  readonly epochSinceMs: number;
}

/** Runs rounds of probes, one at a time. */
export class Prober {
  readonly #env: ControlEnv;
  #last: ProbeRound | undefined;
  #isRunning = false;

  constructor(env: ControlEnv) {
    this.#env = env;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** The last round that ended. */
  get last(): ProbeRound | undefined {
    return this.#last;
  }

  forget(): void {
    this.#last = undefined;
  }

  /** Probes all of them at once; `done` when the last one has answered or is given up. */
  start(expected: readonly Expectation[], done: () => void): void {
    const startedAtMs = this.#env.monoMs();
    const isInARow = this.#last !== undefined && startedAtMs - this.#last.finishedAtMs < 2 * ROUND_FRESH_MS;
    const before = isInARow ? this.#last : undefined;
    const examined = new Map<string, Examined>();
    this.#isRunning = true;
    let open = expected.length;
    for (const expectation of expected) {
      const { name } = expectation.member;
      this.#examine(expectation, PROBE_TRIES, (fitness) => {
        const past = before?.examined.get(name);
        examined.set(name, { fitness, rounds: past?.fitness === fitness ? past.rounds + 1 : 1 });
        open--;
        if (open > 0) return;
        this.#isRunning = false;
        this.#last = { startedAtMs, finishedAtMs: this.#env.monoMs(), examined };
        done();
      });
    }
  }

  #examine(expectation: Expectation, triesLeft: number, done: (fitness: Fitness) => void): void {
    this.#env.probe(expectation.member, PROBE_MS_MAX, (result) => {
      const fitness = this.#fitnessOf(expectation, result);
      if (fitness === 'fit' || triesLeft === 1) return done(fitness);
      this.#env.setTimer(PROBE_PAUSE_MS, () => this.#examine(expectation, triesLeft - 1, done));
    });
  }

  #fitnessOf({ incarnation, epoch, epochSinceMs }: Expectation, result: ProbeResult): Fitness {
    if (result === 'refused') return 'refused';
    if (result === 'silent' || result.isFenced || result.incarnation !== incarnation) return 'unfit';
    const isLate = result.epoch < epoch && this.#env.monoMs() - epochSinceMs > ADOPT_MS_MAX;
    return isLate ? 'unfit' : 'fit';
  }
}
