/**
 * Leases in a folder: whose process lives, and which of them has lapsed.
 *
 *   DIR/.leases/TOKEN     00000000000000000017          a counter, written in place by keep-alives
 *                         {"ttlMs":3000,"place":"..."}  what a reader must know to judge it
 *
 * A lease exists as long as its file. Its holder has a process lock of the same name, taken before the file appears.
 * Every reader looks at all leases, and removes the file of one whose lock is free (seen from the same place) or whose
 * counter stood still for its TTL: that ends the lease for everybody and for good, also if its holder was only stopped.
 * Removal is the whole truth, so no two readers can disagree for longer than a look takes.
 */
import { mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { monotonicMs } from './clock.js';
import { CounterObservation } from './counter.js';
import { LockReader, lockPlace, ProcessLock } from './process-lock.js';
import { contentOf, ignoreMissing, isCode, STAGING } from './versions.js';

/** How often all leases are looked at, whoever asks for them. */
const LOOK_MS = 250;
const FOLDER = '.leases';
const COUNTER_DIGITS = 20;

const LeaseTerms = z.object({ ttlMs: z.number().positive(), place: z.string() });

const lockName = (token: string): string => `henge-${token}`;

interface Observed {
  /** When it was last found alive. */
  aliveAtMs: number;
  readonly counter: CounterObservation;
  readonly lock: LockReader;
}

export class LeaseFiles {
  readonly folder: string;
  readonly #staging: string;
  readonly #place: string;
  /** Called when a lease was found ended. */
  onEnded: () => void = () => {};
  readonly #observed = new Map<string, Observed>();
  readonly #timer: NodeJS.Timeout;
  #isLooking = false;
  #isAskedAgain = false;

  private constructor(folder: string, place: string) {
    this.folder = join(folder, FOLDER);
    this.#staging = join(folder, STAGING);
    this.#place = place;
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  static async open(folder: string): Promise<LeaseFiles> {
    await mkdir(join(folder, FOLDER), { recursive: true, mode: 0o700 });
    return new LeaseFiles(folder, await lockPlace());
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { lock } of this.#observed.values()) lock.close();
    this.#observed.clear();
  }

  async create(token: string, ttlMs: number): Promise<LeaseFile> {
    const lock = await ProcessLock.take(lockName(token));
    const staged = join(this.#staging, token);
    const file = await open(staged, 'wx', 0o600);
    const terms = JSON.stringify({ ttlMs, place: this.#place });
    await file.writeFile(`${counterText(0)}\n${terms}\n`);
    await rename(staged, join(this.folder, token));
    return { file, lock };
  }

  /** Looks at all leases, now and then once more if somebody asked meanwhile. */
  look(): void {
    if (this.#isLooking) this.#isAskedAgain = true;
    else void this.#lookAtAll();
  }

  /** Whether a lease is alive, or was a moment ago: nothing is read for one that was just looked at. */
  async wasAlive(token: string): Promise<boolean> {
    const aliveAtMs = this.#observed.get(token)?.aliveAtMs ?? Number.NEGATIVE_INFINITY;
    return monotonicMs() - aliveAtMs < LOOK_MS || this.isAlive(token);
  }

  /** Whether a lease has neither ended nor lapsed; if it lapsed, it has ended now. */
  async isAlive(token: string): Promise<boolean> {
    const beganMs = monotonicMs();
    const read = await this.#read(token);
    const endedMs = monotonicMs();
    if (read === undefined) {
      this.#forget(token);
      return false;
    }
    const observed = this.#observe(token, read.ttlMs);
    const hasLapsed = observed.counter.look(read.counter, beganMs, endedMs);
    const isDead = read.place === this.#place && !(await observed.lock.isHeld());
    if (!hasLapsed && !isDead) {
      observed.aliveAtMs = beganMs;
      return true;
    }
    await this.end(token);
    return false;
  }

  async end(token: string): Promise<void> {
    await unlink(join(this.folder, token)).catch(ignoreMissing);
    this.#forget(token);
  }

  async #read(token: string): Promise<(z.infer<typeof LeaseTerms> & { readonly counter: number }) | undefined> {
    let text: string;
    try {
      text = await readFile(join(this.folder, token), 'utf8');
    } catch (error) {
      if (isCode(error, 'ENOENT')) return undefined;
      throw error;
    }
    const terms = LeaseTerms.safeParse(contentOf(text.slice(COUNTER_DIGITS)));
    // A file cut off by a power failure: its lease is over, and nobody will keep it alive.
    if (!terms.success) return { ttlMs: LOOK_MS, place: this.#place, counter: 0 };
    return { ...terms.data, counter: Number(text.slice(0, COUNTER_DIGITS)) };
  }

  #observe(token: string, ttlMs: number): Observed {
    const found = this.#observed.get(token);
    if (found !== undefined) return found;
    const onFreed = () => this.look();
    const observed = {
      aliveAtMs: Number.NEGATIVE_INFINITY,
      counter: new CounterObservation(ttlMs),
      lock: new LockReader(lockName(token), onFreed),
    };
    this.#observed.set(token, observed);
    return observed;
  }

  #forget(token: string): void {
    const observed = this.#observed.get(token);
    if (observed === undefined) return;
    this.#observed.delete(token);
    observed.lock.close();
    this.onEnded();
  }

  async #lookAtAll(): Promise<void> {
    this.#isLooking = true;
    do {
      this.#isAskedAgain = false;
      try {
        const tokens = new Set([...(await readdir(this.folder)), ...this.#observed.keys()]);
        await Promise.all([...tokens].map((token) => this.isAlive(token)));
      } catch {
        // A folder that cannot be read now is read again at the next look; whoever must know asks get() and sees the
        // error.
      }
    } while (this.#isAskedAgain);
    this.#isLooking = false;
  }
}

/** What the holder of a lease has of it. */
export interface LeaseFile {
  readonly file: Awaited<ReturnType<typeof open>>;
  readonly lock: ProcessLock;
}

/** Always as long, so that it is written over the one before. */
export const counterText = (count: number): string => String(count).padStart(COUNTER_DIGITS, '0');
