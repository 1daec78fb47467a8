/**
 * The operations on keys: all of a cluster's, or those of a namespace, which is nothing but a prefix. Each method
 * drafts one request and hands it to the fleet; calls that ask for many keys are many requests, for pipelining is the
 * batch.
 *
 * Every method rejects with HengeError and never throws. A missing key is undefined, never an error.
 */

import { Encoding, Opcode, RequestFlag, type Version, writeVersion } from '../protocol/index.js';
import { abortable, abortError } from './abort.js';
import type { Entry } from './answer.js';
import { AnswerKind, Draft, isWrite } from './call.js';
import { encodeValue, type Freshness, kindOf, packValue, withFreshness } from './codec.js';
import { HengeError } from './errors.js';
import type { Fleet } from './fleet.js';
import type { FlightCache, Flights, GetOrSetOptions, Loader } from './flight.js';
import { checkKey } from './frame-writer.js';
import {
  ackFlags,
  type CallOptions,
  type ClientSettings,
  type ConditionalSetOptions,
  type CreateOptions,
  type DeleteOptions,
  type IncrementOptions,
  type Key,
  parseDeadline,
  parseTtl,
  parseVersion,
  type ReadOptions,
  readFlags,
  type ScanOptions,
  type SetOptions,
  type Ttl,
  type WriteOptions,
} from './options.js';
import { clearNode, scanNode } from './walk.js';

/** Requests that one getMany, setMany or deleteMany has in flight: enough to fill every node's pipeline. */
const MANY_IN_FLIGHT_MAX = 4_096;

const TTL_AT = 0;
const DELTA_AT = 0;
const INITIAL_AT = 8;
const CREATED_TTL_AT = 16;

export class Keyspace implements FlightCache {
  readonly #fleet: Fleet;
  readonly #settings: ClientSettings;
  readonly #flights: Flights;
  readonly #prefix: Key;
  readonly #draft = new Draft();
  /** What #encode made. */
  #encoding = 0;
  #encoded: Draft['value'];

  /** @internal Use Henge.connect and namespace. */
  constructor(fleet: Fleet, settings: ClientSettings, flights: Flights, prefix: Key) {
    this.#fleet = fleet;
    this.#settings = settings;
    this.#flights = flights;
    this.#prefix = prefix;
  }

  /** Keys `name:...`, with the same methods. Namespaces nest. */
  namespace(name: string): Keyspace {
    if (typeof name !== 'string' || name === '') throw new HengeError('INVALID_ARGUMENT', 'a namespace has a name');
    return new Keyspace(this.#fleet, this.#settings, this.#flights, join(this.#prefix, `${name}:`));
  }

  /** The value, or undefined. Hot path without options: see Fleet.issue. */
  get<T = unknown>(key: Key, options?: ReadOptions): Promise<T | undefined> {
    try {
      return this.#send(this.#read(key, 0, AnswerKind.VALUE, options), options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The value with its version and the milliseconds it has left to live. */
  async getEntry<T = unknown>(key: Key, options?: ReadOptions): Promise<Entry<T> | undefined> {
    return this.#send(this.#read(key, RequestFlag.WANT_META, AnswerKind.ENTRY, options), options);
  }

  /** The values, in the order of the keys. Rejects with the first error, if any. */
  getMany<T = unknown>(keys: Iterable<Key>, options?: ReadOptions): Promise<(T | undefined)[]> {
    return inBatches(keys, (key) => this.get<T>(key, options));
  }

  /** Whether the key exists; its value is not sent. */
  async has(key: Key, options?: ReadOptions): Promise<boolean> {
    return this.#send(this.#read(key, RequestFlag.NO_VALUE, AnswerKind.FOUND, options), options);
  }

  /** Milliseconds the key has left; Infinity when it does not expire, undefined when it is missing. */
  async ttl(key: Key, options?: ReadOptions): Promise<number | undefined> {
    const flags = RequestFlag.NO_VALUE | RequestFlag.WANT_META;
    return this.#send(this.#read(key, flags, AnswerKind.TTL, options), options);
  }

  /**
   * Stores the value. With `ifAbsent` or `ifVersion` it resolves to the new version, or to undefined when the condition
   * did not hold and nothing was stored.
   */
  set(key: Key, value: unknown, options: ConditionalSetOptions): Promise<Version | undefined>;
  set(key: Key, value: unknown, options?: SetOptions): Promise<void>;
  set(key: Key, value: unknown, options?: SetOptions): Promise<unknown> {
    try {
      this.#encode(value);
      const draft = this.#write(Opcode.SET, key, options);
      draft.answer = AnswerKind.DONE;
      draft.extrasBytes = 8;
      putTtl(draft, TTL_AT, this.#settings.ttlMs);
      if (options !== undefined) this.#applySetOptions(draft, options);
      draft.encoding = this.#encoding;
      draft.value = this.#encoded;
      return this.#send(draft, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Stores every pair, with the same options. Rejects with the first error; the other pairs may have been stored. */
  async setMany(
    entries: Iterable<readonly [Key, unknown]> | Readonly<Record<string, unknown>>,
    options?: SetOptions,
  ): Promise<void> {
    const pairs = Symbol.iterator in entries ? (entries as Iterable<readonly [Key, unknown]>) : Object.entries(entries);
    await inBatches(pairs, ([key, value]) => this.set(key, value, options));
  }

  /** Whether there was something to delete (with `ifVersion`: of that version). */
  async delete(key: Key, options?: DeleteOptions): Promise<boolean> {
    const draft = this.#write(Opcode.DELETE, key, options);
    draft.answer = AnswerKind.FOUND;
    if (options?.ifVersion !== undefined) putVersion(draft, options.ifVersion);
    return this.#send(draft, options);
  }

  /** Deletes the keys, and says how many there were. */
  async deleteMany(keys: Iterable<Key>, options?: WriteOptions): Promise<number> {
    const deleted = await inBatches(keys, (key) => this.delete(key, options));
    return deleted.reduce((count, isDeleted) => count + (isDeleted ? 1 : 0), 0);
  }

  /** Gives an item another time to live (0: it no longer expires). False when there is none. */
  async touch(key: Key, ttl: Ttl, options?: WriteOptions): Promise<boolean> {
    const ttlMs = parseTtl(ttl);
    const draft = this.#write(Opcode.TOUCH, key, options);
    draft.answer = AnswerKind.FOUND;
    draft.extrasBytes = 8;
    putTtl(draft, TTL_AT, ttlMs);
    return this.#send(draft, options);
  }

  /**
   * Adds to an integer, atomically, and gives the result. A missing key is created from `initial`, which is 0, unless
   * `create` is false; then the answer is undefined. Bigints reach the whole signed 64-bit range.
   */
  increment(key: Key, by?: number, options?: IncrementOptions<number> & { create?: true }): Promise<number>;
  increment(key: Key, by: bigint, options?: IncrementOptions<bigint> & { create?: true }): Promise<bigint>;
  increment(key: Key, by?: number, options?: IncrementOptions<number>): Promise<number | undefined>;
  increment(key: Key, by: bigint, options?: IncrementOptions<bigint>): Promise<bigint | undefined>;
  async increment(key: Key, by: number | bigint = 1, options?: IncrementOptions<number | bigint>): Promise<unknown> {
    const draft = this.#write(Opcode.INCREMENT, key, options);
    const isBig = typeof by === 'bigint';
    draft.answer = isBig ? AnswerKind.BIGINT : AnswerKind.NUMBER;
    draft.encoding = isBig ? Encoding.BIGINT : Encoding.INTEGER;
    draft.extrasBytes = 24;
    // The node adds nothing to the initial value of a key it creates: it is what the increment makes of it.
    const delta = integerOf('by', by);
    const created = integerOf('initial', options?.initial ?? 0) + delta;
    draft.extrasView.setBigInt64(DELTA_AT, delta, true);
    draft.extrasView.setBigInt64(INITIAL_AT, integerOf('initial and by together', created), true);
    this.#applyCreateOptions(draft, CREATED_TTL_AT, options);
    return this.#send(draft, options);
  }

  /** `increment` by the negative. */
  decrement(key: Key, by?: number, options?: IncrementOptions<number> & { create?: true }): Promise<number>;
  decrement(key: Key, by: bigint, options?: IncrementOptions<bigint> & { create?: true }): Promise<bigint>;
  decrement(key: Key, by?: number, options?: IncrementOptions<number>): Promise<number | undefined>;
  decrement(key: Key, by: bigint, options?: IncrementOptions<bigint>): Promise<bigint | undefined>;
  async decrement(key: Key, by: number | bigint = 1, options?: IncrementOptions<number | bigint>): Promise<unknown> {
    return this.increment(key, -by as number, options as IncrementOptions<number>);
  }

  /**
   * Adds text or bytes to the end of what is stored as text or bytes, atomically, and gives the new length in bytes.
   * A missing key is created unless `create` is false; then the answer is undefined.
   */
  async append(key: Key, addition: string | Uint8Array, options?: CreateOptions): Promise<number | undefined> {
    if (typeof addition !== 'string' && !(addition instanceof Uint8Array)) {
      throw new HengeError('INVALID_ARGUMENT', `only a string or bytes can be appended, not ${typeof addition}`);
    }
    const draft = this.#write(Opcode.APPEND, key, options);
    draft.answer = AnswerKind.LENGTH;
    draft.encoding = typeof addition === 'string' ? Encoding.UTF8 : Encoding.BYTES;
    draft.value = addition;
    draft.extrasBytes = 8;
    this.#applyCreateOptions(draft, TTL_AT, options);
    return this.#send(draft, options);
  }

  /**
   * The value; when it is missing, what the loader gives, which is stored. However many callers ask at once, one read
   * and one loader run per key in this process. What the loader gives is shared by its callers; undefined is not
   * stored.
   * @see GetOrSetOptions for stale values and for a cache that fails
   */
  async getOrSet<T>(key: Key, load: Loader<T>, options: GetOrSetOptions = {}): Promise<T> {
    checkKey(key);
    const fullKey = join(this.#prefix, key);
    return this.#flights.run(fullKey, load, options, this.#whole());
  }

  /**
   * The keys, node after node; those that are not UTF-8 as Buffers. What is there from beginning to end comes at least
   * once, perhaps twice; what comes or goes meanwhile may be missed.
   */
  async *scan(options: ScanOptions = {}): AsyncGenerator<string | Buffer, void, undefined> {
    const prefix = join(this.#prefix, options.prefix ?? '');
    const skipped = Buffer.byteLength(this.#prefix);
    for (const node of this.#nodes())
      yield* scanNode(this.#fleet, node, prefix, skipped, this.#deadline(options), options.signal);
  }

  /** Deletes every key (of the namespace), those written meanwhile excepted; says how many there were. */
  async clear(options: CallOptions = {}): Promise<number> {
    const clearing = this.#nodes().map((node) =>
      clearNode(this.#fleet, node, this.#prefix, this.#deadline(options), options.signal),
    );
    const cleared = await Promise.all(clearing);
    return cleared.reduce((sum, count) => sum + count, 0);
  }

  /** @internal The value as getOrSet reads it: with the moment until which it is fresh. */
  readForFlight(key: Key, options: ReadOptions): Promise<Freshness | undefined> {
    const read = this.#send(this.#read(key, 0, AnswerKind.FRESHNESS, options), options);
    return read as Promise<Freshness | undefined>;
  }

  /** @internal Stores what getOrSet loaded: fresh until a moment, and kept for longer. */
  storeForFlight(key: Key, value: unknown, freshUntil: number | undefined, options: SetOptions): Promise<unknown> {
    if (freshUntil === undefined) return this.set(key, value, options);
    const { encoding, bytes } = withFreshness(encodeValue(value, this.#settings.compression), freshUntil);
    const draft = this.#write(Opcode.SET, key, options);
    draft.answer = AnswerKind.DONE;
    draft.extrasBytes = 8;
    this.#applySetOptions(draft, options);
    draft.encoding = encoding;
    draft.value = bytes;
    return this.#send(draft, options);
  }

  #whole(): Keyspace {
    return this.#prefix === '' ? this : new Keyspace(this.#fleet, this.#settings, this.#flights, '');
  }

  #nodes(): string[] {
    const members = this.#fleet.topology?.members ?? [];
    return members.filter(({ address, state }) => address !== '' && state !== 'away').map((member) => member.name);
  }

  #deadline(options: CallOptions | undefined): number {
    return options?.deadlineMs === undefined ? this.#settings.deadlineMs : parseDeadline(options.deadlineMs);
  }

  /** Begins a request. Hot path: fields of one object are set. */
  #begin(opcode: number, key: Key, options: CallOptions | undefined): Draft {
    checkKey(key);
    const draft = this.#draft;
    draft.opcode = opcode;
    draft.key = this.#prefix === '' ? key : join(this.#prefix, key);
    draft.deadlineMs = options === undefined ? this.#settings.deadlineMs : this.#deadline(options);
    draft.encoding = 0;
    draft.extrasBytes = 0;
    draft.value = undefined;
    return draft;
  }

  #read(key: Key, flags: number, answer: AnswerKind, options: ReadOptions | undefined): Draft {
    const draft = this.#begin(Opcode.GET, key, options);
    draft.answer = answer;
    const level = options === undefined ? this.#settings.readFlags : readFlags(options.read, this.#settings.readFlags);
    draft.flags = flags | level;
    return draft;
  }

  #write(opcode: number, key: Key, options: WriteOptions | undefined): Draft {
    const draft = this.#begin(opcode, key, options);
    draft.flags = options === undefined ? this.#settings.ackFlags : ackFlags(options.ack, this.#settings.ackFlags);
    return draft;
  }

  #send<T>(draft: Draft, options: CallOptions | undefined): Promise<T> {
    const signal = options?.signal;
    if (signal === undefined) return this.#fleet.issue(draft) as Promise<T>;
    if (signal.aborted) throw abortError(signal);
    const wrote = isWrite(draft.opcode);
    return abortable(this.#fleet.issue(draft) as Promise<T>, signal, wrote);
  }

  /**
   * The value as bytes, or as what the frame writer turns into bytes without a copy in between. This comes before
   * drafting, since a toJSON of the caller's may run, and use this client.
   */
  #encode(value: unknown): void {
    let encoding = kindOf(value);
    let encoded = value as Draft['value'];
    if (this.#settings.compression !== undefined) {
      ({ encoding, bytes: encoded } = encodeValue(value, this.#settings.compression));
    } else if (encoding === Encoding.MSGPACK || encoding === Encoding.MARKED) {
      encoded = packValue(encoding, value);
    }
    this.#encoding = encoding;
    this.#encoded = encoded;
  }

  #applySetOptions(draft: Draft, options: SetOptions): void {
    const { ttl, keepTtl, ifAbsent, ifVersion } = options;
    if (ttl !== undefined) putTtl(draft, TTL_AT, parseTtl(ttl));
    if (keepTtl) draft.flags |= RequestFlag.KEEP_TTL;
    if (ifAbsent && ifVersion !== undefined) {
      throw new HengeError('INVALID_ARGUMENT', 'ifAbsent and ifVersion exclude each other');
    }
    if (ifAbsent) draft.flags |= RequestFlag.IF_ABSENT;
    if (ifVersion !== undefined) putVersion(draft, ifVersion);
    if (ifAbsent || ifVersion !== undefined) {
      draft.flags |= RequestFlag.WANT_META;
      draft.answer = AnswerKind.STORED;
    }
  }

  #applyCreateOptions(draft: Draft, ttlAt: number, options: CreateOptions | undefined): void {
    putTtl(draft, ttlAt, options?.ttl === undefined ? this.#settings.ttlMs : parseTtl(options.ttl));
    if (options?.create === false) draft.flags |= RequestFlag.NO_CREATE;
  }
}

const TWO_TO_32 = 2 ** 32;

function putTtl(draft: Draft, at: number, ttlMs: number): void {
  draft.extrasView.setUint32(at, ttlMs >>> 0, true);
  draft.extrasView.setUint32(at + 4, Math.floor(ttlMs / TWO_TO_32), true);
}

function putVersion(draft: Draft, version: Version): void {
  writeVersion(draft.extrasView, draft.extrasBytes, parseVersion(version));
  draft.extrasBytes += 16;
  draft.flags |= RequestFlag.IF_VERSION;
}

function integerOf(what: string, value: number | bigint): bigint {
  if (typeof value === 'bigint' ? BigInt.asIntN(64, value) === value : Number.isSafeInteger(value))
    return BigInt(value);
  throw new HengeError('INVALID_ARGUMENT', `${what} must be a safe integer or a 64-bit bigint, not ${String(value)}`);
}

/** A key behind a prefix; bytes as soon as one of them is bytes. */
function join(prefix: Key, key: Key): Key {
  if (typeof prefix === 'string' && typeof key === 'string') return prefix + key;
  return Buffer.concat([Buffer.from(prefix as string), Buffer.from(key as string)]);
}

async function inBatches<I, R>(items: Iterable<I>, send: (item: I) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let batch: Promise<R>[] = [];
  for (const item of items) {
    batch.push(send(item));
    if (batch.length < MANY_IN_FLIGHT_MAX) continue;
    results.push(...(await Promise.all(batch)));
    batch = [];
  }
  results.push(...(await Promise.all(batch)));
  return results;
}
