/**
 * A lease on records in a folder, seen by its holder. Each keep-alive moves the counter in the lease's file and then
 * looks whether that file still has its name: whoever found the lease lapsed has removed it.
 *
 * A keep-alive that ends after the lease's deadline does not count, and ends the lease: a reader may have seen the
 * counter stand still for a whole TTL and be about to remove the file. So until `validUntilMs` nobody can have found it
 * lapsed.
 *
 * A leased record is a version like any other (versions.ts) whose content names its lease; it is there as long as that
 * is.
 */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { isLeased, isSameMemory, type Lease, type RecordKey } from '../../cluster/index.js';
import { monotonicMs } from './clock.js';
import { counterText, type LeaseFile, type LeaseFiles } from './lease-files.js';
import type { VersionedFiles } from './versions.js';

/** A third is what etcd's clients take; two may fail, and one late by a third does no harm. */
const KEEP_ALIVES_PER_TTL = 3;
/** Readers must look several times within half of it. */
const TTL_MS_MIN = 1_000;
/** How often holding starts over when another version came between; each time means that somebody else succeeded. */
const HOLD_ATTEMPTS_MAX = 20;

/** What a version of a leased record holds. */
export const LeasedContent = z.object({ lease: z.string(), value: z.unknown() });

export interface DirectoryLeaseParts {
  readonly leases: LeaseFiles;
  readonly records: VersionedFiles;
  readonly ttlMs: number;
}

export class DirectoryLease implements Lease {
  readonly lost: Promise<void>;
  readonly #token: string;
  readonly #parts: DirectoryLeaseParts;
  readonly #file: LeaseFile;
  readonly #held = new Map<RecordKey, number>();
  readonly #timer: NodeJS.Timeout;
  #tellLost: () => void = () => {};
  #validUntilMs: number;
  #count = 0;
  #state: 'kept' | 'lost' | 'closed' = 'kept';
  #keeping: Promise<void> | undefined;

  private constructor(parts: DirectoryLeaseParts, token: string, file: LeaseFile, startedMs: number) {
    this.#parts = parts;
    this.#token = token;
    this.#file = file;
    this.#validUntilMs = startedMs + parts.ttlMs;
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve;
    });
    this.#timer = setInterval(() => {
      this.#keeping ??= this.#keepAlive();
    }, parts.ttlMs / KEEP_ALIVES_PER_TTL).unref();
  }

  static async open(parts: DirectoryLeaseParts): Promise<DirectoryLease> {
    if (parts.ttlMs < TTL_MS_MIN) throw new RangeError(`a lease of ${parts.ttlMs} ms is shorter than ${TTL_MS_MIN} ms`);
    const startedMs = monotonicMs();
    const token = randomUUID();
    return new DirectoryLease(parts, token, await parts.leases.create(token, parts.ttlMs), startedMs);
  }

  get validUntilMs(): number {
    return this.#validUntilMs;
  }

  get isLost(): boolean {
    return this.#state === 'lost';
  }

  heldRevision(key: RecordKey): number | undefined {
    return this.#held.get(key);
  }

  async hold(key: RecordKey, value: { readonly incarnation?: string }): Promise<boolean> {
    if (!isLeased(key)) throw new RangeError(`${key} is not a leased record`);
    const { leases, records } = this.#parts;
    for (let attempt = 0; attempt < HOLD_ATTEMPTS_MAX; attempt++) {
      const newest = await records.newest(key);
      const current = LeasedContent.safeParse(newest?.content).data;
      const isMine = current?.lease === this.#token;
      const isOthers = current !== undefined && !isMine && (await leases.isAlive(current.lease));
      this.#refuseEnded();
      if (isOthers && !isSameMemory(current.value, value)) return false;
      // After an error of publish() below it may be there all the same.
      if (isMine && newest !== undefined && !this.#held.has(key)) this.#held.set(key, newest.revision);
      if (isMine && isDeepStrictEqual(current.value, JSON.parse(JSON.stringify(value)))) return true;

      const content = { lease: this.#token, value };
      const revision = await records.publish(key, content, newest?.revision ?? 0, () => Promise.resolve(true));
      this.#refuseEnded();
      if (revision === undefined) continue;
      if (!isMine) this.#held.set(key, revision);
      if (isOthers) await leases.end(current.lease);
      return true;
    }
    throw new Error(`${key} changes faster than it can be held`);
  }

  async close(): Promise<void> {
    if (this.#state === 'kept') this.#state = 'closed';
    clearInterval(this.#timer);
    await this.#keeping;
    await this.#release();
  }

  #refuseEnded(): void {
    if (this.#state !== 'kept') throw new Error(`the lease is ${this.#state}`);
  }

  async #keepAlive(): Promise<void> {
    const sentMs = monotonicMs();
    try {
      await this.#file.file.write(counterText(++this.#count), 0);
      const isNamed = (await this.#file.file.stat()).nlink > 0;
      if (isNamed && monotonicMs() < this.#validUntilMs) this.#validUntilMs = sentMs + this.#parts.ttlMs;
      else await this.#lose();
    } catch {
      // A disk that failed once may do better before the deadline; past it the lease is over.
      if (monotonicMs() >= this.#validUntilMs) await this.#lose();
    } finally {
      this.#keeping = undefined;
    }
  }

  async #lose(): Promise<void> {
    if (this.#state !== 'kept') return;
    this.#state = 'lost';
    clearInterval(this.#timer);
    this.#tellLost();
    // In a folder out of reach the file stays, and its counter stands still from here on.
    await this.#release().catch(() => {});
  }

  async #release(): Promise<void> {
    await this.#parts.leases.end(this.#token);
    this.#file.lock.release();
    await this.#file.file.close();
  }
}
