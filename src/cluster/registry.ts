/**
 * What the cluster asks of a registry: small JSON records, each with a revision, changed only by compare-and-set; some
 * of them leased, so that they vanish with the process that wrote them.
 *
 * A registry is where nodes agree on who they are: a folder on one machine (daemon/registry/directory.ts), etcd on many
 * (daemon/registry/etcd.ts). Revisions of a key grow by at least one with each version, also over a deletion; revision
 * 0 means "there is no such record".
 */

/** A record's name. Those below `alive/`, and `coordinator`, are leased. */
export type RecordKey =
  | 'config'
  | 'topology'
  | 'coordinator'
  | 'rebalance'
  | `members/${string}`
  | `alive/${string}`
  | `numbers/${number}`;

/** Whether a record is leased: changed by Lease.hold() alone, never by put(). */
export const isLeased = (key: RecordKey): boolean => key === 'coordinator' || key.startsWith('alive/');

/**
 * Whether two leased values speak of one memory, so that the process of the second may take the place of the first's.
 */
export function isSameMemory(held: unknown, value: { readonly incarnation?: string }): boolean {
  const incarnation = (held as { readonly incarnation?: unknown } | undefined)?.incarnation;
  return incarnation !== undefined && incarnation !== '' && incarnation === value.incarnation;
}

export interface RegistryRecord {
  readonly key: RecordKey;
  readonly revision: number;
  readonly value: unknown;
}

/** A record that is gone: its lease ended, or it was deleted. */
export interface RegistryAbsence {
  readonly key: RecordKey;
  /** At least that of the last version seen, as far as the registry knows it. */
  readonly revision: number;
  readonly value: undefined;
}

/**
 * "Only if that record still has this revision"; 0: if it is not there. In a folder the guard is looked at just before
 * the version is published, not with it (daemon/registry/directory.ts says why that is enough).
 */
export interface Guard {
  readonly key: RecordKey;
  readonly revision: number;
}

export interface Registry {
  /** What people are shown: `dir:/var/lib/henge`, `etcd:http://10.0.0.1:2379`. */
  readonly location: string;
  get(key: RecordKey): Promise<RegistryRecord | undefined>;
  /** All records whose key starts with `prefix`, in no particular order. */
  list(prefix: string): Promise<RegistryRecord[]>;
  /**
   * Publishes a new version if the newest one is `revision` (0: if there is none) and, where one is given, the guard
   * holds. Resolves to the new revision, or to undefined when somebody else was first. After an error the outcome is
   * unknown: read again.
   */
  put(key: RecordKey, value: unknown, revision: number, guard?: Guard): Promise<number | undefined>;
  /**
   * Calls `listener` with every record under `prefix` that is there, and then with every newer version or absence;
   * versions in between may be left out. Goes on by itself after faults of the registry, and re-reads from time to
   * time.
   */
  watch(prefix: string, listener: (record: RegistryRecord | RegistryAbsence) => void): RegistryWatch;
  /**
   * Begins a lease of at least a second. It is kept alive in the background until closed or lost.
   * @throws Error when the registry is out of reach
   */
  openLease(ttlMs: number): Promise<Lease>;
  close(): Promise<void>;
}

export interface Lease {
  /**
   * Publishes a leased record, or a new version of one's own if the value is another. False: another living lease holds
   * the key, unless its record's `incarnation` is that of `value`, which replaces it in one transaction (the same
   * memory, another process) and ends that lease. An error means that the outcome is unknown, or that this lease is
   * lost.
   */
  hold(key: RecordKey, value: { readonly incarnation?: string }): Promise<boolean>;
  /**
   * The revision with which this lease got a record, which a newer holder's exceeds: the fencing token. It is the
   * record's revision as long as its value was not changed since, so a guard can name it.
   */
  heldRevision(key: RecordKey): number | undefined;
  /**
   * Until when the lease cannot have ended elsewhere, on the monotonic clock (process.hrtime) in milliseconds: the
   * moment the last good keep-alive was sent, and the TTL.
   */
  readonly validUntilMs: number;
  readonly isLost: boolean;
  /** Resolves when the lease is known to be lost; never after close(). */
  readonly lost: Promise<void>;
  /** Gives up what is held, at once. */
  close(): Promise<void>;
}

export interface RegistryWatch {
  close(): void;
}
