/**
 * What the cluster asks of a registry: small JSON records, each with a revision, changed only by compare-and-set.
 *
 * A registry is where nodes agree on who they are: a folder on one machine (daemon/registry/directory.ts), etcd on
 * many. Revisions of a key grow by at least one with each version; revision 0 means "there is no such record".
 */

/** A record's name: `config`, `topology`, or `members/NAME`. */
export type RecordKey = 'config' | 'topology' | `members/${string}`;

export interface RegistryRecord {
  readonly key: RecordKey;
  readonly revision: number;
  readonly value: unknown;
}

export interface Registry {
  /** What people are shown: `dir:/var/lib/henge`. */
  readonly location: string;
  get(key: RecordKey): Promise<RegistryRecord | undefined>;
  /** All records whose key starts with `prefix`, in no particular order. */
  list(prefix: string): Promise<RegistryRecord[]>;
  /**
   * Publishes a new version if the newest one is `revision` (0: if there is none). Resolves to the new revision, or to
   * undefined when somebody else was first. After an error the outcome is unknown: read again.
   */
  put(key: RecordKey, value: unknown, revision: number): Promise<number | undefined>;
  /** Calls `listener` with every newer version of a record under `prefix`; versions in between may be left out. */
  watch(prefix: string, listener: (record: RegistryRecord) => void): RegistryWatch;
  /** Claims the node's name for this process until it ends. Resolves to false when a living process has it. */
  hold(nodeName: string): Promise<boolean>;
  close(): Promise<void>;
}

export interface RegistryWatch {
  close(): void;
}
