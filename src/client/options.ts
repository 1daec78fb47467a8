/** What callers may say: keys, times to live, options of a client and of one call; and their defaults and checks. */

import { isVersion, Limit, type Version } from '../protocol/index.js';
import { endpointOf } from './address.js';
import type { Compression, CompressionMethod } from './codec.js';
import { HengeError } from './errors.js';

/** Bytes need not be UTF-8. 1 to 65,535 bytes. */
export type Key = string | Uint8Array;

/** Milliseconds, or a number with a unit: '500ms', '90s', '5m', '1h', '7d'. 0 and Infinity: never expires. */
export type Ttl = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`;

/** Whose acknowledgement a write waits for: the primary's, a majority's, every copy's. */
export type AckLevel = 'one' | 'quorum' | 'all';

/** Who answers a read: the primary, any copy in sync, or the newest of a majority. */
export type ReadLevel = 'primary' | 'nearest' | 'quorum';

export interface CallOptions {
  /** Longest time the call may take, retries included. Milliseconds; default 1,000. */
  readonly deadlineMs?: number | undefined;
  /** Gives the call up. A write may have been applied all the same. */
  readonly signal?: AbortSignal | undefined;
}

export interface ReadOptions extends CallOptions {
  readonly read?: ReadLevel | undefined;
}

export interface WriteOptions extends CallOptions {
  readonly ack?: AckLevel | undefined;
}

export interface SetOptions extends WriteOptions {
  /** Time to live; the client's default (never expires, unless told otherwise) when missing. */
  readonly ttl?: Ttl | undefined;
  /** An existing item keeps its expiry. */
  readonly keepTtl?: boolean | undefined;
  readonly ifAbsent?: boolean | undefined;
  readonly ifVersion?: Version | undefined;
}

/** A set that may not happen; its promise says whether it did. */
export type ConditionalSetOptions = SetOptions & ({ readonly ifAbsent: true } | { readonly ifVersion: Version });

export interface DeleteOptions extends WriteOptions {
  readonly ifVersion?: Version | undefined;
}

export interface CreateOptions extends WriteOptions {
  /** Time to live of a key that is created; an existing one keeps its own. */
  readonly ttl?: Ttl | undefined;
  /** False: leave a missing key alone, and answer undefined. */
  readonly create?: boolean | undefined;
}

export interface IncrementOptions<N extends number | bigint> extends CreateOptions {
  /** What a missing key is taken for before the increment. Default 0. */
  readonly initial?: N | undefined;
}

export interface ScanOptions extends CallOptions {
  readonly prefix?: Key | undefined;
}

export interface ConnectOptions {
  /** Some nodes' data ports, 'HOST:PORT' or 'unix:/path'; one that answers is enough. Default 127.0.0.1:7411. */
  readonly seeds?: string | readonly string[] | undefined;
  /** Shown in the nodes' logs. At most 255 bytes. */
  readonly name?: string | undefined;
  /** How long connect() waits for one of the seeds. Default 5,000. */
  readonly connectDeadlineMs?: number | undefined;
  readonly deadlineMs?: number | undefined;
  readonly ttl?: Ttl | undefined;
  readonly ack?: AckLevel | undefined;
  readonly read?: ReadLevel | undefined;
  /** Where this process runs: a `nearest` read asks copies in the zone of that name first. */
  readonly zone?: string | undefined;
  /**
   * A node that owes an answer and has sent nothing for so long is suspect: reads go round it, and what was not sent
   * yet waits. Milliseconds; default 250.
   */
  readonly suspectAfterMs?: number | undefined;
  /**
   * Asks a second copy when a read takes longer than most (than 95 % of the node's reads, or another percentile), and
   * takes the first answer, which then is what `nearest` would give. At most a tenth of the reads. Off by default.
   */
  readonly hedge?: boolean | { readonly percentile: number } | undefined;
  /** Compresses values of at least `bytesMin` bytes (default 4,096). Off by default. */
  readonly compression?:
    | CompressionMethod
    | { readonly method: CompressionMethod; readonly bytesMin?: number }
    | undefined;
  /** Requests in flight to one node, past which calls fail with QUEUE_FULL. At most 65,536, the default. */
  readonly inFlightMax?: number | undefined;
  /** Bytes waiting to be written to one node, past which calls fail with QUEUE_FULL. Default 64 MiB. */
  readonly unsentBytesMax?: number | undefined;
  /** Loaders of getOrSet running at once. Default 100. */
  readonly loadsMax?: number | undefined;
}

/** ConnectOptions with every default filled in. */
export interface ClientSettings {
  readonly seeds: readonly string[];
  readonly name: string;
  readonly connectDeadlineMs: number;
  readonly deadlineMs: number;
  readonly ttlMs: number;
  readonly ackFlags: number;
  readonly readFlags: number;
  readonly zone: string | undefined;
  readonly suspectAfterMs: number;
  /** Undefined: no read is hedged. */
  readonly hedgePercentile: number | undefined;
  readonly compression: Compression | undefined;
  readonly inFlightMax: number;
  readonly unsentBytesMax: number;
  readonly loadsMax: number;
}

const DEADLINE_MS_DEFAULT = 1_000;
const CONNECT_DEADLINE_MS_DEFAULT = 5_000;
/** A day: a longer wait is a mistake in units, and an integer of 31 bits must hold the moment it ends. */
const DEADLINE_MS_MAX = 86_400_000;
const SUSPECT_AFTER_MS_DEFAULT = 250;
/** Less than what a busy machine takes for nothing would make every node suspect. */
const SUSPECT_AFTER_MS_MIN = 20;
const HEDGE_PERCENTILE_DEFAULT = 95;
const COMPRESSION_BYTES_MIN_DEFAULT = 4_096;
const IN_FLIGHT_MAX = 65_536;
const UNSENT_BYTES_MAX_DEFAULT = 64 * 1_048_576;
const LOADS_MAX_DEFAULT = 100;

const ACK_FLAGS: Readonly<Record<AckLevel, number>> = { one: 0, quorum: 1, all: 2 };
const READ_FLAGS: Readonly<Record<ReadLevel, number>> = { primary: 0, quorum: 1, nearest: 2 };

const TTL_PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Checks a client's options. @throws HengeError INVALID_ARGUMENT */
export function settingsOf(options: ConnectOptions): ClientSettings {
  const seeds = typeof options.seeds === 'string' ? options.seeds.split(',') : (options.seeds ?? ['127.0.0.1:7411']);
  if (seeds.length === 0) throw new HengeError('INVALID_ARGUMENT', 'seeds must name at least one node, as HOST:PORT');
  const addresses = seeds.map((seed) => seed.trim());
  for (const address of addresses) endpointOf(address);
  return {
    seeds: addresses,
    name: options.name ?? `node-${process.pid}`,
    connectDeadlineMs: parseDeadline(options.connectDeadlineMs ?? CONNECT_DEADLINE_MS_DEFAULT),
    deadlineMs: parseDeadline(options.deadlineMs ?? DEADLINE_MS_DEFAULT),
    ttlMs: parseTtl(options.ttl ?? 0),
    ackFlags: ackFlags(options.ack, 0),
    readFlags: readFlags(options.read, 0),
    zone: options.zone,
    suspectAfterMs: parseSuspicion(options.suspectAfterMs ?? SUSPECT_AFTER_MS_DEFAULT),
    hedgePercentile: parseHedge(options.hedge ?? false),
    compression: parseCompression(options.compression),
    inFlightMax: countOf('inFlightMax', options.inFlightMax ?? IN_FLIGHT_MAX, IN_FLIGHT_MAX),
    unsentBytesMax: countOf(
      'unsentBytesMax',
      options.unsentBytesMax ?? UNSENT_BYTES_MAX_DEFAULT,
      Number.MAX_SAFE_INTEGER,
    ),
    loadsMax: countOf('loadsMax', options.loadsMax ?? LOADS_MAX_DEFAULT, Number.MAX_SAFE_INTEGER),
  };
}

/** Whole milliseconds, 0 for "never expires". @throws HengeError INVALID_ARGUMENT */
export function parseTtl(ttl: Ttl): number {
  if (ttl === 0 || ttl === Number.POSITIVE_INFINITY) return 0;
  const milliseconds = typeof ttl === 'number' ? ttl : millisecondsOf(ttl);
  if (milliseconds > 0 && milliseconds <= Limit.TTL_MS_MAX) return Math.ceil(milliseconds);
  throw new HengeError(
    'INVALID_ARGUMENT',
    `ttl must be milliseconds up to 100 years, or like '90s', '5m', '1h'; not ${JSON.stringify(ttl)}`,
  );
}

function millisecondsOf(text: string): number {
  const [, count, unit] = TTL_PATTERN.exec(text) ?? [];
  return count === undefined ? Number.NaN : Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
}

/** @throws HengeError INVALID_ARGUMENT */
export function parseDeadline(deadlineMs: number): number {
  if (deadlineMs > 0 && deadlineMs <= DEADLINE_MS_MAX) return Math.ceil(deadlineMs);
  throw new HengeError('INVALID_ARGUMENT', `deadlineMs must be above 0 and at most a day, not ${deadlineMs}`);
}

export const ackFlags = (level: AckLevel | undefined, missing: number): number =>
  level === undefined ? missing : levelOf('ack', level, ACK_FLAGS);

export const readFlags = (level: ReadLevel | undefined, missing: number): number =>
  level === undefined ? missing : levelOf('read', level, READ_FLAGS);

/** @throws HengeError INVALID_ARGUMENT */
export function parseVersion(version: unknown): Version {
  if (isVersion(version)) return version;
  throw new HengeError('INVALID_ARGUMENT', `a version is what getEntry gave, 28 hex digits; not ${String(version)}`);
}

function levelOf<L extends string>(what: string, level: L, flags: Readonly<Record<L, number>>): number {
  if (Object.hasOwn(flags, level)) return flags[level];
  throw new HengeError(
    'INVALID_ARGUMENT',
    `${what} must be one of ${Object.keys(flags).join(', ')}; not ${String(level)}`,
  );
}

function parseCompression(compression: ConnectOptions['compression']): Compression | undefined {
  if (compression === undefined) return undefined;
  const { method, bytesMin = COMPRESSION_BYTES_MIN_DEFAULT } =
    typeof compression === 'string' ? { method: compression } : compression;
  if (method !== 'deflate' && method !== 'brotli') {
    throw new HengeError('INVALID_ARGUMENT', `compression must be 'deflate' or 'brotli', not ${String(method)}`);
  }
  return { method, bytesMin: countOf('compression.bytesMin', bytesMin, Number.MAX_SAFE_INTEGER) };
}

function parseSuspicion(suspectAfterMs: number): number {
  if (suspectAfterMs >= SUSPECT_AFTER_MS_MIN && suspectAfterMs <= DEADLINE_MS_MAX) return Math.ceil(suspectAfterMs);
  const message = `suspectAfterMs must be from ${SUSPECT_AFTER_MS_MIN} ms to a day, not ${suspectAfterMs}`;
  throw new HengeError('INVALID_ARGUMENT', message);
}

function parseHedge(hedge: boolean | { readonly percentile: number }): number | undefined {
  if (hedge === false) return undefined;
  const percentile = hedge === true ? HEDGE_PERCENTILE_DEFAULT : hedge.percentile;
  if (percentile >= 50 && percentile < 100) return percentile;
  throw new HengeError('INVALID_ARGUMENT', `hedge.percentile must be at least 50 and below 100, not ${percentile}`);
}

function countOf(what: string, count: number, max: number): number {
  if (Number.isInteger(count) && count >= 1 && count <= max) return count;
  throw new HengeError('INVALID_ARGUMENT', `${what} must be an integer from 1 to ${max}, not ${count}`);
}
