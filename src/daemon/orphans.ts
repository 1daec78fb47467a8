/**
 * Workers that outlived their daemon, and what a new daemon does with them: it takes over their memory, starts workers
 * of its own beside them (each has a socket of its own on the shared port), then tells them to drain, and gives their
 * places in the memory back as they end. So nobody owns the port, and no request finds it closed.
 *
 * Orphans whose memory is of no use to this daemon, for it was made for other settings, are ended first: there are
 * never two stores under one name.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Addon, NativeArena } from '../store/index.js';
import type { Config } from './config.js';
import type { Footprint } from './footprint.js';
import type { Logger } from './log.js';
import { bootId, isRunning, type ProcessMark } from './processes.js';

const POLL_MS = 50;
/** Workers end within 5 seconds of being told; more means stuck. */
const DRAIN_MS_MAX = 8_000;
/** A killed process is gone at once, unless the kernel has to write its memory somewhere. */
const KILL_MS_MAX = 5_000;
/** Places for workers in a memory. */
const PLACES_MAX = 16;

export class Orphans {
  readonly #footprint: Footprint;
  readonly #log: Logger;
  #living: readonly ProcessMark[];

  private constructor(footprint: Footprint, living: readonly ProcessMark[], log: Logger) {
    this.#footprint = footprint;
    this.#living = living;
    this.#log = log;
  }

  /** Undefined when no worker of an earlier daemon runs, or when that daemon does. */
  static find(footprint: Footprint | undefined, log: Logger): Orphans | undefined {
    if (footprint === undefined || footprint.bootId !== bootId() || isRunning(footprint.primary)) return undefined;
    const living = footprint.workers.filter(isRunning);
    return living.length === 0 ? undefined : new Orphans(footprint, living, log);
  }

  get count(): number {
    return this.#living.length;
  }

  get port(): number {
    return this.#footprint.port;
  }

  /** Takes over their memory; undefined when it is not what this daemon needs, and then they have been ended. */
  async adoptMemory(addon: Addon, config: Config): Promise<NativeArena | undefined> {
    const { memory, maxValue, rf, arena, incarnation, primary, workers } = this.#footprint;
    const isFit =
      memory === config.memory && maxValue === config.maxValue && rf === config.rf && arena === config.arena;
    const path = isFit ? (arena ?? this.#descriptorOf()) : undefined;
    const adopted = path === undefined ? undefined : this.#open(addon, path);
    if (adopted?.incarnation !== incarnation) {
      adopted?.close(false);
      await this.#end();
      return undefined;
    }
    for (const { pid } of [primary, ...workers.filter((mark) => !isRunning(mark))]) adopted.reap(pid);
    this.#log.warn(
      { event: 'adopted', incarnation, workers: this.#living.map(({ pid }) => pid) },
      'workers of an earlier daemon serve: taking over their memory',
    );
    return adopted;
  }

  /** Has as many of them end as are in the way of so many new workers. */
  async makeRoom(arena: NativeArena, workers: number): Promise<void> {
    await this.drain(arena, Math.max(0, this.count + workers - PLACES_MAX));
  }

  /** Tells `count` of them to end, all when missing; resolves when they have and their places are free. */
  async drain(arena: NativeArena, count: number = this.count): Promise<void> {
    const leaving = this.#living.slice(0, count);
    for (const { pid } of leaving) signal(pid, 'SIGUSR2');
    const deadlineMs = performance.now() + DRAIN_MS_MAX;
    while (leaving.some(isRunning) && performance.now() < deadlineMs) await sleep(POLL_MS);
    for (const mark of leaving.filter(isRunning)) {
      this.#log.warn({ event: 'orphan-stuck', workerPid: mark.pid }, 'an orphaned worker did not end: killed');
      signal(mark.pid, 'SIGKILL');
    }
    await gone(leaving);
    for (const { pid } of leaving) arena.reap(pid);
    this.#living = this.#living.slice(leaving.length);
    if (leaving.length > 0) this.#log.info({ event: 'orphans-ended', left: this.count }, 'orphaned workers have ended');
  }

  #open(addon: Addon, path: string): NativeArena | undefined {
    try {
      return addon.takeOver(path);
    } catch (error) {
      this.#log.warn({ event: 'not-adopted', path, err: error }, "an earlier daemon's memory cannot be taken over");
      return undefined;
    }
  }

  /** Anonymous memory, as one of them has it open. */
  #descriptorOf(): string | undefined {
    for (const { pid } of this.#living) {
      const folder = `/proc/${pid}/fd`;
      const found = readdirSync(folder).find((fd) => targetOf(`${folder}/${fd}`).startsWith('/memfd:henge'));
      if (found !== undefined) return `${folder}/${found}`;
    }
    return undefined;
  }

  async #end(): Promise<void> {
    const pids = this.#living.map(({ pid }) => pid);
    this.#log.warn(
      { event: 'orphans-killed', workers: pids },
      'workers of an earlier daemon with other settings: killed',
    );
    for (const pid of pids) signal(pid, 'SIGKILL');
    await gone(this.#living);
    this.#living = [];
  }
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    // Closed since the folder was read.
    return '';
  }
}

async function gone(marks: readonly ProcessMark[]): Promise<void> {
  const deadlineMs = performance.now() + KILL_MS_MAX;
  while (marks.some(isRunning)) {
    if (performance.now() > deadlineMs) {
      throw new Error(`process ${marks.find(isRunning)?.pid} was killed and does not end`);
    }
    await sleep(POLL_MS);
  }
}

/** One that ended meanwhile is what was wanted. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
