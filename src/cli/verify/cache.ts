/**
 * The few operations that `henge verify` uses, and a cluster as what offers them.
 *
 * Writes go by one client and reads by another: a client that has not heard of a change yet is the one that could be
 * given an old value.
 */
import type { Henge } from '../../client/index.js';
import type { Version } from '../../protocol/index.js';

export interface Entry {
  readonly value: unknown;
  readonly version: Version;
}

export interface Cache {
  read(key: string): Promise<Entry | undefined>;
  set(key: string, value: string | number): Promise<void>;
  /** False when the key is there already. */
  create(key: string, value: string): Promise<boolean>;
  /** False when the key has another version. */
  replace(key: string, value: string, version: Version): Promise<boolean>;
  /** False when the key is absent. */
  remove(key: string): Promise<boolean>;
  /** The new count; undefined when the key is absent. */
  increment(key: string): Promise<number | undefined>;
}

/** Levels are the clients' own defaults. */
export class ClusterCache implements Cache {
  constructor(
    private readonly reader: Henge,
    private readonly writer: Henge,
  ) {}

  read(key: string): Promise<Entry | undefined> {
    return this.reader.getEntry(key);
  }

  set(key: string, value: string | number): Promise<void> {
    return this.writer.set(key, value);
  }

  async create(key: string, value: string): Promise<boolean> {
    return (await this.writer.set(key, value, { ifAbsent: true })) !== undefined;
  }

  async replace(key: string, value: string, version: Version): Promise<boolean> {
    return (await this.writer.set(key, value, { ifVersion: version })) !== undefined;
  }

  remove(key: string): Promise<boolean> {
    return this.writer.delete(key);
  }

  increment(key: string): Promise<number | undefined> {
    return this.writer.increment(key, 1, { create: false });
  }
}
