/**
 * All that the control plane may ask of the world. Nothing here is a promise: what takes time calls back, once, later,
 * so that the same code runs in a daemon (daemon/control-env.ts) and on the virtual time of a simulator.
 */
import type { MemberRecord, TopologyView } from '../records.js';
import type { Guard, RecordKey, RegistryRecord } from '../registry.js';

/** `unknown`: the registry did not answer, and may have done it all the same. */
export type PutOutcome =
  | { readonly kind: 'done'; readonly revision: number }
  | { readonly kind: 'refused' }
  | { readonly kind: 'unknown' };

/** What a member's worker says of its node. */
export interface ProbeAnswer {
  readonly name: string;
  readonly incarnation: string;
  readonly epoch: number;
  readonly isFenced: boolean;
}

/** `refused`: nobody listens at the address. That is proof; silence is not. */
export type ProbeResult = ProbeAnswer | 'refused' | 'silent';

export interface ControlLease {
  /** As `Lease.hold`; undefined when the registry did not answer. */
  hold(
    key: RecordKey,
    value: { readonly name: string; readonly incarnation?: string },
    done: (isHeld: boolean | undefined) => void,
  ): void;
  heldRevision(key: RecordKey): number | undefined;
  readonly validUntilMs: number;
  close(done: () => void): void;
}

export type Timer = object | number;

export interface ControlEnv {
  /** Milliseconds of the monotonic clock, the one that `Lease.validUntilMs` is of. */
  monoMs(): number;
  setTimer(delayMs: number, run: () => void): Timer;
  clearTimer(timer: Timer): void;

  get(key: RecordKey, done: (found: { readonly record?: RegistryRecord } | undefined) => void): void;
  put(
    request: { readonly key: RecordKey; readonly value: unknown; readonly revision: number; readonly guard?: Guard },
    done: (outcome: PutOutcome) => void,
  ): void;
  /** `lost` is called at most once, and only for a lease that was handed over by `done`. */
  openLease(ttlMs: number, lost: () => void, done: (lease: ControlLease | undefined) => void): void;

  /** Asks a worker of the member's node, over its data port. Calls back within `timeoutMs`. */
  probe(member: MemberRecord, timeoutMs: number, done: (result: ProbeResult) => void): void;
  /** From this moment on the node takes no writes; 0: never. */
  setFence(deadlineMs: number): void;
  /** There is a newer view: tell the workers. */
  adopt(view: TopologyView): void;
  log(event: string, details: Readonly<Record<string, unknown>>): void;
}
