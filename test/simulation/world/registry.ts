/**
 * A registry as the cluster may meet one: linearizable records with revisions, leases, watches, and every fault that a
 * real one showed. Its state is one map changed at moments of virtual time; what is unreliable is the way to and from
 * it.
 *
 *   request ──delay──▶ applied (or lost) ──delay──▶ answer (or lost: the outcome is unknown)
 *
 * Faults: out of reach for a client, slow, an answer lost after the transaction was committed, a lease revoked although
 * its owner lives, watches that run late. A lease lapses a TTL after the last keep-alive that arrived, on the
 * registry's clock.
 */
import type { Random } from './random.js';
import type { Event, Schedule } from './schedule.js';

export interface Stored {
  readonly revision: number;
  readonly createRevision: number;
  readonly value: unknown;
  readonly lease: number | undefined;
}

export interface RegistryFaults {
  /** Hosts that cannot reach the registry. */
  readonly unreachable: Set<string>;
  delayMs: number;
  watchDelayMs: number;
  /** Of a put that was applied: its answer is lost. */
  answerLostChance: number;
}

export type PutOutcome = { readonly kind: 'put'; readonly revision: number } | { readonly kind: 'refused' | 'unknown' };

interface LeaseState {
  readonly ttlMs: number;
  lapse: Event;
}

type Watcher = {
  readonly host: string;
  readonly prefix: string;
  notify(key: string, stored: Stored | undefined): void;
};

export class RegistryModel {
  readonly faults: RegistryFaults = { unreachable: new Set(), delayMs: 0.5, watchDelayMs: 1, answerLostChance: 0 };
  readonly #records = new Map<string, Stored>();
  readonly #leases = new Map<number, LeaseState>();
  readonly #watchers = new Set<Watcher>();
  #changed: (key: string, value: unknown) => void = () => {};
  #revision = 0;
  #lastLease = 0;

  constructor(
    private readonly schedule: Schedule,
    private readonly random: Random,
  ) {}

  /** Of the newest change. */
  get revision(): number {
    return this.#revision;
  }

  /** What stands there now, for checks after a run and for founding a cluster before one. */
  peek(key: string): Stored | undefined {
    return this.#records.get(key);
  }

  /** Tells of every change as it happens, for checks. */
  watchAll(changed: (key: string, value: unknown) => void): void {
    this.#changed = changed;
  }

  found(key: string, value: unknown): void {
    this.#store(key, value, undefined);
  }

  get(host: string, key: string, done: (stored: Stored | undefined | 'unreachable') => void): void {
    this.#ask(host, () => this.#records.get(key), done);
  }

  list(host: string, prefix: string, done: (found: [string, Stored][] | 'unreachable') => void): void {
    this.#ask(host, () => [...this.#records].filter(([key]) => key.startsWith(prefix)), done);
  }

  put(
    host: string,
    request: { key: string; value: unknown; revision: number; guard?: { key: string; revision: number } },
    done: (outcome: PutOutcome) => void,
  ): void {
    const apply = (): PutOutcome => {
      const { key, value, revision, guard } = request;
      if ((this.#records.get(key)?.revision ?? 0) !== revision) return { kind: 'refused' };
      if (guard !== undefined && this.#records.get(guard.key)?.createRevision !== guard.revision) {
        return { kind: 'refused' };
      }
      return { kind: 'put', revision: this.#store(key, value, undefined) };
    };
    this.#ask(host, apply, (outcome) => {
      const isLost = outcome !== 'unreachable' && this.random.chance(this.faults.answerLostChance);
      done(outcome === 'unreachable' || isLost ? { kind: 'unknown' } : outcome);
    });
  }

  openLease(host: string, ttlMs: number, done: (lease: number | 'unreachable') => void): void {
    this.#ask(
      host,
      () => {
        const id = ++this.#lastLease;
        this.#leases.set(id, { ttlMs, lapse: this.schedule.after(ttlMs, () => this.#lapse(id)) });
        return id;
      },
      done,
    );
  }

  keepAlive(host: string, lease: number, done: (isKept: boolean | 'unreachable') => void): void {
    this.#ask(
      host,
      () => {
        const state = this.#leases.get(lease);
        if (state === undefined) return false;
        state.lapse.isCancelled = true;
        state.lapse = this.schedule.after(state.ttlMs, () => this.#lapse(lease));
        return true;
      },
      done,
    );
  }

  /** False: another living lease holds the key, and not for the same incarnation. */
  hold(
    host: string,
    request: { lease: number; key: string; value: { readonly incarnation?: string } },
    done: (createRevision: number | false | 'unreachable') => void,
  ): void {
    const { lease, key, value } = request;
    this.#ask(
      host,
      () => {
        if (!this.#leases.has(lease)) return false as const;
        const held = this.#records.get(key);
        const heldFor = (held?.value as { incarnation?: string } | undefined)?.incarnation;
        const isOther = held !== undefined && held.lease !== lease;
        if (isOther && (heldFor === undefined || heldFor !== value.incarnation)) return false as const;
        if (isOther) this.#records.delete(key);
        this.#store(key, value, lease);
        return this.#records.get(key)?.createRevision ?? 0;
      },
      done,
    );
  }

  /** Ends a lease: its owner gave it up, or (a fault) somebody ended it although its owner lives. */
  revoke(lease: number): void {
    const state = this.#leases.get(lease);
    if (state === undefined) return;
    state.lapse.isCancelled = true;
    this.#lapse(lease);
  }

  get leases(): number[] {
    return [...this.#leases.keys()];
  }

  /** Tells what is there, and then of every change, in order, some late. */
  watch(host: string, prefix: string, notify: Watcher['notify']): { close(): void } {
    const watcher: Watcher = { host, prefix, notify };
    this.#watchers.add(watcher);
    for (const [key, stored] of this.#records) if (key.startsWith(prefix)) this.#tell(watcher, key, stored);
    return { close: () => this.#watchers.delete(watcher) };
  }

  #store(key: string, value: unknown, lease: number | undefined): number {
    const revision = ++this.#revision;
    const createRevision = this.#records.get(key)?.createRevision ?? revision;
    const stored: Stored = { revision, createRevision, value: structuredClone(value), lease };
    this.#records.set(key, stored);
    this.#changed(key, stored.value);
    this.#tellAll(key, stored);
    return revision;
  }

  #lapse(lease: number): void {
    this.#leases.delete(lease);
    for (const [key, stored] of [...this.#records]) {
      if (stored.lease !== lease) continue;
      this.#revision++;
      this.#records.delete(key);
      this.#tellAll(key, undefined);
    }
  }

  #tellAll(key: string, stored: Stored | undefined): void {
    for (const watcher of this.#watchers) if (key.startsWith(watcher.prefix)) this.#tell(watcher, key, stored);
  }

  /** A watcher that is cut off gets the state of the moment when it is back. */
  #tell(watcher: Watcher, key: string, stored: Stored | undefined): void {
    this.schedule.after(this.faults.watchDelayMs * (0.5 + this.random.next()), () => {
      if (!this.#watchers.has(watcher)) return;
      if (this.faults.unreachable.has(watcher.host)) {
        this.schedule.after(100, () => this.#tell(watcher, key, this.#records.get(key)));
        return;
      }
      const now = this.#records.get(key);
      // Versions in between may be left out, but never told in the wrong order.
      watcher.notify(key, now?.revision === stored?.revision ? stored : now);
    });
  }

  #ask<T>(host: string, apply: () => T, done: (answer: T | 'unreachable') => void): void {
    const delay = (): number => this.faults.delayMs * (0.5 + this.random.next());
    this.schedule.after(delay(), () => {
      if (this.faults.unreachable.has(host)) {
        this.schedule.after(500, () => done('unreachable'));
        return;
      }
      const answer = apply();
      this.schedule.after(delay(), () => done(this.faults.unreachable.has(host) ? 'unreachable' : answer));
    });
  }
}
