/**
 * getOrSet: one flight per key in a process (Go's singleflight), with stale values and a bounded way to the origin.
 *
 *   callers ──▶ flight(key): read ──▶ fresh? ─────────────────────────────▶ value
 *                              │       stale, within staleWhileRevalidate ─▶ value, and a load in the background
 *                              │       missing, or too stale ─▶ load ─▶ store ─▶ value
 *                              │                                 └ fails ─▶ stale, within staleIfError, or the error
 *                              └ cache fails ─▶ onCacheError
 *
 * A value stored with stale time carries the moment until which it is fresh, and lives longer than that; to everybody
 * who did not ask for stale values it ends at that moment. The moment is of this machine's clock: clocks a second apart
 * make a value fresh for a second more or less.
 *
 * A caller's signal ends that caller's wait. The flight goes on for the others, and is aborted when nobody is left.
 */

import { abortable, abortError } from './abort.js';
import type { Freshness } from './codec.js';
import { HengeError } from './errors.js';
import {
  type CallOptions,
  type ClientSettings,
  type Key,
  parseTtl,
  type ReadLevel,
  type ReadOptions,
  type SetOptions,
  type Ttl,
  type WriteOptions,
} from './options.js';

/** Gets a value from where it comes from. `signal` fires when nobody waits for it any more. */
export type Loader<T> = (context: { readonly signal: AbortSignal }) => T | Promise<T>;

export interface GetOrSetOptions extends CallOptions {
  /** How long a loaded value is fresh. The client's default when missing. */
  readonly ttl?: Ttl | undefined;
  /** For so long after that, it is still given out while a new one is loaded in the background. Needs a ttl. */
  readonly staleWhileRevalidate?: Ttl | undefined;
  /** For so long after that, it is given out if the loader fails. Needs a ttl. */
  readonly staleIfError?: Ttl | undefined;
  /**
   * What to do when the cache itself fails. 'load' (the default): ask the loader. 'stale': give the last value that
   * this process saw (one of the last 1,000 asked for in this way), else load. 'throw': reject with the cache's error.
   */
  readonly onCacheError?: 'load' | 'stale' | 'throw' | undefined;
  readonly read?: ReadLevel | undefined;
  readonly ack?: WriteOptions['ack'];
}

/** Where flights read, and store what they loaded: a keyspace, as far as it concerns them. */
export interface FlightCache {
  /** The value with the moment until which it is fresh, undefined when there is none. */
  readForFlight(key: Key, options: ReadOptions): Promise<Freshness | undefined>;
  storeForFlight(key: Key, value: unknown, freshUntil: number | undefined, options: SetOptions): Promise<unknown>;
}

/** Loaders that wait for their turn behind `loadsMax` others. */
const LOADS_WAITING_MAX = 10_000;
/** A caller does not wait for the turn of its loader for longer than this. */
const LOAD_TURN_MS_MAX = 10_000;
/** Values kept in this process for `onCacheError: 'stale'`. */
const LAST_VALUES_MAX = 1_000;

interface Flight {
  readonly promise: Promise<unknown>;
  readonly controller: AbortController;
  callers: number;
}

/** How long values are fresh, and stale. Milliseconds. */
interface Windows {
  readonly ttlMs: number;
  readonly revalidateMs: number;
  readonly errorMs: number;
}

interface Task<T> {
  readonly key: Key;
  readonly id: string;
  readonly load: Loader<T>;
  readonly options: GetOrSetOptions;
  readonly windows: Windows;
  readonly cache: FlightCache;
  readonly signal: AbortSignal;
}

/** All flights of one client. */
export class Flights {
  readonly #flights = new Map<string, Flight>();
  readonly #revalidating = new Set<string>();
  readonly #lastValues = new Map<string, unknown>();
  readonly #turns: Turns;

  constructor(private readonly settings: ClientSettings) {
    this.#turns = new Turns(settings.loadsMax);
  }

  run<T>(key: Key, load: Loader<T>, options: GetOrSetOptions, cache: FlightCache): Promise<T> {
    const windows = windowsOf(options, this.settings.ttlMs);
    if (options.signal?.aborted) throw abortError(options.signal);
    const id = typeof key === 'string' ? `s${key}` : `b${Buffer.from(key).toString('latin1')}`;
    let flight = this.#flights.get(id);
    if (flight === undefined) {
      const controller = new AbortController();
      const task = { key, id, load, options, windows, cache, signal: controller.signal };
      const begun: Flight = { promise: this.#fly(task).finally(() => this.#end(id, begun)), controller, callers: 0 };
      flight = begun;
      this.#flights.set(id, flight);
    }
    return this.#join(id, flight, options.signal) as Promise<T>;
  }

  #join(id: string, flight: Flight, signal: AbortSignal | undefined): Promise<unknown> {
    flight.callers++;
    if (signal === undefined) return flight.promise;
    const leave = (): void => {
      if (--flight.callers > 0) return;
      // Whoever comes now begins a flight of its own.
      this.#end(id, flight);
      flight.controller.abort(signal.reason);
    };
    signal.addEventListener('abort', leave, { once: true });
    return abortable(flight.promise, signal).finally(() => signal.removeEventListener('abort', leave));
  }

  #end(id: string, flight: Flight): void {
    if (this.#flights.get(id) === flight) this.#flights.delete(id);
  }

  async #fly<T>(task: Task<T>): Promise<unknown> {
    let found: Freshness | undefined;
    try {
      found = await task.cache.readForFlight(task.key, readOptions(task.options));
    } catch (error) {
      return this.#withoutCache(task, error);
    }
    const staleMs = found === undefined ? Number.POSITIVE_INFINITY : Date.now() - found.freshUntil;
    if (found !== undefined && staleMs < 0) return this.#remember(task, found.value);
    if (found !== undefined && staleMs < task.windows.revalidateMs) {
      this.#revalidate(task);
      return found.value;
    }
    try {
      return await this.#loadAndStore(task, found === undefined);
    } catch (error) {
      if (found !== undefined && staleMs < task.windows.errorMs) return found.value;
      throw error;
    }
  }

  /** The cache could not be read: a wrong call stays wrong, anything else is what `onCacheError` is for. */
  async #withoutCache<T>(task: Task<T>, error: unknown): Promise<unknown> {
    const isWrongCall = !(error instanceof HengeError) || error.code.startsWith('INVALID') || error.code === 'CLOSED';
    const wish = task.options.onCacheError ?? 'load';
    if (isWrongCall || wish === 'throw') throw error;
    if (wish === 'stale' && this.#lastValues.has(task.id)) return this.#lastValues.get(task.id);
    const value = await this.#turns.run(() => task.load({ signal: task.signal }));
    // Nobody waits for a cache that just failed; if this fails too, the next caller loads again.
    this.#store(task, value, false).catch(() => undefined);
    return this.#remember(task, value);
  }

  async #loadAndStore<T>(task: Task<T>, isMissing: boolean): Promise<unknown> {
    const value = await this.#turns.run(() => task.load({ signal: task.signal }));
    // The caller has its value; a cache that cannot take it makes the next caller load again, and no more.
    await this.#store(task, value, isMissing).catch((error: unknown) => rethrowWrongCall(error));
    return this.#remember(task, value);
  }

  /** A value that was missing is stored only if it still is: one that was set meanwhile is newer than ours. */
  async #store<T>({ key, cache, options, windows }: Task<T>, value: unknown, isMissing: boolean): Promise<void> {
    if (value === undefined) return;
    const staleMs = Math.max(windows.revalidateMs, windows.errorMs);
    await cache.storeForFlight(key, value, staleMs > 0 ? Date.now() + windows.ttlMs : undefined, {
      ttl: windows.ttlMs + staleMs,
      ifAbsent: isMissing,
      ack: options.ack,
      deadlineMs: options.deadlineMs,
    });
  }

  #revalidate<T>(task: Task<T>): void {
    if (this.#revalidating.has(task.id) || this.#turns.isBusy) return;
    this.#revalidating.add(task.id);
    this.#loadAndStore({ ...task, signal: new AbortController().signal }, false)
      // The caller was served; the value stays stale, and the next caller tries again.
      .catch(() => undefined)
      .finally(() => this.#revalidating.delete(task.id));
  }

  #remember<T>(task: Task<T>, value: unknown): unknown {
    if (task.options.onCacheError !== 'stale' || value === undefined) return value;
    this.#lastValues.delete(task.id);
    this.#lastValues.set(task.id, value);
    if (this.#lastValues.size > LAST_VALUES_MAX) this.#lastValues.delete(this.#lastValues.keys().next().value ?? '');
    return value;
  }
}

/** Lets so many loaders run at once, the others in the order in which they came. */
class Turns {
  #running = 0;
  readonly #waiting = new Set<() => void>();

  constructor(private readonly runningMax: number) {}

  get isBusy(): boolean {
    return this.#running >= this.runningMax;
  }

  async run<T>(load: () => T | Promise<T>): Promise<T> {
    if (this.isBusy) await this.#turn();
    else this.#running++;
    try {
      return await load();
    } finally {
      this.#pass();
    }
  }

  /** Whoever is done hands its turn to the one who has waited longest. */
  #pass(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#running--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }

  #turn(): Promise<void> {
    const message = `${this.runningMax} loaders are running and ${this.#waiting.size} wait`;
    if (this.#waiting.size >= LOADS_WAITING_MAX) return Promise.reject(new HengeError('LOADS_FULL', message));
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const giveUp = (): void => {
        this.#waiting.delete(begin);
        reject(new HengeError('LOADS_FULL', `${message}; no turn came within ${LOAD_TURN_MS_MAX} ms`));
      };
      const timer = setTimeout(giveUp, LOAD_TURN_MS_MAX);
      this.#waiting.add(begin);
    });
  }
}

function windowsOf(options: GetOrSetOptions, ttlMsDefault: number): Windows {
  const windows = {
    ttlMs: options.ttl === undefined ? ttlMsDefault : parseTtl(options.ttl),
    revalidateMs: parseTtl(options.staleWhileRevalidate ?? 0),
    errorMs: parseTtl(options.staleIfError ?? 0),
  };
  if (windows.ttlMs === 0 && windows.revalidateMs + windows.errorMs > 0) {
    throw new HengeError('INVALID_ARGUMENT', 'staleWhileRevalidate and staleIfError need a ttl');
  }
  return windows;
}

const readOptions = ({
  read,
  deadlineMs,
}: GetOrSetOptions): { read: ReadLevel | undefined; deadlineMs: number | undefined } => ({
  read,
  deadlineMs,
});

function rethrowWrongCall(error: unknown): void {
  if (!(error instanceof HengeError) || error.code === 'INVALID_ARGUMENT' || error.code === 'VALUE_TOO_LARGE')
    throw error;
}
