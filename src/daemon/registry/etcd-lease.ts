/**
 * A lease of etcd, kept alive in the background: a third of its TTL after the last good keep-alive the next is sent,
 * and sooner after one that failed.
 *
 * It is lost when etcd says that there is no such lease, and only then: an etcd that was out of reach for longer than
 * the TTL may have been stopped as a whole, and a new leader gives every lease its full TTL again. Until when nobody
 * can have found it ended is `validUntilMs`, which counts from the sending of the last good keep-alive.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { isLeased, isSameMemory, type Lease, type RecordKey } from '../../cluster/index.js';
import { monotonicMs } from './clock.js';
import { EtcdError, type EtcdGateway } from './etcd-gateway.js';
import type { EtcdRecords } from './etcd-records.js';

const KEEP_ALIVES_PER_TTL = 3;
/** After a keep-alive that failed; a refused connection fails at once. */
const RETRY_MS = 200;
/** How often holding starts over when another version came between; each time means that somebody else succeeded. */
const HOLD_ATTEMPTS_MAX = 20;

/** What a lease that was granted before is refused with. */
const FAILED_PRECONDITION_CODE = 9;

/** Without a TTL there is no such lease. */
const KeptAlive = z.object({ result: z.object({ TTL: z.coerce.number().default(0) }) });

export interface EtcdLeaseParts {
  readonly gateway: EtcdGateway;
  readonly records: EtcdRecords;
}

export class EtcdLease implements Lease {
  readonly lost: Promise<void>;
  readonly #parts: EtcdLeaseParts;
  readonly #id: string;
  readonly #ttlMs: number;
  readonly #held = new Map<RecordKey, number>();
  #tellLost: () => void = () => {};
  #validUntilMs: number;
  #state: 'kept' | 'lost' | 'closed' = 'kept';
  #timer: NodeJS.Timeout | undefined;

  private constructor(parts: EtcdLeaseParts, id: string, ttlMs: number, sentMs: number) {
    this.#parts = parts;
    this.#id = id;
    this.#ttlMs = ttlMs;
    this.#validUntilMs = sentMs + ttlMs;
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve;
    });
    this.#keepAliveIn(ttlMs / KEEP_ALIVES_PER_TTL);
  }

  /** @throws EtcdError */
  static async open(parts: EtcdLeaseParts, ttlMs: number): Promise<EtcdLease> {
    const id = newLeaseId();
    const sentMs = monotonicMs();
    const body = { ID: id, TTL: String(Math.ceil(ttlMs / 1_000)) };
    try {
      await parts.gateway.call({ path: '/v3/lease/grant', body, answer: z.object({}), isRepeatable: true });
    } catch (error) {
      // The identifier is our own: if there is such a lease, a try before had been granted, and its answer was lost.
      if (!(error instanceof EtcdError) || error.code !== FAILED_PRECONDITION_CODE) throw error;
    }
    return new EtcdLease(parts, id, ttlMs, sentMs);
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
    for (let attempt = 0; attempt < HOLD_ATTEMPTS_MAX; attempt++) {
      const current = await this.#parts.records.get(key);
      if (this.#state !== 'kept') throw new Error(`the lease is ${this.#state}`);
      const isMine = current?.lease === this.#id;
      if (current !== undefined && !isMine && !isSameMemory(current.value, value)) return false;
      // After an error of #commit() it may be there all the same.
      if (isMine && !this.#held.has(key)) this.#held.set(key, current.revision);
      if (isMine && isDeepStrictEqual(current.value, JSON.parse(JSON.stringify(value)))) return true;

      const revision = await this.#commit(key, value, current?.revision ?? 0);
      if (revision === undefined) continue;
      if (!isMine) this.#held.set(key, revision);
      if (current !== undefined && !isMine) await this.#revoke(current.lease);
      return true;
    }
    throw new Error(`${key} changes faster than it can be held`);
  }

  async close(): Promise<void> {
    if (this.#state !== 'kept') return;
    this.#state = 'closed';
    clearTimeout(this.#timer);
    await this.#revoke(this.#id);
  }

  async #commit(key: RecordKey, value: unknown, revision: number): Promise<number | undefined> {
    try {
      return await this.#parts.records.commit({ key, value, lease: this.#id, expected: [{ key, revision }] });
    } catch (error) {
      if (error instanceof EtcdError && error.isNotFound) this.#lose();
      throw error;
    }
  }

  async #revoke(id: string): Promise<void> {
    const options = { path: '/v3/lease/revoke', body: { ID: id }, answer: z.object({}), isRepeatable: true };
    // Gone already, or out of reach: then it ends with its TTL.
    await this.#parts.gateway.call(options).catch(() => {});
  }

  #keepAliveIn(delayMs: number): void {
    this.#timer = setTimeout(() => void this.#keepAlive(), delayMs).unref();
  }

  async #keepAlive(): Promise<void> {
    const intervalMs = this.#ttlMs / KEEP_ALIVES_PER_TTL;
    const sentMs = monotonicMs();
    try {
      const { result } = await this.#parts.gateway.call({
        path: '/v3/lease/keepalive',
        body: { ID: this.#id },
        answer: KeptAlive,
        isRepeatable: true,
        tryMsMax: intervalMs,
      });
      if (this.#state !== 'kept') return;
      if (result.TTL <= 0) return this.#lose();
      this.#validUntilMs = sentMs + this.#ttlMs;
      this.#keepAliveIn(Math.max(0, intervalMs - (monotonicMs() - sentMs)));
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error;
      if (this.#state === 'kept') this.#keepAliveIn(RETRY_MS);
    }
  }

  #lose(): void {
    if (this.#state !== 'kept') return;
    this.#state = 'lost';
    clearTimeout(this.#timer);
    this.#tellLost();
  }
}

/** 63 random bits, in decimal as etcd's JSON has them; 0 is not an identifier. */
const newLeaseId = (): string => String((randomBytes(8).readBigUInt64BE() >> 1n) | 1n);
